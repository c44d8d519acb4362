//! A server with databases to back up and to restore into, and a repository.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pgstow_core::backup::{self, BackupOptions};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::format::manifest::{Manifest, Selection};
use pgstow_core::repository::format::receipt::{Outcome, Receipt};
use pgstow_core::repository::store::LocalStore;
use pgstow_core::restore::{self, RestoreOptions};
use pgstow_core::{Error, Result};

/// The programs of a server's major version, or of a client.
pub(crate) fn programs(name: &str) -> PathBuf {
    let link = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers").join(name);
    match link.canonicalize() {
        Ok(folder) => folder.join("bin"),
        Err(error) => panic!("{}: {error}; run scripts/set-up-tests", link.display()),
    }
}

/// A server of this major version with nothing in it.
pub(crate) fn bare_server(major: u32) -> DisposableServer {
    started(Some(programs(&major.to_string())))
}

fn started(binaries: Option<PathBuf>) -> DisposableServer {
    let options = ServerOptions {
        binaries,
        configuration: vec![
            "wal_level = logical".into(),
            "max_connections = 60".into(),
            "max_locks_per_transaction = 2000".into(),
        ],
        ..ServerOptions::default()
    };
    DisposableServer::start(&options).expect("a server")
}

pub(crate) struct Ground {
    pub(crate) server: DisposableServer,
    pg_dump: PathBuf,
    folder: tempfile::TempDir,
}

impl Ground {
    /// A server whose database `source` holds what `sql` makes; `target` is empty.
    pub(crate) fn new(sql: &str) -> Self {
        let server = started(None);
        let pg_dump = server.binaries().program("pg_dump");
        Self::on(server, pg_dump, sql)
    }

    /// The same on a server of this major version.
    pub(crate) fn of_major(major: u32, sql: &str) -> Self {
        let client = if major <= 15 { "client" } else { "client-18" };
        Self::on(bare_server(major), programs(client).join("pg_dump"), sql)
    }

    fn on(server: DisposableServer, pg_dump: PathBuf, sql: &str) -> Self {
        let ground = Self { server, pg_dump, folder: tempfile::tempdir().expect("a folder") };
        ground.execute("postgres", "CREATE DATABASE source");
        ground.execute("postgres", "CREATE DATABASE target");
        ground.execute("source", sql);
        ground
    }

    pub(crate) fn settings(&self, database: &str) -> ConnectionSettings {
        self.server.settings(database)
    }

    pub(crate) fn connect(&self, database: &str) -> Connection {
        Connection::open(&self.settings(database), &Interrupt::new()).expect("a connection")
    }

    pub(crate) fn execute(&self, database: &str, sql: &str) {
        self.connect(database).execute(sql).expect("the statements run");
    }

    /// The only value of a query.
    pub(crate) fn value(&self, database: &str, sql: &str) -> String {
        let rows = self.connect(database).query(sql).expect("the query runs");
        rows.only().expect("one row").get::<Option<String>>(0).expect("a value").unwrap_or_default()
    }

    pub(crate) fn repository(&self) -> Repository {
        Repository::open_or_init(Box::new(LocalStore::new(&self.folder_path())), jiff::Timestamp::now())
            .expect("a repository")
    }

    pub(crate) fn folder_path(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// Backs `source` up.
    pub(crate) fn back_up(&self, selection: Selection) -> Header {
        self.back_up_of(self.settings("source"), selection)
    }

    /// Backs another database up, or as somebody else.
    pub(crate) fn back_up_of(&self, connection: ConnectionSettings, selection: Selection) -> Header {
        let options = BackupOptions {
            selection,
            jobs: 2,
            pg_dump: Some(self.pg_dump.clone()),
            lock_timeout: Duration::from_secs(10),
            ..BackupOptions::new(EnvironmentName::new("test").expect("a name"), connection)
        };
        backup::run(&self.repository(), &options, &Silent, &Interrupt::new()).expect("a backup").header
    }

    pub(crate) fn manifest(&self, header: &Header) -> Manifest {
        self.repository().manifest(header).expect("a manifest")
    }

    /// Options of a restore into `target` on four sessions.
    pub(crate) fn options(&self) -> RestoreOptions {
        RestoreOptions { jobs: 4, checksums: true, ..RestoreOptions::new(self.settings("target")) }
    }

    pub(crate) fn restore(&self, header: &Header, options: &RestoreOptions) -> Result<Receipt> {
        let interrupt = Interrupt::new();
        let repository = self.repository();
        let prepared = restore::prepare(&repository, header, options, &interrupt)?;
        Ok(prepared.apply(&Silent, &interrupt)?.receipt)
    }

    /// Restores and checks that nothing differs.
    pub(crate) fn restore_exactly(&self, header: &Header, options: &RestoreOptions) -> Receipt {
        let receipt = self.restore(header, options).unwrap_or_else(|error| panic!("{}", told(&error)));
        let unequal: Vec<_> = receipt.lines.iter().filter(|line| !line.equal).collect();
        assert!(receipt.remarks.is_empty() && unequal.is_empty(), "{:#?}\n{unequal:#?}", receipt.remarks);
        assert_eq!(receipt.outcome, Outcome::Equal);
        receipt
    }

    pub(crate) fn pg_dump(&self) -> PathBuf {
        self.pg_dump.clone()
    }

    /// The whole database as pg_dump writes it.
    pub(crate) fn dump(&self, database: &str) -> String {
        self.dump_at(&self.server, database)
    }

    /// The same of a database at another server.
    pub(crate) fn dump_at(&self, server: &DisposableServer, database: &str) -> String {
        self.dump_part(server, database, &[])
    }

    /// What pg_dump writes of tables (`-t`) or schemas (`-n`).
    pub(crate) fn dump_of(&self, database: &str, options: &[&str]) -> String {
        self.dump_part(&self.server, database, options)
    }

    fn dump_part(&self, server: &DisposableServer, database: &str, options: &[&str]) -> String {
        let output = Command::new(&self.pg_dump)
            .arg("-h")
            .arg(server.socket_directory())
            .args(["-p", &server.socket_port().to_string(), "-U", "postgres", "-d", database])
            .args(options)
            .output()
            .expect("pg_dump runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        // These lines hold a random word.
        text.lines().filter(|line| !line.contains("restrict")).map(|line| format!("{line}\n")).collect()
    }
}

/// Fails with the lines that only one of two dumps has. Rows may come in another order.
pub(crate) fn assert_same_dump(found: &str, expected: &str) {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (found, expected) = (sorted(found), sorted(expected));
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        let lines = these.iter().filter(|line| those.binary_search(line).is_err());
        lines.take(20).map(|line| line.chars().take(200).collect()).collect()
    };
    let (more, less) = (only(&found, &expected), only(&expected, &found));
    assert!(more.is_empty() && less.is_empty(), "only found: {more:#?}\nonly expected: {less:#?}");
    assert_eq!(found.len(), expected.len(), "lines of the dump");
}

/// Everything an error tells a person.
pub(crate) fn told(error: &Error) -> String {
    format!("{error}\n  why {:?}\n  try {:?}", error.reason(), error.hints())
}

/// A database with every kind of object.
pub(crate) const EVERYTHING: &str = include_str!("everything.sql");

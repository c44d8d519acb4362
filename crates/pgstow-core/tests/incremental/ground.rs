//! A durable server and a repository; every backup is compared with what its own snapshot shows.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pgstow_core::backup::{self, BackupOptions, BackupReport};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor};
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::format::manifest::{Manifest, Table};
use pgstow_core::repository::store::LocalStore;
use pgstow_core::{Error, Result};

use crate::contents::Contents;
use crate::witness::Witness;

/// Nothing that is waited for takes this long unless it never comes.
const HANG: Duration = Duration::from_secs(60);

/// A repository, and how backups are put into it.
pub(crate) struct Vault {
    folder: tempfile::TempDir,
}

impl Vault {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub(crate) fn repository(&self) -> Repository {
        let store = LocalStore::new(&self.path());
        Repository::open_or_init(Box::new(store), jiff::Timestamp::now()).expect("a repository")
    }

    /// Leaves the repository where it is when the test ends; returns the place.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// Makes a backup with a monitor of the test's own; nothing is compared.
    pub(crate) fn back_up_watched(&self, options: &BackupOptions, monitor: &dyn Monitor) -> Result<Backup> {
        let repository = self.repository();
        let report = backup::run(&repository, options, monitor, &Interrupt::new())?;
        let manifest = repository.manifest(&report.header)?;
        Ok(Backup { report, manifest })
    }

    /// Makes a backup and compares it with what its snapshot shows; `also` hears of every event.
    #[track_caller]
    pub(crate) fn back_up(&self, options: &BackupOptions, also: &(dyn Fn(&Event<'_>) + Sync)) -> Backup {
        let witness = Witness::new(&options.connection, also);
        let backup =
            self.back_up_watched(options, &witness).unwrap_or_else(|error| panic!("{}", told(&error)));
        let comparison = witness.compare(&self.repository(), &backup.manifest, &|_| false);
        comparison.assert_equal();
        assert!(comparison.skipped.is_empty(), "not compared: {:?}", comparison.skipped);
        backup
    }
}

/// A finished backup.
pub(crate) struct Backup {
    pub(crate) report: BackupReport,
    pub(crate) manifest: Manifest,
}

impl Backup {
    pub(crate) fn table(&self, name: &str) -> &Table {
        let found = self.manifest.tables.iter().find(|table| table.name == name);
        found.unwrap_or_else(|| panic!("{name} is not in the manifest"))
    }

    /// The rows of a table as the backup holds them, in the order of the table.
    pub(crate) fn rows(&self, vault: &Vault, name: &str) -> Vec<String> {
        self.rows_of(vault, self.table(name))
    }

    pub(crate) fn rows_of(&self, vault: &Vault, table: &Table) -> Vec<String> {
        let repository = vault.repository();
        let mut contents = Contents::new(&repository, &self.manifest);
        let bytes: Vec<u8> = table.chunks.iter().flat_map(|chunk| contents.chunk(chunk)).collect();
        String::from_utf8(bytes).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    /// Ids of the objects that it uses.
    pub(crate) fn objects(&self) -> BTreeSet<String> {
        self.manifest.objects.iter().map(|object| object.id.to_string()).collect()
    }

    /// How many chunks of tables and large objects it holds.
    pub(crate) fn chunks(&self) -> usize {
        let of_tables: usize = self.manifest.tables.iter().map(|table| table.chunks.len()).sum();
        of_tables + self.manifest.large_objects.chunks.len()
    }

    /// Fails unless exactly so many chunks were read, and the report accounts for every chunk.
    #[track_caller]
    pub(crate) fn assert_read(&self, expected: usize) {
        let reuse = &self.report.reuse;
        let read: usize = reuse.read.iter().map(|reason| reason.chunks).sum();
        assert_eq!(reuse.chunks, self.chunks(), "chunks in the report and in the manifest: {reuse:#?}");
        assert_eq!(reuse.reused + read, reuse.chunks, "chunks taken over and read: {reuse:#?}");
        assert_eq!(read, expected, "chunks that were read: {reuse:#?}");
    }

    #[track_caller]
    pub(crate) fn assert_nothing_read(&self) {
        assert!(self.chunks() > 0, "the backup holds rows");
        self.assert_read(0);
        assert!(self.report.reuse.base.is_some(), "{:#?}", self.report.reuse);
    }

    #[track_caller]
    pub(crate) fn assert_nothing_reused(&self) {
        assert!(self.chunks() > 0, "the backup holds rows");
        assert_eq!(self.report.reuse.reused, 0, "{:#?}", self.report.reuse);
        assert!(!self.report.reuse.definitions_reused, "{:#?}", self.report.reuse);
    }
}

/// A server to back up and a repository.
pub(crate) struct Ground {
    pub(crate) server: DisposableServer,
    pub(crate) vault: Vault,
}

impl Ground {
    /// A durable server on which `sql` has run.
    pub(crate) fn new(sql: &str) -> Self {
        Self::with_configuration(&[], sql)
    }

    pub(crate) fn with_configuration(lines: &[&str], sql: &str) -> Self {
        let options =
            ServerOptions { configuration: configuration(lines), durable: true, ..ServerOptions::default() };
        Self::with_options(&options, sql)
    }

    pub(crate) fn with_options(options: &ServerOptions, sql: &str) -> Self {
        let server = DisposableServer::start(options).unwrap_or_else(|error| panic!("{}", told(&error)));
        let ground = Self { server, vault: Vault::new() };
        ground.execute(sql);
        ground
    }

    pub(crate) fn settings(&self) -> ConnectionSettings {
        self.server.settings("postgres")
    }

    pub(crate) fn connect(&self) -> Connection {
        connect(&self.settings())
    }

    /// Runs statements; what `;;` parts is sent apart, for statements that must stand alone.
    #[track_caller]
    pub(crate) fn execute(&self, sql: &str) {
        let mut connection = self.connect();
        for part in sql.split(";;") {
            connection.execute(part).unwrap_or_else(|error| panic!("{part}: {error}"));
        }
    }

    /// The only value of a query.
    pub(crate) fn value(&self, sql: &str) -> String {
        value(&mut self.connect(), sql)
    }

    pub(crate) fn options(&self) -> BackupOptions {
        options(&self.server)
    }

    /// Waits until nothing older runs, makes a backup and compares it with its snapshot.
    #[track_caller]
    pub(crate) fn back_up(&self) -> Backup {
        settle(&mut self.connect());
        self.back_up_at_once()
    }

    /// The same while transactions of the test are open.
    #[track_caller]
    pub(crate) fn back_up_at_once(&self) -> Backup {
        self.vault.back_up(&self.options(), &|_| ())
    }

    /// The rows of a table in a backup, as one text.
    pub(crate) fn rows(&self, backup: &Backup, table: &str) -> String {
        backup.rows(&self.vault, table).join("\n")
    }
}

/// Lines of `postgresql.conf` that every server of these tests has, and `more`.
pub(crate) fn configuration(more: &[&str]) -> Vec<String> {
    // Nothing but the test itself may change a table: autovacuum would make reports depend on time.
    let lines = ["autovacuum = off", "max_prepared_transactions = 20", "shared_buffers = 64MB"];
    lines.iter().chain(more).map(|&line| line.to_owned()).collect()
}

/// Backs up the database `postgres` of a server as environment `test`.
pub(crate) fn options(server: &DisposableServer) -> BackupOptions {
    let pg_dump = Some(server.binaries().program("pg_dump"));
    BackupOptions { pg_dump, ..options_for(server.settings("postgres")) }
}

/// The same where only the way to the server is known; pg_dump is sought.
pub(crate) fn options_for(connection: ConnectionSettings) -> BackupOptions {
    BackupOptions {
        jobs: 3,
        lock_timeout: Duration::from_secs(10),
        keep_every: Duration::ZERO,
        ..BackupOptions::new(EnvironmentName::new("test").expect("a name"), connection)
    }
}

pub(crate) fn connect(settings: &ConnectionSettings) -> Connection {
    Connection::open(settings, &Interrupt::new()).expect("a connection")
}

/// The only value of a query.
pub(crate) fn value(connection: &mut Connection, sql: &str) -> String {
    let rows = connection.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.only().expect("one row").get::<Option<String>>(0).expect("a value").unwrap_or_default()
}

/// Waits until everything that has happened so far is older than the oldest transaction that runs,
/// so that the next snapshot's xmin lies above it.
pub(crate) fn settle(connection: &mut Connection) {
    let mark: u64 = value(connection, "SELECT pg_current_xact_id()").parse().expect("a number");
    until("older transactions end", || {
        let xmin = value(connection, "SELECT pg_snapshot_xmin(pg_current_snapshot())");
        xmin.parse::<u64>().expect("a number") > mark
    });
}

/// Waits until the server's log, as far as it reaches now, is on disk.
pub(crate) fn flushed(connection: &mut Connection) {
    let reached = value(connection, "SELECT pg_current_wal_insert_lsn()");
    until("the log is flushed", || {
        value(connection, "SELECT pg_current_xact_id()");
        value(connection, &format!("SELECT pg_current_wal_flush_lsn() >= '{reached}'")) == "t"
    });
}

/// Asks until the answer is yes; stops the test when it never is.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < HANG, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Everything an error tells a person.
pub(crate) fn told(error: &Error) -> String {
    format!("{error}\n  why {:?}\n  try {:?}", error.reason(), error.hints())
}

//! Servers, databases and stock client programs for these tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::inventory::Inventory;
use pgstow_core::platform::Hosting;
use pgstow_core::postgres::catalog::inventory;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::session::{Purpose, pin};
use pgstow_core::postgres::{Connection, ConnectionSettings};

const FIXTURE: &str = include_str!("fixture.sql");

/// A server with the fixture in its database `source`.
pub(crate) struct Ground {
    server: DisposableServer,
    major: u32,
}

impl Ground {
    /// A server of that version, with the fixture.
    pub(crate) fn with_fixture(major: u32) -> Self {
        let ground = Self::empty(major);
        ground.create_database("source");
        ground.run("source", &fixture_for(major));
        ground.run("source", "REVOKE TEMPORARY ON DATABASE source FROM PUBLIC");
        ground
    }

    /// A server of that version.
    pub(crate) fn empty(major: u32) -> Self {
        let options = ServerOptions {
            binaries: Some(programs(&major.to_string())),
            configuration: vec!["wal_level = logical".into(), "shared_buffers = 32MB".into()],
            ..ServerOptions::default()
        };
        let server = DisposableServer::start(&options)
            .unwrap_or_else(|error| panic!("PostgreSQL {major}: {error}: {:?}", error.reason()));
        Self { server, major }
    }

    pub(crate) fn create_database(&self, name: &str) {
        self.run("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
    }

    pub(crate) fn settings(&self, database: &str) -> ConnectionSettings {
        self.server.settings(database)
    }

    /// Stock `pg_dump` that suits the server.
    pub(crate) fn pg_dump(&self) -> PathBuf {
        programs(if self.major <= 15 { "client" } else { "client-18" }).join("pg_dump")
    }

    /// A session pinned for reading.
    pub(crate) fn connect(&self, database: &str) -> Connection {
        let mut connection =
            Connection::open(&self.server.settings(database), &Interrupt::new()).expect("a session");
        pin(&mut connection, Purpose::Read, "UTF8").expect("pinned settings");
        connection
    }

    pub(crate) fn run(&self, database: &str, script: &str) {
        let mut connection =
            Connection::open(&self.server.settings(database), &Interrupt::new()).expect("a session");
        if let Err(error) = connection.execute(script) {
            panic!("PostgreSQL {}: {error:?}", self.major);
        }
    }

    pub(crate) fn inventory(&self, database: &str) -> Inventory {
        let read = inventory::read(&mut self.connect(database), &Hosting::default());
        read.unwrap_or_else(|error| panic!("PostgreSQL {}: {error:?}", self.major))
    }

    /// Copies a database with stock `pg_dump` and `psql`.
    pub(crate) fn dump_and_restore(&self, from: &str, to: &str) {
        let client = programs(if self.major <= 15 { "client" } else { "client-18" });
        let mut dump = self.client(&self.pg_dump(), from, &[]);
        let mut dump = dump.stdout(Stdio::piped()).spawn().expect("pg_dump starts");
        let output = dump.stdout.take().expect("standard output is piped");
        let restored = self.client(&client.join("psql"), to, &["-X", "-q"]).stdin(output).output();
        assert!(dump.wait().expect("pg_dump ends").success(), "pg_dump failed");
        let said = String::from_utf8(restored.expect("psql ends").stderr).expect("psql prints UTF-8");
        // Emitted by a newer pg_dump, unknown to an older server.
        let errors: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("ERROR:") && !line.contains("\"transaction_timeout\""))
            .collect();
        assert!(errors.is_empty(), "PostgreSQL {}: {errors:#?}", self.major);
    }

    fn client(&self, program: &Path, database: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["-U", "postgres", "-d", database, "-h"])
            .arg(self.server.socket_directory())
            .args(["-p", &self.server.socket_port().to_string()])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8");
        command
    }
}

/// Folder of the programs that `scripts/set-up-tests` links under `.test/servers`.
fn programs(name: &str) -> PathBuf {
    let link = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers").join(name);
    match link.canonicalize() {
        Ok(folder) => folder.join("bin"),
        Err(error) => panic!("{}: {error}; run scripts/set-up-tests", link.display()),
    }
}

/// The fixture, cut to what a server knows.
fn fixture_for(major: u32) -> String {
    let mut wanted = true;
    let mut text = String::with_capacity(FIXTURE.len());
    for line in FIXTURE.split_inclusive('\n') {
        match line.trim_end().strip_prefix("-- @") {
            None if wanted => text.push_str(line),
            None => {}
            Some("end") => wanted = true,
            Some(mark) => {
                let since = mark.strip_prefix("since ").and_then(|since| since.parse::<u32>().ok());
                wanted = major >= since.unwrap_or_else(|| panic!("fixture: @{mark}"));
            }
        }
    }
    text
}

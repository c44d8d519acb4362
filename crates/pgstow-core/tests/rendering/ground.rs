//! Servers, and what their backups record.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use pgstow_core::Error;
use pgstow_core::backup::{self, BackupOptions};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Monitor, Silent};
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::format::manifest::{Manifest, Sections, Selection, Table};
use pgstow_core::repository::format::proof::Fingerprint;
use pgstow_core::repository::store::LocalStore;

/// The oldest server, the newest, and one between.
pub(crate) const MAJORS: [u32; 3] = [13, 15, 18];

pub(crate) struct Ground {
    server: DisposableServer,
    folder: tempfile::TempDir,
    pub(crate) major: u32,
}

impl Ground {
    pub(crate) fn new(major: u32, configuration: &[&str]) -> Self {
        let configuration = configuration.iter().map(|&line| line.to_owned()).collect();
        Self::with(major, ServerOptions { configuration, ..ServerOptions::default() })
    }

    pub(crate) fn with(major: u32, options: ServerOptions) -> Self {
        let programs =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../.test/servers/{major}/bin"));
        let server = DisposableServer::start(&ServerOptions { binaries: Some(programs), ..options })
            .unwrap_or_else(|error| panic!("PostgreSQL {major}: {error} (scripts/set-up-tests installs it)"));
        Self { server, folder: tempfile::tempdir().unwrap(), major }
    }

    pub(crate) fn settings(&self) -> ConnectionSettings {
        self.server.settings("postgres")
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.settings(), &Interrupt::new()).expect("a connection")
    }

    pub(crate) fn execute(&self, sql: &str) {
        if let Err(error) = self.connect().execute(sql) {
            panic!("PostgreSQL {}: {error}: {sql}", self.major);
        }
    }

    /// One value.
    pub(crate) fn ask(&self, sql: &str) -> String {
        self.connect().query(sql).unwrap().only().unwrap().get(0).unwrap()
    }

    pub(crate) fn repository(&self) -> Repository {
        let store = LocalStore::new(&self.folder.path().join("repository"));
        Repository::open_or_init(Box::new(store), jiff::Timestamp::now()).unwrap()
    }

    pub(crate) fn back_up(&self) -> Manifest {
        self.back_up_as("postgres", &Silent).expect("a backup")
    }

    pub(crate) fn back_up_as(&self, role: &str, monitor: &dyn Monitor) -> Result<Manifest, Error> {
        let options = BackupOptions {
            selection: Selection { sections: Sections::DataOnly, ..Selection::default() },
            jobs: 2,
            lock_timeout: Duration::from_secs(10),
            full: true,
            full_every: Duration::from_secs(24 * 3600),
            ..BackupOptions::new(
                EnvironmentName::new("test").unwrap(),
                ConnectionSettings { user: role.to_owned(), ..self.settings() },
            )
        };
        let repository = self.repository();
        let report = backup::run(&repository, &options, monitor, &Interrupt::new())?;
        repository.manifest(&report.header)
    }

    /// The rows of a table as the backup holds them.
    pub(crate) fn content(&self, manifest: &Manifest, table: &str) -> String {
        let mut content = Vec::new();
        for chunk in &find(manifest, table).chunks {
            let mut object = Vec::new();
            let source = &manifest.objects[chunk.object as usize];
            self.repository().read_object(manifest, source).unwrap().read_to_end(&mut object).unwrap();
            content.extend_from_slice(&object[chunk.offset as usize..(chunk.offset + chunk.bytes) as usize]);
        }
        String::from_utf8(content).unwrap()
    }
}

pub(crate) fn find<'m>(manifest: &'m Manifest, name: &str) -> &'m Table {
    manifest.tables.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("no table {name}"))
}

/// The fingerprints of every table, by name; `None` where there is no proof. One for each column.
pub(crate) fn renderings<'m>(manifest: &'m Manifest) -> BTreeMap<&'m str, Option<&'m [Fingerprint]>> {
    let rendering = |table: &'m Table| {
        let rendering = table.proof.as_ref().map(|proof| proof.rendering.as_slice());
        assert!(rendering.is_none_or(|list| list.len() == table.columns.len()), "{}", table.name);
        (table.name.as_str(), rendering)
    };
    manifest.tables.iter().map(rendering).collect()
}

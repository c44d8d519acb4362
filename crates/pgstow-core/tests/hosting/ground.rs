//! A server whose superuser is a platform's, a database as that platform makes it, and a repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgstow_core::Result;
use pgstow_core::backup::{self, BackupOptions, BackupReport};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::inventory::catalog::Catalog;
use pgstow_core::monitor::Silent;
use pgstow_core::platform::AuthUsers;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::format::manifest::{Manifest, Table};
use pgstow_core::repository::store::LocalStore;

/// The platform's superuser.
pub(crate) const SUPERUSER: &str = "supabase_admin";
/// The role that users of the platform have.
pub(crate) const USER: &str = "postgres";

pub(crate) struct Ground {
    pub(crate) server: DisposableServer,
    pub(crate) major: u32,
    folder: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new(major: u32) -> Self {
        let options = ServerOptions {
            binaries: Some(programs(&major.to_string())),
            superuser: SUPERUSER.to_owned(),
            // A backup waits for the log to reach the disk, and takes nothing over without it.
            configuration: vec!["wal_level = logical".into(), "wal_writer_delay = 10ms".into()],
            durable: true,
            ..ServerOptions::default()
        };
        let server = DisposableServer::start(&options).unwrap_or_else(|error| panic!("{major}: {error:?}"));
        let ground = Self { server, major, folder: tempfile::tempdir().expect("a folder") };
        ground.execute(include_str!("platform.sql"));
        ground.execute(include_str!("user.sql"));
        ground
    }

    pub(crate) fn settings(&self, role: &str) -> ConnectionSettings {
        ConnectionSettings { user: role.to_owned(), ..self.server.settings("postgres") }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.settings(SUPERUSER), &Interrupt::new()).expect("a connection")
    }

    /// As the superuser.
    pub(crate) fn execute(&self, sql: &str) {
        if let Err(error) = self.connect().execute(sql) {
            panic!("PostgreSQL {}: {error:?}", self.major);
        }
    }

    pub(crate) fn repository(&self) -> Repository {
        let store = LocalStore::new(&self.folder.path().join("repository"));
        Repository::open_or_init(Box::new(store), jiff::Timestamp::now()).expect("a repository")
    }

    pub(crate) fn options(&self, auth_users: AuthUsers) -> BackupOptions {
        let client = if self.major <= 15 { "client" } else { "client-18" };
        BackupOptions {
            jobs: 2,
            pg_dump: Some(programs(client).join("pg_dump")),
            lock_timeout: Duration::from_secs(10),
            auth_users: Some(auth_users),
            ..BackupOptions::new(EnvironmentName::new("test").expect("a name"), self.settings(USER))
        }
    }

    pub(crate) fn try_back_up(&self, options: &BackupOptions) -> Result<BackupReport> {
        backup::run(&self.repository(), options, &Silent, &Interrupt::new())
    }

    /// Backs up as the user's role.
    pub(crate) fn back_up(&self, auth_users: AuthUsers) -> BackupReport {
        self.try_back_up(&self.options(auth_users))
            .unwrap_or_else(|error| panic!("PostgreSQL {}: {error:?}", self.major))
    }

    pub(crate) fn manifest(&self, header: &Header) -> Manifest {
        self.repository().manifest(header).expect("a manifest")
    }

    pub(crate) fn catalog(&self, header: &Header) -> Catalog {
        self.repository().catalog(&self.manifest(header)).expect("a catalog")
    }

    /// A file of a backup, if it has it.
    pub(crate) fn file(&self, header: &Header, name: &str) -> Option<String> {
        let manifest = self.manifest(header);
        manifest.files.iter().find(|file| file.name == name)?;
        let content = self.repository().file(&manifest, name).expect("a file");
        Some(String::from_utf8(content).expect("text"))
    }

    /// The COPY data of a table that is one chunk.
    pub(crate) fn rows(&self, header: &Header, table: &str) -> String {
        let manifest = self.manifest(header);
        let [chunk] = tables(&manifest)[table].chunks.as_slice() else { panic!("{table} is not one chunk") };
        let id = manifest.objects[chunk.object as usize].id.to_string();
        let path = self.folder.path().join("repository/objects").join(&id[..2]).join(format!("{id}.zst"));
        let content = zstd::decode_all(&std::fs::read(path).expect("an object")[..]).expect("a frame");
        let first = usize::try_from(chunk.offset).expect("a length");
        let bytes = usize::try_from(chunk.bytes).expect("a length");
        String::from_utf8(content[first..first + bytes].to_vec()).expect("text")
    }

    /// Everything that the repository's files hold, unpacked.
    pub(crate) fn stored(&self) -> Vec<u8> {
        let mut content = Vec::new();
        collect(self.folder.path(), &mut content);
        content
    }
}

fn collect(path: &Path, content: &mut Vec<u8>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a folder") {
            collect(&entry.expect("an entry").path(), content);
        }
        return;
    }
    let bytes = std::fs::read(path).expect("a file");
    let is_packed = path.extension().is_some_and(|extension| extension == "zst");
    content.extend(if is_packed { zstd::decode_all(&bytes[..]).expect("a frame") } else { bytes });
    content.push(b'\n');
}

/// The columns that are carried, by the table's name.
pub(crate) fn columns(table: &Table) -> Vec<&str> {
    table.columns.iter().map(|column| column.name.as_str()).collect()
}

/// The tables of a backup, by their names.
pub(crate) fn tables(manifest: &Manifest) -> BTreeMap<String, &Table> {
    manifest.tables.iter().map(|table| (format!("{}.{}", table.schema, table.name), table)).collect()
}

/// Folder of the programs that `scripts/set-up-tests` links under `.test/servers`.
pub(crate) fn programs(name: &str) -> PathBuf {
    let link = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers").join(name);
    match link.canonicalize() {
        Ok(folder) => folder.join("bin"),
        Err(error) => panic!("{}: {error}; run scripts/set-up-tests", link.display()),
    }
}

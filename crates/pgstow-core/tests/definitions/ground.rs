//! A server that syncs, a database, a repository, and a pg_dump that counts its runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgstow_core::archive::Entry;
use pgstow_core::backup::{self, BackupOptions, BackupReport};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Monitor, Silent};
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::format::manifest::Manifest;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::restore::{self, RestoreOptions};

/// Role that owns the database and what is in it, and no more.
pub(crate) const OWNER: &str = "owner";
pub(crate) const SUPERUSER: &str = "postgres";

const ROLES: &str = "CREATE ROLE owner LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE passing;
    CREATE DATABASE source OWNER owner; CREATE DATABASE target OWNER owner; CREATE DATABASE other;";

const SCHEMA: &str = "SET ROLE owner;
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN percent AS numeric CHECK (VALUE >= 0);
    CREATE SEQUENCE counter;
    CREATE TABLE people (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text DEFAULT 'nobody', mood mood);
    CREATE TABLE notes (id int REFERENCES people (id), body text, share percent);
    CREATE INDEX notes_body ON notes (body);
    INSERT INTO people (name, mood) SELECT 'name ' || g, 'happy' FROM pg_catalog.generate_series(1, 1000) g;
    INSERT INTO notes SELECT g, pg_catalog.repeat('note ', 20), 1 FROM pg_catalog.generate_series(1, 1000) g;
    CREATE VIEW names AS SELECT name FROM people;
    CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT x * 2';
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER touched BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch();
    CREATE POLICY own ON notes USING (id > 0);
    CREATE STATISTICS related ON id, body FROM notes;
    COMMENT ON TABLE people IS 'people';
    GRANT SELECT ON people, notes TO reader;
    CREATE PUBLICATION changes FOR TABLE people;
    RESET ROLE;
    CREATE EXTENSION hstore;
    CREATE EXTENSION postgres_fdw;
    CREATE SERVER remote FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'example');
    GRANT USAGE ON FOREIGN SERVER remote TO owner;
    CREATE USER MAPPING FOR owner SERVER remote OPTIONS (user 'somebody');";

/// Files that show the backup rather than definitions.
const OF_THE_BACKUP: [&str; 2] = ["version.txt", "objects.list"];

pub(crate) struct Ground {
    pub(crate) server: DisposableServer,
    pub(crate) major: u32,
    folder: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new(major: u32) -> Self {
        Self::with_options(major, ServerOptions { durable: true, ..ServerOptions::default() })
    }

    pub(crate) fn with_options(major: u32, options: ServerOptions) -> Self {
        let options = ServerOptions {
            binaries: options.binaries.or_else(|| Some(programs(&major.to_string()))),
            // A backup waits for the log to reach the disk.
            configuration: vec!["wal_level = logical".into(), "wal_writer_delay = 10ms".into()],
            ..options
        };
        let server = DisposableServer::start(&options).unwrap_or_else(|error| panic!("{major}: {error:?}"));
        let ground = Self { server, major, folder: tempfile::tempdir().expect("a folder") };
        for statement in ROLES.split_terminator(';') {
            ground.execute("postgres", statement);
        }
        ground.execute("source", SCHEMA);
        ground.write_pg_dump("pg_dump", None);
        ground
    }

    /// A program that notes each run and passes it on. It may claim another version.
    pub(crate) fn write_pg_dump(&self, name: &str, version: Option<&str>) -> PathBuf {
        let real = programs(if self.major <= 15 { "client" } else { "client-18" }).join("pg_dump");
        let claim = version.map_or(String::new(), |version| {
            format!("if [ \"$1\" = --version ]; then echo 'pg_dump (PostgreSQL) {version}'; exit; fi\n")
        });
        let script = format!(
            "#!/bin/sh\n{claim}[ \"$1\" = --version ] || echo run >>'{}'\nexec '{}' \"$@\"\n",
            self.runs_path().display(),
            real.display(),
        );
        let path = self.folder.path().join(name);
        fs::write(&path, script).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        path
    }

    fn runs_path(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    /// How often pg_dump read definitions.
    pub(crate) fn pg_dump_runs(&self) -> usize {
        fs::read_to_string(self.runs_path()).map_or(0, |runs| runs.lines().count())
    }

    pub(crate) fn settings(&self, role: &str, database: &str) -> ConnectionSettings {
        ConnectionSettings { user: role.to_owned(), ..self.server.settings(database) }
    }

    pub(crate) fn connect(&self, database: &str) -> Connection {
        Connection::open(&self.settings(SUPERUSER, database), &Interrupt::new()).expect("a connection")
    }

    pub(crate) fn execute(&self, database: &str, sql: &str) {
        if let Err(error) = self.connect(database).execute(sql) {
            panic!("PostgreSQL {}: {sql}: {error:?}", self.major);
        }
    }

    pub(crate) fn repository(&self) -> Repository {
        let store = LocalStore::new(&self.repository_path());
        Repository::open_or_init(Box::new(store), jiff::Timestamp::now()).expect("a repository")
    }

    fn repository_path(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub(crate) fn options(&self, role: &str) -> BackupOptions {
        BackupOptions {
            pg_dump: Some(self.folder.path().join("pg_dump")),
            lock_timeout: Duration::from_secs(10),
            ..BackupOptions::new(EnvironmentName::new("test").expect("a name"), self.settings(role, "source"))
        }
    }

    pub(crate) fn run(&self, options: &BackupOptions, monitor: &dyn Monitor) -> BackupReport {
        backup::run(&self.repository(), options, monitor, &Interrupt::new())
            .unwrap_or_else(|error| panic!("PostgreSQL {}: {error:?}", self.major))
    }

    pub(crate) fn back_up(&self, role: &str) -> BackupReport {
        self.run(&self.options(role), &Silent)
    }

    /// A backup that reads everything.
    pub(crate) fn back_up_fully(&self, role: &str) -> BackupReport {
        let options = BackupOptions { full: true, ..self.options(role) };
        let report = self.run(&options, &Silent);
        assert!(!report.reuse.definitions_reused);
        report
    }

    /// Backs up and says whether definitions were taken over, which is when pg_dump did not run.
    pub(crate) fn takes_over(&self, role: &str, why: &str) -> bool {
        let runs = self.pg_dump_runs();
        let reused = self.back_up(role).reuse.definitions_reused;
        assert_eq!(
            self.pg_dump_runs() - runs,
            usize::from(!reused),
            "{}: {why}: runs of pg_dump",
            self.major
        );
        reused
    }

    /// Backs up twice, the second time reading everything: both say the same.
    pub(crate) fn assert_like_a_full_backup(&self, role: &str) {
        let (one, full) = (self.back_up(role).header, self.back_up_fully(role).header);
        assert_eq!(one.counts, full.counts, "PostgreSQL {}: {role}", self.major);
        let (found, expected) = (self.readable(&one), self.readable(&full));
        assert!(found.keys().eq(expected.keys()));
        for (name, expected) in &expected {
            assert_same(&found[name], expected, &format!("PostgreSQL {}: {role}: {name}", self.major));
        }
    }

    pub(crate) fn manifest(&self, header: &Header) -> Manifest {
        self.repository().manifest(header).expect("a manifest")
    }

    /// Path of a file of a backup.
    pub(crate) fn path(&self, header: &Header, name: &str) -> PathBuf {
        self.repository_path().join("backups").join(header.id.as_str()).join(name)
    }

    /// The files that come from definitions, by name.
    pub(crate) fn files(&self, header: &Header) -> BTreeMap<String, Vec<u8>> {
        let manifest = self.manifest(header);
        let names = manifest.files.iter().map(|file| file.name.clone());
        let names = names.filter(|name| !OF_THE_BACKUP.contains(&name.as_str()));
        names.map(|name| (name.clone(), fs::read(self.path(header, &name)).expect("a file"))).collect()
    }

    /// What the files say, sorted: in which order pg_dump reads objects depends on plans, and the schema
    /// archive begins with the time at which it was made.
    pub(crate) fn readable(&self, header: &Header) -> BTreeMap<String, Vec<String>> {
        let mut readable = BTreeMap::new();
        for (name, content) in self.files(header) {
            let mut parts: Vec<String> = match name.as_str() {
                "schema.dump" => entries(&content),
                "catalog.json.zst" => {
                    vec![String::from_utf8(zstd::decode_all(&content[..]).unwrap()).unwrap()]
                }
                _ => {
                    String::from_utf8(content).unwrap().split("\n-- ").map(|p| p.trim().to_owned()).collect()
                }
            };
            parts.sort();
            readable.insert(name, parts);
        }
        readable
    }

    /// Restores into the database `target` and checks that nothing differs.
    pub(crate) fn restore(&self, header: &Header) {
        let options = RestoreOptions {
            jobs: 2,
            checksums: true,
            ..RestoreOptions::new(self.settings(SUPERUSER, "target"))
        };
        let (interrupt, repository) = (Interrupt::new(), self.repository());
        let prepared = restore::prepare(&repository, header, &options, &interrupt).expect("a plan");
        let receipt = prepared.apply(&Silent, &interrupt).expect("a restore").receipt;
        let unequal: Vec<_> = receipt.lines.iter().filter(|line| !line.equal).collect();
        assert!(unequal.is_empty(), "PostgreSQL {}: {unequal:#?}", self.major);
    }
}

/// The entries of a schema archive, with names of what each depends on in place of numbers.
fn entries(archive: &[u8]) -> Vec<String> {
    let entries = pgstow_core::archive::read(archive).expect("an archive");
    let names: BTreeMap<i32, String> =
        entries.iter().map(|entry| (entry.id, format!("{} {:?}", entry.kind, entry.tag))).collect();
    let told = entries.iter().map(|entry| {
        let mut needs: Vec<_> = entry.dependencies.iter().filter_map(|id| names.get(id)).collect();
        needs.sort();
        let Entry { kind, tag, schema, owner, definition, drop_statement, .. } = entry;
        format!("{kind} {schema:?} {tag:?} {owner:?} {needs:?}\n{definition}{drop_statement}")
    });
    told.collect()
}

/// Fails with the parts in which two files differ.
fn assert_same(found: &[String], expected: &[String], what: &str) {
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        let parts = one.iter().filter(|part| !other.contains(part));
        parts.take(5).map(|part| part.chars().take(1000).collect()).collect()
    };
    let differences = (only(found, expected), only(expected, found));
    assert!(found == expected, "{what}: only found, only expected: {differences:#?}");
}

/// Folder of the programs that `scripts/set-up-tests` links under `.test/servers`.
pub(crate) fn programs(name: &str) -> PathBuf {
    let link = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers").join(name);
    match link.canonicalize() {
        Ok(folder) => folder.join("bin"),
        Err(error) => panic!("{}: {error}; run scripts/set-up-tests", link.display()),
    }
}

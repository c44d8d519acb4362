//! Backups of a real server: what is in them, and what happens when the tables move.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::io::Read;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use pgstow_core::backup::{self, BackupOptions};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor, Silent};
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::format::manifest::{
    CopyFormat, Manifest, Sections, Selection, Table, TableData,
};
use pgstow_core::repository::store::LocalStore;
use pgstow_core::{Error, ErrorKind};

struct Ground {
    server: DisposableServer,
    folder: tempfile::TempDir,
}

impl Ground {
    fn new(sql: &str) -> Self {
        Self::with_configuration(&[], sql)
    }

    fn with_configuration(lines: &[&str], sql: &str) -> Self {
        let configuration = lines.iter().map(|&line| line.to_owned()).collect();
        let options = ServerOptions { configuration, ..ServerOptions::default() };
        let server = DisposableServer::start(&options).expect("a server");
        let ground = Self { server, folder: tempfile::tempdir().expect("a folder") };
        ground.execute(sql);
        ground
    }

    fn settings(&self) -> ConnectionSettings {
        self.server.settings("postgres")
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.settings(), &Interrupt::new()).expect("a connection")
    }

    fn execute(&self, sql: &str) {
        self.connect().execute(sql).expect("the statements run");
    }

    fn repository(&self) -> Repository {
        let store = LocalStore::new(&self.folder.path().join("repository"));
        Repository::open_or_init(Box::new(store), jiff::Timestamp::now()).expect("a repository")
    }

    fn options(&self) -> BackupOptions {
        BackupOptions {
            jobs: 3,
            pg_dump: Some(self.server.binaries().program("pg_dump")),
            lock_timeout: Duration::from_secs(10),
            ..BackupOptions::new(EnvironmentName::new("test").expect("a name"), self.settings())
        }
    }

    fn back_up(&self, options: &BackupOptions, monitor: &dyn Monitor) -> Result<(Header, Manifest), Error> {
        let repository = self.repository();
        let report = backup::run(&repository, options, monitor, &Interrupt::new())?;
        let manifest = repository.manifest(&report.header)?;
        Ok((report.header, manifest))
    }

    /// The rows of a table as the backup holds them, sorted.
    fn stored_rows(&self, manifest: &Manifest, table: &Table) -> Vec<String> {
        let mut rows = Vec::new();
        for chunk in &table.chunks {
            let mut content = Vec::new();
            let object = &manifest.objects[chunk.object as usize];
            self.repository()
                .read_object(manifest, object)
                .unwrap()
                .read_to_end(&mut content)
                .expect("the object is whole");
            let range = chunk.offset as usize..(chunk.offset + chunk.bytes) as usize;
            let text = String::from_utf8(content[range].to_vec()).expect("UTF-8");
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len() as u64, chunk.rows, "{chunk:?}");
            rows.extend(lines.into_iter().map(str::to_owned));
        }
        rows.sort();
        rows
    }

    /// The rows of a table as the server holds them, sorted.
    fn live_rows(&self, table: &str) -> Vec<String> {
        let mut bytes = Vec::new();
        let copy = format!("COPY (SELECT * FROM ONLY {table}) TO STDOUT");
        self.connect()
            .copy_out(&copy, &mut |data| {
                bytes.extend_from_slice(data);
                Ok(())
            })
            .expect("copied");
        let mut rows: Vec<String> =
            String::from_utf8(bytes).expect("UTF-8").lines().map(str::to_owned).collect();
        rows.sort();
        rows
    }
}

fn table<'m>(manifest: &'m Manifest, name: &str) -> &'m Table {
    manifest
        .tables
        .iter()
        .find(|table| table.name == name)
        .unwrap_or_else(|| panic!("{name} is in the manifest"))
}

#[test]
fn every_row_of_large_small_and_toasted_tables_is_stored_once() {
    let ground = Ground::new(
        "CREATE TABLE large AS SELECT g AS id, md5(g::text) || md5((g + 1)::text) AS filler \
         FROM generate_series(1, 500000) g;
         CREATE TABLE toasted (id int, body text, filler char(3000) DEFAULT 'x');
         ALTER TABLE toasted ALTER body SET STORAGE EXTERNAL, ALTER filler SET STORAGE PLAIN;
         INSERT INTO toasted SELECT g, repeat(md5(g::text), 20000) FROM generate_series(1, 60) g;
         CREATE TABLE \"odd \"\"name\"\"\n\\🦀\" (\"a b\" text);
         INSERT INTO \"odd \"\"name\"\"\n\\🦀\" VALUES (E'tab\\t, newline\\n, backslash\\\\'), (NULL), ('\\N');
         CREATE TABLE empty (x int);
         CREATE TABLE no_columns ();
         INSERT INTO no_columns DEFAULT VALUES;
         CREATE TABLE parent (x int); CREATE TABLE child (y int) INHERITS (parent);
         INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);",
    );
    let (header, manifest) = ground.back_up(&ground.options(), &Silent).expect("a backup");
    for (name, quoted) in [
        ("large", "large"),
        ("toasted", "toasted"),
        ("odd \"name\"\n\\🦀", "\"odd \"\"name\"\"\n\\🦀\""),
        ("empty", "empty"),
        ("no_columns", "no_columns"),
        ("parent", "parent"),
        ("child", "child"),
    ] {
        let table = table(&manifest, name);
        let live = ground.live_rows(quoted);
        assert_eq!(table.rows, live.len() as u64, "{name}");
        assert_eq!(ground.stored_rows(&manifest, table), live, "{name}");
    }
    assert!(table(&manifest, "large").chunks.len() > 1, "a large table is read in several chunks");
    assert!(table(&manifest, "toasted").chunks.len() > 1, "TOAST counts for the size of chunks");
    let small: Vec<u32> =
        ["empty", "parent", "child"].map(|name| table(&manifest, name).chunks[0].object).to_vec();
    assert!(small.iter().all(|object| *object == small[0]), "small tables share an object");
    assert_eq!(header.rows, 500_000 + 60 + 3 + 1 + 2);
}

/// Runs a statement in another session as soon as the snapshot is taken, and waits until it is
/// queued behind the backup's locks.
struct Blocker<'g> {
    ground: &'g Ground,
    statement: &'static str,
    waiting: Mutex<Option<JoinHandle<()>>>,
    warnings: Mutex<Vec<String>>,
}

impl Monitor for Blocker<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Snapshot { .. } if self.waiting.lock().unwrap().is_none() => {
                let mut connection = self.ground.connect();
                let pid = connection.process_id();
                let statement = self.statement;
                let thread = std::thread::spawn(move || {
                    connection.execute(statement).expect("the statement runs once the backup lets go");
                });
                let mut watcher = self.ground.connect();
                let question = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted");
                while watcher.query(&question).unwrap().only().unwrap().get::<i64>(0).unwrap() == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                *self.waiting.lock().unwrap() = Some(thread);
            }
            Event::Warning { message } => self.warnings.lock().unwrap().push(message.to_owned()),
            _ => {}
        }
    }
}

fn blocker<'g>(ground: &'g Ground, statement: &'static str) -> Blocker<'g> {
    Blocker { ground, statement, waiting: Mutex::default(), warnings: Mutex::default() }
}

#[test]
fn a_table_that_readers_cannot_lock_is_read_by_the_leader() {
    let ground = Ground::new("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 1000) g");
    let blocker = blocker(&ground, "TRUNCATE t");
    let mut options = ground.options();
    options.selection.sections = Sections::DataOnly;
    let (_, manifest) = ground.back_up(&options, &blocker).expect("a backup");
    assert_eq!(table(&manifest, "t").rows, 1000);
    blocker.waiting.lock().unwrap().take().expect("the statement was queued").join().expect("it ran");
    assert_eq!(ground.live_rows("t").len(), 0, "the statement ran after the backup");
}

#[test]
fn a_queued_statement_that_blocks_pg_dump_makes_the_backup_begin_anew() {
    let ground = Ground::new("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 1000) g");
    let blocker = blocker(&ground, "ALTER TABLE t ADD COLUMN note text DEFAULT 'new'");
    let mut options = ground.options();
    options.lock_timeout = Duration::from_secs(1);
    let (_, manifest) = ground.back_up(&options, &blocker).expect("a backup");
    blocker.waiting.lock().unwrap().take().expect("the statement was queued").join().expect("it ran");
    let names: Vec<&str> = table(&manifest, "t").columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "note"], "the second attempt sees the new column");
    assert_eq!(table(&manifest, "t").rows, 1000);
    let warnings = blocker.warnings.lock().unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("starting anew")), "{warnings:?}");
}

#[test]
fn a_lock_that_is_not_to_be_had_names_the_table_and_the_holder() {
    let ground = Ground::new("CREATE TABLE a (x int); CREATE TABLE busy (x int)");
    let mut holder = ground.connect();
    holder.execute("SET application_name = 'migration'; BEGIN; LOCK TABLE busy").expect("locked");
    let mut options = ground.options();
    options.lock_timeout = Duration::from_millis(300);
    let error = ground.back_up(&options, &Silent).expect_err("the lock is held");
    assert!(error.message().contains("public.busy"), "{error}");
    let reason = error.reason().unwrap_or_default();
    assert!(reason.contains("migration") && reason.contains(&holder.process_id().to_string()), "{reason}");
    assert!(ground.repository().list().unwrap().backups.is_empty());
    let left: Vec<_> = std::fs::read_dir(ground.folder.path().join("repository/backups"))
        .map(|entries| entries.flatten().collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "no half-made folder stays: {left:?}");
}

#[test]
fn sections_and_patterns_limit_what_is_taken_in() {
    let ground = Ground::new(
        "CREATE TABLE one AS SELECT 1 AS x; CREATE TABLE two AS SELECT 2 AS x;
         CREATE TABLE parts (x int) PARTITION BY RANGE (x);
         CREATE TABLE part_a PARTITION OF parts FOR VALUES FROM (0) TO (10); INSERT INTO parts VALUES (1);
         SELECT lo_from_bytea(0, 'abc');",
    );
    let taken = |selection: Selection| {
        let options = BackupOptions { selection, ..ground.options() };
        let (_, manifest) = ground.back_up(&options, &Silent).expect("a backup");
        let names: Vec<(String, u64)> =
            manifest.tables.iter().map(|table| (table.name.clone(), table.rows)).collect();
        (names, manifest)
    };
    let names = |list: &[(&str, u64)]| {
        list.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect::<Vec<_>>()
    };
    let list = |text: &str| vec![text.to_owned()];

    let (all, manifest) = taken(Selection::default());
    assert_eq!(all, names(&[("one", 1), ("part_a", 1), ("parts", 0), ("two", 1)]));
    assert_eq!(manifest.large_objects.list.len(), 1);
    let (some, manifest) = taken(Selection { tables: list("parts"), ..Selection::default() });
    assert_eq!(some, names(&[("part_a", 1), ("parts", 0)]));
    assert!(manifest.large_objects.list.is_empty());
    assert!(manifest.not_carried.iter().any(|item| item.what == "2 tables" && item.expected));
    let (rest, _) = taken(Selection { exclude_tables: list("public.t*"), ..Selection::default() });
    assert_eq!(rest, names(&[("one", 1), ("part_a", 1), ("parts", 0)]));
    let (_, manifest) = taken(Selection { exclude_data: list("one"), ..Selection::default() });
    assert_eq!((table(&manifest, "one").rows, &table(&manifest, "one").data), (0, &TableData::Excluded));
    assert_eq!(table(&manifest, "two").rows, 1);
    let (schema, manifest) = taken(Selection { sections: Sections::SchemaOnly, ..Selection::default() });
    assert!(schema.iter().all(|(_, rows)| *rows == 0) && manifest.objects.is_empty());
    assert!(manifest.files.iter().any(|file| file.name == "schema.dump"));
    let (data, manifest) = taken(Selection { sections: Sections::DataOnly, ..Selection::default() });
    assert_eq!(data, all);
    assert!(manifest.files.iter().all(|file| file.name != "schema.dump"));

    let options = BackupOptions {
        selection: Selection { tables: list("nothing"), ..Selection::default() },
        ..ground.options()
    };
    assert_eq!(ground.back_up(&options, &Silent).expect_err("no such table").kind(), ErrorKind::Usage);
}

#[test]
fn a_role_without_rights_is_told_every_table_before_anything_is_read() {
    let ground = Ground::new(
        "CREATE ROLE reader LOGIN; CREATE TABLE open (x int); GRANT SELECT ON open TO reader;
         CREATE TABLE closed (x int); CREATE TABLE hidden (x int); GRANT SELECT ON hidden TO reader;
         ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; CREATE SEQUENCE ids;",
    );
    let mut options = ground.options();
    options.connection.user = "reader".into();
    let error = ground.back_up(&options, &Silent).expect_err("closed is closed");
    assert!(error.message().contains("public.closed") && !error.message().contains("public.open"), "{error}");
    ground.execute("GRANT SELECT ON closed TO reader");
    let error = ground.back_up(&options, &Silent).expect_err("hidden hides rows");
    assert!(
        error.message().contains("row-level security") && error.message().contains("public.hidden"),
        "{error}"
    );
    ground.execute("ALTER ROLE reader BYPASSRLS");
    let error = ground.back_up(&options, &Silent).expect_err("the sequence is closed");
    assert!(error.message().contains("public.ids"), "{error}");
    ground.execute("GRANT SELECT ON SEQUENCE ids TO reader; SELECT lo_from_bytea(4711, 'secret')");
    let error = ground.back_up(&options, &Silent).expect_err("the large object is closed");
    assert!(error.message().contains("4711"), "{error}");
    ground.execute("GRANT SELECT ON LARGE OBJECT 4711 TO reader");
    ground.back_up(&options, &Silent).expect("everything can be read now");
}

#[test]
fn a_table_with_a_row_too_long_for_text_is_carried_in_binary_as_a_whole() {
    let ground = Ground::new(
        "CREATE TABLE long (id int, body bytea, filler char(3000) DEFAULT 'x');
         ALTER TABLE long ALTER body SET STORAGE EXTERNAL, ALTER filler SET STORAGE PLAIN;
         INSERT INTO long SELECT g, decode(repeat(md5(g::text), 100000), 'hex') FROM generate_series(1, 20) g;
         INSERT INTO long SELECT 21, convert_to(repeat('x', 560000000), 'UTF8');",
    );
    let mut options = ground.options();
    options.selection.sections = Sections::DataOnly;
    let (_, manifest) = ground.back_up(&options, &Silent).expect("a backup");
    let long = table(&manifest, "long");
    assert_eq!(long.rows, 21);
    assert!(long.chunks.len() > 1);
    assert!(long.chunks.iter().all(|chunk| chunk.format == CopyFormat::Binary), "{:?}", long.chunks);
    assert!(long.bytes > 560_000_000);
}

#[test]
fn a_table_whose_index_needs_another_search_path_is_read_as_a_whole() {
    let ground = Ground::new(
        "CREATE TABLE rates AS SELECT 2 AS rate;
         CREATE FUNCTION rated(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x * (SELECT rate FROM rates)';
         CREATE TABLE large AS SELECT g AS id, md5(g::text) || md5((g + 1)::text) AS filler \
         FROM generate_series(1, 400000) g;
         CREATE INDEX ON large (rated(id));
         CREATE TABLE small AS SELECT 1 AS id; CREATE INDEX ON small (rated(id));",
    );
    let (_, manifest) = ground.back_up(&ground.options(), &Silent).expect("a backup");
    for name in ["large", "small"] {
        let table = table(&manifest, name);
        assert_eq!(table.chunks.len(), 1, "{name}");
        assert_eq!(ground.stored_rows(&manifest, table), ground.live_rows(name), "{name}");
    }
    let used: std::collections::BTreeSet<u32> =
        manifest.tables.iter().flat_map(|table| &table.chunks).map(|chunk| chunk.object).collect();
    assert_eq!(used.len(), manifest.objects.len(), "no object of a dropped range stays in the manifest");
}

/// Truncates a table as soon as the second snapshot is taken, and keeps all warnings.
struct Truncation<'g> {
    ground: &'g Ground,
    snapshots: Mutex<u32>,
    warnings: Mutex<Vec<String>>,
}

impl Monitor for Truncation<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Snapshot { .. } => {
                let mut snapshots = self.snapshots.lock().unwrap();
                *snapshots += 1;
                if *snapshots == 2 {
                    self.ground.execute("TRUNCATE t1");
                }
            }
            Event::Warning { message } => self.warnings.lock().unwrap().push(message.to_owned()),
            _ => {}
        }
    }
}

#[test]
fn more_tables_than_the_server_can_lock_twice_are_locked_while_they_are_read() {
    // Room for about 11,000 locks: enough for the backup's or for pg_dump's, not for both.
    let ground =
        Ground::with_configuration(&["max_connections = 60", "max_locks_per_transaction = 64"], "SELECT 1");
    for first in (1..8000).step_by(1000) {
        ground.execute(&format!(
            "DO $$ BEGIN FOR i IN {first}..{first} + 999 LOOP \
             EXECUTE format('CREATE TABLE t%s AS SELECT %s AS x', i, i); END LOOP; END $$"
        ));
    }
    let monitor = Truncation { ground: &ground, snapshots: Mutex::default(), warnings: Mutex::default() };
    let (_, manifest) = ground.back_up(&ground.options(), &monitor).expect("a backup");
    let warnings = monitor.warnings.lock().unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("no room to lock")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("changed before it was read")), "{warnings:?}");
    assert_eq!(manifest.tables.len(), 8000);
    assert_eq!(table(&manifest, "t1").rows, 0, "the last attempt sees the table as it is");
    let others = manifest.tables.iter().filter(|table| table.name != "t1");
    assert!(others.into_iter().all(|table| table.rows == 1));
}

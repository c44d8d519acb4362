//! The same storage: what replaces a table's file, or the table, is seen.
//!
//! Guards: the table's OID and `pg_relation_filenode`, that it is permanent, and a heap.

use pgstow_core::repository::format::manifest::{Sections, Selection};

use crate::change::{backed_up, is_taken_over};
use crate::ground::{Backup, Ground};

const TABLE: &str = "CREATE TABLE t AS SELECT g AS id, 0 AS v FROM generate_series(1, 100) g;";

/// Three chunks of as many rows each, in an order that is not that of the index.
const LARGE: &str = "CREATE TABLE t (id int PRIMARY KEY, body text); \
     INSERT INTO t SELECT (g::bigint * 7919 % 40009)::int, repeat(md5(g::text), 31) FROM generate_series(1, 40005) g;";

#[test]
fn a_database_that_did_not_change_is_not_read_again() {
    let ground = Ground::new(TABLE);
    let first = ground.back_up();
    first.assert_read(1);
    assert_eq!(first.report.reuse.base, None);
    let second = ground.back_up();
    second.assert_nothing_read();
    assert_eq!(second.report.reuse.base.as_ref(), Some(&first.report.header.id));
    assert!(second.report.reuse.definitions_reused, "{:#?}", second.report.reuse);
    assert_eq!(second.report.reuse.reused_bytes, second.table("t").bytes);
    let third = ground.back_up();
    third.assert_nothing_read();
    assert_eq!(ground.rows(&first, "t"), ground.rows(&third, "t"));
}

#[test]
fn everything_is_read_when_asked_for_and_when_it_was_long_ago() {
    let ground = Ground::new(TABLE);
    ground.back_up();
    let mut options = ground.options();
    options.full = true;
    ground.vault.back_up(&options, &|_| ()).assert_nothing_reused();
    ground.back_up().assert_nothing_read();
    options.full = false;
    options.full_every = std::time::Duration::ZERO;
    ground.vault.back_up(&options, &|_| ()).assert_nothing_reused();
    ground.back_up().assert_nothing_read();
}

/// Time since everything was read counts, not since the last backup.
#[test]
fn backups_that_take_over_do_not_put_off_the_full_read() {
    let ground = Ground::new(TABLE);
    let begin = std::time::Instant::now();
    let first = ground.back_up();
    let second = ground.back_up();
    second.assert_nothing_read();
    let read_at = |backup: &Backup| backup.manifest.proof.as_ref().expect("a proof").read_in_full_at;
    assert_eq!(read_at(&first), first.manifest.snapshot.taken_at);
    assert_eq!(read_at(&second), read_at(&first));
    let options = pgstow_core::backup::BackupOptions { full_every: begin.elapsed(), ..ground.options() };
    crate::ground::until("time passes", || begin.elapsed() > options.full_every * 2);
    let third = ground.vault.back_up(&options, &|_| ());
    third.assert_nothing_reused();
    assert_eq!(read_at(&third), third.manifest.snapshot.taken_at);
}

#[track_caller]
fn is_read_again(setup: &str, change: &str) -> (Ground, Backup, Backup) {
    let (ground, first) = backed_up(setup);
    ground.execute(change);
    let second = ground.back_up();
    let chunks = second.table("t").chunks.len();
    second.assert_read(chunks);
    (ground, first, second)
}

/// Row versions move to other pages and keep their xmin; then a few of them change, so that some
/// chunks would be taken over and others read.
#[test]
fn a_clustered_table_is_read_again() {
    let (ground, first, second) =
        is_read_again(LARGE, "CLUSTER t USING t_pkey; UPDATE t SET body = 'x' WHERE id < 5");
    assert!(first.table("t").chunks.len() >= 3);
    assert_ne!(ground.rows(&first, "t"), ground.rows(&second, "t"));
}

/// A third of the table is empty before. Afterwards the rows of the last third lie where those of the
/// second were: as many, and none of them new.
#[test]
fn a_table_written_anew_by_vacuum_full_is_read_again() {
    let (ground, _) = backed_up(LARGE);
    let first = ground.back_up();
    let chunks = first.table("t").chunks.clone();
    let rows: Vec<u64> = chunks.iter().map(|chunk| chunk.rows).collect();
    assert_eq!(rows, [13335; 3], "{chunks:?}");
    ground.execute(&format!("DELETE FROM t WHERE ctid < '({},0)'", chunks[1].first_page));
    let second = ground.back_up();
    assert_eq!(second.table("t").chunks.len(), chunks.len(), "the boundaries stay");
    ground.execute("VACUUM FULL t");
    let third = ground.back_up();
    third.assert_read(third.table("t").chunks.len());
    let sorted = |backup: &Backup| {
        let mut rows = backup.rows(&ground.vault, "t");
        rows.sort();
        rows
    };
    assert!(sorted(&second) == sorted(&third), "the table holds the same rows");
}

#[test]
fn a_table_emptied_and_filled_with_as_many_rows_is_read_again() {
    let (ground, first, second) =
        is_read_again(TABLE, "TRUNCATE t; INSERT INTO t SELECT g, 1 FROM generate_series(1, 100) g");
    assert_ne!(ground.rows(&first, "t"), ground.rows(&second, "t"));
}

/// Frozen rows are visible to every snapshot.
#[test]
fn a_table_filled_with_frozen_rows_is_read_again() {
    let (ground, first) = backed_up(TABLE);
    let mut session = ground.connect();
    session.execute("BEGIN; TRUNCATE t").unwrap();
    let mut copy = session.copy_in("COPY t FROM STDIN (FREEZE)").unwrap();
    for id in 1..=100 {
        std::io::Write::write_all(&mut copy, format!("{id}\t7\n").as_bytes()).unwrap();
    }
    copy.finish().unwrap();
    session.execute("COMMIT").unwrap();
    let second = ground.back_up();
    second.assert_read(1);
    assert_ne!(ground.rows(&first, "t"), ground.rows(&second, "t"));
}

#[test]
fn a_table_made_unlogged_is_read_each_time_until_it_is_permanent_again() {
    let (ground, _, _) = is_read_again(TABLE, "ALTER TABLE t SET UNLOGGED");
    ground.back_up().assert_read(1);
    ground.execute("ALTER TABLE t SET LOGGED");
    ground.back_up().assert_read(1);
    ground.back_up().assert_nothing_read();
}

#[test]
fn a_new_table_of_the_same_name_is_read() {
    let (ground, first, second) = is_read_again(
        TABLE,
        "DROP TABLE t; CREATE TABLE t AS SELECT g AS id, 5 AS v FROM generate_series(1, 100) g",
    );
    assert_ne!(ground.rows(&first, "t"), ground.rows(&second, "t"));
}

/// Each table's rows follow its OID, not its name.
#[test]
fn two_tables_that_change_names_keep_their_own_rows() {
    let (ground, first) = backed_up(&format!(
        "{TABLE} CREATE TABLE u AS SELECT g AS id, 9 AS v FROM generate_series(1, 100) g"
    ));
    ground.execute("ALTER TABLE t RENAME TO x; ALTER TABLE u RENAME TO t; ALTER TABLE x RENAME TO u");
    let second = ground.back_up();
    assert_eq!(ground.rows(&second, "t"), ground.rows(&first, "u"));
    assert_eq!(ground.rows(&second, "u"), ground.rows(&first, "t"));
    second.assert_nothing_read();
}

#[test]
fn a_renamed_table_is_taken_over_under_its_new_name() {
    let (ground, first) = backed_up(TABLE);
    ground.execute("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s; ALTER TABLE s.t RENAME TO other");
    let second = ground.back_up();
    second.assert_nothing_read();
    assert!(!second.report.reuse.definitions_reused);
    assert_eq!(ground.rows(&second, "other"), ground.rows(&first, "t"));
    assert_eq!(second.table("other").schema, "s");
}

#[test]
fn privileges_comments_indexes_and_constraints_are_no_reason_to_read_rows() {
    is_taken_over(
        TABLE,
        "GRANT SELECT ON t TO PUBLIC; COMMENT ON TABLE t IS 'x'; CREATE INDEX ON t (id); \
         ALTER TABLE t ALTER id SET NOT NULL, ADD CHECK (v = 0), ALTER v SET STATISTICS 7, SET (fillfactor = 50); \
         REINDEX TABLE t; ANALYZE t",
    );
}

#[test]
fn partitions_that_come_and_go_keep_their_rows() {
    let (ground, first) = backed_up(
        "CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE t PARTITION OF p FOR VALUES FROM (0) TO (10); \
         CREATE TABLE u PARTITION OF p DEFAULT; INSERT INTO p SELECT generate_series(0, 20)",
    );
    ground.execute("ALTER TABLE p DETACH PARTITION t");
    let second = ground.back_up();
    second.assert_nothing_read();
    assert_eq!(ground.rows(&first, "t"), ground.rows(&second, "t"));
    ground.execute(
        "ALTER TABLE p ATTACH PARTITION t FOR VALUES FROM (0) TO (10); UPDATE p SET id = 15 WHERE id = 5",
    );
    ground.back_up().assert_read(2);
}

/// A database that is a copy of the one backed up, under its name: files, OIDs of tables and
/// transaction ids are those of the first.
#[track_caller]
fn a_copy_in_its_place_is_read(replace: [&str; 2]) {
    let ground = Ground::new("CREATE DATABASE shop");
    let mut options = ground.options();
    options.connection.database = "shop".to_owned();
    let execute = |database: &str, sql: &str| {
        crate::ground::connect(&ground.server.settings(database)).execute(sql).expect("the statements run");
    };
    execute("shop", &format!("{TABLE} CHECKPOINT"));
    execute("postgres", "CREATE DATABASE copy TEMPLATE shop");
    execute("copy", "UPDATE t SET v = 1 WHERE id <= 50");
    execute("shop", "UPDATE t SET v = 2 WHERE id <= 50");
    crate::ground::settle(&mut ground.connect());
    let first = ground.vault.back_up(&options, &|_| ());
    execute("postgres", "DROP DATABASE shop");
    let oid = first.manifest.source.database_oid.to_string();
    replace.iter().for_each(|sql| execute("postgres", &sql.replace("$oid", &oid)));
    let second = ground.vault.back_up(&options, &|_| ());
    let (one, other) = (first.table("t"), second.table("t"));
    assert_eq!(
        (one.oid, one.filenode, one.rows),
        (other.oid, other.filenode, other.rows),
        "only the rows differ"
    );
    assert_ne!(ground.rows(&first, "t"), ground.rows(&second, "t"));
    second.assert_nothing_reused();
}

/// Guard: the OID of the database.
#[test]
fn a_copy_of_the_database_under_its_name_is_read() {
    a_copy_in_its_place_is_read(["ALTER DATABASE copy RENAME TO shop", "SELECT 1"]);
}

/// Guard: the version of the database's row in the catalog.
#[test]
fn a_copy_of_the_database_under_its_name_and_oid_is_read() {
    a_copy_in_its_place_is_read(["CREATE DATABASE shop TEMPLATE copy OID = $oid", "DROP DATABASE copy"]);
}

/// What an earlier backup left out cannot be taken over from it.
#[test]
fn backups_of_parts_serve_the_whole_as_far_as_they_go() {
    let ground = Ground::new(&format!("{TABLE} CREATE TABLE u AS SELECT 1 AS id"));
    crate::ground::settle(&mut ground.connect());
    let part = |selection: Selection| {
        let options = pgstow_core::backup::BackupOptions { selection, ..ground.options() };
        ground.vault.back_up_watched(&options, &pgstow_core::monitor::Silent).expect("a backup")
    };
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<String>>();
    part(Selection { sections: Sections::SchemaOnly, ..Selection::default() });
    let whole = ground.back_up();
    assert_eq!((whole.table("t").rows, whole.table("u").rows), (100, 1));
    part(Selection { exclude_data: names(&["t"]), ..Selection::default() });
    let whole = ground.back_up();
    assert_eq!((whole.table("t").rows, whole.table("u").rows), (100, 1));
    part(Selection { tables: names(&["u"]), ..Selection::default() });
    let data = part(Selection { sections: Sections::DataOnly, ..Selection::default() });
    assert_eq!(data.manifest.rows(), 101);
    let whole = ground.back_up();
    assert_eq!((whole.table("t").rows, whole.table("u").rows), (100, 1));
    assert!(whole.manifest.files.iter().any(|file| file.name == "schema.dump"));
}

/// Sequences are not rows under a snapshot: their positions are read each time.
#[test]
fn a_sequence_that_moved_is_seen_although_everything_else_is_taken_over() {
    let ground = Ground::new(&format!("{TABLE} CREATE SEQUENCE ids"));
    let position = |backup: &Backup| backup.manifest.sequences[0].last_value;
    assert_eq!(position(&ground.back_up()), 1);
    ground.execute("SELECT setval('ids', 4711)");
    let second = ground.back_up();
    assert_eq!(position(&second), 4711);
    second.assert_nothing_read();
}

/// Planning a query on the table runs a function of its index, which needs another `search_path`.
/// The proof is such a query: where it cannot be asked, the table is read.
#[test]
fn a_table_that_no_query_can_be_planned_on_is_read_each_time() {
    let (ground, _) = backed_up(
        "CREATE TABLE rates AS SELECT 2 AS rate; \
         CREATE FUNCTION rated(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x * (SELECT rate FROM rates)'; \
         CREATE TABLE t AS SELECT g AS id, md5(g::text) || md5((g + 1)::text) AS filler FROM generate_series(1, 400000) g; \
         CREATE TABLE small AS SELECT 1 AS id;",
    );
    ground.execute("CREATE INDEX ON t (rated(id)); CREATE INDEX ON small (rated(id))");
    for round in 0..2 {
        ground.execute(&format!(
            "UPDATE t SET id = -{round} WHERE id = 300000 - {round}; UPDATE small SET id = {round} - 1"
        ));
        let next = ground.back_up();
        assert!(next.report.reuse.reused >= 1, "still is taken over: {:#?}", next.report.reuse);
        assert_eq!(next.table("t").rows, 400_000);
    }
}

/// One row too long for text makes the whole table binary; chunks taken over are of that format too.
#[test]
fn a_table_that_turns_binary_and_back_is_always_of_one_format() {
    let (ground, first) = backed_up(
        "CREATE TABLE t (id int, body bytea, filler char(3000) DEFAULT 'x'); \
         ALTER TABLE t ALTER body SET STORAGE EXTERNAL, ALTER filler SET STORAGE PLAIN; \
         INSERT INTO t SELECT g, decode(repeat(md5(g::text), 70000), 'hex') FROM generate_series(1, 24) g;",
    );
    assert!(first.table("t").chunks.len() > 1);
    ground.execute("INSERT INTO t SELECT 25, convert_to(repeat('x', 560000000), 'UTF8')");
    // A comparison would need the long row in memory twice more.
    let watched = || {
        let options = ground.options();
        ground.vault.back_up_watched(&options, &pgstow_core::monitor::Silent).expect("a backup")
    };
    let second = watched();
    let formats = |backup: &Backup| {
        let mut formats: Vec<_> = backup.table("t").chunks.iter().map(|chunk| chunk.format).collect();
        formats.dedup();
        formats
    };
    assert_eq!(formats(&second).len(), 1, "{:?}", second.table("t").chunks);
    assert_ne!(formats(&second), formats(&first));
    assert_eq!(second.table("t").rows, 25);
    ground.execute("DELETE FROM t WHERE id = 25");
    let third = ground.back_up();
    assert_eq!(formats(&third).len(), 1, "{:?}", third.table("t").chunks);
    assert_eq!(third.table("t").rows, 24);
}

/// Nobody holds all locks: each table is locked while it is asked about or read. One that is emptied
/// and filled again between the snapshot and that moment makes the backup begin anew.
#[test]
fn tables_that_cannot_be_locked_all_at_once_are_proven_one_by_one() {
    let lines = ["max_connections = 20", "max_locks_per_transaction = 24", "max_prepared_transactions = 0"];
    let ground = Ground::with_configuration(&lines, "SELECT 1");
    for first in (1..=4000).step_by(200) {
        ground.execute(&format!(
            "DO $$ BEGIN FOR i IN {first}..{first} + 199 LOOP \
             EXECUTE format('CREATE TABLE t%s AS SELECT %s AS x', i, i); END LOOP; END $$"
        ));
    }
    crate::ground::settle(&mut ground.connect());
    let mut options = ground.options();
    options.selection.sections = Sections::DataOnly;
    let first = ground.vault.back_up_watched(&options, &pgstow_core::monitor::Silent).expect("a backup");
    assert_eq!(first.manifest.rows(), 4000);
    ground.execute("UPDATE t77 SET x = -77; TRUNCATE t78; INSERT INTO t78 VALUES (-78)");
    struct Meanwhile<'g>(&'g Ground, std::sync::Mutex<(u32, Vec<String>)>);
    impl pgstow_core::monitor::Monitor for Meanwhile<'_> {
        fn event(&self, event: pgstow_core::monitor::Event<'_>) {
            let mut state = self.1.lock().unwrap();
            match event {
                // Only where the snapshot was taken without locks.
                pgstow_core::monitor::Event::Snapshot { tables: 0, .. } if state.0 == 0 => {
                    state.0 += 1;
                    self.0.execute("TRUNCATE t79; INSERT INTO t79 VALUES (-79)");
                }
                pgstow_core::monitor::Event::Warning { message } => state.1.push(message.to_owned()),
                _ => {}
            }
        }
    }
    let meanwhile = Meanwhile(&ground, std::sync::Mutex::default());
    let second = ground.vault.back_up_watched(&options, &meanwhile).expect("a backup");
    let state = meanwhile.1.lock().unwrap();
    assert_eq!(state.0, 1, "the tables were not locked at once");
    assert!(state.1.iter().any(|warning| warning.contains("starting anew")), "{:?}", state.1);
    for number in [76, 77, 78, 79, 80] {
        let live = ground.value(&format!("SELECT x FROM t{number}"));
        assert_eq!(ground.rows(&second, &format!("t{number}")), live);
    }
    assert!(second.report.reuse.reused >= 3000, "{:#?}", second.report.reuse);
    drop(state);
    let third = ground.vault.back_up_watched(&options, &pgstow_core::monitor::Silent).expect("a backup");
    third.assert_nothing_read();
}

/// A role that may read everything and is no superuser.
#[test]
fn an_ordinary_role_gets_the_same_proof() {
    let ground = Ground::new(&format!("CREATE ROLE reader LOGIN IN ROLE pg_read_all_data; {TABLE}"));
    crate::ground::settle(&mut ground.connect());
    let mut options = ground.options();
    options.connection.user = "reader".to_owned();
    ground.vault.back_up(&options, &|_| ());
    let second = ground.vault.back_up(&options, &|_| ());
    second.assert_nothing_read();
    assert!(second.report.reuse.definitions_reused, "{:#?}", second.report.reuse);
    ground.execute("UPDATE t SET v = 1 WHERE id = 1");
    ground.vault.back_up(&options, &|_| ()).assert_read(1);
    // Rows do not depend on who reads them; definitions might.
    let other = ground.back_up();
    other.assert_nothing_read();
}

/// On every version a backup takes over what did not change and reads what did.
#[test]
fn every_server_version_gives_the_facts_that_the_proof_needs() {
    let programs = |name: &str| {
        let link = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers").join(name);
        link.canonicalize()
            .unwrap_or_else(|error| panic!("{}: {error}; run scripts/set-up-tests", link.display()))
            .join("bin")
    };
    for major in 13..=18 {
        let options = pgstow_core::postgres::server::ServerOptions {
            binaries: Some(programs(&major.to_string())),
            configuration: crate::ground::configuration(&[]),
            durable: true,
            ..Default::default()
        };
        let ground = Ground::with_options(&options, &format!("{LARGE} CREATE TABLE small AS SELECT 1 AS id"));
        let options = pgstow_core::backup::BackupOptions {
            pg_dump: Some(programs("client-18").join("pg_dump")),
            ..ground.options()
        };
        crate::ground::settle(&mut ground.connect());
        ground.vault.back_up(&options, &|_| ());
        let second = ground.vault.back_up(&options, &|_| ());
        second.assert_nothing_read();
        assert!(second.report.reuse.definitions_reused, "PostgreSQL {major}: {:#?}", second.report.reuse);
        ground.execute("UPDATE small SET id = 2");
        ground.vault.back_up(&options, &|_| ()).assert_read(1);
    }
}

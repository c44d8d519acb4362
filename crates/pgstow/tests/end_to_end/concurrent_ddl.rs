//! Changes of tables while a backup begins: a backup that ends with exit code 0 never holds an
//! empty or mixed table.
//!
//! Every change keeps a promise that holds in each committed state: both tables have ROWS rows, all
//! of one generation, and the generations of both are equal. What a backup holds must keep it too.

use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::waiting;
use crate::support::workspace::Workspace;

const ROWS: u32 = 5000;

const TABLES: &str = "
CREATE TABLE a_first (n integer, generation integer, padding text);
CREATE TABLE z_last (n integer, generation integer, padding text);
CREATE PROCEDURE fill(generation integer) LANGUAGE sql AS $$
    INSERT INTO a_first SELECT n, generation, repeat('p', 200) FROM generate_series(1, 5000) AS n;
    INSERT INTO z_last SELECT n, generation, repeat('p', 200) FROM generate_series(1, 5000) AS n;
$$;
CALL fill(0);
";

/// Rows and generations of both tables: `5000|1` each when the promise is kept, and 1 generation in all.
const LOOK: &str = "
SELECT (SELECT count(*) FROM a_first), (SELECT count(*) FROM z_last),
       (SELECT count(DISTINCT generation) FROM (SELECT generation FROM a_first UNION ALL SELECT generation FROM z_last) AS both_tables)
";

/// Statements that change both tables within one transaction; `{}` is the new generation.
const CHANGES: &[(&str, &str)] = &[
    ("truncate", "TRUNCATE a_first, z_last; CALL fill({})"),
    (
        "rewrite by another type",
        "ALTER TABLE z_last ALTER COLUMN n TYPE bigint; ALTER TABLE z_last ALTER COLUMN n TYPE integer;
         ALTER TABLE a_first ALTER COLUMN n TYPE bigint; ALTER TABLE a_first ALTER COLUMN n TYPE integer",
    ),
    (
        "column with a volatile default",
        "ALTER TABLE a_first ADD COLUMN c{} text DEFAULT clock_timestamp()::text;
         ALTER TABLE z_last ADD COLUMN c{} text DEFAULT clock_timestamp()::text",
    ),
    (
        "drop and create again",
        "DROP TABLE z_last, a_first; CREATE TABLE z_last (n integer, generation integer, padding text);
         CREATE TABLE a_first (LIKE z_last); CALL fill({})",
    ),
    (
        "rename and replace",
        "ALTER TABLE a_first RENAME TO a_{}; ALTER TABLE z_last RENAME TO z_{};
         CREATE TABLE a_first (LIKE a_{}); CREATE TABLE z_last (LIKE z_{}); CALL fill({})",
    ),
    (
        "swap names",
        "ALTER TABLE a_first RENAME TO x; ALTER TABLE z_last RENAME TO a_first; ALTER TABLE x RENAME TO z_last",
    ),
    (
        "make unlogged and back",
        "ALTER TABLE a_first SET UNLOGGED; ALTER TABLE z_last SET UNLOGGED; ALTER TABLE a_first SET LOGGED",
    ),
    (
        "update and cluster",
        "UPDATE a_first SET generation = {}; UPDATE z_last SET generation = {};
      CREATE INDEX i{} ON z_last (n); CLUSTER z_last USING i{}; DROP INDEX i{}",
    ),
];

fn change(number: usize, generation: usize) -> String {
    CHANGES[number].1.replace("{}", &generation.to_string())
}

fn prepared(purpose: &str) -> (Database, Workspace) {
    let source = servers::shared(DEFAULT_MAJOR).database(purpose);
    source.run(TABLES);
    let workspace = Workspace::with_source(&source);
    (source, workspace)
}

/// Restores a backup into a new database and looks whether the promise is kept.
#[track_caller]
fn assert_promise_kept(workspace: &mut Workspace, id: &str, what: &str) {
    let target = servers::shared(DEFAULT_MAJOR).database("promise");
    workspace.environment("CHECKED", &target.url());
    workspace.run(&["restore", id, "--to", "checked"]).succeeded();
    assert_eq!(target.value(LOOK), format!("{ROWS}|{ROWS}|1"), "{what}: {id}");
    target.drop_database();
}

#[test]
fn the_changes_themselves_keep_the_promise() {
    let (source, _workspace) = prepared("changes");
    for generation in 1..=2 * CHANGES.len() {
        let number = generation % CHANGES.len();
        let files =
            "SELECT relfilenode FROM pg_class WHERE relname IN ('a_first', 'z_last') ORDER BY relname";
        let before = source.value(files);
        source.run(&format!("BEGIN; {}; COMMIT", change(number, generation)));
        assert_eq!(source.value(LOOK), format!("{ROWS}|{ROWS}|1"), "{}", CHANGES[number].0);
        assert_ne!(before, source.value(files), "{} leaves the old files", CHANGES[number].0);
    }
}

#[test]
fn a_change_committed_while_the_backup_waits_for_its_lock_is_seen_whole() {
    let (source, mut workspace) = prepared("waits");
    for (number, (name, _)) in CHANGES.iter().enumerate() {
        let mut session = source.session();
        session.run(&format!("BEGIN; {}", change(number, number + 1)));
        let label = format!("c{number}");
        let backup = workspace.start(&["backup", "prod", "--label", &label]);
        waiting::until_a_client_waits_for_a_lock(&source);
        session.run("COMMIT");
        backup.finish().succeeded();
        assert_promise_kept(&mut workspace, &format!("prod@{label}"), name);
    }
}

#[test]
fn a_change_of_a_table_not_yet_locked_is_seen_whole() {
    let (source, mut workspace) = prepared("not_yet");
    for (number, (name, _)) in CHANGES.iter().enumerate() {
        // The backup has listed its tables and waits at this one; the others can still change.
        source.run("CREATE TABLE IF NOT EXISTS \"  held back\" (n integer)");
        let mut holder = source.session();
        holder.run("BEGIN; LOCK TABLE \"  held back\" IN ACCESS EXCLUSIVE MODE");
        let label = format!("c{number}");
        let backup = workspace.start(&["backup", "prod", "--label", &label]);
        waiting::until_a_client_waits_for_a_lock(&source);
        // A table that is locked already would keep the change waiting until the backup ends.
        let changed = source.try_run(&format!(
            "BEGIN; SET LOCAL lock_timeout = '200ms'; {}; COMMIT",
            change(number, number + 1)
        ));
        holder.run("COMMIT");
        backup.finish().succeeded();
        assert_promise_kept(&mut workspace, &format!("prod@{label}"), &format!("{name}: {changed:?}"));
    }
}

#[test]
fn a_table_dropped_or_renamed_while_the_backup_waits_is_gone_or_whole() {
    let (source, mut workspace) = prepared("dropped");
    for (number, statement) in [
        "DROP TABLE extra",
        "ALTER TABLE extra RENAME TO renamed_extra",
        "ALTER TABLE extra SET SCHEMA elsewhere",
    ]
    .iter()
    .enumerate()
    {
        source.run("DROP SCHEMA IF EXISTS elsewhere CASCADE; CREATE SCHEMA elsewhere; DROP TABLE IF EXISTS extra, renamed_extra;
                    CREATE TABLE extra AS SELECT n FROM generate_series(1, 1000) AS n");
        let mut session = source.session();
        session.run(&format!("BEGIN; {statement}"));
        let label = format!("d{number}");
        let backup = workspace.start(&["backup", "prod", "--label", &label]);
        waiting::until_a_client_waits_for_a_lock(&source);
        session.run("COMMIT");
        backup.finish().succeeded();
        let target = servers::shared(DEFAULT_MAJOR).database("extra");
        workspace.environment("CHECKED", &target.url());
        workspace.run(&["restore", &format!("prod@{label}"), "--to", "checked"]).succeeded();
        let found = target.lines(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relname ~ 'extra' ORDER BY 1",
        );
        let expected: &[&str] = [&[][..], &["renamed_extra"], &["elsewhere.extra"]][number];
        assert_eq!(found, expected, "{statement}");
        for table in found {
            assert_eq!(target.value(&format!("SELECT count(*) FROM {table}")), "1000", "{statement}");
        }
        target.drop_database();
    }
}

#[test]
fn a_table_that_stays_locked_is_named_and_nothing_is_written() {
    let (source, workspace) = prepared("locked");
    let mut session = source.session();
    session.run("BEGIN; LOCK TABLE z_last IN ACCESS EXCLUSIVE MODE");
    let outcome = workspace.run(&["backup", "prod", "--lock-timeout", "300ms"]).ended_with(1);
    assert!(outcome.stderr.contains("z_last"), "{}", outcome.said());
    assert!(workspace.backups().is_empty());
    session.run("ROLLBACK");
    workspace.backup(&[]);
}

#[test]
fn backups_during_random_changes_are_whole_or_fail() {
    let (source, mut workspace) = prepared("random");
    let mut seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos()
            as u64;
    eprintln!("seed {seed}");
    let mut random = move |limit: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % limit
    };
    let mut whole = Vec::new();
    for round in 0..10_usize {
        let label = format!("r{round}");
        let mut backup = workspace.start(&["backup", "prod", "--label", &label, "--lock-timeout", "20s"]);
        let mut generation = round * 1000;
        while backup.is_running() {
            generation += 1;
            let pause = random(30);
            let number = random(CHANGES.len() as u64) as usize;
            // Fails when it waits too long for a table that the backup holds.
            let _ = source.try_run(&format!(
                "SELECT pg_sleep({pause} / 1000.0) \\g /dev/null\nBEGIN; SET LOCAL lock_timeout = '100ms'; {}; COMMIT",
                change(number, generation)
            ));
        }
        let outcome = backup.finish();
        match outcome.code() {
            0 => whole.push(label),
            1 => assert!(
                outcome.stderr.contains("a_first")
                    || outcome.stderr.contains("z_last")
                    || outcome.stderr.contains("changed"),
                "{}",
                outcome.said()
            ),
            other => panic!("exit code {other}\n{}", outcome.said()),
        }
    }
    assert_eq!(workspace.backups().len(), whole.len(), "a backup that failed has no header");
    assert!(!whole.is_empty(), "no backup got through");
    for label in whole {
        assert_promise_kept(&mut workspace, &format!("prod@{label}"), "random");
    }
}

//! Comparing rows of a backup with the live database, and putting missing ones back: what is proven
//! unchanged is not read, and the result is the one that reading everything gives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgstow_core::diff::{self, DiffOptions, RowOptions, RowReport, State};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor, Silent};
use pgstow_core::restore::RestoreSelection;
use pgstow_core::restore::missing::{self, MissingOptions, PreparedMissing};

use crate::ground::{Backup, Ground, told};

/// Long enough for anything that a test does.
const TRUSTED: Option<Duration> = Some(Duration::from_secs(24 * 3600));

/// Several chunks, TOAST, a type of the user, and partitions.
const TABLES: &str = "CREATE TYPE mood AS ENUM ('fine', 'bad'); \
     CREATE TABLE t (id int PRIMARY KEY, body text, mood mood DEFAULT 'fine'); \
     INSERT INTO t SELECT (g::bigint * 7919 % 40009)::int, repeat(md5(g::text), 31) FROM generate_series(1, 40005) g; \
     CREATE TABLE parts (k int PRIMARY KEY, v text) PARTITION BY HASH (k); \
     CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
     CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
     INSERT INTO parts SELECT g, 'v' || g FROM generate_series(1, 3000) g";

fn compare(
    ground: &Ground,
    backup: &Backup,
    table: &str,
    trusted_for: Option<Duration>,
    monitor: &dyn Monitor,
) -> RowReport {
    let options = DiffOptions {
        before: State::Backup(Box::new(backup.report.header.clone())),
        after: State::Live(Box::new(ground.settings())),
        tables: vec![format!("public.{table}")],
        counts: true,
        rows: Some(RowOptions { key: Vec::new(), limit: 100_000, trusted_for, spool: std::env::temp_dir() }),
    };
    let report = diff::run(&ground.vault.repository(), &options, monitor, &Interrupt::new());
    let mut rows = report.unwrap_or_else(|error| panic!("{}", told(&error))).rows_compared;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// Runs `then` with the rows of a table that are gone.
fn with_missing<T>(
    ground: &Ground,
    backup: &Backup,
    table: &str,
    trusted_for: Duration,
    then: impl FnOnce(PreparedMissing<'_>) -> T,
) -> T {
    let options = MissingOptions {
        connection: ground.settings(),
        selection: RestoreSelection {
            tables: vec![format!("public.{table}")],
            ..RestoreSelection::default()
        },
        key: Vec::new(),
        fire_triggers: false,
        lock_timeout: Duration::from_secs(10),
        trusted_for,
        spool: std::env::temp_dir(),
    };
    let repository = ground.vault.repository();
    let prepared = missing::prepare(&repository, &backup.report.header, &options, &Silent, &Interrupt::new());
    then(prepared.unwrap_or_else(|error| panic!("{}", told(&error))))
}

/// Rows missing, rows of the live table, and rows that were not read.
fn counted(ground: &Ground, backup: &Backup, table: &str, trusted_for: Duration) -> (u64, u64, u64) {
    with_missing(ground, backup, table, trusted_for, |prepared| {
        let found = &prepared.plan().tables[0];
        (found.missing, found.live_rows, found.rows_not_read)
    })
}

/// All that differs, in no order, and numbers of rows.
fn told_differences(report: &RowReport) -> String {
    let mut lines: Vec<String> = report.removed_rows.iter().map(|row| format!("- {row:?}")).collect();
    lines.extend(report.added_rows.iter().map(|row| format!("+ {row:?}")));
    lines.extend(report.changed_rows.iter().map(|row| format!("~ {row:?}")));
    lines.sort_unstable();
    let RowReport { rows_before, rows_after, removed, added, changed, .. } = report;
    format!("{rows_before} {rows_after} {removed} {added} {changed}\n{}", lines.join("\n"))
}

/// Compares twice, once by reading all; the report of the first.
#[track_caller]
fn agreed(ground: &Ground, backup: &Backup, table: &str) -> RowReport {
    let full = compare(ground, backup, table, None, &Silent);
    assert_eq!((full.rows_not_read, &full.read_in_full), (0, &None));
    let proven = compare(ground, backup, table, TRUSTED, &Silent);
    assert_eq!(told_differences(&proven), told_differences(&full), "{table}");
    let (gone, live, none) = counted(ground, backup, table, Duration::ZERO);
    assert_eq!((gone, live, none), (full.removed, full.rows_after, 0));
    let (gone, live, not_read) = counted(ground, backup, table, TRUSTED.unwrap());
    assert_eq!((gone, live, not_read), (full.removed, full.rows_after, proven.rows_not_read));
    proven
}

#[test]
fn only_pages_with_changes_are_read() {
    let ground = Ground::new(TABLES);
    let backup = ground.back_up();
    let chunks = &backup.table("t").chunks;
    assert!(chunks.len() >= 3, "{chunks:?}");
    let unchanged = agreed(&ground, &backup, "t");
    assert_eq!((unchanged.rows_not_read, unchanged.is_equal()), (40_005, true));

    // One row of the first chunk is gone, one of the last changes, and another comes behind it.
    ground.execute(
        "DELETE FROM t WHERE ctid = '(0,3)'; UPDATE t SET body = 'x' WHERE ctid = (SELECT max(ctid) FROM t); \
         INSERT INTO t VALUES (50000, 'new')",
    );
    let report = agreed(&ground, &backup, "t");
    assert_eq!((report.removed, report.added, report.changed), (1, 1, 1));
    let middle: u64 = chunks[1..chunks.len() - 1].iter().map(|chunk| chunk.rows).sum();
    assert_eq!(report.rows_not_read, middle);

    // An object that need not be read may even be missing.
    let object = &backup.manifest.objects[usize::try_from(chunks[1].object).unwrap()];
    let name = object.id.to_string();
    let path = ground.vault.path().join("objects").join(&name[..2]).join(format!("{name}.zst"));
    std::fs::remove_file(path).unwrap();
    let report = compare(&ground, &backup, "t", TRUSTED, &Silent);
    assert_eq!((report.removed, report.added, report.changed), (1, 1, 1));
}

#[test]
fn rows_come_back_from_the_chunks_that_changed() {
    let ground = Ground::new(TABLES);
    let backup = ground.back_up();
    let sums = |table: &str| {
        ground.value(&format!("SELECT count(*) || ' ' || sum(hashtextextended(x::text, 0)) FROM {table} x"))
    };
    let before = ["t", "parts"].map(sums);
    ground.execute(
        "DELETE FROM t WHERE ctid >= '(3,0)' AND ctid < '(5,0)'; DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t); \
         DELETE FROM parts_1",
    );
    assert_ne!(["t", "parts"].map(sums), before);
    for table in ["t", "parts"] {
        let interrupt = Interrupt::new();
        let report = with_missing(&ground, &backup, table, TRUSTED.unwrap(), |prepared| {
            assert!(prepared.plan().tables[0].rows_not_read > 0, "{table}");
            prepared.apply(&Silent, &interrupt)
        });
        let report = report.unwrap_or_else(|error| panic!("{}", told(&error)));
        assert!(report.tables[0].rows > 0);
    }
    assert_eq!(["t", "parts"].map(sums), before);
}

#[test]
fn partitions_are_proven_one_by_one() {
    let ground = Ground::new(TABLES);
    let backup = ground.back_up();
    ground.execute("DELETE FROM parts_0 WHERE k = (SELECT min(k) FROM parts_0)");
    let report = agreed(&ground, &backup, "parts");
    assert_eq!((report.removed, report.rows_not_read), (1, backup.table("parts_1").rows));
    // A row that moves to the other partition leaves neither unread.
    ground.execute("UPDATE parts SET k = 900001 WHERE k = 7");
    agreed(&ground, &backup, "parts");
}

#[test]
fn whatever_takes_the_proof_away_makes_all_be_read() {
    let changes = [
        ("VACUUM FULL t", "truncated or rewritten"),
        ("ALTER TYPE mood RENAME VALUE 'fine' TO 'good'", "mood or its type was altered"),
        (
            "ALTER TABLE t DROP COLUMN mood;; ALTER TABLE t ADD COLUMN mood mood DEFAULT 'fine'",
            "mood or its type",
        ),
        (
            "BEGIN; CREATE TABLE u AS TABLE t; ALTER TABLE u ADD PRIMARY KEY (id); DROP TABLE t; ALTER TABLE u RENAME TO t; COMMIT",
            "is another one",
        ),
    ];
    for (change, doubt) in changes {
        let ground = Ground::new(TABLES);
        let backup = ground.back_up();
        ground.execute(change);
        let report = agreed(&ground, &backup, "t");
        assert_eq!(report.rows_not_read, 0, "{change}");
        let why = report.read_in_full.unwrap_or_default();
        assert!(why.contains(doubt), "{change}: {why}");
    }
}

#[test]
fn another_past_of_the_server_and_old_backups_make_all_be_read() {
    let ground = Ground::new(TABLES);
    let backup = ground.back_up();
    let long_ago = compare(&ground, &backup, "t", Some(Duration::ZERO), &Silent);
    assert!(long_ago.read_in_full.is_some_and(|why| why.contains("full_every")));
    ground.server.restart().unwrap();
    let report = agreed(&ground, &backup, "t");
    assert_eq!(report.read_in_full.as_deref(), Some("the server was restarted"));
}

/// Does something once, when a table is begun: the snapshot is taken by then, the lock is not.
struct Meddler<'g> {
    ground: &'g Ground,
    change: &'g str,
    done: AtomicBool,
}

impl Monitor for Meddler<'_> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::TableStarted { .. }) && !self.done.swap(true, Ordering::SeqCst) {
            self.ground.execute(self.change);
        }
    }
}

/// Row versions that move keep their xmin, so only the storage tells.
#[test]
fn a_table_that_is_rewritten_after_the_snapshot_is_read() {
    for change in ["CLUSTER t USING t_pkey", "VACUUM FULL t"] {
        let ground = Ground::new(TABLES);
        let backup = ground.back_up();
        ground.execute("DELETE FROM t WHERE id < 10");
        let meddler = Meddler { ground: &ground, change, done: AtomicBool::new(false) };
        let report = compare(&ground, &backup, "t", TRUSTED, &meddler);
        assert!(meddler.done.load(Ordering::SeqCst));
        assert_eq!((report.removed, report.added, report.changed), (9, 0, 0), "{change}");
        assert_eq!(report.rows_not_read, 0, "{change}");
    }
}

/// What is committed after the snapshot is in no comparison, proven or read.
#[test]
fn writes_after_the_snapshot_are_not_seen() {
    let ground = Ground::new(TABLES);
    let backup = ground.back_up();
    let change = "DELETE FROM t WHERE id < 100; INSERT INTO t VALUES (60000, 'late')";
    let meddler = Meddler { ground: &ground, change, done: AtomicBool::new(false) };
    let report = compare(&ground, &backup, "t", TRUSTED, &meddler);
    assert!(meddler.done.load(Ordering::SeqCst));
    assert!(report.is_equal(), "{report:?}");
    assert_eq!(report.rows_not_read, 40_005);
}

#[test]
fn random_changes_are_found_as_by_reading_all() {
    let ground = Ground::new(TABLES);
    let seed: u32 = jiff::Timestamp::now().as_nanosecond().rem_euclid(1_000_000) as u32;
    println!("seed {seed}");
    let mut backup = ground.back_up();
    for round in 0..6_u32 {
        let seed = f64::from(seed + round) / 2_000_000.0;
        let from = (u64::from(round) * 7717) % 40_000;
        ground.execute(&format!(
            "SELECT setseed({seed});; \
             DELETE FROM t WHERE id BETWEEN {from} AND {from} + 300 AND random() < 0.3;; \
             UPDATE t SET body = repeat('z', (random() * 3000)::int) WHERE id BETWEEN {from} + 200 AND {from} + 500 AND random() < 0.3;; \
             INSERT INTO t SELECT 100000 * ({round} + 1) + g, md5(g::text) FROM generate_series(1, 200) g WHERE random() < 0.5;; \
             BEGIN; DELETE FROM t WHERE id % 3 = 0; ROLLBACK;; {}",
            ["VACUUM t", "SELECT 1", "VACUUM FREEZE t", "SELECT count(*) FROM t"][(round % 4) as usize]
        ));
        let report = agreed(&ground, &backup, "t");
        println!("round {round}: {} of {} rows not read", report.rows_not_read, report.rows_before);
        if round % 3 == 2 {
            backup = ground.back_up();
        }
    }
}

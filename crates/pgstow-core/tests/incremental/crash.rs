//! A commit that nobody waited for is seen by a backup and lost in a crash; its transaction id is
//! used again for another row in the same place.
//!
//! Guards: the postmaster's start (`pg_ctl -m immediate`), and that the log was flushed as far as
//! the snapshot reaches (a crash of one process, which the postmaster survives).

use std::sync::mpsc;
use std::time::Duration;

use pgstow_core::monitor::Event;

use crate::ground::{Backup, Ground, settle};
use crate::processes::{Process, crash, until_it_is_back};

/// Nobody but the WAL writer flushes: no checkpoint, no background writer, no other commit.
const CONFIGURATION: [&str; 4] = [
    "checkpoint_timeout = 1h",
    "bgwriter_lru_maxpages = 0",
    "wal_writer_delay = 10s",
    "full_page_writes = off",
];

const TABLES: &str = "CREATE TABLE still AS SELECT g AS id FROM generate_series(1, 100) g; \
     CREATE TABLE t AS SELECT g AS id, 'old' AS v FROM generate_series(1, 10) g;; CHECKPOINT";

/// How long a backup that waits for the flush is left to wait before the WAL writer goes on.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the row that matters lies and what wrote it.
fn place(ground: &Ground) -> String {
    ground.value("SELECT concat_ws(' ', ctid, xmin, v) FROM t WHERE id = 1")
}

/// Commits a row without waiting for the flush, while the WAL writer is held; backs up what is
/// seen then. `true` when the commit is on disk because the backup would not end before.
fn back_up_an_unflushed_commit(
    ground: &Ground,
    writer: Process,
    back_up: impl FnOnce() -> Backup,
) -> (Backup, bool) {
    writer.stop();
    ground.execute("SET synchronous_commit = off; UPDATE t SET v = 'lost' WHERE id = 1");
    let (done, watched) = mpsc::channel();
    let watch = std::thread::spawn(move || {
        let waits = watched.recv_timeout(PATIENCE).is_err();
        if waits {
            writer.go_on();
        }
        waits
    });
    let backup = back_up();
    // The watch has ended when its patience was over.
    let _ = done.send(());
    (backup, watch.join().expect("the watch ends"))
}

fn ground() -> (Ground, Process) {
    let ground = Ground::with_configuration(&CONFIGURATION, TABLES);
    settle(&mut ground.connect());
    ground.execute("CHECKPOINT");
    let writer = Process::wal_writer(&mut ground.connect());
    (ground, writer)
}

/// After the crash the same transaction id writes another row to the same place.
#[track_caller]
fn write_another_row(ground: &Ground, lost: &str) {
    assert!(place(ground).ends_with("old"), "the commit was lost: {}", place(ground));
    ground.execute("UPDATE t SET v = 'kept' WHERE id = 1");
    assert_eq!(place(ground), lost.replace("lost", "kept"), "the place and the transaction id come again");
}

#[track_caller]
fn the_next_backup_holds_the_new_row(ground: &Ground, first: &Backup) -> Backup {
    assert!(ground.rows(first, "t").contains("1\tlost"), "the first backup saw the commit");
    let second = ground.back_up_at_once();
    let rows = ground.rows(&second, "t");
    assert!(rows.contains("1\tkept") && !rows.contains("1\tlost"), "{rows}");
    second
}

#[test]
fn a_commit_lost_when_the_server_is_stopped_at_once_is_not_taken_over() {
    let (ground, writer) = ground();
    let (first, flushed) = back_up_an_unflushed_commit(&ground, writer, || ground.back_up_at_once());
    let lost = place(&ground);
    assert!(!flushed, "a backup does not wait for the flush for ever");
    std::thread::scope(|threads| {
        let stopping = threads.spawn(|| ground.server.stop_immediately());
        writer.until_told_to_end();
        writer.go_on();
        stopping.join().expect("no panic").expect("the server stops");
    });
    ground.server.restart().expect("the server starts");
    write_another_row(&ground, &lost);
    the_next_backup_holds_the_new_row(&ground, &first).assert_nothing_reused();
    ground.back_up().assert_nothing_read();
}

fn crash_while_the_writer_is_held(ground: &Ground, writer: Process) {
    crash(ground);
    writer.until_told_to_end();
    writer.go_on();
    until_it_is_back(ground);
}

#[test]
fn a_commit_lost_when_one_process_crashes_is_not_taken_over() {
    let (ground, writer) = ground();
    let started = "SELECT pg_postmaster_start_time()";
    let before = ground.value(started);
    let (first, flushed) = back_up_an_unflushed_commit(&ground, writer, || ground.back_up_at_once());
    let lost = place(&ground);
    assert!(!flushed, "a backup does not wait for the flush for ever");
    assert!(first.manifest.proof.as_ref().is_none_or(|proof| !proof.durable), "{:?}", first.manifest.proof);
    crash_while_the_writer_is_held(&ground, writer);
    assert_eq!(ground.value(started), before, "the postmaster survives");
    write_another_row(&ground, &lost);
    the_next_backup_holds_the_new_row(&ground, &first).assert_nothing_reused();
    ground.back_up().assert_nothing_read();
}

/// The same when the backup itself came to nothing but its chunks could serve the next one.
#[test]
fn a_lost_commit_is_not_taken_over_from_an_interrupted_backup() {
    let (ground, writer) = ground();
    writer.stop();
    ground.execute("SET synchronous_commit = off; UPDATE t SET v = 'lost' WHERE id = 1");
    let lost = place(&ground);
    // The log is not on disk, so nothing of what is finished may be written down as proven.
    crate::interruption::interrupted(
        &ground,
        |event| matches!(event, Event::TableFinished { table, .. } if *table == "public.t"),
    );
    crash_while_the_writer_is_held(&ground, writer);
    write_another_row(&ground, &lost);
    let second = ground.back_up_at_once();
    let rows = ground.rows(&second, "t");
    assert!(rows.contains("1\tkept") && !rows.contains("1\tlost"), "{rows}");
}

/// A crash that lost nothing the backup saw is no reason to read again: the log was flushed.
#[test]
fn a_crash_after_the_flush_costs_nothing() {
    let ground = Ground::new(TABLES);
    ground.execute("SET synchronous_commit = off; UPDATE t SET v = 'seen' WHERE id = 1");
    let first = ground.back_up();
    assert!(first.manifest.proof.as_ref().is_some_and(|proof| proof.durable), "{:?}", first.manifest.proof);
    crash(&ground);
    until_it_is_back(&ground);
    let second = ground.back_up();
    assert!(ground.rows(&second, "t").contains("1\tseen"));
    second.assert_nothing_read();
}

/// A backup right after a commit that nobody waited for waits for the WAL writer, which is not held.
#[test]
fn a_backup_waits_for_the_flush_of_what_it_saw() {
    let ground = Ground::with_configuration(&["wal_writer_delay = 1s", "checkpoint_timeout = 1h"], TABLES);
    let mut session = ground.connect();
    for round in 0..3 {
        session
            .execute(&format!("SET synchronous_commit = off; UPDATE t SET v = 'round {round}' WHERE id = 1"))
            .unwrap();
        let backup = ground.back_up_at_once();
        assert!(
            backup.manifest.proof.as_ref().is_some_and(|proof| proof.durable),
            "{:?}",
            backup.manifest.proof
        );
    }
}

/// An unlogged table is empty after a crash, in the same file.
#[test]
fn an_unlogged_table_emptied_by_a_crash_is_read() {
    let ground = Ground::new(&format!(
        "{TABLES};; CREATE UNLOGGED TABLE u AS SELECT g AS id FROM generate_series(1, 5) g"
    ));
    assert_eq!(ground.back_up().table("u").rows, 5);
    let filenode = ground.value("SELECT pg_relation_filenode('u')");
    crash(&ground);
    until_it_is_back(&ground);
    assert_eq!(ground.value("SELECT pg_relation_filenode('u')"), filenode);
    assert_eq!(ground.back_up().table("u").rows, 0);
    ground.execute("INSERT INTO u SELECT g + 10 FROM generate_series(1, 5) g");
    let last = ground.back_up();
    assert!(ground.rows(&last, "u").contains("11"));
}

/// Commits that nobody waits for, all the while: whatever a backup saw is either on disk when it
/// ends, or it takes back its word.
#[test]
fn a_server_that_crashes_amid_commits_nobody_waits_for_is_always_read_right() {
    let ground = Ground::with_configuration(&["wal_writer_delay = 200ms"], TABLES);
    for round in 0..3 {
        let mut session = ground.connect();
        session.execute("SET synchronous_commit = off").unwrap();
        let writes = std::sync::Mutex::new(session);
        // A write at each event of the backup, the last of them as late as possible.
        let also = |_: &Event<'_>| {
            let mut session = writes.lock().unwrap();
            session.execute(&format!("UPDATE t SET v = 'round {round}' WHERE id = 1")).unwrap();
        };
        ground.vault.back_up(&ground.options(), &also);
        crash(&ground);
        until_it_is_back(&ground);
        ground.back_up_at_once();
    }
}

/// Nobody commits while the transaction is open, so nobody flushes what it has written: the backup
/// must not take it for a sign that something it saw could be lost.
#[test]
fn a_transaction_that_waits_does_not_keep_a_backup_from_being_proven() {
    let ground = Ground::new(TABLES);
    settle(&mut ground.connect());
    let mut open = ground.connect();
    open.execute("BEGIN; INSERT INTO t VALUES (11, 'open')").unwrap();
    let first = ground.back_up_at_once();
    assert!(first.manifest.proof.as_ref().is_some_and(|proof| proof.durable), "{:?}", first.manifest.proof);
    ground.back_up_at_once().assert_nothing_read();
}

/// Reading cleans pages up, which is logged and not flushed.
#[test]
fn a_backup_that_cleans_up_catalog_pages_is_proven() {
    let ground = Ground::new(TABLES);
    for _ in 0..4 {
        ground.execute(
            "DO $$ BEGIN FOR i IN 1..60 LOOP EXECUTE 'CREATE TABLE x (a int, b int)'; EXECUTE 'ALTER TABLE x SET (fillfactor = 50)'; \
             EXECUTE 'COMMENT ON TABLE t IS ' || quote_literal(i); EXECUTE 'DROP TABLE x'; COMMIT; END LOOP; END $$",
        );
        let backup = ground.back_up_at_once();
        assert!(
            backup.manifest.proof.as_ref().is_some_and(|proof| proof.durable),
            "{:?}",
            backup.manifest.proof
        );
    }
}

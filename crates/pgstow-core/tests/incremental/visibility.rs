//! No newer row, and the same count: every way of changing what a range of pages shows is seen.
//!
//! Guards: no visible row at or above the xmin of the earlier snapshot, and the number of visible
//! rows. The transactions here keep the number of rows, so that only the first guard can see them,
//! except where the number alone tells.

use crate::change::{STILL, backed_up, is_taken_over};
use crate::ground::{Backup, Ground};

const TABLE: &str = "CREATE TABLE t AS SELECT g AS id, 0 AS v FROM generate_series(1, 100) g;";

/// Deletes a row and inserts one, in the same page.
const EXCHANGE: &str = "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1000, 1)";

/// `t` was read again, `still` was not, and the rows differ.
#[track_caller]
fn assert_only_t_was_read(ground: &Ground, first: &Backup, second: &Backup) {
    assert_ne!(ground.rows(first, "t"), ground.rows(second, "t"));
    second.assert_read(1);
}

#[track_caller]
fn a_change_is_read(change: &str) {
    let (ground, first) = backed_up(TABLE);
    ground.execute(change);
    let second = ground.back_up();
    assert_only_t_was_read(&ground, &first, &second);
}

#[test]
fn a_row_updated_in_place_is_read() {
    let (ground, first) = backed_up(
        "CREATE TABLE t (id int PRIMARY KEY, v int) WITH (fillfactor = 50); \
         INSERT INTO t SELECT g, 0 FROM generate_series(1, 100) g;",
    );
    ground.execute("UPDATE t SET v = 1 WHERE id = 50");
    let second = ground.back_up();
    assert_only_t_was_read(&ground, &first, &second);
    let hot = "SELECT pg_stat_force_next_flush(); SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 't'";
    assert_eq!(ground.value(hot), "1", "the update stayed in its page");
}

#[test]
fn one_row_deleted_and_one_inserted_is_read() {
    a_change_is_read(EXCHANGE);
}

/// Guard: the number of rows.
#[test]
fn a_row_deleted_is_seen_by_the_number_of_rows() {
    a_change_is_read("DELETE FROM t WHERE id = 100");
}

#[test]
fn a_row_in_the_place_of_a_vacuumed_one_is_read() {
    a_change_is_read("DELETE FROM t WHERE id = 1;; VACUUM t;; INSERT INTO t VALUES (1000, 1)");
}

#[test]
fn a_row_frozen_since_is_read() {
    a_change_is_read("UPDATE t SET v = 1 WHERE id = 1;; VACUUM FREEZE t");
}

#[test]
fn a_change_within_savepoints_is_read() {
    a_change_is_read(
        "BEGIN; SAVEPOINT a; DELETE FROM t WHERE id = 1; SAVEPOINT b; INSERT INTO t VALUES (1000, 1); \
         RELEASE b; SAVEPOINT c; DELETE FROM t; ROLLBACK TO c; RELEASE a; COMMIT",
    );
}

/// Rows of equal values are read again, and not stored again.
#[test]
fn a_row_updated_to_the_same_is_read_and_not_stored_again() {
    let (ground, first) = backed_up(
        "CREATE TABLE t (id int, body text); ALTER TABLE t ALTER body SET STORAGE EXTERNAL; \
         INSERT INTO t SELECT 1, repeat('long', 500000);",
    );
    ground.execute("UPDATE t SET id = id");
    let second = ground.back_up();
    assert_eq!(ground.rows(&first, "t"), ground.rows(&second, "t"));
    second.assert_read(1);
    assert_eq!(first.objects(), second.objects(), "what is equal is not stored again");
}

/// The transaction's number lies between xmin and xmax of the first snapshot: with xmax as the
/// limit its row would count as old.
#[test]
fn a_transaction_open_at_the_first_backup_is_read_when_it_has_committed() {
    let ground = Ground::new(&format!("{STILL} {TABLE}"));
    crate::ground::settle(&mut ground.connect());
    let mut open = ground.connect();
    open.execute(&format!("BEGIN; {EXCHANGE}")).unwrap();
    ground.execute("CREATE TABLE later (); CREATE TABLE and_later ()");
    let first = ground.back_up_at_once();
    open.execute("COMMIT").unwrap();
    let second = ground.back_up_at_once();
    assert!(ground.rows(&second, "t").contains("1000\t1"));
    assert_ne!(ground.rows(&first, "t"), ground.rows(&second, "t"));
    assert!(second.report.reuse.reused >= 1, "still is older: {:#?}", second.report.reuse);
}

#[test]
fn savepoints_of_a_transaction_open_at_the_first_backup_are_read_when_it_has_committed() {
    let ground = Ground::new(&format!("{STILL} {TABLE}"));
    crate::ground::settle(&mut ground.connect());
    let mut open = ground.connect();
    // More than a snapshot's list of subtransactions holds (64).
    open.execute(
        "BEGIN; DO $$ BEGIN FOR i IN 1..90 LOOP BEGIN DELETE FROM t WHERE id = i; INSERT INTO t VALUES (1000 + i, 1); \
         EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$",
    )
    .unwrap();
    ground.execute("CREATE TABLE later ()");
    let first = ground.back_up_at_once();
    open.execute("COMMIT").unwrap();
    let second = ground.back_up_at_once();
    assert!(ground.rows(&second, "t").contains("1090\t1"));
    assert_ne!(ground.rows(&first, "t"), ground.rows(&second, "t"));
    assert!(second.report.reuse.reused >= 1, "still is older: {:#?}", second.report.reuse);
}

#[test]
fn a_transaction_prepared_before_the_first_backup_is_read_when_it_has_committed() {
    let ground = Ground::new(&format!("{STILL} {TABLE}"));
    crate::ground::settle(&mut ground.connect());
    ground.execute(&format!("BEGIN; {EXCHANGE}; PREPARE TRANSACTION 'later'"));
    ground.execute("CREATE TABLE later ()");
    let first = ground.back_up_at_once();
    let between = ground.back_up_at_once();
    assert_eq!(ground.rows(&first, "t"), ground.rows(&between, "t"));
    ground.execute("COMMIT PREPARED 'later'");
    let third = ground.back_up_at_once();
    assert!(ground.rows(&third, "t").contains("1000\t1"));
    assert_ne!(ground.rows(&first, "t"), ground.rows(&third, "t"));
    assert!(third.report.reuse.reused >= 1, "still is older: {:#?}", third.report.reuse);
}

#[test]
fn a_transaction_open_at_the_first_backup_that_is_rolled_back_changes_nothing() {
    let ground = Ground::new(TABLE);
    crate::ground::settle(&mut ground.connect());
    let mut open = ground.connect();
    open.execute(&format!("BEGIN; {EXCHANGE}; DELETE FROM t WHERE id > 50")).unwrap();
    ground.execute("SELECT pg_current_xact_id()");
    let first = ground.back_up_at_once();
    open.execute("ROLLBACK").unwrap();
    let second = ground.back_up_at_once();
    assert_eq!(ground.rows(&first, "t"), ground.rows(&second, "t"));
    second.assert_nothing_read();
}

/// Visible at the first backup since the deletion had not committed. Guard: the number of rows.
#[test]
fn a_row_deleted_by_a_transaction_open_at_the_first_backup_is_gone_in_the_second() {
    let ground = Ground::new(TABLE);
    crate::ground::settle(&mut ground.connect());
    let mut open = ground.connect();
    open.execute("BEGIN; DELETE FROM t WHERE id = 7").unwrap();
    let first = ground.back_up_at_once();
    open.execute("COMMIT").unwrap();
    let second = ground.back_up_at_once();
    assert_eq!((first.table("t").rows, second.table("t").rows), (100, 99));
}

#[test]
fn aborted_transactions_leave_nothing_to_read() {
    is_taken_over(TABLE, "BEGIN; INSERT INTO t VALUES (1000, 1); UPDATE t SET v = 7; ROLLBACK");
}

#[test]
fn locked_rows_leave_nothing_to_read() {
    let (ground, _) = backed_up(TABLE);
    let (mut one, mut other) = (ground.connect(), ground.connect());
    one.execute("BEGIN; SELECT FROM t WHERE id < 10 FOR SHARE").unwrap();
    other.execute("BEGIN; SELECT FROM t WHERE id < 10 FOR KEY SHARE").unwrap();
    one.execute("COMMIT").unwrap();
    other.execute("COMMIT; BEGIN; SELECT FROM t WHERE id > 90 FOR UPDATE; COMMIT").unwrap();
    ground.back_up().assert_nothing_read();
}

#[test]
fn vacuum_and_freezing_leave_nothing_to_read() {
    is_taken_over(TABLE, "VACUUM t;; VACUUM FREEZE t;; ANALYZE t; CHECKPOINT");
}

/// About three chunks: 40 MB in rows of 1 KB.
const LARGE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int, body text) WITH (fillfactor = 80); \
     INSERT INTO t SELECT g, 0, repeat(md5(g::text), 31) FROM generate_series(1, 40000) g;";

#[test]
fn only_the_chunk_that_changed_is_read() {
    let (ground, first) = backed_up(LARGE);
    let chunks = first.table("t").chunks.len();
    assert!(chunks >= 3, "{chunks} chunks");
    ground.execute("UPDATE t SET v = 1 WHERE id = 20000");
    ground.back_up().assert_read(1);
    ground.execute("DELETE FROM t WHERE id = 1");
    ground.back_up().assert_read(1);
    ground.back_up().assert_nothing_read();
}

/// The chunks of the first backup keep their pages, although a table of this size would now be
/// divided in another way.
#[test]
fn rows_appended_to_a_large_table_are_all_that_is_read() {
    let (ground, first) = backed_up(LARGE);
    let before = first.table("t").chunks.len();
    for round in 1..=3 {
        ground.execute(&format!(
            "INSERT INTO t SELECT {round} * 100000 + g, 0, repeat(md5(g::text), 31) FROM generate_series(1, 9000) g"
        ));
        let next = ground.back_up();
        let read = next.report.reuse.chunks - next.report.reuse.reused;
        assert!(read <= 2 && next.report.reuse.reused >= before, "{:#?}", next.report.reuse);
    }
}

/// A bundle of many tables, of which one changes at a time; one grows until it is a chunk of its
/// own, and shrinks again.
#[test]
fn a_small_table_that_grows_and_shrinks_is_always_whole() {
    let (ground, _) = backed_up(
        "DO $$ BEGIN FOR i IN 1..40 LOOP EXECUTE format('CREATE TABLE small_%s AS SELECT %s AS id', i, i); \
         END LOOP; END $$; CREATE TABLE t (id int, body text);",
    );
    for (rows, reused) in [(100, 41), (6000, 41), (40_000, 41), (90, 41), (0, 41)] {
        ground.execute(&format!(
            "DELETE FROM t;; VACUUM t;; INSERT INTO t SELECT g, repeat(md5(g::text), 31) FROM generate_series(1, {rows}) g"
        ));
        let next = ground.back_up();
        assert_eq!(next.table("t").rows, rows);
        assert!(next.report.reuse.reused >= reused, "{:#?}", next.report.reuse);
    }
}

/// A change of a value that lies in the TOAST table changes the row in the heap too.
#[test]
fn a_toasted_value_that_changed_is_read_and_its_neighbours_are_not() {
    let (ground, first) = backed_up(
        "CREATE TABLE t (id int, body text, filler char(3000) DEFAULT 'x'); \
         ALTER TABLE t ALTER body SET STORAGE EXTERNAL, ALTER filler SET STORAGE PLAIN; \
         INSERT INTO t SELECT g, repeat(md5(g::text), 8000) FROM generate_series(1, 160) g;",
    );
    assert!(first.table("t").chunks.len() >= 2, "{:?}", first.table("t").chunks);
    ground.execute("UPDATE t SET body = repeat('other', 50000) WHERE id = 1");
    let second = ground.back_up();
    let read = second.report.reuse.chunks - second.report.reuse.reused;
    // The new version may lie at the end of the table.
    assert!((1..=2).contains(&read), "{:#?}", second.report.reuse);
    let toast = ground.value("SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 't'");
    ground.execute(&format!("VACUUM FULL {toast}"));
    ground.back_up().assert_nothing_read();
}

#[test]
fn large_objects_that_changed_are_read() {
    let (ground, first) =
        backed_up("CREATE TABLE t (); SELECT lo_from_bytea(4711, 'one'), lo_from_bytea(4712, 'two')");
    assert_eq!(first.manifest.large_objects.list.len(), 2);
    ground.back_up();
    for change in [
        "SELECT lo_put(4711, 1, 'x')",
        "SELECT lo_unlink(4712)",
        "SELECT lo_from_bytea(4713, ''), lo_from_bytea(4714, decode(repeat('ab', 600000), 'hex'))",
        "SELECT lo_put(4714, 599999, 'zz')",
        "BEGIN; SELECT lo_unlink(4711); SELECT lo_from_bytea(4711, 'two'); COMMIT",
        "ALTER LARGE OBJECT 4711 OWNER TO pg_monitor; GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC",
    ] {
        ground.execute(change);
        let next = ground.back_up();
        assert!(next.report.reuse.reused >= 1, "still is taken over: {change}: {:#?}", next.report.reuse);
    }
    assert_eq!(ground.back_up().manifest.large_objects.list[0].owner, "pg_monitor");
}

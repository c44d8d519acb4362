//! Transaction ids that have gone around: rows whose age has wrapped, and a counter that does so
//! between two backups.
//!
//! Guards: ages are compared as the server compares them, the earlier snapshot's xmin has 64 bits,
//! and fewer than 2^31 transactions lie in between.

use std::process::Command;

use crate::ground::{Ground, settle};

const TABLES: &str = "CREATE TABLE ancient AS SELECT g AS id, 'ancient' AS v FROM generate_series(1, 10) g; \
     CREATE TABLE t (id int, v text); INSERT INTO t SELECT g, 'ancient' FROM generate_series(1, 10) g";

/// Transactions in one file of `pg_xact`: 32 pages of 8 KiB, four transactions in a byte.
const TRANSACTIONS_PER_FILE: u64 = 32 * 8192 * 4;

/// Freezes every row of every database, so that the counter may be moved.
fn freeze_everything(ground: &Ground) {
    ground.execute("UPDATE pg_database SET datallowconn = true;; CHECKPOINT");
    for database in ["template0", "template1", "postgres"] {
        crate::ground::connect(&ground.server.settings(database)).execute("VACUUM FREEZE").expect("frozen");
    }
}

/// Stops the server, sets the next transaction id, and starts it.
fn set_next_transaction(ground: &Ground, epoch: u32, next: u64) {
    freeze_everything(ground);
    ground.server.stop().expect("the server stops");
    let data = ground.server.data_directory();
    let file = data.join("pg_xact").join(format!("{:04X}", next / TRANSACTIONS_PER_FILE));
    let made = std::fs::File::options().create(true).append(true).open(&file).expect("a file");
    made.set_len(TRANSACTIONS_PER_FILE / 4).expect("zeros");
    let program = ground.server.binaries().program("pg_resetwal");
    let arguments = ["-f", "-x", &next.to_string(), "-e", &epoch.to_string(), "-D"];
    run_as_owner(data, Command::new(program).args(arguments).arg(data));
    ground.server.restart().expect("the server starts");
}

/// Runs a program as the account that owns the cluster: it refuses root.
fn run_as_owner(data: &std::path::Path, command: &mut Command) {
    use std::os::unix::fs::{MetadataExt, chown};
    use std::os::unix::process::CommandExt;
    let owner = std::fs::metadata(data).expect("the data directory");
    for entry in std::fs::read_dir(data.join("pg_xact")).expect("a folder").flatten() {
        chown(entry.path(), Some(owner.uid()), Some(owner.gid())).expect("given to the owner");
    }
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let output = command.env_clear().current_dir("/").output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn next_transaction(ground: &Ground) -> u64 {
    ground.value("SELECT pg_snapshot_xmax(pg_current_snapshot())").parse().expect("a number")
}

/// In steps: a counter may be at most about 2^31 ahead of what is not frozen.
pub(crate) fn start_at(ground: &Ground, epoch: u32, next: u64) {
    for step in [1_500_000_000, 3_000_000_000, 4_200_000_000_u64] {
        if next > step {
            set_next_transaction(ground, 0, step);
        }
    }
    set_next_transaction(ground, epoch, next);
}

/// One life of a postmaster: a backup, an update of old and new rows, a backup.
fn updates_are_read(ground: &Ground, before_change: u32) {
    settle(&mut ground.connect());
    ground.back_up();
    let mut session = ground.connect();
    for _ in 0..before_change {
        session.execute("SELECT pg_current_xact_id()").expect("a transaction id");
    }
    session.execute("UPDATE t SET v = 'new' WHERE id = 5").expect("updated");
    let second = ground.back_up();
    let rows = ground.rows(&second, "t");
    assert!(rows.contains("5\tnew") && rows.contains("4\tancient"), "{rows}");
    assert_eq!(second.table("t").rows, 10);
    // Rows written now are proven whatever the frozen ones look like.
    ground.execute("CREATE TABLE late AS SELECT 1 AS id");
    ground.back_up();
    let last = ground.back_up();
    assert!(last.report.reuse.reused >= 1, "{:#?}", last.report.reuse);
    ground.execute("UPDATE late SET id = 2; UPDATE ancient SET v = 'new' WHERE id = 1");
    let last = ground.back_up();
    assert!(ground.rows(&last, "ancient").contains("1\tnew"));
    assert_eq!(ground.rows(&last, "late"), "2");
}

/// Raw ids of frozen rows look newer than anything: that costs a read, and no more.
#[test]
fn rows_more_than_two_billion_transactions_old_are_never_taken_over_wrongly() {
    let ground = Ground::new(TABLES);
    start_at(&ground, 0, 2_500_000_000);
    assert!(next_transaction(&ground) >= 2_500_000_000);
    let age = "SELECT age(xmin) < 0 FROM t WHERE id = 1";
    assert_eq!(ground.value(age), "t", "the age of the oldest rows has wrapped");
    updates_are_read(&ground, 0);
}

/// The counter passes 2^32 between the two backups.
#[test]
fn a_counter_that_passes_its_end_between_two_backups_is_read_right() {
    let ground = Ground::new(TABLES);
    start_at(&ground, 0, (1 << 32) - 2000);
    let mut session = ground.connect();
    while next_transaction(&ground) < (1 << 32) - 60 {
        session
            .execute("DO $$ BEGIN FOR i IN 1..20 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
            .unwrap();
    }
    session.execute("INSERT INTO t VALUES (11, 'late'); DELETE FROM t WHERE id = 10").unwrap();
    drop(session);
    updates_are_read(&ground, 100);
    assert!(next_transaction(&ground) > 1 << 32);
}

/// In the second round of the counter, its low half is small again.
#[test]
fn a_server_in_a_later_round_of_its_counter_is_read_right() {
    let ground = Ground::new(TABLES);
    start_at(&ground, 3, 1_000_000);
    assert!(next_transaction(&ground) > 3 << 32);
    updates_are_read(&ground, 10);
}

/// The same counter once more: a new postmaster is a new history.
#[test]
fn a_counter_set_back_between_two_backups_is_read() {
    let ground = Ground::new(TABLES);
    set_next_transaction(&ground, 0, 3_000_000);
    ground.execute("UPDATE t SET v = 'first' WHERE id = 1");
    let first = ground.back_up();
    // Undo the update and write another row by the same transaction id.
    let xmin: u64 = ground.value("SELECT xmin FROM t WHERE id = 1").parse().expect("a number");
    set_next_transaction(&ground, 0, xmin);
    ground.execute("UPDATE t SET v = 'other' WHERE id = 1");
    assert_eq!(ground.value("SELECT xmin FROM t WHERE id = 1"), xmin.to_string());
    let second = ground.back_up();
    assert!(ground.rows(&first, "t").contains("first") && ground.rows(&second, "t").contains("other"));
    second.assert_nothing_reused();
}

//! Catalogs whose oldest rows lie more than 2^31 transactions back: their ages have wrapped.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use pgstow_core::postgres::server::ServerOptions;

use crate::ground::{Ground, SUPERUSER, programs};

/// Transactions in one file of `pg_xact`: 32 pages of 8 KiB, four transactions in a byte.
const TRANSACTIONS_PER_FILE: u64 = 32 * 8192 * 4;

/// Freezes every row, stops the server, moves its counter on and starts it.
fn set_next_transaction(ground: &Ground, next: u64) {
    ground.execute("postgres", "UPDATE pg_catalog.pg_database SET datallowconn = true");
    for database in ["template0", "template1", "postgres", "source", "target", "other"] {
        ground.execute(database, "VACUUM FREEZE");
    }
    ground.server.stop().expect("the server stops");
    let data = ground.server.data_directory();
    let owner = fs::metadata(data).expect("the data directory");
    let file = data.join("pg_xact").join(format!("{:04X}", next / TRANSACTIONS_PER_FILE));
    let made = fs::File::options().create(true).append(true).open(&file).expect("a file");
    made.set_len(TRANSACTIONS_PER_FILE / 4).expect("zeros");
    chown(&file, Some(owner.uid()), Some(owner.gid())).expect("given to the owner");
    let mut command = Command::new(programs("client").join("pg_resetwal"));
    command.args(["-f", "-x", &next.to_string(), "-D"]).arg(data).env_clear().current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let output = command.output().expect("pg_resetwal runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ground.server.restart().expect("the server starts");
}

#[test]
fn rows_from_very_long_ago_do_not_look_new() {
    let options =
        ServerOptions { binaries: Some(programs("client")), durable: true, ..ServerOptions::default() };
    let ground = Ground::with_options(15, options);
    for next in [1_500_000_000, 2_900_000_000, 4_100_000_000] {
        set_next_transaction(&ground, next);
        assert!(!ground.takes_over(SUPERUSER, "the server was restarted"), "{next}");
        assert!(ground.takes_over(SUPERUSER, "nothing changed"), "{next}");
        ground.execute("source", &format!("COMMENT ON TABLE people IS 'at {next}'"));
        assert!(!ground.takes_over(SUPERUSER, "a comment"), "{next}");
        ground.assert_like_a_full_backup(SUPERUSER);
    }
}

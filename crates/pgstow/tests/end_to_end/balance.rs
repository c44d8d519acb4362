//! One snapshot: while money moves between accounts, every backup restored has the same total.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::Workspace;

/// Accounts in two tables and several partitions; money moves within and between them, and whole
/// accounts move between partitions.
const BANK: &str = "
CREATE TABLE checking (id integer, region integer, balance bigint NOT NULL, padding text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE checking_0 PARTITION OF checking FOR VALUES IN (0);
CREATE TABLE checking_1 PARTITION OF checking FOR VALUES IN (1);
CREATE TABLE saving (id integer PRIMARY KEY, balance bigint NOT NULL, padding text);
INSERT INTO checking SELECT n, n % 2, 1000, repeat('p', 600) FROM generate_series(1, 20000) AS n;
INSERT INTO saving SELECT n, 1000, repeat('p', 600) FROM generate_series(1, 20000) AS n;
CREATE PROCEDURE transfers(writer integer, seed float8) LANGUAGE plpgsql AS $$
DECLARE
    amount integer;
    one integer;
    other integer;
BEGIN
    PERFORM setseed(seed);
    FOR round IN 1..50 LOOP
        amount := 1 + random() * 100;
        -- A row that moves to another partition must not be changed by two writers at once.
        one := 1 + writer + 3 * (random() * 6600)::integer;
        other := 1 + random() * 19999;
        UPDATE checking SET balance = balance - amount, region = 1 - region WHERE id = one;
        UPDATE saving SET balance = balance + amount WHERE id = other;
        COMMIT;
    END LOOP;
END $$;
";

/// All money, and the number of accounts.
const TOTAL: &str = "SELECT (SELECT sum(balance) FROM checking) + (SELECT sum(balance) FROM saving),
                            (SELECT count(*) FROM checking), (SELECT count(*) FROM saving)";

#[test]
fn every_backup_under_transfers_has_the_same_total() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("bank");
    source.run(BANK);
    let total = source.value(TOTAL);
    let mut workspace = Workspace::with_source(&source);
    let seed: u64 = rand_seed();
    eprintln!("seed {seed}");

    let stop = AtomicBool::new(false);
    let mut backups = Vec::new();
    std::thread::scope(|scope| {
        for writer in 0..3_u64 {
            let (source, stop) = (&source, &stop);
            scope.spawn(move || {
                let mut session = source.session();
                let mut round = seed + writer;
                while !stop.load(Ordering::SeqCst) {
                    round = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    session
                        .run(&format!("CALL transfers({writer}, {})", (round >> 40) as f64 / 16_777_216.0));
                }
            });
        }
        for number in 0..4 {
            let label = format!("b{number}");
            backups.push(workspace.backup(&["--label", &label, "--jobs", "3"]));
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_ne!(source.value("SELECT sum(balance) FROM saving"), "20000000", "no money moved");
    assert_eq!(source.value(TOTAL), total, "the transfers themselves lose money");

    for (number, id) in backups.iter().enumerate() {
        let target = server.database("bank_restored");
        let name = format!("T{number}");
        workspace.environment(&name, &target.url());
        workspace.run(&["restore", id, "--to", &name.to_lowercase()]).succeeded();
        assert_eq!(target.value(TOTAL), total, "{id}");
        target.drop_database();
    }
}

fn rand_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map(|time| u64::from(time.subsec_nanos())).unwrap_or_default()
}

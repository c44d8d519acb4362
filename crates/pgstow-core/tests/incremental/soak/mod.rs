//! Writers of every sort against repeated backups, each of which is compared with its snapshot.
//!
//! Two kinds of rounds. In an open one everything happens while the backup runs; tables whose text
//! depends on definitions that no lock holds still are not compared then, since a read at another
//! moment gives another text, whoever reads. In a still one definitions stay as they are from the
//! snapshot to the comparison, and everything is compared, the definitions too: what an open round
//! recorded wrongly comes to light here. In between, backups are interrupted and the server crashes.
//!
//! `PGSTOW_SOAK_SEED` repeats the choices of a run as far as threads allow.
#![allow(clippy::print_stdout, reason = "a random test prints its seed and what it did")]

mod definitions;
mod journal;
mod pace;
mod random;
mod rounds;
mod rows;
mod tables;
mod world;
mod writer;

use std::time::Duration;

use rounds::Soak;

/// How long the test in the ordinary suite goes on; longer where something never happened yet.
const SHORT: Duration = Duration::from_secs(20);
/// Minutes of the long test.
const LONG_MINUTES: u64 = 10;

#[test]
fn no_backup_amid_random_writes_differs_from_its_snapshot() {
    Soak::new(seed(), false).run(SHORT);
}

/// `make soak` runs it. With an odd seed transaction ids begin anew on the way.
#[test]
#[ignore = "takes PGSTOW_SOAK_MINUTES (10): make soak"]
fn no_backup_amid_random_writes_differs_from_its_snapshot_for_long() {
    let minutes = number("PGSTOW_SOAK_MINUTES").unwrap_or(LONG_MINUTES);
    let seed = seed();
    Soak::new(seed, seed % 2 == 1).run(Duration::from_secs(minutes * 60));
}

fn seed() -> u64 {
    number("PGSTOW_SOAK_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::try_from(now.expect("after 1970").as_nanos() % 1_000_000_000_000).expect("it fits")
    })
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

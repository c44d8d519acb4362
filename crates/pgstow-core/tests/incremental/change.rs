//! One backup, a change, another backup: what was read again.

use crate::ground::{Backup, Ground};

/// A table that no test changes: it must be taken over, or the test would show nothing. It is large
/// enough to be a chunk of its own (more than 1 MiB): what shares an object with others may be read
/// again with them.
pub(crate) const STILL: &str =
    "CREATE TABLE still AS SELECT g AS id, repeat(md5(g::text), 31) AS body FROM generate_series(1, 1500) g;";

/// A server with the table `still` and what `setup` makes, backed up once.
pub(crate) fn backed_up(setup: &str) -> (Ground, Backup) {
    let ground = Ground::new(&format!("{STILL} {setup}"));
    let first = ground.back_up();
    (ground, first)
}

/// A change that leaves every row as it is: nothing is read again.
#[track_caller]
pub(crate) fn is_taken_over(setup: &str, change: &str) {
    let (ground, first) = backed_up(setup);
    ground.execute(change);
    let second = ground.back_up();
    assert_eq!(ground.rows(&first, "t"), ground.rows(&second, "t"));
    second.assert_nothing_read();
}

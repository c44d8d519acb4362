//! Waits for something to become true, as long as it takes and not longer than a hang.

use std::time::{Duration, Instant};

use super::psql::Database;

/// Nothing that is waited for takes this long unless it never comes.
const HANG: Duration = Duration::from_secs(120);

/// Asks until the answer is yes; stops the test when it never is.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < HANG, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a session of the program (or of its pg_dump) waits for a lock in this database.
#[track_caller]
pub(crate) fn until_a_client_waits_for_a_lock(database: &Database) {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND application_name <> 'psql' AND backend_type = 'client backend' AND wait_event_type = 'Lock'";
    until("a lock is waited for", || database.value(query) != "0");
}

/// Waits until none of the program's sessions is left in this database.
#[track_caller]
pub(crate) fn until_all_clients_are_gone(database: &Database) {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND application_name <> 'psql' AND backend_type = 'client backend'";
    until("sessions end", || database.value(query) == "0");
}

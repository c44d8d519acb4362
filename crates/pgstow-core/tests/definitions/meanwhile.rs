//! What happens while a backup runs: its files may hold something newer than its snapshot. The next
//! backup must not take that over.

use std::sync::atomic::{AtomicBool, Ordering};

use pgstow_core::backup::{BackupOptions, BackupReport};
use pgstow_core::monitor::{Event, Monitor};

use crate::ground::{Ground, OWNER, SUPERUSER};

/// Runs a statement once, after the snapshot was taken and before definitions are read.
struct AfterSnapshot<'g> {
    ground: &'g Ground,
    statement: &'static str,
    done: AtomicBool,
}

impl Monitor for AfterSnapshot<'_> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Snapshot { .. }) && !self.done.swap(true, Ordering::SeqCst) {
            self.ground.execute("source", self.statement);
        }
    }
}

fn back_up_meanwhile(ground: &Ground, role: &str, statement: &'static str) -> BackupReport {
    let monitor = AfterSnapshot { ground, statement, done: AtomicBool::new(false) };
    let options = BackupOptions { full: true, ..ground.options(role) };
    let report = ground.run(&options, &monitor);
    assert!(monitor.done.load(Ordering::SeqCst));
    report
}

/// A statement that runs after the snapshot, what takes it back, and a file of that backup with words that
/// only the statement can have put there.
struct Detour {
    there: &'static str,
    back: &'static str,
    early: Option<(&'static str, &'static str)>,
}

const DETOURS: [Detour; 4] = [
    Detour {
        there: "CREATE OR REPLACE VIEW names AS SELECT name || '!' AS name FROM people",
        back: "CREATE OR REPLACE VIEW names AS SELECT name FROM people",
        early: None,
    },
    Detour {
        there: "CREATE OR REPLACE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT 0'",
        back: "CREATE OR REPLACE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT x * 2'",
        early: Some(("catalog.json.zst", "SELECT 0")),
    },
    Detour {
        there: "ALTER ROLE reader RENAME TO student",
        back: "ALTER ROLE student RENAME TO reader",
        early: Some(("grants.sql", "student")),
    },
    Detour {
        there: "ALTER DATABASE source SET quote_all_identifiers = on",
        back: "ALTER DATABASE source RESET quote_all_identifiers",
        early: Some(("schema.sql", "\"public\".\"people\"")),
    },
];

fn what_came_after_the_snapshot_is_never_taken_over(major: u32) {
    let ground = Ground::new(major);
    for role in [SUPERUSER, OWNER] {
        for Detour { there, back, early } in DETOURS {
            let report = back_up_meanwhile(&ground, role, there);
            if let Some((file, words)) = early {
                let text = ground.readable(&report.header)[file].concat();
                assert!(text.contains(words), "PostgreSQL {major}: {role}: {there}: {text}");
            }
            ground.execute("source", back);
            let proof = ground.manifest(&report.header).proof.and_then(|proof| proof.definitions);
            let unseen = role == OWNER && there.contains("ROLE");
            assert_eq!(proof.is_none(), unseen, "PostgreSQL {major}: {role}: views show no xmin: {there}");
            let reused = ground.takes_over(role, back);
            assert!(!reused || unseen, "PostgreSQL {major}: {role}: {back}");
            ground.assert_like_a_full_backup(role);
        }
    }
}

#[test]
fn what_came_after_the_snapshot_is_never_taken_over_on_13() {
    what_came_after_the_snapshot_is_never_taken_over(13);
}

#[test]
fn what_came_after_the_snapshot_is_never_taken_over_on_15() {
    what_came_after_the_snapshot_is_never_taken_over(15);
}

#[test]
fn what_came_after_the_snapshot_is_never_taken_over_on_18() {
    what_came_after_the_snapshot_is_never_taken_over(18);
}

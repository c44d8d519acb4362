//! Restores that end at a boundary between two phases: at each that is announced, in every way of
//! restoring, interrupted or with all sessions ended by the server. Afterwards the target is what it was,
//! by itself or after an undo. What stock pg_dump writes of it decides.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgstow_core::ErrorKind;
use pgstow_core::backup::{self, BackupOptions};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor, Silent};
use pgstow_core::repository::format::header::{Header, SAFETY_LABEL, Safety};
use pgstow_core::repository::format::id::{EnvironmentName, Label};
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::restore::{self, Protection, RestoreOptions, RestoreReport};

use crate::ground::{EVERYTHING, Ground, assert_same_dump, told};

/// What the target holds before: nothing of the backup's, and something in each place that a restore
/// changes.
const BEFORE: &str = "CREATE TABLE t (id serial PRIMARY KEY, v text); INSERT INTO t (v) SELECT 'v' FROM generate_series(1, 50); \
     CREATE VIEW shown AS SELECT id FROM t; CREATE SCHEMA kept; CREATE TABLE kept.precious (x int); \
     INSERT INTO kept.precious VALUES (1); GRANT SELECT ON t TO PUBLIC; SELECT lo_from_bytea(77, 'mine'); \
     ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; CREATE PUBLICATION mine FOR TABLE kept.precious";

/// How the target is restored into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Atomic,
    IntoEmpty,
    InParallel,
}

/// What happens at the boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Interrupt,
    Terminate,
}

/// Does something when the phase of this number is announced.
struct At<'a> {
    boundary: usize,
    seen: AtomicUsize,
    phases: Mutex<Vec<String>>,
    act: &'a (dyn Fn() + Sync),
}

impl<'a> At<'a> {
    fn new(boundary: usize, act: &'a (dyn Fn() + Sync)) -> Self {
        Self { boundary, seen: AtomicUsize::new(0), phases: Mutex::new(Vec::new()), act }
    }

    fn phases(&self) -> Vec<String> {
        self.phases.lock().expect("no panic").clone()
    }
}

impl Monitor for At<'_> {
    fn event(&self, event: Event<'_>) {
        let Event::Phase { name } = event else { return };
        self.phases.lock().expect("no panic").push(name.to_owned());
        if self.seen.fetch_add(1, Ordering::SeqCst) == self.boundary {
            (self.act)();
        }
    }
}

struct Stage {
    ground: Ground,
    header: Header,
}

impl Stage {
    fn new() -> Self {
        let ground = Ground::new(EVERYTHING);
        let header = ground.back_up(Selection::default());
        ground.execute("postgres", "CREATE DATABASE state");
        ground.execute("state", BEFORE);
        Self { ground, header }
    }

    /// A target as it is before; what pg_dump writes of it.
    fn reset(&self, way: Way) -> String {
        let template = if way == Way::IntoEmpty { "template0" } else { "state" };
        self.ground.execute("postgres", "DROP DATABASE target WITH (FORCE)");
        self.ground.execute("postgres", &format!("CREATE DATABASE target TEMPLATE {template}"));
        self.ground.dump("target")
    }

    fn name() -> EnvironmentName {
        EnvironmentName::new("target").expect("a name")
    }

    /// A safety backup, as the command takes it.
    fn protection(&self, target: &str) -> Protection {
        let options = BackupOptions {
            label: Some(Label::new(SAFETY_LABEL).expect("a label")),
            safety: Some(Safety { target: target.to_owned(), before: self.header.id.to_string() }),
            pg_dump: Some(self.ground.pg_dump()),
            ..BackupOptions::new(Self::name(), self.ground.settings("target"))
        };
        let report = backup::run(&self.ground.repository(), &options, &Silent, &Interrupt::new());
        Protection { backup: report.expect("a backup").header, command: "pgstow undo target".to_owned() }
    }

    fn options(&self, way: Way) -> RestoreOptions {
        RestoreOptions {
            jobs: 3,
            clean: way != Way::IntoEmpty,
            in_parallel: way == Way::InParallel,
            safety_backup: true,
            ..RestoreOptions::new(self.ground.settings("target"))
        }
    }

    fn restore(
        &self,
        way: Way,
        monitor: &dyn Monitor,
        interrupt: &Interrupt,
    ) -> pgstow_core::Result<RestoreReport> {
        let repository = self.ground.repository();
        let mut prepared = restore::prepare(&repository, &self.header, &self.options(way), interrupt)?;
        assert_eq!(prepared.plan().atomic, way == Way::Atomic);
        assert!(prepared.plan().safety_backup);
        let protection = self.protection(&prepared.plan().target);
        prepared.protect(protection);
        prepared.apply(monitor, interrupt)
    }

    fn terminate(&self) {
        self.ground.execute(
            "postgres",
            "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = 'target'",
        );
    }

    /// Ends one restore at a boundary; the phase that it was.
    fn end_at(&self, way: Way, end: End, boundary: usize) -> String {
        let before = self.reset(way);
        let interrupt = Interrupt::new();
        let act = || match end {
            End::Interrupt => interrupt.trigger(),
            End::Terminate => self.terminate(),
        };
        let monitor = At::new(boundary, &act);
        let result = self.restore(way, &monitor, &interrupt);
        let phase = monitor.phases().get(boundary).cloned().expect("the phase came");
        let case = format!("{way:?}, {end:?} at {phase}");
        match result {
            // The transaction was committed before statistics are collected.
            Ok(_) => assert!(way == Way::Atomic && phase == "analyze", "{case} did not end it"),
            Err(error) => self.check_failure(&error, way, end, &phase, &before),
        }
        phase
    }

    fn check_failure(&self, error: &pgstow_core::Error, way: Way, end: End, phase: &str, before: &str) {
        let case = format!("{way:?}, {end:?} at {phase}: {}", told(error));
        assert_eq!(error.kind() == ErrorKind::Interrupted, end == End::Interrupt, "{case}");
        let hints = error.hints().join("\n");
        // Clearing is a transaction of its own; and a failure that is nobody's wish is undone at once.
        let by_itself =
            way == Way::Atomic || (way == Way::InParallel && (phase == "clear" || end == End::Terminate));
        assert_eq!(hints.contains("the target is as it was"), by_itself, "{case}");
        let repository = self.ground.repository();
        let found = restore::way_back(&repository, &Self::name(), &[]);
        if by_itself {
            assert_same_dump(&self.ground.dump("target"), before);
            assert_eq!(found.expect_err(&case).kind(), ErrorKind::Refused);
            return;
        }
        assert!(hints.contains("pgstow undo target"), "{case}");
        let found = found.unwrap_or_else(|error| panic!("{case}\n{}", told(&error)));
        let options = RestoreOptions::to_undo(self.ground.settings("target"));
        let receipt = self.ground.restore_exactly(&found.backup, &options);
        assert_eq!(receipt.backup, found.backup.id);
        assert_same_dump(&self.ground.dump("target"), before);
    }

    /// Ends restores at every boundary there is.
    fn end_everywhere(&self, way: Way) {
        self.reset(way);
        let none = At::new(usize::MAX, &|| ());
        let report = self.restore(way, &none, &Interrupt::new());
        assert!(report.is_ok(), "{}", report.err().map(|error| told(&error)).unwrap_or_default());
        let phases = none.phases();
        for (boundary, expected) in phases.iter().enumerate() {
            for end in [End::Interrupt, End::Terminate] {
                assert_eq!(self.end_at(way, end, boundary), *expected);
            }
        }
        let expected: &[&str] = match way {
            Way::IntoEmpty => &["definitions", "rows", "indexes and constraints", "verification"],
            Way::Atomic => &["clear", "definitions", "rows", "verification", "analyze"],
            Way::InParallel => &["clear", "definitions", "rows", "verification"],
        };
        assert!(expected.iter().all(|phase| phases.iter().any(|found| found == phase)), "{phases:?}");
    }
}

#[test]
fn an_atomic_restore_that_ends_at_any_boundary_leaves_the_target_as_it_was() {
    Stage::new().end_everywhere(Way::Atomic);
}

#[test]
fn a_parallel_restore_into_nothing_that_ends_at_any_boundary_is_undone() {
    Stage::new().end_everywhere(Way::IntoEmpty);
}

#[test]
fn a_parallel_restore_over_something_that_ends_at_any_boundary_is_undone() {
    Stage::new().end_everywhere(Way::InParallel);
}

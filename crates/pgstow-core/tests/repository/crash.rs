//! A store that fails at the n-th operation, for every n: earlier backups stay good, the new one
//! is whole or absent, and the next run succeeds.

use std::path::Path;
use std::time::Duration;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::verify::{Reading, verify};

use crate::faulty::{Fault, Faulty, Plan, fast_folder};
use crate::sample::*;

const SECOND_RUN: &str = "2026-12-01T00:00:00Z";

/// Opens (or creates) the repository under the plan and stores one more backup.
fn one_more(root: &Path, plan: &Plan) -> pgstow_core::Result<Header> {
    let repository = Repository::open_or_init(Box::new(Faulty::new(root, plan)), time(SECOND_RUN))?;
    store_backup(&repository, &environment("prod"), None, time(SECOND_RUN), 20)
}

/// As [`one_more`], writing progress on the way.
fn one_more_with_progress(root: &Path, plan: &Plan) -> pgstow_core::Result<Header> {
    let repository = Repository::open(Box::new(Faulty::new(root, plan)))?;
    let (draft, stored) = begin_with_progress(&repository, &environment("prod"), time(SECOND_RUN), 20)?;
    finish(draft, time(SECOND_RUN), &stored)
}

/// As [`one_more_with_progress`], interrupted by the user.
fn one_interrupted(root: &Path, plan: &Plan) -> pgstow_core::Result<()> {
    let repository = Repository::open(Box::new(Faulty::new(root, plan)))?;
    let (draft, _) = begin_with_progress(&repository, &environment("prod"), time(SECOND_RUN), 20)?;
    drop(draft);
    Ok(())
}

pub(crate) fn all_good(root: &Path) -> Vec<Header> {
    all_good_in(&open(root))
}

fn all_good_in(repository: &Repository) -> Vec<Header> {
    let listing = repository.list().unwrap();
    assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
    for header in &listing.backups {
        let report = verify(repository, header, &Reading::All, &Silent, &Interrupt::new()).unwrap();
        assert!(report.is_good(), "{report:?}");
    }
    listing.backups
}

/// Fails at each operation in turn; `check` looks at the repository after each failure, and is told
/// the operation and whether the run said that it succeeded.
fn fail_at_each<T>(
    fault: Fault,
    prepare: impl Fn(&Path),
    run: impl Fn(&Path, &Plan) -> pgstow_core::Result<T>,
    check: impl Fn(&Path, usize, bool),
) {
    for at in 0.. {
        let place = fast_folder();
        prepare(place.path());
        let plan = Plan::new(fault, at);
        let outcome = run(place.path(), &plan);
        if plan.operations() <= at {
            outcome.unwrap();
            assert!(at > 15, "only {at} operations were seen");
            return;
        }
        check(place.path(), at, outcome.is_ok());
        one_more(place.path(), &Plan::harmless()).unwrap();
        all_good(place.path());
    }
}

fn one_backup(root: &Path) {
    store_backup(&init(root), &environment("prod"), None, time("2026-11-01T00:00:00Z"), 10).unwrap();
}

#[test]
fn a_single_failure_leaves_earlier_backups_good_and_no_trace_of_the_new_one() {
    fail_at_each(Fault::Once, one_backup, one_more, |root, at, _| {
        let backups = all_good(root);
        assert!(matches!(backups.len(), 1 | 2), "operation {at}");
        assert!(files(&root.join("tmp")).is_empty(), "operation {at}: {:?}", files(&root.join("tmp")));
    });
}

#[test]
fn a_single_failure_that_is_reported_leaves_no_new_backup() {
    for fault in [Fault::Once, Fault::OnceAfter] {
        fail_at_each(fault, one_backup, one_more, |root, at, committed| {
            assert_eq!(all_good(root).len(), 1 + usize::from(committed), "{fault:?} at {at}");
            let unfinished = open(root).list().unwrap().unfinished;
            // A folder that was created without our knowing is left, empty.
            assert!(unfinished.is_empty() || fault == Fault::OnceAfter, "{fault:?} at {at}: {unfinished:?}");
        });
    }
}

#[test]
fn a_death_before_any_operation_leaves_earlier_backups_good_and_the_new_one_only_if_it_was_reported() {
    fail_at_each(Fault::DiesBefore, one_backup, one_more, |root, at, committed| {
        assert_eq!(all_good(root).len(), 1 + usize::from(committed), "operation {at}");
    });
}

#[test]
fn a_death_after_any_operation_leaves_earlier_backups_good_and_the_new_one_whole_or_absent() {
    fail_at_each(Fault::DiesAfter, one_backup, one_more, |root, at, committed| {
        let backups = all_good(root).len();
        assert!(backups == 2 || (backups == 1 && !committed), "operation {at}");
    });
}

#[test]
fn a_death_while_the_repository_is_created_does_not_stand_in_the_way_of_the_next_run() {
    for fault in [Fault::DiesBefore, Fault::DiesAfter] {
        fail_at_each(fault, |_| (), one_more, |_, _, _| ());
    }
}

const ENDED: &str = "prod_2026-11-02T00-00-00Z";
const SILENT: &str = "prod_2026-11-03T00-00-00Z";
const OF_DEV: &str = "dev_2026-11-04T00-00-00Z";

/// One good backup, an interrupted one, a killed one, and an interrupted one of `dev`.
fn with_unfinished_ones(root: &Path) {
    one_backup(root);
    let repository = open(root);
    let begin =
        |name, at, seed| begin_with_progress(&repository, &environment(name), time(at), seed).unwrap().0;
    drop(begin("prod", "2026-11-02T00:00:00Z", 11));
    std::mem::forget(begin("prod", "2026-11-03T00:00:00Z", 12));
    let silent = root.join("backups").join(SILENT);
    files(&silent).iter().for_each(|file| age(&silent.join(file), Duration::from_hours(25)));
    drop(begin("dev", "2026-11-04T00:00:00Z", 13));
}

/// What unfinished backups offer is theirs, consistent and stored.
fn offers_are_good(root: &Path) {
    let repository = open(root);
    let unfinished = repository.list().unwrap().unfinished;
    for manifest in repository.unfinished(&environment("prod")).unwrap() {
        assert_eq!(manifest.validate(), Ok(()));
        assert!(unfinished.contains(&manifest.backup.to_string()), "{}", manifest.backup);
        manifest.objects.iter().for_each(|object| repository.check_object(&manifest, object).unwrap());
    }
    assert!(unfinished.iter().any(|folder| folder == OF_DEV));
    assert_eq!(files(&root.join("backups").join(OF_DEV)).len(), 2, "progress and mark");
}

const FAULTS: [Fault; 4] = [Fault::Once, Fault::OnceAfter, Fault::DiesBefore, Fault::DiesAfter];

#[test]
fn a_failure_anywhere_in_a_backup_that_writes_progress_and_clears_folders_harms_nothing() {
    for fault in FAULTS {
        fail_at_each(fault, with_unfinished_ones, one_more_with_progress, |root, at, committed| {
            let backups = all_good(root).len();
            let is_told = backups == 1 + usize::from(committed);
            assert!(is_told || (fault == Fault::DiesAfter && backups == 2), "{fault:?} at {at}");
            offers_are_good(root);
            // The next run goes on where this one ended.
            one_more(root, &Plan::harmless()).unwrap();
            let unfinished = open(root).list().unwrap().unfinished;
            assert!(!unfinished.iter().any(|folder| folder == ENDED || folder == SILENT), "{unfinished:?}");
            offers_are_good(root);
        });
    }
}

#[test]
fn progress_once_written_is_not_lost_to_a_failure_of_the_next() {
    for fault in FAULTS {
        let is_written = std::cell::Cell::new(false);
        let twice = |root: &Path, plan: &Plan| {
            is_written.set(false);
            let repository = Repository::open_or_init(Box::new(Faulty::new(root, plan)), time(SECOND_RUN))?;
            let (mut draft, stored) =
                begin_with_progress(&repository, &environment("prod"), time(SECOND_RUN), 20)?;
            is_written.set(true);
            draft.write_progress(&progress(&draft.id().clone(), time(SECOND_RUN), &stored, 3))
        };
        let check = |root: &Path, at, _| {
            let offered = open(root).unfinished(&environment("prod")).unwrap();
            assert!(!is_written.get() || offered.len() == 1, "{fault:?} at {at}");
        };
        fail_at_each(fault, |root| drop(init(root)), twice, check);
    }
}

#[test]
fn a_failure_anywhere_in_an_interrupted_backup_leaves_its_progress_or_nothing() {
    for fault in FAULTS {
        fail_at_each(fault, with_unfinished_ones, one_interrupted, |root, at, done| {
            assert_eq!(all_good(root).len(), 1, "{fault:?} at {at}");
            offers_are_good(root);
            let offered = open(root).unfinished(&environment("prod")).unwrap();
            assert!(!done || offered.len() == 3, "{fault:?} at {at}: {} offered", offered.len());
        });
    }
}

#[test]
fn a_failure_anywhere_in_an_encrypted_backup_leaves_it_whole_or_absent() {
    let access = || Protection::Encrypted.access();
    let encrypted = |root: &Path| Repository::open_with(Box::new(LocalStore::new(root)), access()).unwrap();
    let one_more = |root: &Path, plan: &Plan| {
        let repository = Repository::open_with(Box::new(Faulty::new(root, plan)), access())?;
        store_backup(&repository, &environment("prod"), None, time(SECOND_RUN), 20)
    };
    for fault in FAULTS {
        for at in 0.. {
            let place = fast_folder();
            let repository = Protection::Encrypted.init(place.path());
            store_backup(&repository, &environment("prod"), None, time("2026-11-01T00:00:00Z"), 10).unwrap();
            let plan = Plan::new(fault, at);
            let outcome = one_more(place.path(), &plan);
            let last = plan.operations() <= at;
            assert!(!last || (outcome.is_ok() && at > 15), "{at} operations were seen: {outcome:?}");
            let backups = all_good_in(&encrypted(place.path())).len();
            let is_told = backups == 1 + usize::from(outcome.is_ok());
            let is_late = fault == Fault::DiesAfter;
            assert!(is_told || (is_late && backups == 2), "{fault:?} at {at}: {backups} backups");
            one_more(place.path(), &Plan::harmless()).unwrap();
            all_good_in(&encrypted(place.path()));
            if last {
                break;
            }
        }
    }
}

//! Several runs in one repository, driven into each other step by step: one is held at each of its
//! operations while the other does all of its work.
//!
//! Held means what a frozen process or a slow network would do. What was committed must be good in
//! each case, and where nobody was silent for too long, nobody fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgstow_core::Result;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::id::BackupId;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::repository::{BackupDraft, Repository, Timing};
use tempfile::tempdir;

use crate::crash::all_good;
use crate::faulty::{Faulty, Plan, fast_folder};
use crate::prune::{DAY, objects, options, pass, prune, store_at, two};
use crate::sample::*;

const NEW: &str = "2026-12-01T00:00:00Z";

/// A repository that lives as long as the program, so that a hook can own a draft of it.
fn leaked(root: &Path, plan: &Plan) -> &'static Repository {
    Box::leak(Box::new(Repository::open(Box::new(Faulty::new(root, plan))).unwrap()))
}

fn begin(repository: &Repository) -> Result<BackupDraft<'_>> {
    repository.begin_backup(&environment("prod"), None, time(NEW))
}

/// A backup whose objects are those of `seed`, and which is built on `bases`.
fn back_up(repository: &Repository, bases: &[BackupId], seed: u64) -> Result<Header> {
    let mut draft = begin(repository)?;
    let _ = draft.build_on(bases)?;
    let stored = store_objects(repository, seed)?;
    finish(draft, time(NEW), &stored)
}

/// What the run of a seed says, and that all committed backups are good.
fn expect_good(root: &Path, outcome: &Result<Header>, when: &str) {
    let backups = all_good(root);
    let id = BackupId::new("prod_2026-12-01T00-00-00Z").unwrap();
    assert_eq!(backups.iter().any(|header| header.id == id), outcome.is_ok(), "{when}: {outcome:?}");
}

fn marks(root: &Path) -> Vec<PathBuf> {
    let folder = root.join("backups");
    files(&folder)
        .into_iter()
        .filter(|file| file.to_str().unwrap().contains("/pending-"))
        .map(|file| folder.join(file))
        .collect()
}

/// Every run that is not finished was silent for longer than the lease.
fn everybody_is_silent(root: &Path) {
    marks(root).iter().for_each(|mark| age(mark, 2 * DAY));
}

/// Waits until it holds; the test fails when that takes minutes.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what} never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn two_runs_that_a_store_lets_into_one_folder_both_withdraw_from_it() {
    for at in 0.. {
        let place = fast_folder();
        init(place.path());
        let plan = Plan::harmless();
        let open = |plan: &Plan| {
            let store = Faulty::new(place.path(), plan).with_folders_for_all();
            Box::leak(Box::new(Repository::open(Box::new(store)).unwrap()))
        };
        let (one, other) = (open(&plan), open(&Plan::harmless()));
        let second = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&second);
        plan.pause_after(at, move || *seen.lock().unwrap() = Some(begin(other).unwrap()));
        let first = begin(one).unwrap();
        let Some(second) = second.lock().unwrap().take() else { break };
        assert_ne!(first.id(), second.id(), "operation {at}");
        for draft in [first, second] {
            let stored = store_objects(one, 10).unwrap();
            finish(draft, time(NEW), &stored).unwrap();
        }
        assert_eq!(all_good(place.path()).len(), 2, "operation {at}");
        assert_eq!(marks(place.path()), Vec::<PathBuf>::new(), "operation {at}");
    }
}

#[test]
fn a_prune_beside_a_backup_at_any_of_its_operations_never_fails_it() {
    let mut waited = BTreeSet::new();
    for at in 0.. {
        let place = fast_folder();
        let (older, newer) = two(place.path());
        let (root, plan) = (place.path().to_owned(), Plan::harmless());
        let repository = leaked(place.path(), &plan);
        let report = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&report);
        plan.pause_after(at, move || {
            *seen.lock().unwrap() = Some(prune(&open(&root), Duration::ZERO).unwrap());
        });
        // It stores again what the older backup holds, which the prune lets go.
        let outcome = back_up(repository, std::slice::from_ref(&newer.id), 10);
        let Some(report) = report.lock().unwrap().take() else { break };
        outcome.as_ref().unwrap_or_else(|error| panic!("operation {at}: {error}: {:?}", error.reason()));
        expect_good(place.path(), &outcome, &format!("operation {at}"));
        assert!(report.retired == [older.id.clone()] || !report.retired.is_empty(), "operation {at}");
        waited.insert(report.waiting.objects > 0);
        let _ = prune(&open(place.path()), Duration::ZERO).unwrap();
        all_good(place.path());
    }
    assert_eq!(waited.len(), 2, "some waited, some did not");
}

#[test]
fn a_prune_beside_a_run_that_was_silent_for_too_long_leaves_it_whole_or_makes_it_fail() {
    let mut outcomes = BTreeSet::new();
    for at in 0.. {
        let place = fast_folder();
        let (_, newer) = two(place.path());
        let (root, plan) = (place.path().to_owned(), Plan::harmless());
        let repository = leaked(place.path(), &plan);
        plan.pause_after(at, move || {
            everybody_is_silent(&root);
            let _ = prune(&open(&root), Duration::ZERO).unwrap();
        });
        let outcome = back_up(repository, std::slice::from_ref(&newer.id), 10);
        if !plan.has_paused() {
            break;
        }
        expect_good(place.path(), &outcome, &format!("operation {at}"));
        outcomes.insert(outcome.is_ok());
    }
    assert_eq!(outcomes.len(), 2, "both happen");
}

/// A run that began, knows nothing of what follows, and was taken for dead long ago.
fn silent_run(root: &Path, seed: u64, stores_first: bool) -> impl FnOnce() -> Result<Header> + Send + use<> {
    let repository = leaked(root, &Plan::harmless());
    let draft = begin(repository).unwrap();
    let stored = stores_first.then(|| store_objects(repository, seed).unwrap());
    everybody_is_silent(root);
    move || {
        let stored = stored.map_or_else(|| store_objects(repository, seed), Ok)?;
        finish(draft, time(NEW), &stored)
    }
}

#[test]
fn a_silent_run_that_commits_at_any_operation_of_a_prune_commits_whole_or_not_at_all() {
    for stores_first in [false, true] {
        let mut outcomes = BTreeSet::new();
        for at in 0.. {
            let place = fast_folder();
            two(place.path());
            let run = silent_run(place.path(), 10, stores_first);
            let plan = Plan::harmless();
            let slow = leaked(place.path(), &plan);
            let outcome = Arc::new(Mutex::new(None));
            let seen = Arc::clone(&outcome);
            plan.pause_after(at, move || *seen.lock().unwrap() = Some(run()));
            let pruned = prune(slow, Duration::ZERO);
            let Some(outcome) = outcome.lock().unwrap().take() else { break };
            let when = format!("operation {at}, stored first: {stores_first}");
            expect_good(place.path(), &outcome, &when);
            pruned.as_ref().map(drop).unwrap_or_else(|error| panic!("{when}: {error}: {:?}", error.reason()));
            outcomes.insert(outcome.is_ok());
        }
        assert_eq!(outcomes.len(), 2, "both happen");
    }
}

#[test]
fn a_run_that_slept_until_every_trace_of_a_sweep_was_gone_misses_its_objects() {
    let place = tempdir().unwrap();
    two(place.path());
    let run = silent_run(place.path(), 10, true);
    assert_eq!(prune(&open(place.path()), Duration::ZERO).unwrap().deleted.objects, 2);
    pass(place.path(), 40 * DAY);
    let _ = prune(&open(place.path()), DAY).unwrap();
    assert_eq!(files(&place.path().join("condemned")), Vec::<PathBuf>::new());
    let outcome = run();
    expect_good(place.path(), &outcome, "after 40 days");
    assert!(outcome.unwrap_err().message().ends_with("is missing"));
}

#[test]
fn a_base_is_kept_or_not_used_whichever_of_prune_and_backup_comes_first() {
    let mut outcomes = BTreeSet::new();
    for backup_is_slow in [true, false] {
        for at in 0.. {
            let place = fast_folder();
            let (older, _) = two(place.path());
            let plan = Plan::harmless();
            let (slow, quick) = (leaked(place.path(), &plan), leaked(place.path(), &Plan::harmless()));
            let (backup, pruner) = if backup_is_slow { (slow, quick) } else { (quick, slow) };
            let mut draft = begin(backup).unwrap();
            let base = older.id.clone();
            let declare = move || (draft.build_on(&[base]).unwrap().len() == 1, draft);
            let used = if backup_is_slow {
                plan.pause_after(at, move || drop(prune(pruner, DAY).unwrap()));
                declare()
            } else {
                let (used, seen) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
                let declare = Mutex::new(Some(declare));
                let held = (Arc::clone(&used), Arc::clone(&seen));
                plan.pause_after(at, move || {
                    let (is_used, draft) = declare.lock().unwrap().take().unwrap()();
                    *held.0.lock().unwrap() = Some(is_used);
                    *held.1.lock().unwrap() = Some(draft);
                });
                let _ = prune(pruner, DAY).unwrap();
                let Some(is_used) = used.lock().unwrap().take() else { break };
                (is_used, seen.lock().unwrap().take().unwrap())
            };
            if !plan.has_paused() {
                break;
            }
            let is_there = place.path().join("backups").join(older.id.as_str()).join("backup.json").exists();
            assert!(is_there || !used.0, "operation {at}, slow backup: {backup_is_slow}");
            outcomes.insert((is_there, used.0));
        }
    }
    assert!(outcomes.contains(&(true, true)) && outcomes.contains(&(false, false)), "{outcomes:?}");
}

#[test]
fn a_backup_that_another_builds_on_is_kept_and_told() {
    let place = tempdir().unwrap();
    let (older, _) = two(place.path());
    let repository = open(place.path());
    let mut draft = begin(&repository).unwrap();
    assert_eq!(draft.build_on(std::slice::from_ref(&older.id)).unwrap().len(), 1);
    let report = prune(&open(place.path()), DAY).unwrap();
    assert_eq!(report.retired, []);
    let verdict = report.verdicts.iter().find(|verdict| verdict.id == older.id).unwrap();
    assert_eq!(verdict.reasons, ["prod_2026-12-01T00-00-00Z builds on it"]);
    drop(draft);
    assert_eq!(prune(&open(place.path()), DAY).unwrap().retired, [older.id]);
}

#[test]
fn a_pin_made_at_any_operation_of_a_prune_holds_or_is_refused() {
    let mut outcomes = BTreeSet::new();
    for at in 0.. {
        let place = fast_folder();
        let (older, _) = two(place.path());
        let (root, plan, id) = (place.path().to_owned(), Plan::harmless(), older.id.clone());
        let slow = leaked(place.path(), &plan);
        let pinned = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&pinned);
        plan.pause_after(at, move || *seen.lock().unwrap() = Some(open(&root).pin(&id, "x").is_ok()));
        let _ = prune(slow, DAY).unwrap();
        let Some(pinned) = pinned.lock().unwrap().take() else { break };
        let is_there = all_good(place.path()).iter().any(|header| header.id == older.id);
        assert!(is_there || !pinned, "operation {at}");
        outcomes.insert(pinned);
    }
    assert_eq!(outcomes.len(), 2, "both happen");
}

#[test]
fn names_that_were_condemned_before_a_run_began_are_dead_to_it() {
    let place = tempdir().unwrap();
    let (older, _) = two(place.path());
    let dead = open(place.path()).manifest(&older).unwrap().objects;
    let _ = prune(&open(place.path()), DAY).unwrap();
    let repository = open(place.path());
    let draft = begin(&repository).unwrap();
    assert!(repository.take_over(None, &dead[0]), "one that another backup uses is not condemned");
    assert!(!repository.take_over(None, &dead[1]), "a condemned one is not taken over, although it is there");
    let stored = store_objects(&repository, 10).unwrap();
    let header = finish(draft, time(NEW), &stored).unwrap();
    let copies: Vec<u32> =
        repository.manifest(&header).unwrap().objects.iter().map(|object| object.copy).collect();
    assert_eq!(copies, [0, 1, 1, 0]);
}

#[test]
fn a_condemned_list_that_cannot_be_read_fails_a_backup_and_a_prune() {
    let place = tempdir().unwrap();
    two(place.path());
    let _ = prune(&open(place.path()), DAY).unwrap();
    let list = place.path().join("condemned").join(&files(&place.path().join("condemned"))[0]);
    let whole = fs::read(&list).unwrap();
    for part in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&list, &whole[..part]).unwrap();
        let error = begin(&open(place.path())).map(drop).unwrap_err();
        assert!(error.message().contains(".list is damaged"), "{error}");
        assert!(!error.hints().is_empty());
        let error = prune(&open(place.path()), DAY).map(drop).unwrap_err();
        assert!(error.message().contains(".list is damaged"), "{error}");
    }
    assert_eq!(open(place.path()).list().unwrap().unfinished, Vec::<String>::new());
}

fn quick_heartbeat() -> Timing {
    Timing { heartbeat: Duration::from_millis(1), ..Timing::default() }
}

fn beating(root: &Path) -> Repository {
    Repository::open(Box::new(LocalStore::new(root))).unwrap().with_timing(quick_heartbeat())
}

fn mark_says(root: &Path, words: &str) -> bool {
    let marks = marks(root);
    let text = marks.first().and_then(|mark| fs::read_to_string(mark).ok());
    text.is_some_and(|text| text.contains(words))
}

#[test]
fn a_heartbeat_keeps_the_mark_fresh_and_learns_what_is_condemned_meanwhile() {
    let place = tempdir().unwrap();
    two(place.path());
    let repository = beating(place.path());
    let draft = begin(&repository).unwrap();
    assert_eq!(
        prune(&open(place.path()), Duration::ZERO).unwrap().deleted.objects,
        0,
        "it waits for the run"
    );
    let list = files(&place.path().join("condemned"))[0].to_str().unwrap().replace(".list", "");
    wait_until("the list in the mark", || mark_says(place.path(), &list));
    everybody_is_silent(place.path());
    let fresh = || {
        marks(place.path())[0].metadata().unwrap().modified().unwrap().elapsed().is_ok_and(|age| age < DAY)
    };
    wait_until("a fresh mark", fresh);
    assert_eq!(prune(&open(place.path()), Duration::ZERO).unwrap().deleted.objects, 2, "it waits no more");
    let stored = store_objects(&repository, 10).unwrap();
    finish(draft, time(NEW), &stored).unwrap();
    assert_eq!(all_good(place.path()).len(), 2);
    assert_eq!(marks(place.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_list_that_names_what_a_run_uses_waits_for_its_end_and_the_backup_is_left_whole() {
    let place = tempdir().unwrap();
    two(place.path());
    let repository = beating(place.path());
    let draft = begin(&repository).unwrap();
    // It finds objects of the backup that goes, and uses them.
    let stored = store_objects(&repository, 10).unwrap();
    assert_eq!(prune(&open(place.path()), Duration::ZERO).unwrap().deleted.objects, 0);
    let list = files(&place.path().join("condemned"))[0].to_str().unwrap().replace(".list", "");
    let beats = || {
        let text = fs::read_to_string(&marks(place.path())[0]).unwrap_or_default();
        text.lines().find_map(|line| {
            line.trim().strip_prefix("\"beat\": ")?.trim_end_matches(',').parse::<u64>().ok()
        })
    };
    let before = beats().unwrap_or(0);
    wait_until("two more beats", || beats().is_some_and(|now| now > before + 2));
    assert!(!mark_says(place.path(), &list), "it stays unknown");
    let report = prune(&open(place.path()), Duration::ZERO).unwrap();
    assert_eq!((report.deleted.objects, report.waiting.objects), (0, 2));
    assert!(report.remarks[0].contains("waits for prod_2026-12-01T00-00-00Z"), "{:?}", report.remarks);
    finish(draft, time(NEW), &stored).unwrap();
    let report = prune(&open(place.path()), Duration::ZERO).unwrap();
    assert!(
        report.remarks.iter().any(|remark| remark.contains("2 objects that were condemned stay")),
        "{:?}",
        report.remarks
    );
    assert_eq!(all_good(place.path()).len(), 1);
}

#[test]
fn a_run_whose_mark_was_removed_never_commits() {
    for heartbeat in [Duration::from_millis(1), Duration::from_secs(3600)] {
        let place = tempdir().unwrap();
        let repository = init(place.path()).with_timing(Timing { heartbeat, ..Timing::default() });
        let draft = begin(&repository).unwrap();
        let stored = store_objects(&repository, 10).unwrap();
        let mark = marks(place.path()).remove(0);
        fs::remove_file(&mark).unwrap();
        if heartbeat < Duration::from_secs(1) {
            // A beat that had begun writes it once more; the next one notices and tells.
            wait_until("word of it", || {
                let _ = fs::remove_file(&mark);
                draft.troubles().iter().any(|trouble| trouble.contains("took this backup for dead"))
            });
        }
        let error = finish(draft, time(NEW), &stored).unwrap_err();
        assert!(error.message().contains("another run took prod_2026-12-01T00-00-00Z for dead"), "{error}");
        assert_eq!(all_good(place.path()).len(), 0);
    }
}

#[test]
fn a_heartbeat_that_fails_is_told_and_tried_again() {
    let place = tempdir().unwrap();
    two(place.path());
    let _ = prune(&open(place.path()), DAY).unwrap();
    let repository = beating(place.path());
    let draft = begin(&repository).unwrap();
    let list = place.path().join("condemned/2026-12-01T00-00-00Z-0123456789abcdef.list");
    fs::write(&list, "half").unwrap();
    wait_until("trouble", || !draft.troubles().is_empty());
    fs::remove_file(&list).unwrap();
    while !draft.troubles().is_empty() {}
    let stored = store_objects(&repository, 10).unwrap();
    finish(draft, time(NEW), &stored).unwrap();
}

#[test]
fn objects_of_a_live_run_are_not_condemned() {
    let place = tempdir().unwrap();
    two(place.path());
    let repository = open(place.path());
    let draft = begin(&repository).unwrap();
    let stored = store_objects(&repository, 50).unwrap();
    let report = prune(&open(place.path()), Duration::ZERO).unwrap();
    assert_eq!(report.condemned.objects, 2, "those of the deleted backup alone");
    let header = finish(draft, time(NEW), &stored).unwrap();
    let copies = repository.manifest(&header).unwrap().objects.iter().map(|object| object.copy).max();
    assert_eq!(copies, Some(0));
    all_good(place.path());
}

#[test]
fn an_interrupted_prune_is_finished_by_the_next_one() {
    for left in ["objects.list", "manifest.json.zst"] {
        let place = tempdir().unwrap();
        let (older, newer) = two(place.path());
        let folder = place.path().join("backups").join(older.id.as_str());
        fs::write(folder.join("pruned"), "x").unwrap();
        for file in files(&folder).iter().filter(|file| !["pruned", left].contains(&file.to_str().unwrap())) {
            if left == "manifest.json.zst" && file.to_str() == Some("objects.list") {
                continue;
            }
            fs::remove_file(folder.join(file)).unwrap();
        }
        let report = prune(&open(place.path()), Duration::ZERO).unwrap();
        assert!(!folder.exists(), "{left}");
        assert_eq!(report.deleted.objects, 2, "{left}");
        assert_eq!(all_good(place.path()).len(), 1);
        assert!(place.path().join("backups").join(newer.id.as_str()).exists());
    }
}

#[test]
fn a_mark_of_a_prune_means_nothing_beside_a_header() {
    let place = tempdir().unwrap();
    let (_, newer) = two(place.path());
    let folder = place.path().join("backups").join(newer.id.as_str());
    fs::write(folder.join("pruned"), "x").unwrap();
    assert_eq!(open(place.path()).list().unwrap().backups.len(), 2);
    let _ = prune(&open(place.path()), DAY).unwrap();
    assert!(folder.join("backup.json").exists());
    assert!(!folder.join("pruned").exists(), "it is taken back");
}

#[test]
fn a_sweep_never_deletes_what_a_backup_names_whatever_is_on_the_list() {
    let place = tempdir().unwrap();
    let (_, newer) = two(place.path());
    let repository = open(place.path());
    // A prune that saw no backups would condemn everything.
    let hidden = |path: &str| path.contains("prod_2026-11-02");
    let blind =
        Repository::open(Box::new(Faulty::new(place.path(), &Plan::harmless()).hiding(hidden))).unwrap();
    let report = prune(&blind, DAY).unwrap();
    assert!(report.condemned.objects > 0);
    pass(place.path(), DAY);
    let before = objects(place.path());
    let report = prune(&repository, DAY).unwrap();
    assert_eq!(report.deleted.objects, 0);
    assert!(report.remarks.iter().any(|remark| remark.contains("stay: backups came to use them")));
    assert_eq!(objects(place.path()), before);
    assert!(all_good(place.path()).iter().any(|header| header.id == newer.id));
}

#[test]
fn a_prune_that_was_frozen_for_months_deletes_no_name_that_is_in_use_again() {
    let mut reused = BTreeSet::new();
    for at in 0.. {
        let place = fast_folder();
        two(place.path());
        let (root, plan) = (place.path().to_owned(), Plan::harmless());
        let frozen = leaked(place.path(), &plan);
        let copies = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&copies);
        plan.pause_after(at, move || {
            // Others prune on; the tombstones that may go are gone; the same rows come back.
            let _ = prune(&open(&root), Duration::ZERO).unwrap();
            pass(&root, 40 * DAY);
            let _ = prune(&open(&root), DAY).unwrap();
            let header = store_at(&open(&root), NEW, 10);
            let objects = open(&root).manifest(&header).unwrap().objects;
            *seen.lock().unwrap() = objects.iter().map(|object| object.copy).max();
        });
        let outcome = frozen
            .plan_prune(options(Duration::ZERO))
            .and_then(|plan| frozen.prune(plan, &pgstow_core::interrupt::Interrupt::new()));
        let Some(copies) = copies.lock().unwrap().take() else { break };
        let backups = all_good(place.path());
        assert!(
            backups.iter().any(|header| header.id.as_str() == "prod_2026-12-01T00-00-00Z"),
            "operation {at}: {outcome:?}"
        );
        reused.insert(copies > 0);
    }
    assert_eq!(reused.len(), 2, "tombstones went or stayed");
}

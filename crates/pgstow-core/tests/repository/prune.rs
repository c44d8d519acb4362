//! Prune: what it keeps, what it deletes and when, and what stops it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::repository::{PruneOptions, PruneReport, Repository};
use pgstow_core::retention::{EnvironmentRules, Rules};
use tempfile::tempdir;

use crate::crash::all_good;
use crate::faulty::{Fault, Faulty, Plan, fast_folder};
use crate::sample::*;

pub(crate) const DAY: Duration = Duration::from_hours(24);
const LATE: &str = "2026-12-20T00:00:00Z";

/// Keeps the newest of `prod`.
pub(crate) fn options(grace: Duration) -> PruneOptions {
    let rules = Some(Rules { keep_last: 1, ..Rules::default() });
    let rules = EnvironmentRules { rules, labels: BTreeMap::new() };
    PruneOptions { rules: BTreeMap::from([(environment("prod"), rules)]), grace, ..PruneOptions::new() }
}

pub(crate) fn prune(repository: &Repository, grace: Duration) -> pgstow_core::Result<PruneReport> {
    repository.prune(repository.plan_prune(options(grace))?, &Interrupt::new())
}

/// `ago` passes for everything in the repository.
pub(crate) fn pass(root: &Path, ago: Duration) {
    for file in files(root) {
        let path = root.join(file);
        let file = fs::File::options().write(true).open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap() - ago;
        file.set_times(fs::FileTimes::new().set_modified(modified)).unwrap();
    }
}

pub(crate) fn store_at(repository: &Repository, at: &str, seed: u64) -> Header {
    store_backup(repository, &environment("prod"), None, time(at), seed).unwrap()
}

pub(crate) fn objects(root: &Path) -> Vec<PathBuf> {
    files(&root.join("objects"))
}

fn ids(root: &Path) -> Vec<String> {
    all_good(root).iter().map(|header| header.id.to_string()).collect()
}

/// Two backups of `prod`, two days old.
pub(crate) fn two(root: &Path) -> (Header, Header) {
    let repository = init(root);
    let headers = (
        store_at(&repository, "2026-11-01T00:00:00Z", 10),
        store_at(&repository, "2026-11-02T00:00:00Z", 20),
    );
    pass(root, 2 * DAY);
    headers
}

#[test]
fn what_only_a_deleted_backup_used_is_condemned_and_a_grace_period_later_deleted() {
    let place = tempdir().unwrap();
    let (older, newer) = two(place.path());
    let repository = open(place.path());
    let before = objects(place.path()).len();
    let first = prune(&repository, DAY).unwrap();
    assert_eq!(first.retired, std::slice::from_ref(&older.id));
    assert!(!place.path().join("backups").join(older.id.as_str()).exists());
    assert_eq!((first.condemned.objects, first.deleted.objects, first.waiting.objects), (2, 0, 2));
    assert_eq!(objects(place.path()).len(), before);
    let second = prune(&repository, DAY).unwrap();
    assert_eq!((second.deleted.objects, second.waiting.objects), (0, 2), "the grace period is not over");
    pass(place.path(), DAY);
    let third = prune(&repository, DAY).unwrap();
    assert_eq!((third.deleted.objects, third.waiting.objects), (2, 0));
    assert_eq!(objects(place.path()).len(), before - 2);
    assert_eq!(ids(place.path()), [newer.id.to_string()]);
    assert_eq!((third.remarks, third.failures), (vec![], vec![]));
}

#[test]
fn a_plan_says_what_goes_now_and_later_and_changes_nothing() {
    let place = tempdir().unwrap();
    let (older, _) = two(place.path());
    let repository = open(place.path());
    let before = files(place.path());
    let plan = repository.plan_prune(options(DAY)).unwrap();
    assert_eq!(plan.let_go().map(|verdict| &verdict.id).collect::<Vec<_>>(), [&older.id]);
    assert_eq!((plan.now.objects, plan.later.objects), (0, 2));
    assert_eq!(repository.plan_prune(options(Duration::ZERO)).unwrap().now.objects, 2);
    assert_eq!(files(place.path()), before);
}

#[test]
fn objects_of_a_backup_that_failed_stay_for_the_grace_period() {
    let place = tempdir().unwrap();
    two(place.path());
    let repository = open(place.path());
    write_object(&repository, b"of a run that failed").unwrap();
    assert_eq!(prune(&repository, DAY).unwrap().condemned.objects, 2, "those of the deleted backup");
    pass(place.path(), DAY + Duration::from_secs(60));
    assert_eq!(prune(&repository, DAY).unwrap().condemned.objects, 1);
}

#[test]
fn without_rules_no_backup_goes() {
    let place = tempdir().unwrap();
    two(place.path());
    let repository = open(place.path());
    let plan = repository.plan_prune(PruneOptions::new()).unwrap();
    let report = repository.prune(plan, &Interrupt::new()).unwrap();
    assert_eq!((report.retired.len(), report.condemned.objects), (0, 0));
    assert!(report.verdicts.iter().all(|verdict| verdict.reasons == ["no rules for prod"]));
}

#[test]
fn backups_of_environments_that_are_not_named_stay() {
    let place = tempdir().unwrap();
    two(place.path());
    let repository = open(place.path());
    store_backup(&repository, &environment("dev"), None, time(LATE), 30).unwrap();
    let named = PruneOptions { environments: vec![environment("dev")], ..options(DAY) };
    assert_eq!(repository.plan_prune(named).unwrap().let_go().count(), 0);
}

#[test]
fn a_pinned_backup_stays_until_its_pin_is_removed() {
    let place = tempdir().unwrap();
    let (older, _) = two(place.path());
    let repository = open(place.path());
    repository.pin(&older.id, "ann: before the move\n").unwrap();
    assert_eq!(repository.pin_of(&older.id).unwrap().as_deref(), Some("ann: before the move"));
    assert_eq!(prune(&repository, DAY).unwrap().retired, []);
    assert!(repository.unpin(&older.id).unwrap());
    assert!(!repository.unpin(&older.id).unwrap());
    assert_eq!(prune(&repository, DAY).unwrap().retired, [older.id]);
}

/// What stops a prune: what is done to the repository, and words of the error.
type Stop = (&'static str, fn(&Path, &Header), &'static str);

const STOPS: [Stop; 7] = [
    (
        "a missing object",
        |root, _| fs::remove_file(root.join("objects").join(&objects(root)[0])).unwrap(),
        "are missing",
    ),
    ("no objects at all", |root, _| fs::remove_dir_all(root.join("objects")).unwrap(), "are missing"),
    ("no backups", |root, _| fs::remove_dir_all(root.join("backups")).unwrap(), "no backup was found"),
    (
        "a missing objects.list",
        |root, newer| fs::remove_file(list(root, newer)).unwrap(),
        "cannot be relied on",
    ),
    ("an empty objects.list", |root, newer| fs::write(list(root, newer), "").unwrap(), "cannot be relied on"),
    (
        "an objects.list that lost a line",
        |root, newer| {
            let text = fs::read_to_string(list(root, newer)).unwrap();
            fs::write(list(root, newer), &text[65..]).unwrap();
        },
        "cannot be relied on",
    ),
    (
        "a damaged objects.list",
        |root, newer| fs::write(list(root, newer), "x\n").unwrap(),
        "cannot be relied on",
    ),
];

fn list(root: &Path, header: &Header) -> PathBuf {
    root.join("backups").join(header.id.as_str()).join("objects.list")
}

#[test]
fn a_doubt_about_what_backups_need_stops_a_prune_before_anything_changes() {
    for (what, harm, expected) in STOPS {
        let place = fast_folder();
        let (_, newer) = two(place.path());
        harm(place.path(), &newer);
        let before = files(place.path());
        let error = prune(&open(place.path()), Duration::ZERO).unwrap_err();
        assert!(error.message().contains(expected), "{what}: {error}");
        assert!(!error.hints().is_empty(), "{what}");
        assert_eq!(files(place.path()), before, "{what}");
    }
}

#[test]
fn a_listing_that_is_not_whole_stops_a_prune() {
    let hidden: [fn(&str) -> bool; 3] = [
        |path| path.contains("prod_2026-11-02") && path.starts_with("backups/"),
        |path| path.contains("prod_2026-11-02") && path.matches('/').count() > 1,
        |path| path.starts_with("objects/") && path.ends_with("0.zst"),
    ];
    for (number, hidden) in hidden.into_iter().enumerate() {
        let place = fast_folder();
        let (older, newer) = two(place.path());
        let store = Faulty::new(place.path(), &Plan::harmless()).hiding(hidden);
        let repository = Repository::open(Box::new(store)).unwrap();
        let outcome = prune(&repository, DAY);
        let expected = [older.id.to_string(), newer.id.to_string()];
        if number == 0 {
            // Both listings agree that it is not there. Its objects are condemned, but as long as the grace
            // period lasts nothing is deleted, and afterwards nothing that a backup names.
            let _ = outcome.unwrap();
            pass(place.path(), DAY);
            let _ = prune(&open(place.path()), DAY).unwrap();
            assert!(ids(place.path()).contains(&expected[1]));
            continue;
        }
        let error = outcome.unwrap_err();
        assert!(error.message().contains("not whole"), "{number}: {error}");
        assert_eq!(ids(place.path()), expected, "{number}");
    }
}

#[test]
fn files_that_are_none_of_ours_are_left_alone_and_told() {
    let place = tempdir().unwrap();
    let (older, _) = two(place.path());
    let strange = ["objects/notes.txt", "backups/readme", "condemned/x", "objects/00/y.zst"];
    for path in strange {
        let path = place.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    let mine = place.path().join("backups").join(older.id.as_str()).join(".mine");
    fs::write(&mine, "mine").unwrap();
    let report = prune(&open(place.path()), Duration::ZERO).unwrap();
    for path in strange {
        assert!(place.path().join(path).exists(), "{path}");
        assert!(report.remarks.iter().any(|remark| remark.starts_with(path)), "{path}: {:?}", report.remarks);
    }
    assert!(mine.exists());
    assert!(report.remarks.iter().any(|remark| remark.contains("/.mine is left alone")));
}

#[test]
fn damaged_headers_and_manifests_without_header_are_left_alone_and_keep_their_objects() {
    let place = tempdir().unwrap();
    let (older, newer) = two(place.path());
    let repository = open(place.path());
    let third = store_at(&repository, "2026-11-03T00:00:00Z", 30);
    let folder = |header: &Header| place.path().join("backups").join(header.id.as_str());
    fs::write(folder(&older).join("backup.json"), "{").unwrap();
    fs::remove_file(folder(&newer).join("backup.json")).unwrap();
    let before = objects(place.path());
    let report = prune(&repository, Duration::ZERO).unwrap();
    assert_eq!(report.retired, []);
    assert_eq!(objects(place.path()), before);
    for header in [&older, &newer] {
        assert!(report.remarks.iter().any(|remark| remark.starts_with(header.id.as_str())));
    }
    assert!(folder(&third).exists());
}

#[test]
fn a_run_that_was_killed_before_its_header_and_lost_objects_stops_no_prune() {
    let place = tempdir().unwrap();
    let (older, newer) = two(place.path());
    let folder = place.path().join("backups").join(older.id.as_str());
    fs::remove_file(folder.join("backup.json")).unwrap();
    let used = fs::read_to_string(list(place.path(), &newer)).unwrap();
    let lost = fs::read_to_string(folder.join("objects.list")).unwrap();
    let lost = lost.lines().find(|name| !used.contains(name)).unwrap();
    fs::remove_file(place.path().join(format!("objects/{}/{lost}.zst", &lost[..2]))).unwrap();
    let report = prune(&open(place.path()), Duration::ZERO).unwrap();
    assert_eq!(report.deleted.objects, 0);
    assert!(report.remarks[0].contains("it has a manifest and no header"), "{:?}", report.remarks);
}

#[test]
fn times_are_the_stores_and_a_store_that_tells_none_loses_nothing() {
    let far: [crate::faulty::Clock; 2] = [|time| Some(time - 10_000 * DAY), |time| Some(time + 10_000 * DAY)];
    for clock in far {
        let place = fast_folder();
        two(place.path());
        let repository = Repository::open(Box::new(Faulty::with_clock(place.path(), clock))).unwrap();
        let report = prune(&repository, DAY).unwrap();
        assert_eq!((report.condemned.objects, report.deleted.objects), (2, 0));
        pass(place.path(), DAY);
        assert_eq!(prune(&repository, DAY).unwrap().deleted.objects, 2);
    }
    let place = fast_folder();
    two(place.path());
    let repository = Repository::open(Box::new(Faulty::with_clock(place.path(), |_| None))).unwrap();
    let before = objects(place.path());
    let report = prune(&repository, Duration::ZERO).unwrap();
    assert_eq!(report.retired.len(), 1, "rules do not depend on the store's clock");
    assert!(report.remarks.iter().any(|remark| remark.contains("tells no times")), "{:?}", report.remarks);
    assert_eq!(objects(place.path()), before);
}

#[test]
fn a_disk_that_is_full_while_condemning_does_not_keep_what_was_condemned_before() {
    let place = tempdir().unwrap();
    two(place.path());
    let _ = prune(&open(place.path()), DAY).unwrap();
    store_at(&open(place.path()), "2026-11-03T00:00:00Z", 30);
    pass(place.path(), 2 * DAY);
    let full = |action: &str, path: &str| action == "write" && path.ends_with(".list");
    let store = Faulty::new(place.path(), &Plan::harmless()).denying(full);
    let report = prune(&Repository::open(Box::new(store)).unwrap(), DAY).unwrap();
    assert_eq!((report.deleted.objects, report.condemned.objects), (2, 0));
    assert_eq!(report.failures.len(), 1, "{:?}", report.failures);
    assert_eq!(prune(&open(place.path()), DAY).unwrap().condemned.objects, 2, "the next one does it");
}

#[test]
fn tombstones_go_a_month_after_the_sweep_and_never_while_a_sweep_may_go_on() {
    for unfinished in [false, true] {
        let place = tempdir().unwrap();
        two(place.path());
        let repository = open(place.path());
        assert_eq!(prune(&repository, Duration::ZERO).unwrap().deleted.objects, 2);
        let condemned = place.path().join("condemned");
        let swept = files(&condemned);
        assert_eq!(swept.len(), 2, "list and mark: {swept:?}");
        if unfinished {
            let name = swept[0].to_str().unwrap().replace(".list", ".sweeping-0123456789abcdef");
            fs::write(condemned.join(name), "").unwrap();
        }
        pass(place.path(), 29 * DAY);
        let _ = prune(&repository, DAY).unwrap();
        assert!(files(&condemned).len() >= 2);
        pass(place.path(), 2 * DAY);
        let _ = prune(&repository, DAY).unwrap();
        assert_eq!(files(&condemned).is_empty(), !unfinished);
    }
}

#[test]
fn a_swept_name_is_used_again_only_when_its_tombstone_is_gone() {
    let place = tempdir().unwrap();
    let (older, _) = two(place.path());
    let manifest = open(place.path()).manifest(&older).unwrap();
    let _ = prune(&open(place.path()), Duration::ZERO).unwrap();
    let copies = |at: &str| {
        let repository = open(place.path());
        let header = store_at(&repository, at, 10);
        let objects = repository.manifest(&header).unwrap().objects;
        assert_eq!(
            objects.iter().map(|object| object.id).collect::<Vec<_>>(),
            manifest.objects.iter().map(|object| object.id).collect::<Vec<_>>()
        );
        objects.iter().map(|object| object.copy).collect::<Vec<_>>()
    };
    assert_eq!(copies("2026-12-01T00:00:00Z"), [0, 1, 1, 0], "two names are dead");
    pass(place.path(), 31 * DAY);
    let _ = prune(&open(place.path()), DAY).unwrap();
    assert_eq!(copies("2026-12-02T00:00:00Z"), [0, 0, 0, 0]);
    all_good(place.path());
}

const FAULTS: [Fault; 4] = [Fault::Once, Fault::OnceAfter, Fault::DiesBefore, Fault::DiesAfter];

#[test]
fn a_prune_that_fails_at_any_operation_harms_no_backup_and_the_next_one_goes_on() {
    for fault in FAULTS {
        for at in 0.. {
            let place = fast_folder();
            let (_, newer) = two(place.path());
            let _ = prune(&open(place.path()), DAY).unwrap();
            store_at(&open(place.path()), "2026-11-03T00:00:00Z", 30);
            pass(place.path(), 2 * DAY);
            let plan = Plan::new(fault, at);
            let outcome = Repository::open(Box::new(Faulty::new(place.path(), &plan)))
                .and_then(|repository| prune(&repository, DAY));
            let last = plan.operations() <= at;
            if last {
                let report = outcome.unwrap();
                assert_eq!((report.retired, report.deleted.objects), (vec![newer.id], 2));
                assert!(at > 30, "only {at} operations were seen");
            }
            assert!(ids(place.path()).contains(&"prod_2026-11-03T00-00-00Z".to_owned()), "{fault:?} at {at}");
            let _ = prune(&open(place.path()), DAY).unwrap();
            pass(place.path(), 2 * DAY);
            let report = prune(&open(place.path()), DAY).unwrap();
            assert_eq!(report.waiting.objects, 0, "{fault:?} at {at}");
            assert_eq!(ids(place.path()), ["prod_2026-11-03T00-00-00Z"], "{fault:?} at {at}");
            assert_eq!(objects(place.path()).len(), 4, "{fault:?} at {at}");
            let left = files(&place.path().join("backups"));
            let of_newest = |path: &PathBuf| path.starts_with("prod_2026-11-03T00-00-00Z");
            assert!(left.iter().all(of_newest), "{fault:?} at {at}: {left:?}");
            if last {
                break;
            }
        }
    }
}

#[test]
fn two_prunes_at_once_do_what_one_does() {
    for at in 0.. {
        let place = fast_folder();
        two(place.path());
        let (root, plan) = (place.path().to_owned(), Plan::harmless());
        let slow = Repository::open(Box::new(Faulty::new(place.path(), &plan))).unwrap();
        plan.pause_after(at, move || drop(prune(&open(&root), Duration::ZERO).unwrap()));
        let outcome = prune(&slow, Duration::ZERO);
        if !plan.has_paused() {
            break;
        }
        assert_eq!(ids(place.path()), ["prod_2026-11-02T00-00-00Z"], "operation {at}: {outcome:?}");
        assert_eq!(objects(place.path()).len(), 4, "operation {at}");
        let _ = outcome.unwrap_or_else(|error| panic!("operation {at}: {error} {:?}", error.reason()));
    }
}

#[test]
fn a_write_only_repository_is_backed_up_into_all_the_same() {
    let place = tempdir().unwrap();
    two(place.path());
    let store = Faulty::new(place.path(), &Plan::harmless()).denying(|action, _| action == "remove");
    let repository = Repository::open(Box::new(store)).unwrap();
    let (draft, stored) = begin_with_progress(&repository, &environment("prod"), time(LATE), 30).unwrap();
    finish(draft, time(LATE), &stored).unwrap();
    let folder = place.path().join("backups/prod_2026-12-20T00-00-00Z");
    assert!(files(&folder).iter().any(|file| file.to_str().unwrap().starts_with("pending-")));
    assert_eq!(all_good(place.path()).len(), 3);
    // The mark beside a header means nothing: nobody waits for it.
    pass(place.path(), 2 * DAY);
    let report =
        prune(&Repository::open(Box::new(LocalStore::new(place.path()))).unwrap(), Duration::ZERO).unwrap();
    assert_eq!((report.waiting.objects, report.remarks), (0, vec![]));
    assert!(report.deleted.objects > 0);
}

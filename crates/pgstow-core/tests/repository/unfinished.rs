//! Interrupted backups: what they leave, what of it can be used, who removes it and when.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::Manifest;
use pgstow_core::repository::{BackupDraft, Repository};
use pgstow_core::verify::{Reading, verify};
use tempfile::tempdir;

use crate::crash::all_good;
use crate::faulty::{Faulty, Plan, fast_folder};
use crate::sample::*;

const FIRST: &str = "2026-12-01T00:00:00Z";
const SECOND: &str = "2026-12-02T00:00:00Z";
const LATER: &str = "2026-12-24T00:00:00Z";

fn begin<'r>(repository: &'r Repository, name: &str, at: &str) -> (BackupDraft<'r>, Stored) {
    begin_with_progress(repository, &environment(name), time(at), 20).unwrap()
}

/// A backup of `name` that was interrupted; its folder.
fn interrupted(repository: &Repository, root: &Path, name: &str, at: &str) -> PathBuf {
    folder_of(root, &begin(repository, name, at).0)
}

/// The same, killed: it could not even say so.
fn killed(repository: &Repository, root: &Path, name: &str, at: &str) -> PathBuf {
    let draft = begin(repository, name, at).0;
    let folder = folder_of(root, &draft);
    std::mem::forget(draft);
    folder
}

fn folder_of(root: &Path, draft: &BackupDraft<'_>) -> PathBuf {
    root.join("backups").join(draft.id().as_str())
}

/// Everything in a folder was last written that long ago.
fn age_all(folder: &Path, ago: Duration) {
    files(folder).iter().for_each(|file| age(&folder.join(file), ago));
}

fn progress_files(folder: &Path) -> Vec<PathBuf> {
    let is_progress = |file: &PathBuf| file.to_str().unwrap().starts_with("progress-");
    files(folder).into_iter().filter(is_progress).collect()
}

fn offered(root: &Path, name: &str) -> Vec<Manifest> {
    open(root).unfinished(&environment(name)).unwrap()
}

fn ids(manifests: &[Manifest]) -> Vec<&str> {
    manifests.iter().map(|manifest| manifest.backup.as_str()).collect()
}

fn back_up(root: &Path, name: &str) {
    store_backup(&open(root), &environment(name), None, time(LATER), 30).unwrap();
}

/// Content of all files below a folder.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(folder).into_iter().map(|file| (file.clone(), fs::read(folder.join(file)).unwrap())).collect()
}

#[test]
fn a_running_backup_offers_the_newest_progress_it_wrote() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let (mut draft, stored) = begin(&repository, "prod", FIRST);
    let folder = folder_of(place.path(), &draft);
    let id = draft.id().clone();
    assert_eq!(offered(place.path(), "prod"), [progress(&id, time(FIRST), &stored, 2)]);
    let before = progress_files(&folder);
    draft.write_progress(&progress(&id, time(FIRST), &stored, 3)).unwrap();
    let after = progress_files(&folder);
    assert_eq!((before.len(), after.len()), (1, 1), "one replaces the other");
    assert_ne!(before, after);
    assert_eq!(offered(place.path(), "prod"), [progress(&id, time(FIRST), &stored, 3)]);
}

#[test]
fn progress_that_is_replaced_at_any_moment_is_offered_as_it_was_or_as_it_is() {
    for at in 0.. {
        let place = fast_folder();
        let repository = Box::leak(Box::new(init(place.path())));
        let (mut draft, stored) = begin(repository, "prod", FIRST);
        let newer = progress(draft.id(), time(FIRST), &stored, 3);
        let plan = Plan::harmless();
        let reading = leaked(place.path(), &plan);
        plan.pause_after(at, move || {
            draft.write_progress(&newer).unwrap();
            std::mem::forget(draft);
        });
        let found = reading.unfinished(&environment("prod")).unwrap();
        assert_eq!(found.len(), 1, "operation {at}");
        assert!(matches!(found[0].objects.len(), 2 | 3), "operation {at}");
        if !plan.has_paused() {
            break;
        }
    }
}

#[test]
fn progress_is_filled_in_as_a_commit_does_and_refused_when_it_is_inconsistent() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let (mut draft, stored) = begin(&repository, "prod", FIRST);
    let id = draft.id().clone();
    let good = progress(&id, time(FIRST), &stored, 3);
    let mut bare = good.clone();
    bare.format_version = 0;
    bare.backup = killed_id(&repository, "dev");
    draft.write_progress(&bare).unwrap();
    assert_eq!(offered(place.path(), "prod"), std::slice::from_ref(&good));
    let mut wrong = good.clone();
    wrong.tables[0].rows += 1;
    let error = draft.write_progress(&wrong).unwrap_err();
    assert!(error.reason().unwrap().contains("public.events"), "{:?}", error.reason());
    assert_eq!(offered(place.path(), "prod"), [good], "the earlier one stays");
    finish(draft, time(FIRST), &stored).unwrap();
    assert_eq!(all_good(place.path()).len(), 1);
}

fn killed_id(repository: &Repository, name: &str) -> pgstow_core::repository::format::id::BackupId {
    repository.begin_backup(&environment(name), None, time(FIRST)).unwrap().id().clone()
}

#[test]
fn an_interrupted_backup_leaves_its_progress_and_a_line_that_says_so_and_nothing_else() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let before = offered(place.path(), "prod");
    assert_eq!(before, []);
    let (mut draft, _) = begin(&repository, "prod", FIRST);
    let folder = folder_of(place.path(), &draft);
    draft.write_file("roles.sql", b"CREATE ROLE shop;\n").unwrap();
    draft.write_catalog(&catalog()).unwrap();
    drop(draft);
    let left = files(&folder);
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(progress_files(&folder).len(), 1);
    let line = fs::read_to_string(folder.join("ended")).unwrap();
    assert!(line.starts_with("This backup was interrupted.") && line.lines().count() == 1, "{line:?}");
    assert_eq!(ids(&offered(place.path(), "prod")), ["prod_2026-12-01T00-00-00Z"]);
}

#[test]
fn a_listing_tells_interrupted_backups_from_those_being_made() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    interrupted(&repository, place.path(), "prod", FIRST);
    let (_live, _) = begin(&repository, "prod", SECOND);
    let listing = repository.list().unwrap();
    assert_eq!(listing.unfinished, ["prod_2026-12-01T00-00-00Z", "prod_2026-12-02T00-00-00Z"]);
    assert_eq!(listing.interrupted, ["prod_2026-12-01T00-00-00Z"]);
    assert!(listing.damaged.is_empty() && listing.backups.is_empty());
}

#[test]
fn a_commit_removes_its_progress() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let (draft, stored) = begin(&repository, "prod", FIRST);
    let folder = folder_of(place.path(), &draft);
    let header = finish(draft, time(FIRST), &stored).unwrap();
    let manifest = repository.manifest(&header).unwrap();
    let listed = manifest.files.iter().map(|file| PathBuf::from(&file.name));
    let expected: BTreeSet<PathBuf> =
        listed.chain(["backup.json", "manifest.json.zst"].map(PathBuf::from)).collect();
    assert_eq!(files(&folder).into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(offered(place.path(), "prod"), []);
}

#[test]
fn progress_and_mark_left_beside_a_header_are_harmless() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let (draft, stored) = begin(&repository, "prod", FIRST);
    let folder = folder_of(place.path(), &draft);
    let name = progress_files(&folder).remove(0);
    let left = fs::read(folder.join(&name)).unwrap();
    let header = finish(draft, time(FIRST), &stored).unwrap();
    fs::write(folder.join(name), left).unwrap();
    fs::write(folder.join("ended"), "x").unwrap();
    assert_eq!(offered(place.path(), "prod"), []);
    let listing = repository.list().unwrap();
    assert_eq!(listing.backups, std::slice::from_ref(&header));
    assert!(listing.unfinished.is_empty() && listing.interrupted.is_empty() && listing.damaged.is_empty());
    let report = verify(&repository, &header, &Reading::All, &Silent, &Interrupt::new()).unwrap();
    assert!(report.is_good(), "{report:?}");
}

#[test]
fn progress_is_offered_by_environment_with_the_newest_snapshot_first() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let in_this_order = [SECOND, FIRST, LATER];
    for at in in_this_order {
        interrupted(&repository, place.path(), "prod", at);
    }
    killed(&repository, place.path(), "dev", FIRST);
    interrupted(&repository, place.path(), "prod-eu", SECOND);
    let expected = ["prod_2026-12-24T00-00-00Z", "prod_2026-12-02T00-00-00Z", "prod_2026-12-01T00-00-00Z"];
    assert_eq!(ids(&offered(place.path(), "prod")), expected);
    assert_eq!(ids(&offered(place.path(), "dev")), ["dev_2026-12-01T00-00-00Z"]);
    assert_eq!(ids(&offered(place.path(), "prod-eu")), ["prod-eu_2026-12-02T00-00-00Z"]);
    assert_eq!(offered(place.path(), "pro"), []);
}

#[test]
fn a_store_that_cannot_be_listed_is_an_error_and_not_an_empty_offer() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    fs::write(place.path().join("backups"), "a file").unwrap();
    let error = repository.unfinished(&environment("prod")).unwrap_err();
    assert!(error.message().contains("backups"), "{error}");
}

/// Two interrupted backups, of which the first has two progress files; and its folder.
fn to_be_damaged(root: &Path) -> (PathBuf, [Manifest; 2]) {
    let repository = init(root);
    interrupted(&repository, root, "prod", SECOND);
    let (mut draft, stored) = begin(&repository, "prod", LATER);
    let folder = folder_of(root, &draft);
    let id = draft.id().clone();
    let older = progress_files(&folder).remove(0);
    let kept = fs::read(folder.join(&older)).unwrap();
    draft.write_progress(&progress(&id, time(LATER), &stored, 3)).unwrap();
    drop(draft);
    fs::write(folder.join(older), kept).unwrap();
    (folder, [3, 2].map(|finished| progress(&id, time(LATER), &stored, finished)))
}

#[test]
fn damaged_progress_is_passed_over_for_the_older_one_whichever_byte_is_changed() {
    let place = fast_folder();
    let (folder, [newest, older]) = to_be_damaged(place.path());
    let names = progress_files(&folder);
    let [older_file, newest_file] = names.as_slice() else { panic!("{names:?}") };
    assert_eq!(offered(place.path(), "prod")[0], newest);
    let file = folder.join(newest_file);
    let whole = fs::read(&file).unwrap();
    let flipped = (0..whole.len()).map(|at| {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        (format!("byte {at} flipped"), changed)
    });
    let cut = (0..whole.len()).step_by(37).map(|length| (format!("cut at {length}"), whole[..length].into()));
    let longer = [whole.as_slice(), b"\n"].concat();
    for (action, bytes) in flipped.chain(cut).chain([("lengthened".to_owned(), longer)]) {
        fs::write(&file, bytes).unwrap();
        let found = offered(place.path(), "prod");
        assert_eq!(found.len(), 2, "{action}");
        assert_eq!(found[0], older, "{action}");
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(offered(place.path(), "prod")[0], older, "removed");
    fs::create_dir(&file).unwrap();
    assert_eq!(offered(place.path(), "prod")[0], older, "a folder in its place");
    fs::write(folder.join(older_file), "").unwrap();
    assert_eq!(ids(&offered(place.path(), "prod")), ["prod_2026-12-02T00-00-00Z"], "both are damaged");
    back_up(place.path(), "prod");
}

#[test]
fn progress_of_another_backup_is_never_offered_as_this_ones() {
    let place = fast_folder();
    let (folder, _) = to_be_damaged(place.path());
    let other = place.path().join("backups/prod_2026-12-02T00-00-00Z");
    let before = offered(place.path(), "prod");
    let (ours, theirs) = (progress_files(&folder), progress_files(&other));
    // Contents swapped.
    let contents = [fs::read(folder.join(&ours[1])).unwrap(), fs::read(other.join(&theirs[0])).unwrap()];
    fs::write(folder.join(&ours[1]), &contents[1]).unwrap();
    fs::write(other.join(&theirs[0]), &contents[0]).unwrap();
    let found = offered(place.path(), "prod");
    assert_eq!(ids(&found), ["prod_2026-12-24T00-00-00Z"]);
    assert_eq!(found[0].objects.len(), 2, "the older one");
    // Whole files moved, with the names that prove them.
    fs::remove_file(folder.join(&ours[1])).unwrap();
    fs::remove_file(other.join(&theirs[0])).unwrap();
    fs::write(folder.join(&theirs[0]), &contents[1]).unwrap();
    fs::write(other.join(&ours[1]), &contents[0]).unwrap();
    let found = offered(place.path(), "prod");
    assert_eq!(ids(&found), ["prod_2026-12-24T00-00-00Z"]);
    assert_ne!(found[0], before[0]);
    assert_eq!(found[0].objects.len(), 2, "the older one");
}

#[test]
fn progress_of_a_later_format_is_passed_over() {
    let place = tempdir().unwrap();
    let (folder, [_, older]) = to_be_damaged(place.path());
    let newest = progress_files(&folder).remove(1);
    fs::remove_file(folder.join(newest)).unwrap();
    let later = zstd::encode_all(br#"{"format_version": 7}"#.as_slice(), 1).unwrap();
    let hash = pgstow_core::repository::format::id::ObjectId::of(&later);
    fs::write(folder.join(format!("progress-9-{hash}.json.zst")), later).unwrap();
    assert_eq!(offered(place.path(), "prod")[0], older);
}

#[test]
fn a_commit_clears_what_interrupted_and_killed_backups_of_its_environment_left() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let ended = interrupted(&repository, place.path(), "prod", FIRST);
    let silent = killed(&repository, place.path(), "prod", FIRST);
    age_all(&silent, Duration::from_hours(25));
    let early = killed(&repository, place.path(), "prod", FIRST);
    progress_files(&early).iter().for_each(|file| fs::remove_file(early.join(file)).unwrap());
    age_all(&early, Duration::from_hours(25));
    let empty = place.path().join("backups/prod_2026-12-05T00-00-00Z_x");
    fs::create_dir(&empty).unwrap();
    let objects = files(&place.path().join("objects"));
    back_up(place.path(), "prod");
    for folder in [ended, silent, early, empty] {
        assert!(!folder.exists(), "{}", folder.display());
    }
    let kept = files(&place.path().join("objects"));
    assert!(objects.iter().all(|object| kept.contains(object)), "objects are never removed");
    assert_eq!(all_good(place.path()).len(), 1);
}

#[test]
fn a_backup_that_fails_clears_nothing() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let ended = interrupted(&repository, place.path(), "prod", FIRST);
    interrupted(&repository, place.path(), "prod", SECOND);
    assert_eq!(files(&ended).len(), 2);
}

/// A folder of `prod` that must stay, and what is done to it.
type Prepared = (&'static str, fn(&Repository, &Path) -> PathBuf);

fn committed(repository: &Repository, root: &Path) -> PathBuf {
    let header = store_backup(repository, &environment("prod"), None, time(FIRST), 10).unwrap();
    let folder = root.join("backups").join(header.id.as_str());
    let other = killed(repository, root, "prod", SECOND);
    for file in progress_files(&other) {
        fs::rename(other.join(&file), folder.join(&file)).unwrap();
    }
    fs::write(folder.join("ended"), "x").unwrap();
    age_all(&folder, Duration::from_hours(100));
    folder
}

const MUST_STAY: [Prepared; 12] = [
    ("live", |repository, root| killed(repository, root, "prod", FIRST)),
    ("silent for less than a day", |repository, root| {
        let folder = killed(repository, root, "prod", FIRST);
        age_all(&folder, Duration::from_hours(23));
        folder
    }),
    ("with one fresh progress file among old ones", |repository, root| {
        let folder = killed(repository, root, "prod", FIRST);
        age_all(&folder, Duration::from_hours(25));
        let older = progress_files(&folder).remove(0);
        let newer = older.to_str().unwrap().replacen("progress-2", "progress-3", 1);
        fs::write(folder.join(newer), "x").unwrap();
        folder
    }),
    ("without any sign of life", |repository, root| {
        let folder = killed(repository, root, "prod", FIRST);
        files(&folder).iter().for_each(|file| fs::remove_file(folder.join(file)).unwrap());
        fs::write(folder.join("roles.sql"), "x").unwrap();
        age_all(&folder, Duration::from_hours(100));
        folder
    }),
    ("with a fresh pending mark beside old progress", |repository, root| {
        let folder = killed(repository, root, "prod", FIRST);
        progress_files(&folder).iter().for_each(|file| age(&folder.join(file), Duration::from_hours(100)));
        folder
    }),
    ("empty and new", |_, root| {
        let folder = root.join("backups/prod_2026-12-23T12-00-00Z");
        fs::create_dir_all(&folder).unwrap();
        folder
    }),
    ("of another environment", |repository, root| interrupted(repository, root, "prod-eu", FIRST)),
    ("with a header", committed),
    ("with a damaged header", |repository, root| {
        let folder = committed(repository, root);
        fs::write(folder.join("backup.json"), "{").unwrap();
        folder
    }),
    ("with a damaged header and no manifest", |repository, root| {
        let folder = committed(repository, root);
        fs::write(folder.join("backup.json"), "").unwrap();
        fs::remove_file(folder.join("manifest.json.zst")).unwrap();
        folder
    }),
    ("that lost its header and has a manifest", |repository, root| {
        let folder = committed(repository, root);
        fs::remove_file(folder.join("backup.json")).unwrap();
        folder
    }),
    ("with something else in the place of its header", |repository, root| {
        let folder = interrupted(repository, root, "prod", FIRST);
        fs::create_dir(folder.join("backup.json")).unwrap();
        folder
    }),
];

#[test]
fn a_folder_that_may_be_alive_or_a_backup_is_never_touched() {
    for (what, prepare) in MUST_STAY {
        let place = fast_folder();
        let repository = init(place.path());
        let folder = prepare(&repository, place.path());
        let before = content(&folder);
        back_up(place.path(), "prod");
        assert!(folder.exists(), "{what}");
        assert_eq!(content(&folder), before, "{what}");
    }
}

#[test]
fn files_of_others_in_a_cleared_folder_stay() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let folder = interrupted(&repository, place.path(), "prod", FIRST);
    fs::create_dir(folder.join("mine")).unwrap();
    fs::write(folder.join("mine/notes"), "x").unwrap();
    fs::write(folder.join(".DS_Store"), "x").unwrap();
    back_up(place.path(), "prod");
    assert_eq!(files(&folder), [".DS_Store", "mine/notes"].map(PathBuf::from));
}

#[test]
fn age_is_told_by_the_store_and_not_by_this_machines_clock() {
    let place = tempdir().unwrap();
    let live = killed(&init(place.path()), place.path(), "prod", FIRST);
    let shifted = |clock| Repository::open(Box::new(Faulty::with_clock(place.path(), clock))).unwrap();
    let store = |repository: &Repository| {
        store_backup(repository, &environment("prod"), None, time(LATER), 30).unwrap();
    };
    store(&shifted(|time| Some(time - Duration::from_hours(100))));
    store(&shifted(|time| Some(time + Duration::from_hours(100))));
    assert!(live.exists());
    age_all(&live, Duration::from_hours(25));
    store(&shifted(|_| None));
    assert!(live.exists(), "an unknown age is not an old one");
    store(&shifted(|time| Some(time + Duration::from_hours(100))));
    assert!(!live.exists());
}

#[test]
fn a_run_that_was_taken_for_dead_writes_no_more_and_never_commits() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    for writes_progress in [false, true] {
        let (mut draft, stored) = begin(&repository, "prod", FIRST);
        let folder = folder_of(place.path(), &draft);
        age_all(&folder, Duration::from_hours(25));
        back_up(place.path(), "prod");
        assert!(!folder.exists());
        if writes_progress {
            draft.write_progress(&progress(&draft.id().clone(), time(FIRST), &stored, 3)).unwrap_err();
        }
        finish(draft, time(FIRST), &stored).unwrap_err();
        assert!(!folder.join("backup.json").exists());
    }
    assert_eq!(all_good(place.path()).len(), 2);
}

#[test]
fn a_run_that_misses_a_file_of_its_own_does_not_commit() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    for missing in ["roles.sql", "progress-2"] {
        let (mut draft, stored) = begin(&repository, "prod", FIRST);
        let folder = folder_of(place.path(), &draft);
        draft.write_file("roles.sql", b"CREATE ROLE shop;\n").unwrap();
        let is_missing = |file: &&PathBuf| file.to_str().unwrap().starts_with(missing);
        fs::remove_file(folder.join(files(&folder).iter().find(is_missing).unwrap())).unwrap();
        let error = finish(draft, time(FIRST), &stored).unwrap_err();
        assert!(error.reason().unwrap().contains(missing), "{:?}", error.reason());
        assert!(!folder.join("backup.json").exists());
    }
}

#[test]
fn a_run_whose_folder_is_marked_says_why_it_fails() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let (mut draft, stored) = begin(&repository, "prod", FIRST);
    fs::write(folder_of(place.path(), &draft).join("ended"), "x").unwrap();
    let progress = progress(&draft.id().clone(), time(FIRST), &stored, 3);
    for error in
        [draft.write_progress(&progress).unwrap_err(), finish(draft, time(FIRST), &stored).unwrap_err()]
    {
        assert!(error.message().contains("another run took prod_2026-12-01T00-00-00Z for dead"), "{error}");
        assert!(error.reason().unwrap().contains("more than a day"), "{:?}", error.reason());
    }
}

/// A repository that lives as long as the program, so that a hook can own a draft of it.
fn leaked(root: &Path, plan: &Plan) -> &'static Repository {
    Box::leak(Box::new(Repository::open(Box::new(Faulty::new(root, plan))).unwrap()))
}

const SLOW: &str = "prod_2026-12-01T00-00-00Z";

/// All folders of unfinished backups look as if nobody had written there for long.
fn everybody_was_silent(root: &Path) {
    for folder in open(root).list().unwrap().unfinished {
        age_all(&root.join("backups").join(folder), Duration::from_hours(25));
    }
}

#[test]
fn a_slow_run_whose_folder_another_clears_at_any_moment_commits_whole_or_not_at_all() {
    let mut outcomes = BTreeSet::new();
    for at in 0.. {
        let place = fast_folder();
        init(place.path());
        let (root, plan) = (place.path().to_owned(), Plan::harmless());
        let slow = leaked(place.path(), &plan);
        plan.pause_after(at, move || {
            everybody_was_silent(&root);
            back_up(&root, "prod");
        });
        let committed = begin_with_progress(slow, &environment("prod"), time(FIRST), 20)
            .and_then(|(draft, stored)| finish(draft, time(FIRST), &stored))
            .is_ok();
        if !plan.has_paused() {
            break;
        }
        expect_whole(place.path(), committed, &format!("operation {at}"));
        outcomes.insert(committed);
    }
    assert_eq!(outcomes.len(), 2, "both happen");
}

/// A slow run, silent for long, goes on and commits after so many operations of a run that clears its folder;
/// and after so many of its own, a third one clears the folder too. Returns whether the slow one
/// succeeded, and whether the third one ran; nothing when the first has not that many operations.
fn commit_during_a_clearing(first: usize, second: Option<usize>, early_file: bool) -> Option<(bool, bool)> {
    let place = fast_folder();
    init(place.path());
    let plan = Plan::harmless();
    let (mut draft, stored) = begin(leaked(place.path(), &plan), "prod", FIRST);
    if early_file {
        draft.write_file("roles.sql", b"CREATE ROLE shop;\n").unwrap();
    }
    everybody_was_silent(place.path());
    if let Some(second) = second {
        let root = place.path().to_owned();
        plan.pause_after(second, move || back_up(&root, "prod"));
    }
    let clearing = Plan::harmless();
    let repository = leaked(place.path(), &clearing);
    let outcome = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&outcome);
    clearing.pause_after(first, move || {
        let committed = progress_and_finish(draft, &stored).is_ok();
        *seen.lock().unwrap() = Some(committed);
    });
    store_backup(repository, &environment("prod"), None, time(LATER), 30).unwrap();
    let committed = (*outcome.lock().unwrap())?;
    expect_whole(place.path(), committed, &format!("operations {first} and {second:?}"));
    Some((committed, plan.has_paused()))
}

/// Goes on to the end, also where progress cannot be written.
fn progress_and_finish(mut draft: BackupDraft<'_>, stored: &Stored) -> pgstow_core::Result<Header> {
    let id = draft.id().clone();
    let _ = draft.write_progress(&progress(&id, time(FIRST), stored, 3));
    finish(draft, time(FIRST), stored)
}

/// A backup exists if and only if its run was told so, and all that exist are good.
fn expect_whole(root: &Path, committed: bool, when: &str) {
    let backups = all_good(root);
    assert_eq!(backups.iter().any(|header| header.id.as_str() == SLOW), committed, "{when}");
}

#[test]
fn a_slow_run_that_commits_at_any_moment_of_a_clearing_commits_whole_or_not_at_all() {
    for early_file in [false, true] {
        let outcomes = (0..).map_while(|at| commit_during_a_clearing(at, None, early_file));
        let outcomes: BTreeSet<bool> = outcomes.map(|(committed, _)| committed).collect();
        assert_eq!(outcomes.len(), 2, "both happen");
    }
}

/// The operations of a backup that belong to the clearing of one folder.
fn operations_of_a_clearing() -> std::ops::Range<usize> {
    let operations = |has_silent: bool| {
        let place = fast_folder();
        let repository = init(place.path());
        if has_silent {
            killed(&repository, place.path(), "prod", FIRST);
            everybody_was_silent(place.path());
        }
        let plan = Plan::harmless();
        let clearing = leaked(place.path(), &plan);
        let opened = plan.operations();
        store_backup(clearing, &environment("prod"), None, time(LATER), 30).unwrap();
        plan.operations() - opened
    };
    operations(false)..operations(true)
}

#[test]
fn a_slow_run_and_two_that_clear_its_folder_at_once_do_not_harm_each_other() {
    let mut outcomes = BTreeSet::new();
    for (first, early_file) in operations_of_a_clearing().flat_map(|first| [(first, false), (first, true)]) {
        for second in 0.. {
            let (committed, both) = commit_during_a_clearing(first, Some(second), early_file).unwrap();
            if !both {
                break;
            }
            outcomes.insert(committed);
        }
    }
    assert_eq!(outcomes.len(), 2, "both happen");
}

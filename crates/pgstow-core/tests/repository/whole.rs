//! What `verify --all` says of a whole repository.

use std::fs;
use std::path::{Path, PathBuf};

use pgstow_core::ErrorKind;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor, Silent};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::Object;
use pgstow_core::verify::{Fault, Reading, RepositoryReport, Sample, Unused, verify_all};
use tempfile::{TempDir, tempdir};

use crate::faulty::{Faulty, Plan};
use crate::sample::*;

struct Place {
    folder: TempDir,
    headers: Vec<Header>,
}

impl Place {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let headers = store_all(folder.path());
        Self { folder, headers }
    }

    fn encrypted() -> Self {
        let folder = tempdir().unwrap();
        let headers = store_all_in(&Protection::Encrypted.init(folder.path()));
        Self { folder, headers }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn verify(&self, reading: Reading) -> RepositoryReport {
        verify_all(&open(self.root()), &reading, &Silent, &Interrupt::new()).unwrap()
    }

    fn objects(&self, backup: usize) -> Vec<Object> {
        open(self.root()).manifest(&self.headers[backup]).unwrap().objects
    }

    fn object_file(&self, object: &Object) -> PathBuf {
        let name = object.name().to_string();
        self.root().join(format!("objects/{}/{name}.zst", &name[..2]))
    }

    fn file(&self, backup: usize, name: &str) -> PathBuf {
        self.root().join(format!("backups/{}/{name}", self.headers[backup].id))
    }

    /// The ids, sorted.
    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.headers.iter().map(|header| header.id.to_string()).collect();
        ids.sort();
        ids
    }
}

/// The one fault.
#[track_caller]
fn only(report: &RepositoryReport) -> &Fault {
    assert_eq!(report.faults.len(), 1, "{:#?}", report.faults);
    &report.faults[0]
}

fn bad(report: &RepositoryReport) -> Vec<&str> {
    report.backups.iter().filter(|state| !state.good).map(|state| state.backup.as_str()).collect()
}

#[test]
fn a_good_repository_is_read_once_and_nothing_is_left_over() {
    let place = Place::new();
    let quick = place.verify(Reading::Sizes);
    assert!(quick.is_complete() && quick.foreign.is_empty() && quick.unfinished.is_empty(), "{quick:#?}");
    assert_eq!((quick.read_objects, quick.read_bytes), (0, 0));
    assert_eq!(quick.unused, Some(Unused::default()));
    let ids: Vec<String> = quick.backups.iter().map(|state| state.backup.clone()).collect();
    assert_eq!(ids, place.ids());
    let full = place.verify(Reading::All);
    // The first chunk and the picture are in all three backups.
    assert_eq!((full.objects, full.read_objects), (8, 8), "{full:#?}");
    let content: u64 = place.headers.iter().map(|header| header.content_bytes).sum();
    let shared = place.objects(0)[0].bytes + place.objects(0)[3].bytes;
    assert_eq!(full.read_bytes, content - 2 * shared);
    assert!(full.is_complete(), "{full:#?}");
}

#[test]
fn an_empty_repository_has_no_faults() {
    let folder = tempdir().unwrap();
    let report = verify_all(&init(folder.path()), &Reading::All, &Silent, &Interrupt::new()).unwrap();
    assert!(report.is_complete() && report.backups.is_empty() && report.objects == 0, "{report:#?}");
}

#[test]
fn a_shared_object_at_fault_is_one_fault_that_names_every_backup_and_table() {
    let place = Place::new();
    let shared = &place.objects(0)[0];
    let file = place.object_file(shared);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let other = fs::read(place.object_file(&place.objects(0)[1])).unwrap();
    let cases: [(&str, Option<&[u8]>, bool); 5] = [
        ("missing", None, true),
        ("truncated", Some(&whole[..whole.len() - 1]), true),
        ("emptied", Some(&[]), true),
        ("swapped", Some(&other), true),
        ("flipped", Some(&flipped), false),
    ];
    for (action, content, shows_by_size) in cases {
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        assert_eq!(place.verify(Reading::Sizes).is_good(), !shows_by_size, "{action}");
        let report = place.verify(Reading::All);
        let fault = only(&report);
        assert_eq!(fault.what, "object", "{action}");
        assert!(fault.found.contains(&shared.name().to_string()), "{action}: {}", fault.found);
        let touched: Vec<String> = fault.touches.iter().map(|touched| touched.backup.clone()).collect();
        assert_eq!(touched, place.ids(), "{action}");
        assert!(
            fault.touches.iter().all(|touched| touched.tables == ["public.events"]),
            "{action}: {fault:?}"
        );
        assert_eq!(bad(&report), place.ids(), "{action}");
        fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn an_object_of_one_backup_at_fault_leaves_the_others_good() {
    let place = Place::new();
    fs::write(place.object_file(&place.objects(1)[2]), "").unwrap();
    let report = place.verify(Reading::Sizes);
    let fault = only(&report);
    let tables = &fault.touches[0].tables;
    for expected in ["public.orders", "large objects", HOSTILE_NAME] {
        assert!(tables.iter().any(|table| table.contains(expected)), "{expected}: {tables:?}");
    }
    assert_eq!(bad(&report), [place.headers[1].id.as_str()]);
}

#[test]
fn a_header_that_is_damaged_missing_or_of_another_is_named() {
    let place = Place::new();
    let (header, id) = (place.file(0, "backup.json"), place.headers[0].id.to_string());
    let whole = fs::read(&header).unwrap();
    let of_another = fs::read(place.file(1, "backup.json")).unwrap();
    for (action, content) in [("cut", &whole[..100]), ("of another", &of_another)] {
        fs::write(&header, content).unwrap();
        let report = place.verify(Reading::All);
        let fault = only(&report);
        assert!(
            fault.what == "header" && fault.found.contains(&format!("{id}/backup.json")),
            "{action}: {fault:?}"
        );
        assert_eq!(bad(&report), [id.as_str()], "{action}");
        // Its objects are not offered for removal.
        assert_eq!(report.unused, Some(Unused::default()), "{action}");
    }
    fs::remove_file(&header).unwrap();
    let report = place.verify(Reading::All);
    assert!(only(&report).found.contains(&format!("{id}/backup.json is missing")), "{report:#?}");
    assert_eq!(report.unused, Some(Unused::default()));
}

#[test]
fn a_missing_objects_list_is_named_and_the_manifest_tells_what_is_used() {
    let place = Place::new();
    fs::remove_file(place.file(0, "objects.list")).unwrap();
    let report = place.verify(Reading::Sizes);
    assert!(report.faults.iter().all(|fault| fault.found.contains("objects.list")), "{report:#?}");
    assert_eq!(bad(&report), [place.headers[0].id.as_str()]);
    assert_eq!(report.unused, Some(Unused::default()));
}

#[test]
fn what_nobody_uses_cannot_be_told_when_it_is_not_known_what_a_backup_uses() {
    let place = Place::new();
    fs::remove_file(place.file(0, "objects.list")).unwrap();
    fs::write(place.file(0, "manifest.json.zst"), "nonsense").unwrap();
    let report = place.verify(Reading::Sizes);
    assert_eq!(report.unused, None);
    assert!(only(&report).found.contains("manifest.json.zst"), "{report:#?}");
}

#[test]
fn objects_that_no_backup_uses_are_told_with_their_bytes_and_are_no_fault() {
    let place = Place::new();
    let orphan = write_object(&open(place.root()), b"nobody's").unwrap().object;
    for reading in [Reading::Sizes, Reading::All] {
        let report = place.verify(reading);
        assert!(report.is_complete(), "{report:#?}");
        assert_eq!(report.unused, Some(Unused { objects: 1, bytes: orphan.stored_bytes }));
    }
}

#[test]
fn unfinished_backups_are_told_and_are_no_fault() {
    let place = Place::new();
    let repository = open(place.root());
    let (draft, _) =
        begin_with_progress(&repository, &environment("prod"), time("2026-11-25T00:00:00Z"), 70).unwrap();
    let id = draft.id().to_string();
    let report = place.verify(Reading::All);
    assert!(report.is_complete() && report.unused.unwrap().objects > 0, "{report:#?}");
    assert_eq!(report.unfinished, [id.as_str()]);
    drop(draft);
    assert_eq!(place.verify(Reading::All).unfinished, [id]);
}

#[test]
fn what_belongs_to_nobody_is_named_and_is_no_fault() {
    let place = Place::new();
    let foreign = [
        "readme.txt".to_owned(),
        "backups/notes".to_owned(),
        format!("backups/{}/mine.txt", place.headers[0].id),
        "backups/old/backup.json".to_owned(),
        "objects/00/readme".to_owned(),
        "receipts/receipt".to_owned(),
    ];
    for path in &foreign {
        let path = place.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "?").unwrap();
    }
    fs::create_dir(place.root().join("backups/empty")).unwrap();
    let report = place.verify(Reading::All);
    assert!(report.is_complete(), "{report:#?}");
    for path in foreign.iter().map(String::as_str).chain(["backups/empty", "backups/old"]) {
        assert!(report.foreign.iter().any(|found| found == path), "{path}: {:?}", report.foreign);
    }
    assert!(files(place.root()).len() > foreign.len(), "nothing was removed");
}

#[test]
fn a_damaged_receipt_is_named_and_touches_no_backup() {
    let place = Place::new();
    let receipt = files(&place.root().join("receipts")).remove(0);
    fs::write(place.root().join("receipts").join(&receipt), "{}").unwrap();
    let report = place.verify(Reading::Sizes);
    assert!(only(&report).found.contains(receipt.to_str().unwrap()), "{report:#?}");
    assert_eq!(bad(&report), [""; 0]);
}

#[test]
fn a_sample_of_the_whole_finds_the_damage_in_what_it_reads_and_repeats_itself() {
    let place = Place::new();
    let share = "20%".parse().unwrap();
    let sample = |seed| place.verify(Reading::Sample(Sample::new(share, seed)));
    let good = sample(7);
    assert!(good.is_complete() && good.seed == Some(7), "{good:#?}");
    assert!(good.read_objects > 0 && good.read_objects < good.objects, "{good:#?}");
    assert_eq!(sample(7).read_bytes, good.read_bytes);
    let file = place.object_file(&place.objects(0)[0]);
    let mut content = fs::read(&file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&file, content).unwrap();
    let found: Vec<bool> = (0..40).map(|seed| !sample(seed).is_good()).collect();
    assert!(found.contains(&true) && found.contains(&false), "by what is chosen: {found:?}");
}

#[test]
fn a_backup_that_is_removed_meanwhile_is_no_fault() {
    let place = Place::new();
    let id = place.headers[0].id.to_string();
    let mut harmless = 0;
    for at in 0.. {
        let copy = Place::new();
        let plan = Plan::harmless();
        let repository = Repository::open(Box::new(Faulty::new(copy.root(), &plan))).unwrap();
        let folder = copy.root().join("backups").join(&id);
        let object = copy.object_file(&copy.objects(0)[1]);
        plan.pause_after(at, move || {
            fs::remove_file(folder.join("backup.json")).unwrap();
            fs::remove_dir_all(folder).unwrap();
            fs::remove_file(object).unwrap();
        });
        let report = verify_all(&repository, &Reading::All, &Silent, &Interrupt::new()).unwrap();
        assert!(report.is_good(), "after {at} operations: {report:#?}");
        if !plan.has_paused() {
            break;
        }
        harmless += 1;
    }
    assert!(harmless > 20, "only {harmless} operations were seen");
}

#[test]
fn a_listing_that_fails_is_an_error_and_no_report() {
    let place = Place::new();
    let objects = place.root().join("objects");
    fs::rename(&objects, place.root().join("elsewhere")).unwrap();
    fs::write(&objects, "no folder").unwrap();
    let outcome = verify_all(&open(place.root()), &Reading::Sizes, &Silent, &Interrupt::new());
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Failed);
}

#[test]
fn an_interrupt_ends_the_walk() {
    struct Interrupting(Interrupt);
    impl Monitor for Interrupting {
        fn event(&self, event: Event<'_>) {
            if matches!(event, Event::Steps { .. }) {
                self.0.trigger();
            }
        }
    }
    let place = Place::new();
    for reading in [Reading::Sizes, Reading::All] {
        let interrupt = Interrupt::new();
        let monitor = Interrupting(interrupt.clone());
        let error = verify_all(&open(place.root()), &reading, &monitor, &interrupt).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
}

#[test]
fn without_a_key_an_encrypted_repository_is_verified_as_far_as_that_goes_and_the_rest_is_named() {
    let place = Place::encrypted();
    for reading in [Reading::Sizes, Reading::All] {
        let report = place.verify(reading);
        assert!(report.is_good() && !report.is_complete(), "{report:#?}");
        for id in place.ids() {
            let open = |line: &String| line.starts_with(&id) && line.contains("content of objects");
            assert!(report.open.iter().any(open), "{id}: {:?}", report.open);
        }
        assert!(report.open.iter().any(|line| line.contains("receipts that no key")), "{:?}", report.open);
        assert_eq!((report.read_bytes, report.unused), (0, Some(Unused::default())));
        assert_eq!(report.foreign, [""; 0]);
    }
}

#[test]
fn without_a_key_missing_empty_and_cut_objects_manifests_and_lists_are_still_found() {
    let place = Place::encrypted();
    let objects = files(&place.root().join("objects"));
    for object in objects {
        let file = place.root().join("objects").join(&object);
        let name = object.file_name().unwrap().to_str().unwrap().split('.').next().unwrap();
        let whole = fs::read(&file).unwrap();
        for (action, content) in [("missing", None), ("emptied", Some(&whole[..0]))] {
            match content {
                Some(content) => fs::write(&file, content).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let report = place.verify(Reading::Sizes);
            assert!(only(&report).found.contains(name), "{action}: {report:#?}");
        }
        fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        let report = place.verify(Reading::Sizes);
        assert!(!report.faults.is_empty(), "{report:#?}");
        assert!(report.faults.iter().all(|fault| fault.found.contains("bytes in all")), "{report:#?}");
        fs::write(&file, whole).unwrap();
    }
    for name in ["manifest.json.zst.age", "objects.list"] {
        let file = place.file(0, name);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() / 2 + 1]).unwrap();
        let report = place.verify(Reading::Sizes);
        assert!(only(&report).found.contains(name), "{report:#?}");
        assert_eq!(bad(&report), [place.headers[0].id.as_str()]);
        fs::write(&file, whole).unwrap();
    }
    // A list that lacks whole lines is a list, but not the backup's.
    let file = place.file(0, "objects.list");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.lines().next().unwrap().to_owned() + "\n").unwrap();
    let report = place.verify(Reading::Sizes);
    assert_eq!((bad(&report), report.unused), (vec![place.headers[0].id.as_str()], None));
}

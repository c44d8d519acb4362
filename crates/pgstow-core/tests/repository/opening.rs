//! Creating and opening repositories, listing and finding backups, receipts.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pgstow_core::ErrorKind;
use pgstow_core::repository::format::receipt::{Drill, Exception, Outcome, Receipt};
use pgstow_core::repository::store::LocalStore;
use pgstow_core::repository::{Proof, Proven, Repository};
use tempfile::tempdir;

use crate::sample::*;

fn try_open(root: &std::path::Path) -> pgstow_core::Result<Repository> {
    Repository::open(Box::new(LocalStore::new(root)))
}

fn try_init(root: &std::path::Path) -> pgstow_core::Result<Repository> {
    Repository::init(Box::new(LocalStore::new(root)), time("2026-01-01T00:00:00Z"))
}

#[test]
fn init_creates_a_private_repository_in_a_folder_that_did_not_exist() {
    let place = tempdir().unwrap();
    let root = place.path().join("a/b");
    let id = try_init(&root).unwrap().id().to_owned();
    assert_eq!(try_open(&root).unwrap().id(), id);
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("."), mode("tmp"), mode("pgstow.json")), (0o700, 0o700, 0o600));
    assert_ne!(try_init(&place.path().join("other")).unwrap().id(), id);
}

#[test]
fn every_folder_is_0700_and_every_file_0600() {
    let place = tempdir().unwrap();
    let root = place.path().join("backups");
    store_all(&root);
    for file in files(&root) {
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let path = root.join(&file);
        assert_eq!(mode(&path), 0o600, "{}", file.display());
        assert_eq!(mode(path.parent().unwrap()), 0o700, "{}", file.display());
    }
}

#[test]
fn init_refuses_a_repository_and_leaves_it_alone() {
    let place = tempdir().unwrap();
    let id = init(place.path()).id().to_owned();
    let error = try_init(place.path()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.message().contains("is a repository already"), "{error}");
    assert_eq!(open(place.path()).id(), id);
}

#[test]
fn init_refuses_a_folder_with_foreign_files_and_names_them() {
    let place = tempdir().unwrap();
    fs::write(place.path().join("thesis.txt"), "precious").unwrap();
    for attempt in [
        try_init(place.path()),
        Repository::open_or_init(Box::new(LocalStore::new(place.path())), time("2026-01-01T00:00:00Z")),
    ] {
        let error = attempt.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.reason().unwrap().contains("thesis.txt"), "{:?}", error.reason());
    }
    assert_eq!(files(place.path()).len(), 1);
}

#[test]
fn init_accepts_a_new_file_system_and_what_an_interrupted_init_left() {
    let place = tempdir().unwrap();
    fs::create_dir(place.path().join("lost+found")).unwrap();
    fs::create_dir(place.path().join("tmp")).unwrap();
    assert!(try_init(place.path()).is_ok());
}

#[test]
fn open_of_nothing_says_so_and_how_to_create_one() {
    let place = tempdir().unwrap();
    for root in [place.path().to_owned(), place.path().join("absent")] {
        let error = try_open(&root).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains(root.to_str().unwrap()), "{error}");
        assert!(error.hints().iter().any(|hint| hint.contains("pgstow init")), "{:?}", error.hints());
    }
    assert!(!place.path().join("absent").exists(), "looking must not create");
}

#[test]
fn open_or_init_creates_once_and_opens_afterwards() {
    let place = tempdir().unwrap();
    let root = place.path().join("backups");
    let attempt = || {
        let store = Box::new(LocalStore::new(&root));
        Repository::open_or_init(store, time("2026-01-01T00:00:00Z")).unwrap().id().to_owned()
    };
    let first = attempt();
    assert_eq!(attempt(), first);
}

#[test]
fn a_repository_without_its_pgstow_json_is_not_taken_for_an_empty_place() {
    let place = tempdir().unwrap();
    store_all(place.path());
    fs::remove_file(place.path().join("pgstow.json")).unwrap();
    let store = || Box::new(LocalStore::new(place.path()));
    let error = Repository::open_or_init(store(), time("2026-01-01T00:00:00Z")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.message().contains("pgstow.json is missing"), "{error}");
}

#[test]
fn a_repository_behind_a_symbolic_link_opens() {
    let place = tempdir().unwrap();
    let root = place.path().join("real");
    let headers = store_all(&root);
    let link = place.path().join("link");
    std::os::unix::fs::symlink(&root, &link).unwrap();
    assert_eq!(open(&link).list().unwrap().backups.len(), headers.len());
}

#[test]
fn a_newer_format_is_told_with_both_versions_wherever_it_stands() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let newer = br#"{"format_version": 7, "everything": "else changed"}"#;
    let header_file = place.path().join(format!("backups/{}/backup.json", headers[1].id));
    fs::write(&header_file, newer).unwrap();
    let repository = open(place.path());
    let told = |error: pgstow_core::Error| {
        let text = format!("{error} {:?} {:?}", error.reason(), error.hints());
        assert!(text.contains("format version 7"), "{text}");
        assert!(text.contains("up to 1") && text.contains("upgrade pgstow"), "{text}");
    };
    told(repository.resolve(headers[1].id.as_str()).unwrap_err());
    let listing = repository.list().unwrap();
    assert_eq!(listing.backups.len(), 2);
    assert!(listing.damaged[0].1.contains("upgrade pgstow"), "{:?}", listing.damaged);
    let manifest = zstd::encode_all(newer.as_slice(), 1).unwrap();
    let mut changed = headers[0].clone();
    changed.manifest_bytes = manifest.len().try_into().unwrap();
    changed.manifest_hash = pgstow_core::repository::format::id::ObjectId::of(&manifest);
    fs::write(place.path().join(format!("backups/{}/manifest.json.zst", headers[0].id)), manifest).unwrap();
    told(repository.manifest(&changed).unwrap_err());
    fs::write(place.path().join("pgstow.json"), newer).unwrap();
    told(try_open(place.path()).err().unwrap());
}

#[test]
fn what_was_committed_reads_back() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let listed: Vec<_> = repository.list().unwrap().backups;
    assert_eq!(listed, [headers[2].clone(), headers[0].clone(), headers[1].clone()], "oldest first");
    let manifest = repository.manifest(&headers[0]).unwrap();
    assert_eq!(manifest.tables[1].name, HOSTILE_NAME);
    assert_eq!((headers[0].rows, manifest.rows()), (109, 109));
    assert_eq!(repository.catalog(&manifest).unwrap(), catalog());
    assert_eq!(repository.file(&manifest, "schema.sql").unwrap(), b"CREATE TABLE public.orders ();\n");
    let list = String::from_utf8(repository.file(&manifest, "objects.list").unwrap()).unwrap();
    let mut ids: Vec<String> = manifest.objects.iter().map(|object| object.id.to_string()).collect();
    ids.sort();
    assert_eq!(list.lines().collect::<Vec<_>>(), ids);
    let error = repository.file(&manifest, "absent.txt").unwrap_err();
    assert!(error.message().contains("absent.txt"), "{error}");
}

#[test]
fn new_bytes_are_what_a_backup_added_to_the_repository() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let total: u64 = files(place.path())
        .iter()
        .filter(|path| path.starts_with("objects") || path.starts_with("backups"))
        .filter(|path| path.file_name().unwrap() != "backup.json")
        .map(|path| fs::metadata(place.path().join(path)).unwrap().len())
        .sum();
    assert_eq!(headers.iter().map(|header| header.new_bytes).sum::<u64>(), total);
    assert!(headers[1].new_bytes < headers[0].new_bytes, "the first chunk is shared");
}

#[test]
fn a_selector_finds_the_newest_of_what_it_names() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let cases = [
        ("latest", 1),
        ("prod@latest", 1),
        ("prod@pre-upgrade", 1),
        ("dev@latest", 2),
        ("prod_2026-11-20T02-00-00Z", 0),
        ("prod_2026-11-20", 0),
        ("dev", 2),
    ];
    for (selector, index) in cases {
        assert_eq!(repository.resolve(selector).unwrap(), headers[index], "{selector}");
    }
}

#[test]
fn an_id_that_begins_another_id_means_itself() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let at = time("2026-11-20T02:00:00Z");
    let plain = store_backup(&repository, &environment("prod"), None, at, 1).unwrap();
    store_backup(&repository, &environment("prod"), Some(&label("x")), at, 2).unwrap();
    assert_eq!(repository.resolve(plain.id.as_str()).unwrap(), plain);
}

#[test]
fn an_ambiguous_prefix_is_a_usage_error_with_candidates() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let error = open(place.path()).resolve("prod").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    for expected in ["prod@latest", headers[0].id.as_str(), headers[1].id.as_str()] {
        assert!(error.hints().iter().any(|hint| hint.contains(expected)), "{:?}", error.hints());
    }
}

#[test]
fn a_selector_of_nothing_is_not_found_with_near_names() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let error = repository.resolve("latest").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hints()[0].contains("pgstow backup"), "{:?}", error.hints());
    drop(repository);
    let place = tempdir().unwrap();
    store_all(place.path());
    let repository = open(place.path());
    let cases = [
        ("prd@latest", "prod@latest"),
        ("prod@pre-upgrad", "prod@pre-upgrade"),
        ("prod_2026-11-20T02-00-01Z", "prod_2026-11-20T02-00-00Z"),
        ("lastest", "latest"),
        ("completely-else", "dev, prod"),
        ("", "dev, prod"),
    ];
    for (selector, near) in cases {
        let error = repository.resolve(selector).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{selector}");
        assert!(error.hints().iter().any(|hint| hint.contains(near)), "{selector}: {:?}", error.hints());
    }
}

#[test]
fn a_damaged_header_is_listed_and_never_passed_over_for_an_older_backup() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let file = format!("backups/{}/backup.json", headers[1].id);
    fs::write(place.path().join(&file), "{").unwrap();
    let repository = open(place.path());
    let listing = repository.list().unwrap();
    assert_eq!(listing.backups.len(), 2);
    assert_eq!(listing.damaged[0].0, headers[1].id.as_str());
    for selector in ["latest", "prod@latest", "prod@pre-upgrade", headers[1].id.as_str()] {
        let error = repository.resolve(selector).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed, "{selector}");
        assert!(error.message().contains(&file), "{selector}: {error}");
    }
    assert_eq!(repository.resolve("dev@latest").unwrap(), headers[2]);
    assert_eq!(repository.resolve(headers[0].id.as_str()).unwrap(), headers[0]);
}

#[test]
fn foreign_files_and_links_beside_backups_are_ignored() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let outside = tempdir().unwrap();
    let copied = outside.path().join("backup.json");
    fs::copy(place.path().join(format!("backups/{}/backup.json", headers[0].id)), copied).unwrap();
    let backups = place.path().join("backups");
    fs::create_dir(backups.join(".snapshot")).unwrap();
    fs::create_dir(backups.join("notes of mine")).unwrap();
    fs::write(backups.join(".DS_Store"), "").unwrap();
    fs::write(backups.join("prod_2026-11-25T00-00-00Z"), "a file").unwrap();
    std::os::unix::fs::symlink(outside.path(), backups.join("prod_2026-11-26T00-00-00Z")).unwrap();
    let listing = open(place.path()).list().unwrap();
    assert_eq!((listing.backups.len(), listing.damaged.len(), listing.unfinished.len()), (3, 0, 0));
}

#[test]
fn a_dropped_draft_leaves_nothing_and_is_unfinished_until_then() {
    let place = tempdir().unwrap();
    store_all(place.path());
    let repository = open(place.path());
    let before = files(place.path());
    let mut draft =
        repository.begin_backup(&environment("prod"), None, time("2026-12-01T00:00:00Z")).unwrap();
    draft.write_file("schema.sql", b"x").unwrap();
    let folder = place.path().join("backups/prod_2026-12-01T00-00-00Z");
    assert!(folder.join("schema.sql").exists());
    let listing = repository.list().unwrap();
    assert_eq!(listing.unfinished, ["prod_2026-12-01T00-00-00Z"]);
    let error = repository.resolve("prod_2026-12-01T00-00-00Z").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.reason().unwrap().contains("without a header"), "{:?}", error.reason());
    drop(draft);
    assert!(!folder.exists());
    assert_eq!(files(place.path()), before);
}

#[test]
fn a_draft_takes_only_plain_names_and_each_once() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let mut draft =
        repository.begin_backup(&environment("prod"), None, time("2026-12-01T00:00:00Z")).unwrap();
    for name in
        ["", ".", "..", "a/b", "../x", "a\\b", "a\0b", ".hidden", "backup.json", "manifest.json.zst", "ü"]
    {
        let error = draft.write_file(name, b"x").unwrap_err();
        assert!(error.message().contains("not a plain file name"), "{name:?}: {error}");
    }
    draft.write_file("once.txt", b"x").unwrap();
    assert!(draft.write_file("once.txt", b"y").unwrap_err().message().contains("once.txt"));
}

#[test]
fn a_commit_refuses_a_missing_object_and_an_inconsistent_manifest() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let manifest = repository.manifest(&headers[0]).unwrap();
    let at = time("2026-12-01T00:00:00Z");
    let attempt = |manifest| {
        let draft = repository.begin_backup(&environment("prod"), None, at).unwrap();
        draft.commit(manifest, headers[0].clone(), at).unwrap_err()
    };
    let mut wrong = manifest.clone();
    wrong.tables[0].rows += 1;
    let error = attempt(wrong);
    assert!(error.reason().unwrap().contains("public.events"), "{:?}", error.reason());
    let id = manifest.objects[1].id.to_string();
    fs::remove_file(place.path().join(format!("objects/{}/{id}.zst", &id[..2]))).unwrap();
    let error = attempt(manifest);
    assert!(error.message().contains(&id) && error.message().contains("missing"), "{error}");
    assert_eq!(repository.list().unwrap().backups.len(), 3);
    assert!(repository.list().unwrap().unfinished.is_empty());
}

#[test]
fn receipts_are_found_by_backup_and_damaged_ones_named() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let at = time("2026-11-22T00:00:00Z");
    let stored = repository.store_receipt(&receipt(&headers[0].id, at)).unwrap();
    assert_eq!(stored, "receipts/2026-11-22T00-00-01Z_prod_2026-11-20T02-00-00Z.json", "the second is taken");
    repository.store_receipt(&receipt(&headers[1].id, at)).unwrap();
    fs::write(place.path().join("receipts/2026-11-23T00-00-00Z_prod_2026-11-20T02-00-00Z.json"), "{}")
        .unwrap();
    fs::write(place.path().join("receipts/readme.txt"), "mine").unwrap();
    let found = repository.receipts(&headers[0].id).unwrap();
    assert_eq!(found.receipts, vec![receipt(&headers[0].id, at); 2]);
    assert_eq!(found.damaged.len(), 1);
    assert_eq!(found.damaged[0].0, "2026-11-23T00-00-00Z_prod_2026-11-20T02-00-00Z.json");
    assert_eq!(repository.receipts(&headers[2].id).unwrap().receipts, []);
}

#[test]
fn the_newest_receipts_tell_whether_a_backup_is_proven() {
    let place = tempdir().unwrap();
    let headers = store_all(place.path());
    let repository = open(place.path());
    let id = &headers[2].id;
    let at = |hour: u32| time(&format!("2026-11-24T{hour:02}:00:00Z"));
    let drill = |hour, outcome, left: usize| {
        let exception = Exception { what: "extension x".into(), reason: "not there".into() };
        let drill = Drill {
            server_version: "15.18".into(),
            own_server: true,
            restore_seconds: 1.0,
            total_seconds: 2.0,
            rows: 3,
            exceptions: vec![exception; left],
            checks: Vec::new(),
        };
        Receipt { outcome, checksums: true, drill: Some(drill), ..receipt(id, at(hour)) }
    };
    let proof = || repository.receipt_index().unwrap().proof_of(id);
    assert_eq!(proof(), Proof::default());
    // Counted rows prove nothing, and another target's ways are not the backup's fault.
    let counted = Receipt { checksums: false, outcome: Outcome::Equal, ..receipt(id, at(1)) };
    repository.store_receipt(&counted).unwrap();
    let differs = Receipt { checksums: true, outcome: Outcome::Differs, ..receipt(id, at(2)) };
    repository.store_receipt(&differs).unwrap();
    assert_eq!(proof(), Proof::default());
    repository.store_receipt(&drill(3, Outcome::Equal, 2)).unwrap();
    let proven = Proven { at: at(3), exceptions: 2, by_drill: true };
    assert_eq!(proof(), Proof { proven: Some(proven), ..Proof::default() });
    repository.store_receipt(&drill(4, Outcome::Failed, 0)).unwrap();
    repository.store_receipt(&drill(5, Outcome::Differs, 0)).unwrap();
    assert_eq!(proof(), Proof { proven: Some(proven), failed_at: Some(at(5)), ..Proof::default() });
    let restored = Receipt { checksums: true, outcome: Outcome::Equal, ..receipt(id, at(6)) };
    repository.store_receipt(&restored).unwrap();
    let proven = Proven { at: at(6), exceptions: 0, by_drill: false };
    assert_eq!(proof(), Proof { proven: Some(proven), ..Proof::default() });
    // Only the newest are read.
    for minute in 0..9 {
        let at = time(&format!("2026-11-24T07:{minute:02}:00Z"));
        repository.store_receipt(&Receipt { finished_at: at, ..counted.clone() }).unwrap();
    }
    assert_eq!(proof(), Proof { unread: 7, ..Proof::default() });
    // A drill's receipt comes back as it was stored.
    assert!(repository.receipts(id).unwrap().receipts.contains(&drill(4, Outcome::Failed, 0)));
}

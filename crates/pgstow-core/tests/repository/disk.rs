//! Full, read-only and forbidden disks: real ones, in a process of their own.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::repository::format::id::ObjectId;
use pgstow_core::repository::store::{LocalStore, Store, StoreError};
use pgstow_core::verify::{Reading, verify};
use pgstow_core::{Error, ErrorKind};
use tempfile::tempdir;

use crate::children;
use crate::sample::*;

/// Runs the rest of its command line with a file system of 1 MiB over the folder named first.
/// The mount is seen by that process alone and goes with it.
const ON_A_SMALL_DISK: &str = "mount -t tmpfs -o size=1m tmpfs \"$0\" && exec \"$@\"";

fn on_a_small_disk(test: &str) {
    let place = tempdir().unwrap();
    let folder = place.path().to_str().unwrap();
    let wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", ON_A_SMALL_DISK, folder];
    children::expect_success(children::start(test, &wrapper, place.path()));
}

fn prepare(root: &Path) {
    store_backup(&init(root), &environment("prod"), None, time("2026-11-01T00:00:00Z"), 10).unwrap();
}

fn still_good(root: &Path) {
    let repository = open(root);
    let header = repository.resolve("latest").unwrap();
    let report = verify(&repository, &header, &Reading::All, &Silent, &Interrupt::new()).unwrap();
    assert!(report.is_good(), "{report:?}");
}

/// Bytes that do not compress, and more of them than the small disk holds.
fn incompressible() -> Vec<u8> {
    (0..80_000u32).flat_map(|number| ObjectId::of(&number.to_le_bytes()).0).collect()
}

#[test]
#[ignore = "run by a_full_disk_is_told_and_leaves_what_was_there"]
fn with_a_full_disk() {
    let root = children::folder();
    prepare(&root);
    let repository = open(&root);
    let error = write_object(&repository, &incompressible()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.message().contains("no space left"), "{error}");
    assert!(error.message().contains(root.to_str().unwrap()), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("free some space")), "{:?}", error.hints());
    assert!(files(&root.join("tmp")).is_empty());
    let store = LocalStore::new(&root);
    let mut file = store.create().unwrap();
    let error = file.write_all(&incompressible()).unwrap_err();
    assert!(matches!(error.downcast::<StoreError>().unwrap(), StoreError::Full { .. }));
    drop(file);
    let mut ballast = fs::File::create(root.join("ballast")).unwrap();
    ballast.write_all(&incompressible()).unwrap_err();
    let at = time("2026-12-01T00:00:00Z");
    let error = store_backup(&repository, &environment("prod"), None, at, 99).unwrap_err();
    assert!(error.message().contains("no space left"), "{error}");
    still_good(&root);
    assert!(repository.list().unwrap().unfinished.is_empty());
    drop(ballast);
    fs::remove_file(root.join("ballast")).unwrap();
    store_backup(&repository, &environment("prod"), None, at, 99).unwrap();
    still_good(&root);
}

#[test]
fn a_full_disk_is_told_and_leaves_what_was_there() {
    on_a_small_disk("disk::with_a_full_disk");
}

#[test]
#[ignore = "run by a_read_only_disk_is_told_and_can_still_be_read"]
fn with_a_read_only_disk() {
    let root = children::folder();
    prepare(&root);
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&root).status().unwrap();
    assert!(status.success());
    still_good(&root);
    let error = write_object(&open(&root), b"x").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.message().contains(root.to_str().unwrap()), "{error}");
    assert!(error.hints()[0].contains("read-only"), "{:?}", error.hints());
}

#[test]
fn a_read_only_disk_is_told_and_can_still_be_read() {
    on_a_small_disk("disk::with_a_read_only_disk");
}

#[test]
#[ignore = "run by a_forbidden_folder_is_told_and_left_alone"]
fn with_a_forbidden_folder() {
    let root = children::folder();
    let forbidden = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.message().contains(root.to_str().unwrap()), "{error}");
        assert!(error.hints()[0].contains("owner and mode"), "{:?}", error.hints());
    };
    still_good(&root);
    let repository = open(&root);
    forbidden(write_object(&repository, b"x").err().unwrap());
    let at = time("2026-12-01T00:00:00Z");
    forbidden(repository.begin_backup(&environment("prod"), None, at).err().unwrap());
    forbidden(repository.store_receipt(&receipt(&repository.resolve("latest").unwrap().id, at)).unwrap_err());
}

/// Root may write anywhere, so the child gives up that privilege; anyone else has none to give up.
#[test]
fn a_forbidden_folder_is_told_and_left_alone() {
    let place = tempdir().unwrap();
    prepare(place.path());
    let set_mode = |mode: &str| {
        let folders = ["tmp", "backups", "."].map(|name| place.path().join(name));
        assert!(Command::new("chmod").arg(mode).args(folders).status().unwrap().success());
    };
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let wrapper: &[&str] =
        if is_root { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &[] };
    set_mode("0555");
    children::expect_success(children::start("disk::with_a_forbidden_folder", wrapper, place.path()));
    set_mode("0755");
    still_good(place.path());
}

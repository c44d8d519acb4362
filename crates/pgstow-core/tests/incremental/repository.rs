//! A repository that lost something: what cannot be taken over is read, and a backup is made.
//!
//! Guard: the stored object is there with its size.

use std::path::{Path, PathBuf};

use crate::change::backed_up;
use crate::ground::{Backup, Ground};

const TABLE: &str = "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g;";

/// Files below a folder whose path contains `part`.
fn files(folder: &Path, part: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, part));
        } else if path.display().to_string().contains(part) {
            found.push(path);
        }
    }
    found
}

/// The stored file of the object that holds table `t`.
fn object_of_t(ground: &Ground, backup: &Backup) -> PathBuf {
    let chunk = &backup.table("t").chunks[0];
    let id = backup.manifest.objects[chunk.object as usize].id.to_string();
    let found = files(&ground.vault.path(), &id);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn an_object_that_is_gone_is_read_from_the_source_again() {
    let (ground, first) = backed_up(TABLE);
    let object = object_of_t(&ground, &first);
    std::fs::remove_file(&object).unwrap();
    let second = ground.back_up();
    assert_eq!(second.rows(&ground.vault, "t").len(), 100);
    second.assert_read(1);
    assert!(object.exists(), "it is stored again");
    ground.back_up().assert_nothing_read();
}

#[test]
fn an_object_that_was_cut_short_does_not_pass_for_whole() {
    let (ground, first) = backed_up(TABLE);
    let object = object_of_t(&ground, &first);
    let content = std::fs::read(&object).unwrap();
    // As after the loss of a disk's cache; a file that nobody may write to is replaced.
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, &content[..content.len() / 2]).unwrap();
    match ground.vault.back_up_watched(&ground.options(), &pgstow_core::monitor::Silent) {
        Ok(second) => assert_eq!(second.rows(&ground.vault, "t").len(), 100),
        Err(error) => {
            let told = crate::ground::told(&error);
            assert!(told.contains("damaged") || told.contains("bytes"), "{told}");
        }
    }
}

#[test]
fn a_manifest_that_cannot_be_read_costs_a_full_read() {
    let (ground, first) = backed_up(TABLE);
    let manifests = files(&ground.vault.path(), "manifest");
    assert_eq!(manifests.len(), 1, "{manifests:?}");
    std::fs::remove_file(&manifests[0]).unwrap();
    let second = ground.back_up();
    second.assert_nothing_reused();
    assert_eq!(ground.rows(&second, "t").lines().count(), 100);
    assert_eq!(first.objects(), second.objects());
    ground.back_up().assert_nothing_read();
}

/// The base's folder is gone altogether, as after it was deleted on purpose.
#[test]
fn a_backup_that_was_deleted_is_not_a_base() {
    let (ground, _) = backed_up(TABLE);
    let second = ground.back_up();
    let folder = ground.vault.path().join("backups").join(second.report.header.id.to_string());
    std::fs::remove_dir_all(&folder).unwrap();
    let third = ground.back_up();
    third.assert_nothing_read();
    assert_ne!(third.report.reuse.base.as_ref(), Some(&second.report.header.id));
}

//! Plaintext copies of manifests on the host that makes encrypted backups: it has no private key,
//! and the next backup needs the manifests of the earlier ones to know what has not changed.
//!
//! A copy is bound to the hash of the stored, encrypted manifest, so it stands for exactly that one.
//! It carries a hash of its own, so a damaged copy is none. Losing the cache costs a full reading.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::format::compressed;
use super::format::id::{BackupId, ObjectId};
use super::format::manifest::{Manifest, Sections};

const SUFFIX: &str = ".manifest";
const FINISHED: &str = "finished";
const PROGRESS: &str = "progress";
const HASH_DIGITS: usize = 64;

/// The cache of one repository.
pub(super) struct Cache {
    folder: PathBuf,
    fault: Mutex<Option<String>>,
}

/// Of which kind a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a backup that has its header.
    Finished,
    /// What a running or interrupted backup had finished.
    Progress,
}

impl Cache {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, fault: Mutex::new(None) }
    }

    /// The manifest whose stored file has this hash; `None` where there is no good copy.
    pub(super) fn manifest(&self, backup: &BackupId, stored: &ObjectId) -> Option<Manifest> {
        [Kind::Finished, Kind::Progress]
            .iter()
            .find_map(|kind| read(&self.folder.join(file_name(*kind, backup, stored)), backup, stored))
    }

    /// Keeps a copy, and removes what it makes superfluous. A failure costs the next backup time,
    /// and this one nothing: it is kept to be told.
    pub(super) fn keep(&self, kind: Kind, manifest: &Manifest, stored: &ObjectId) {
        if let Err(error) = self.try_keep(kind, manifest, stored) {
            let fault = format!("the manifest cannot be kept in {}: {error}", self.folder.display());
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        }
    }

    /// The last failure, once.
    pub(super) fn take_fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn try_keep(&self, kind: Kind, manifest: &Manifest, stored: &ObjectId) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        fs::set_permissions(&self.folder, Permissions::from_mode(0o700))?;
        let content = compressed::to_file(manifest)?;
        // Made with mode 0600; appears whole or not at all.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        writeln!(file, "{}", seal(stored, &content))?;
        file.write_all(&content)?;
        file.as_file().sync_all()?;
        let name = file_name(kind, &manifest.backup, stored);
        file.persist(self.folder.join(&name)).map_err(|error| error.error)?;
        self.tidy(kind, manifest, &name)
    }

    /// Removes copies that no later backup needs, now that `name` is there.
    fn tidy(&self, kind: Kind, newest: &Manifest, name: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let other = entry.file_name();
            let Some(other) = other.to_str().filter(|other| *other != name) else { continue };
            let Some((other_kind, backup, stored)) = parts(other) else { continue };
            if backup.environment() != newest.backup.environment() {
                continue;
            }
            let superfluous = match (kind, other_kind) {
                (Kind::Progress, Kind::Progress) => backup == newest.backup,
                (Kind::Progress, Kind::Finished) => false,
                // Older progress helps nobody once its backup, or a later one, is finished.
                (Kind::Finished, Kind::Progress) => backup.time() <= newest.backup.time(),
                (Kind::Finished, Kind::Finished) => {
                    read(&entry.path(), &backup, &stored).is_none_or(|older| supersedes(newest, &older))
                }
            };
            if superfluous {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Another run may have removed it.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether no later backup would choose `older` as its base when `newer` is there.
fn supersedes(newer: &Manifest, older: &Manifest) -> bool {
    let has_definitions =
        |manifest: &Manifest| manifest.proof.as_ref().is_some_and(|proof| proof.definitions.is_some());
    let for_definitions = newer.selection.sections == older.selection.sections
        && (has_definitions(newer) || !has_definitions(older));
    let for_rows = older.selection.sections == Sections::SchemaOnly
        || newer.selection.is_unlimited()
        || (newer.selection.sections != Sections::SchemaOnly && !older.selection.is_unlimited());
    newer.snapshot.taken_at >= older.snapshot.taken_at && for_definitions && for_rows
}

fn file_name(kind: Kind, backup: &BackupId, stored: &ObjectId) -> String {
    let kind = match kind {
        Kind::Finished => FINISHED,
        Kind::Progress => PROGRESS,
    };
    format!("{backup}_{kind}-{stored}{SUFFIX}")
}

fn parts(name: &str) -> Option<(Kind, BackupId, ObjectId)> {
    let (start, stored) = name.strip_suffix(SUFFIX)?.rsplit_once('-')?;
    let (backup, kind) = start.rsplit_once('_')?;
    let kind = match kind {
        FINISHED => Kind::Finished,
        PROGRESS => Kind::Progress,
        _ => return None,
    };
    Some((kind, BackupId::new(backup).ok()?, stored.parse().ok()?))
}

/// Binds a copy to the file that it is a copy of.
fn seal(stored: &ObjectId, content: &[u8]) -> ObjectId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&stored.0).update(content);
    ObjectId(hasher.finalize().into())
}

fn read(path: &Path, backup: &BackupId, stored: &ObjectId) -> Option<Manifest> {
    let file = fs::read(path).ok()?;
    let (digits, rest) = file.split_at_checked(HASH_DIGITS)?;
    let content = rest.strip_prefix(b"\n")?;
    (digits == seal(stored, content).to_string().as_bytes()).then_some(())?;
    Manifest::from_file(content, backup).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::format::testdata::{self, FORMAT_1_BACKUPS};

    fn manifest(backup: &str) -> Manifest {
        let file = testdata::read(&format!("backups/{backup}/manifest.json.zst"));
        Manifest::from_file(&file, &BackupId::new(backup).unwrap()).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_copy_stands_for_the_stored_file_it_was_made_of_and_for_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        let [one, other, _] = FORMAT_1_BACKUPS.map(manifest);
        let (stored, changed) = (ObjectId::of(b"stored"), ObjectId::of(b"changed"));
        cache.keep(Kind::Finished, &one, &stored);
        assert_eq!(cache.take_fault(), None);
        assert_eq!(cache.manifest(&one.backup, &stored).as_ref(), Some(&one));
        assert_eq!(cache.manifest(&one.backup, &changed), None);
        assert_eq!(cache.manifest(&other.backup, &stored), None);
        let copy = folder.path().join(file_name(Kind::Finished, &one.backup, &stored));
        for name in [
            file_name(Kind::Finished, &one.backup, &changed),
            file_name(Kind::Finished, &other.backup, &stored),
        ] {
            fs::copy(&copy, folder.path().join(name)).unwrap();
        }
        assert_eq!(cache.manifest(&one.backup, &changed), None, "under another hash");
        assert_eq!(cache.manifest(&other.backup, &stored), None, "under another backup");
        let whole = fs::read(&copy).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x20;
            fs::write(&copy, damaged).unwrap();
            assert_eq!(cache.manifest(&one.backup, &stored), None, "byte {at}");
        }
    }

    #[test]
    fn what_no_later_backup_needs_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        let stored = ObjectId::of(b"stored");
        let whole = manifest(FORMAT_1_BACKUPS[0]);
        let at = |seconds: i64, sections| {
            let mut made = whole.clone();
            made.snapshot.taken_at = jiff::Timestamp::from_second(1_800_000_000 + seconds).unwrap();
            made.selection.sections = sections;
            let environment = super::super::format::id::EnvironmentName::new("prod").unwrap();
            made.backup = BackupId::compose(&environment, made.snapshot.taken_at, None);
            made
        };
        let first = at(1, Sections::All);
        cache.keep(Kind::Progress, &first, &stored);
        cache.keep(Kind::Finished, &first, &stored);
        assert_eq!(names(folder.path()), [file_name(Kind::Finished, &first.backup, &stored)]);
        // Definitions of a backup of rows alone are no base for those of a whole one.
        let rows = at(2, Sections::DataOnly);
        cache.keep(Kind::Finished, &rows, &stored);
        assert_eq!(names(folder.path()).len(), 2);
        let newest = at(3, Sections::All);
        cache.keep(Kind::Progress, &newest, &stored);
        assert_eq!(names(folder.path()).len(), 3);
        cache.keep(Kind::Finished, &newest, &stored);
        let mut expected = [&rows, &newest].map(|kept| file_name(Kind::Finished, &kept.backup, &stored));
        let mut found = names(folder.path());
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = Cache::new(file);
        cache.keep(Kind::Finished, &manifest(FORMAT_1_BACKUPS[0]), &ObjectId::of(b"stored"));
        assert!(cache.take_fault().is_some_and(|fault| fault.contains("cannot be kept")));
        assert_eq!(cache.take_fault(), None);
    }
}

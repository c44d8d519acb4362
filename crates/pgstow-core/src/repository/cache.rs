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

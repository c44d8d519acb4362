//! Folders of backups that have no header: what the next backup can use of them, and their end.
//!
//! A run that is interrupted leaves its newest progress file and the mark `ended`; one that is
//! killed leaves no mark. A later run that has committed removes both kinds. It cannot know that a
//! silent run is dead, so two things keep each from harming the other:
//!
//! - Whoever clears a folder first marks it, and then looks for a manifest. A run writes its
//!   manifest first, then looks for the mark, and only then writes the header. One of the two sees
//!   the other: either nothing is removed, or the run fails before its backup exists.
//! - The mark is the last file that is removed, and a run always has its pending mark there. So
//!   a run that finds no mark, because the clearing is over, misses its own file. This is why
//!   it looks each time before it removes a progress file itself.
//!
//! A folder with a manifest is never cleared: it may be a backup that lost its header.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use super::format::id::{BackupId, EnvironmentName, ObjectId};
use super::format::layout;
use super::format::manifest::Manifest;
use super::open::write;
use super::store::{Listed, Store, StoreError};
use crate::error::Result;

/// How often a folder is listed anew because a live run replaced its progress meanwhile.
const LOOKS: usize = 5;

/// What the mark says when the run itself leaves it.
pub(super) const INTERRUPTED: &str = "This backup was interrupted. What it had finished serves the next one, which then removes this folder.\n";
const COPIED_ANEW: &str = "Another copy of this backup began here.\n";
const TAKEN_FOR_DEAD: &str = "Nothing was written here for more than a day, so the run is taken for dead and this folder is removed.\n";

/// The newest readable progress of each backup of `environment` without a header, newest snapshot
/// first. `read` makes a manifest of a file that has the hash in its name, where it can.
pub(super) fn manifests(
    store: &dyn Store,
    environment: &EnvironmentName,
    read: impl Fn(&Progress<'_>) -> Option<Manifest>,
) -> Result<Vec<Manifest>> {
    let mut found = Vec::new();
    for id in backups_of(store, environment.as_str())? {
        if is_absent(store, &id, layout::HEADER_FILE) {
            found.extend(newest_progress(store, &id, &read)?);
        }
    }
    found.sort_by_cached_key(|manifest| Reverse((manifest.snapshot.taken_at, manifest.backup.clone())));
    Ok(found)
}

/// Marks the folder as one in which no run works any more.
pub(super) fn mark_ended(store: &dyn Store, id: &BackupId, why: &str) -> Result<()> {
    // One that is there already says the same.
    write(store, &layout::backup_file(id, layout::ENDED_FILE), why.as_bytes()).map(|_| ())
}

/// Why the folder of a live run is no longer its own: somebody marked it, or removed one of the
/// `expected` paths. `None` when it is.
pub(super) fn taken(
    store: &dyn Store,
    id: &BackupId,
    mut expected: impl Iterator<Item = String>,
) -> Result<Option<String>> {
    let listed = store.list(&layout::backup_folder(id))?;
    let found: HashSet<&str> = listed.iter().map(|file| file.path.as_str()).collect();
    if found.contains(layout::backup_file(id, layout::ENDED_FILE).as_str()) {
        return Ok(Some("it is marked as ended: nothing was heard of it for more than a day".to_owned()));
    }
    if found.contains(layout::backup_file(id, layout::PRUNED_FILE).as_str()) {
        return Ok(Some("a prune marked it: an earlier backup had the same id".to_owned()));
    }
    let missing = expected.find(|path| !found.contains(path.as_str()));
    Ok(missing.map(|path| format!("{path} is no longer there")))
}

/// Removes the folders that interrupted backups left, of the environment of `committed`, which was
/// just committed. What cannot be removed now is left for the next run.
pub(super) fn clean(store: &dyn Store, committed: &BackupId, lease: Duration) {
    let Ok(ids) = backups_of(store, committed.environment()) else { return };
    // The store's clock wrote the header a moment ago, and it wrote the progress files.
    let now = written_at(store, committed, layout::HEADER_FILE);
    for id in ids.iter().filter(|id| *id != committed) {
        let _ = clear_if_ended(store, id, committed, now, lease);
    }
}

fn clear_if_ended(
    store: &dyn Store,
    id: &BackupId,
    committed: &BackupId,
    now: Option<SystemTime>,
    lease: Duration,
) -> Result<()> {
    if !holds_no_backup(store, id) {
        return Ok(());
    }
    let folder = layout::backup_folder(id);
    let mark = layout::backup_file(id, layout::ENDED_FILE);
    let files = store.list(&folder)?;
    if files.is_empty() && began_long_before(id, committed, lease) {
        // Of a run killed before it wrote anything, or a clearing that was. A live run would not
        // even notice: its first file makes the folder anew.
        return Ok(store.remove_folder(&folder)?);
    }
    if !files.iter().any(|file| file.path == mark) {
        if !is_silent(&files, &folder, now, lease) {
            return Ok(());
        }
        mark_ended(store, id, TAKEN_FOR_DEAD)?;
    }
    clear_marked(store, id).map(|_| ())
}

/// Clears the folder of a copy that did not come to its end, so that the next one can begin: false
/// when it holds a backup, or nearly does. A live run notices, and fails.
pub(super) fn clear(store: &dyn Store, id: &BackupId) -> Result<bool> {
    if !holds_no_backup(store, id) {
        return Ok(false);
    }
    mark_ended(store, id, COPIED_ANEW)?;
    clear_marked(store, id)
}

/// Removes what a run wrote into a folder that is marked as ended, then the mark and the folder.
fn clear_marked(store: &dyn Store, id: &BackupId) -> Result<bool> {
    // Once more, now that the mark is there. It stays in any case: another run may rely on it.
    if !holds_no_backup(store, id) {
        return Ok(false);
    }
    let folder = layout::backup_folder(id);
    for file in store.list(&folder)? {
        if name_in(&file.path, &folder).is_some_and(is_draft_file) {
            if is_absent(store, id, layout::ENDED_FILE) {
                // Another run was quicker, and the folder may be a third one's by now.
                return Ok(false);
            }
            store.remove(&file.path)?;
        }
    }
    store.remove(&layout::backup_file(id, layout::ENDED_FILE))?;
    store.remove_folder(&folder)?;
    Ok(true)
}

fn began_long_before(id: &BackupId, later: &BackupId, lease: Duration) -> bool {
    let (Some(one), Some(other)) = (id.began_at(), later.began_at()) else { return false };
    Duration::try_from(other.duration_since(one)).is_ok_and(|age| age > lease)
}

/// Whether there are signs of life, and all were written longer than the lease before `now`. Unknown
/// times are no.
fn is_silent(files: &[Listed], folder: &str, now: Option<SystemTime>, lease: Duration) -> bool {
    let is_sign = |name| is_progress_file(name) || layout::is_pending_file(name);
    let signs = files.iter().filter(|file| name_in(&file.path, folder).is_some_and(is_sign));
    let ages = signs.map(|file| now?.duration_since(file.modified?).ok());
    ages.min().is_some_and(|age| age.is_some_and(|age| age > lease))
}

/// Neither header nor manifest. In doubt there is one.
fn holds_no_backup(store: &dyn Store, id: &BackupId) -> bool {
    layout::PROOFS.iter().all(|name| is_absent(store, id, name))
}

/// Surely absent: what cannot be looked at counts as there.
fn is_absent(store: &dyn Store, id: &BackupId, name: &str) -> bool {
    matches!(store.size(&layout::backup_file(id, name)), Ok(None))
}

/// What a draft may have written, header, manifest and mark excepted.
fn is_draft_file(name: &str) -> bool {
    layout::is_file_name(name) || is_progress_file(name) || layout::is_pending_file(name)
}

fn is_progress_file(name: &str) -> bool {
    layout::progress_parts(name).is_some()
}

pub(super) fn name_in<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

fn written_at(store: &dyn Store, id: &BackupId, name: &str) -> Option<SystemTime> {
    let files = store.list(&layout::backup_folder(id)).ok()?;
    let path = layout::backup_file(id, name);
    files.into_iter().find(|file| file.path == path)?.modified
}

fn backups_of(store: &dyn Store, environment: &str) -> Result<Vec<BackupId>> {
    let folders = store.folders(layout::BACKUPS)?.into_iter();
    let ids = folders.filter_map(|folder| BackupId::new(folder).ok());
    Ok(ids.filter(|id| id.environment() == environment).collect())
}

/// A progress file as stored.
pub(super) struct Progress<'p> {
    /// Whose.
    pub(super) backup: &'p BackupId,
    /// Of the file, and in its name.
    pub(super) hash: ObjectId,
    pub(super) path: &'p str,
    pub(super) file: &'p [u8],
}

fn newest_progress(
    store: &dyn Store,
    id: &BackupId,
    read: &impl Fn(&Progress<'_>) -> Option<Manifest>,
) -> Result<Option<Manifest>> {
    for _ in 0..LOOKS {
        let mut vanished = false;
        for (path, hash) in progress_newest_first(store, id)? {
            match store.read_all(&path, layout::FILE_LIMIT_BYTES) {
                Ok(file) if ObjectId::of(&file) == hash => {
                    let progress = Progress { backup: id, hash, path: &path, file: &file };
                    // Else moved here from another folder, of a later format, or not to be decrypted.
                    if let Some(manifest) = read(&progress) {
                        return Ok(Some(manifest));
                    }
                }
                Err(StoreError::NotFound { .. }) => vanished = true,
                // Damaged, or not readable.
                Ok(_) | Err(_) => {}
            }
        }
        if !vanished {
            break;
        }
    }
    Ok(None)
}

fn progress_newest_first(store: &dyn Store, id: &BackupId) -> Result<Vec<(String, ObjectId)>> {
    let folder = layout::backup_folder(id);
    let mut found: Vec<((u32, ObjectId), String)> = store
        .list(&folder)?
        .into_iter()
        .filter_map(|file| Some((layout::progress_parts(name_in(&file.path, &folder)?)?, file.path)))
        .collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found.into_iter().map(|((_, hash), path)| (path, hash)).collect())
}

//! Which backups there are.

use super::format::header::Header;
use super::format::id::BackupId;
use super::format::layout;
use super::store::{Store, StoreError};
use crate::error::Result;

/// What [`Repository::list`](super::Repository::list) found.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Readable headers, oldest snapshot first.
    pub backups: Vec<Header>,
    /// Folder name and what is wrong with its header, sorted.
    pub damaged: Vec<(String, String)>,
    /// Folders without a header, sorted: being made now, interrupted, or robbed of it.
    pub unfinished: Vec<String>,
    /// Those of `unfinished` whose run is known to have ended and left finished chunks for the next
    /// backup, sorted.
    pub interrupted: Vec<String>,
}

impl Listing {
    pub(super) fn read(store: &dyn Store) -> Result<Self> {
        let mut listing = Self::default();
        for folder in store.folders(layout::BACKUPS)? {
            // Whatever else lies there is not ours.
            let Ok(id) = BackupId::new(folder) else { continue };
            listing.add(store, id);
        }
        listing.backups.sort_by(|one, other| (one.snapshot_at, &one.id).cmp(&(other.snapshot_at, &other.id)));
        Ok(listing)
    }

    fn add(&mut self, store: &dyn Store, id: BackupId) {
        let path = layout::backup_file(&id, layout::HEADER_FILE);
        let file = match store.read_all(&path, layout::HEADER_LIMIT_BYTES) {
            Ok(file) => file,
            Err(StoreError::NotFound { .. }) => return self.add_unfinished(store, id),
            Err(error) => {
                let error = crate::Error::from(error);
                let why = error.reason().unwrap_or_default();
                return self.damaged.push((id.into(), format!("{}: {why}", error.message())));
            }
        };
        match Header::from_file(&file, &id) {
            Ok(header) => self.backups.push(header),
            Err(error) => self.damaged.push((id.into(), format!("{} {error}", layout::HEADER_FILE))),
        }
    }

    fn add_unfinished(&mut self, store: &dyn Store, id: BackupId) {
        let ended = layout::backup_file(&id, layout::ENDED_FILE);
        if matches!(store.size(&ended), Ok(Some(_))) {
            self.interrupted.push(id.to_string());
        }
        self.unfinished.push(id.into());
    }
}

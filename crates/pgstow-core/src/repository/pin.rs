//! Pins: marks that keep a backup whatever retention says.

use super::format::id::BackupId;
use super::format::layout;
use super::open::Repository;
use super::store::StoreError;
use crate::error::{Error, Result};

/// Longest text of a pin that is read.
const PIN_LIMIT_BYTES: u64 = 64 << 10;

impl Repository {
    /// Pins a backup, or replaces the text of its pin: who, when and why, for people.
    ///
    /// # Errors
    /// The store's; a backup that a prune is about to remove.
    pub fn pin(&self, id: &BackupId, text: &str) -> Result<()> {
        let path = layout::backup_file(id, layout::PINNED_FILE);
        self.store().replace(&path, text.as_bytes())?;
        // The pin first, the look after: a prune marks the backup first and looks for the pin after.
        let pruned = self.store().size(&layout::backup_file(id, layout::PRUNED_FILE))?.is_some();
        if !pruned && self.store().size(&layout::backup_file(id, layout::HEADER_FILE))?.is_some() {
            return Ok(());
        }
        self.store().remove(&path)?;
        Err(Error::failed(format!("{id} cannot be pinned")).why("a prune is about to remove it"))
    }

    /// Removes a pin; whether there was one.
    ///
    /// # Errors
    /// The store's.
    pub fn unpin(&self, id: &BackupId) -> Result<bool> {
        let path = layout::backup_file(id, layout::PINNED_FILE);
        let pinned = self.store().size(&path)?.is_some();
        self.store().remove(&path)?;
        Ok(pinned)
    }

    /// The text of a backup's pin; `None` when it is not pinned. One that cannot be read pins all the
    /// same.
    ///
    /// # Errors
    /// The store's, when nobody can say whether there is one.
    pub fn pin_of(&self, id: &BackupId) -> Result<Option<String>> {
        let path = layout::backup_file(id, layout::PINNED_FILE);
        match self.store().read_all(&path, PIN_LIMIT_BYTES) {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim().to_owned())),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => match self.store().size(&path)? {
                Some(_) => Ok(Some(String::new())),
                None => Err(error.into()),
            },
        }
    }
}

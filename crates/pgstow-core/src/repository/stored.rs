//! What lies in the store, as the store lists it: all objects, and what a backup says it uses.
//!
//! Needs no key, and reads no object. Whatever is not surely an object is told apart and never
//! counted as one.

use std::time::SystemTime;

use super::format::id::{BackupId, ObjectName};
use super::format::layout;
use super::open::Repository;
use crate::error::{Error, Result};

/// Files below `objects/`, as [`Repository::stored_objects`] found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredObjects {
    /// Every object, sorted by name; each name once.
    pub objects: Vec<StoredObject>,
    /// Paths of files that are no objects, sorted.
    pub foreign: Vec<String>,
}

/// An object's file. Whether its content is right is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredObject {
    /// Its name.
    pub name: ObjectName,
    /// Length of the file.
    pub bytes: u64,
    /// When it was written, by the store's clock ([`Listed::modified`](super::store::Listed::modified)).
    pub modified: Option<SystemTime>,
}

impl StoredObjects {
    /// The object of that name, if it is there.
    pub fn get(&self, name: &ObjectName) -> Option<&StoredObject> {
        let at = self.objects.binary_search_by_key(name, |object| object.name).ok()?;
        self.objects.get(at)
    }
}

impl Repository {
    /// Lists all objects that are stored, whoever uses them. Memory: about 64 bytes an object, and
    /// twice as much while the store lists them.
    ///
    /// # Errors
    /// The store's; never a partial list.
    pub fn stored_objects(&self) -> Result<StoredObjects> {
        let mut found = StoredObjects::default();
        for listed in self.store().list(layout::OBJECTS)? {
            match layout::object_name(&listed.path, self.is_encrypted()) {
                Some(name) => {
                    let (bytes, modified) = (listed.bytes, listed.modified);
                    found.objects.push(StoredObject { name, bytes, modified });
                }
                None => found.foreign.push(listed.path),
            }
        }
        found.objects.sort_unstable_by_key(|object| object.name);
        found.foreign.sort_unstable();
        Ok(found)
    }

    /// Reads `objects.list` of a backup, or of a folder that has no header yet: what it uses, sorted,
    /// each name once. It is checked for its form alone: whether it is the backup's own only the
    /// manifest proves ([`Repository::file`]).
    ///
    /// # Errors
    /// Missing, or not of that form, named; the store's.
    pub fn objects_list(&self, id: &BackupId) -> Result<Vec<ObjectName>> {
        let path = layout::backup_file(id, layout::OBJECTS_LIST);
        let file = self.store().read_all(&path, layout::FILE_LIMIT_BYTES)?;
        layout::parse_objects_list(&file).ok_or_else(|| {
            Error::failed(format!("{} is damaged", self.display(&path)))
                .why("it is not a sorted list of names of objects, one a line")
        })
    }
}

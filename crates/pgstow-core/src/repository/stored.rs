//! What lies in the store, as the store lists it: folders of backups, objects, and what a backup says
//! it uses.
//!
//! Needs no key, and reads no object. Whatever is not surely an object is told apart and never
//! counted as one.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::format::header::Header;
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

/// What lies below `backups/`, as [`Repository::stored_folders`] found it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredFolders {
    /// Folders that are named as backups are, and the names of the files in them, sorted.
    pub folders: BTreeMap<BackupId, Vec<String>>,
    /// Paths of all else, sorted: files and folders that belong to no backup.
    pub foreign: Vec<String>,
}

impl StoredObjects {
    /// The object of that name, if it is there.
    pub fn get(&self, name: &ObjectName) -> Option<&StoredObject> {
        self.objects.get(self.position(name)?)
    }

    /// Where in `objects` it stands.
    pub(crate) fn position(&self, name: &ObjectName) -> Option<usize> {
        self.objects.binary_search_by_key(name, |object| object.name).ok()
    }
}

impl Repository {
    /// Lists all folders of backups, with header or without, and what lies in them.
    ///
    /// # Errors
    /// The store's; never a partial list.
    pub fn stored_folders(&self) -> Result<StoredFolders> {
        let mut found = StoredFolders::default();
        for folder in self.store().folders(layout::BACKUPS)? {
            match BackupId::new(folder.as_str()) {
                Ok(id) => drop(found.folders.insert(id, Vec::new())),
                Err(_) => found.foreign.push(format!("{}/{folder}", layout::BACKUPS)),
            }
        }
        for listed in self.store().list(layout::BACKUPS)? {
            match place_in_backup(&listed.path) {
                Some((id, name)) => found.folders.entry(id).or_default().push(name.to_owned()),
                None => found.foreign.push(listed.path),
            }
        }
        found.folders.values_mut().for_each(|names| names.sort_unstable());
        found.foreign.sort_unstable();
        Ok(found)
    }

    /// Whether a backup has a header, good or not.
    ///
    /// # Errors
    /// The store's.
    pub fn has_header(&self, id: &BackupId) -> Result<bool> {
        Ok(self.store().size(&layout::backup_file(id, layout::HEADER_FILE))?.is_some())
    }

    /// Names in the repository's place that are none of its own.
    ///
    /// # Errors
    /// The store's.
    pub fn foreign_names(&self) -> Result<Vec<String>> {
        let mut names = self.store().names()?;
        names.retain(|name| !layout::NAMES.contains(&name.as_str()));
        Ok(names)
    }

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

    /// Checks length and hash of a backup's manifest as it is stored, without reading what it says.
    ///
    /// # Errors
    /// Missing or damaged file, named.
    pub fn check_manifest(&self, header: &Header) -> Result<()> {
        let name = layout::stored_name(layout::MANIFEST_FILE, self.is_encrypted());
        let path = layout::backup_file(&header.id, &name);
        self.checked_file(&path, header.manifest_bytes, header.manifest_hash).map(|_| ())
    }

    /// Lengths of the files of many objects, in their order; `None` where there is none.
    ///
    /// # Errors
    /// The store's, of the first that cannot be looked at.
    pub fn object_sizes(&self, names: &[ObjectName]) -> Result<Vec<Option<u64>>> {
        let paths: Vec<String> = names.iter().map(|name| layout::object(name, self.is_encrypted())).collect();
        Ok(self.store().sizes(&paths)?)
    }
}

/// Whose folder a path below `backups/` lies in, and under which name.
fn place_in_backup(path: &str) -> Option<(BackupId, &str)> {
    let (folder, name) = path.strip_prefix(layout::BACKUPS)?.strip_prefix('/')?.split_once('/')?;
    Some((BackupId::new(folder).ok()?, name)).filter(|_| !name.contains('/'))
}

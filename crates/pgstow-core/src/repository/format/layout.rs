//! Where each file of a repository lies. Every path is made here, from checked names only.

use super::id::{BackupId, ObjectId};

/// Makes a folder a repository.
pub(crate) const REPOSITORY_FILE: &str = "pgstow.json";
/// Holds one folder a backup.
pub(crate) const BACKUPS: &str = "backups";
/// Holds the objects, in 256 folders.
pub(crate) const OBJECTS: &str = "objects";
/// Holds the receipts.
pub(crate) const RECEIPTS: &str = "receipts";
/// The header, in a backup's folder.
pub(crate) const HEADER_FILE: &str = "backup.json";
/// The manifest, in a backup's folder.
pub(crate) const MANIFEST_FILE: &str = "manifest.json.zst";
/// The catalog, in a backup's folder.
pub(crate) const CATALOG_FILE: &str = "catalog.json.zst";
/// Ids of all objects of a backup, in its folder.
pub(crate) const OBJECTS_LIST: &str = "objects.list";

/// Longest `pgstow.json` or header that is read.
pub(crate) const HEADER_LIMIT_BYTES: u64 = 1 << 20;
/// Longest receipt that is read.
pub(crate) const RECEIPT_LIMIT_BYTES: u64 = 64 << 20;
/// Longest file of a backup's folder, as stored and decompressed.
pub(crate) const FILE_LIMIT_BYTES: u64 = 1 << 30;

const FILE_NAME_LIMIT: usize = 100;

/// A backup's folder.
pub(crate) fn backup_folder(id: &BackupId) -> String {
    format!("{BACKUPS}/{id}")
}

/// A file of a backup's folder; `name` has passed [`is_file_name`].
pub(crate) fn backup_file(id: &BackupId, name: &str) -> String {
    format!("{BACKUPS}/{id}/{name}")
}

/// An object.
pub(crate) fn object(id: &ObjectId) -> String {
    let id = id.to_string();
    let folder: String = id.chars().take(2).collect();
    format!("{OBJECTS}/{folder}/{id}.zst")
}

/// A receipt; `time` is as ids write it.
pub(crate) fn receipt(time: &str, backup: &BackupId) -> String {
    format!("{RECEIPTS}/{time}_{backup}.json")
}

/// Whether `name` may be a file that a manifest lists: ASCII letters, digits, `.`, `-`, `_`,
/// starting with a letter or digit, at most 100; neither header nor manifest, which are not listed.
pub(crate) fn is_file_name(name: &str) -> bool {
    name.len() <= FILE_NAME_LIMIT
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        && name != HEADER_FILE
        && name != MANIFEST_FILE
}

/// The content of `objects.list`: sorted, each id once, one a line.
pub(crate) fn objects_list(ids: impl Iterator<Item = ObjectId>) -> Vec<u8> {
    let sorted: std::collections::BTreeSet<ObjectId> = ids.collect();
    sorted.iter().flat_map(|id| format!("{id}\n").into_bytes()).collect()
}

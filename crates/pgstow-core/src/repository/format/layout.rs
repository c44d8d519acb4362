//! Where each file of a repository lies. Every path is made here, from checked names only.

use super::id::{BackupId, ObjectId, ObjectName};

/// Makes a folder a repository.
pub(crate) const REPOSITORY_FILE: &str = "pgstow.json";
/// Holds one folder a backup.
pub(crate) const BACKUPS: &str = "backups";
/// Holds the objects, in 256 folders.
pub(crate) const OBJECTS: &str = "objects";
/// Holds the receipts.
pub(crate) const RECEIPTS: &str = "receipts";
/// Holds private keys that are protected by a passphrase.
pub(crate) const KEYS: &str = "keys";
/// Ends the names of encrypted files.
const ENCRYPTED_SUFFIX: &str = ".age";
/// The header, in a backup's folder.
pub(crate) const HEADER_FILE: &str = "backup.json";
/// The manifest, in a backup's folder.
pub(crate) const MANIFEST_FILE: &str = "manifest.json.zst";
/// The manifest, in a backup's folder of an encrypted repository.
pub(crate) const ENCRYPTED_MANIFEST_FILE: &str = "manifest.json.zst.age";
/// The catalog, in a backup's folder.
pub(crate) const CATALOG_FILE: &str = "catalog.json.zst";
/// Names of all objects of a backup, in its folder.
pub(crate) const OBJECTS_LIST: &str = "objects.list";
/// Says that no run works in the folder any more. It has no header then.
pub(crate) const ENDED_FILE: &str = "ended";

const PROGRESS_PREFIX: &str = "progress-";
const PROGRESS_SUFFIX: &str = ".json.zst";

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

/// The name of the file that holds what `name` means: encrypted ones say so.
pub(crate) fn stored_name(name: &str, encrypted: bool) -> String {
    let suffix = if encrypted { ENCRYPTED_SUFFIX } else { "" };
    format!("{name}{suffix}")
}

/// An object.
pub(crate) fn object(name: &ObjectName, encrypted: bool) -> String {
    let name = name.to_string();
    let folder: String = name.chars().take(2).collect();
    stored_name(&format!("{OBJECTS}/{folder}/{name}.zst"), encrypted)
}

/// A receipt; `time` is as ids write it.
pub(crate) fn receipt(time: &str, backup: &BackupId, encrypted: bool) -> String {
    stored_name(&format!("{RECEIPTS}/{time}_{backup}.json"), encrypted)
}

/// A private key, protected by a passphrase, named by its public key.
pub(crate) fn key_file(public: &str) -> String {
    format!("{KEYS}/{public}{ENCRYPTED_SUFFIX}")
}

/// The public key in the path of a key file; `None` for any other path.
pub(crate) fn public_of(path: &str) -> Option<&str> {
    let public = path.strip_prefix(KEYS)?.strip_prefix('/')?.strip_suffix(ENCRYPTED_SUFFIX)?;
    let plain = public.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (public.starts_with("age1") && plain && public.len() <= FILE_NAME_LIMIT).then_some(public)
}

/// A progress file, in a backup's folder: a partial manifest. `hash` is that of the file, which
/// nothing else proves.
pub(crate) fn progress_file(number: u32, hash: &ObjectId, encrypted: bool) -> String {
    stored_name(&format!("{PROGRESS_PREFIX}{number}-{hash}{PROGRESS_SUFFIX}"), encrypted)
}

/// Number and hash in the name of a progress file; `None` for any other name.
pub(crate) fn progress_parts(name: &str) -> Option<(u32, ObjectId)> {
    let plain = name.strip_suffix(ENCRYPTED_SUFFIX);
    let encrypted = plain.is_some();
    let (number, hash) = plain
        .unwrap_or(name)
        .strip_prefix(PROGRESS_PREFIX)?
        .strip_suffix(PROGRESS_SUFFIX)?
        .split_once('-')?;
    let parts = (number.parse().ok()?, hash.parse().ok()?);
    // One way of writing a number.
    (progress_file(parts.0, &parts.1, encrypted) == name).then_some(parts)
}

/// Whether `name` may be a file that a manifest lists: ASCII letters, digits, `.`, `-`, `_`,
/// starting with a letter or digit, at most 100; none of those that are not listed.
pub(crate) fn is_file_name(name: &str) -> bool {
    name.len() <= FILE_NAME_LIMIT
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        && name != HEADER_FILE
        && name != MANIFEST_FILE
        && name != ENCRYPTED_MANIFEST_FILE
        && name != ENDED_FILE
        && !name.starts_with(PROGRESS_PREFIX)
}

/// Whether a file of a backup's folder is encrypted in an encrypted repository. What prune needs is
/// not: it has no key.
pub(crate) fn is_encrypted_file(name: &str) -> bool {
    name != OBJECTS_LIST
}

/// The content of `objects.list`: sorted, each name once, one a line.
pub(crate) fn objects_list(names: impl Iterator<Item = ObjectName>) -> Vec<u8> {
    let sorted: std::collections::BTreeSet<ObjectName> = names.collect();
    sorted.iter().flat_map(|name| format!("{name}\n").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_progress_file_tells_its_number_and_hash_and_no_other_name_does() {
        let hash = ObjectId::of(b"x");
        for (number, encrypted) in [(0, false), (1, true), (9, false), (10, true), (u32::MAX, false)] {
            let name = progress_file(number, &hash, encrypted);
            assert_eq!(progress_parts(&name), Some((number, hash)));
            assert!(!is_file_name(&name), "no manifest lists {name}");
        }
        let name = progress_file(7, &hash, false);
        for wrong in [
            name.replace("-7-", "-07-"),
            name.replace("-7-", "-+7-"),
            name.replace("-7-", "-4294967296-"),
            name.replace("-7-", "--7-"),
            name.replace(".zst", ""),
            name.to_uppercase(),
            format!("{name}.zst"),
            format!("{name}.age.age"),
            format!("a{name}"),
            "progress-7.json.zst".to_owned(),
        ] {
            assert_eq!(progress_parts(&wrong), None, "{wrong}");
        }
        assert!(!is_file_name(ENDED_FILE));
    }
}

//! Where each file of a repository lies. Every path is made here, from checked names only.

use super::id::{BackupId, ObjectId, ObjectName, RunTag, TIME_LENGTH, is_time};

/// Makes a folder a repository.
pub(crate) const REPOSITORY_FILE: &str = "pgstow.json";
/// Holds one folder a backup.
pub(crate) const BACKUPS: &str = "backups";
/// Holds the objects, in 256 folders.
pub(crate) const OBJECTS: &str = "objects";
/// Holds the receipts.
pub(crate) const RECEIPTS: &str = "receipts";
/// Holds the events of the audit log.
pub(crate) const AUDIT: &str = "audit";
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
/// Where one of these is, there is a backup, or one that lost its header.
pub(crate) const PROOFS: [&str; 3] = [HEADER_FILE, MANIFEST_FILE, ENCRYPTED_MANIFEST_FILE];
/// The catalog, in a backup's folder.
pub(crate) const CATALOG_FILE: &str = "catalog.json.zst";
/// The schema archive, in a backup's folder.
pub(crate) const SCHEMA_ARCHIVE: &str = "schema.dump";
/// Names of all objects of a backup, in its folder.
pub(crate) const OBJECTS_LIST: &str = "objects.list";
/// Says that no run works in the folder any more. It has no header then.
pub(crate) const ENDED_FILE: &str = "ended";

/// Says that a prune lets the backup go. It means nothing while there is a header.
pub(crate) const PRUNED_FILE: &str = "pruned";
/// Keeps a backup whatever retention says.
pub(crate) const PINNED_FILE: &str = "pinned";
/// Holds the condemned lists and what is done about them.
pub(crate) const CONDEMNED: &str = "condemned";

const PENDING_PREFIX: &str = "pending-";
const PENDING_SUFFIX: &str = ".json";
const LIST_SUFFIX: &str = ".list";
const SWEEPING_INFIX: &str = ".sweeping-";
const SWEPT_SUFFIX: &str = ".swept";
const CLOCK_PREFIX: &str = "clock-";
const PROGRESS_PREFIX: &str = "progress-";
const PROGRESS_SUFFIX: &str = ".json.zst";

/// All that lies in the repository's own folder.
pub(crate) const NAMES: [&str; 8] =
    [REPOSITORY_FILE, BACKUPS, OBJECTS, RECEIPTS, AUDIT, KEYS, CONDEMNED, "tmp"];

/// Longest `pgstow.json` or header that is read.
pub(crate) const HEADER_LIMIT_BYTES: u64 = 1 << 20;
/// Longest pending mark that is read.
pub(crate) const PENDING_LIMIT_BYTES: u64 = 16 << 20;
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

/// What the file of a backup's folder is called without encryption.
pub(crate) fn plain_name(stored: &str, encrypted: bool) -> &str {
    if encrypted { stored.strip_suffix(ENCRYPTED_SUFFIX).unwrap_or(stored) } else { stored }
}

/// An object.
pub(crate) fn object(name: &ObjectName, encrypted: bool) -> String {
    let name = name.to_string();
    let folder: String = name.chars().take(2).collect();
    stored_name(&format!("{OBJECTS}/{folder}/{name}.zst"), encrypted)
}

/// The name of the object at a path that [`object`] makes; `None` for any other path.
pub(crate) fn object_name(path: &str, encrypted: bool) -> Option<ObjectName> {
    let suffix = stored_name(".zst", encrypted);
    let name = path.rsplit('/').next()?.strip_suffix(suffix.as_str())?.parse().ok()?;
    (object(&name, encrypted) == path).then_some(name)
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

/// An event of the audit log; `time` is as ids write it.
pub(crate) fn audit_event(time: &str, digits: u64) -> String {
    format!("{AUDIT}/{time}_{digits:016x}.json")
}

/// The time in the path of an event of the audit log; `None` for any other path.
pub(crate) fn audit_time(path: &str) -> Option<&str> {
    let name = path.strip_prefix(AUDIT)?.strip_prefix('/')?.strip_suffix(".json")?;
    let (time, digits) = name.split_once('_')?;
    let digits = u64::from_str_radix(digits, 16).ok()?;
    (is_time(time) && audit_event(time, digits) == path).then_some(time)
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
        && name != PRUNED_FILE
        && name != PINNED_FILE
        && !name.starts_with(PROGRESS_PREFIX)
        && !name.starts_with(PENDING_PREFIX)
}

/// The pending mark of the run of this tag, in its backup's folder.
pub(crate) fn pending_file(tag: &RunTag) -> String {
    format!("{PENDING_PREFIX}{tag}{PENDING_SUFFIX}")
}

/// Whether this is the name of a pending mark.
pub(crate) fn is_pending_file(name: &str) -> bool {
    let tag = name.strip_prefix(PENDING_PREFIX).and_then(|rest| rest.strip_suffix(PENDING_SUFFIX));
    tag.is_some_and(|tag| RunTag::parse(tag).is_some())
}

/// The name of the condemned list that the run of this tag makes; `time` is as ids write it.
pub(crate) fn list_name(time: &str, tag: &RunTag) -> String {
    format!("{time}-{tag}")
}

/// A condemned list, by its name.
pub(crate) fn condemned_list(name: &str) -> String {
    format!("{CONDEMNED}/{name}{LIST_SUFFIX}")
}

/// The mark that the run of this tag sweeps a condemned list.
pub(crate) fn sweeping_mark(name: &str, tag: &RunTag) -> String {
    format!("{CONDEMNED}/{name}{SWEEPING_INFIX}{tag}")
}

/// The mark that a condemned list is swept.
pub(crate) fn swept_mark(name: &str) -> String {
    format!("{CONDEMNED}/{name}{SWEPT_SUFFIX}")
}

/// A file whose only meaning is when the store says that it was written.
pub(crate) fn clock_file(tag: &RunTag) -> String {
    format!("{CONDEMNED}/{CLOCK_PREFIX}{tag}")
}

/// What a file below `condemned/` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CondemnedFile<'p> {
    /// A list, by its name.
    List(&'p str),
    /// Somebody sweeps the list of this name, or began to.
    Sweeping(&'p str),
    /// The list of this name is swept.
    Swept(&'p str),
    /// Tells the time, once.
    Clock,
}

/// What the file at `path` is; `None` for any other.
pub(crate) fn condemned_file(path: &str) -> Option<CondemnedFile<'_>> {
    let name = path.strip_prefix(CONDEMNED)?.strip_prefix('/')?;
    if let Some(list) = name.strip_suffix(LIST_SUFFIX) {
        return is_list_name(list).then_some(CondemnedFile::List(list));
    }
    if let Some(list) = name.strip_suffix(SWEPT_SUFFIX) {
        return is_list_name(list).then_some(CondemnedFile::Swept(list));
    }
    if let Some(tag) = name.strip_prefix(CLOCK_PREFIX) {
        return RunTag::parse(tag).map(|_| CondemnedFile::Clock);
    }
    let (list, tag) = name.split_once(SWEEPING_INFIX)?;
    (is_list_name(list) && RunTag::parse(tag).is_some()).then_some(CondemnedFile::Sweeping(list))
}

fn is_list_name(name: &str) -> bool {
    let parts = name.split_at_checked(TIME_LENGTH);
    parts.is_some_and(|(time, rest)| {
        is_time(time) && rest.strip_prefix('-').is_some_and(|tag| RunTag::parse(tag).is_some())
    })
}

/// Whether `name` is that of a mark in a backup's folder: it says something of a run, and nothing of
/// the backup.
pub(crate) fn is_mark(name: &str) -> bool {
    matches!(name, ENDED_FILE | PRUNED_FILE | PINNED_FILE)
        || is_pending_file(name)
        || progress_parts(name).is_some()
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

/// The names in what [`objects_list`] made; `None` for anything else.
pub(crate) fn parse_objects_list(file: &[u8]) -> Option<Vec<ObjectName>> {
    let text = std::str::from_utf8(file).ok()?;
    let names: Vec<ObjectName> = text.lines().map(|line| line.parse().ok()).collect::<Option<_>>()?;
    // The one way of writing it: sorted, nothing twice, every line ended.
    (objects_list(names.iter().copied()) == file).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_protocol_are_known_by_their_names_and_no_others_are() {
        let tag = RunTag([0xab; 8]);
        let list = list_name("2026-11-21T09-12-04Z", &tag);
        assert_eq!(condemned_file(&condemned_list(&list)), Some(CondemnedFile::List(&list)));
        assert_eq!(condemned_file(&sweeping_mark(&list, &tag)), Some(CondemnedFile::Sweeping(&list)));
        assert_eq!(condemned_file(&swept_mark(&list)), Some(CondemnedFile::Swept(&list)));
        assert_eq!(condemned_file(&clock_file(&tag)), Some(CondemnedFile::Clock));
        for wrong in [
            "condemned/x.list".to_owned(),
            format!("condemned/{list}"),
            format!("condemned/{list}.lists"),
            format!("condemned/{list}.sweeping"),
            format!("condemned/{list}.sweeping-1"),
            format!("condemned/a/{list}.list"),
            format!("backups/{list}.list"),
            format!("condemned/{}.list", list.to_uppercase()),
            "condemned/clock-".to_owned(),
        ] {
            assert_eq!(condemned_file(&wrong), None, "{wrong}");
        }
        assert!(is_pending_file(&pending_file(&tag)));
        for name in [pending_file(&tag), PRUNED_FILE.to_owned(), PINNED_FILE.to_owned()] {
            assert!(!is_file_name(&name), "no manifest lists {name}");
        }
    }

    #[test]
    fn the_path_of_an_event_tells_its_time_and_no_other_path_does() {
        let time = "2026-11-21T09-12-04Z";
        for digits in [0, 1, u64::MAX] {
            assert_eq!(audit_time(&audit_event(time, digits)), Some(time));
        }
        for wrong in [
            "audit/2026-11-21T09-12-04Z_1.json",
            "audit/2026-11-21T09-12-04Z_000000000000000G.json",
            "audit/2026-11-21T09-12-04Z_000000000000000A.json",
            "audit/2026-13-21T09-12-04Z_0000000000000001.json",
            "audit/2026-11-21T09-12-04Z_0000000000000001",
            "audit/x/2026-11-21T09-12-04Z_0000000000000001.json",
            "receipts/2026-11-21T09-12-04Z_0000000000000001.json",
            "audit",
        ] {
            assert_eq!(audit_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_path_of_an_object_tells_its_name_and_no_other_path_does() {
        let id = ObjectId::of(b"x");
        for copy in [0, 1, u32::MAX] {
            let name = ObjectName { id, copy };
            for encrypted in [false, true] {
                let path = object(&name, encrypted);
                assert_eq!(object_name(&path, encrypted), Some(name));
                assert_eq!(object_name(&path, !encrypted), None);
            }
        }
        let path = object(&ObjectName { id, copy: 0 }, false);
        for wrong in [
            path.replace("objects/", "objects/00/"),
            path.replace("objects/", "backups/"),
            path.replacen(&id.to_string()[..2], "zz", 1),
            path.to_uppercase(),
            path.replace(".zst", ""),
            format!("{path}.zst"),
            format!("{path}/x"),
            "objects/readme.txt".to_owned(),
            "objects".to_owned(),
            String::new(),
        ] {
            assert_eq!(object_name(&wrong, false), None, "{wrong}");
        }
    }

    #[test]
    fn a_list_of_objects_is_read_as_it_is_written_and_no_other_way() {
        let names: Vec<ObjectName> = (0..9u8)
            .map(|number| ObjectName { id: ObjectId::of(&[number]), copy: u32::from(number % 2) })
            .collect();
        let file = objects_list(names.iter().copied());
        let mut sorted = names;
        sorted.sort_unstable();
        assert_eq!(parse_objects_list(&file), Some(sorted));
        assert_eq!(parse_objects_list(b""), Some(Vec::new()));
        let text = String::from_utf8(file).unwrap();
        let first = text.lines().next().unwrap();
        for wrong in [
            text.trim_end().to_owned(),
            format!("{text}\n"),
            format!("{first}\n{text}"),
            format!("{text}{first}\n"),
            text.replace('\n', "\r\n"),
            text.to_uppercase(),
            text[1..].to_owned(),
        ] {
            assert_eq!(parse_objects_list(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

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

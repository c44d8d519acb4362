//! Storing receipts, and finding those of a backup.

use jiff::ToSpan;

use super::format::id::{BackupId, is_time, time_text};
use super::format::layout;
use super::format::receipt::Receipt;
use super::open::{Repository, write};
use crate::error::{Error, ErrorKind, Result};

/// How many receipts of one backup may fall into the same minute.
const SECONDS_TO_TRY: usize = 60;

/// The receipts of one backup.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    /// Readable ones, oldest first.
    pub receipts: Vec<Receipt>,
    /// File name and what is wrong with it, sorted.
    pub damaged: Vec<(String, String)>,
    /// Names of encrypted ones that no key at hand opens, sorted.
    pub closed: Vec<String>,
}

/// Stores a receipt and returns its path.
pub(super) fn store(repository: &Repository, receipt: &Receipt) -> Result<String> {
    let file = repository.for_readers(receipt.to_file())?;
    let mut time = receipt.finished_at;
    for _ in 0..SECONDS_TO_TRY {
        let path = layout::receipt(&time_text(time), &receipt.backup, repository.is_encrypted());
        if write(repository.store(), &path, &file)? {
            return Ok(path);
        }
        time = time.saturating_add(1.second()).unwrap_or(time);
    }
    Err(Error::failed(format!("too many receipts of {} in one minute", receipt.backup)))
}

/// Reads the receipts of `backup`; damaged ones are named and passed over.
pub(super) fn read(repository: &Repository, backup: &BackupId) -> Result<Receipts> {
    let mut found = Receipts::default();
    for listed in repository.store().list(layout::RECEIPTS)? {
        let Some(name) = name_of(&listed.path, backup, repository.is_encrypted()) else { continue };
        match read_one(repository, &listed.path, backup) {
            Err(Unreadable::Closed) => found.closed.push(name.to_owned()),
            Err(Unreadable::Damaged(why)) => found.damaged.push((name.to_owned(), why)),
            Ok(receipt) => found.receipts.push(receipt),
        }
    }
    found.receipts.sort_by_key(|receipt| receipt.finished_at);
    found.damaged.sort_unstable();
    found.closed.sort_unstable();
    Ok(found)
}

/// Why a receipt cannot be read.
enum Unreadable {
    /// No key at hand opens it.
    Closed,
    Damaged(String),
}

/// What reading all receipts found; their paths, sorted.
#[derive(Debug, Clone, Default)]
pub struct UnreadableReceipts {
    /// Damaged ones, and what is wrong.
    pub damaged: Vec<(String, String)>,
    /// Those that no key at hand opens.
    pub closed: Vec<String>,
    /// Files that are not named as receipts are.
    pub foreign: Vec<String>,
}

/// Reads the receipts of all backups.
pub(super) fn unreadable(repository: &Repository) -> Result<UnreadableReceipts> {
    let mut found = UnreadableReceipts::default();
    for listed in repository.store().list(layout::RECEIPTS)? {
        let Some(backup) = backup_of(&listed.path, repository.is_encrypted()) else {
            found.foreign.push(listed.path);
            continue;
        };
        match read_one(repository, &listed.path, &backup) {
            Ok(_) => {}
            Err(Unreadable::Closed) => found.closed.push(listed.path),
            Err(Unreadable::Damaged(why)) => found.damaged.push((listed.path, why)),
        }
    }
    found.damaged.sort_unstable();
    found.closed.sort_unstable();
    Ok(found)
}

fn backup_of(path: &str, encrypted: bool) -> Option<BackupId> {
    let (_, name) = path.strip_prefix(layout::RECEIPTS)?.strip_prefix('/')?.split_once('_')?;
    let backup = BackupId::new(name.split_once(".json")?.0).ok()?;
    name_of(path, &backup, encrypted).is_some().then_some(backup)
}

fn read_one(repository: &Repository, path: &str, backup: &BackupId) -> Result<Receipt, Unreadable> {
    let file = repository.store().read_all(path, layout::RECEIPT_LIMIT_BYTES);
    let file = file.map_err(Error::from).and_then(|file| repository.opened(file, path));
    let file = file.map_err(|error| match error.kind() {
        ErrorKind::Key => Unreadable::Closed,
        _ => Unreadable::Damaged(error.to_string()),
    })?;
    Receipt::from_file(&file, backup).map_err(|error| Unreadable::Damaged(error.to_string()))
}

/// The file's name, if it is that of a receipt of `backup`.
fn name_of<'p>(path: &'p str, backup: &BackupId, encrypted: bool) -> Option<&'p str> {
    let name = path.strip_prefix(layout::RECEIPTS)?.strip_prefix('/')?;
    let (time, _) = name.split_once('_')?;
    (is_time(time) && path == layout::receipt(time, backup, encrypted)).then_some(name)
}

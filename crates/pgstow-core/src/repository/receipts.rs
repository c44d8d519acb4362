//! Storing receipts, and finding those of a backup.

use std::collections::BTreeMap;

use jiff::ToSpan;

use super::format::id::{BackupId, is_time, time_text};
use super::format::layout;
use super::format::receipt::{Receipt, Verdict};
use super::open::{Repository, write};
use crate::error::{Error, ErrorKind, Result};

/// How many receipts of one backup may fall into the same minute.
const SECONDS_TO_TRY: usize = 60;
/// How many receipts of one backup are read to learn when it was last proven.
const NEWEST: usize = 8;

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

/// All receipts by name; each is read only when it is asked for.
pub struct ReceiptIndex<'r> {
    repository: &'r Repository,
    /// Paths, oldest first.
    of: BTreeMap<BackupId, Vec<String>>,
}

/// What the newest receipts of a backup say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// The newest receipt that proves it.
    pub proven: Option<Proven>,
    /// When a drill after that did not.
    pub failed_at: Option<jiff::Timestamp>,
    /// Some receipt is encrypted, and no key at hand opens it.
    pub closed: bool,
    /// Older receipts that were not looked at, since none of the newest says when it was proven.
    pub unread: usize,
    /// Path and what is wrong with it.
    pub damaged: Vec<(String, String)>,
}

/// When and how a backup was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// When.
    pub at: jiff::Timestamp,
    /// How many things were left out of it.
    pub exceptions: usize,
    /// By a drill; otherwise by a restore.
    pub by_drill: bool,
}

/// Lists the receipts of all backups; reads none.
pub(super) fn index(repository: &Repository) -> Result<ReceiptIndex<'_>> {
    let mut of: BTreeMap<BackupId, Vec<String>> = BTreeMap::new();
    for listed in repository.store().list(layout::RECEIPTS)? {
        if let Some(backup) = backup_of(&listed.path, repository.is_encrypted()) {
            of.entry(backup).or_default().push(listed.path);
        }
    }
    of.values_mut().for_each(|paths| paths.sort_unstable());
    Ok(ReceiptIndex { repository, of })
}

impl ReceiptIndex<'_> {
    /// Reads the newest receipts of a backup, up to one that proves it.
    pub fn proof_of(&self, backup: &BackupId) -> Proof {
        let paths = self.of.get(backup).map(Vec::as_slice).unwrap_or_default();
        let mut proof = Proof::default();
        for path in paths.iter().rev().take(NEWEST) {
            let receipt = match read_one(self.repository, path, backup) {
                Ok(receipt) => receipt,
                Err(Unreadable::Closed) => {
                    // No key opens the others either.
                    proof.closed = true;
                    return proof;
                }
                Err(Unreadable::Damaged(why)) => {
                    proof.damaged.push((path.clone(), why));
                    continue;
                }
            };
            match receipt.verdict() {
                Verdict::Proven { exceptions } => {
                    let (at, by_drill) = (receipt.finished_at, receipt.drill.is_some());
                    proof.proven = Some(Proven { at, exceptions, by_drill });
                    return proof;
                }
                Verdict::Failed if proof.failed_at.is_none() => proof.failed_at = Some(receipt.finished_at),
                Verdict::Failed | Verdict::Nothing => {}
            }
        }
        proof.unread = paths.len().saturating_sub(NEWEST);
        proof
    }
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

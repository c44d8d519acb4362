//! Storing receipts, and finding those of a backup.

use jiff::ToSpan;

use super::format::id::{BackupId, is_time, time_text};
use super::format::layout;
use super::format::receipt::Receipt;
use super::open::write;
use super::store::Store;
use crate::error::{Error, Result};

/// How many receipts of one backup may fall into the same minute.
const SECONDS_TO_TRY: usize = 60;

/// The receipts of one backup.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    /// Readable ones, oldest first.
    pub receipts: Vec<Receipt>,
    /// File name and what is wrong with it, sorted.
    pub damaged: Vec<(String, String)>,
}

/// Stores a receipt and returns its path.
pub(super) fn store(store: &dyn Store, receipt: &Receipt) -> Result<String> {
    let file = receipt.to_file();
    let mut time = receipt.finished_at;
    for _ in 0..SECONDS_TO_TRY {
        let path = layout::receipt(&time_text(time), &receipt.backup);
        if write(store, &path, &file)? {
            return Ok(path);
        }
        time = time.saturating_add(1.second()).unwrap_or(time);
    }
    Err(Error::failed(format!("too many receipts of {} in one minute", receipt.backup)))
}

/// Reads the receipts of `backup`; damaged ones are named and passed over.
pub(super) fn read(store: &dyn Store, backup: &BackupId) -> Result<Receipts> {
    let mut found = Receipts::default();
    for listed in store.list(layout::RECEIPTS)? {
        let Some(name) = name_of(&listed.path, backup) else { continue };
        let outcome = match store.read_all(&listed.path, layout::RECEIPT_LIMIT_BYTES) {
            Ok(file) => Receipt::from_file(&file, backup).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(receipt) => found.receipts.push(receipt),
            Err(why) => found.damaged.push((name.to_owned(), why)),
        }
    }
    found.receipts.sort_by_key(|receipt| receipt.finished_at);
    found.damaged.sort_unstable();
    Ok(found)
}

/// The file's name, if it is that of a receipt of `backup`.
fn name_of<'p>(path: &'p str, backup: &BackupId) -> Option<&'p str> {
    let name = path.strip_prefix(layout::RECEIPTS)?.strip_prefix('/')?;
    let (time, of) = name.strip_suffix(".json")?.split_once('_')?;
    (is_time(time) && of == backup.as_str()).then_some(name)
}

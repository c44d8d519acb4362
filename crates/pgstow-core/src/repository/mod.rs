//! Where backups live: files of format version 1 in a store. Knows nothing of PostgreSQL.

mod cache;
mod draft;
pub mod encryption;
pub mod format;
mod listing;
pub mod object;
mod open;
mod receipts;
mod select;
pub mod store;
mod unfinished;

pub use draft::{BackupDraft, StoredFile};
pub use listing::Listing;
pub use open::Repository;
pub use receipts::Receipts;

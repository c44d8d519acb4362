//! Where backups live: files of format version 1 in a store. Knows nothing of PostgreSQL.

mod audit;
mod cache;
mod capabilities;
mod claims;
mod condemned;
mod copy;
mod draft;
pub mod encryption;
pub mod format;
mod listing;
pub mod object;
mod objects;
mod open;
mod pending;
mod pin;
mod prune;
mod receipts;
mod select;
pub mod store;
mod stored;
mod timing;
mod unfinished;

pub use audit::AuditLog;
pub use copy::{CopiedBackup, CopyReport, copy};
pub use draft::{BackupDraft, StoredFile};
pub use format::identity::Capabilities;
pub use listing::Listing;
pub use open::Repository;
pub use prune::{Amount, BackupVerdict, PruneOptions, PrunePlan, PruneReport};
pub use receipts::{Proof, Proven, ReceiptIndex, Receipts, UnreadableReceipts};
pub use stored::{StoredFolders, StoredObject, StoredObjects};
pub use timing::Timing;

//! Compares the rows of two tables, whatever their size, in bounded memory.
//!
//! Each row becomes two keyed hashes, one of its key and one of its values. These go to a temporary
//! file in partitions by the key's hash, and each partition is settled in memory: what both sides
//! have cancels out. The rows to be shown are read in a second pass. The key of the hashes lives in
//! memory alone, so the file tells nothing of any value.

pub(crate) mod fields;
pub(crate) mod fill;
pub(super) mod run;
pub(crate) mod settle;
pub(crate) mod spool;
pub(crate) mod streams;
mod unread;

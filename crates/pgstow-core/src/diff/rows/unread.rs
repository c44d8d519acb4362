//! What of a table need not be read, since both states certainly have it: chunks that two backups
//! share, or chunks of a backup that the live database is shown to have still.

use crate::backup::unchanged::Unchanged;
use crate::diff::contents::Shared;
use crate::repository::format::manifest::{Chunk, Manifest};

/// Rows of one table that are equal without being read.
pub(super) enum Unread {
    /// Two backups consist of the same pieces of the same objects.
    Shared(Shared),
    /// The live table's pages have not changed since the backup.
    Proven(Unchanged),
}

impl Unread {
    /// How many rows they are.
    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Shared(shared) => shared.rows,
            Self::Proven(unchanged) => unchanged.rows,
        }
    }

    /// The chunks of a backup's table that are left to read.
    pub(super) fn others<'c>(&self, manifest: &Manifest, chunks: &'c [Chunk]) -> Vec<&'c Chunk> {
        match self {
            Self::Shared(shared) => shared.others(manifest, chunks),
            Self::Proven(unchanged) => chunks.iter().filter(|chunk| !unchanged.holds(chunk)).collect(),
        }
    }

    /// Conditions that together select the rows of the live table that are left to read; `None`: all are.
    pub(super) fn conditions(&self) -> Option<&[String]> {
        match self {
            Self::Proven(unchanged) if !unchanged.is_nothing() => Some(&unchanged.rest),
            _ => None,
        }
    }

    /// Why all had to be read.
    pub(super) fn doubt(&self) -> Option<&str> {
        match self {
            Self::Shared(_) => None,
            Self::Proven(unchanged) => unchanged.doubt.as_deref(),
        }
    }
}

//! What putting missing rows back would do, as plain data.

use serde::Serialize;

/// The whole plan.
#[derive(Debug, Clone, Serialize)]
pub struct MissingPlan {
    /// The backup.
    pub backup: String,
    /// `host:port/database`.
    pub target: String,
    /// Such as `PostgreSQL 15.18`.
    pub target_server: String,
    /// Tables, in the order in which they get their rows: parents before children.
    pub tables: Vec<MissingTable>,
    /// Triggers and rules that do not fire.
    pub silenced: Vec<String>,
    /// Triggers and rules that fire for the rows put back.
    pub fire: Vec<String>,
}

impl MissingPlan {
    /// Rows that are gone, of all tables.
    pub fn missing(&self) -> u64 {
        self.tables.iter().map(|table| table.missing).sum()
    }
}

/// One table.
#[derive(Debug, Clone, Serialize)]
pub struct MissingTable {
    /// `schema.name`.
    pub table: String,
    /// Columns that tell its rows apart.
    pub key: Vec<String>,
    /// Rows in the backup.
    pub backup_rows: u64,
    /// Rows in the table when it was read.
    pub live_rows: u64,
    /// Rows of both that were not read, since the live table proves to have them still.
    pub rows_not_read: u64,
    /// Rows that are gone.
    pub missing: u64,
    /// Columns that the backup does not have: they get their defaults.
    pub columns_by_default: Vec<String>,
    /// Columns of the backup that the table computes by itself.
    pub computed_columns: Vec<String>,
}

//! What a comparison found, as plain data: the JSON of `pgstow diff` and what its text is made of.

use serde::Serialize;

use crate::inventory::ObjectKind;

/// Everything that differs, and what was not compared.
#[derive(Debug, Clone, Serialize)]
#[must_use]
pub struct DiffReport {
    /// The state before.
    pub before: StateSummary,
    /// The state after.
    pub after: StateSummary,
    /// Definitions were compared; not so between servers of different major versions, which print
    /// them differently.
    pub definitions_compared: bool,
    /// Objects, in the order of kinds and names.
    pub objects: Vec<ObjectChange>,
    /// Privileges.
    pub privileges: Vec<PrivilegeChange>,
    /// Extensions with another version.
    pub extensions: Vec<ExtensionChange>,
    /// Roles that own or hold something.
    pub roles: Vec<RoleChange>,
    /// Settings of the database, or of roles in it, that differ: names alone, since values may be
    /// secrets.
    pub settings: Vec<String>,
    /// Sequences that stand elsewhere.
    pub sequences: Vec<SequenceChange>,
    /// Tables with another number of rows.
    pub row_counts: Vec<RowCount>,
    /// Tables with equal numbers of rows whose contents are not proven equal.
    pub contents: Vec<Content>,
    /// Tables with equal numbers of rows.
    pub tables_with_equal_counts: usize,
    /// Of those, tables whose contents are proven equal: they consist of the same objects.
    pub tables_proven_equal: usize,
    /// The rows of chosen tables.
    pub rows_compared: Vec<RowReport>,
    /// What was not compared, and why; each should have been.
    pub not_compared: Vec<String>,
    /// What to know, although nothing differs for it.
    pub notes: Vec<String>,
}

impl DiffReport {
    /// Whether nothing that was compared differs, and nothing was left out against expectation.
    pub fn is_equal(&self) -> bool {
        self.objects.is_empty()
            && self.privileges.is_empty()
            && self.extensions.is_empty()
            && self.roles.is_empty()
            && self.settings.is_empty()
            && self.sequences.is_empty()
            && self.row_counts.is_empty()
            && self.contents.is_empty()
            && self.not_compared.is_empty()
            && self.rows_compared.iter().all(RowReport::is_equal)
    }
}

/// What a state is called and when it was.
#[derive(Debug, Clone, Serialize)]
pub struct StateSummary {
    /// The backup's id, or `host:port/database`.
    pub name: String,
    /// It is a database as it is now.
    pub live: bool,
    /// Time of its snapshot.
    pub taken_at: jiff::Timestamp,
    /// Such as `15.18`.
    pub server_version: String,
}

/// How an object or privilege differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Only the state after has it.
    Added,
    /// Only the state before has it.
    Removed,
    /// Both have it, defined differently.
    Changed,
    /// Both have it, owned by different roles.
    Owner,
}

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectChange {
    /// How.
    pub change: Change,
    /// What it is.
    pub kind: ObjectKind,
    /// SQL identity, quoted where needed.
    pub name: String,
    /// `change` is `owner`: the owner before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_before: Option<String>,
    /// `change` is `owner`: the owner after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_after: Option<String>,
    /// `change` is `changed`: the definition's lines, each after `-`, `+` or a blank; `@` stands
    /// for lines left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// A privilege that only one state has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PrivilegeChange {
    /// `added` or `removed`.
    pub change: Change,
    /// Who holds it; null is everyone (PUBLIC).
    pub grantee: Option<String>,
    /// `SELECT`, `USAGE` …
    pub privilege: String,
    /// With grant option.
    pub grantable: bool,
    /// What GRANT calls the object.
    pub target: String,
    /// The object; for a column, its table.
    pub name: String,
    /// The column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

/// An extension with another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtensionChange {
    /// Its name.
    pub name: String,
    /// Version before.
    pub before: String,
    /// Version after.
    pub after: String,
}

/// A role that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleChange {
    /// Its name.
    pub name: String,
    /// How.
    pub change: Change,
    /// What differs, one thing each; values of settings are left out.
    pub details: Vec<String>,
}

/// A sequence that stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SequenceChange {
    /// `schema.name`.
    pub name: String,
    /// Next value but for `called`: `last_value` before.
    pub before: i64,
    /// `last_value` after.
    pub after: i64,
    /// The value before was handed out.
    pub called_before: bool,
    /// The value after was handed out.
    pub called_after: bool,
}

/// A table with another number of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowCount {
    /// `schema.name`.
    pub table: String,
    /// Rows before.
    pub before: u64,
    /// Rows after.
    pub after: u64,
}

/// A table whose contents may differ although it has as many rows as before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Content {
    /// `schema.name`, or `large objects`.
    pub table: String,
    /// Rows, or large objects.
    pub rows: u64,
    /// Rows in chunks that both states have: these are equal.
    pub equal_rows: u64,
    /// Why it is not known whether they differ.
    pub reason: String,
}

/// What tells rows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// The primary key.
    PrimaryKey,
    /// A unique constraint or index.
    Unique,
    /// Columns that were asked for.
    Asked,
    /// There is none: whole rows are compared, so a changed row is one removed and one added.
    WholeRow,
}

/// The rows of one table, compared.
#[derive(Debug, Clone, Serialize)]
pub struct RowReport {
    /// `schema.name`.
    pub table: String,
    /// What tells its rows apart.
    pub key_kind: KeyKind,
    /// The columns of the key; of a whole row, all that both states have.
    pub key: Vec<String>,
    /// Rows before.
    pub rows_before: u64,
    /// Rows after.
    pub rows_after: u64,
    /// Rows before and after that were not read, since they are certainly equal: they lie in chunks which
    /// both backups have, or which a live database is shown to have still.
    pub rows_not_read: u64,
    /// Why a live database could not show that of any chunk, where it was not even asked.
    pub read_in_full: Option<String>,
    /// Rows that only the state before has.
    pub removed: u64,
    /// Rows that only the state after has.
    pub added: u64,
    /// Rows with the same key and other values.
    pub changed: u64,
    /// Some of them.
    pub removed_rows: Vec<ShownRow>,
    /// Some of them.
    pub added_rows: Vec<ShownRow>,
    /// Some of them.
    pub changed_rows: Vec<ChangedRow>,
    /// Columns that only one state has, or that have another type: values of the first kind are
    /// not compared, those of the second as text.
    pub column_remarks: Vec<String>,
}

impl RowReport {
    /// Whether all rows are equal, in all columns.
    pub fn is_equal(&self) -> bool {
        self.removed == 0 && self.added == 0 && self.changed == 0 && self.column_remarks.is_empty()
    }
}

/// A value as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Column, unquoted.
    pub column: String,
    /// The value, at most 200 characters, then `…`; null is NULL.
    pub value: Option<String>,
}

/// A row that only one state has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownRow {
    /// Columns of the key.
    pub key: Vec<Cell>,
    /// The other columns.
    pub values: Vec<Cell>,
}

/// A row whose values differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedRow {
    /// Columns of the key.
    pub key: Vec<Cell>,
    /// Columns that differ, before.
    pub before: Vec<Cell>,
    /// The same columns, after.
    pub after: Vec<Cell>,
}

//! Writes a backup as a file that stock tools restore: archives of pg_dump, scripts for psql, CSV.
//!
//! Reads the repository and changes nothing in it. Rows pass from its objects to the file; no more than a
//! few objects are in memory at a time. A file gets its name when it is whole.

mod choose;
mod csv;
mod large_object_entries;
mod large_objects;
mod order;
mod output;
mod plan;
mod rows;
mod run;
mod script;

use std::io::Write;
use std::path::PathBuf;

pub use crate::archive::write::Compression;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::monitor::Monitor;
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::manifest::Sections;

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// pg_dump's custom format.
    Custom,
    /// pg_dump's directory format.
    Directory,
    /// pg_dump's tar format.
    Tar,
    /// A script for psql.
    Plain,
    /// The same, packed by gzip.
    #[serde(rename = "plain.gz")]
    PlainGz,
    /// Rows as comma-separated values: a file for each table.
    Csv,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Custom, Self::Directory, Self::Tar, Self::Plain, Self::PlainGz, Self::Csv];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Directory => "directory",
            Self::Tar => "tar",
            Self::Plain => "plain",
            Self::PlainGz => "plain.gz",
            Self::Csv => "csv",
        }
    }
}

/// What to export and how.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The format.
    pub format: Format,
    /// Definitions only, rows only, or what the backup holds.
    pub sections: Sections,
    /// Patterns of tables; none means all.
    pub tables: Vec<String>,
    /// Patterns of schemas; none means all.
    pub schemas: Vec<String>,
    /// Scripts only: drop everything first, where it is there.
    pub clean: bool,
    /// Leave owners out.
    pub no_owner: bool,
    /// Leave privileges and default privileges out.
    pub no_privileges: bool,
    /// Of the custom and the directory format.
    pub compression: Compression,
    /// Replace what is there.
    pub force: bool,
}

impl ExportOptions {
    /// All that the backup holds, replacing nothing.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            sections: Sections::All,
            tables: Vec::new(),
            schemas: Vec::new(),
            clean: false,
            no_owner: false,
            no_privileges: false,
            compression: Compression::default(),
            force: false,
        }
    }
}

/// Where an export goes.
pub enum Destination<'w> {
    /// A file, or a folder for formats that are several files.
    Path {
        /// Where.
        path: PathBuf,
        /// Make it a folder, where the format leaves the choice (CSV).
        folder: bool,
    },
    /// A stream, in which nothing can be written twice.
    Stream(&'w mut (dyn Write + Send)),
}

/// What was exported.
#[derive(Debug, Clone, serde::Serialize)]
#[must_use]
pub struct ExportReport {
    /// The backup.
    pub backup: String,
    /// The format.
    pub format: Format,
    /// Tables whose rows are in it.
    pub tables: usize,
    /// Their rows.
    pub rows: u64,
    /// Large objects.
    pub large_objects: usize,
    /// Bytes written.
    pub bytes: u64,
    /// What should be in it and is not (exit code 3).
    pub skipped: Vec<String>,
    /// What was left out on purpose.
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// Exports a backup.
///
/// # Errors
/// Usage: options that do not go together, patterns that match nothing. Refused: the place is taken.
/// Damage, the system's errors, interrupted: nothing is left at the place then.
pub fn run(
    repository: &Repository,
    header: &Header,
    options: &ExportOptions,
    destination: Destination<'_>,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<ExportReport> {
    run::run(repository, header, options, destination, monitor, interrupt)
}

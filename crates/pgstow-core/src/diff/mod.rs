//! Compares two states of a database: two backups, or a backup and a live database. Objects,
//! privileges, roles, extensions, positions of sequences, numbers of rows, and on request the rows
//! themselves. Nothing is changed anywhere.
//!
//! The first state is *before*, the second *after*: what only the second has was added.

mod compare;
mod contents;
mod facts;
mod inventory;
mod lines;
mod live;
mod narrow;
mod report;
pub(crate) mod rows;

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::monitor::Monitor;
use crate::postgres::ConnectionSettings;
use crate::repository::Repository;
use crate::repository::format::header::Header;

use facts::Facts;
use live::Live;
use narrow::Narrowing;
pub use report::{
    Cell, Change, ChangedRow, Content, DiffReport, ExtensionChange, KeyKind, ObjectChange, PrivilegeChange,
    RoleChange, RowCount, RowReport, SequenceChange, ShownRow, StateSummary,
};

/// Schema and name, unquoted.
pub(crate) type TableName = (String, String);

/// One of the two states.
#[derive(Debug, Clone)]
pub enum State {
    /// A backup of the repository.
    Backup(Box<Header>),
    /// A database as it is now.
    Live(Box<ConnectionSettings>),
}

/// What to compare and how.
#[derive(Debug, Clone)]
pub struct DiffOptions {
    /// The state before.
    pub before: State,
    /// The state after.
    pub after: State,
    /// Patterns of tables; empty means all, and everything else too.
    pub tables: Vec<String>,
    /// Count the rows of a live database.
    pub counts: bool,
    /// Compare the rows of the chosen tables; `None`: only their numbers.
    pub rows: Option<RowOptions>,
}

/// How rows are compared.
#[derive(Debug, Clone)]
pub struct RowOptions {
    /// Columns that tell rows apart, instead of the primary key.
    pub key: Vec<String>,
    /// Rows shown of each kind of difference; counts are always complete.
    pub limit: usize,
    /// For how long what a backup read is trusted when a live database shows that it has not changed since;
    /// `None`: every row is read.
    pub trusted_for: Option<Duration>,
    /// Folder for temporary files. They hold keyed hashes alone, have no name, and are gone with
    /// the process.
    pub spool: PathBuf,
}

/// Compares.
///
/// # Errors
/// A damaged backup, an unreachable database, a pattern that matches no table (usage), a table
/// whose rows cannot be compared.
pub fn run(
    repository: &Repository,
    options: &DiffOptions,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<DiffReport> {
    let mut before = Side::open(repository, &options.before, monitor, interrupt)?;
    let mut after = Side::open(repository, &options.after, monitor, interrupt)?;
    facts::keep_users(&mut before.facts, &mut after.facts);
    let narrowing = Narrowing::new(&options.tables, &before.facts, &after.facts)?;
    if options.counts && options.rows.is_none() && (before.live.is_some() || after.live.is_some()) {
        monitor.event(crate::monitor::Event::Phase { name: "counting rows" });
        let other = before.facts.tables.clone();
        after.count(&other, &narrowing, interrupt)?;
        let other = after.facts.tables.clone();
        before.count(&other, &narrowing, interrupt)?;
    }
    // The rows themselves say more than their numbers and chunks.
    let mut report = compare::compare(&before.facts, &after.facts, &narrowing, options.rows.is_none());
    if let Some(asked) = &options.rows {
        report.rows_compared =
            rows::run::compare(repository, [&mut before, &mut after], asked, &narrowing, monitor, interrupt)?;
    }
    Ok(report)
}

/// One state, read.
pub(crate) struct Side {
    pub(crate) facts: Facts,
    /// The session with a live database, in its snapshot.
    pub(crate) live: Option<Live>,
}

impl Side {
    fn open(
        repository: &Repository,
        state: &State,
        monitor: &dyn Monitor,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        interrupt.check()?;
        match state {
            State::Backup(header) => Ok(Self { facts: Facts::of_backup(repository, header)?, live: None }),
            State::Live(settings) => {
                let (facts, live) = live::read(settings, monitor, interrupt)?;
                Ok(Self { facts, live: Some(live) })
            }
        }
    }

    fn count(
        &mut self,
        other: &std::collections::BTreeMap<TableName, facts::TableFacts>,
        narrowing: &Narrowing,
        interrupt: &Interrupt,
    ) -> Result<()> {
        match &mut self.live {
            None => Ok(()),
            Some(live) => live.count(&mut self.facts.tables, other, narrowing, interrupt),
        }
    }
}

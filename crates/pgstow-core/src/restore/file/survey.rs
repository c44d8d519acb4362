//! The first reading of a file: what it brings, counted to its end, and nothing changed.

use std::collections::{BTreeMap, BTreeSet};

use super::roles::Uses;
use super::step::{Act, Source, Step};
use crate::archive::sql::Name;
use crate::archive::{Entry, Section};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::inventory::ObjectKind;
use crate::monitor::{Event, Monitor};
use crate::postgres::identifier::display_name;
use crate::restore::plan::kind_of;
use crate::restore::selection::TableName;
use crate::restore::target::TargetState;

/// Rows of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Columns that the file names.
    pub(super) columns: BTreeSet<String>,
    /// Conflicts are let be, so that fewer rows may arrive.
    pub(super) may_skip: bool,
}

/// What a file brings.
#[derive(Debug, Clone, Default)]
pub(super) struct Survey {
    /// Everything that is made, as entries of an archive.
    pub(super) made: Vec<Entry>,
    pub(super) tables: BTreeMap<TableName, Loaded>,
    pub(super) large_objects: BTreeSet<u32>,
    /// Statements by what they are for: definitions, privileges, positions, views to fill.
    pub(super) definitions: usize,
    pub(super) privileges: usize,
    pub(super) positions: usize,
    pub(super) refreshes: usize,
    /// The encoding that the file sets.
    pub(super) encoding: Option<String>,
    pub(super) uses: Uses,
    /// What is left out, each with how often.
    pub(super) left_out: BTreeMap<String, usize>,
    pub(super) notes: BTreeSet<String>,
}

impl Survey {
    /// Reads the file to its end.
    ///
    /// # Errors
    /// The file's; interruption.
    pub(super) fn of(
        source: &Source,
        target: &TargetState,
        monitor: &dyn Monitor,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        monitor.event(Event::Phase { name: "read the file" });
        let mut survey = Self::default();
        source.walk(target, &mut |step| {
            interrupt.check()?;
            survey.take(step, interrupt)
        })?;
        Ok(survey)
    }

    fn take(&mut self, step: Step<'_>, interrupt: &Interrupt) -> Result<()> {
        match step {
            Step::LeftOut(what) => *self.left_out.entry(what).or_default() += 1,
            Step::Noted(what) => drop(self.notes.insert(what)),
            Step::Statement(statement) => {
                self.uses.note(&statement.text, &statement.act, &statement.name);
                self.count(statement.act);
            }
            Step::Rows { to, rows } => {
                let copied = rows.pass(&mut |_| Ok(interrupt.check()?)).map_err(|error| {
                    error.context(format!("rows of {}", display_name(&to.table.0, &to.table.1)))
                })?;
                let loaded = self.tables.entry(to.table).or_default();
                loaded.rows += copied.rows;
                loaded.bytes += copied.bytes;
                loaded.columns.extend(to.columns);
            }
            Step::LargeObject { data, .. } => {
                std::io::copy(data, &mut std::io::sink())
                    .map_err(|error| crate::Error::from_io(error, "a large object cannot be read"))?;
            }
        }
        Ok(())
    }

    fn count(&mut self, act: Act) {
        match act {
            Act::Session { setting, value } if setting == "client_encoding" => {
                self.encoding.get_or_insert(value.to_ascii_uppercase());
            }
            Act::Session { .. } | Act::Authorization => {}
            Act::Create { kind, object } => {
                self.definitions += 1;
                self.made.push(entry(self.made.len(), kind, object));
            }
            Act::Change => self.definitions += 1,
            Act::Privilege => self.privileges += 1,
            Act::Insert { table, rows, may_skip } => {
                let loaded = self.tables.entry(table).or_default();
                loaded.rows += rows;
                loaded.may_skip |= may_skip;
            }
            Act::Position => self.positions += 1,
            Act::LargeObject(oids) => self.large_objects.extend(oids),
            Act::Refresh => self.refreshes += 1,
        }
    }

    /// Objects that are made, by kind.
    pub(super) fn counts(&self) -> BTreeMap<ObjectKind, usize> {
        let mut counts = BTreeMap::new();
        for kind in self.made.iter().filter_map(|entry| kind_of(&entry.kind)) {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }

    /// Names of what is made of a kind.
    pub(super) fn names(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.made.iter().filter(move |entry| entry.kind == kind).map(|entry| entry.tag.as_str())
    }
}

/// Something that is made, as an archive would list it.
fn entry(number: usize, kind: String, object: Name) -> Entry {
    let drop_statement = match kind.as_str() {
        "CAST" | "TRANSFORM" => format!("DROP {kind} {};", object.name),
        _ => String::new(),
    };
    Entry {
        id: i32::try_from(number).unwrap_or(i32::MAX),
        definition: kind.clone(),
        kind,
        catalog_oid: 0,
        oid: 0,
        tag: object.name,
        schema: object.schema,
        owner: None,
        tablespace: None,
        access_method: None,
        relation_kind: None,
        drop_statement,
        dependencies: Vec::new(),
        section: Section::PreData,
    }
}

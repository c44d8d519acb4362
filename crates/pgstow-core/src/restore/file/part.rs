//! Which part of an archive is restored: what was asked for by name, with what it needs and what belongs
//! to it, less what the target has. An archive has no catalog, so what the target has is told by names
//! alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::Entry;
use crate::error::{Error, Result};
use crate::inventory::{Inventory, tops};
use crate::postgres::Connection;
use crate::restore::clear::Cover;
use crate::restore::part::{Names, Narrowed, Part, RestoreSelection};
use crate::restore::plan::chosen_names;
use crate::restore::selection::{Carried, Graph, TableName, choose};
use crate::restore::standing::{self, Doomed};
use crate::restore::target::TargetState;
use crate::restore::{Parts, finish};

/// What is asked for of an archive, and of which target.
pub(super) struct Asked<'a> {
    pub(super) selection: &'a RestoreSelection,
    pub(super) target: &'a TargetState,
    pub(super) clean: bool,
    pub(super) parts: Parts,
    /// The file, for messages.
    pub(super) file: String,
}

/// The chosen part of an archive.
#[derive(Debug, Clone, Default)]
pub(super) struct FilePart {
    /// Entries that are not restored, by pg_dump's id.
    pub(super) left_out: BTreeSet<i32>,
    /// What the user might expect and does not come.
    pub(super) remarks: Vec<String>,
    /// Only what was named comes, beside what is there; otherwise all but what was excluded.
    pub(super) is_limited: bool,
    /// Names for the plan.
    pub(super) chosen: Vec<String>,
    pub(super) along: Vec<String>,
    pub(super) stays: Vec<String>,
    /// What is replaced of a limited part.
    pub(super) cover: Option<Cover>,
    /// Relations of the target that stay whatever is replaced.
    pub(super) spared: BTreeSet<TableName>,
}

/// Chooses; `None` is the whole archive.
///
/// # Errors
/// Usage: a pattern that is not valid or matches nothing. Refused: what was chosen is at the target already.
/// The server's.
pub(super) fn choose_part(
    entries: &[Entry],
    asked: &Asked<'_>,
    connection: &mut Connection,
) -> Result<Option<FilePart>> {
    if asked.selection.is_everything() {
        return Ok(None);
    }
    let names = Names {
        whose: asked.file.clone(),
        tables: tables(entries),
        schemas: entries.iter().filter_map(schema_of).collect(),
        roots: roots(entries),
        entries,
    };
    let narrowed = names.narrow(asked.selection)?;
    let carried = narrowed.carried(asked.target, asked.clean);
    let of_spared = finish::sequences_of(connection, &narrowed.spared).map_err(Error::from)?;
    let of_chosen = finish::sequences_of(connection, &narrowed.relations).map_err(Error::from)?;
    let chooser = Chooser { asked, narrowed: &narrowed, of_spared, of_chosen };
    match &carried {
        Carried::Only(part) => chooser.choose(entries, part, &carried, true).map(Some),
        Carried::AllBut(part) => chooser.choose(entries, part, &carried, false).map(Some),
        Carried::Everything => Ok(None),
    }
}

struct Chooser<'a> {
    asked: &'a Asked<'a>,
    narrowed: &'a Narrowed,
    /// Sequences of the target that belong to tables that stay, and to chosen ones.
    of_spared: BTreeSet<TableName>,
    of_chosen: BTreeSet<TableName>,
}

impl Chooser<'_> {
    fn choose(&self, all: &[Entry], part: &Part, carried: &Carried, is_limited: bool) -> Result<FilePart> {
        let definitions: Vec<Entry> = all.iter().filter(|entry| is_definition(entry)).cloned().collect();
        let graph = Graph::new(&definitions);
        let mut chosen = choose(&graph, carried);
        let mut spared = self.narrowed.spared.clone();
        spared.extend(self.of_spared.iter().cloned());
        let mut found = FilePart { is_limited, ..FilePart::default() };
        if is_limited && self.asked.parts.definitions {
            let sequences = if self.asked.clean { self.of_chosen.clone() } else { BTreeSet::new() };
            let doomed = Doomed { clean: self.asked.clean, sequences, spared: &spared };
            let no_inventory = (&Inventory::default(), self.asked.target);
            found.stays = standing::settle(&graph, &mut chosen, part, &doomed, no_inventory, false).map_err(|error| {
                error.hint("pgstow import makes a backup of it, which --rename OLD=NEW puts beside what is there")
            })?;
            found.along = standing::along(&graph, &chosen, part);
            found.cover = self.asked.clean.then(|| Cover::of_part(part, &spared, self.asked.target));
        }
        let comes: Vec<&Entry> = chosen.entries.iter().map(|&index| &definitions[index]).collect();
        if is_limited {
            let tables = self.narrowed.tables.iter();
            found.chosen = chosen_names(&comes, tables, part, self.asked.parts);
        }
        let made: BTreeSet<i32> = comes.iter().map(|entry| entry.id).collect();
        let known: BTreeSet<i32> = all.iter().map(|entry| entry.id).collect();
        let comes = |entry: &Entry| {
            if is_definition(entry) && entry.kind != "ACL" {
                return made.contains(&entry.id);
            }
            self.comes_with(all, entry, &made, &known, is_limited)
        };
        found.left_out = all.iter().filter(|entry| !comes(entry)).map(|entry| entry.id).collect();
        found.remarks = chosen.remarks;
        found.spared = spared;
        Ok(found)
    }

    /// Whether what is no definition of its own comes: rows, positions, privileges, large objects.
    fn comes_with(
        &self,
        all: &[Entry],
        entry: &Entry,
        made: &BTreeSet<i32>,
        known: &BTreeSet<i32>,
        is_limited: bool,
    ) -> bool {
        let name = (entry.schema.clone().unwrap_or_default(), entry.tag.clone());
        let is_made = |id: &i32| made.contains(id);
        match entry.kind.as_str() {
            "TABLE DATA" => self.narrowed.tables.contains(&name),
            "SEQUENCE SET" => match all.iter().find(|other| is_sequence(other, &name)) {
                Some(sequence) => made.contains(&sequence.id),
                None if is_limited => {
                    self.of_chosen.contains(&name) || self.narrowed.schemas.contains(&name.0)
                }
                None => !self.of_spared.contains(&name),
            },
            "MATERIALIZED VIEW DATA" => entry.dependencies.iter().any(is_made),
            "ACL" if is_limited => entry.dependencies.iter().any(is_made),
            "ACL" => {
                let mut on = entry.dependencies.iter().filter(|id| known.contains(id)).peekable();
                on.peek().is_none() || is_of_large_object(entry) || on.any(is_made)
            }
            // Large objects belong to no table.
            _ => !is_limited,
        }
    }
}

/// Whether an entry defines something, or describes a definition; all of large objects is apart.
fn is_definition(entry: &Entry) -> bool {
    let rows = matches!(
        entry.kind.as_str(),
        "TABLE DATA"
            | "SEQUENCE SET"
            | "MATERIALIZED VIEW DATA"
            | "BLOB"
            | "BLOBS"
            | "BLOB METADATA"
            | "BLOB COMMENTS"
    );
    !rows && !is_of_large_object(entry)
}

fn is_of_large_object(entry: &Entry) -> bool {
    matches!(entry.kind.as_str(), "ACL" | "COMMENT" | "SECURITY LABEL")
        && (entry.tag.starts_with("LARGE OBJECT ") || entry.tag.starts_with("LARGE OBJECTS "))
}

fn is_sequence(entry: &Entry, (schema, name): &TableName) -> bool {
    entry.kind == "SEQUENCE" && entry.schema.as_ref() == Some(schema) && entry.tag == *name
}

/// Tables that an archive makes or has rows of.
fn tables(entries: &[Entry]) -> BTreeSet<TableName> {
    let tables = entries.iter().filter(|entry| matches!(entry.kind.as_str(), "TABLE" | "TABLE DATA"));
    tables.filter_map(|entry| Some((entry.schema.clone()?, entry.tag.clone()))).collect()
}

fn schema_of(entry: &Entry) -> Option<String> {
    if entry.kind == "SCHEMA" { Some(entry.tag.clone()) } else { entry.schema.clone() }
}

/// The top of each partition's tree: an attachment depends on the partition and on what it is attached to.
fn roots(entries: &[Entry]) -> BTreeMap<TableName, TableName> {
    let graph = Graph::new(entries);
    let mut parents = BTreeMap::new();
    let attachments = entries.iter().enumerate().filter(|(_, entry)| entry.kind == "TABLE ATTACH");
    for (index, entry) in attachments {
        let Some(schema) = &entry.schema else { continue };
        let child = (schema.clone(), entry.tag.clone());
        let tables = graph.dependencies(index).filter(|other| graph.is_table(*other));
        let mut others = tables.filter_map(|other| graph.table_name(other)).filter(|name| *name != child);
        if let Some(parent) = others.next() {
            parents.insert(child, parent);
        }
    }
    tops(&parents)
}

/// What is said where only names were compared.
pub(super) fn note(part: &FilePart) -> Option<String> {
    (!part.stays.is_empty())
        .then(|| "whether what stays is as in the file cannot be told: a file has no catalog".to_owned())
}

/// Plain SQL does not say what belongs to a table.
///
/// # Errors
/// Refused, when a part of it is asked for.
pub(super) fn check_whole(selection: &RestoreSelection, file: &str) -> Result<()> {
    if selection.is_everything() {
        return Ok(());
    }
    Err(Error::refused(format!("{file} is plain SQL, which is restored as a whole"))
        .why("it does not say which of its statements a table needs")
        .hint("dump in custom format (-Fc): --table and --schema choose from that")
        .hint("or pgstow import it, and restore a part of that backup"))
}

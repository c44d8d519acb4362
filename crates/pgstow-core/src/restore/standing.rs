//! What of a part is at the target already: what the part needs stays as it is, what was chosen
//! itself is in the way. Pure.

use std::collections::BTreeSet;

use super::entry;
use super::identity::{by_identity, of_entry};
use super::part::{Part, is_relation};
use super::selection::{Chosen, Graph, TableName, belongs_to_table};
use super::target::TargetState;
use crate::archive::Entry;
use crate::error::{Error, Result, and_more};
use crate::inventory::Inventory;

/// How many names a refusal lists.
const NAMED: usize = 5;

/// What is dropped before anything is made.
#[derive(Debug)]
pub(super) struct Doomed<'a> {
    /// `--clean` was given.
    pub(super) clean: bool,
    /// Sequences that belong to tables that are dropped.
    pub(super) sequences: BTreeSet<TableName>,
    /// Tables that stay although their schema is replaced.
    pub(super) spared: &'a BTreeSet<TableName>,
}

impl Doomed<'_> {
    fn takes(&self, entry: &Entry, part: &Part) -> bool {
        let Some(schema) = &entry.schema else { return self.clean && part.schemas.contains(&entry.tag) };
        let name = (schema.clone(), entry.tag.clone());
        let is_spared = self.spared.contains(&name);
        let named = is_relation(&entry.kind) && part.relations.contains(&name);
        let owned = entry.kind == "SEQUENCE" && self.sequences.contains(&name);
        self.clean && !is_spared && (named || owned || part.schemas.contains(schema))
    }
}

/// Takes out of what was chosen the needs that the target has. Gives those that are equal, for
/// people; those that differ are remarks.
///
/// # Errors
/// Refused, naming what was chosen and is there already.
pub(super) fn settle(
    graph: &Graph<'_>,
    chosen: &mut Chosen,
    part: &Part,
    doomed: &Doomed<'_>,
    (inventory, target): (&Inventory, &TargetState),
    same_major: bool,
) -> Result<Vec<String>> {
    let there = by_identity(&target.inventory);
    let ours = by_identity(inventory);
    let owned = owned_sequences(graph);
    let (mut stays, mut in_the_way) = (Vec::new(), Vec::new());
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    for &index in &chosen.entries {
        let entry = &graph.entries[index];
        if entry.kind == "SCHEMA" && target.schemas.contains_key(&entry.tag) && !part.names(entry) {
            taken.insert(index);
            continue;
        }
        if entry.kind == "EXTENSION" && target.extensions.contains_key(&entry.tag) {
            stays.push(entry::name(entry));
            taken.insert(index);
            continue;
        }
        let Some(identity) = of_entry(graph, index) else { continue };
        let Some(found) = there.get(&identity).filter(|_| !doomed.takes(entry, part)) else { continue };
        let is_part = owned.contains(&index) || belongs_to_table(&entry.kind) && entry.kind != "SEQUENCE";
        if entry.kind == "SCHEMA" || is_part && doomed.clean {
            continue;
        }
        if is_part || part.names(entry) {
            in_the_way.push(entry::name(entry));
            continue;
        }
        taken.insert(index);
        let differs =
            same_major && ours.get(&identity).is_some_and(|item| item.definition != found.definition);
        if differs {
            let name = entry::name(entry);
            chosen
                .remarks
                .push(format!("{name} stays as it is at the target, where it differs from the backup's"));
        } else {
            stays.push(entry::name(entry));
        }
    }
    check(&in_the_way, target)?;
    leave_out(graph, chosen, &taken);
    Ok(stays)
}

fn check(in_the_way: &[String], target: &TargetState) -> Result<()> {
    let Some(first) = in_the_way.first() else { return Ok(()) };
    let more = and_more(in_the_way.len() - 1);
    let verb = if more.is_empty() { "is" } else { "are" };
    let mut error = Error::refused(format!("{first}{more} {verb} at {} already", target.target));
    if in_the_way.len() > 1 {
        let named: Vec<&str> = in_the_way.iter().take(NAMED).map(String::as_str).collect();
        error = error.why(format!("among them {}", named.join(", ")));
    }
    Err(error
        .hint("--clean replaces what was chosen, in one transaction")
        .hint("--data-only loads rows into tables that exist"))
}

/// Takes entries out, with comments and checks that belong to nothing else.
fn leave_out(graph: &Graph<'_>, chosen: &mut Chosen, taken: &BTreeSet<usize>) {
    let follows = |index: usize| {
        let mut dependencies = graph.dependencies(index).peekable();
        match graph.entries[index].kind.as_str() {
            "COMMENT" | "SECURITY LABEL" => {
                dependencies.peek().is_some() && dependencies.all(|other| taken.contains(&other))
            }
            "CHECK CONSTRAINT" => {
                dependencies.any(|other| graph.entries[other].kind == "DOMAIN" && taken.contains(&other))
            }
            _ => false,
        }
    };
    chosen.entries.retain(|index| !taken.contains(index) && !follows(*index));
}

/// Sequences that belong to a column of a table.
pub(super) fn owned_sequences(graph: &Graph<'_>) -> BTreeSet<usize> {
    let mut owned = BTreeSet::new();
    for (index, entry) in graph.entries.iter().enumerate() {
        let mut dependencies = graph.dependencies(index);
        match entry.kind.as_str() {
            "SEQUENCE OWNED BY" => {
                owned.extend(dependencies.filter(|other| graph.entries[*other].kind == "SEQUENCE"));
            }
            "SEQUENCE" if dependencies.any(|other| graph.entries[other].kind == "TABLE") => {
                owned.insert(index);
            }
            _ => {}
        }
    }
    owned
}

/// What comes because something chosen needs it, for people.
pub(super) fn along(graph: &Graph<'_>, chosen: &Chosen, part: &Part) -> Vec<String> {
    let owned = owned_sequences(graph);
    let entries = chosen.entries.iter().filter(|index| {
        let entry = &graph.entries[**index];
        let is_needed = !part.names(entry) && !owned.contains(*index);
        let stands_alone = !belongs_to_table(&entry.kind) || entry.kind == "SEQUENCE";
        is_needed && stands_alone && entry.kind != "PUBLICATION TABLE"
            || part.brought_back.contains(&entry.id)
    });
    let name = |index: &usize| {
        let entry = &graph.entries[*index];
        let without_rows = if entry.kind == "TABLE" { " (without rows)" } else { "" };
        format!("{}{without_rows}", entry::name(entry))
    };
    entries.map(name).collect()
}

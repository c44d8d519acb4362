//! Which tables and entries an export takes: `--table`, `--schema`, and what the backup carries. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::Entry;
use crate::error::Result;
use crate::inventory::tops;
use crate::pattern::{Candidate, Choice, Patterns};
use crate::repository::format::manifest::Manifest;
use crate::restore::entry;
use crate::restore::part::Part;
use crate::restore::selection::{self, Carried, Graph, TableName};

/// What an export takes of a backup.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Indexes of entries, ascending.
    pub(super) entries: Vec<usize>,
    /// The tables, unless all are meant.
    pub(super) tables: Option<BTreeSet<TableName>>,
    /// One sentence for each thing left out that the user might expect.
    pub(super) notes: Vec<String>,
}

/// Chooses.
///
/// # Errors
/// Usage: a pattern that matches nothing.
pub(super) fn choose(
    graph: &Graph<'_>,
    manifest: &Manifest,
    carried: &Carried,
    wanted: &Patterns,
) -> Result<Chosen> {
    let whole = selection::select(graph, carried);
    let mut included: BTreeSet<usize> = whole.entries.into_iter().collect();
    let mut chosen = Chosen::default();
    if wanted.is_limited() {
        let tables = tables(graph, manifest, wanted)?;
        let part = Part::of_tables(tables.clone());
        let selected = selection::select(graph, &Carried::Only(part));
        let mut parts: BTreeSet<usize> = selected.entries.into_iter().collect();
        let mut left_out = selected.left_out;
        // What is published is the business of the database that the file goes to.
        left_out.retain(|(index, _)| graph.entries[*index].kind != "PUBLICATION TABLE");
        add_schemas(graph, wanted, &mut parts, &mut left_out);
        parts.retain(|index| included.contains(index));
        included = parts;
        for (index, table) in left_out {
            let (what, needs) = (entry::name(&graph.entries[index]), entry::name(&graph.entries[table]));
            chosen.notes.push(format!("{what} is left out: it needs {needs}, which is not chosen"));
        }
        chosen.tables = Some(tables);
    }
    add_what_follows(graph, &mut included);
    chosen.entries = included.into_iter().collect();
    Ok(chosen)
}

/// The tables that match.
fn tables(graph: &Graph<'_>, manifest: &Manifest, wanted: &Patterns) -> Result<BTreeSet<TableName>> {
    let roots = roots(graph);
    let candidates: Vec<Candidate> = manifest
        .tables
        .iter()
        .map(|table| Candidate {
            schema: table.schema.clone(),
            name: table.name.clone(),
            root: roots.get(&(table.schema.clone(), table.name.clone())).cloned(),
        })
        .collect();
    wanted.require_matches(&candidates)?;
    let schemas = graph.entries.iter().filter_map(schema_of);
    wanted.require_schemas(schemas.chain(candidates.iter().map(|table| table.schema.as_str())))?;
    let chosen = candidates.into_iter().filter(|candidate| wanted.choose(candidate) == Choice::Carry);
    Ok(chosen.map(|candidate| (candidate.schema, candidate.name)).collect())
}

/// The schema that an entry is in, or makes.
fn schema_of(entry: &Entry) -> Option<&str> {
    if entry.kind == "SCHEMA" { Some(&entry.tag) } else { entry.schema.as_deref() }
}

/// Top of the partition tree of each partition.
pub(super) fn roots(graph: &Graph<'_>) -> BTreeMap<TableName, TableName> {
    let mut parents: BTreeMap<TableName, TableName> = BTreeMap::new();
    for (index, entry) in graph.entries.iter().enumerate().filter(|(_, entry)| entry.kind == "TABLE ATTACH") {
        let child = (entry.schema.clone().unwrap_or_default(), entry.tag.clone());
        let tables = graph.dependencies(index).filter_map(|table| name(graph, table));
        if let Some(parent) = tables.filter(|table| *table != child).last() {
            parents.insert(child, parent);
        }
    }
    tops(&parents)
}

fn name(graph: &Graph<'_>, index: usize) -> Option<TableName> {
    let entry = graph.entries.get(index)?;
    let schema = entry.schema.clone()?;
    matches!(entry.kind.as_str(), "TABLE" | "FOREIGN TABLE").then(|| (schema, entry.tag.clone()))
}

/// All else that is in a schema, unless it needs a table elsewhere.
fn add_schemas(
    graph: &Graph<'_>,
    wanted: &Patterns,
    included: &mut BTreeSet<usize>,
    left_out: &mut Vec<(usize, usize)>,
) {
    for (index, entry) in graph.entries.iter().enumerate() {
        let is_in = schema_of(entry).is_some_and(|schema| wanted.takes_schema(schema));
        let is_told = left_out.iter().any(|(other, _)| *other == index);
        if !is_in || is_told || included.contains(&index) || entry.kind.starts_with("PUBLICATION") {
            continue;
        }
        let needs = graph.needs(index);
        match needs.iter().find(|need| graph.is_table(**need) && !included.contains(need)) {
            Some(table) => left_out.push((index, *table)),
            None => included.extend(needs),
        }
    }
}

/// Adds what says something of what is included, and the settings that every archive begins with.
fn add_what_follows(graph: &Graph<'_>, included: &mut BTreeSet<usize>) {
    for (index, entry) in graph.entries.iter().enumerate() {
        let is_wanted = match entry.kind.as_str() {
            "ENCODING" | "STDSTRINGS" | "SEARCHPATH" => true,
            "ACL" | "COMMENT" | "SECURITY LABEL" => {
                let mut of = graph.dependencies(index).peekable();
                of.peek().is_some() && of.all(|other| included.contains(&other))
            }
            _ => false,
        };
        if is_wanted {
            included.insert(index);
        }
    }
}

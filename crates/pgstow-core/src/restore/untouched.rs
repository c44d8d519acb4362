//! What an undo may not drop and need not: objects of other roles that are now what they were when the
//! safety backup was made. They stay, with all that belongs to them, and are not restored. The restore that is
//! undone left them alone for the same reason.

use std::collections::{BTreeMap, BTreeSet};

use super::clear::{self, Cover};
use super::identity::{Identity, by_identity, of_entry};
use super::part::is_relation;
use super::selection::{Graph, TableName, belongs_to_table};
use super::target::TargetState;
use crate::archive::Entry;
use crate::inventory::catalog::Catalog;
use crate::postgres::{Connection, QueryError};
use crate::repository::format::manifest::Manifest;

/// Those of the target's objects that the login may not drop and that the backup has, equal.
///
/// # Errors
/// The server's.
pub(super) fn find(
    connection: &mut Connection,
    catalog: &Catalog,
    target: &TargetState,
) -> Result<BTreeSet<Identity>, QueryError> {
    let mut everything = Cover::default();
    everything.widen(target, catalog, &[]);
    let survey = clear::survey(connection, &everything)?;
    let (ours, there) = (by_identity(&catalog.inventory), by_identity(&target.inventory));
    let staying = survey.staying.iter().filter_map(clear::Staying::identity);
    Ok(staying
        .filter(|identity| ours.contains_key(identity) && ours.get(identity) == there.get(identity))
        .collect())
}

/// Takes them out of what is restored: their entries, rows and positions.
pub(super) fn leave_out(entries: &mut Vec<Entry>, manifest: &mut Manifest, untouched: &BTreeSet<Identity>) {
    if untouched.is_empty() {
        return;
    }
    let graph = Graph::new(entries);
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    for index in 0..graph.entries.len() {
        if of_entry(&graph, index).is_some_and(|own| untouched.contains(&own)) {
            gone.insert(index);
        }
    }
    let tables = owning_tables(&graph);
    gone.extend(
        tables
            .iter()
            .filter(|(_, table)| gone.contains(table))
            .map(|(sequence, _)| *sequence)
            .collect::<Vec<_>>(),
    );
    let parts: Vec<usize> = (0..graph.entries.len()).filter(|&index| is_part(&graph, index, &gone)).collect();
    gone.extend(parts);
    let name = |index: &usize| -> Option<TableName> {
        let entry = graph.entries.get(*index)?;
        is_relation(&entry.kind).then(|| entry.schema.clone().map(|schema| (schema, entry.tag.clone())))?
    };
    let relations: BTreeSet<TableName> = gone.iter().filter_map(name).collect();
    let ids: BTreeSet<i32> = gone.iter().map(|&index| graph.entries[index].id).collect();
    entries.retain(|entry| !ids.contains(&entry.id));
    let stays = |schema: &String, name: &String| relations.contains(&(schema.clone(), name.clone()));
    manifest.tables.retain(|table| !stays(&table.schema, &table.name));
    manifest.sequences.retain(|sequence| !stays(&sequence.schema, &sequence.name));
    manifest.materialized_views.retain(|view| !stays(&view.schema, &view.name));
}

/// The table that each sequence of a serial column belongs to.
fn owning_tables(graph: &Graph<'_>) -> BTreeMap<usize, usize> {
    let mut tables = BTreeMap::new();
    for (index, _) in graph.entries.iter().enumerate().filter(|(_, entry)| entry.kind == "SEQUENCE OWNED BY")
    {
        let of_kind = |kind: &str| graph.dependencies(index).find(|&other| graph.entries[other].kind == kind);
        if let (Some(sequence), Some(table)) = (of_kind("SEQUENCE"), of_kind("TABLE")) {
            tables.insert(sequence, table);
        }
    }
    tables
}

/// Whether an entry belongs to objects that are left out. A foreign key belongs to the table that has it,
/// not to the one that it refers to.
fn is_part(graph: &Graph<'_>, index: usize, gone: &BTreeSet<usize>) -> bool {
    let entry = &graph.entries[index];
    let mut on_gone = graph.dependencies(index).filter(|other| gone.contains(other)).peekable();
    match entry.kind.as_str() {
        "ACL" => on_gone.peek().is_some(),
        kind if belongs_to_table(kind) => on_gone.any(|other| {
            let owner = &graph.entries[other];
            let is_named =
                entry.tag.strip_prefix(owner.tag.as_str()).is_some_and(|rest| rest.starts_with(' '));
            entry.kind != "FK CONSTRAINT" || owner.schema == entry.schema && is_named
        }),
        _ => false,
    }
}

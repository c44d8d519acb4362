//! What an undo may not drop and need not: objects of other roles that are now what they were when the
//! safety backup was made. They stay, with all that belongs to them, and are not restored. The restore that is
//! undone left them alone for the same reason.

use std::collections::BTreeSet;

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
    let all = || 0..graph.entries.len();
    let is_own = |index: &usize| of_entry(&graph, *index).is_some_and(|own| untouched.contains(&own));
    let mut gone: BTreeSet<usize> = all().filter(is_own).collect();
    let sequences = owned_by(&graph, &gone);
    gone.extend(sequences);
    let parts: Vec<usize> = all().filter(|&index| is_part(&graph, index, &gone)).collect();
    gone.extend(parts);
    let left_out = gone.iter().map(|&index| &graph.entries[index]).filter(|entry| is_relation(&entry.kind));
    let relations: BTreeSet<TableName> =
        left_out.filter_map(|entry| Some((entry.schema.clone()?, entry.tag.clone()))).collect();
    let ids: BTreeSet<i32> = gone.iter().map(|&index| graph.entries[index].id).collect();
    entries.retain(|entry| !ids.contains(&entry.id));
    let stays = |schema: &String, name: &String| relations.contains(&(schema.clone(), name.clone()));
    manifest.tables.retain(|table| !stays(&table.schema, &table.name));
    manifest.sequences.retain(|sequence| !stays(&sequence.schema, &sequence.name));
    manifest.materialized_views.retain(|view| !stays(&view.schema, &view.name));
}

/// Sequences of serial columns of tables among `owners`.
fn owned_by(graph: &Graph<'_>, owners: &BTreeSet<usize>) -> Vec<usize> {
    let ownerships = graph.entries.iter().enumerate().filter(|(_, entry)| entry.kind == "SEQUENCE OWNED BY");
    let of_owners = ownerships
        .map(|(index, _)| index)
        .filter(|&index| graph.dependencies(index).any(|other| owners.contains(&other)));
    let needed = of_owners.flat_map(|index| graph.dependencies(index));
    needed.filter(|&other| graph.entries[other].kind == "SEQUENCE").collect()
}

/// Whether an entry belongs to objects that are left out. A foreign key belongs to the table that has it,
/// not to the one that it refers to.
fn is_part(graph: &Graph<'_>, index: usize, gone: &BTreeSet<usize>) -> bool {
    let entry = &graph.entries[index];
    let has_it = |owner: &Entry| {
        let named = entry.tag.strip_prefix(owner.tag.as_str());
        owner.schema == entry.schema && named.is_some_and(|rest| rest.starts_with(' '))
    };
    (entry.kind == "ACL" || belongs_to_table(&entry.kind))
        && graph
            .dependencies(index)
            .filter(|other| gone.contains(other))
            .any(|other| entry.kind != "FK CONSTRAINT" || has_it(&graph.entries[other]))
}

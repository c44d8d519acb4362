//! What has to come before what, beyond what pg_dump says. Pure.
//!
//! pg_dump leaves out some dependencies: several jobs of pg_restore then run into each other.

use std::collections::{BTreeMap, BTreeSet};

use super::choose::roots;
use crate::archive::Entry;
use crate::archive::write::Item;
use crate::restore::selection::{Graph, TableName};

/// Lets privileges that others than the owner gave wait for those of the schema, without which nobody but
/// the owner reaches what is in it.
pub(super) fn grants(entries: &mut [Entry]) {
    let of_schemas: BTreeMap<String, i32> = entries
        .iter()
        .filter(|entry| entry.kind == "ACL")
        .filter_map(|entry| Some((entry.tag.strip_prefix("SCHEMA ")?.to_owned(), entry.id)))
        .collect();
    for entry in entries.iter_mut().filter(|entry| entry.kind == "ACL") {
        let schema = entry.schema.as_ref().and_then(|schema| of_schemas.get(schema));
        entry.dependencies.extend(schema.filter(|_| entry.definition.contains("SET SESSION AUTHORIZATION")));
    }
}

/// Lets foreign keys of partitioned tables wait until the indexes there are put together: both lock the
/// partitions, in different orders.
pub(super) fn keys_of_partitions(entries: &mut [Entry]) {
    let graph = Graph::new(entries);
    let roots = roots(&graph);
    if roots.is_empty() {
        return;
    }
    let of_kind = |kind: &'static str| {
        graph.entries.iter().enumerate().filter(move |(_, entry)| entry.kind == kind).map(|(index, _)| index)
    };
    let trees = |index: usize| -> BTreeSet<TableName> {
        let needs = graph.needs(index);
        let tables = needs.into_iter().filter(|need| graph.is_table(*need)).map(|need| &graph.entries[need]);
        let names = tables.map(|table| (table.schema.clone().unwrap_or_default(), table.tag.clone()));
        names.map(|name| roots.get(&name).cloned().unwrap_or(name)).collect()
    };
    let mut attached: BTreeMap<TableName, Vec<i32>> = BTreeMap::new();
    for index in of_kind("INDEX ATTACH") {
        for tree in trees(index) {
            attached.entry(tree).or_default().push(graph.entries[index].id);
        }
    }
    let waiting: Vec<(usize, BTreeSet<i32>)> = of_kind("FK CONSTRAINT")
        .map(|index| {
            (index, trees(index).iter().filter_map(|tree| attached.get(tree)).flatten().copied().collect())
        })
        .collect();
    for (index, ids) in waiting {
        entries[index].dependencies.extend(ids);
    }
}

/// Takes away the statements that drop indexes which are parts of another one, and constraints that have
/// such an index (`table constraint`): they go with that one, and not alone.
pub(super) fn drops_of_attached(entries: &mut [Entry]) {
    let attached: BTreeSet<TableName> = entries
        .iter()
        .filter(|entry| entry.kind == "INDEX ATTACH")
        .map(|entry| (entry.schema.clone().unwrap_or_default(), entry.tag.clone()))
        .collect();
    for entry in entries.iter_mut().filter(|entry| matches!(entry.kind.as_str(), "INDEX" | "CONSTRAINT")) {
        let schema = entry.schema.clone().unwrap_or_default();
        let is_attached = |name: &str| attached.contains(&(schema.clone(), name.to_owned()));
        let mut after_blanks = entry.tag.match_indices(' ').filter_map(|(at, _)| entry.tag.get(at + 1..));
        if (entry.kind == "INDEX" && is_attached(&entry.tag))
            || (entry.kind == "CONSTRAINT" && after_blanks.any(is_attached))
        {
            entry.drop_statement.clear();
        }
    }
}

/// Puts the rows of tables after those of the tables that they refer to: the foreign keys may be there
/// already. If they are for sure, it is said to several jobs too. What is in a circle stays in the order of
/// names.
pub(super) fn by_keys(graph: &Graph<'_>, for_jobs: bool, data: &mut Vec<(TableName, Item)>) {
    let references = references(graph);
    let mut waiting = std::mem::take(data);
    let mut ids: BTreeMap<TableName, i32> = BTreeMap::new();
    while !waiting.is_empty() {
        let left: BTreeSet<TableName> = waiting.iter().map(|(name, _)| name.clone()).collect();
        let is_ready = |name: &TableName| {
            let of = references.get(name);
            of.is_none_or(|others| others.iter().all(|other| other == name || !left.contains(other)))
        };
        let (mut ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(name, _)| is_ready(name));
        waiting = rest;
        if ready.is_empty() {
            ready.push(waiting.remove(0));
        }
        for (name, mut item) in ready {
            let others = references.get(&name).into_iter().flatten();
            item.entry.dependencies.extend(others.filter_map(|other| ids.get(other)).filter(|_| for_jobs));
            ids.insert(name.clone(), item.entry.id);
            data.push((name, item));
        }
    }
}

/// The tables that each table refers to by foreign keys.
fn references(graph: &Graph<'_>) -> BTreeMap<TableName, BTreeSet<TableName>> {
    let mut references: BTreeMap<TableName, BTreeSet<TableName>> = BTreeMap::new();
    for (index, key) in graph.entries.iter().enumerate().filter(|(_, entry)| entry.kind == "FK CONSTRAINT") {
        let needs = graph.needs(index);
        let tables = needs.iter().filter(|need| graph.is_table(**need)).map(|need| &graph.entries[*need]);
        let names: Vec<TableName> =
            tables.map(|table| (table.schema.clone().unwrap_or_default(), table.tag.clone())).collect();
        let is_own = |name: &&TableName| {
            Some(&name.0) == key.schema.as_ref()
                && key.tag.strip_prefix(name.1.as_str()).is_some_and(|rest| rest.starts_with(' '))
        };
        if let Some(own) = names.iter().filter(is_own).max_by_key(|name| name.1.len()) {
            references.entry(own.clone()).or_default().extend(names.iter().cloned());
        }
    }
    references
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::plan::plain;

    fn entry(id: i32, kind: &str, tag: &str, dependencies: &[i32]) -> Entry {
        Entry {
            id,
            tag: tag.into(),
            schema: Some("s".into()),
            dependencies: dependencies.to_vec(),
            ..plain(kind)
        }
    }

    #[test]
    fn keys_of_partitions_wait_for_the_indexes_of_their_own_tree() {
        let mut entries = vec![
            entry(1, "TABLE", "root", &[]),
            entry(2, "TABLE", "part", &[]),
            entry(3, "TABLE ATTACH", "part", &[1, 2]),
            entry(4, "TABLE", "other", &[]),
            entry(5, "CONSTRAINT", "root root_pkey", &[1]),
            entry(6, "CONSTRAINT", "part part_pkey", &[2]),
            entry(7, "INDEX ATTACH", "part_pkey", &[5, 6]),
            entry(8, "FK CONSTRAINT", "other fkey", &[4, 5]),
            entry(9, "FK CONSTRAINT", "other self", &[4]),
        ];
        keys_of_partitions(&mut entries);
        assert_eq!(entries[7].dependencies, [4, 5, 7]);
        assert_eq!(entries[8].dependencies, [4]);
    }

    #[test]
    fn parts_of_an_index_are_not_dropped_alone() {
        let drop =
            |kind: &str, tag: &str| Entry { drop_statement: "DROP".into(), ..entry(1, kind, tag, &[]) };
        let mut entries = vec![
            drop("INDEX", "part_day"),
            drop("INDEX", "root_day"),
            drop("CONSTRAINT", "a part part pkey"),
            drop("CONSTRAINT", "root root_pkey"),
            entry(2, "INDEX ATTACH", "part_day", &[]),
            entry(3, "INDEX ATTACH", "part pkey", &[]),
        ];
        drops_of_attached(&mut entries);
        let kept: Vec<bool> = entries.iter().take(4).map(|entry| !entry.drop_statement.is_empty()).collect();
        assert_eq!(kept, [false, true, false, true]);
    }

    #[test]
    fn privileges_given_by_others_wait_for_those_of_the_schema() {
        let mut entries = vec![
            entry(1, "ACL", "TABLE t", &[]),
            entry(2, "ACL", "TABLE u", &[]),
            Entry { schema: None, ..entry(3, "ACL", "SCHEMA s", &[]) },
        ];
        entries[0].definition = "SET SESSION AUTHORIZATION a;".into();
        grants(&mut entries);
        assert_eq!(entries[0].dependencies, [3]);
        assert!(entries[1].dependencies.is_empty());
    }

    #[test]
    fn rows_come_after_those_they_refer_to_and_circles_end() {
        let entries = [
            entry(1, "TABLE", "a", &[]),
            entry(2, "TABLE", "b", &[]),
            entry(3, "TABLE", "c", &[]),
            entry(4, "TABLE", "d", &[]),
            entry(5, "FK CONSTRAINT", "a x", &[1, 2]),
            entry(6, "FK CONSTRAINT", "b x", &[2, 2]),
            entry(7, "FK CONSTRAINT", "c x", &[3, 4]),
            entry(8, "FK CONSTRAINT", "d x", &[4, 3]),
        ];
        let graph = Graph::new(&entries);
        let data = |name: &str, id| {
            (("s".to_owned(), name.to_owned()), Item::of(entry(id, "TABLE DATA", name, &[])))
        };
        let mut rows = vec![data("a", 11), data("b", 12), data("c", 13), data("d", 14)];
        by_keys(&graph, true, &mut rows);
        let ids: Vec<i32> = rows.iter().map(|(_, item)| item.entry.id).collect();
        assert_eq!(ids, [12, 11, 13, 14]);
        assert_eq!(rows[1].1.entry.dependencies, [12]);
    }
}

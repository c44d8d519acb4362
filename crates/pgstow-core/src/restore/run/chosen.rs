//! What of the backup and the target a restore concerns, as its steps need to know it. Asks no server.

use std::collections::{BTreeMap, BTreeSet};

use super::Run;
use crate::inventory::name_parts;
use crate::repository::format::manifest::{Sequence, Table};
use crate::restore::identity;
use crate::restore::part::is_relation;
use crate::restore::reconcile::{Object, object, object_of, objects};
use crate::restore::selection::{Carried, TableName};
use crate::restore::tasks::Size;

impl Run<'_> {
    /// Tables whose rows cannot be loaded, because their definition is not replayed or failed.
    pub(super) fn skipped(&self) -> BTreeSet<TableName> {
        let chosen: BTreeSet<usize> = self.steps.phases.before.iter().copied().collect();
        let entries = self.graph.entries.iter().enumerate();
        let mut skipped: BTreeSet<TableName> = entries
            .filter(|(index, entry)| {
                entry.kind == "TABLE" && (!chosen.contains(index) || self.journal.has_failed(*index))
            })
            .filter_map(|(_, entry)| Some((entry.schema.clone()?, entry.tag.clone())))
            .collect();
        let through: Vec<TableName> = self
            .planned
            .manifest
            .tables
            .iter()
            .filter(|table| table.load_through.as_ref().is_some_and(|root| skipped.contains(root)))
            .map(|table| (table.schema.clone(), table.name.clone()))
            .collect();
        skipped.extend(through);
        skipped
    }

    /// Bytes of the tables that an entry depends on directly.
    pub(super) fn bytes_below(&self, index: usize, sizes: &BTreeMap<TableName, Size>) -> u64 {
        let tables = self.graph.dependencies(index).map(|other| &self.graph.entries[other]);
        let names = tables.filter(|entry| entry.kind == "TABLE");
        let sizes = names.filter_map(|entry| sizes.get(&(entry.schema.clone()?, entry.tag.clone())));
        sizes.map(|size| size.bytes).sum()
    }

    pub(super) fn sizes(&self) -> BTreeMap<TableName, Size> {
        let tables = self.planned.manifest.tables.iter();
        let size = |table: &Table| Size { bytes: table.bytes, rows: table.rows };
        tables.map(|table| ((table.schema.clone(), table.name.clone()), size(table))).collect()
    }

    /// Tables that COPY loaded, for ANALYZE.
    pub(super) fn loaded(&self) -> Vec<TableName> {
        let tables = self.planned.manifest.tables.iter();
        let skipped = if self.steps.parts.definitions { self.skipped() } else { BTreeSet::new() };
        tables
            .map(|table| (table.schema.clone(), table.name.clone()))
            .filter(|name| !skipped.contains(name))
            .collect()
    }

    /// Relations whose definitions are replayed.
    pub(super) fn chosen(&self) -> BTreeSet<TableName> {
        self.steps
            .phases
            .before
            .iter()
            .map(|&index| &self.graph.entries[index])
            .filter(|entry| is_relation(&entry.kind))
            .filter_map(|entry| Some((entry.schema.clone()?, entry.tag.clone())))
            .collect()
    }

    /// Positions of the sequences whose definitions are replayed.
    pub(super) fn chosen_sequences(&self) -> Vec<Sequence> {
        let chosen = self.chosen();
        let is_chosen =
            |sequence: &&Sequence| chosen.contains(&(sequence.schema.clone(), sequence.name.clone()));
        self.planned.manifest.sequences.iter().filter(is_chosen).cloned().collect()
    }

    pub(super) fn populated(&self) -> BTreeSet<TableName> {
        let views = self.planned.manifest.materialized_views.iter().filter(|view| view.populated);
        let names = views.map(|view| (view.schema.clone(), view.name.clone()));
        match (&self.steps.carried, self.steps.parts.definitions) {
            (Carried::Everything, _) | (Carried::AllBut(_), false) => names.collect(),
            (Carried::Only(_), false) => BTreeSet::new(),
            (_, true) => {
                let chosen = self.chosen();
                names.filter(|name| chosen.contains(name)).collect()
            }
        }
    }

    /// Objects whose privileges are made equal: all of the backup's, or those that this restore
    /// makes.
    pub(super) fn covered(&self) -> BTreeSet<Object> {
        let inventory = &self.planned.catalog.inventory;
        let parts = self.steps.parts;
        let is_restored = |(target, _): &Object| {
            if target == "LARGE OBJECT" { parts.rows } else { parts.definitions }
        };
        if self.steps.carried == Carried::Everything {
            let held = inventory.privileges.iter().filter(|held| held.target != "DATABASE").map(object);
            return objects(inventory).into_iter().chain(held).filter(is_restored).collect();
        }
        let before = objects(&self.planned.target.inventory);
        let chosen = self.chosen();
        let items = inventory.items.iter().filter_map(|item| Some((object_of(item.kind, &item.name)?, item)));
        items
            .filter(|(object, item)| {
                let name = name_parts(&item.name);
                let is_chosen = matches!(name.as_slice(), [schema, name]
                    if chosen.contains(&(schema.clone(), name.clone())));
                is_chosen || !before.contains(object) || self.steps.made.contains(&identity::of_item(item))
            })
            .map(|(object, _)| object)
            .filter(is_restored)
            .collect()
    }
}

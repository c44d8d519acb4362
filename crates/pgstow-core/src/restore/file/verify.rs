//! Counts at the target what a file has brought, before the commit: rows by table, objects by kind,
//! large objects. What is fewer or more than in the file takes everything back.

use std::collections::{BTreeMap, BTreeSet};

use super::PreparedFile;
use super::survey::Survey;
use crate::archive::Entry;
use crate::error::{Error, Result};
use crate::inventory::name_parts;
use crate::inventory::{Inventory, Item, ObjectKind};
use crate::postgres::Connection;
use crate::postgres::identifier::{display_name, quote_qualified};
use crate::repository::format::receipt::Line;
use crate::restore::finish::relations;
use crate::restore::hosted;
use crate::restore::identity::{self, Identity};
use crate::restore::selection::{Graph, TableName};

/// Tables counted by one statement.
const BATCH: usize = 50;
/// Kinds that a file makes by a statement of their own, each; constraints, say, come with their tables too.
const COMPARED: [ObjectKind; 15] = [
    ObjectKind::Schema,
    ObjectKind::Extension,
    ObjectKind::Table,
    ObjectKind::View,
    ObjectKind::MaterializedView,
    ObjectKind::ForeignTable,
    ObjectKind::Index,
    ObjectKind::Policy,
    ObjectKind::Function,
    ObjectKind::Procedure,
    ObjectKind::Aggregate,
    ObjectKind::Domain,
    ObjectKind::Statistics,
    ObjectKind::Publication,
    ObjectKind::EventTrigger,
];

/// What a restore has done.
pub(super) struct Arrived {
    /// Rows that went to each table.
    pub(super) loaded: BTreeMap<TableName, u64>,
    /// Rows that a table of an extension holds besides.
    pub(super) kept: BTreeMap<TableName, u64>,
    /// Tables whose rows were left out, as the remarks tell.
    pub(super) closed: BTreeSet<TableName>,
    /// Objects that were not made, as the plan has told.
    pub(super) not_made: BTreeMap<ObjectKind, usize>,
}

/// Compares, line by line.
///
/// # Errors
/// Something differs; the server's.
pub(super) fn compare(prepared: &mut PreparedFile, arrived: &Arrived) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    if prepared.parts.definitions {
        let connection = &mut prepared.session.connection;
        let found = prepared.target.inventory_now(connection).map_err(Error::from)?;
        lines.extend(objects(prepared, &found, &arrived.not_made));
    }
    if prepared.parts.rows {
        lines.extend(rows(prepared, arrived)?);
        lines.extend(large_objects(prepared)?);
    }
    let differing: Vec<String> = lines
        .iter()
        .filter(|line| !line.equal)
        .map(|line| format!("{}: {} in the file, {} at the target", line.what, line.expected, line.found))
        .collect();
    if differing.is_empty() {
        return Ok(lines);
    }
    Err(Error::failed("the target does not hold what the file brought").why(differing.join("; ")))
}

fn objects(prepared: &PreparedFile, found: &Inventory, not_made: &BTreeMap<ObjectKind, usize>) -> Vec<Line> {
    let survey = &prepared.survey;
    let schemas: BTreeSet<&str> = survey.made.iter().filter_map(|entry| entry.schema.as_deref()).collect();
    let made = survey.counts();
    let own = Made::of(survey);
    let line = |kind: ObjectKind| {
        let left_out = not_made.get(&kind).copied().unwrap_or_default();
        let expected = made.get(&kind).copied().unwrap_or_default().saturating_sub(left_out);
        let is_meant = |item: &&Item| {
            if prepared.is_part {
                return own.holds(item);
            }
            let parts = name_parts(&item.name);
            if kind.is_in_schema() {
                return parts.first().is_some_and(|schema| schemas.contains(schema.as_str()));
            }
            let name = parts.concat();
            survey
                .made
                .iter()
                .any(|entry| crate::restore::plan::kind_of(&entry.kind) == Some(kind) && entry.tag == name)
        };
        let there = found.items.iter().filter(|item| item.kind == kind).filter(is_meant).count();
        let (expected, found) = (expected as u64, there as u64);
        Line { what: kind.plural().to_owned(), expected, found, equal: expected == found }
    };
    COMPARED.into_iter().map(line).filter(|line| line.expected + line.found > 0).collect()
}

/// What a file makes, by name.
pub(super) struct Made<'s> {
    identities: BTreeSet<Identity>,
    policies: Vec<&'s Entry>,
}

impl<'s> Made<'s> {
    pub(super) fn of(survey: &'s Survey) -> Self {
        let graph = Graph::new(&survey.made);
        let identities =
            (0..survey.made.len()).filter_map(|index| identity::of_entry(&graph, index)).collect();
        Self { identities, policies: survey.made.iter().filter(|entry| entry.kind == "POLICY").collect() }
    }

    pub(super) fn holds(&self, item: &Item) -> bool {
        let is_policy =
            |entry: &&Entry| hosted::is_item_of(item, &entry.kind, entry.schema.as_deref(), &entry.tag);
        self.identities.contains(&identity::of_item(item)) || self.policies.iter().any(is_policy)
    }
}

fn rows(prepared: &mut PreparedFile, arrived: &Arrived) -> Result<Vec<Line>> {
    let connection = &mut prepared.session.connection;
    let roots = relations(connection, "p").map_err(Error::from)?;
    let tables: Vec<(&TableName, u64, bool)> = prepared
        .survey
        .tables
        .iter()
        .filter(|(name, _)| !arrived.closed.contains(*name))
        .map(|(name, table)| (name, table.rows, table.may_skip))
        .collect();
    let mut lines = Vec::new();
    for batch in tables.chunks(BATCH) {
        prepared.session.interrupt.check()?;
        let counts = count(connection, batch, &roots)?;
        for ((name, expected, may_skip), found) in batch.iter().zip(counts) {
            let sent = arrived.loaded.get(*name).copied().unwrap_or_default();
            if sent != *expected {
                return Err(Error::failed(format!(
                    "{} has changed while it was restored",
                    prepared.facts.file
                )));
            }
            let found = found.saturating_sub(arrived.kept.get(*name).copied().unwrap_or_default());
            let equal = found == *expected || *may_skip && found < *expected;
            let what = format!("rows of {}", display_name(&name.0, &name.1));
            lines.push(Line { what, expected: *expected, found, equal });
        }
    }
    Ok(lines)
}

fn count(
    connection: &mut Connection,
    batch: &[(&TableName, u64, bool)],
    roots: &BTreeSet<TableName>,
) -> Result<Vec<u64>> {
    let questions: Vec<String> = batch
        .iter()
        .enumerate()
        .map(|(index, (name, ..))| {
            let only = if roots.contains(*name) { "" } else { "ONLY " };
            let table = quote_qualified(&name.0, &name.1);
            format!("SELECT {index} AS place, pg_catalog.count(*) FROM {only}{table}")
        })
        .collect();
    let question = format!("{} ORDER BY place", questions.join(" UNION ALL "));
    let found = connection.query(&question).map_err(Error::from)?;
    found.iter().map(|row| row.get(1).map_err(Error::from)).collect()
}

fn large_objects(prepared: &mut PreparedFile) -> Result<Option<Line>> {
    let oids: Vec<String> = prepared.survey.large_objects.iter().map(u32::to_string).collect();
    if oids.is_empty() {
        return Ok(None);
    }
    let question = format!(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata \
         WHERE oid = ANY (ARRAY[{}]::pg_catalog.oid[])",
        oids.join(", ")
    );
    let rows = prepared.session.connection.query(&question).map_err(Error::from)?;
    let found: u64 = rows.only().and_then(|row| row.get(0)).map_err(Error::from)?;
    let expected = oids.len() as u64;
    let what = ObjectKind::LargeObject.plural().to_owned();
    Ok(Some(Line { what, expected, found, equal: expected == found }))
}

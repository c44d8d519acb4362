//! What one backup reads, in detail, and reading it.

use std::collections::HashMap;

use super::pipeline::{self, Collected, Readers};
use super::plan::{self, Extent, Task};
use super::progress::Progress;
use super::reader::{Piece, ReadTable, Shared};
use super::scope::Scope;
use super::sequences::ReadSequences;
use super::snapshot::Leader;
use super::{large_objects, sequences};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::catalog::relations::{self, Relation};
use crate::postgres::client_tools::server_major;
use crate::postgres::identifier::display_name;
use crate::repository::format::manifest::{Chunk, Column, LargeObject, MaterializedView, Table, TableData};

/// What is read, in detail.
pub(super) struct ReadPlan {
    /// Tables taken in.
    pub(super) tables: Vec<PlannedTable>,
    /// For each table that is read: its index in `tables`.
    read: Vec<usize>,
    read_tables: Vec<ReadTable>,
    tasks: Vec<Task>,
    pieces: Vec<Piece>,
    pub(super) sequences: ReadSequences,
    pub(super) materialized_views: Vec<MaterializedView>,
    pub(super) large_objects: Vec<LargeObject>,
}

/// A table that is taken in.
pub(super) struct PlannedTable {
    pub(super) relation: Relation,
    columns: Vec<Column>,
    pub(super) data: TableData,
}

/// Reads, in the leader's snapshot, what the plan rests on.
pub(super) fn read_plan(leader: &mut Leader, scope: &Scope) -> Result<ReadPlan> {
    let in_scope: Vec<&Relation> = leader.relations.iter().filter(|relation| scope.locks(relation)).collect();
    let oids: Vec<u32> = in_scope.iter().map(|relation| relation.oid).collect();
    let mut columns = relations::columns(&mut leader.connection, &oids)?;
    let tables: Vec<PlannedTable> = in_scope
        .iter()
        .map(|relation| PlannedTable {
            relation: (*relation).clone(),
            columns: columns_of(&mut columns, relation.oid),
            data: scope.data(relation),
        })
        .collect();
    let sequences = sequences::read(&mut leader.connection, scope)?;
    let large_objects =
        if scope.wants_large_objects() { large_objects::list(&mut leader.connection)? } else { Vec::new() };
    let divisible = server_major(&leader.connection) >= 14;
    let mut read = Vec::new();
    let mut read_tables = Vec::new();
    let mut extents = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let condition = match &table.data {
            TableData::Carried => String::new(),
            TableData::Configuration { condition, .. } => condition.clone(),
            TableData::Excluded | TableData::Unreadable | TableData::None => continue,
        };
        let heap = table.relation.access_method.as_deref() == Some("heap");
        extents.push(Extent {
            table: read.len(),
            pages: table.relation.pages,
            bytes: table.relation.table_bytes,
            divisible: divisible && heap && condition.is_empty(),
        });
        read.push(index);
        read_tables.push(ReadTable {
            oid: table.relation.oid,
            schema: table.relation.schema.clone(),
            name: table.relation.name.clone(),
            columns: table.columns.clone(),
            condition,
        });
    }
    let mut tasks = plan::tasks(&extents);
    let (pieces, large_object_tasks) = large_objects::divide(&large_objects);
    tasks.extend(large_object_tasks);
    let materialized_views = leader
        .relations
        .iter()
        .filter(|relation| relation.kind == 'm' && relation.extension.is_none())
        .map(|relation| MaterializedView {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            populated: relation.populated,
        })
        .collect();
    Ok(ReadPlan { tables, read, read_tables, tasks, pieces, sequences, materialized_views, large_objects })
}

fn columns_of(columns: &mut HashMap<u32, Vec<relations::Column>>, oid: u32) -> Vec<Column> {
    let columns = columns.remove(&oid).unwrap_or_default();
    columns.into_iter().map(|column| Column { name: column.name, type_name: column.type_name }).collect()
}

/// Reads all rows and large objects of the plan.
///
/// # Errors
/// The first of any reader's; interrupted when `stop` is raised.
pub(super) fn read_rows(
    plan: &ReadPlan,
    readers: &Readers<'_>,
    leader: &mut Leader,
    monitor: &dyn Monitor,
    stop: &Interrupt,
) -> Result<Collected> {
    let bytes = plan.tasks.iter().map(Task::bytes).sum();
    monitor.event(Event::Planned { tables: plan.read.len(), bytes });
    let mut chunks = vec![0_usize; plan.read.len()];
    for task in &plan.tasks {
        match task {
            Task::Chunk { table, .. } => chunks[*table] += 1,
            Task::Bundle { tables, .. } => tables.iter().for_each(|table| chunks[*table] += 1),
            Task::LargeObjects { .. } => {}
        }
    }
    let named = plan.read.iter().zip(chunks).map(|(index, chunks)| {
        let relation = &plan.tables[*index].relation;
        (display_name(&relation.schema, &relation.name), relation.table_bytes, chunks)
    });
    let progress = Progress::new(monitor, named);
    let shared = Shared {
        repository: readers.repository,
        tables: &plan.read_tables,
        pieces: &plan.pieces,
        snapshot: &leader.snapshot.id,
        locks: leader.locks,
        progress: &progress,
        stop,
    };
    pipeline::run(plan.tasks.clone(), &mut leader.connection, readers, &shared, monitor)
}

/// The manifest's tables, in the order of schema and name.
pub(super) fn manifest_tables(plan: &ReadPlan, chunks: &[Vec<Chunk>]) -> Vec<Table> {
    let mut chunks_of = vec![Vec::new(); plan.tables.len()];
    for (index, chunks) in plan.read.iter().zip(chunks) {
        chunks_of[*index].clone_from(chunks);
    }
    let mut tables: Vec<Table> = plan
        .tables
        .iter()
        .zip(chunks_of)
        .map(|(PlannedTable { relation, columns, data }, chunks)| Table {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            oid: relation.oid,
            filenode: relation.filenode,
            kind: relation.kind,
            persistence: relation.persistence,
            columns: columns.clone(),
            data: data.clone(),
            load_through: relation.load_through_root.then(|| relation.parent_root.clone()).flatten(),
            rows: chunks.iter().map(|chunk| chunk.rows).sum(),
            bytes: chunks.iter().map(|chunk| chunk.bytes).sum(),
            chunks,
            proof: None,
        })
        .collect();
    tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    tables
}

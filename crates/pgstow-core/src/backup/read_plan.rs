//! What one backup reads, in detail, and reading it.

use std::sync::Mutex;

use super::managed::ManagedTables;
use super::pipeline::{self, Collected, Held, Keep, Readers, Work};
use super::plan::{self, Extent, Task};
use super::progress::Progress;
use super::reader::{Piece, ReadTable, Shared};
use super::reuse::rendering::{self, Renderings};
use super::reuse::{self, Doubt, Earlier, Judged, LargeObjectRows, Now};
use super::scope::Scope;
use super::sequences::ReadSequences;
use super::snapshot::{Leader, Locks};
use super::{large_objects, sequences};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::platform::Keeper;
use crate::postgres::catalog::relations::{self, Relation};
use crate::postgres::client_tools::server_major;
use crate::postgres::connection::Connection;
use crate::postgres::identifier::display_name;
use crate::repository::format::manifest::{
    Chunk, Column, LargeObject, MaterializedView, Source, Table, TableData,
};
use crate::repository::format::proof::{Fingerprint, TableProof};

/// What is read, in detail.
pub(super) struct ReadPlan {
    /// Tables taken in.
    pub(super) tables: Vec<PlannedTable>,
    /// For each table that is read: its index in `tables`.
    read: Vec<usize>,
    read_tables: Vec<ReadTable>,
    extents: Vec<Extent>,
    tasks: Vec<Task>,
    pieces: Vec<Piece>,
    pub(super) sequences: ReadSequences,
    pub(super) materialized_views: Vec<MaterializedView>,
    pub(super) large_objects: Vec<LargeObject>,
    large_object_tasks: Vec<Task>,
    earlier_large_objects: Result<Vec<Earlier>, Doubt>,
    /// What lets a later backup take large objects over.
    pub(super) large_object_rows: Option<LargeObjectRows>,
    /// Of the tables whose rows a later backup may take over.
    renderings: Renderings,
    /// Where no lock protects the tables: which versions of their catalog rows their columns have.
    column_versions: Option<Fingerprint>,
    /// Tables of the platform to look into.
    pub(super) managed: ManagedTables,
}

/// A table that is taken in.
pub(super) struct PlannedTable {
    pub(super) relation: Relation,
    /// Those that are carried.
    columns: Vec<relations::Column>,
    /// Places of the carried ones among all that COPY could move; `None` when all are.
    carried: Option<Vec<usize>>,
    pub(super) data: TableData,
    /// What lets a later backup prove that it has not changed, or why there is nothing.
    proof: Result<TableProof, String>,
}

/// Reads, in the leader's snapshot, what the plan rests on.
pub(super) fn read_plan(
    leader: &mut Leader,
    scope: &Scope,
    source: &Source,
    judged: &Judged,
) -> Result<ReadPlan> {
    let in_scope: Vec<&Relation> = leader.relations.iter().filter(|relation| scope.locks(relation)).collect();
    let oids: Vec<u32> = in_scope.iter().map(|relation| relation.oid).collect();
    let mut columns = relations::columns(&mut leader.connection, &oids)?;
    let mut tables: Vec<PlannedTable> = in_scope
        .iter()
        .map(|relation| {
            let columns = columns.remove(&relation.oid).unwrap_or_default();
            PlannedTable::new(relation, columns, scope)
        })
        .collect();
    let provable = provable_oids(&tables);
    let renderings = rendering::read(&mut leader.connection, &provable, source)?;
    let column_versions = match leader.locks {
        Locks::Leader => None,
        Locks::Readers => Some(rendering::column_versions(&mut leader.connection, &provable)?),
    };
    for table in &mut tables {
        table.note(&renderings);
    }
    let sequences = sequences::read(&mut leader.connection, scope)?;
    let large_objects =
        if scope.wants_large_objects() { large_objects::list(&mut leader.connection)? } else { Vec::new() };
    let divisible = server_major(&leader.connection) >= 14;
    let mut read = Vec::new();
    let mut read_tables = Vec::new();
    let mut extents = Vec::new();
    let mut managed = ManagedTables { carries_secrets: scope.is_encrypted(), ..ManagedTables::default() };
    managed.find_vault(scope, &leader.relations);
    for (index, table) in tables.iter().enumerate() {
        let condition = match &table.data {
            TableData::Carried => String::new(),
            TableData::Configuration { condition, .. } => condition.clone(),
            TableData::Excluded | TableData::Unreadable | TableData::None => continue,
        };
        let columns = table.listed_columns();
        let (earlier, doubt) = table.judge(judged, &columns);
        let heap = table.relation.access_method.as_deref() == Some("heap");
        let divisible = divisible && heap && condition.is_empty();
        managed.add(scope, &table.relation, &table.columns);
        extents.push(extent(read.len(), &table.relation, divisible, &earlier));
        read.push(index);
        read_tables.push(ReadTable {
            oid: table.relation.oid,
            schema: table.relation.schema.clone(),
            name: table.relation.name.clone(),
            columns,
            condition,
            earlier,
            doubt,
        });
    }
    let tasks = plan::tasks(&extents);
    let mut large_object_rows = None;
    let mut earlier_large_objects = Err(Doubt::LargeObjects);
    if !large_objects.is_empty() {
        let since = judged.large_objects_since();
        large_object_rows = reuse::read_large_object_rows(&mut leader.connection, since)?;
        earlier_large_objects = judged.large_objects(&large_objects, large_object_rows.as_ref());
    }
    let (pieces, large_object_tasks) = large_objects::divide(&large_objects);
    let materialized_views = leader
        .relations
        .iter()
        .filter(|relation| relation.kind == 'm' && relation.extension.is_none())
        .filter(|relation| scope.hosting().keeper(&relation.schema) != Keeper::Internal)
        .map(|relation| MaterializedView {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            populated: relation.populated,
        })
        .collect();
    Ok(ReadPlan {
        tables,
        read,
        read_tables,
        extents,
        tasks,
        pieces,
        sequences,
        materialized_views,
        large_objects,
        large_object_tasks,
        earlier_large_objects,
        large_object_rows,
        renderings,
        column_versions,
        managed,
    })
}

impl ReadPlan {
    /// Whether rows may have been written by other definitions than the snapshot shows. Asked of a
    /// transaction that began after the last row was read.
    ///
    /// # Errors
    /// The server's.
    pub(super) fn definitions_changed(&self, connection: &mut Connection) -> Result<bool> {
        if rendering::type_versions(connection, &self.renderings)? != self.renderings.versions() {
            return Ok(true);
        }
        let Some(column_versions) = self.column_versions else { return Ok(false) };
        Ok(rendering::column_versions(connection, &provable_oids(&self.tables))? != column_versions)
    }
}

/// The tables whose rows may be provable: permanent heaps that are read without a condition.
fn provable_oids(tables: &[PlannedTable]) -> Vec<u32> {
    tables.iter().filter(|table| table.is_permanent_heap()).map(|table| table.relation.oid).collect()
}

impl PlannedTable {
    pub(super) fn new(relation: &Relation, columns: Vec<relations::Column>, scope: &Scope) -> Self {
        let all = columns.len();
        let (carried, columns): (Vec<usize>, Vec<relations::Column>) = columns
            .into_iter()
            .enumerate()
            .filter(|(_, column)| scope.carries(relation, &column.name))
            .unzip();
        Self {
            relation: relation.clone(),
            carried: (carried.len() < all).then_some(carried),
            columns,
            data: scope.data(relation),
            proof: Err(String::new()),
        }
    }

    /// As the manifest lists them.
    pub(super) fn listed_columns(&self) -> Vec<Column> {
        let column = |column: &relations::Column| Column {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
        };
        self.columns.iter().map(column).collect()
    }

    /// The renderings of the carried columns, out of those of all columns.
    fn carried_of(&self, rendering: &[Fingerprint]) -> Option<Vec<Fingerprint>> {
        match &self.carried {
            None => Some(rendering.to_vec()),
            Some(places) => places.iter().map(|place| rendering.get(*place).copied()).collect(),
        }
    }

    /// The chunks that earlier backups have of it, and why the rest is read.
    pub(super) fn judge(&self, judged: &Judged, columns: &[Column]) -> (Vec<Earlier>, Doubt) {
        judged.of(&Now {
            shown: &display_name(&self.relation.schema, &self.relation.name),
            oid: self.relation.oid,
            filenode: self.relation.filenode,
            columns,
            data: &self.data,
            rendering: self.proof.as_ref().map(|proof| proof.rendering.as_slice()).map_err(String::as_str),
        })
    }

    fn is_permanent_heap(&self) -> bool {
        let relation = &self.relation;
        relation.kind == 'r'
            && relation.persistence == 'p'
            && relation.access_method.as_deref() == Some("heap")
            && self.data == TableData::Carried
    }

    /// Notes how its rows are written: what lets a backup prove that they have not changed, or why
    /// there is nothing.
    pub(super) fn note(&mut self, renderings: &Renderings) {
        self.proof = self.provability(renderings);
    }

    fn provability(&self, renderings: &Renderings) -> Result<TableProof, String> {
        if !self.is_permanent_heap() {
            let method = self.relation.access_method.as_deref().unwrap_or("no");
            return Err(match (self.relation.persistence, method, &self.data) {
                (_, _, TableData::Configuration { .. }) => "is read by a condition".to_owned(),
                ('u', ..) => "is unlogged".to_owned(),
                (_, method, _) => format!("is stored by the access method {method}"),
            });
        }
        let rendering = match renderings.table(self.relation.oid) {
            Some(Ok(rendering)) => rendering,
            Some(Err(unprovable)) => return Err(format!("has {unprovable}")),
            // A table without columns has nothing to write.
            None => &[],
        };
        let rendering = self.carried_of(rendering).filter(|rendering| rendering.len() == self.columns.len());
        let rendering = rendering.ok_or("has columns that the catalog does not show")?;
        Ok(TableProof { pages: self.relation.pages, rendering })
    }
}

fn extent(table: usize, relation: &Relation, divisible: bool, earlier: &[Earlier]) -> Extent {
    let only = match earlier {
        [only] if only.pages.first == 0 => Some(only),
        _ => None,
    };
    Extent {
        table,
        pages: relation.pages,
        bytes: relation.table_bytes,
        divisible,
        known: earlier.iter().map(|earlier| earlier.pages).collect(),
        provable: only.is_some_and(|only| only.trust.is_ok()),
        bundle: only.map(Earlier::place),
    }
}

/// Reads all rows and large objects of the plan.
///
/// # Errors
/// The first of any reader's; interrupted when `stop` is raised.
pub(super) fn read_rows(
    plan: &ReadPlan,
    readers: &Readers<'_>,
    leader: &mut Leader,
    keep: Option<&mut dyn Keep>,
    monitor: &dyn Monitor,
    stop: &Interrupt,
) -> Result<Collected> {
    let mut tasks = plan.tasks.clone();
    let taken_over = match &plan.earlier_large_objects {
        Ok(earlier)
            if earlier.iter().all(|one| readers.repository.take_over(readers.object_key, &one.object)) =>
        {
            Ok(earlier.as_slice())
        }
        Ok(_) => Err(Doubt::Object),
        Err(doubt) => Err(doubt.clone()),
    };
    if taken_over.is_err() {
        tasks.extend(plan.large_object_tasks.iter().cloned());
    }
    let bytes = tasks.iter().map(Task::bytes).sum();
    monitor.event(Event::Planned { tables: plan.read.len(), bytes });
    let mut chunks = vec![0_usize; plan.read.len()];
    for task in &tasks {
        match task {
            Task::Chunk { table, .. } => chunks[*table] += 1,
            Task::Bundle { tables, .. } | Task::Prove { tables, .. } => {
                tables.iter().for_each(|table| chunks[*table] += 1);
            }
            Task::LargeObjects { .. } => {}
        }
    }
    let named = plan.read.iter().zip(chunks).map(|(index, chunks)| {
        let relation = &plan.tables[*index].relation;
        (display_name(&relation.schema, &relation.name), relation.table_bytes, chunks)
    });
    let progress = Progress::new(monitor, named);
    for (table, read) in plan.read_tables.iter().enumerate() {
        if read.earlier.iter().any(|earlier| earlier.is_binary() && earlier.trust.is_ok()) {
            progress.switch_to_binary(table);
        }
    }
    let shared = Shared {
        repository: readers.repository,
        object_key: readers.object_key,
        tables: &plan.read_tables,
        pieces: &plan.pieces,
        snapshot: &leader.snapshot.id,
        locks: leader.locks,
        progress: &progress,
        stop,
        stored: Mutex::default(),
    };
    let work = Work { tasks, extents: &plan.extents, large_objects: taken_over };
    pipeline::run(work, &mut leader.connection, readers, &shared, keep, monitor)
}

/// The manifest's tables, in the order of schema and name.
pub(super) fn manifest_tables(plan: &ReadPlan, chunks: &[Vec<Held>]) -> Vec<Table> {
    let mut chunks_of: Vec<Vec<Chunk>> = vec![Vec::new(); plan.tables.len()];
    for (index, chunks) in plan.read.iter().zip(chunks) {
        chunks_of[*index] = chunks.iter().map(|held| held.chunk.clone()).collect();
    }
    let mut tables: Vec<Table> = plan
        .tables
        .iter()
        .zip(chunks_of)
        .map(|(table, chunks)| (table, table.listed_columns(), chunks))
        .map(|(PlannedTable { relation, data, proof, .. }, columns, chunks)| Table {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            oid: relation.oid,
            filenode: relation.filenode,
            kind: relation.kind,
            persistence: relation.persistence,
            columns,
            data: data.clone(),
            load_through: relation.load_through_root.then(|| relation.parent_root.clone()).flatten(),
            rows: chunks.iter().map(|chunk| chunk.rows).sum(),
            bytes: chunks.iter().map(|chunk| chunk.bytes).sum(),
            chunks,
            proof: proof.as_ref().ok().cloned(),
        })
        .collect();
    tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    tables
}

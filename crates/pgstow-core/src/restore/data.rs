//! Loads the rows: from the repository's objects straight into COPY, never a chunk in memory.
//!
//! Whatever one object holds is loaded in one transaction (or savepoint), which is kept only after
//! the object's last byte has proven its hash: damage never leaves rows behind.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use super::definitions::ATTEMPTS;
use super::guards::{load_target, quoted_load_target};
use super::journal::Journal;
use super::selection::TableName;
use super::session::{Session, describe, is_fatal, is_transient};
use super::tasks::Rows;
use crate::error::{Error, Result, and_more};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::identifier::{display_name, quote_identifier};
use crate::postgres::{Connection, QueryError};
use crate::repository::Repository;
use crate::repository::format::manifest::{Chunk, CopyFormat, Manifest, Table, TableData};
use crate::repository::object::ObjectReader;

const BUFFER_BYTES: usize = 128 * 1024;

/// What loading needs besides sessions.
pub(super) struct Load<'a> {
    pub(super) repository: &'a Repository,
    pub(super) manifest: &'a Manifest,
    pub(super) journal: &'a Journal,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) interrupt: &'a Interrupt,
    progress: Mutex<HashMap<usize, Progress>>,
}

/// How far a table is.
struct Progress {
    chunks_left: usize,
    rows: u64,
    bytes: u64,
    started: bool,
}

/// The part of an object that belongs to one table.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    /// Index into the manifest's tables.
    table: usize,
    chunk: &'a Chunk,
}

/// One object and what of it is loaded, in the order of offsets.
#[derive(Debug, Clone)]
pub(super) struct Task<'a> {
    object: u32,
    pieces: Vec<Piece<'a>>,
    bytes: u64,
}

impl Task<'_> {
    /// What a schedule needs to know of it.
    pub(super) fn rows(&self, manifest: &Manifest) -> Rows {
        let mut indexes: Vec<usize> = self.pieces.iter().map(|piece| piece.table).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let tables = indexes.into_iter().filter_map(|index| manifest.tables.get(index)).map(load_target);
        Rows { tables: tables.collect(), bytes: self.bytes }
    }

    /// The task in the order of offsets, each byte of the object at most once: an object named by
    /// its content may be several bundles that happen to be equal, and is read once for each.
    fn in_passes(self) -> Vec<Self> {
        let object = self.object;
        passes(self.pieces, |piece| piece.chunk)
            .into_iter()
            .map(|pieces| {
                let bytes = pieces.iter().fold(0, |sum: u64, piece| sum.saturating_add(piece.chunk.bytes));
                Self { object, pieces, bytes }
            })
            .collect()
    }
}

/// Divides what lies in one object so that in each part nothing overlaps and offsets ascend.
pub(super) fn passes<T>(mut pieces: Vec<T>, chunk: impl Fn(&T) -> &Chunk) -> Vec<Vec<T>> {
    pieces.sort_by_key(|piece| (chunk(piece).offset, chunk(piece).bytes));
    let mut passes: Vec<(u64, Vec<T>)> = Vec::new();
    for piece in pieces {
        let Chunk { offset, bytes, .. } = *chunk(&piece);
        let end = offset.saturating_add(bytes);
        match passes.iter_mut().find(|(end, _)| *end <= offset) {
            Some((last, pass)) => {
                *last = end;
                pass.push(piece);
            }
            None => passes.push((end, vec![piece])),
        }
    }
    passes.into_iter().map(|(_, pass)| pass).collect()
}

/// Why an object was not loaded.
enum Failure {
    /// The server took the rows of this table not.
    Table { table: usize, error: QueryError },
    /// The server took another number of rows than the chunk has.
    Count { table: usize, expected: u64, found: u64 },
    /// The object is damaged or cannot be read.
    Object(Error),
    /// The transaction could not begin or end.
    Server(QueryError),
}

impl Failure {
    /// Whether trying again may help.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Table { error, .. } | Self::Server(error) if is_transient(error))
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::Server(error)
    }
}

impl<'a> Load<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        manifest: &'a Manifest,
        journal: &'a Journal,
        monitor: &'a dyn Monitor,
        interrupt: &'a Interrupt,
    ) -> Self {
        Self { repository, manifest, journal, monitor, interrupt, progress: Mutex::new(HashMap::new()) }
    }

    fn shown(&self, table: usize) -> String {
        self.manifest
            .tables
            .get(table)
            .map(|table| display_name(&table.schema, &table.name))
            .unwrap_or_default()
    }

    /// Loads every carried table, the largest objects first.
    ///
    /// # Errors
    /// Atomic: any failure. Otherwise what ends the restore; damage and refused rows are noted.
    pub(super) fn tables(&self, session: &mut Session, skipped: &BTreeSet<TableName>) -> Result<()> {
        self.configuration_tables(session, skipped)?;
        self.tasks(skipped).iter().try_for_each(|task| self.task(session, task))
    }

    /// What is loaded of the carried tables but those in `skipped`, the largest objects first.
    pub(super) fn tasks(&self, skipped: &BTreeSet<TableName>) -> Vec<Task<'a>> {
        let mut by_object: HashMap<u32, Task<'_>> = HashMap::new();
        for (index, table) in self.chosen(skipped) {
            if table.data == TableData::Carried {
                self.collect(index, table, &mut by_object);
            }
        }
        let mut tasks: Vec<Task<'_>> = by_object.into_values().flat_map(Task::in_passes).collect();
        tasks.sort_by_key(|task| (std::cmp::Reverse(task.bytes), task.object));
        tasks
    }

    /// Loads the configuration tables of extensions.
    ///
    /// # Errors
    /// As [`Load::tables`].
    pub(super) fn configuration_tables(
        &self,
        session: &mut Session,
        skipped: &BTreeSet<TableName>,
    ) -> Result<()> {
        for (index, table) in self.chosen(skipped) {
            if matches!(table.data, TableData::Configuration { .. }) {
                self.configuration_table(session, index)?;
            }
        }
        Ok(())
    }

    fn chosen(&self, skipped: &BTreeSet<TableName>) -> impl Iterator<Item = (usize, &'a Table)> {
        let tables = self.manifest.tables.iter().enumerate();
        tables.filter(|(_, table)| !skipped.contains(&(table.schema.clone(), table.name.clone())))
    }

    fn collect(&self, index: usize, table: &'a Table, tasks: &mut HashMap<u32, Task<'a>>) {
        for chunk in &table.chunks {
            let object = chunk.object;
            let task = tasks.entry(object).or_insert_with(|| Task { object, pieces: Vec::new(), bytes: 0 });
            task.pieces.push(Piece { table: index, chunk });
            task.bytes = task.bytes.saturating_add(chunk.bytes);
        }
        let progress = Progress { chunks_left: table.chunks.len(), rows: 0, bytes: 0, started: false };
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).insert(index, progress);
    }

    /// Loads tables one after the other in the given order, for a session that cannot silence
    /// foreign keys.
    ///
    /// # Errors
    /// Any failure: this is always atomic.
    pub(super) fn tables_in_order(&self, session: &mut Session, order: &[TableName]) -> Result<()> {
        for name in order {
            for (index, table) in self.manifest.tables.iter().enumerate() {
                if load_target(table) != *name {
                    continue;
                }
                if matches!(table.data, TableData::Configuration { .. }) {
                    self.configuration_table(session, index)?;
                    continue;
                }
                let mut tasks = HashMap::new();
                if table.data == TableData::Carried {
                    self.collect(index, table, &mut tasks);
                }
                for task in tasks.into_values().flat_map(Task::in_passes) {
                    self.task(session, &task)?;
                }
            }
        }
        Ok(())
    }

    /// Replaces the rows of an extension's configuration table that meet its condition.
    fn configuration_table(&self, session: &mut Session, index: usize) -> Result<()> {
        let Some(table) = self.manifest.tables.get(index) else { return Ok(()) };
        let TableData::Configuration { condition, .. } = &table.data else { return Ok(()) };
        let mut tasks = HashMap::new();
        self.collect(index, table, &mut tasks);
        let tasks: Vec<Task<'_>> = tasks.into_values().flat_map(Task::in_passes).collect();
        let target = quoted_load_target(table);
        let result = session.transaction(|connection| {
            connection
                .execute(&format!("DELETE FROM ONLY {target} {condition}"))
                .map_err(|error| Failure::Table { table: index, error })?;
            for task in &tasks {
                self.copy_object(connection, task)?;
            }
            Ok(())
        });
        match result {
            Ok(()) => {
                for task in &tasks {
                    self.finished(task);
                }
                Ok(())
            }
            Err(failure) => self.settle(session, failure).map(drop),
        }
    }

    /// Loads one object. A table whose rows the server refuses is noted and left out, and the
    /// rest of the object loaded again without it.
    ///
    /// # Errors
    /// Atomic: any failure. Otherwise what ends the restore.
    pub(super) fn task(&self, session: &mut Session, task: &Task<'a>) -> Result<()> {
        let mut task = Cow::Borrowed(task);
        let mut tried = 1;
        while !task.pieces.is_empty() {
            self.interrupt.check()?;
            match session.transaction(|connection| self.copy_object(connection, &task)) {
                Ok(()) => {
                    self.finished(&task);
                    return Ok(());
                }
                Err(failure) if !session.atomic && failure.is_transient() && tried < ATTEMPTS => tried += 1,
                Err(failure) => match self.settle(session, failure)? {
                    Some(table) => task.to_mut().pieces.retain(|piece| piece.table != table),
                    None => return Ok(()),
                },
            }
        }
        Ok(())
    }

    /// Ends the restore, or notes the failure; the table to leave out, if it is one table's.
    fn settle(&self, session: &Session, failure: Failure) -> Result<Option<usize>> {
        let (text, why, table) = match failure {
            Failure::Table { error: QueryError::Interrupted, .. }
            | Failure::Server(QueryError::Interrupted) => {
                return Err(Error::interrupted());
            }
            Failure::Server(error) => {
                return Err(Error::failed("the rows could not be loaded").why(describe(&error)));
            }
            Failure::Table { table, error } if is_fatal(&error) => {
                let shown = self.shown(table);
                return Err(Error::failed(format!("loading ended at table {shown}")).why(describe(&error)));
            }
            Failure::Table { table, error } => (
                format!("rows of table {} were not loaded", self.shown(table)),
                describe(&error),
                Some(table),
            ),
            Failure::Count { table, expected, found } => (
                format!("rows of table {} were not loaded", self.shown(table)),
                format!("the server took {found} rows of a chunk of {expected}"),
                Some(table),
            ),
            Failure::Object(error) if error.kind() != crate::ErrorKind::Failed => return Err(error),
            Failure::Object(error) => {
                let reason = error.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
                (error.message().to_owned(), format!("its rows are not restored{reason}"), None)
            }
        };
        if session.atomic {
            return Err(Error::failed(text).why(why));
        }
        self.journal.problem(format!("{text}: {why}"));
        Ok(table)
    }

    /// Loads what one object holds of the large objects, through a temporary table.
    ///
    /// # Errors
    /// Atomic: any failure. Otherwise what ends the restore.
    pub(super) fn large_object_chunk(&self, session: &mut Session, chunk: &Chunk) -> Result<()> {
        self.interrupt.check()?;
        let result = session.transaction(|connection| self.copy_large_objects(connection, chunk));
        match result {
            Ok(()) => Ok(()),
            Err(error) if session.atomic || error.kind() != crate::ErrorKind::Failed => Err(error),
            Err(error) => {
                self.journal.problem(error.in_one_line());
                Ok(())
            }
        }
    }

    fn copy_large_objects(&self, connection: &mut Connection, chunk: &Chunk) -> Result<()> {
        let failed = |error: QueryError| match error {
            QueryError::Interrupted => Error::interrupted(),
            error => Error::failed("large objects could not be loaded").why(describe(&error)),
        };
        let object = usize::try_from(chunk.object).ok().and_then(|index| self.manifest.objects.get(index));
        let object = object.ok_or_else(|| Error::failed("the manifest lacks an object of large objects"))?;
        let stopped = |stop: Stop| match stop {
            Stop::Reader(error) => {
                Error::from_io(error, format!("object {} cannot be read", object.id)).context("large objects")
            }
            Stop::Writer(error) => failed(QueryError::Sink(error)),
        };
        connection
            .execute(
                "CREATE TEMPORARY TABLE pgstow_large_objects \
                 (loid pg_catalog.oid, position pg_catalog.int8, data pg_catalog.bytea)",
            )
            .map_err(failed)?;
        let mut reader = self.repository.read_object(self.manifest, object)?;
        pass(&mut reader, chunk.offset, &mut |_| Ok(())).map_err(stopped)?;
        let options = if chunk.format == CopyFormat::Binary { " WITH (FORMAT binary)" } else { "" };
        let statement = format!("COPY pg_temp.pgstow_large_objects FROM STDIN{options}");
        let mut copy = connection.copy_in(&statement).map_err(failed)?;
        match pass(&mut reader, chunk.bytes, &mut |bytes| copy.write_all(bytes)) {
            Ok(()) => {}
            Err(Stop::Writer(error)) => {
                return Err(failed(copy.finish().err().unwrap_or(QueryError::Sink(error))));
            }
            Err(stop) => return Err(stopped(stop)),
        }
        copy.finish().map_err(failed)?;
        let rest = object.bytes.saturating_sub(chunk.offset.saturating_add(chunk.bytes));
        pass(&mut reader, rest, &mut |_| Ok(())).map_err(stopped)?;
        connection
            .execute(
                "SELECT pg_catalog.lo_put(loid, position, data) FROM pg_temp.pgstow_large_objects; \
                 DROP TABLE pg_temp.pgstow_large_objects",
            )
            .map_err(failed)?;
        Ok(())
    }

    /// Copies an object's pieces, then reads it to its end so that all of it is proven.
    fn copy_object(&self, connection: &mut Connection, task: &Task<'_>) -> Result<(), Failure> {
        let object = usize::try_from(task.object).ok().and_then(|index| self.manifest.objects.get(index));
        let object = object.ok_or_else(|| {
            Failure::Object(Error::failed(format!("the manifest has no object {}", task.object)))
        })?;
        let mut reader = self.repository.read_object(self.manifest, object).map_err(Failure::Object)?;
        let mut position = 0;
        for piece in &task.pieces {
            let skipped = piece.chunk.offset.checked_sub(position).ok_or_else(|| {
                Failure::Object(Error::failed(format!("chunks of object {} overlap", object.id)))
            })?;
            pass(&mut reader, skipped, &mut |_| Ok(())).map_err(|stop| stop.failure(object, piece.table))?;
            self.copy_piece(connection, &mut reader, piece).map_err(|failure| match failure {
                Failure::Object(error) => Failure::Object(self.named(error, task)),
                other => other,
            })?;
            position = piece.chunk.offset.saturating_add(piece.chunk.bytes);
        }
        let rest = object.bytes.saturating_sub(position);
        let first = task.pieces.first().map_or(0, |piece| piece.table);
        pass(&mut reader, rest, &mut |_| Ok(())).map_err(|stop| match stop.failure(object, first) {
            Failure::Object(error) => Failure::Object(self.named(error, task)),
            other => other,
        })
    }

    /// The error with the tables that the object carries.
    fn named(&self, error: Error, task: &Task<'_>) -> Error {
        let mut tables: Vec<String> = task.pieces.iter().map(|piece| self.shown(piece.table)).collect();
        tables.dedup();
        let more = tables.len().saturating_sub(3);
        tables.truncate(3);
        error.context(format!("rows of {}{}", tables.join(", "), and_more(more)))
    }

    fn copy_piece(
        &self,
        connection: &mut Connection,
        reader: &mut ObjectReader,
        piece: &Piece<'_>,
    ) -> Result<(), Failure> {
        let index = piece.table;
        let table = self.manifest.tables.get(index);
        let table = table.ok_or_else(|| Failure::Object(Error::failed("the manifest has no such table")))?;
        self.started(index, table);
        let refused = |error| Failure::Table { table: index, error };
        let shown = display_name(&table.schema, &table.name);
        let mut copy = connection.copy_in(&copy_statement(table, piece.chunk.format)).map_err(refused)?;
        let sent = pass(reader, piece.chunk.bytes, &mut |bytes| {
            self.interrupt.check().map_err(|_| io::Error::from(io::ErrorKind::Interrupted))?;
            copy.write_all(bytes)?;
            self.monitor.event(Event::TableProgress { table: &shown, bytes: bytes.len() as u64 });
            Ok(())
        });
        match sent {
            Ok(()) => {}
            Err(Stop::Reader(error)) => {
                drop(copy);
                return Err(Failure::Object(Error::from_io(error, "an object cannot be read")));
            }
            Err(Stop::Writer(_)) if self.interrupt.is_triggered() => {
                drop(copy);
                return Err(refused(QueryError::Interrupted));
            }
            Err(Stop::Writer(error)) => {
                // The COPY knows why; without a reason of its own the write error is one.
                return Err(refused(copy.finish().err().unwrap_or(QueryError::Sink(error))));
            }
        }
        let found = copy.finish().map_err(refused)?;
        if found == piece.chunk.rows {
            Ok(())
        } else {
            Err(Failure::Count { table: index, expected: piece.chunk.rows, found })
        }
    }

    fn started(&self, index: usize, table: &Table) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = progress.get_mut(&index).filter(|progress| !progress.started) {
            progress.started = true;
            let shown = display_name(&table.schema, &table.name);
            self.monitor.event(Event::TableStarted { table: &shown, bytes: table.bytes });
        }
    }

    fn finished(&self, task: &Task<'_>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in &task.pieces {
            let Some(table) = progress.get_mut(&piece.table) else { continue };
            table.chunks_left = table.chunks_left.saturating_sub(1);
            table.rows += piece.chunk.rows;
            table.bytes += piece.chunk.bytes;
            if table.chunks_left == 0 {
                let (rows, bytes) = (table.rows, table.bytes);
                self.monitor.event(Event::TableFinished { table: &self.shown(piece.table), rows, bytes });
            }
        }
    }
}

/// Which side stopped a transfer.
enum Stop {
    Reader(io::Error),
    Writer(io::Error),
}

impl Stop {
    fn failure(self, object: &crate::repository::format::manifest::Object, table: usize) -> Failure {
        match self {
            Self::Reader(error) => {
                Failure::Object(Error::from_io(error, format!("object {} cannot be read", object.id)))
            }
            Self::Writer(error) => Failure::Table { table, error: QueryError::Sink(error) },
        }
    }
}

/// Passes exactly `bytes` bytes on.
fn pass(
    reader: &mut ObjectReader,
    mut bytes: u64,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> std::result::Result<(), Stop> {
    let mut buffer = vec![0; BUFFER_BYTES];
    while bytes > 0 {
        let room = usize::try_from(bytes).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        let length = match reader.read(buffer.get_mut(..room).unwrap_or_default()) {
            Ok(0) => return Err(Stop::Reader(io::ErrorKind::UnexpectedEof.into())),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Stop::Reader(error)),
        };
        sink(buffer.get(..length).unwrap_or_default()).map_err(Stop::Writer)?;
        bytes = bytes.saturating_sub(length as u64);
    }
    Ok(())
}

/// `COPY … FROM STDIN` for a chunk of a table.
pub(super) fn copy_statement(table: &Table, format: CopyFormat) -> String {
    let columns = column_list(table);
    let columns = if columns.is_empty() { columns } else { format!(" ({columns})") };
    let options = match format {
        CopyFormat::Text => "",
        CopyFormat::Binary => " WITH (FORMAT binary)",
    };
    format!("COPY {}{columns} FROM STDIN{options}", quoted_load_target(table))
}

/// The columns that COPY moves, quoted and separated.
pub(super) fn column_list(table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| quote_identifier(&column.name)).collect();
    columns.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_piece_is_in_one_pass_and_no_pass_reads_a_byte_twice(
            ranges in prop::collection::vec((0_u64..50, 0_u64..20), 0..30),
        ) {
            let chunk = |(offset, bytes): (u64, u64)| Chunk {
                object: 0, offset, bytes, rows: 0, format: CopyFormat::Text, first_page: 0, end_page: None,
            };
            let chunks: Vec<Chunk> = ranges.into_iter().map(chunk).collect();
            let passes = passes(chunks.iter().collect(), |chunk| chunk);
            prop_assert_eq!(passes.iter().map(Vec::len).sum::<usize>(), chunks.len());
            for pass in passes {
                let ends = pass.iter().map(|chunk| chunk.offset + chunk.bytes);
                prop_assert!(ends.zip(pass.iter().skip(1)).all(|(end, next)| end <= next.offset));
            }
        }
    }
}

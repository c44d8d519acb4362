//! One session that reads chunks into objects.
//!
//! A reader imports the leader's snapshot and takes its own lock on each table with NOWAIT: a
//! statement that waits for an exclusive lock behind the leader would otherwise make reader and
//! leader wait for each other for ever, and no deadlock detector would see it. A table that a
//! reader cannot lock is read by the leader, which holds its lock already.
//!
//! Where an earlier backup holds the same pages, the reader asks first whether they have changed.

mod prove;

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::sync::Mutex;

use super::plan::{PageRange, Task};
use super::progress::Progress;
use super::reuse::{Doubt, Earlier};
use super::snapshot::{ChangedMeanwhile, Locks};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::postgres::client_tools::MORE_LOCKS;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::identifier::{display_name, quote_identifier, quote_literal, quote_qualified};
use crate::repository::Repository;
use crate::repository::format::encryption::ObjectKey;
use crate::repository::format::id::ObjectName;
use crate::repository::format::manifest::{Chunk, Column, CopyFormat};
use crate::repository::object::{ObjectWriter, Written};

/// Locks one transaction of a reader gathers before it begins anew: the server's lock table is
/// shared by everybody.
const LOCKS_PER_TRANSACTION: usize = 512;
/// Bytes of a large object in one row.
pub(super) const LARGE_OBJECT_ROW_BYTES: u64 = 256 << 10;

/// A table as a reader sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadTable {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// `WHERE …` of an extension's configuration table, or empty.
    pub(super) condition: String,
    /// Chunks of earlier backups, in the order of pages.
    pub(super) earlier: Vec<Earlier>,
    /// Why pages that no earlier chunk covers are read.
    pub(super) doubt: Doubt,
}

/// A range of bytes of one large object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) oid: u32,
    pub(super) first: u64,
    pub(super) end: u64,
}

/// What all readers share.
pub(super) struct Shared<'a> {
    pub(super) repository: &'a Repository,
    pub(super) object_key: Option<&'a ObjectKey>,
    pub(super) tables: &'a [ReadTable],
    pub(super) pieces: &'a [Piece],
    pub(super) snapshot: &'a str,
    pub(super) locks: Locks,
    pub(super) progress: &'a Progress<'a>,
    /// Ends all readers at once.
    pub(super) stop: &'a Interrupt,
    /// Objects of earlier backups that were looked for: whether they are there.
    pub(super) stored: Mutex<HashMap<ObjectName, bool>>,
}

/// A chunk that was read; `chunk.object` is set once the object has its place in the manifest.
#[derive(Debug)]
pub(super) struct ReadChunk {
    /// Index of the table; `None` for large objects.
    pub(super) table: Option<usize>,
    pub(super) chunk: Chunk,
    /// What the server's answer was, if it was asked.
    pub(super) doubt: Option<Doubt>,
}

/// What became of a task.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Read and stored.
    Done { written: Written, chunks: Vec<ReadChunk> },
    /// A range that is proven unchanged, and the index of the table's earlier chunk.
    TakenOver { table: usize, pages: PageRange, known: usize },
    /// Small tables that are proven unchanged, and those that are not.
    Proven { unchanged: Vec<usize>, rest: Vec<(usize, Doubt)> },
    /// The server cannot answer for one of these tables: they are asked about in smaller groups.
    Divide { tables: Vec<usize>, bytes: u64 },
    /// A table could not be locked without waiting.
    NotLocked(Task),
    /// A row of this table is too long for COPY's text format.
    TooLong { task: Task, table: usize },
    /// A range of this table cannot be read, but perhaps the table as a whole.
    Indivisible { table: usize },
    /// The table is read as a whole by now: nothing was done.
    Superseded,
}

/// How the session holds the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Its own transaction that imports the snapshot.
    Follower,
    /// The leader's transaction, which must survive every error.
    Leader,
}

/// A session and its place in a transaction.
pub(super) struct Reader<'c> {
    connection: &'c mut Connection,
    role: Role,
    locked: BTreeSet<usize>,
}

/// Why a COPY did not give a chunk.
enum Obstacle {
    TooLong,
    Indivisible,
    Fatal(Error),
}

/// What one COPY reads.
#[derive(Clone, Copy)]
struct Part {
    /// `None` for large objects.
    table: Option<usize>,
    pages: PageRange,
    format: CopyFormat,
}

impl<'c> Reader<'c> {
    /// A reader with a session of its own.
    pub(super) fn follower(connection: &'c mut Connection, snapshot: &str) -> Result<Self, QueryError> {
        begin(connection, snapshot)?;
        Ok(Self { connection, role: Role::Follower, locked: BTreeSet::new() })
    }

    /// The leader's session as a reader.
    pub(super) fn leader(connection: &'c mut Connection) -> Self {
        Self { connection, role: Role::Leader, locked: BTreeSet::new() }
    }

    /// Reads one task into one object, or shows that it need not be read.
    pub(super) fn read(&mut self, task: Task, shared: &Shared<'_>) -> Result<Outcome> {
        let tables: Vec<usize> = match task {
            Task::Prove { tables, bytes } => return self.prove_tables(tables, bytes, shared),
            Task::Chunk { table, .. } => vec![table],
            Task::Bundle { ref tables, .. } => tables.clone(),
            Task::LargeObjects { .. } => Vec::new(),
        };
        if let Task::Chunk { table, pages, .. } = &task
            && *pages != PageRange::ALL
            && shared.progress.is_whole(*table)
        {
            return Ok(Outcome::Superseded);
        }
        let mut doubt = None;
        if let Task::Chunk { table, pages, known: Some(known), .. } = task {
            match self.prove_chunk(table, pages, known, shared)? {
                Some(Ok(())) => return Ok(Outcome::TakenOver { table, pages, known }),
                Some(Err(why)) => doubt = Some(why),
                None => return Ok(Outcome::NotLocked(task)),
            }
        }
        if !self.lock(&tables, shared)? {
            return Ok(Outcome::NotLocked(task));
        }
        let mut writer = shared.repository.write_object(shared.object_key)?;
        let mut chunks = Vec::with_capacity(tables.len().max(1));
        let ranges: Vec<(Option<usize>, PageRange)> = match &task {
            Task::Chunk { table, pages, .. } => vec![(Some(*table), *pages)],
            Task::Bundle { tables, .. } => {
                tables.iter().map(|table| (Some(*table), PageRange::ALL)).collect()
            }
            Task::LargeObjects { .. } | Task::Prove { .. } => vec![(None, PageRange::ALL)],
        };
        for (table, pages) in ranges {
            let format = table.map_or(CopyFormat::Text, |table| shared.progress.format(table));
            let part = Part { table, pages, format };
            let statement = match (table.and_then(|table| shared.tables.get(table)), &task) {
                (None, Task::LargeObjects { pieces, .. }) => {
                    large_object_statement(shared.pieces.get(pieces.clone()).unwrap_or_default())
                }
                (Some(table), _) => copy_statement(table, pages, format),
                (None, _) => return Err(Error::failed("a planned table is not in the list of tables")),
            };
            match self.copy(&statement, &mut writer, part, shared) {
                Ok((offset, rows)) => {
                    let bytes = writer.bytes().saturating_sub(offset);
                    if let Some(table) = table {
                        shared.progress.chunk_finished(table, rows);
                    }
                    let (first_page, end_page) = (pages.first, pages.end);
                    let chunk = Chunk { object: 0, offset, bytes, rows, format, first_page, end_page };
                    chunks.push(ReadChunk { table, chunk, doubt: doubt.clone() });
                }
                Err(Obstacle::TooLong) => {
                    let table =
                        table.ok_or_else(|| Error::failed("a large object's piece is too long for COPY"))?;
                    return Ok(Outcome::TooLong { task, table });
                }
                Err(Obstacle::Indivisible) => {
                    let table = table.ok_or_else(|| Error::failed("large objects have no pages"))?;
                    return Ok(Outcome::Indivisible { table });
                }
                Err(Obstacle::Fatal(error)) => return Err(error),
            }
        }
        let written = writer.finish()?;
        Ok(Outcome::Done { written, chunks })
    }

    /// Runs one COPY into the writer; where it begins there, and how many rows it has.
    fn copy(
        &mut self,
        statement: &str,
        writer: &mut ObjectWriter,
        part: Part,
        shared: &Shared<'_>,
    ) -> Result<(u64, u64), Obstacle> {
        let Part { table, pages, format } = part;
        let offset = writer.bytes();
        let what = || match table.and_then(|table| shared.tables.get(table)) {
            Some(table) => display_name(&table.schema, &table.name),
            None => "large objects".to_owned(),
        };
        if self.role == Role::Leader {
            self.connection.execute("SAVEPOINT chunk").map_err(|error| Obstacle::Fatal(error.into()))?;
        }
        let mut meter = shared.progress.meter(table);
        let copied = self.connection.copy_out(statement, &mut |data| {
            meter.add(data.len());
            writer.write_all(data)
        });
        meter.flush();
        match copied {
            Ok(rows) => {
                if self.role == Role::Leader {
                    self.connection
                        .execute("RELEASE chunk")
                        .map_err(|error| Obstacle::Fatal(error.into()))?;
                }
                Ok((offset, rows))
            }
            Err(error) if format == CopyFormat::Text && may_be_too_long(&error) && table.is_some() => {
                self.recover(shared.snapshot).map_err(|error| Obstacle::Fatal(error.into()))?;
                Err(Obstacle::TooLong)
            }
            Err(error) if table.is_some() && pages != PageRange::ALL && is_planning_error(&error) => {
                self.recover(shared.snapshot).map_err(|error| Obstacle::Fatal(error.into()))?;
                Err(Obstacle::Indivisible)
            }
            Err(QueryError::Sink(error)) => {
                Err(Obstacle::Fatal(Error::from_io(error, format!("{} could not be stored", what()))))
            }
            Err(QueryError::Interrupted) => Err(Obstacle::Fatal(Error::interrupted())),
            Err(error) if shared.locks == Locks::Readers && is_planning_error(&error) => {
                Err(Obstacle::Fatal(changed(&what())))
            }
            Err(error) => {
                let message = format!("{} could not be read", what());
                Err(Obstacle::Fatal(Error::failed(message).source(error)))
            }
        }
    }

    /// Makes the session usable again after a failed statement.
    fn recover(&mut self, snapshot: &str) -> Result<(), QueryError> {
        match self.role {
            Role::Leader => {
                self.connection.execute("ROLLBACK TO chunk")?;
            }
            Role::Follower => {
                self.connection.execute("ROLLBACK")?;
                self.locked.clear();
                begin(self.connection, snapshot)?;
            }
        }
        Ok(())
    }

    /// Lets the locks of a large group go: those on the indexes are not counted, and other
    /// sessions need room too.
    fn release(&mut self, shared: &Shared<'_>) -> Result<()> {
        if self.role == Role::Follower {
            self.connection.execute("COMMIT")?;
            self.locked.clear();
            begin(self.connection, shared.snapshot)?;
        }
        Ok(())
    }

    /// Locks the tables without waiting; false when that is not possible now.
    fn lock(&mut self, tables: &[usize], shared: &Shared<'_>) -> Result<bool> {
        if self.role == Role::Leader && shared.locks == Locks::Leader {
            return Ok(true);
        }
        let full = self.locked.len() + tables.len() > LOCKS_PER_TRANSACTION && !self.locked.is_empty();
        if full {
            self.release(shared)?;
        }
        let missing: Vec<usize> =
            tables.iter().copied().filter(|table| !self.locked.contains(table)).collect();
        let named: Vec<&ReadTable> = missing.iter().filter_map(|table| shared.tables.get(*table)).collect();
        if named.is_empty() {
            return Ok(true);
        }
        let names: Vec<String> =
            named.iter().map(|table| quote_qualified(&table.schema, &table.name)).collect();
        let statement = format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE NOWAIT", names.join(", ONLY "));
        match (self.connection.execute(&statement), shared.locks) {
            (Ok(_), locks) => {
                if locks == Locks::Readers
                    && let Some(name) = replaced(self.connection, &named)?
                {
                    return Err(changed(&name));
                }
                self.locked.extend(missing);
                Ok(true)
            }
            (Err(error), Locks::Leader) if error.code() == Some("55P03") => {
                self.recover(shared.snapshot)?;
                Ok(false)
            }
            (Err(error), Locks::Readers)
                if matches!(error.code(), Some("55P03" | "42P01" | "3F000" | "42809")) =>
            {
                Err(changed(&format!("one of {}", names.join(", "))))
            }
            (Err(error), _) if error.code() == Some("53200") => Err(no_room(error)),
            (Err(error), _) => Err(Error::from(error).context("locking for reading")),
        }
    }
}

/// The first of these locked tables that is not what the session's snapshot shows, or has another storage,
/// by name.
pub(super) fn replaced(
    connection: &mut Connection,
    tables: &[&ReadTable],
) -> Result<Option<String>, QueryError> {
    let values: Vec<String> = tables
        .iter()
        .map(|table| {
            let name = quote_literal(&quote_qualified(&table.schema, &table.name));
            format!("({}::pg_catalog.oid, {name}::pg_catalog.text)", table.oid)
        })
        .collect();
    let rows = connection.query(&format!(
        "SELECT t.name FROM (VALUES {}) t(oid, name) LEFT JOIN pg_catalog.pg_class c ON c.oid = t.oid \
         WHERE c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(t.oid) \
         OR pg_catalog.to_regclass(t.name)::pg_catalog.oid IS DISTINCT FROM t.oid",
        values.join(", ")
    ))?;
    rows.iter().next().map(|row| row.get(0)).transpose()
}

/// The server has no room for our locks. The hint tells the backup to hold fewer.
fn no_room(error: QueryError) -> Error {
    Error::from(error).context("locking for reading").hint(MORE_LOCKS)
}

fn changed(what: &str) -> Error {
    Error::failed(format!("{what} could not be read")).source(ChangedMeanwhile)
}

fn begin(connection: &mut Connection, snapshot: &str) -> Result<(), QueryError> {
    connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
    connection.execute(&format!("SET TRANSACTION SNAPSHOT {}", quote_literal(snapshot)))?;
    Ok(())
}

/// Whether a failed text COPY is worth trying in binary. The server reports a row beyond its
/// 1 GB limit as program_limit_exceeded, out_of_memory or an internal error (invalid memory
/// alloc request size), depending on where it notices; messages may be localised.
fn may_be_too_long(error: &QueryError) -> bool {
    matches!(error.code(), Some("54000" | "53200" | "XX000"))
}

/// Whether the statement could not even be planned. A range of pages takes a query, and planning
/// one looks into the table's index expressions; a function in them may need a `search_path` that
/// is not ours. `COPY` of the table itself plans nothing.
pub(super) fn is_planning_error(error: &QueryError) -> bool {
    error.code().is_some_and(|code| code.starts_with("42"))
}

/// The COPY statement of a chunk. Columns are always listed: generated ones are not part of COPY.
fn copy_statement(table: &ReadTable, pages: PageRange, format: CopyFormat) -> String {
    let name = quote_qualified(&table.schema, &table.name);
    let columns: Vec<String> = table.columns.iter().map(|column| quote_identifier(&column.name)).collect();
    let columns = columns.join(", ");
    let options = match format {
        CopyFormat::Text => "",
        CopyFormat::Binary => " (FORMAT binary)",
    };
    let condition = match pages {
        PageRange::ALL if table.condition.is_empty() => {
            let list = if columns.is_empty() { columns } else { format!(" ({columns})") };
            return format!("COPY {name}{list} TO STDOUT{options}");
        }
        PageRange::ALL => format!(" {}", table.condition),
        pages => page_condition(pages),
    };
    format!("COPY (SELECT {columns} FROM ONLY {name}{condition}) TO STDOUT{options}")
}

/// ` WHERE …` that limits a scan to the pages; empty for all of them.
pub(super) fn page_condition(pages: PageRange) -> String {
    if pages == PageRange::ALL {
        return String::new();
    }
    let PageRange { first, end } = pages;
    let mut bounds = format!(" WHERE ctid >= '({first},0)'::pg_catalog.tid");
    if let Some(end) = end {
        bounds.push_str(&format!(" AND ctid < '({end},0)'::pg_catalog.tid"));
    }
    bounds
}

/// Rows `(loid, position, data)` of pieces of large objects.
fn large_object_statement(pieces: &[Piece]) -> String {
    let values: Vec<String> = pieces
        .iter()
        .map(|Piece { oid, first, end }| format!("({oid}::pg_catalog.oid, {first}::int8, {end}::int8)"))
        .collect();
    format!(
        "COPY (SELECT p.oid, g.at, pg_catalog.lo_get(p.oid, g.at, \
         LEAST({LARGE_OBJECT_ROW_BYTES}, p.last - g.at)::int4) FROM (VALUES {}) p(oid, first, last) \
         CROSS JOIN LATERAL pg_catalog.generate_series(p.first, p.last - 1, {LARGE_OBJECT_ROW_BYTES}) g(at)) TO STDOUT",
        values.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ReadTable {
        let column = |name: &str| Column { name: name.into(), type_name: "text".into() };
        ReadTable {
            oid: 1,
            schema: "s".into(),
            name: "a\"b".into(),
            columns: vec![column("x"), column("Y z")],
            ..ReadTable::default()
        }
    }

    #[test]
    fn a_chunk_reads_its_pages_and_quotes_every_name() {
        assert_eq!(
            copy_statement(&table(), PageRange { first: 8, end: Some(16) }, CopyFormat::Text),
            "COPY (SELECT \"x\", \"Y z\" FROM ONLY \"s\".\"a\"\"b\" WHERE ctid >= '(8,0)'::pg_catalog.tid \
             AND ctid < '(16,0)'::pg_catalog.tid) TO STDOUT"
        );
        let last = copy_statement(&table(), PageRange { first: 8, end: None }, CopyFormat::Binary);
        assert!(last.ends_with("WHERE ctid >= '(8,0)'::pg_catalog.tid) TO STDOUT (FORMAT binary)"), "{last}");
    }

    #[test]
    fn a_whole_table_is_copied_without_a_query() {
        let statement = copy_statement(&table(), PageRange::ALL, CopyFormat::Text);
        assert_eq!(statement, "COPY \"s\".\"a\"\"b\" (\"x\", \"Y z\") TO STDOUT");
        let bare = ReadTable { columns: Vec::new(), ..table() };
        let statement = copy_statement(&bare, PageRange::ALL, CopyFormat::Binary);
        assert_eq!(statement, "COPY \"s\".\"a\"\"b\" TO STDOUT (FORMAT binary)");
    }

    #[test]
    fn a_configuration_table_is_read_by_its_condition() {
        let table = ReadTable { condition: "WHERE NOT builtin".into(), ..table() };
        let statement = copy_statement(&table, PageRange::ALL, CopyFormat::Text);
        assert!(statement.contains("FROM ONLY \"s\".\"a\"\"b\" WHERE NOT builtin)"), "{statement}");
    }
}

//! Which chunks of a backup a live database still has: the proof of [`super::reuse`], asked by those
//! who compare a backup with a database rather than make one.
//!
//! A backup locks first and takes its snapshot then. Whoever compares has the snapshot already. So each
//! table is locked when it is looked at, and what the lock holds must have the storage that the snapshot
//! shows ([`Comparison::look`]). Then nothing can have come between: the storage is that of the
//! backup, and a rewrite or TRUNCATE since then would have given the table another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::plan::PageRange;
use super::preflight;
use super::read_plan::PlannedTable;
use super::reader::{ReadTable, is_planning_error, page_condition, replaced};
use super::reuse::{Doubt, Earlier, Judged, Present, Question, Verdict, ask, rendering};
use super::scope::Scope;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::postgres::catalog::relations::{self, Relation};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::identifier::quote_qualified;
use crate::repository::format::manifest::{Chunk, Manifest, Source};

/// Chunks that one statement asks about.
const BATCH: usize = 32;

/// A backup compared with a live database.
pub(crate) struct Comparison {
    judged: Judged,
    source: Source,
}

/// What a live table still has of a backup.
#[derive(Debug)]
pub(crate) struct Unchanged {
    /// First pages of the chunks that are proven unchanged.
    chunks: BTreeSet<u32>,
    /// Rows in them.
    pub(crate) rows: u64,
    /// Conditions, each ` WHERE …` or empty for all pages, that together select the live table's other rows.
    pub(crate) rest: Vec<String>,
    /// Why nothing could be proven, where the server was not even asked.
    pub(crate) doubt: Option<String>,
}

impl Comparison {
    /// `connection` is in a transaction of one snapshot. `full_every`: for how long what the backup read is
    /// trusted.
    ///
    /// # Errors
    /// The server's.
    pub(crate) fn new(
        connection: &mut Connection,
        manifest: Arc<Manifest>,
        full_every: Duration,
    ) -> Result<Self> {
        let source = preflight::source(connection)?;
        let rows = connection.query(
            "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()), \
             pg_catalog.current_setting('fsync') = 'on', \
             (EXTRACT(epoch FROM pg_catalog.now()) * 1000000)::pg_catalog.int8",
        )?;
        let row = rows.only()?;
        let (next_transaction, fsync) = (row.get(0)?, row.get(1)?);
        let taken_at = Timestamp::from_microsecond(row.get(2)?)
            .map_err(|error| QueryError::Shape(format!("the server's clock: {error}")))?;
        let present = Present { source: &source, fsync, next_transaction, taken_at, full: false, full_every };
        let judged = Judged::new(vec![manifest], &present, None);
        Ok(Self { judged, source })
    }

    /// Locks the table, as the snapshot shows it, against being rewritten, and asks about every chunk that
    /// the backup has of it.
    ///
    /// # Errors
    /// The server's; interrupted. Where there is a doubt, the answer is that nothing is proven.
    pub(crate) fn look(
        &self,
        connection: &mut Connection,
        relation: &Relation,
        interrupt: &Interrupt,
    ) -> Result<Unchanged> {
        let columns = relations::columns(connection, &[relation.oid])?.remove(&relation.oid);
        let renderings = rendering::read(connection, &[relation.oid], &self.source)?;
        let mut table = PlannedTable::new(relation, columns.unwrap_or_default(), &Scope::default());
        table.note(&renderings);
        let columns = table.listed_columns();
        let (earlier, doubt) = table.judge(&self.judged, &columns);
        let trusted: Vec<&Earlier> = earlier.iter().filter(|earlier| earlier.trust.is_ok()).collect();
        if trusted.is_empty() {
            return Ok(Unchanged::nothing(&doubt));
        }
        let of = ReadTable {
            oid: relation.oid,
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            ..ReadTable::default()
        };
        if !holds_storage(connection, &of)? {
            return Ok(Unchanged::nothing(&Doubt::Rewritten));
        }
        let mut proven: Vec<&Earlier> = Vec::new();
        for batch in trusted.chunks(BATCH) {
            interrupt.check()?;
            let questions = batch.iter().filter_map(|earlier| question(&of, earlier));
            let questions: Vec<Question<'_>> = questions.collect();
            let Some(verdicts) = attempt(connection, |connection| ask(connection, &questions))? else {
                return Ok(Unchanged::nothing(&Doubt::NoAnswer));
            };
            let answered = batch.iter().zip(verdicts);
            proven.extend(answered.filter(|(_, verdict)| *verdict == Verdict::Unchanged).map(|(one, _)| one));
        }
        Ok(Unchanged::these(&proven))
    }
}

fn question<'t>(table: &'t ReadTable, earlier: &Earlier) -> Option<Question<'t>> {
    let since = *earlier.trust.as_ref().ok()?;
    Some(Question { table, pages: earlier.pages, since, rows: earlier.chunk.rows })
}

/// Locks the table and shows that what is locked is what the snapshot sees, with the same storage.
fn holds_storage(connection: &mut Connection, table: &ReadTable) -> Result<bool> {
    let name = quote_qualified(&table.schema, &table.name);
    let lock = format!("LOCK TABLE ONLY {name} IN ACCESS SHARE MODE");
    let locked = attempt(connection, |connection| connection.execute(&lock))?.is_some();
    Ok(locked && replaced(connection, &[table])?.is_none())
}

/// Runs a statement that may fail without harm to the transaction; `None` when the table is gone or
/// busy, or the statement cannot be planned.
fn attempt<T>(
    connection: &mut Connection,
    statement: impl FnOnce(&mut Connection) -> Result<T, QueryError>,
) -> Result<Option<T>> {
    connection.execute("SAVEPOINT pgstow_proof")?;
    match statement(connection) {
        Ok(done) => {
            connection.execute("RELEASE SAVEPOINT pgstow_proof")?;
            Ok(Some(done))
        }
        Err(error)
            if is_planning_error(&error) || matches!(error.code(), Some("3F000" | "53200" | "55P03")) =>
        {
            connection.execute("ROLLBACK TO SAVEPOINT pgstow_proof; RELEASE SAVEPOINT pgstow_proof")?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl Unchanged {
    /// Nothing is proven.
    fn nothing(doubt: &Doubt) -> Self {
        let why = match doubt {
            Doubt::Rewritten => "the table was truncated or rewritten since".to_owned(),
            Doubt::NewTable => "the backup's table of this name is another one".to_owned(),
            doubt if doubt.is_sentence() => doubt.to_string(),
            _ => "the server could not be asked".to_owned(),
        };
        Self { doubt: Some(why), ..Self::these(&[]) }
    }

    /// These chunks, in the order of pages and without overlap, are proven.
    fn these(proven: &[&Earlier]) -> Self {
        let pages: Vec<PageRange> = proven.iter().map(|earlier| earlier.pages).collect();
        Self {
            chunks: proven.iter().map(|earlier| earlier.chunk.first_page).collect(),
            rows: proven.iter().map(|earlier| earlier.chunk.rows).sum(),
            rest: others(&pages).into_iter().map(page_condition).collect(),
            doubt: None,
        }
    }

    /// Whether no chunk is.
    pub(crate) fn is_nothing(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether this chunk of the backup's table is proven unchanged.
    pub(crate) fn holds(&self, chunk: &Chunk) -> bool {
        self.chunks.contains(&chunk.first_page)
    }
}

/// All pages but these, which are in order and without overlap.
fn others(pages: &[PageRange]) -> Vec<PageRange> {
    let mut others = Vec::new();
    let mut next = 0;
    for range in pages {
        if range.first > next {
            others.push(PageRange { first: next, end: Some(range.first) });
        }
        match range.end {
            Some(end) => next = end,
            None => return others,
        }
    }
    others.push(PageRange { first: next, end: None });
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, end: Option<u32>) -> PageRange {
        PageRange { first, end }
    }

    #[test]
    fn the_rest_is_every_page_that_is_not_proven_and_all_that_follow() {
        let rest = |pages: &[PageRange]| others(pages);
        assert_eq!(rest(&[]), [PageRange::ALL]);
        assert_eq!(rest(&[range(0, Some(9))]), [range(9, None)]);
        assert_eq!(rest(&[range(0, Some(9)), range(9, Some(12))]), [range(12, None)]);
        let gaps = [range(3, Some(9)), range(12, Some(20))];
        assert_eq!(rest(&gaps), [range(0, Some(3)), range(9, Some(12)), range(20, None)]);
        assert_eq!(rest(&[range(5, None)]), [range(0, Some(5))]);
    }
}

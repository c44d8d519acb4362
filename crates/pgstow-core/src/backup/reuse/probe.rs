//! No newer row, same count: the one question that the server is asked for each chunk.
//!
//! It scans the heap's pages: no value is fetched from TOAST, no output function runs, and next to
//! nothing travels.

use super::earlier::Since;
use crate::backup::plan::PageRange;
use crate::backup::reader::{ReadTable, page_condition};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::identifier::quote_qualified;

/// What is asked about one range of pages.
#[derive(Debug, Clone, Copy)]
pub(in crate::backup) struct Question<'t> {
    pub(in crate::backup) table: &'t ReadTable,
    pub(in crate::backup) pages: PageRange,
    /// The earlier backup's snapshot.
    pub(in crate::backup) since: Since,
    /// Rows that the earlier backup read.
    pub(in crate::backup) rows: u64,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backup) enum Verdict {
    /// The visible rows are those that the earlier backup read.
    Unchanged,
    /// There are others, or it cannot be excluded.
    Changed,
}

/// Asks all questions in one statement, inside the snapshot; the verdicts in their order. The
/// tables are locked.
///
/// # Errors
/// The server's; the transaction has failed then.
pub(in crate::backup) fn ask(
    connection: &mut Connection,
    questions: &[Question<'_>],
) -> Result<Vec<Verdict>, QueryError> {
    let mut verdicts = vec![Verdict::Changed; questions.len()];
    if questions.is_empty() {
        return Ok(verdicts);
    }
    let rows = connection.query(&statement(questions))?;
    for row in rows.iter() {
        let (index, visible, newer): (u32, u64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let place = index as usize;
        if let (Some(verdict), Some(question)) = (verdicts.get_mut(place), questions.get(place)) {
            *verdict = judge(question.rows, visible, newer);
        }
    }
    Ok(verdicts)
}

fn judge(rows: u64, visible: u64, newer: u64) -> Verdict {
    if newer == 0 && visible == rows { Verdict::Unchanged } else { Verdict::Changed }
}

/// Counts the visible rows that may be newer than an earlier snapshot.
///
/// `age()` counts back from the transaction that was newest when it was first called in this
/// transaction, so after the snapshot was taken, in signed 32-bit arithmetic. A visible row is not
/// from the future. So a negative age is one of 2^31 and more, which is older than the earlier
/// snapshot, as fewer transactions lie between the two ([`super::history`]). A row from still longer
/// ago may look new: that costs reading it, never more. The age of the snapshot is a subquery, so
/// that it is computed once.
pub(super) fn newer(since: Since) -> String {
    format!(
        "pg_catalog.count(*) FILTER (WHERE pg_catalog.age(xmin) BETWEEN 0 \
         AND (SELECT pg_catalog.age('{}'::pg_catalog.xid)))",
        since.as_transaction_id()
    )
}

fn statement(questions: &[Question<'_>]) -> String {
    let parts = questions.iter().enumerate().map(|(index, question)| {
        let table = quote_qualified(&question.table.schema, &question.table.name);
        let condition = page_condition(question.pages);
        format!("SELECT {index}, pg_catalog.count(*), {} FROM ONLY {table}{condition}", newer(question.since))
    });
    parts.collect::<Vec<_>>().join(" UNION ALL ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_counts_without_a_newer_row_are_a_proof() {
        assert_eq!(judge(7, 7, 0), Verdict::Unchanged);
        assert_eq!(judge(0, 0, 0), Verdict::Unchanged);
        for (visible, newer) in [(6, 0), (8, 0), (7, 1), (8, 1)] {
            assert_eq!(judge(7, visible, newer), Verdict::Changed);
        }
    }

    #[test]
    fn a_question_names_the_table_its_pages_and_the_snapshots_32_bits() {
        let table = ReadTable { schema: "s".into(), name: "a\"b".into(), ..ReadTable::default() };
        let pages = PageRange { first: 8, end: Some(16) };
        let question = Question { table: &table, pages, since: Since((3 << 32) + 77), rows: 1 };
        let statement = statement(&[question, Question { pages: PageRange::ALL, ..question }]);
        let (first, second) = statement.split_once(" UNION ALL ").unwrap();
        assert!(first.contains("age('77'::pg_catalog.xid)"), "{first}");
        assert!(first.contains("FROM ONLY \"s\".\"a\"\"b\" WHERE ctid >= '(8,0)'"), "{first}");
        assert!(second.starts_with("SELECT 1, ") && second.ends_with("\"a\"\"b\""), "{second}");
    }
}

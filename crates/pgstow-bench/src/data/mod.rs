//! The data sets: how they are made and changed, by SQL alone and the same on every machine.

use pgstow_core::postgres::Connection;
use pgstow_core::postgres::error::QueryError;

const TABLES: &str = include_str!("tables.sql");
const ROWS: &str = include_str!("rows.sql");
const KEYS: &str = include_str!("keys.sql");
const MANY_TABLES: &str = include_str!("many_tables.sql");
const UPDATED_TOGETHER: &str = include_str!("updated_together.sql");
const UPDATED_SCATTERED: &str = include_str!("updated_scattered.sql");

/// Small tables beside the large ones of the main data set.
const SMALL_TABLES: u32 = 300;
/// Tables made in one transaction: each needs locks until its end.
const TABLES_AT_ONCE: u32 = 500;
/// Share of the rows that a change concerns.
const CHANGED_SHARE: f64 = 0.01;
/// Where in each table the first update in one place begins; each further one begins this much later.
const UPDATED_AT: f64 = 0.04;

/// What a source database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataSet {
    /// Narrow, wide and TOASTed tables, and some small ones.
    Main,
    /// Many small tables.
    Many,
}

/// What is done to a source database between two backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Appended,
    UpdatedTogether,
    UpdatedScattered,
}

/// Makes the main data set.
///
/// # Errors
/// The server's.
pub(crate) fn load_main(connection: &mut Connection, scale: f64) -> Result<(), QueryError> {
    connection.execute(&fill(TABLES, &[("small_tables", SMALL_TABLES.to_string())]))?;
    connection.execute(&rows(scale, 0.0, scale))?;
    connection.execute(KEYS)?;
    settle(connection)
}

/// Makes the data set of many tables.
///
/// # Errors
/// The server's.
pub(crate) fn load_many(connection: &mut Connection, tables: u32) -> Result<(), QueryError> {
    let mut first = 1;
    while first <= tables {
        let last = tables.min(first + TABLES_AT_ONCE - 1);
        connection
            .execute(&fill(MANY_TABLES, &[("first", first.to_string()), ("last", last.to_string())]))?;
        first = last + 1;
    }
    settle(connection)
}

/// Changes the main data set; `earlier` is how often the same has been done before.
///
/// # Errors
/// The server's.
pub(crate) fn apply(
    connection: &mut Connection,
    change: Change,
    scale: f64,
    earlier: u32,
) -> Result<(), QueryError> {
    connection.execute(&statements(change, scale, earlier)).map(drop)
}

fn statements(change: Change, scale: f64, earlier: u32) -> String {
    let earlier_times = f64::from(earlier);
    match change {
        Change::Appended => {
            let begin = scale * (1.0 + CHANGED_SHARE * earlier_times);
            rows(scale, begin, begin + scale * CHANGED_SHARE)
        }
        Change::UpdatedTogether => {
            let at = UPDATED_AT * (1.0 + earlier_times);
            fill(UPDATED_TOGETHER, &[("base", number(scale)), ("at", number(at))])
        }
        Change::UpdatedScattered => fill(UPDATED_SCATTERED, &[("offset", (earlier % 100).to_string())]),
    }
}

fn rows(base: f64, begin: f64, end: f64) -> String {
    fill(ROWS, &[("base", number(base)), ("begin", number(begin)), ("end", number(end))])
}

/// Nothing is left to be done by chance during a measurement: hint bits, visibility, statistics.
fn settle(connection: &mut Connection) -> Result<(), QueryError> {
    connection.execute("VACUUM ANALYZE").map(drop)
}

/// A share of the full size, as SQL.
fn number(share: f64) -> String {
    format!("{share:.6}")
}

fn fill(text: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_placeholder_is_left_open() {
        let texts = [
            rows(1.0, 0.0, 1.0),
            fill(TABLES, &[("small_tables", "3".to_owned())]),
            fill(MANY_TABLES, &[("first", "1".to_owned()), ("last", "2".to_owned())]),
            statements(Change::Appended, 0.02, 2),
            statements(Change::UpdatedTogether, 0.02, 2),
            statements(Change::UpdatedScattered, 0.02, 2),
        ];
        for text in texts {
            let open =
                text.lines().filter(|line| !line.starts_with("--")).any(|line| line.contains(['{', '}']));
            assert!(!open, "{text}");
        }
    }

    #[test]
    fn what_is_appended_begins_where_the_rows_before_end() {
        assert!(rows(0.5, 0.0, 0.5).contains("(6000000 * 0.500000::numeric)::bigint)"));
        assert!(statements(Change::Appended, 0.5, 0).contains("(6000000 * 0.500000::numeric)::bigint + 1"));
        assert!(statements(Change::Appended, 0.5, 0).contains("(6000000 * 0.505000::numeric)::bigint)"));
        assert!(statements(Change::Appended, 0.5, 1).contains("(6000000 * 0.505000::numeric)::bigint + 1"));
    }

    #[test]
    fn an_update_never_hits_the_rows_of_the_one_before() {
        assert_ne!(statements(Change::UpdatedTogether, 1.0, 0), statements(Change::UpdatedTogether, 1.0, 1));
        assert_ne!(
            statements(Change::UpdatedScattered, 1.0, 0),
            statements(Change::UpdatedScattered, 1.0, 1)
        );
    }
}

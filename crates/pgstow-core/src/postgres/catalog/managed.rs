//! What the tables of a platform hold of the user's, beside the rows themselves.

use super::relations::Column;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::identifier::{quote_identifier, quote_literal, quote_qualified};

/// Statements of one table that are read at most, and how long they are together at most.
const STATEMENTS: u32 = 10_000;
const STATEMENTS_BYTES: u32 = 16 << 20;

/// Rows of a table as statements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statements {
    /// INSERT statements, in the order of the table's `id`.
    pub lines: Vec<String>,
    /// Rows that the table has.
    pub rows: u64,
}

/// Which of these columns hold something other than NULL in at least one row.
///
/// # Errors
/// The server's.
pub fn filled(
    connection: &mut Connection,
    schema: &str,
    table: &str,
    columns: &[Column],
) -> Result<Vec<String>, QueryError> {
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let counts: Vec<String> = columns
        .iter()
        .map(|column| format!("pg_catalog.count({}) > 0", quote_identifier(&column.name)))
        .collect();
    let sql = format!("SELECT {} FROM ONLY {}", counts.join(", "), quote_qualified(schema, table));
    let rows = connection.query(&sql)?;
    let row = rows.only()?;
    let mut filled = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        if row.get::<bool>(place)? {
            filled.push(column.name.clone());
        }
    }
    Ok(filled)
}

/// The first rows of a table as INSERT statements with these columns: 10,000 at most, and 16 MiB.
///
/// # Errors
/// The server's.
pub fn statements(
    connection: &mut Connection,
    schema: &str,
    table: &str,
    columns: &[Column],
) -> Result<Statements, QueryError> {
    let name = quote_qualified(schema, table);
    let count = connection.query(&format!("SELECT pg_catalog.count(*) FROM ONLY {name}"))?;
    let rows = count.only()?.get(0)?;
    let names: Vec<String> = columns.iter().map(|column| quote_identifier(&column.name)).collect();
    let Some(first) = names.iter().find(|name| *name == "\"id\"").or_else(|| names.first()) else {
        return Ok(Statements { lines: Vec::new(), rows });
    };
    let values: Vec<String> =
        names.iter().map(|name| format!("pg_catalog.quote_nullable({name}::pg_catalog.text)")).collect();
    let sql = format!(
        "SELECT line FROM (
            SELECT {begin} || pg_catalog.concat_ws(', ', {values}) || ');' AS line,
                   pg_catalog.sum(pg_catalog.octet_length(pg_catalog.concat_ws(', ', {values})))
                       OVER (ORDER BY {first}) AS bytes
              FROM (SELECT * FROM ONLY {name} ORDER BY {first} LIMIT {STATEMENTS}) listed) measured
          WHERE bytes <= {STATEMENTS_BYTES} ORDER BY bytes",
        begin = quote_literal(&format!("INSERT INTO {name} ({}) VALUES (", names.join(", "))),
        values = values.join(", "),
    );
    let lines = connection.query(&sql)?.iter().map(|row| row.get(0)).collect::<Result<_, QueryError>>()?;
    Ok(Statements { lines, rows })
}

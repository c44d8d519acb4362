//! Tables of extensions whose rows a dump holds in part: those that meet a condition, which the extension
//! gives. The others come with the extension.

use crate::postgres::identifier::{quote_literal, quote_qualified};
use crate::postgres::{Connection, QueryError};
use crate::restore::selection::TableName;

/// Removes the rows that a dump holds from a table of an extension; how many stay. `None` for every other
/// table.
///
/// # Errors
/// The server's.
pub(super) fn clear(connection: &mut Connection, table: &TableName) -> Result<Option<u64>, QueryError> {
    let quoted = quote_qualified(&table.0, &table.1);
    let question = format!(
        "SELECT given.condition FROM pg_catalog.pg_extension e \
         CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) AS given(configured, condition) \
         WHERE given.configured = pg_catalog.to_regclass({})",
        quote_literal(&quoted)
    );
    let rows = connection.query(&question)?;
    let Some(row) = rows.iter().next() else { return Ok(None) };
    let condition: Option<String> = row.get(0)?;
    let condition = condition.unwrap_or_default();
    connection.execute(&format!("DELETE FROM ONLY {quoted} {condition}"))?;
    let kept = connection.query(&format!("SELECT pg_catalog.count(*) FROM ONLY {quoted}"))?;
    kept.only()?.get(0).map(Some)
}

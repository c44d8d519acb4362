//! Which tables of the target hold rows already: rows alone go into empty tables.

use super::selection::TableName;
use super::target::TargetState;
use crate::error::{Error, Result, and_more};
use crate::postgres::Connection;
use crate::postgres::identifier::display_name;

/// Tables asked about in one statement.
const BATCH: usize = 200;

/// Those of the tables that hold a row, as messages show them. With each table comes `FROM …`, which selects
/// its rows.
///
/// # Errors
/// The server's.
pub(super) fn filled(connection: &mut Connection, tables: &[(&TableName, String)]) -> Result<Vec<String>> {
    let mut filled = Vec::new();
    for batch in tables.chunks(BATCH) {
        let questions: Vec<String> = batch
            .iter()
            .enumerate()
            .map(|(index, (_, from))| format!("SELECT {index} WHERE EXISTS (SELECT {from})"))
            .collect();
        let rows = connection.query(&questions.join(" UNION ALL ")).map_err(Error::from)?;
        for row in rows.iter() {
            let index: u32 = row.get(0).map_err(Error::from)?;
            if let Some(((schema, name), _)) = batch.get(index as usize) {
                filled.push(display_name(schema, name));
            }
        }
    }
    Ok(filled)
}

/// Why rows are not loaded, if any table holds some; what to do about it is the caller's to say.
pub(super) fn refusal(filled: &[String], target: &TargetState) -> Option<Error> {
    let first = filled.first()?;
    let more = and_more(filled.len() - 1);
    let refusal = Error::refused(format!("table {first}{more} of {} holds rows", target.target));
    Some(refusal.why("rows are only loaded into empty tables"))
}

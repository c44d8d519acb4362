//! Positions of sequences. A sequence is not part of any snapshot: read its position after the
//! snapshot was taken, and it may be ahead of the rows, never behind.

use super::question::user_schema;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::identifier::quote_qualified;

/// Where a sequence stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// OID.
    pub oid: u32,
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// `last_value`.
    pub last_value: i64,
    /// `is_called`: the next value comes after `last_value`.
    pub is_called: bool,
}

/// Positions of all sequences that a backup carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions {
    /// Those that can be read, in the order of schema and name (by bytes).
    pub known: Vec<Position>,
    /// Schema and name of those this role or this server (an unlogged sequence on a standby) cannot
    /// read, in the same order.
    pub unreadable: Vec<(String, String)>,
}

/// Sequences asked for in one query: enough to make round trips cheap, few enough for a plan.
const BATCH: usize = 300;

/// Reads the positions of the user's sequences, those of identity columns included; of extensions'
/// sequences only those that hold configuration.
///
/// # Errors
/// The server's, also when a sequence is dropped meanwhile.
pub fn positions(connection: &mut Connection) -> Result<Positions, QueryError> {
    let mut positions = Positions::default();
    let mut readable: Vec<(u32, String, String)> = Vec::new();
    for row in connection.query(&list_query())?.iter() {
        let (oid, schema, name) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if row.get(3)? {
            readable.push((oid, schema, name));
        } else {
            positions.unreadable.push((schema, name));
        }
    }
    positions.unreadable.sort_unstable();
    readable.sort_unstable_by(|one, other| (&one.1, &one.2).cmp(&(&other.1, &other.2)));

    for batch in readable.chunks(BATCH) {
        read_batch(connection, batch, &mut positions.known)?;
    }
    Ok(positions)
}

fn read_batch(
    connection: &mut Connection,
    batch: &[(u32, String, String)],
    known: &mut Vec<Position>,
) -> Result<(), QueryError> {
    let selects: Vec<String> = batch
        .iter()
        .enumerate()
        .map(|(place, (_, schema, name))| {
            format!("SELECT {place}, last_value, is_called FROM {}", quote_qualified(schema, name))
        })
        .collect();
    for row in connection.query(&selects.join(" UNION ALL "))?.iter() {
        let place: u32 = row.get(0)?;
        let sequence = usize::try_from(place).ok().and_then(|place| batch.get(place));
        let Some((oid, schema, name)) = sequence else {
            return Err(QueryError::Shape(format!("no sequence was asked for at place {place}")));
        };
        known.push(Position {
            oid: *oid,
            schema: schema.clone(),
            name: name.clone(),
            last_value: row.get(1)?,
            is_called: row.get(2)?,
        });
    }
    Ok(())
}

fn list_query() -> String {
    format!(
        "SELECT c.oid, n.nspname, c.relname,
                coalesce(pg_catalog.has_sequence_privilege(c.oid, 'SELECT'), true)
                    AND coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), true)
                    AND NOT (c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery())
           FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_catalog.pg_depend link
                  ON link.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND link.objid = c.oid
                 AND link.objsubid = 0 AND link.deptype = 'e'
           LEFT JOIN pg_catalog.pg_extension e ON e.oid = link.refobjid
          WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {user}
            AND (e.oid IS NULL OR c.oid = ANY (e.extconfig))",
        user = user_schema("n"),
    )
}

//! Rows into tables that exist: emptied first or added to, and checked against the target's foreign
//! keys where those were silent while rows were loaded.

use std::collections::{BTreeMap, BTreeSet};

use super::ExistingRows;
use super::guards::{has_rows, load_target};
use super::journal::Journal;
use super::selection::TableName;
use super::session::{Session, describe};
use crate::error::{Error, Result};
use crate::postgres::QueryError;
use crate::postgres::identifier::{display_name, display_part, quote_literal, quote_qualified};
use crate::repository::format::manifest::{Manifest, TableData};

/// Violated keys that an error names.
const NAMED: usize = 5;

/// Tables whose rows are loaded, and the roots of their partition trees.
pub(super) fn filled(manifest: &Manifest) -> BTreeSet<TableName> {
    let tables = manifest.tables.iter().filter(|table| has_rows(table)).map(load_target);
    let roots = manifest.tables.iter().filter(|table| table.kind == 'p' && table.data == TableData::None);
    tables.chain(roots.map(|table| (table.schema.clone(), table.name.clone()))).collect()
}

/// The tables that are emptied before rows are loaded, but for those of extensions.
pub(super) fn emptied(manifest: &Manifest) -> BTreeSet<TableName> {
    let configuration = manifest
        .tables
        .iter()
        .filter(|table| matches!(table.data, TableData::Configuration { .. }))
        .map(load_target)
        .collect::<BTreeSet<_>>();
    filled(manifest).difference(&configuration).cloned().collect()
}

/// Makes room for rows of the backup; the number of rows in each table where they are added to.
///
/// # Errors
/// The server's.
pub(super) fn make_room(
    session: &mut Session,
    manifest: &Manifest,
    existing: ExistingRows,
) -> Result<Option<BTreeMap<TableName, u64>>> {
    match existing {
        ExistingRows::Refuse => Ok(None),
        ExistingRows::Truncate => empty(session, &emptied(manifest)).map(|()| None),
        ExistingRows::Append => hold_and_count(session, &filled(manifest)).map(Some),
    }
}

/// Empties the tables.
///
/// # Errors
/// The server's, such as a table that refers to them and came meanwhile.
fn empty(session: &mut Session, tables: &BTreeSet<TableName>) -> Result<()> {
    if tables.is_empty() {
        return Ok(());
    }
    let statement = format!("TRUNCATE TABLE {}", quoted(tables));
    session.unit(&statement).map_err(|error| {
        Error::failed("the tables could not be emptied")
            .why(describe(&error))
            .hint("tables that refer to them must be part of the restore, or hold no such foreign key")
    })
}

/// Keeps others from writing into the tables until the transaction ends, and counts their rows.
///
/// # Errors
/// The server's.
fn hold_and_count(session: &mut Session, tables: &BTreeSet<TableName>) -> Result<BTreeMap<TableName, u64>> {
    if tables.is_empty() {
        return Ok(BTreeMap::new());
    }
    let lock = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", quoted(tables));
    session.unit(&lock).map_err(|error| {
        Error::failed("the tables could not be locked against other writers").why(describe(&error))
    })?;
    let mut counts = BTreeMap::new();
    for (schema, name) in tables {
        session.interrupt.check()?;
        let question = format!("SELECT pg_catalog.count(*) FROM {}", quote_qualified(schema, name));
        let rows = session.connection.query(&question).map_err(Error::from)?;
        let count = rows.only().and_then(|row| row.get(0)).map_err(Error::from)?;
        counts.insert((schema.clone(), name.clone()), count);
    }
    Ok(counts)
}

fn quoted(tables: &BTreeSet<TableName>) -> String {
    let names: Vec<String> = tables.iter().map(|(schema, name)| quote_qualified(schema, name)).collect();
    names.join(", ")
}

/// A foreign key of a loaded table: its name, its table, and the query that counts rows that violate it.
struct Key {
    name: String,
    table: String,
    question: Option<String>,
}

/// Asks the target whether the rows of these tables satisfy its foreign keys, which were silent.
///
/// # Errors
/// Names the keys that are violated; the server's. What cannot be asked is a remark.
pub(super) fn check_keys(
    session: &mut Session,
    tables: &BTreeSet<TableName>,
    journal: &Journal,
) -> Result<()> {
    let mut violated = Vec::new();
    for key in keys(session, tables).map_err(Error::from)? {
        session.interrupt.check()?;
        let Key { name, table, question } = key;
        let Some(question) = question else {
            journal.remark(format!("foreign key {name} of table {table} was not checked against the rows"));
            continue;
        };
        let rows = session.connection.query(&question).map_err(Error::from)?;
        let count: u64 = rows.only().and_then(|row| row.get(0)).map_err(Error::from)?;
        if count > 0 {
            let rows = if count == 1 { "1 row".to_owned() } else { format!("{count} rows") };
            violated.push(format!("{rows} of table {table} violate foreign key {name}"));
        }
    }
    let Some(first) = violated.first() else { return Ok(()) };
    let mut error = Error::failed(first.clone());
    if violated.len() > 1 {
        let others: Vec<String> = violated.iter().skip(1).take(NAMED).cloned().collect();
        error = error.why(format!("and {}", others.join("; ")));
    }
    Err(error.hint("restore the tables that they refer to in the same run, or first"))
}

/// The enforced foreign keys of the tables, without those that the server derives for each partition of
/// the other side. Keys over periods are not asked about.
fn keys(session: &mut Session, tables: &BTreeSet<TableName>) -> std::result::Result<Vec<Key>, QueryError> {
    let list: Vec<String> = tables
        .iter()
        .map(|(schema, name)| format!("({}, {})", quote_literal(schema), quote_literal(name)))
        .collect();
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.connection.query(&format!(
        "SELECT k.conname, n.nspname, c.relname, \
           CASE WHEN NOT COALESCE((pg_catalog.to_jsonb(k)->>'conperiod')::pg_catalog.bool, false) THEN \
             pg_catalog.format('SELECT pg_catalog.count(*) FROM %s f WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s)', \
               k.conrelid::pg_catalog.regclass, \
               CASE WHEN k.confmatchtype = 'f' THEN 'NOT (' || pg_catalog.string_agg(pg_catalog.format('f.%I IS NULL', fa.attname), ' AND ') || ')' \
                 ELSE pg_catalog.string_agg(pg_catalog.format('f.%I IS NOT NULL', fa.attname), ' AND ') END, \
               k.confrelid::pg_catalog.regclass, \
               pg_catalog.string_agg(pg_catalog.format('p.%I OPERATOR(%I.%s) f.%I', pa.attname, opn.nspname, op.oprname, fa.attname), ' AND ')) END \
         FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), \
           pg_catalog.unnest(k.conpfeqop)) AS part(own, other, equal) \
         JOIN pg_catalog.pg_attribute fa ON fa.attrelid = k.conrelid AND fa.attnum = part.own \
         JOIN pg_catalog.pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = part.other \
         JOIN pg_catalog.pg_operator op ON op.oid = part.equal \
         JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace \
         WHERE k.contype = 'f' AND k.convalidated AND (n.nspname, c.relname) IN ({}) \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint whole WHERE whole.oid = k.conparentid AND whole.conrelid = k.conrelid) \
         GROUP BY k.oid, k.conname, k.conrelid, k.confrelid, k.confmatchtype, n.nspname, c.relname, k.* ORDER BY 2, 3, 1",
        list.join(", ")
    ))?;
    let key = |row: crate::postgres::rows::Row<'_>| {
        let (schema, table): (String, String) = (row.get(1)?, row.get(2)?);
        let name: String = row.get(0)?;
        Ok(Key { name: display_part(&name), table: display_name(&schema, &table), question: row.get(3)? })
    };
    rows.iter().map(key).collect()
}

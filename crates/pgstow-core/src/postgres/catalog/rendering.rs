//! What the server goes by when it turns the values of a table into bytes: the columns that COPY
//! moves, and every type that can be reached from them.
//!
//! Facts only, as the catalogs show them in the session's snapshot; what follows from them is for the
//! caller to say. Columns are protected by a lock on their table. Types are not: `ALTER TYPE` waits
//! for no reader of a table, and output functions read the current catalog, not the snapshot. So the
//! rows that describe types come with their `xmin`. It changes whenever a row is written and at no
//! other time, not by freezing either: a label that is renamed and named back leaves its mark.
//!
//! Needs no privilege beyond reading `pg_catalog`, and settings pinned for reading.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::question::oid_array;
use super::relations::MOVED_BY_COPY;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::rows::Row;

/// Columns of tables, and the types they lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// By the table's OID, for every table that was asked for: the columns that COPY moves, in their
    /// order, the same as [`super::relations::columns`] gives.
    pub tables: BTreeMap<u32, Vec<Column>>,
    /// Every type that can be reached from them.
    pub types: Types,
}

/// Types and the functions that write their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Types {
    /// By OID.
    pub types: BTreeMap<u32, Type>,
    /// Output and send functions of these types, by OID.
    pub functions: BTreeMap<u32, Function>,
}

/// A column of a table, or an attribute of a composite type, as far as it decides how its values
/// are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Column {
    /// `attnum`.
    pub number: i16,
    /// Name, unquoted.
    pub name: String,
    /// `atttypid`; 0 for a dropped attribute.
    pub type_oid: u32,
    /// `atttypmod`.
    pub modifier: i32,
    /// `atthasmissing`: rows older than the column show `missing`.
    pub has_missing: bool,
    /// `attmissingval`, an array of one value, as the hexadecimal bytes of its text: a database of
    /// encoding SQL_ASCII may hold what is no text.
    pub missing: Option<String>,
}

/// A row of `pg_type` and what hangs on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Type {
    /// OID.
    pub oid: u32,
    /// `xmin` of the row of `pg_type`, of a base type: its send function can be replaced. Nothing that
    /// the values of other types are written by can be changed in that row, but owner and privileges
    /// are there too.
    pub xmin: Option<u32>,
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// `typtype`: `b`ase, `c`omposite, `d`omain, `e`num, `r`ange, `m`ultirange or `p`seudo.
    pub kind: char,
    /// `typelem`, 0 where there is none. Not only arrays have one.
    pub element: u32,
    /// `typbasetype` of a domain, or 0.
    pub base: u32,
    /// `typtypmod` of a domain, else -1.
    pub base_modifier: i32,
    /// `typdelim`, between the elements of an array of this type.
    pub delimiter: String,
    /// `typoutput`.
    pub output: u32,
    /// `typsend`; 0 where the type has no binary form.
    pub send: u32,
    /// The extension it is a member of.
    pub extension: Option<Extension>,
    /// Labels of an enum, in the order of their OIDs.
    pub labels: Vec<Label>,
    /// Attributes of a composite type, dropped ones too, in the order of their numbers.
    pub attributes: Vec<Attribute>,
    /// What a range or multirange is made of.
    pub range: Option<Range>,
}

/// An extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Extension {
    /// Name.
    pub name: String,
    /// `extversion`.
    pub version: String,
    /// `xmin` of the row of `pg_extension`.
    pub xmin: u32,
}

/// A row of `pg_enum`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Label {
    /// OID: what the table's rows hold.
    pub oid: u32,
    /// `enumlabel`, as hexadecimal bytes.
    pub label: String,
    /// `xmin` of the row.
    pub xmin: u32,
}

/// An attribute of a composite type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// What it is.
    pub column: Column,
    /// `attisdropped`.
    pub dropped: bool,
    /// `xmin` of the row of `pg_attribute`.
    pub xmin: u32,
}

/// A row of `pg_range`, seen from the range or from the multirange.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The subtype of a range; the range of a multirange.
    pub of: u32,
    /// `xmin` of the row.
    pub xmin: u32,
}

/// A row of `pg_proc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Function {
    /// OID.
    pub oid: u32,
    /// `xmin` of the row.
    pub xmin: u32,
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// Language, such as `internal` or `c`.
    pub language: String,
    /// `prosrc`: the name in the program or in the library.
    pub source: String,
    /// `probin`: the library.
    pub library: Option<String>,
    /// Name of the extension it is a member of.
    pub extension: Option<String>,
}

/// Which version of a row of `pg_attribute` there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ColumnVersion {
    /// OID of the table.
    pub table: u32,
    /// `attnum`.
    pub number: i16,
    /// `xmin` of the row.
    pub xmin: u32,
}

/// Reads the columns of the given tables, and the types that they lead to.
///
/// # Errors
/// The server's.
pub fn facts(connection: &mut Connection, tables: &[u32]) -> Result<Facts, QueryError> {
    let tables = columns(connection, tables)?;
    let roots: BTreeSet<u32> = tables.values().flatten().map(|column| column.type_oid).collect();
    let types = types(connection, &roots.into_iter().collect::<Vec<u32>>())?;
    Ok(Facts { tables, types })
}

/// Reads the given types and every type that can be reached from them: the element of an array, the
/// base of a domain, the attributes of a composite type, the subtype of a range, the range of a
/// multirange.
///
/// # Errors
/// The server's.
pub fn types(connection: &mut Connection, roots: &[u32]) -> Result<Types, QueryError> {
    if roots.is_empty() {
        return Ok(Types::default());
    }
    let mut types = BTreeMap::new();
    for row in connection.query_with(&types_query(connection), &[Some(&oid_array(roots))])?.iter() {
        let extension = match row.get::<Option<String>>(11)? {
            Some(name) => Some(Extension { name, version: row.get(12)?, xmin: row.get(13)? }),
            None => None,
        };
        let range = match row.get::<Option<u32>>(14)? {
            Some(of) => Some(Range { of, xmin: row.get(15)? }),
            None => None,
        };
        let found = Type {
            oid: row.get(0)?,
            xmin: row.get(1)?,
            schema: row.get(2)?,
            name: row.get(3)?,
            kind: row.get(4)?,
            element: row.get(5)?,
            base: row.get(6)?,
            base_modifier: row.get(7)?,
            delimiter: row.get(8)?,
            output: row.get(9)?,
            send: row.get(10)?,
            extension,
            labels: Vec::new(),
            attributes: Vec::new(),
            range,
        };
        types.insert(found.oid, found);
    }
    labels(connection, &mut types)?;
    attributes(connection, &mut types)?;
    let functions = functions(connection, &types)?;
    Ok(Types { types, functions })
}

/// Reads which versions of their rows in `pg_attribute` the given tables have, dropped and generated
/// columns too, in the order of table and number. Every change of a column shows, also one that does
/// not matter to how it is written.
///
/// # Errors
/// The server's.
pub fn column_versions(
    connection: &mut Connection,
    tables: &[u32],
) -> Result<Vec<ColumnVersion>, QueryError> {
    let rows = connection.query_with(
        "SELECT a.attrelid, a.attnum, a.xmin FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0
          ORDER BY a.attrelid, a.attnum",
        &[Some(&oid_array(tables))],
    )?;
    rows.iter()
        .map(|row| Ok(ColumnVersion { table: row.get(0)?, number: row.get(1)?, xmin: row.get(2)? }))
        .collect()
}

fn columns(connection: &mut Connection, tables: &[u32]) -> Result<BTreeMap<u32, Vec<Column>>, QueryError> {
    let mut columns: BTreeMap<u32, Vec<Column>> = tables.iter().map(|oid| (*oid, Vec::new())).collect();
    let rows = connection.query_with(
        &format!(
            "SELECT a.attrelid, {COLUMN}
               FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND {MOVED_BY_COPY}
              ORDER BY a.attrelid, a.attnum"
        ),
        &[Some(&oid_array(tables))],
    )?;
    for row in rows.iter() {
        columns.entry(row.get(0)?).or_default().push(column(&row)?);
    }
    Ok(columns)
}

/// What [`column`] reads, of a row `a` of `pg_attribute`.
const COLUMN: &str = "a.attnum, a.attname, a.atttypid, a.atttypmod, a.atthasmissing,
    pg_catalog.encode(pg_catalog.textsend(a.attmissingval::pg_catalog.text), 'hex')";

/// From the cells after the first.
fn column(row: &Row<'_>) -> Result<Column, QueryError> {
    Ok(Column {
        number: row.get(1)?,
        name: row.get(2)?,
        type_oid: row.get(3)?,
        modifier: row.get(4)?,
        has_missing: row.get(5)?,
        missing: row.get(6)?,
    })
}

/// UNION keeps each type once, so the recursion ends whatever refers to what. OFFSET 0 keeps the
/// planner from a join: it expects a hundred times more types than there are, and would go through all
/// of `pg_type` in every round.
fn types_query(connection: &Connection) -> String {
    // Multiranges came with 14.
    let (multirange_step, multirange_row) = if connection.server_version_num() >= 140_000 {
        (
            "UNION ALL SELECT g.rngtypid FROM pg_catalog.pg_range g
              WHERE t.typtype = 'm' AND g.rngmultitypid = t.oid",
            "LEFT JOIN pg_catalog.pg_range multi ON t.typtype = 'm' AND multi.rngmultitypid = t.oid",
        )
    } else {
        ("", "LEFT JOIN pg_catalog.pg_range multi ON false")
    };
    format!(
        "WITH RECURSIVE reached(oid) AS (
            SELECT root FROM pg_catalog.unnest($1::pg_catalog.oid[]) root
            UNION
            SELECT step.oid FROM reached
             CROSS JOIN LATERAL (SELECT * FROM pg_catalog.pg_type WHERE oid = reached.oid OFFSET 0) t
             CROSS JOIN LATERAL (
                 SELECT t.typelem WHERE t.typelem <> 0
                 UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
                 UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
                  WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
                 UNION ALL SELECT g.rngsubtype FROM pg_catalog.pg_range g
                  WHERE t.typtype = 'r' AND g.rngtypid = t.oid
                 {multirange_step}) step(oid))
         SELECT t.oid, CASE WHEN t.typtype = 'b' AND t.typelem = 0 THEN t.xmin END, n.nspname, t.typname, t.typtype, t.typelem, t.typbasetype, t.typtypmod,
                t.typdelim, t.typoutput::pg_catalog.oid, t.typsend::pg_catalog.oid,
                e.extname, e.extversion, e.xmin,
                coalesce(g.rngsubtype, multi.rngtypid), coalesce(g.xmin, multi.xmin)
           FROM reached
           JOIN pg_catalog.pg_type t ON t.oid = reached.oid
           JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
           LEFT JOIN pg_catalog.pg_range g ON t.typtype = 'r' AND g.rngtypid = t.oid
           {multirange_row}
           LEFT JOIN pg_catalog.pg_depend link
                  ON link.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND link.objid = t.oid
                 AND link.objsubid = 0 AND link.deptype = 'e'
           LEFT JOIN pg_catalog.pg_extension e ON e.oid = link.refobjid"
    )
}

fn of_kind(types: &BTreeMap<u32, Type>, kind: char) -> Vec<u32> {
    types.values().filter(|found| found.kind == kind).map(|found| found.oid).collect()
}

fn labels(connection: &mut Connection, types: &mut BTreeMap<u32, Type>) -> Result<(), QueryError> {
    let enums = of_kind(types, 'e');
    if enums.is_empty() {
        return Ok(());
    }
    let rows = connection.query_with(
        "SELECT l.enumtypid, l.oid,
                pg_catalog.encode(pg_catalog.textsend(l.enumlabel::pg_catalog.text), 'hex'), l.xmin
           FROM pg_catalog.pg_enum l
          WHERE l.enumtypid = ANY ($1::pg_catalog.oid[]) ORDER BY l.oid",
        &[Some(&oid_array(&enums))],
    )?;
    for row in rows.iter() {
        if let Some(owner) = types.get_mut(&row.get(0)?) {
            owner.labels.push(Label { oid: row.get(1)?, label: row.get(2)?, xmin: row.get(3)? });
        }
    }
    Ok(())
}

fn attributes(connection: &mut Connection, types: &mut BTreeMap<u32, Type>) -> Result<(), QueryError> {
    let composites = of_kind(types, 'c');
    if composites.is_empty() {
        return Ok(());
    }
    let rows = connection.query_with(
        &format!(
            "SELECT t.oid, {COLUMN}, a.attisdropped, a.xmin
               FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid
              WHERE t.oid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0 ORDER BY t.oid, a.attnum"
        ),
        &[Some(&oid_array(&composites))],
    )?;
    for row in rows.iter() {
        let column = column(&row)?;
        if let Some(owner) = types.get_mut(&row.get(0)?) {
            owner.attributes.push(Attribute { column, dropped: row.get(7)?, xmin: row.get(8)? });
        }
    }
    Ok(())
}

fn functions(
    connection: &mut Connection,
    types: &BTreeMap<u32, Type>,
) -> Result<BTreeMap<u32, Function>, QueryError> {
    let oids: BTreeSet<u32> =
        types.values().flat_map(|found| [found.output, found.send]).filter(|oid| *oid != 0).collect();
    let rows = connection.query_with(
        "SELECT p.oid, p.xmin, n.nspname, p.proname, l.lanname, p.prosrc, p.probin, e.extname
           FROM pg_catalog.pg_proc p
           JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
           JOIN pg_catalog.pg_language l ON l.oid = p.prolang
           LEFT JOIN pg_catalog.pg_depend link
                  ON link.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND link.objid = p.oid
                 AND link.objsubid = 0 AND link.deptype = 'e'
           LEFT JOIN pg_catalog.pg_extension e ON e.oid = link.refobjid
          WHERE p.oid = ANY ($1::pg_catalog.oid[])",
        &[Some(&oid_array(&oids.into_iter().collect::<Vec<u32>>()))],
    )?;
    let mut functions = BTreeMap::new();
    for row in rows.iter() {
        let found = Function {
            oid: row.get(0)?,
            xmin: row.get(1)?,
            schema: row.get(2)?,
            name: row.get(3)?,
            language: row.get(4)?,
            source: row.get(5)?,
            library: row.get(6)?,
            extension: row.get(7)?,
        };
        functions.insert(found.oid, found);
    }
    Ok(functions)
}

//! A live table that gets rows back: its columns, the key, what acts on an INSERT, what its rows refer
//! to. Read from the server, nothing changed.

use std::collections::BTreeMap;

use super::super::selection::TableName;
use crate::error::{Error, Result};
use crate::postgres::identifier::{display_name, quote_identifier, quote_literal, quote_qualified};
use crate::postgres::{Connection, QueryError};

/// A live table.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) name: TableName,
    /// The root of a partition tree.
    pub(super) partitioned: bool,
    /// Row-level security holds for this role.
    pub(super) row_security: bool,
    /// Columns, unquoted, each with whether the table computes it and whether it needs a value.
    pub(super) columns: BTreeMap<String, Column>,
    pub(super) keys: Vec<Key>,
    pub(super) references: Vec<Reference>,
    /// Triggers and rules for INSERT.
    pub(super) actions: Vec<Action>,
    /// A unique or exclusion constraint is deferrable: triggers of the server keep it.
    pub(super) deferrable: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) generated: bool,
    pub(super) required: bool,
}

/// A unique index without conditions and expressions.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) index: String,
    pub(super) primary: bool,
    /// None of its columns can be NULL.
    pub(super) not_null: bool,
    /// NULLs count as equal.
    pub(super) nulls_equal: bool,
    /// Columns with the operator that says which values are equal.
    pub(super) columns: Vec<(String, String)>,
}

/// A foreign key.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) constraint: String,
    pub(super) parent: TableName,
    /// Own column, the parent's column, and the operator between parent's and own.
    pub(super) columns: Vec<(String, String, String)>,
    /// MATCH FULL: all or none of the columns are NULL.
    pub(super) full: bool,
    /// It compares periods.
    pub(super) temporal: bool,
}

/// A trigger or rule.
#[derive(Debug, Clone)]
pub(super) struct Action {
    /// Such as `trigger audit of public.orders`.
    pub(super) what: String,
    /// `pg_trigger.tgenabled`, `pg_rewrite.ev_enabled`: `O`, `A` or `R`.
    pub(super) enabled: char,
}

/// A destination with the rows that wait for it.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) destination: Destination,
    pub(super) key: Key,
    /// Quoted name of the temporary table.
    pub(super) stage: String,
    /// Columns of the temporary table, unquoted.
    pub(super) staged: Vec<String>,
    pub(super) backup_rows: u64,
    pub(super) missing: u64,
}

impl Destination {
    /// `"schema"."name"`.
    pub(super) fn quoted(&self) -> String {
        quote_qualified(&self.name.0, &self.name.1)
    }

    /// For `FROM`: without the tables that inherit from it, but with partitions.
    pub(super) fn from(&self) -> String {
        let only = if self.partitioned { "" } else { "ONLY " };
        format!("{only}{}", self.quoted())
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        display_name(&self.name.0, &self.name.1)
    }
}

impl Key {
    /// Condition: the rows `r` and `s` have the same key.
    pub(super) fn same(&self) -> String {
        let equal = |(column, operator): &(String, String)| {
            let column = quote_identifier(column);
            let equal = format!("r.{column} {operator} s.{column}");
            if self.nulls_equal {
                format!("({equal} OR r.{column} IS NULL AND s.{column} IS NULL)")
            } else {
                equal
            }
        };
        self.columns.iter().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Work {
    /// Condition on the row `s` of the temporary table: the table has its key.
    pub(super) fn is_there(&self) -> String {
        format!("EXISTS (SELECT FROM {} r WHERE {})", self.destination.from(), self.key.same())
    }
}

/// Looks at a table.
///
/// # Errors
/// The server's; refused: there is no such table.
pub(super) fn read(connection: &mut Connection, name: &TableName) -> Result<Option<Destination>> {
    let class = quote_literal(&quote_qualified(&name.0, &name.1));
    let rows = connection.query(&format!(
        "SELECT c.oid, c.relkind = 'p', pg_catalog.row_security_active(c.oid) \
         FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass({class}) AND c.relkind IN ('r', 'p')"
    ))?;
    let Some(row) = rows.iter().next() else { return Ok(None) };
    let oid: u32 = row.get(0)?;
    let mut destination = Destination {
        name: name.clone(),
        partitioned: row.get(1)?,
        row_security: row.get(2)?,
        columns: BTreeMap::new(),
        keys: Vec::new(),
        references: Vec::new(),
        actions: Vec::new(),
        deferrable: None,
    };
    destination.columns = columns(connection, oid)?;
    destination.keys = keys(connection, oid)?;
    destination.references = references(connection, oid)?;
    destination.actions = actions(connection, oid)?;
    let deferrable = connection.query(&format!(
        "SELECT conname FROM pg_catalog.pg_constraint \
         WHERE conrelid = {oid} AND contype IN ('p', 'u', 'x') AND condeferrable ORDER BY conname LIMIT 1"
    ))?;
    destination.deferrable = deferrable.iter().next().map(|row| row.get(0)).transpose()?;
    Ok(Some(destination))
}

fn columns(connection: &mut Connection, oid: u32) -> Result<BTreeMap<String, Column>, QueryError> {
    let rows = connection.query(&format!(
        "SELECT attname, attgenerated <> '', attnotnull AND NOT atthasdef AND attidentity = '' \
         FROM pg_catalog.pg_attribute WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped"
    ))?;
    rows.iter()
        .map(|row| Ok((row.get(0)?, Column { generated: row.get(1)?, required: row.get(2)? })))
        .collect()
}

/// Only what arbitrates at once and always; of an index on a partitioned table, one that is whole.
fn keys(connection: &mut Connection, oid: u32) -> Result<Vec<Key>, QueryError> {
    let nulls_equal =
        if connection.server_version_num() >= 150_000 { "i.indnullsnotdistinct" } else { "false" };
    let rows = connection.query(&format!(
        "SELECT ic.relname, i.indisprimary, {nulls_equal}, a.attname, a.attnotnull, \
                pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) \
           FROM pg_catalog.pg_index i \
           JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid \
          CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(i.indkey::pg_catalog.int2[]), \
                pg_catalog.unnest(i.indclass::pg_catalog.oid[])) WITH ORDINALITY part(number, class, place) \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = part.number \
           JOIN pg_catalog.pg_opclass c ON c.oid = part.class \
           JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype \
                AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3 \
           JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr \
           JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace \
          WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indpred IS NULL \
            AND i.indexprs IS NULL AND ic.relam = (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'btree') \
            AND part.place <= i.indnkeyatts \
          ORDER BY NOT i.indisprimary, ic.relname, part.place"
    ))?;
    let mut keys: Vec<Key> = Vec::new();
    for row in rows.iter() {
        let index: String = row.get(0)?;
        if keys.last().is_none_or(|key| key.index != index) {
            keys.push(Key {
                index,
                primary: row.get(1)?,
                not_null: true,
                nulls_equal: row.get(2)?,
                columns: Vec::new(),
            });
        }
        if let Some(key) = keys.last_mut() {
            key.not_null &= row.get::<bool>(4)?;
            key.columns.push((row.get(3)?, row.get(5)?));
        }
    }
    Ok(keys)
}

fn references(connection: &mut Connection, oid: u32) -> Result<Vec<Reference>, QueryError> {
    let rows = connection.query(&format!(
        "SELECT k.conname, pn.nspname, p.relname, k.confmatchtype = 'f', own.attname, theirs.attname, \
                pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname), \
                pg_catalog.pg_get_constraintdef(k.oid) LIKE '%, PERIOD %', \
                pg_catalog.pg_get_constraintdef(k.oid) LIKE '% NOT ENFORCED%' \
           FROM pg_catalog.pg_constraint k \
           JOIN pg_catalog.pg_class p ON p.oid = k.confrelid \
           JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
          CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), \
                pg_catalog.unnest(k.conpfeqop)) WITH ORDINALITY part(own, theirs, operator, place) \
           JOIN pg_catalog.pg_attribute own ON own.attrelid = k.conrelid AND own.attnum = part.own \
           JOIN pg_catalog.pg_attribute theirs ON theirs.attrelid = k.confrelid AND theirs.attnum = part.theirs \
           JOIN pg_catalog.pg_operator o ON o.oid = part.operator \
           JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace \
          WHERE k.conrelid = {oid} AND k.contype = 'f' ORDER BY k.conname, k.oid, part.place"
    ))?;
    let mut references: Vec<Reference> = Vec::new();
    for row in rows.iter() {
        if row.get(8)? {
            continue;
        }
        let (constraint, parent) = (row.get::<String>(0)?, (row.get(1)?, row.get(2)?));
        if references.last().is_none_or(|last| last.constraint != constraint || last.parent != parent) {
            let (full, temporal) = (row.get(3)?, row.get(7)?);
            references.push(Reference { constraint, parent, columns: Vec::new(), full, temporal });
        }
        if let Some(last) = references.last_mut() {
            last.columns.push((row.get(4)?, row.get(5)?, row.get(6)?));
        }
    }
    Ok(references)
}

/// Of a partitioned table also those of its partitions.
fn actions(connection: &mut Connection, oid: u32) -> Result<Vec<Action>, QueryError> {
    let rows = connection.query(&format!(
        "WITH RECURSIVE tree(oid) AS ( \
             SELECT {oid}::pg_catalog.oid UNION ALL \
             SELECT link.inhrelid FROM pg_catalog.pg_inherits link JOIN tree ON tree.oid = link.inhparent \
               JOIN pg_catalog.pg_class child ON child.oid = link.inhrelid AND child.relispartition) \
         SELECT 'trigger', t.tgname, n.nspname, c.relname, t.tgenabled \
           FROM tree JOIN pg_catalog.pg_trigger t ON t.tgrelid = tree.oid \
           JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE NOT t.tgisinternal AND t.tgtype & 4 <> 0 AND t.tgenabled <> 'D' \
         UNION ALL \
         SELECT 'rule', w.rulename, n.nspname, c.relname, w.ev_enabled \
           FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class c ON c.oid = w.ev_class \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE w.ev_class = {oid} AND w.ev_type = '3' AND w.ev_enabled <> 'D' ORDER BY 3, 4, 2"
    ))?;
    let action = |row: crate::postgres::rows::Row<'_>| -> Result<Action, QueryError> {
        let (kind, name): (&str, String) = (row.get(0)?, row.get(1)?);
        let table = display_name(row.get(2)?, row.get(3)?);
        let name = crate::postgres::identifier::display_part(&name);
        Ok(Action { what: format!("{kind} {name} of {table}"), enabled: row.get(4)? })
    };
    rows.iter().map(action).collect()
}

/// The key to tell rows apart by: the primary key, or the unique index of the columns asked for.
///
/// # Errors
/// Refused, with the choice.
pub(super) fn choose_key(destination: &Destination, asked: &[String]) -> Result<Key> {
    let shown = destination.shown();
    let usable: Vec<&Key> = destination.keys.iter().filter(|key| key.not_null).collect();
    let choices = |mut error: Error| {
        for key in usable.iter().filter(|key| !key.primary) {
            error = error.hint(format!(
                "--key {} tells its rows apart, by index {}",
                key.names().join(","),
                key.index
            ));
        }
        error
    };
    if asked.is_empty() {
        return usable.iter().find(|key| key.primary).map(|key| (*key).clone()).ok_or_else(|| {
            choices(
                Error::refused(format!("table {shown} has no primary key"))
                    .why("without one, nothing tells which of its rows are gone"),
            )
            .hint("--key COLUMN,… names the columns of a unique index, none of which can be NULL")
        });
    }
    let mut wanted = asked.to_vec();
    wanted.sort();
    let found = usable.iter().find(|key| {
        let mut names = key.names();
        names.sort();
        names == wanted
    });
    found.map(|key| (*key).clone()).ok_or_else(|| {
        choices(
            Error::refused(format!("table {shown} has no unique index of {}", asked.join(", "))).why(
                "two rows could have the same key, or a NULL in it, and nothing would tell which is gone",
            ),
        )
    })
}

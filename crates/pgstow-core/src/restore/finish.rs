//! What follows the rows: positions of sequences, materialized views, statistics.

use std::collections::{BTreeMap, BTreeSet};

use super::journal::Journal;
use super::selection::TableName;
use super::session::{Session, describe, is_fatal};
use crate::error::{Error, Result};
use crate::monitor::{Event, Monitor};
use crate::postgres::identifier::{display_name, quote_literal, quote_qualified};
use crate::postgres::{Connection, QueryError};
use crate::repository::format::manifest::Sequence;

/// Sets the positions of the sequences that exist at the target; with `ahead` only those that are
/// behind.
///
/// # Errors
/// Atomic: any failure. Otherwise what ends the restore.
pub(super) fn sequences(
    session: &mut Session,
    sequences: &[Sequence],
    ahead: bool,
    journal: &Journal,
) -> Result<()> {
    let existing = relations(&mut session.connection, "S")?;
    let present: Vec<&Sequence> = sequences
        .iter()
        .filter(|sequence| existing.contains(&(sequence.schema.clone(), sequence.name.clone())))
        .collect();
    let atomic = session.atomic;
    let statement = |sequence: &&Sequence| {
        let qualified = quote_qualified(&sequence.schema, &sequence.name);
        let name = quote_literal(&qualified);
        let (value, called) = (sequence.last_value, sequence.is_called);
        let set = format!("SELECT pg_catalog.setval({name}, {value}, {called})");
        if !ahead {
            return set;
        }
        format!(
            "{set} FROM {qualified} s JOIN pg_catalog.pg_sequence q ON q.seqrelid = {name}::pg_catalog.regclass \
             WHERE (s.last_value::pg_catalog.numeric * pg_catalog.sign(q.seqincrement), s.is_called) \
               < ({value}::pg_catalog.numeric * pg_catalog.sign(q.seqincrement), {called})"
        )
    };
    session.each(&present, statement, |_, sequence, error| {
        let shown = display_name(&sequence.schema, &sequence.name);
        let text = format!("the position of sequence {shown} could not be set");
        if atomic {
            return Err(Error::failed(text).why(describe(error)));
        }
        journal.problem(format!("{text}: {}", describe(error)));
        Ok(())
    })
}

/// Relations of the given kinds (`pg_class.relkind`) by schema and name.
///
/// # Errors
/// The server's.
pub(super) fn relations(connection: &mut Connection, kinds: &str) -> Result<BTreeSet<TableName>, QueryError> {
    let rows = connection.query(&format!(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE pg_catalog.strpos({}, c.relkind::pg_catalog.text) > 0",
        quote_literal(kinds)
    ))?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Sequences that belong to columns of the tables.
///
/// # Errors
/// The server's.
pub(super) fn sequences_of(
    connection: &mut Connection,
    tables: &BTreeSet<TableName>,
) -> Result<BTreeSet<TableName>, QueryError> {
    let rows = connection.query(
        "SELECT n.nspname, c.relname, tn.nspname, t.relname FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid \
           AND d.refclassid = d.classid AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 \
         JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
         WHERE c.relkind = 'S'",
    )?;
    let mut found = BTreeSet::new();
    for row in rows.iter() {
        if tables.contains(&(row.get(2)?, row.get(3)?)) {
            found.insert((row.get(0)?, row.get(1)?));
        }
    }
    Ok(found)
}

/// Fills the materialized views that held rows in the backup, each after those it reads.
///
/// # Errors
/// Atomic: any failure. Otherwise what ends the restore.
pub(super) fn materialized_views(
    session: &mut Session,
    populated: &BTreeSet<TableName>,
    journal: &Journal,
    monitor: &dyn Monitor,
) -> Result<()> {
    let reads = view_dependencies(&mut session.connection)?;
    let existing = relations(&mut session.connection, "m")?;
    let order: Vec<TableName> =
        refresh_order(&existing, &reads).into_iter().filter(|view| populated.contains(view)).collect();
    for (done, (schema, name)) in order.iter().enumerate() {
        session.interrupt.check()?;
        let shown = display_name(schema, name);
        let statement = format!("REFRESH MATERIALIZED VIEW {}", quote_qualified(schema, name));
        if let Err(error) = session.unit(&statement) {
            let text = format!("materialized view {shown} could not be refreshed");
            if session.atomic || is_fatal(&error) {
                return Err(Error::failed(text).why(describe(&error)));
            }
            journal.problem(format!("{text}: {}", describe(&error)));
        }
        monitor.event(Event::Steps { done: done + 1, total: order.len(), name: &shown });
    }
    Ok(())
}

/// What each view or materialized view reads directly.
fn view_dependencies(
    connection: &mut Connection,
) -> Result<BTreeMap<TableName, BTreeSet<TableName>>, QueryError> {
    let rows = connection.query(
        "SELECT DISTINCT n.nspname, c.relname, rn.nspname, rc.relname FROM pg_catalog.pg_rewrite r \
         JOIN pg_catalog.pg_class c ON c.oid = r.ev_class JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid \
           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class \
         JOIN pg_catalog.pg_class rc ON rc.oid = d.refobjid JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace \
         WHERE c.relkind IN ('v', 'm') AND rc.relkind IN ('v', 'm')",
    )?;
    let mut reads: BTreeMap<TableName, BTreeSet<TableName>> = BTreeMap::new();
    for row in rows.iter() {
        reads.entry((row.get(0)?, row.get(1)?)).or_default().insert((row.get(2)?, row.get(3)?));
    }
    Ok(reads)
}

/// The views such that each comes after those it reads, directly or through other views.
fn refresh_order(
    views: &BTreeSet<TableName>,
    reads: &BTreeMap<TableName, BTreeSet<TableName>>,
) -> Vec<TableName> {
    let mut ordered = Vec::new();
    let mut seen: BTreeSet<&TableName> = BTreeSet::new();
    for view in views {
        // Depth first; a view is put down when it is met the second time, below all it reads.
        let mut open = vec![(view, false)];
        while let Some((next, below)) = open.pop() {
            if below {
                ordered.push(next);
            } else if seen.insert(next) {
                open.push((next, true));
                open.extend(reads.get(next).into_iter().flatten().map(|other| (other, false)));
            }
        }
    }
    ordered.into_iter().filter(|name| views.contains(name)).cloned().collect()
}

/// Collects the planner's statistics of the tables. What fails costs speed only and is a remark.
///
/// # Errors
/// Only what ends the restore.
pub(super) fn analyze(session: &mut Session, tables: &[TableName], journal: &Journal) -> Result<()> {
    session.each(tables, analyze_statement, |_, (schema, name), error| {
        let shown = display_name(schema, name);
        journal.remark(format!("table {shown} could not be analyzed: {}", describe(error)));
        Ok(())
    })
}

/// ANALYZE of a table.
pub(super) fn analyze_statement((schema, name): &TableName) -> String {
    format!("ANALYZE {}", quote_qualified(schema, name))
}

/// Makes all that was committed so far durable: one commit that waits for disk covers those that
/// did not.
///
/// # Errors
/// The server's.
pub(super) fn make_durable(session: &mut Session) -> Result<(), QueryError> {
    session
        .connection
        .execute(
            "SET synchronous_commit = on; \
             SELECT pg_catalog.pg_logical_emit_message(true, 'pgstow', 'restored')",
        )
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> TableName {
        ("public".into(), name.into())
    }

    #[test]
    fn materialized_views_are_refreshed_after_those_they_read_through_views_too() {
        let views = BTreeSet::from([name("a"), name("b"), name("c")]);
        let reads = BTreeMap::from([
            (name("a"), BTreeSet::from([name("v")])),
            (name("v"), BTreeSet::from([name("c")])),
            (name("c"), BTreeSet::from([name("b")])),
        ]);
        assert_eq!(refresh_order(&views, &reads), [name("b"), name("c"), name("a")]);
    }
}

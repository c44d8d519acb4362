//! Puts the rows that wait in temporary tables into the real ones: one transaction, counted before it
//! is committed. Readers and writers of the tables go on meanwhile.

use std::time::Instant;

use super::super::commit::AS_IT_WAS;
use super::super::session::{Session, describe};
use super::destination::{Reference, Work};
use super::foresee::{is_parent, refers};
use super::{MissingReport, PreparedMissing, PutBack};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::QueryError;
use crate::postgres::identifier::{display_name, quote_identifier, quote_literal, quote_qualified};
use crate::repository::format::FORMAT_VERSION;
use crate::repository::format::id::BackupId;
use crate::repository::format::receipt::{Line, Outcome, Receipt};

/// # Errors
/// As [`PreparedMissing::apply`].
pub(super) fn apply(
    mut prepared: PreparedMissing<'_>,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<MissingReport> {
    let started_at = jiff::Timestamp::now();
    let begun = Instant::now();
    let put_back = put_back(&mut prepared, monitor, interrupt);
    let backup = BackupId::new(&prepared.plan.backup)
        .map_err(|error| Error::failed("the receipt cannot be written").source(error))?;
    let receipt = |outcome, lines, remarks| Receipt {
        safety_backup: None,
        unchanged: false,
        drill: None,
        part: vec!["rows that were missing".to_owned()],
        format_version: FORMAT_VERSION,
        backup: backup.clone(),
        target: prepared.plan.target.clone(),
        started_at,
        finished_at: jiff::Timestamp::now(),
        outcome,
        checksums: false,
        lines,
        remarks,
    };
    let Committed { tables, resumed } = match put_back {
        Ok(committed) => committed,
        Err(error) => {
            // The failure counts; a receipt that cannot be stored must not hide it.
            let _ = prepared.repository.store_receipt(&receipt(
                Outcome::Failed,
                Vec::new(),
                vec![error.in_one_line()],
            ));
            return Err(error);
        }
    };
    let mut notes = Vec::new();
    for work in prepared.work.iter().filter(|work| work.missing > 0) {
        // All rows of the table then stand for those that were put back.
        let rows = if resumed { work.destination.from() } else { work.stage.clone() };
        notes.extend(advance_sequences(&mut prepared.session, work, &rows));
    }
    let lines = tables.iter().map(|table| Line {
        what: format!("missing rows of {}", table.table),
        expected: table.rows,
        found: table.rows_after - table.rows_before,
        equal: true,
    });
    // Nothing else was compared, so the backup is not proven by this.
    let remark = "only missing rows were put back; nothing else was compared".to_owned();
    let receipt = receipt(Outcome::Differs, lines.collect(), vec![remark]);
    let stored = prepared.repository.store_receipt(&receipt);
    let receipt_path =
        stored.map_err(|error| error.context("the rows are back, but the receipt is missing"))?;
    Ok(MissingReport { receipt, receipt_path, seconds: begun.elapsed().as_secs_f64(), tables, notes })
}

fn put_back(
    prepared: &mut PreparedMissing<'_>,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<Committed> {
    let session = &mut prepared.session;
    let silence = if prepared.silenced && !prepared.fire_triggers {
        "; SET LOCAL session_replication_role = replica"
    } else {
        ""
    };
    session.connection.execute(&format!(
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = {}{silence}",
        prepared.lock_timeout.as_millis()
    ))?;
    session.atomic = true;
    let tables =
        within(session, &prepared.work, !silence.is_empty(), monitor, interrupt).map_err(|error| {
            // A session that is lost has rolled back by itself.
            let _ = session.connection.execute("ROLLBACK");
            error.hint(AS_IT_WAS)
        })?;
    match session.commit(monitor) {
        Ok(resumed) => Ok(Committed { tables, resumed }),
        Err(failure) if failure.rolled_back => Err(failure.told()),
        Err(failure) => Err(failure.told().hint("--dry-run shows whether the rows are back")),
    }
}

/// Rows that are back.
struct Committed {
    tables: Vec<PutBack>,
    /// The session that put them back was lost with the answer, and its temporary tables are gone.
    resumed: bool,
}

fn within(
    session: &mut Session,
    work: &[Work],
    silenced: bool,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<Vec<PutBack>> {
    let mut tables = Vec::new();
    for work in work {
        interrupt.check()?;
        let shown = work.destination.shown();
        monitor.event(Event::Phase { name: &format!("rows of {shown}") });
        tables.push(insert(session, work).map_err(|error| error.context(&shown))?);
    }
    // What would fail at the commit fails here, where the server's answer is sure to be about it.
    let checked = session.connection.execute("SET CONSTRAINTS ALL IMMEDIATE");
    checked.map_err(|error| failed("the rows could not be committed", &error))?;
    if silenced {
        for work in work.iter().filter(|work| work.missing > 0) {
            for reference in &work.destination.references {
                check_reference(session, work, reference)?;
            }
        }
    }
    Ok(tables)
}

fn failed(what: &str, error: &QueryError) -> Error {
    if matches!(error, QueryError::Interrupted) {
        return Error::interrupted();
    }
    let failure = Error::failed(what).why(describe(error));
    match error.code() {
        Some("23505") => {
            failure.hint("another row has got the same key or unique value meanwhile: run this again")
        }
        Some("23503") => failure.hint("a row that they refer to is gone: --table PARENT puts it back too"),
        Some("40001") => failure.hint("rows that they refer to changed meanwhile: run this again"),
        _ => failure,
    }
}

fn count(session: &mut Session, from: &str) -> Result<u64> {
    let rows = session.connection.query(&format!("SELECT pg_catalog.count(*) FROM {from}"))?;
    Ok(rows.only()?.get(0)?)
}

fn insert(session: &mut Session, work: &Work) -> Result<PutBack> {
    let table = work.destination.from();
    let rows_before = count(session, &table)?;
    let columns: Vec<String> = work
        .staged
        .iter()
        .filter(|column| work.destination.columns.get(*column).is_some_and(|own| !own.generated))
        .map(|column| quote_identifier(column))
        .collect();
    let columns = columns.join(", ");
    let statement = format!(
        "INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {} s WHERE NOT {}",
        work.destination.quoted(),
        work.stage,
        work.is_there()
    );
    let rows = if work.missing == 0 {
        0
    } else {
        let inserted = session.connection.execute(&statement);
        inserted.map_err(|error| failed("missing rows could not be put back", &error))?
    };
    let rows_after = count(session, &table)?;
    let there = count(session, &format!("{} s WHERE {}", work.stage, work.is_there()))?;
    if rows_after != rows_before.saturating_add(rows) || there != work.missing {
        return Err(Error::failed(format!(
            "{there} of {} missing rows are there after {rows} were put back, and {rows_before} rows became {rows_after}",
            work.missing
        ))
        .why("a trigger or rule of the table does something else than putting rows in"));
    }
    Ok(PutBack {
        table: work.destination.shown(),
        backup_rows: work.backup_rows,
        rows,
        rows_before,
        rows_after,
    })
}

/// A foreign key that the server does not look at while triggers are silent: what the rows refer to is
/// kept from going, as the server would, and looked for.
fn check_reference(session: &mut Session, work: &Work, reference: &Reference) -> Result<()> {
    let parent = quote_qualified(&reference.parent.0, &reference.parent.1);
    let (stage, is_parent) = (&work.stage, is_parent(reference));
    let hold = format!(
        "SELECT pg_catalog.count(*) FROM (SELECT FROM {parent} p WHERE EXISTS \
         (SELECT FROM {stage} s WHERE {is_parent}) FOR KEY SHARE OF p) held"
    );
    session
        .connection
        .query(&hold)
        .map_err(|error| failed("rows that they refer to could not be held", &error))?;
    let lacks = format!("{} AND NOT EXISTS (SELECT FROM {parent} p WHERE {is_parent})", refers(reference));
    let halves = if reference.full {
        let null = |is: &str| {
            let columns =
                reference.columns.iter().map(|(own, ..)| format!("s.{} {is}", quote_identifier(own)));
            columns.collect::<Vec<_>>().join(" OR ")
        };
        format!(" OR (({}) AND ({}))", null("IS NULL"), null("IS NOT NULL"))
    } else {
        String::new()
    };
    let broken = count(session, &format!("{stage} s WHERE ({lacks}){halves}"))?;
    if broken == 0 {
        return Ok(());
    }
    let shown = display_name(&reference.parent.0, &reference.parent.1);
    Err(Error::failed(format!(
        "{broken} missing rows of {} refer to rows of {shown} that are gone",
        work.destination.shown()
    ))
    .why(format!("foreign key {} would be broken", reference.constraint))
    .hint(format!("--table {shown} puts the missing rows of {shown} back too")))
}

/// Moves the sequences of the table's columns that are behind those of `rows`, beyond all values that
/// the columns hold; what was moved, and what could not be. The rows are committed by now.
fn advance_sequences(session: &mut Session, work: &Work, rows: &str) -> Vec<String> {
    let table = quote_literal(&work.destination.quoted());
    let moved = work.staged.iter().filter_map(|column| {
        advance(session, work, [&table, column, rows]).unwrap_or_else(|error| {
            Some(format!(
                "the sequence of column {column} of {} could not be looked at: {}",
                work.destination.shown(),
                describe(&error)
            ))
        })
    });
    moved.collect()
}

fn advance(
    session: &mut Session,
    work: &Work,
    [table, column, rows]: [&str; 3],
) -> Result<Option<String>, QueryError> {
    let connection = &mut session.connection;
    let own = connection.query(&format!(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), q.seqincrement > 0 \
           FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           JOIN pg_catalog.pg_sequence q ON q.seqrelid = c.oid \
          WHERE c.oid = pg_catalog.pg_get_serial_sequence({table}, {})::pg_catalog.regclass",
        quote_literal(column)
    ))?;
    let Some(row) = own.iter().next() else { return Ok(None) };
    let (sequence, ascends): (String, bool) = (row.get(0)?, row.get(1)?);
    let (furthest, behind, further) = if ascends { ("max", "<", "GREATEST") } else { ("min", ">", "LEAST") };
    let column = quote_identifier(column);
    let moved = connection.query(&format!(
        "SELECT q.last_value, pg_catalog.setval({}, {further}(q.last_value, \
                (SELECT pg_catalog.{furthest}({column})::pg_catalog.int8 FROM {}))) FROM {sequence} q, \
         (SELECT pg_catalog.{furthest}({column})::pg_catalog.int8 AS furthest FROM {}) s \
         WHERE q.last_value {behind} s.furthest OR q.last_value = s.furthest AND NOT q.is_called",
        quote_literal(&sequence),
        work.destination.from(),
        rows
    ))?;
    let Some(row) = moved.iter().next() else { return Ok(None) };
    let (from, to): (i64, i64) = (row.get(0)?, row.get(1)?);
    Ok(Some(format!("sequence {sequence} was behind at {from} and stands at {to} now")))
}

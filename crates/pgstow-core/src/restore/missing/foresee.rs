//! What would keep missing rows out, looked for before anything is asked or changed: triggers that
//! would fire, parents that are gone too, unique values that other rows hold.

use super::super::session::Session;
use super::super::target::TargetState;
use super::destination::{Key, Reference, Work};
use crate::error::{Error, Result};
use crate::postgres::identifier::{display_name, quote_identifier, quote_qualified};
use crate::repository::format::manifest::Manifest;

/// Rows that a refusal names.
const NAMED: usize = 5;

/// What becomes of triggers and rules.
#[derive(Debug, Default)]
pub(super) struct Actions {
    pub(super) silenced: Vec<String>,
    pub(super) fire: Vec<String>,
}

/// Decides about triggers and rules for INSERT: they stay silent unless they are meant to fire.
///
/// # Errors
/// Refused: they would fire and must not, or silencing them would let the server forget to check.
pub(super) fn actions(work: &[Work], fire: bool, target: &TargetState) -> Result<Actions> {
    let with_rows = || work.iter().filter(|work| work.missing > 0);
    let all = || with_rows().flat_map(|work| &work.destination.actions);
    if fire {
        let firing = all().filter(|action| action.enabled != 'R');
        return Ok(Actions {
            fire: firing.map(|action| action.what.clone()).collect(),
            ..Actions::default()
        });
    }
    if all().next().is_none() {
        return Ok(Actions::default());
    }
    let hint = "--fire-triggers lets them fire for the rows that are put back";
    let silenced: Vec<String> =
        all().filter(|action| action.enabled == 'O').map(|action| action.what.clone()).collect();
    if silenced.is_empty() && all().all(|action| action.enabled == 'R') {
        return Ok(Actions::default());
    }
    if let Some(loud) = all().find(|action| action.enabled == 'A') {
        return Err(Error::refused(format!("{} would fire for every row that is put back", loud.what))
            .why("it is enabled ALWAYS, so nothing silences it")
            .hint(hint));
    }
    if let Some(replica) = all().find(|action| action.enabled == 'R') {
        return Err(Error::refused(format!("{} would fire for every row that is put back", replica.what))
            .why("it is enabled for REPLICA, the way in which other triggers are silenced")
            .hint(hint));
    }
    if !target.may_replicate {
        return Err(Error::refused(format!(
            "{} would fire for every row that is put back",
            silenced.join(", ")
        ))
        .why(format!("role {} may not silence triggers at {}", target.login, target.target))
        .hint(hint)
        .hint("or restore as a role that may set session_replication_role"));
    }
    for work in with_rows() {
        if let Some(constraint) = &work.destination.deferrable {
            return Err(Error::refused(format!(
                "constraint {constraint} of {} is deferrable: it is not kept while triggers are silent",
                work.destination.shown()
            ))
            .hint(hint));
        }
        if let Some(key) = work.destination.references.iter().find(|key| key.temporal) {
            return Err(Error::refused(format!(
                "foreign key {} of {} compares periods: it is not kept while triggers are silent",
                key.constraint,
                work.destination.shown()
            ))
            .hint(hint));
        }
    }
    Ok(Actions { silenced, ..Actions::default() })
}

/// Condition on the row `s`: it refers to something.
pub(super) fn refers(reference: &Reference) -> String {
    let set = reference.columns.iter().map(|(own, ..)| format!("s.{} IS NOT NULL", quote_identifier(own)));
    set.collect::<Vec<_>>().join(" AND ")
}

/// Condition: the row `p` is what the row `s` refers to.
pub(super) fn is_parent(reference: &Reference) -> String {
    let equal = reference.columns.iter().map(|(own, theirs, operator)| {
        format!("p.{} {operator} s.{}", quote_identifier(theirs), quote_identifier(own))
    });
    equal.collect::<Vec<_>>().join(" AND ")
}

/// Makes sure that what missing rows refer to is there or comes back with them.
///
/// # Errors
/// Refused, naming the table that lacks it.
pub(super) fn references(
    session: &mut Session,
    work: &[Work],
    manifest: &Manifest,
    target: &str,
) -> Result<()> {
    for own in work.iter().filter(|work| work.missing > 0) {
        for reference in own.destination.references.iter().filter(|reference| !reference.temporal) {
            let parent = quote_qualified(&reference.parent.0, &reference.parent.1);
            let mut lacks = format!("NOT EXISTS (SELECT FROM {parent} p WHERE {})", is_parent(reference));
            let comes = work.iter().find(|other| other.destination.name == reference.parent);
            let staged = comes
                .filter(|other| reference.columns.iter().all(|(_, theirs, _)| other.staged.contains(theirs)));
            if let Some(other) = staged {
                lacks.push_str(&format!(
                    " AND NOT EXISTS (SELECT FROM {} p WHERE {})",
                    other.stage,
                    is_parent(reference)
                ));
            }
            let statement = format!(
                "SELECT pg_catalog.count(*) FROM {} s WHERE {} AND {lacks}",
                own.stage,
                refers(reference)
            );
            let asked = session.connection.query(&statement);
            let orphans: u64 = match asked {
                Ok(rows) => rows.only()?.get(0)?,
                Err(error) if error.is_lost() => return Err(error.into()),
                // A parent that this role may not read: the server looks itself when the rows come.
                Err(_) => 0,
            };
            if orphans > 0 {
                return Err(orphaned(own, reference, orphans, comes.is_some(), manifest, target));
            }
        }
    }
    Ok(())
}

fn orphaned(
    own: &Work,
    reference: &Reference,
    orphans: u64,
    chosen: bool,
    manifest: &Manifest,
    target: &str,
) -> Error {
    let parent = display_name(&reference.parent.0, &reference.parent.1);
    let error = Error::refused(format!(
        "{orphans} of {} missing rows of {} refer to rows of {parent} that are gone too",
        own.missing,
        own.destination.shown()
    ))
    .why(format!("foreign key {} would be broken at {target}", reference.constraint));
    let held = manifest
        .tables
        .iter()
        .any(|table| table.schema == reference.parent.0 && table.name == reference.parent.1);
    match (chosen, held) {
        (true, _) => {
            error.hint(format!("{} does not hold them either: choose another backup", manifest.backup))
        }
        (false, true) => error.hint(format!("--table {parent} puts the missing rows of {parent} back too")),
        (false, false) => {
            error.hint(format!("{} does not hold table {parent}: choose another backup", manifest.backup))
        }
    }
}

/// Makes sure that no other unique index keeps missing rows out. Indexes with conditions or of
/// expressions are left to the server.
///
/// # Errors
/// Refused, naming the rows by their keys.
pub(super) fn conflicts(session: &mut Session, work: &[Work]) -> Result<()> {
    for own in work.iter().filter(|work| work.missing > 0) {
        let others = own.destination.keys.iter().filter(|key| key.index != own.key.index);
        for key in others.filter(|key| key.columns.iter().all(|(column, _)| own.staged.contains(column))) {
            conflict(session, own, key)?;
        }
    }
    Ok(())
}

fn conflict(session: &mut Session, own: &Work, key: &Key) -> Result<()> {
    let names: Vec<String> = own.key.names();
    let texts: Vec<String> =
        names.iter().map(|name| format!("s.{}::pg_catalog.text", quote_identifier(name))).collect();
    let rows = session.connection.query(&format!(
        "SELECT pg_catalog.count(*) OVER (), {} FROM {} s WHERE EXISTS (SELECT FROM {} r WHERE {}) LIMIT {NAMED}",
        texts.join(", "),
        own.stage,
        own.destination.from(),
        key.same()
    ))?;
    let Some(first) = rows.iter().next() else { return Ok(()) };
    let count: u64 = first.get(0)?;
    let mut shown = Vec::new();
    for row in rows.iter() {
        let mut values = Vec::new();
        for (place, name) in names.iter().enumerate() {
            let value: Option<String> = row.get(place + 1)?;
            let value: String = value.unwrap_or_default().chars().take(60).collect();
            values.push(format!("{name}={value}"));
        }
        shown.push(values.join(", "));
    }
    let more = if count > shown.len() as u64 { "; …" } else { "" };
    let table = own.destination.shown();
    Err(Error::refused(format!(
        "{count} of {} missing rows of {table} have a unique value ({}) that another row holds now",
        own.missing,
        key.names().join(", ")
    ))
    .why(format!("they are: {}{more}; unique index {}", shown.join("; "), key.index))
    .hint("change or remove the rows that hold these values, then try again"))
}

//! What a platform's database needs besides: silence while objects are made, its own defaults undone.

use std::collections::{BTreeMap, BTreeSet};

use super::journal::Journal;
use super::selection::{Chosen, Graph, TableName};
use super::session::{Session, describe};
use super::target::TargetState;
use super::{Planned, entry, hosted};
use crate::archive::Entry;
use crate::error::{Error, Result};
use crate::inventory::catalog::CronJob;
use crate::inventory::{Inventory, Item};
use crate::platform::Platform;
use crate::postgres::identifier::{
    display_name, quote_identifier, quote_literal, quote_qualified, quote_setting,
};
use crate::postgres::{Connection, QueryError, capabilities};

/// What the login may do with a table of the platform.
#[derive(Debug, Clone, Copy)]
struct Rights {
    triggers: bool,
    policies: bool,
}

/// Takes out of the choice the user's triggers and policies that the login may not make on the platform's
/// tables, each with a remark and the statement that would make it.
///
/// # Errors
/// The server's.
pub(super) fn leave_out_forbidden(
    connection: &mut Connection,
    graph: &Graph<'_>,
    chosen: &mut Chosen,
    backup: &Inventory,
    target: &TargetState,
) -> Result<()> {
    let mut known: BTreeMap<TableName, Rights> = BTreeMap::new();
    let mut forbidden = BTreeMap::new();
    for &index in &chosen.entries {
        let entry = &graph.entries[index];
        if !hosted::is_attached(entry, &target.hosting) {
            continue;
        }
        let Some((table, _)) = hosted::attached_name(entry, target.tables.keys()) else { continue };
        let rights = match known.get(&table) {
            Some(rights) => *rights,
            None => *known.entry(table.clone()).or_insert(probe(connection, &table)?),
        };
        let allowed = if entry.kind == "POLICY" { rights.policies } else { rights.triggers };
        if !allowed {
            forbidden.insert(index, format!("on {}", display_name(&table.0, &table.1)));
        }
    }
    forbid(graph, chosen, &forbidden, backup, target);
    Ok(())
}

/// Takes out of the choice event triggers and publications that the login may not make, which a restore
/// would find half way.
///
/// # Errors
/// The server's.
pub(super) fn leave_out_reserved(
    connection: &mut Connection,
    graph: &Graph<'_>,
    chosen: &mut Chosen,
    backup: &Inventory,
    target: &TargetState,
) -> Result<()> {
    let is_of = |index: &usize, kind: &str| graph.entries[*index].kind == kind;
    let triggers: Vec<usize> =
        chosen.entries.iter().copied().filter(|index| is_of(index, "EVENT TRIGGER")).collect();
    let mut broad: BTreeSet<usize> = BTreeSet::new();
    for index in chosen.entries.iter().filter(|index| is_of(index, "PUBLICATION")) {
        if graph.entries[*index].definition.contains(" FOR ALL TABLES") {
            broad.insert(*index);
        }
    }
    for index in chosen.entries.iter().filter(|index| is_of(index, "PUBLICATION TABLES IN SCHEMA")) {
        broad.extend(graph.dependencies(*index).filter(|other| is_of(other, "PUBLICATION")));
    }
    if target.hosting.platform == Platform::Plain || (triggers.is_empty() && broad.is_empty()) {
        return Ok(());
    }
    let may = capabilities::probe(connection).map_err(Error::from)?;
    let no_triggers = triggers.into_iter().filter(|_| may.create_event_triggers == Some(false));
    let no_publications = broad.into_iter().filter(|_| may.publish_all_tables == Some(false));
    let forbidden = no_triggers.chain(no_publications).map(|index| (index, "here".to_owned())).collect();
    forbid(graph, chosen, &forbidden, backup, target);
    Ok(())
}

/// Takes entries out of the choice that the login may not make, each with where, and what depends on
/// them. Tells the statements that would make them, unless the target has them as they are.
fn forbid(
    graph: &Graph<'_>,
    chosen: &mut Chosen,
    forbidden: &BTreeMap<usize, String>,
    backup: &Inventory,
    target: &TargetState,
) {
    for (&index, place) in forbidden {
        let entry = &graph.entries[index];
        let schema = entry.schema.clone().unwrap_or_default();
        chosen.forbidden.push((entry.kind.clone(), schema, entry.tag.clone()));
        if is_equal(entry, backup, &target.inventory) {
            continue;
        }
        // What is in a publication, and comments, are entries of their own.
        let rest = chosen.entries.iter().filter(|other| graph.dependencies(**other).any(|on| on == index));
        let statements: Vec<String> = std::iter::once(&index)
            .chain(rest)
            .map(|index| entry::on_one_line(&graph.entries[*index].definition))
            .collect();
        chosen.remarks.push(format!(
            "{} is not restored: role {} may not make it {place}; a role that may can run: {}",
            entry::name(entry),
            target.login,
            statements.join(" ")
        ));
    }
    chosen.entries.retain(|index| {
        !forbidden.contains_key(index) && !graph.dependencies(*index).any(|on| forbidden.contains_key(&on))
    });
}

/// Whether the target has the object already, as it is in the backup.
fn is_equal(entry: &Entry, backup: &Inventory, target: &Inventory) -> bool {
    let names = |item: &&Item| hosted::is_item_of(item, &entry.kind, entry.schema.as_deref(), &entry.tag);
    let Some(wanted) = backup.items.iter().find(names) else { return false };
    target.find(wanted.kind, &wanted.name).is_some_and(|found| found.definition == wanted.definition)
}

/// Gives the database the settings of the backup's (`ALTER DATABASE … SET`), where that is allowed.
///
/// # Errors
/// What ends the restore; other failures are noted.
pub(super) fn database_settings(
    session: &mut Session,
    planned: &Planned<'_>,
    journal: &Journal,
) -> Result<()> {
    if planned.target.hosting.platform == Platform::Plain {
        return Ok(());
    }
    let database = quote_identifier(&planned.target.database);
    let all = planned.catalog.database_settings.iter().filter(|kept| kept.role.is_none());
    let settings: Vec<(&str, &str)> = all.filter_map(|kept| kept.setting.split_once('=')).collect();
    let statement = |(name, value): &(&str, &str)| {
        format!("ALTER DATABASE {database} SET {}", quote_setting(name, value))
    };
    session.each(&settings, statement, |_, (name, _), error| {
        // The server's message may repeat the value, which can be a secret.
        let code = error.code().unwrap_or("no answer");
        journal.remark(format!("setting {name} of the database could not be made [{code}]"));
        Ok(())
    })
}

/// Functions that the target's triggers and policies call which the login may not make again: they are
/// replaced in place. By identity.
///
/// # Errors
/// The server's.
pub(super) fn called_functions(
    connection: &mut Connection,
    forbidden: &[(String, String, String)],
) -> Result<BTreeSet<String>> {
    let mut called = BTreeSet::new();
    for (kind, schema, tag) in forbidden {
        if kind == "EVENT TRIGGER" {
            let rows = connection
                .query(&format!(
                    "SELECT e.evtfoid::pg_catalog.regprocedure::pg_catalog.text FROM pg_catalog.pg_event_trigger e \
                     WHERE e.evtname = {}",
                    quote_literal(tag)
                ))
                .map_err(Error::from)?;
            for row in rows.iter() {
                called.insert(row.get(0).map_err(Error::from)?);
            }
            continue;
        }
        let (catalog, column, relation) = match kind.as_str() {
            "POLICY" => ("pg_policy", "polname", "polrelid"),
            "TRIGGER" => ("pg_trigger", "tgname", "tgrelid"),
            _ => continue,
        };
        let rows = connection
            .query(&format!(
                "SELECT d.refobjid::pg_catalog.regprocedure::pg_catalog.text FROM pg_catalog.{catalog} o \
                 JOIN pg_catalog.pg_class c ON c.oid = o.{relation} JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.{catalog}'::pg_catalog.regclass AND d.objid = o.oid \
                 AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
                 WHERE n.nspname = {} AND pg_catalog.concat(c.relname, ' ', o.{column}) = {}",
                quote_literal(schema),
                quote_literal(tag)
            ))
            .map_err(Error::from)?;
        for row in rows.iter() {
            called.insert(row.get(0).map_err(Error::from)?);
        }
    }
    Ok(called)
}

/// Asks by privilege, and where that does not say yes by trying: a platform may allow more than
/// PostgreSQL knows. What is tried is taken back.
fn probe(connection: &mut Connection, (schema, name): &TableName) -> Result<Rights> {
    let table = quote_qualified(schema, name);
    let rows = connection
        .query(&format!(
            "SELECT pg_catalog.has_table_privilege(c.oid, 'TRIGGER'), pg_catalog.pg_has_role(c.relowner, 'USAGE') \
             FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass({})",
            quote_literal(&table)
        ))
        .map_err(Error::from)?;
    let row = rows.only().map_err(Error::from)?;
    let (triggers, owned): (bool, bool) =
        (row.get(0).map_err(Error::from)?, row.get(1).map_err(Error::from)?);
    // A lock that is not had says nothing: the restore will show.
    let policy =
        format!("SET LOCAL lock_timeout = '2s'; CREATE POLICY \"pgstow tries\" ON {table} USING (false)");
    let policies = owned || capabilities::is_permitted(connection, &policy).map_err(Error::from)?;
    Ok(Rights { triggers, policies })
}

/// Silences event triggers and triggers on rows, where that is allowed: those of a platform would
/// change what is created.
///
/// # Errors
/// The server's.
pub(super) fn silence(sessions: &mut [Session], target: &TargetState) -> Result<()> {
    if target.hosting.platform == Platform::Plain || !target.may_replicate {
        return Ok(());
    }
    for session in sessions {
        session.connection.execute("SET session_replication_role = replica").map_err(Error::from)?;
    }
    Ok(())
}

/// Turns row-level security off where an event trigger of the target turned it on and the backup has
/// none. What the backup has is turned on later, by its own entries.
///
/// # Errors
/// Atomic: any failure. Otherwise what ends the restore.
pub(super) fn settle_row_security(session: &mut Session, planned: &Planned<'_>) -> Result<()> {
    if planned.target.hosting.platform == Platform::Plain {
        return Ok(());
    }
    let made: BTreeSet<TableName> = planned
        .steps
        .phases
        .before
        .iter()
        .filter_map(|&index| planned.entries.get(index))
        .filter(|entry| entry.kind == "TABLE")
        .filter_map(|entry| Some((entry.schema.clone()?, entry.tag.clone())))
        .collect();
    let secured = secured_tables(session).map_err(Error::from)?;
    let statements: Vec<String> = secured
        .iter()
        .filter(|table| made.contains(*table))
        .map(|(schema, name)| {
            format!("ALTER TABLE {} DISABLE ROW LEVEL SECURITY", quote_qualified(schema, name))
        })
        .collect();
    session.each(&statements, Clone::clone, |_, statement, error| {
        Err(Error::failed(format!("{statement} failed")).why(describe(error)))
    })
}

fn secured_tables(session: &mut Session) -> Result<Vec<TableName>, QueryError> {
    let rows = session.connection.query(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relrowsecurity",
    )?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Takes back the default privileges of the roles that the login can act as, so that afterwards the
/// backup's are all there are. Only on a platform: there a project begins with some.
///
/// # Errors
/// What ends the restore; other failures are noted.
pub(super) fn forget_default_privileges(
    session: &mut Session,
    planned: &Planned<'_>,
    journal: &Journal,
) -> Result<()> {
    if planned.target.hosting.platform == Platform::Plain {
        return Ok(());
    }
    let statements = default_privileges(session, &planned.target).map_err(Error::from)?;
    session.each(&statements, Clone::clone, |_, statement, error| {
        journal.remark(format!("{statement}: {}", describe(error)));
        Ok(())
    })
}

/// Schedules the backup's jobs again, switched off unless they are to run: a restored copy must not
/// act as the original does. Jobs that are there under the same name stay as they are.
///
/// # Errors
/// What ends the restore; other failures are noted.
pub(super) fn schedule_jobs(
    session: &mut Session,
    planned: &Planned<'_>,
    activate: bool,
    journal: &Journal,
) -> Result<()> {
    let jobs = &planned.catalog.cron_jobs;
    let as_rows = planned.manifest.tables.iter().any(|table| table.schema == "cron" && table.name == "job");
    if jobs.is_empty() || as_rows {
        return Ok(());
    }
    let known = session
        .connection
        .query("SELECT pg_catalog.to_regprocedure('cron.schedule(pg_catalog.text, pg_catalog.text, pg_catalog.text)') IS NOT NULL")
        .map_err(Error::from)?;
    if !known.only().map_err(Error::from)?.get::<bool>(0).map_err(Error::from)? {
        journal.problem(format!(
            "{} of pg_cron cannot be scheduled: the extension is not there",
            jobs_in_words(jobs.len())
        ));
        return Ok(());
    }
    session.each(
        jobs,
        |job| job_statement(job, activate && job.active),
        |_, job, error| {
            let name = job.name.as_deref().unwrap_or(&job.schedule);
            journal.problem(format!("job {} of pg_cron: {}", entry::visible(name), describe(error)));
            Ok(())
        },
    )?;
    let idle = jobs.iter().filter(|job| job.active && !activate).count();
    if idle > 0 {
        journal.remark(format!(
            "{} of pg_cron that ran at the source wait here; to let one run: SELECT cron.alter_job(jobid, active := true) FROM cron.job WHERE jobname = '…';",
            jobs_in_words(idle)
        ));
    }
    Ok(())
}

fn jobs_in_words(count: usize) -> String {
    if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
}

/// A job that is there already, by its name or else by what it does, stays.
fn job_statement(job: &CronJob, runs: bool) -> String {
    let (schedule, command) = (quote_literal(&job.schedule), quote_literal(&job.command));
    let (arguments, same) = match &job.name {
        Some(name) => {
            let name = quote_literal(name);
            (format!("{name}, {schedule}, {command}"), format!("j.jobname = {name}"))
        }
        None => (
            format!("{schedule}, {command}"),
            format!("j.jobname IS NULL AND j.schedule = {schedule} AND j.command = {command}"),
        ),
    };
    format!(
        "SELECT cron.alter_job(made.jobid, active := {runs}) FROM (SELECT cron.schedule({arguments}) AS jobid \
         WHERE NOT EXISTS (SELECT FROM cron.job j WHERE {same} AND j.username = CURRENT_USER \
         AND j.database = pg_catalog.current_database())) made"
    )
}

/// One statement for each holder of default privileges.
fn default_privileges(session: &mut Session, target: &TargetState) -> Result<Vec<String>, QueryError> {
    let rows = session.connection.query(
        "SELECT DISTINCT pg_catalog.pg_get_userbyid(d.defaclrole), n.nspname, \
         CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' \
           WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' END, \
         CASE held.grantee WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(held.grantee) END \
         FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace \
         CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) held \
         WHERE d.defaclnamespace <> 0",
    )?;
    let mut statements = Vec::new();
    for row in rows.iter() {
        let (role, schema, objects): (String, String, Option<String>) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let grantee: Option<String> = row.get(3)?;
        let (Some(objects), Some(true)) = (objects, target.roles.get(&role)) else { continue };
        if target.hosting.keeper(&schema) != crate::platform::Keeper::User {
            continue;
        }
        let grantee = grantee.map_or_else(|| "PUBLIC".to_owned(), |name| quote_identifier(&name));
        statements.push(format!(
            "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} REVOKE ALL ON {objects} FROM {grantee}",
            quote_identifier(&role),
            quote_identifier(&schema)
        ));
    }
    Ok(statements)
}

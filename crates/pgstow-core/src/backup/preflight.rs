//! Looks at the server before anything is locked or read: what it is, and whether this role may
//! read all that the backup takes in. What is missing is named table by table.

use super::scope::Scope;
use crate::error::{Error, Result};
use crate::postgres::catalog::relations::Relation;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::identifier::{display_name, quote_identifier, quote_qualified};
use crate::repository::format::manifest::Source;

/// Oldest server that is read.
pub(super) const OLDEST_SERVER_NUM: u32 = 130_000;
/// Names that one message lists at most.
const LISTED: usize = 10;

/// Facts about the server and database.
///
/// # Errors
/// The server's; a server older than 13.
pub(super) fn source(connection: &mut Connection) -> Result<Source> {
    let version = connection.server_version_num();
    if version < OLDEST_SERVER_NUM {
        return Err(Error::refused(format!("the server runs PostgreSQL {}", version_text(connection)))
            .why("pgstow reads servers from version 13 on")
            .hint("upgrade the server, or use the pg_dump of its own version"));
    }
    let (system_identifier, timeline) = control_facts(connection)?;
    let endpoint = connection.endpoint().to_owned();
    let server_version = version_text(connection);
    let rows = connection.query(
        "SELECT pg_catalog.current_database(), d.oid, pg_catalog.pg_encoding_to_char(d.encoding), \
         d.datcollate, d.datctype, pg_catalog.pg_is_in_recovery(), \
         (EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint, CURRENT_USER, d.xmin \
         FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
    )?;
    let row = rows.only()?;
    Ok(Source {
        endpoint,
        database: row.get(0)?,
        database_oid: row.get(1)?,
        database_xmin: row.get(8)?,
        server_version_num: version,
        server_version,
        system_identifier,
        timeline,
        postmaster_started_us: row.get(6)?,
        in_recovery: row.get(5)?,
        encoding: row.get(2)?,
        collate: row.get(3)?,
        ctype: row.get(4)?,
        role: row.get(7)?,
    })
}

/// System identifier and timeline, where the role may ask for them.
fn control_facts(connection: &mut Connection) -> Result<(Option<String>, Option<u32>), QueryError> {
    let allowed = connection.query(
        "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') \
         AND pg_catalog.has_function_privilege('pg_catalog.pg_control_checkpoint()', 'EXECUTE')",
    )?;
    if !allowed.only()?.get::<bool>(0)? {
        return Ok((None, None));
    }
    let rows = connection.query(
        "SELECT s.system_identifier, c.timeline_id \
         FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c",
    )?;
    let row = rows.only()?;
    Ok((row.get(0)?, row.get(1)?))
}

fn version_text(connection: &Connection) -> String {
    connection.parameter("server_version").unwrap_or("of an unknown version").to_owned()
}

/// Refuses to start when a table in scope cannot be locked and read in full.
///
/// # Errors
/// Names the tables and the statements that would help.
pub(super) fn require_readable(relations: &[Relation], scope: &Scope, role: &str) -> Result<()> {
    let in_scope: Vec<&Relation> = relations.iter().filter(|relation| scope.locks(relation)).collect();
    let unreadable: Vec<&Relation> =
        in_scope.iter().copied().filter(|relation| !relation.selectable).collect();
    if !unreadable.is_empty() {
        let error = not_selectable(&unreadable, role);
        let users = unreadable.iter().any(|relation| scope.carries_users(relation));
        return Err(if users { error.hint("or leave the users out: --auth-users none") } else { error });
    }
    let hidden: Vec<&Relation> = in_scope
        .iter()
        .copied()
        .filter(|relation| scope.reads(relation) && relation.row_security_active)
        .collect();
    if !hidden.is_empty() {
        return Err(row_security(&hidden, role));
    }
    Ok(())
}

fn not_selectable(tables: &[&Relation], role: &str) -> Error {
    let first = tables.first().map_or_else(String::new, |table| quote_qualified(&table.schema, &table.name));
    Error::failed(format!("{} cannot be read: permission denied", listed(tables)))
        .why(format!("role {role} lacks SELECT on {}, or USAGE on the schema", count(tables, "table")))
        .hint(format!("GRANT SELECT ON {first} TO {};  and so on for each", quote_identifier(role)))
        .hint(format!(
            "or for all tables (14 and newer): GRANT pg_read_all_data TO {};",
            quote_identifier(role)
        ))
        .hint("or leave them out: --exclude-table")
}

fn row_security(tables: &[&Relation], role: &str) -> Error {
    Error::failed(format!("row-level security would hide rows of {}", listed(tables)))
        .why(format!("role {role} is subject to the policies of {}", count(tables, "table")))
        .hint(format!("ALTER ROLE {} BYPASSRLS;  (as a superuser)", quote_identifier(role)))
        .hint("or connect as the owner of the tables (not with FORCE ROW LEVEL SECURITY)")
        .hint("or carry their definitions only: --exclude-data")
}

/// Up to ten names, then how many more.
pub(super) fn listed(relations: &[&Relation]) -> String {
    let mut names: Vec<String> = relations
        .iter()
        .take(LISTED)
        .map(|relation| display_name(&relation.schema, &relation.name))
        .collect();
    if relations.len() > LISTED {
        names.push(format!("and {} more", relations.len() - LISTED));
    }
    names.join(", ")
}

fn count(relations: &[&Relation], noun: &str) -> String {
    match relations.len() {
        1 => format!("this {noun}"),
        number => format!("these {number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, selectable: bool, row_security_active: bool) -> Relation {
        Relation {
            schema: "public".into(),
            name: name.into(),
            kind: 'r',
            persistence: 'p',
            selectable,
            row_security_active,
            ..Relation::default()
        }
    }

    #[test]
    fn every_unreadable_table_is_named_with_the_grant_that_helps() {
        let relations = [table("a", true, false), table("secret \"x\"", false, false)];
        let error = require_readable(&relations, &Scope::default(), "reader").unwrap_err();
        assert!(error.message().contains("secret \"\"x\"\""), "{error}");
        assert!(!error.message().contains("public.a"), "{error}");
        assert!(error.hints()[0].contains("GRANT SELECT ON \"public\".\"secret \"\"x\"\"\" TO \"reader\""));
    }

    #[test]
    fn row_security_in_the_way_is_refused_and_explained() {
        let relations = [table("mine", true, true)];
        let error = require_readable(&relations, &Scope::default(), "reader").unwrap_err();
        assert!(error.message().contains("public.mine"), "{error}");
        assert!(error.hints().iter().any(|hint| hint.contains("BYPASSRLS")));
    }
}

//! Foreign-data wrappers, servers, user mappings; extensions; large objects.

use super::question::{Question, masked_options, no_member, not_built_in, role};
use crate::inventory::ObjectKind;
use crate::inventory::catalog::Extension;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;

pub(super) fn questions() -> Vec<Question> {
    vec![
        Question::new(ObjectKind::Extension, extensions()),
        Question::new(ObjectKind::ForeignDataWrapper, wrappers()),
        Question::new(ObjectKind::ForeignServer, servers()),
        Question::new(ObjectKind::UserMapping, user_mappings()),
        Question::new(ObjectKind::LargeObject, large_objects()),
    ]
}

/// Without owner and version: no command changes the owner, and a restore takes the version that
/// the target offers. The catalog keeps the version.
fn extensions() -> String {
    "SELECT pg_catalog.quote_ident(e.extname), NULL, 'schema ' || pg_catalog.quote_ident(n.nspname)
       FROM pg_catalog.pg_extension e
       JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
        .to_owned()
}

fn wrappers() -> String {
    format!(
        "SELECT pg_catalog.quote_ident(w.fdwname), {owner},
                pg_catalog.concat_ws(E'\\n', 'wrapper',
                    'handler ' || NULLIF(w.fdwhandler, 0)::pg_catalog.regprocedure::text,
                    'validator ' || NULLIF(w.fdwvalidator, 0)::pg_catalog.regprocedure::text,
                    'options ' || {options})
           FROM pg_catalog.pg_foreign_data_wrapper w
          WHERE {user} AND {own}",
        owner = role("w.fdwowner"),
        options = masked_options("w.fdwoptions"),
        user = not_built_in("w.oid"),
        own = no_member("pg_foreign_data_wrapper", "w.oid"),
    )
}

fn servers() -> String {
    format!(
        "SELECT pg_catalog.quote_ident(s.srvname), {owner},
                pg_catalog.concat_ws(E'\\n',
                    'wrapper ' || pg_catalog.quote_ident(w.fdwname),
                    'type ' || pg_catalog.quote_literal(s.srvtype),
                    'version ' || pg_catalog.quote_literal(s.srvversion),
                    'options ' || {options})
           FROM pg_catalog.pg_foreign_server s
           JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
          WHERE {own}",
        owner = role("s.srvowner"),
        options = masked_options("s.srvoptions"),
        own = no_member("pg_foreign_server", "s.oid"),
    )
}

/// Names of options only: their values are mostly passwords. The view shows even the names only to
/// those who may see them.
fn user_mappings() -> String {
    format!(
        "SELECT pg_catalog.format('%s server %I',
                    CASE m.umuser WHEN 0 THEN 'public' ELSE pg_catalog.quote_ident(m.usename) END, m.srvname), NULL,
                pg_catalog.concat_ws(' ', 'user mapping',
                    (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(part.name), ', '
                                ORDER BY part.name COLLATE pg_catalog.\"C\")
                       FROM (SELECT pg_catalog.split_part(o, '=', 1) AS name
                               FROM pg_catalog.unnest(m.umoptions) o) part))
           FROM pg_catalog.pg_user_mappings m
          WHERE {own}",
        own = no_member("pg_foreign_server", "m.srvid"),
    )
}

/// There can be very many: nothing more than needed is kept of each.
fn large_objects() -> String {
    format!(
        "SELECT l.oid::text, {owner}, '' FROM pg_catalog.pg_largeobject_metadata l",
        owner = role("l.lomowner")
    )
}

/// Reads the installed extensions, by name.
///
/// # Errors
/// The server's.
pub(super) fn read_extensions(connection: &mut Connection) -> Result<Vec<Extension>, QueryError> {
    let rows = connection.query(
        "SELECT e.extname, e.extversion, n.nspname
           FROM pg_catalog.pg_extension e
           JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
          ORDER BY e.extname",
    )?;
    rows.iter()
        .map(|row| Ok(Extension { name: row.get(0)?, version: row.get(1)?, schema: row.get(2)? }))
        .collect()
}

//! Fills an [`Inventory`] from a server, versions 13 to 18.

use super::question::{LeftOut, Question};
use super::{
    columns, constraints, foreign, operators, platform, privileges, publications, remarks, roles, routines,
    rules, tables, text_search, types,
};
use crate::inventory::catalog::Catalog;
use crate::inventory::{Inventory, Item, Privilege};
use crate::platform::Hosting;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;

/// Reads every user object and every privilege, in the session's snapshot.
///
/// Left out: what the system and extensions brought along (extensions themselves are objects),
/// indexes that stand for a constraint (the constraint's definition covers them), foreign keys and
/// triggers that the server derives for partitions, NOT NULL constraints (a flag of the column),
/// comments on extensions and on the database, subscriptions; and what is the platform's own: all
/// in its internal schemas, and the event triggers, publications and default privileges of the
/// roles of its services.
///
/// # Errors
/// The server's.
pub fn read(connection: &mut Connection, hosting: &Hosting) -> Result<Inventory, QueryError> {
    let left_out = LeftOut::internal(hosting);
    let mut items = Vec::new();
    for Question { kind, sql } in questions(connection.server_version_num() / 10_000) {
        for row in left_out.ask(connection, &sql)?.iter() {
            items.push(Item { kind, name: row.get(0)?, owner: row.get(1)?, definition: row.get(2)? });
        }
    }
    platform::leave_out(&mut items, hosting);
    items.sort_unstable_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    Ok(Inventory { items, privileges: privileges::read(connection, privileges::Scope::Changed, &left_out)? })
}

fn questions(major: u32) -> Vec<Question> {
    [
        tables::questions(),
        columns::questions(major),
        constraints::questions(),
        rules::questions(),
        routines::questions(),
        types::questions(major),
        operators::questions(),
        text_search::questions(),
        publications::questions(major),
        foreign::questions(),
        remarks::questions(),
        privileges::questions(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Reads every privilege, sorted; also those on objects of the system and of extensions that are
/// as they came, which an inventory leaves out.
///
/// # Errors
/// The server's.
pub fn read_privileges(connection: &mut Connection) -> Result<Vec<Privilege>, QueryError> {
    privileges::read(connection, privileges::Scope::All, &LeftOut::nothing())
}

/// Reads the whole catalog but for what tables hold: the inventory, extensions, roles, settings, view
/// options, the user's policies in internal schemas.
///
/// # Errors
/// The server's.
pub fn read_catalog(connection: &mut Connection, hosting: &Hosting) -> Result<Catalog, QueryError> {
    let inventory = read(connection, hosting)?;
    let roles = roles::read(connection, &inventory)?;
    Ok(Catalog {
        extensions: foreign::read_extensions(connection)?,
        database_settings: roles::read_database_settings(connection)?,
        view_options: tables::read_view_options(connection, &LeftOut::internal(hosting))?,
        policies: platform::read_policies(connection, hosting)?,
        hosting: hosting.clone(),
        filled: Vec::new(),
        cron_jobs: Vec::new(),
        secrets: Vec::new(),
        roles,
        inventory,
    })
}

//! Fills an [`Inventory`] from a server, versions 13 to 18.

use super::question::Question;
use super::{
    columns, constraints, foreign, operators, privileges, publications, remarks, roles, routines, rules,
    tables, text_search, types,
};
use crate::inventory::catalog::Catalog;
use crate::inventory::{Inventory, Item, Privilege};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;

/// Reads every user object and every privilege, in the session's snapshot.
///
/// Left out: what the system and extensions brought along (extensions themselves are objects),
/// indexes that stand for a constraint (the constraint's definition covers them), foreign keys and
/// triggers that the server derives for partitions, NOT NULL constraints (a flag of the column),
/// comments on extensions and on the database, subscriptions.
///
/// # Errors
/// The server's.
pub fn read(connection: &mut Connection) -> Result<Inventory, QueryError> {
    let mut items = Vec::new();
    for Question { kind, sql } in questions(connection.server_version_num() / 10_000) {
        for row in connection.query(&sql)?.iter() {
            items.push(Item { kind, name: row.get(0)?, owner: row.get(1)?, definition: row.get(2)? });
        }
    }
    items.sort_unstable_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    Ok(Inventory { items, privileges: privileges::read(connection, privileges::Scope::Changed)? })
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
    privileges::read(connection, privileges::Scope::All)
}

/// Reads the whole catalog: the inventory, extensions, roles, settings, view options.
///
/// # Errors
/// The server's.
pub fn read_catalog(connection: &mut Connection) -> Result<Catalog, QueryError> {
    let inventory = read(connection)?;
    let roles = roles::read(connection, &inventory)?;
    Ok(Catalog {
        extensions: foreign::read_extensions(connection)?,
        database_settings: roles::read_database_settings(connection)?,
        view_options: tables::read_view_options(connection)?,
        roles,
        inventory,
    })
}

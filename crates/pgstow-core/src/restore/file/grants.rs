//! What the roles of `grant_to` get on what a file has made, beyond what the file grants.

use std::collections::{BTreeMap, BTreeSet};

use super::PreparedFile;
use super::verify::Made;
use crate::error::{Error, Result};
use crate::inventory::{Item, ObjectKind, Privilege, name_parts, relation_name};
use crate::platform::Keeper;
use crate::postgres::identifier::{display_part, quote_identifier};
use crate::restore::journal::Journal;
use crate::restore::reconcile::{Object, object_of};
use crate::restore::selection::TableName;
use crate::restore::session::describe;
use crate::restore::{finish, grants};

/// Grants, and looks whether the server has taken each.
///
/// # Errors
/// The server's, when it cannot go on; what is not granted is a remark.
pub(super) fn give(prepared: &mut PreparedFile, journal: &Journal) -> Result<()> {
    let roles = prepared.plan.grant_to.clone();
    if roles.is_empty() {
        return Ok(());
    }
    let session = &mut prepared.session;
    let found = prepared.target.inventory_now(&mut session.connection).map_err(Error::from)?;
    let made = Made::of(&prepared.survey);
    let is_users = |item: &&Item| {
        let schema = name_parts(&item.name).into_iter().next().unwrap_or_default();
        prepared.target.hosting.keeper(&schema) == Keeper::User
    };
    let own: Vec<&Item> = found.items.iter().filter(is_users).filter(|item| made.holds(item)).collect();
    let relations: BTreeSet<TableName> = own.iter().filter_map(|item| relation_name(&item.name)).collect();
    // Those of columns come with their tables.
    let sequences = finish::sequences_of(&mut session.connection, &relations).map_err(Error::from)?;
    let schemas: BTreeSet<&str> = relations.iter().map(|(schema, _)| schema.as_str()).collect();
    let is_granted_on = |item: &&Item| match item.kind {
        ObjectKind::Schema => schemas.contains(name_parts(&item.name).concat().as_str()),
        ObjectKind::Sequence => relation_name(&item.name).is_some_and(|name| sequences.contains(&name)),
        _ => false,
    };
    let beside = found.items.iter().filter(is_granted_on);
    let owned: BTreeMap<Object, String> = own
        .iter()
        .copied()
        .chain(beside)
        .filter_map(|item| Some((object_of(item.kind, &item.name)?, item.owner.clone()?)))
        .collect();
    let wanted = grants::privileges(&roles, &owned.keys().cloned().collect(), &owned);
    session.each(&wanted, statement, |_, wanted, error| {
        let role = display_part(wanted.grantee.as_deref().unwrap_or_default());
        journal.remark(format!("role {role} of grant_to gets no {}: {}", words(wanted), describe(error)));
        Ok(())
    })?;
    let held = prepared.target.privileges_now(&mut session.connection).map_err(Error::from)?;
    for wanted in wanted.iter().filter(|wanted| !is_held(wanted, &held)) {
        let role = display_part(wanted.grantee.as_deref().unwrap_or_default());
        journal.remark(format!("role {role} of grant_to does not hold {}", words(wanted)));
    }
    Ok(())
}

fn statement(wanted: &Privilege) -> String {
    let role = quote_identifier(wanted.grantee.as_deref().unwrap_or_default());
    format!("GRANT {} ON {} {} TO {role}", wanted.privilege, wanted.target, wanted.name)
}

fn words(wanted: &Privilege) -> String {
    format!("{} on {} {}", wanted.privilege, wanted.target.to_lowercase(), wanted.name)
}

fn is_held(wanted: &Privilege, held: &[Privilege]) -> bool {
    held.iter().any(|held| {
        held.target == wanted.target
            && held.name == wanted.name
            && held.column.is_none()
            && held.privilege == wanted.privilege
            && held.grantee == wanted.grantee
    })
}

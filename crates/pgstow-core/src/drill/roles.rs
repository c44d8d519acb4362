//! The roles of a backup, in a place of its own: which there are, and what they may there. Pure.

use std::collections::BTreeSet;

use crate::archive::Entry;
use crate::inventory::catalog::{Catalog, Role};
use crate::postgres::identifier::quote_identifier;
use crate::repository::format::manifest::Manifest;

/// Kinds of entries whose owner has to be a superuser.
const OWNED_BY_SUPERUSERS: [&str; 3] = ["EVENT TRIGGER", "FOREIGN DATA WRAPPER", "PUBLICATION"];

/// Every role that owns, holds or granted something in the backup; those that come with a server excepted.
pub(super) fn named(manifest: &Manifest, catalog: &Catalog, entries: &[Entry]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = catalog.roles.iter().map(|role| role.name.clone()).collect();
    names.extend(catalog.inventory.items.iter().filter_map(|item| item.owner.clone()));
    for held in &catalog.inventory.privileges {
        names.extend([held.owner.clone(), held.grantor.clone()]);
        names.extend(held.grantee.clone());
    }
    names.extend(entries.iter().filter_map(|entry| entry.owner.clone()));
    names.extend(manifest.large_objects.list.iter().map(|object| object.owner.clone()));
    names.retain(|name| !name.starts_with("pg_") && !name.is_empty());
    names
}

/// A name for the superuser of the disposable server that is none of the backup's roles: whatever the
/// backup's superusers own is an ordinary role's there.
pub(super) fn superuser(taken: &BTreeSet<String>) -> String {
    let mut name = "pgstow_drill".to_owned();
    while taken.contains(&name) {
        name.push('_');
    }
    name
}

/// Statements that make the roles: nobody logs in with them. Only those that own what an ordinary role may
/// not own are superusers; other superusers of the source may read everything and act as every other
/// role, since materialized views are filled with the rights of their owners.
pub(super) fn statements(names: &BTreeSet<String>, catalog: &Catalog, entries: &[Entry]) -> Roles {
    let needed: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| OWNED_BY_SUPERUSERS.contains(&entry.kind.as_str()))
        .filter_map(|entry| entry.owner.as_deref())
        .collect();
    let known = |name: &str| catalog.roles.iter().find(|role| role.name == name);
    let mut roles = Roles::default();
    for name in names {
        let was_superuser = known(name).is_some_and(|role| has(role, "SUPERUSER"));
        let attributes = if needed.contains(name.as_str()) {
            "NOLOGIN SUPERUSER"
        } else if was_superuser || known(name).is_some_and(|role| has(role, "BYPASSRLS")) {
            "NOLOGIN BYPASSRLS"
        } else {
            "NOLOGIN"
        };
        let quoted = quote_identifier(name);
        roles.create.push(format!("CREATE ROLE {quoted} {attributes}"));
        if was_superuser && !needed.contains(name.as_str()) {
            let ordinary =
                |other: &&String| *other != name && !known(other).is_some_and(|role| has(role, "SUPERUSER"));
            let others = names.iter().filter(ordinary).map(|other| quote_identifier(other));
            roles.grant.extend(others.map(|other| format!("GRANT {other} TO {quoted}")));
            roles.grant.push(format!("GRANT pg_read_all_data TO {quoted}"));
        }
    }
    for role in &catalog.roles {
        for parent in role.member_of.iter().filter(|parent| names.contains(*parent)) {
            roles.grant.push(format!(
                "GRANT {} TO {}",
                quote_identifier(parent),
                quote_identifier(&role.name)
            ));
        }
    }
    roles
}

/// Statements, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Roles {
    /// Each must succeed.
    pub(super) create: Vec<String>,
    /// Each may fail: memberships may go in a circle here, and old servers lack a role.
    pub(super) grant: Vec<String>,
}

fn has(role: &Role, attribute: &str) -> bool {
    role.attributes.split_whitespace().any(|word| word == attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, attributes: &str, member_of: &[&str]) -> Role {
        Role {
            name: name.into(),
            attributes: attributes.into(),
            member_of: member_of.iter().map(|&name| name.to_owned()).collect(),
            settings: Vec::new(),
        }
    }

    #[test]
    fn superusers_of_the_source_are_none_here() {
        let catalog = Catalog {
            roles: vec![
                role("postgres", "SUPERUSER LOGIN", &[]),
                role("app", "LOGIN", &["readers"]),
                role("readers", "NOLOGIN NOSUPERUSER", &[]),
                role("sees all", "NOLOGIN BYPASSRLS", &[]),
            ],
            ..Catalog::default()
        };
        let names = catalog.roles.iter().map(|role| role.name.clone()).collect();
        let made = statements(&names, &catalog, &[]);
        assert_eq!(
            made.create,
            [
                "CREATE ROLE \"app\" NOLOGIN",
                "CREATE ROLE \"postgres\" NOLOGIN BYPASSRLS",
                "CREATE ROLE \"readers\" NOLOGIN",
                "CREATE ROLE \"sees all\" NOLOGIN BYPASSRLS",
            ]
        );
        assert!(made.grant.contains(&"GRANT \"app\" TO \"postgres\"".to_owned()), "{made:?}");
        assert!(made.grant.contains(&"GRANT \"readers\" TO \"app\"".to_owned()), "{made:?}");
        assert_eq!(superuser(&names), "pgstow_drill");
        assert_eq!(superuser(&BTreeSet::from(["pgstow_drill".into()])), "pgstow_drill_");
    }
}

//! Decides which roles are mapped, created or missing. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Roles;
use super::attributes::{Rights, attributes};
use super::creation::{Join, Membership, NewRole, Setting};
use super::uses::{self, MissingRole};
use crate::archive::Entry;
use crate::error::{Error, Result};
use crate::inventory::ObjectKind;
use crate::inventory::catalog::{Catalog, Role};
use crate::postgres::identifier::{display_part, quote_identifier};
use crate::repository::format::manifest::Manifest;
use crate::restore::Parts;
use crate::restore::selection::{self, Carried, Graph};
use crate::restore::target::TargetState;

/// The backup, as far as roles are concerned.
pub(in crate::restore) struct Backup<'a> {
    pub(in crate::restore) manifest: &'a Manifest,
    pub(in crate::restore) catalog: &'a Catalog,
    pub(in crate::restore) carried: &'a Carried,
    pub(in crate::restore) parts: Parts,
}

/// What was asked for.
#[derive(Clone, Copy)]
pub(in crate::restore) struct Asked<'a> {
    /// Create missing roles.
    pub(in crate::restore) create: bool,
    /// The role of the target for a role of the backup.
    pub(in crate::restore) map: &'a BTreeMap<String, String>,
}

/// Decides about every role that the backup refers to. Entries that name mapped or missing roles
/// are written anew, and the roles that will be created count as the target's from here on.
///
/// # Errors
/// Refused: a role that another is mapped to is not there; the login may not create roles.
pub(in crate::restore) fn resolve(
    entries: &mut [Entry],
    backup: &Backup<'_>,
    asked: Asked<'_>,
    target: &mut TargetState,
) -> Result<Roles> {
    let chosen = selection::choose(&Graph::new(entries), backup.carried).entries;
    let referring = uses::referring(entries, &chosen, backup.catalog);
    let sources = (backup.manifest, backup.catalog);
    let uses = uses::collect(entries, &chosen, &referring, sources, backup.carried, backup.parts);
    let known: BTreeMap<&str, &Role> =
        backup.catalog.roles.iter().map(|role| (role.name.as_str(), role)).collect();
    let mut map = asked.map.clone();
    map.retain(|old, new| old != new);
    check_map(&map, &known, asked.create, target)?;
    let mut roles = Roles { keywords: target.keyword_roles.clone(), ..Roles::default() };
    roles.notes.extend(unused(&map, &uses, &known));
    roles.renamed = map;

    let mut lacking: BTreeSet<&str> = uses.keys().map(String::as_str).collect();
    lacking.extend(owner_of_public(backup));
    lacking.retain(|role| !roles.renamed.contains_key(*role));
    lacking.extend(roles.renamed.values().map(String::as_str).filter(|new| known.contains_key(new)));
    lacking.retain(|role| !target.roles.contains_key(*role));
    let lacking: BTreeSet<String> = lacking.into_iter().map(str::to_owned).collect();
    let created = if asked.create { creatable(&lacking, &known, &roles, target) } else { BTreeSet::new() };
    check_rights(&created, target)?;
    roles.plan_creation(&created, backup, target);
    target.roles.extend(created.iter().map(|role| (role.clone(), true)));

    let missing: BTreeSet<&str> =
        lacking.iter().filter(|role| !created.contains(*role)).map(String::as_str).collect();
    roles.missing = missing.iter().filter_map(|role| uses.get(*role).cloned()).collect();
    roles.hints = hints(&roles.missing, asked.create, target);
    roles.rewrite(entries, &referring, &missing);
    Ok(roles)
}

/// The schema public exists everywhere, so an archive may have no entry for its owner.
fn owner_of_public<'a>(backup: &Backup<'a>) -> Option<&'a str> {
    let is_public = |item: &&crate::inventory::Item| item.kind == ObjectKind::Schema && item.name == "public";
    let public = backup.catalog.inventory.items.iter().find(is_public)?;
    let is_restored = *backup.carried == Carried::Everything && backup.parts.definitions;
    public.owner.as_deref().filter(|_| is_restored)
}

/// Every role that another is mapped to must be there, or become.
fn check_map(
    map: &BTreeMap<String, String>,
    known: &BTreeMap<&str, &Role>,
    create: bool,
    target: &TargetState,
) -> Result<()> {
    for (old, new) in map {
        let becomes = create && known.contains_key(new.as_str()) && is_ordinary(new);
        if target.roles.contains_key(new) || becomes {
            continue;
        }
        return Err(Error::refused(format!("{} has no role {}", target.target, display_part(new)))
            .why(format!("role {} of the backup is mapped to it", display_part(old)))
            .hint(format!("CREATE ROLE {} NOLOGIN;", quote_identifier(new)))
            .hint("or map it to a role that exists"));
    }
    Ok(())
}

/// Predefined roles come with the server.
fn is_ordinary(role: &str) -> bool {
    !role.starts_with("pg_") && role != "public" && role != "none"
}

fn unused(
    map: &BTreeMap<String, String>,
    uses: &BTreeMap<String, MissingRole>,
    known: &BTreeMap<&str, &Role>,
) -> Vec<String> {
    let unused = map.keys().filter(|old| !uses.contains_key(*old) && !known.contains_key(old.as_str()));
    let note =
        |old: &String| format!("the backup names no role {}: mapping it changes nothing", display_part(old));
    unused.map(note).collect()
}

/// The lacking roles that can be created, and the roles that those are members of.
fn creatable(
    lacking: &BTreeSet<String>,
    known: &BTreeMap<&str, &Role>,
    roles: &Roles,
    target: &TargetState,
) -> BTreeSet<String> {
    let mut created = BTreeSet::new();
    let mut open: Vec<&str> = lacking.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        let Some(role) = known.get(name).filter(|_| is_ordinary(name)) else { continue };
        if target.roles.contains_key(name) || !created.insert(name.to_owned()) {
            continue;
        }
        open.extend(
            role.member_of
                .iter()
                .map(|parent| roles.renamed.get(parent).map_or(parent.as_str(), String::as_str)),
        );
    }
    created
}

fn check_rights(created: &BTreeSet<String>, target: &TargetState) -> Result<()> {
    if created.is_empty() || target.rights.may_create_roles() {
        return Ok(());
    }
    let names: Vec<String> = created.iter().map(|role| display_part(role)).collect();
    Err(Error::refused(format!("role {} may not create roles at {}", target.login, target.target))
        .why(format!("the backup needs {}, which the target lacks", names.join(", ")))
        .hint(format!("ALTER ROLE {} CREATEROLE;  (as a superuser)", quote_identifier(&target.login)))
        .hint("or map them to roles that exist: --map-role OLD=NEW"))
}

fn hints(missing: &[MissingRole], create: bool, target: &TargetState) -> Vec<String> {
    let Some(first) = missing.first() else { return Vec::new() };
    let map =
        format!("--map-role {}=NAME gives what is its to a role that exists", display_part(&first.role));
    let mut hints = Vec::new();
    if !create {
        let who = if target.rights.may_create_roles() {
            String::new()
        } else {
            format!(" ({} may not: ALTER ROLE {0} CREATEROLE)", target.login)
        };
        hints.push(format!("--create-roles creates missing roles, without passwords{who}"));
    }
    hints.push(map);
    hints
}

/// Roles that own or grant something, or have default privileges.
fn acting<'b>(backup: &Backup<'b>) -> BTreeSet<&'b str> {
    let inventory = &backup.catalog.inventory;
    let owners = inventory.items.iter().filter_map(|item| item.owner.as_deref());
    let grantors = inventory.privileges.iter().map(|held| held.grantor.as_str());
    let objects = backup.manifest.large_objects.list.iter().map(|object| object.owner.as_str());
    owners.chain(grantors).chain(objects).collect()
}

impl Roles {
    fn plan_creation(&mut self, created: &BTreeSet<String>, backup: &Backup<'_>, target: &TargetState) {
        let rights = target.rights;
        self.creation.join = match rights {
            Rights { superuser: true, .. } => Join::Needless,
            Rights { major, .. } if major < 16 => Join::Member,
            _ => Join::Inherit,
        };
        let acting = acting(backup);
        for role in backup.catalog.roles.iter().filter(|role| created.contains(&role.name)) {
            self.plan_role(role, acting.contains(role.name.as_str()), &rights, &target.login);
        }
        let name = |role: &str| self.renamed.get(role).map_or(role, String::as_str).to_owned();
        let exists = |role: &String| created.contains(role) || target.roles.contains_key(role);
        let mut memberships = BTreeSet::new();
        for role in &backup.catalog.roles {
            let member = name(&role.name);
            for parent in role.member_of.iter().map(|parent| name(parent)) {
                let is_new = created.contains(&member) || created.contains(&parent);
                if is_new && member != parent && exists(&member) && exists(&parent) {
                    memberships.insert(Membership { role: parent, member: member.clone() });
                }
            }
        }
        self.creation.memberships = memberships.into_iter().collect();
        let own = backup.catalog.roles.iter().filter(|role| created.contains(&role.name));
        let own =
            own.flat_map(|role| role.settings.iter().map(move |setting| (role.name.clone(), None, setting)));
        let here = backup.catalog.database_settings.iter().filter_map(|kept| {
            let role = kept.role.clone().filter(|role| created.contains(role))?;
            Some((role, Some(target.database.clone()), &kept.setting))
        });
        let settings = own.chain(here).filter_map(|(role, database, setting)| {
            let (name, value) = setting.split_once('=')?;
            Some(Setting { role, database, name: name.to_owned(), value: value.to_owned() })
        });
        self.creation.settings = settings.collect();
    }

    fn plan_role(&mut self, role: &Role, acts: bool, rights: &Rights, login: &str) {
        let shown = display_part(&role.name);
        let Some(found) = attributes(&role.attributes, rights) else {
            self.remarks.push(format!("role {shown} is created without attributes: they cannot be read"));
            self.creation.roles.push(NewRole {
                name: role.name.clone(),
                attributes: "NOLOGIN".to_owned(),
                acts,
            });
            return;
        };
        for word in found.denied {
            let reason = match word {
                "SUPERUSER" | "REPLICATION" => "a restore never gives it".to_owned(),
                _ => format!("{login} may not give it"),
            };
            self.remarks.push(format!("role {shown} is created without {word}: {reason}"));
        }
        if found.login {
            self.notes.push(format!("role {shown} has no password after this: no backup holds any"));
        }
        self.creation.roles.push(NewRole { name: role.name.clone(), attributes: found.given, acts });
    }
}

#[cfg(test)]
mod tests;

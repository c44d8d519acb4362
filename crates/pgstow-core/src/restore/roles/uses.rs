//! What of a backup refers to which role. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::default_privileges::DefaultPrivileges;
use super::names::{self, Holder};
use super::policy;
use crate::archive::Entry;
use crate::inventory::catalog::Catalog;
use crate::inventory::name_parts;
use crate::inventory::{Item, ObjectKind};
use crate::repository::format::manifest::Manifest;
use crate::restore::Parts;
use crate::restore::entry;
use crate::restore::selection::Carried;

/// A role of the backup that the target lacks, with what depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MissingRole {
    /// The role.
    pub role: String,
    /// Objects that it owns.
    pub objects: usize,
    /// Privileges that it holds on objects of others.
    pub privileges: usize,
    /// Privileges that it granted on objects of others.
    pub granted: usize,
    /// Policies for it, such as `policy mine on public.notes`.
    pub policies: Vec<String>,
    /// Lists of default privileges that are its own or name it.
    pub default_privileges: usize,
    /// User mappings for it.
    pub user_mappings: usize,
}

/// An entry of the archive whose definition names roles.
#[derive(Debug, Clone)]
pub(super) struct Referring<'a> {
    /// Its place in the archive.
    pub(super) index: usize,
    /// The same in the inventory.
    pub(super) item: Option<&'a Item>,
    pub(super) subject: Subject,
}

/// What names the roles.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    /// A policy for these.
    Policy(BTreeSet<Holder>),
    Default(DefaultPrivileges),
    UserMapping(String),
    /// Something that does not look as it should.
    Unread,
}

impl Referring<'_> {
    /// All roles that it names.
    pub(super) fn roles(&self) -> BTreeSet<&str> {
        match &self.subject {
            Subject::Policy(roles) => roles.iter().filter_map(Option::as_deref).collect(),
            Subject::Unread => BTreeSet::new(),
            Subject::Default(list) => {
                let holders = list.grants.iter().filter_map(|grant| grant.holder.as_deref());
                holders.chain([list.role.as_str()]).collect()
            }
            Subject::UserMapping(role) => BTreeSet::from([role.as_str()]),
        }
    }
}

/// The chosen entries whose definitions name roles.
pub(super) fn referring<'a>(entries: &[Entry], chosen: &[usize], catalog: &'a Catalog) -> Vec<Referring<'a>> {
    let items = catalog.inventory.items.iter();
    let policies: BTreeMap<Vec<String>, &Item> = items
        .clone()
        .filter(|item| item.kind == ObjectKind::Policy)
        .map(|item| (name_parts(&item.name), item))
        .collect();
    let defaults: Vec<(DefaultPrivileges, &Item)> = items
        .clone()
        .filter(|item| item.kind == ObjectKind::DefaultPrivileges)
        .filter_map(|item| Some((DefaultPrivileges::read(&item.name, &item.definition)?, item)))
        .collect();
    let mappings: BTreeMap<(Holder, String), &Item> = items
        .filter(|item| item.kind == ObjectKind::UserMapping)
        .filter_map(|item| Some((read_mapping(&item.name, " server ")?, item)))
        .collect();
    let mut found = Vec::new();
    for &index in chosen {
        let Some(entry) = entries.get(index) else { continue };
        match entry.kind.as_str() {
            "POLICY" => {
                let statement = policy::parse(&entry.definition);
                let item = statement.as_ref().and_then(|statement| {
                    let parts = [&statement.schema, &statement.table, &statement.policy];
                    policies.get(parts.map(String::clone).as_slice()).copied()
                });
                let known = item.and_then(|item| policy::roles(&item.definition));
                let roles = known.or(statement.map(|statement| statement.roles));
                let subject = roles.map_or(Subject::Unread, Subject::Policy);
                found.push(Referring { index, item, subject });
            }
            "DEFAULT ACL" => {
                let list = defaults.iter().find(|(list, _)| {
                    Some(&list.role) == entry.owner.as_ref()
                        && list.schema == entry.schema
                        && entry.tag == format!("DEFAULT PRIVILEGES FOR {}", list.kind.to_uppercase())
                });
                let subject = list.map_or(Subject::Unread, |(list, _)| Subject::Default(list.clone()));
                found.push(Referring { index, item: list.map(|(_, item)| *item), subject });
            }
            "USER MAPPING" => {
                let head = entry.definition.strip_prefix("CREATE USER MAPPING FOR ");
                let read = head.and_then(|head| read_mapping(head, " SERVER "));
                let item = read.as_ref().and_then(|read| mappings.get(read).copied());
                let subject = match read {
                    Some((Some(role), _)) => Subject::UserMapping(role),
                    Some((None, _)) => continue,
                    None => Subject::Unread,
                };
                found.push(Referring { index, item, subject });
            }
            _ => {}
        }
    }
    found
}

/// Holder and server of `app SERVER files…`.
fn read_mapping(text: &str, between: &str) -> Option<(Holder, String)> {
    let (holder, rest) = names::read_holder(text)?;
    let (server, _) = names::read(rest.strip_prefix(between)?)?;
    Some((holder, server))
}

/// Everything that is restored and belongs to, or names, a role: by the role's name in the backup.
pub(super) fn collect(
    entries: &[Entry],
    chosen: &[usize],
    referring: &[Referring<'_>],
    backup: (&Manifest, &Catalog),
    carried: &Carried,
    parts: Parts,
) -> BTreeMap<String, MissingRole> {
    let (manifest, catalog) = backup;
    let mut uses = Uses::default();
    for owner in chosen.iter().filter_map(|&index| entries.get(index)).filter_map(entry::owner) {
        uses.of(owner).objects += 1;
    }
    if parts.rows {
        for object in &manifest.large_objects.list {
            uses.of(&object.owner).objects += 1;
        }
    }
    let made = Made::new(entries, chosen, carried, parts);
    for held in catalog.inventory.privileges.iter().filter(|held| made.has(&held.target, &held.name)) {
        if let Some(grantee) = held.grantee.as_ref().filter(|grantee| **grantee != held.owner) {
            uses.of(grantee).privileges += 1;
        }
        if held.grantor != held.owner {
            uses.of(&held.grantor).granted += 1;
        }
    }
    for referring in referring {
        for role in referring.roles() {
            let of_role = uses.of(role);
            match &referring.subject {
                Subject::Policy(_) => of_role.policies.extend(entries.get(referring.index).map(entry::name)),
                Subject::Default(_) => of_role.default_privileges += 1,
                Subject::UserMapping(_) => of_role.user_mappings += 1,
                Subject::Unread => {}
            }
        }
    }
    uses.0
}

#[derive(Default)]
struct Uses(BTreeMap<String, MissingRole>);

impl Uses {
    fn of(&mut self, role: &str) -> &mut MissingRole {
        let new = || MissingRole { role: role.to_owned(), ..MissingRole::default() };
        self.0.entry(role.to_owned()).or_insert_with(new)
    }
}

/// The objects that this restore makes, as far as privileges are concerned.
struct Made {
    parts: Parts,
    /// Schema and bare name; `None` for all.
    only: Option<BTreeSet<(String, String)>>,
}

impl Made {
    fn new(entries: &[Entry], chosen: &[usize], carried: &Carried, parts: Parts) -> Self {
        if *carried == Carried::Everything {
            return Self { parts, only: None };
        }
        let chosen = chosen.iter().filter_map(|&index| entries.get(index));
        let names = chosen.map(|entry| match (&entry.schema, entry.kind.as_str()) {
            (_, "SCHEMA") => (entry.tag.clone(), String::new()),
            (schema, _) => (schema.clone().unwrap_or_default(), bare(&entry.tag).to_owned()),
        });
        Self { parts, only: Some(names.collect()) }
    }

    fn has(&self, target: &str, name: &str) -> bool {
        match target {
            "DATABASE" => false,
            "LARGE OBJECT" => self.parts.rows,
            _ if !self.parts.definitions => false,
            _ => self.only.as_ref().is_none_or(|only| {
                let mut parts = name_parts(name).into_iter();
                let schema = parts.next().unwrap_or_default();
                let object = parts.next().unwrap_or_default();
                only.contains(&(schema, bare(&object).to_owned()))
            }),
        }
    }
}

/// A function's name without its arguments.
fn bare(name: &str) -> &str {
    name.split('(').next().unwrap_or_default()
}

impl MissingRole {
    /// What depends on the role, in a few words each.
    pub fn in_words(&self) -> String {
        let count = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {many}")),
        };
        let prefixed =
            |verb: &str, counted: Option<String>| counted.map(|counted| format!("{verb} {counted}"));
        let parts = [
            prefixed("owns", count(self.objects, "object", "objects")),
            prefixed("holds", count(self.privileges, "privilege", "privileges")),
            prefixed("granted", count(self.granted, "privilege", "privileges")),
            count(self.default_privileges, "list of default privileges", "lists of default privileges"),
            count(self.user_mappings, "user mapping", "user mappings"),
            (!self.policies.is_empty()).then(|| self.policies.join(", ")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "nothing restored depends on it".to_owned() } else { parts.join("; ") }
    }
}

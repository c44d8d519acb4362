//! Writes the statements of policies, default privileges and user mappings anew for the roles that
//! the target has, or decides that they are left out. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::default_privileges::DefaultPrivileges;
use super::names;
use super::uses::{Referring, Subject};
use super::{Roles, policy};
use crate::archive::Entry;
use crate::restore::entry;

impl Roles {
    /// Changes the entries that name a mapped or a missing role.
    pub(super) fn rewrite(
        &mut self,
        entries: &mut [Entry],
        referring: &[Referring<'_>],
        missing: &BTreeSet<&str>,
    ) {
        let mut together: BTreeMap<(String, Option<String>, String), DefaultPrivileges> = BTreeMap::new();
        for referring in referring {
            let Some(entry) = entries.get_mut(referring.index) else { continue };
            let lacking: Vec<&str> =
                referring.roles().into_iter().filter(|role| missing.contains(role)).collect();
            let is_renamed = referring.roles().iter().any(|role| self.renamed.contains_key(*role));
            match &referring.subject {
                Subject::Unread if self.renamed.is_empty() => {}
                Subject::Unread => self.lose_unread(entry, referring),
                Subject::Policy(_) => self.rewrite_policy(entry, referring, &lacking, is_renamed),
                Subject::Default(list) => {
                    let found = self.rewrite_default(entry, list, missing, is_renamed);
                    // Lists of two roles that become one are one list at the target.
                    let key = (found.role.clone(), found.schema.clone(), found.kind.clone());
                    let whole = together.entry(key).or_insert_with(|| found.clone());
                    whole.grants.extend(found.grants);
                }
                Subject::UserMapping(role) => {
                    self.rewrite_mapping(entry, referring, role, lacking.is_empty(), is_renamed);
                }
            }
        }
        for referring in referring {
            let (Subject::Default(list), Some(item)) = (&referring.subject, referring.item) else { continue };
            let renamed = list.at_target(&self.naming(), missing);
            let key = (renamed.role.clone(), renamed.schema.clone(), renamed.kind.clone());
            let whole = together.get(&key).cloned().unwrap_or(renamed);
            if whole != *list {
                self.defaults.insert(item.name.clone(), whole);
            }
        }
    }

    fn rewrite_policy(
        &mut self,
        entry: &mut Entry,
        referring: &Referring<'_>,
        lacking: &[&str],
        is_renamed: bool,
    ) {
        let name = entry::name(entry);
        let statement = policy::parse(&entry.definition);
        if !lacking.is_empty() {
            let noun = if lacking.len() == 1 { "role" } else { "roles" };
            let mut remark =
                format!("{name} is not restored: the target has no {noun} {}", lacking.join(", "));
            let others: Vec<&str> =
                referring.roles().into_iter().filter(|role| !lacking.contains(role)).collect();
            if statement.is_some_and(|statement| statement.restrictive) && !others.is_empty() {
                remark.push_str(&format!(
                    "; it is restrictive: without it {} may see and change more than in the backup",
                    others.join(", ")
                ));
            }
            self.lose(referring, remark);
            return;
        }
        if !is_renamed {
            return;
        }
        let known = referring.item.and_then(|item| policy::roles(&item.definition));
        match statement.filter(|statement| Some(&statement.roles) == known.as_ref()) {
            Some(statement) => entry.definition = statement.renamed(&self.naming()),
            None => self.lose_unread(entry, referring),
        }
    }

    fn rewrite_default(
        &mut self,
        entry: &mut Entry,
        list: &DefaultPrivileges,
        missing: &BTreeSet<&str>,
        is_renamed: bool,
    ) -> DefaultPrivileges {
        let found = list.at_target(&self.naming(), missing);
        if missing.contains(list.role.as_str()) {
            // Left out as a whole, where all default privileges out of reach are.
            return found;
        }
        let lost: BTreeSet<&str> = list
            .grants
            .iter()
            .filter_map(|grant| grant.holder.as_deref())
            .filter(|role| missing.contains(role))
            .collect();
        let place = list.schema.as_ref().map(|schema| format!(" in schema {schema}")).unwrap_or_default();
        for role in &lost {
            self.remarks.push(format!(
                "what default privileges of role {} on {}{place} give role {role} is not restored: the target has no such role",
                list.role, list.kind
            ));
        }
        if is_renamed || !lost.is_empty() {
            entry.definition = found.statements();
            entry.owner = Some(found.role.clone());
        }
        found
    }

    fn rewrite_mapping(
        &mut self,
        entry: &mut Entry,
        referring: &Referring<'_>,
        role: &str,
        is_there: bool,
        is_renamed: bool,
    ) {
        if !is_there {
            let remark = format!("{} is not restored: the target has no role {role}", entry::name(entry));
            self.lose(referring, remark);
        } else if is_renamed {
            let new = self.naming().name(role).to_owned();
            let head = "CREATE USER MAPPING FOR ";
            let rest = entry.definition.strip_prefix(head).and_then(names::read_holder);
            if let Some((_, rest)) = rest {
                entry.definition = format!("{head}{}{rest}", names::quoted(&Some(new.clone())));
            }
            let rest = entry.tag.strip_prefix("USER MAPPING ").and_then(|tag| tag.strip_prefix(role));
            if let Some(rest) = rest {
                entry.tag = format!("USER MAPPING {new}{rest}");
            }
        }
    }

    /// Roles are mapped, and nothing tells whether this names one of them.
    fn lose_unread(&mut self, entry: &Entry, referring: &Referring<'_>) {
        let name = entry::name(entry);
        self.lose(
            referring,
            format!("{name} is not restored: its roles cannot be read, so they cannot be mapped"),
        );
    }

    fn lose(&mut self, referring: &Referring<'_>, remark: String) {
        self.left_out.insert(referring.index);
        if let Some(item) = referring.item {
            self.lost.insert((item.kind, item.name.clone()));
        }
        self.remarks.push(remark);
    }
}

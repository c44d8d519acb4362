//! What becomes of the backup's roles at the target: which are mapped to others, which are created,
//! which are missing, and what that means for all that names them.
//!
//! Owners and privileges are translated where they are compared and set (`owners`, `reconcile`).
//! Policies, default privileges and user mappings name roles inside their definitions: their
//! statements are written anew here, from the inventory, and what cannot be is left out by name.

mod attributes;
mod creation;
mod default_privileges;
mod names;
mod policy;
mod resolve;
mod rewriting;
mod uses;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use attributes::Rights;
pub(super) use resolve::{Asked, Backup, resolve};
pub use uses::MissingRole;

use super::RestorePlan;
use super::journal::Journal;
use super::selection::{Chosen, Graph};
use super::session::Session;
use crate::error::Result;
use crate::inventory::{Item, ObjectKind};
use creation::Creation;
use default_privileges::DefaultPrivileges;
use names::Naming;

/// The backup's roles as this target has them, or will.
#[derive(Debug, Clone, Default)]
pub(super) struct Roles {
    /// The role of the target for each role of the backup that is mapped.
    pub(super) renamed: BTreeMap<String, String>,
    /// Names that the target quotes although they look plain.
    keywords: BTreeSet<String>,
    creation: Creation,
    missing: Vec<MissingRole>,
    /// Entries that are not replayed.
    left_out: BTreeSet<usize>,
    /// The same in the inventory.
    lost: BTreeSet<(ObjectKind, String)>,
    /// Default privileges as they are expected at the target, for those that are not as in the
    /// backup, by the backup's name.
    defaults: BTreeMap<String, DefaultPrivileges>,
    remarks: Vec<String>,
    notes: Vec<String>,
    hints: Vec<String>,
}

impl Roles {
    fn naming(&self) -> Naming<'_> {
        Naming { renamed: &self.renamed, keywords: &self.keywords }
    }

    /// Takes what cannot be restored, and comments on it, out of what is replayed.
    pub(super) fn leave_out(&self, graph: &Graph<'_>, chosen: &mut Chosen) {
        chosen.entries.retain(|index| {
            let is_comment = |kind: &str| matches!(kind, "COMMENT" | "SECURITY LABEL");
            let describes_it = graph.entries.get(*index).is_some_and(|entry| is_comment(&entry.kind))
                && graph.dependencies(*index).any(|other| self.left_out.contains(&other));
            !self.left_out.contains(index) && !describes_it
        });
    }

    /// Says in the plan what happens to roles.
    pub(super) fn announce(&self, plan: &mut RestorePlan) {
        plan.create_roles = self.creation.roles.iter().map(|role| role.name.clone()).collect();
        plan.map_roles.clone_from(&self.renamed);
        plan.missing_roles.clone_from(&self.missing);
        plan.remarks.extend(self.remarks.iter().cloned());
        plan.notes.extend(self.notes.iter().cloned());
        plan.hints.extend(self.hints.iter().cloned());
        if !plan.create_roles.is_empty() {
            let count = plan.create_roles.len();
            let roles = if count == 1 { "1 role".to_owned() } else { format!("{count} roles") };
            plan.steps.insert(0, format!("create {roles}"));
        }
    }

    /// Creates what is to be created.
    ///
    /// # Errors
    /// A role that cannot be created: nothing else has been changed then.
    pub(super) fn create(&self, session: &mut Session, journal: &Journal) -> Result<()> {
        self.creation.run(session, journal)
    }

    /// The item as the target should have it, its owner apart; `None` when it needs none.
    pub(super) fn expected(&self, mut item: Item) -> Option<Item> {
        let naming = self.naming();
        match item.kind {
            ObjectKind::Policy if !self.renamed.is_empty() => {
                if let Some(definition) = policy::expected(&item.definition, &naming) {
                    item.definition = definition;
                }
            }
            ObjectKind::UserMapping => {
                if let Some((role, rest)) = names::read(&item.name)
                    && self.renamed.contains_key(&role)
                {
                    item.name = format!("{}{rest}", naming.spelled(naming.name(&role)));
                }
            }
            ObjectKind::DefaultPrivileges => {
                if let Some(list) = self.defaults.get(&item.name) {
                    if list.is_built_in() {
                        return None;
                    }
                    (item.name, item.definition) = list.item(&naming);
                }
            }
            _ => {}
        }
        Some(item)
    }

    /// Whether the plan has told that the object will be missing.
    pub(super) fn is_lost(&self, kind: ObjectKind, name: &str) -> bool {
        self.lost.contains(&(kind, name.to_owned()))
    }
}

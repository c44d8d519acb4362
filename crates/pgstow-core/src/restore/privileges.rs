//! Makes the target's privileges equal to the backup's and looks again whether they are.

use std::collections::{BTreeMap, BTreeSet};

use super::grants;
use super::journal::Journal;
use super::owners::Owners;
use super::reconcile::{
    Change, Expected, Object, Terms, changes, complete, expect, left_out, object, object_of, objects,
};
use super::session::{Session, describe};
use super::target::TargetState;
use crate::error::{Error, Result};
use crate::inventory::name_parts;
use crate::inventory::{Inventory, Privilege};
use crate::platform::Keeper;

/// How often privileges are compared and changed: revoking with CASCADE may take a wanted one
/// along, which the next round grants again.
const ROUNDS: usize = 3;

/// What the reconciliation needs besides a session.
pub(super) struct Reconciliation<'a> {
    /// What the backup holds.
    pub(super) inventory: &'a Inventory,
    /// Objects whose privileges are made equal.
    pub(super) covered: BTreeSet<Object>,
    /// Objects that the backup creates; others belong to extensions or the system.
    pub(super) own: BTreeSet<Object>,
    pub(super) owners: &'a Owners,
    /// Roles that get more than the backup gives them.
    pub(super) grant_to: &'a [String],
    /// The target as it was found.
    pub(super) target: &'a TargetState,
    pub(super) source_version: u32,
}

/// How the reconciliation ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Reconciled {
    /// What the target should hold, in its own roles.
    pub(super) expected: Expected,
    /// Objects on which a statement failed.
    pub(super) refused: usize,
}

impl Reconciliation<'_> {
    /// Every privilege that is held at the target now.
    fn held(&self, session: &mut Session, objects: &Inventory) -> Result<Vec<Privilege>> {
        let privileges = self.target.privileges_now(&mut session.connection).map_err(Error::from)?;
        Ok(complete(&objects.items, privileges))
    }

    /// What the roles of `grant_to` get rights on: the user's objects, no member of an extension.
    fn granted_on(&self) -> BTreeSet<Object> {
        let is_users = |(target, name): &&Object| {
            let schema = name_parts(name).into_iter().next().unwrap_or_default();
            *target != "LARGE OBJECT" && self.target.hosting.keeper(&schema) == Keeper::User
        };
        self.covered.intersection(&self.own).filter(is_users).cloned().collect()
    }

    fn terms<'t>(&'t self, owned: &'t BTreeMap<Object, String>) -> Terms<'t> {
        Terms {
            owners: self.owners,
            roles: &self.target.roles,
            owned,
            source_knows_maintain: self.source_version >= 170_000,
            target_knows_maintain: self.target.version >= 170_000,
        }
    }

    /// Changes what differs.
    ///
    /// # Errors
    /// The server's, when it cannot go on.
    pub(super) fn run(&self, session: &mut Session, journal: &Journal) -> Result<Reconciled> {
        let mut reconciled = Reconciled::default();
        let actual = self.target.inventory_now(&mut session.connection).map_err(Error::from)?;
        let mut found = self.held(session, &actual)?;
        let mut owned = owners_of(&actual);
        // Members of extensions whose access lists are as they came.
        for held in &found {
            owned.entry(object(held)).or_insert_with(|| held.owner.clone());
        }
        let existing = objects(&actual);
        let terms = self.terms(&owned);
        let more = left_out(&self.inventory.items, &self.inventory.privileges);
        reconciled.expected = expect(self.inventory.privileges.iter().chain(&more), &terms);
        reconciled.expected.add(grants::privileges(self.grant_to, &self.granted_on(), &owned));
        // An object that should have been created and was not is told elsewhere.
        let wanted: BTreeSet<Object> = self
            .covered
            .iter()
            .filter(|object| {
                existing.contains(*object) || owned.contains_key(*object) || !self.own.contains(*object)
            })
            .cloned()
            .collect();
        let mut failures: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..ROUNDS {
            let changes = changes(&reconciled.expected.privileges, &found, &wanted, &terms);
            if changes.is_empty() {
                break;
            }
            failures.clear();
            session.each(&changes, Change::statements, |_, change, error| {
                *failures.entry(format!("{}: {}", change.statement, describe(error))).or_default() += 1;
                Ok(())
            })?;
            found = self.held(session, &actual)?;
        }
        reconciled.refused = failures.len();
        for failure in failures.keys() {
            journal.remark(format!("a privilege could not be set: {failure}"));
        }
        Ok(reconciled)
    }
}

fn owners_of(actual: &Inventory) -> BTreeMap<Object, String> {
    let mut owned: BTreeMap<Object, String> =
        actual.privileges.iter().map(|held| (object(held), held.owner.clone())).collect();
    for item in &actual.items {
        if let (Some(object), Some(owner)) = (object_of(item.kind, &item.name), &item.owner) {
            owned.insert(object, owner.clone());
        }
    }
    owned
}

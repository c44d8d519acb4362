//! Compares the target with the backup after a restore: every kind of object, every privilege,
//! the rows of every table, and on request their contents.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::{Comparison, Finding, Group, different_large_objects, groups};
use super::counting::{Count, Counting};
use super::finish::relations;
use super::guards::has_rows;
use super::hosted::{different_policies, is_item_of};
use super::identity;
use super::plan::Steps;
use super::privileges::Reconciled;
use super::reconcile::{Object, complete, object, objects};
use super::selection::{Carried, TableName};
use super::session::Session;
use super::target::TargetState;
use crate::archive::Entry;
use crate::error::{Error, Result};
use crate::inventory::catalog::Catalog;
use crate::inventory::compare::{Depth, Difference, compare};
use crate::inventory::name_parts;
use crate::inventory::{Inventory, Item, ObjectKind, Privilege};
use crate::platform::Keeper;
use crate::postgres::catalog::read_policies;
use crate::postgres::identifier::display_name;
use crate::repository::Repository;
use crate::repository::format::manifest::Manifest;
use crate::repository::format::receipt::Line;

/// Differences told one by one.
const TOLD: usize = 200;

/// What a verification needs besides sessions.
pub(super) struct Verification<'a> {
    pub(super) repository: &'a Repository,
    pub(super) manifest: &'a Manifest,
    pub(super) catalog: &'a Catalog,
    pub(super) steps: &'a Steps,
    /// The target before the restore.
    pub(super) before: &'a TargetState,
    /// Tables that this restore creates or fills.
    pub(super) chosen: &'a BTreeSet<TableName>,
    /// Rows of the tables before others were added to them.
    pub(super) rows_before: Option<&'a BTreeMap<TableName, u64>>,
    pub(super) reconciled: Option<Reconciled>,
    /// The user's policies on tables of the platform's internal schemas that this restore makes.
    pub(super) policies: Vec<&'a Entry>,
    /// Objects whose privileges were made equal.
    pub(super) covered: &'a BTreeSet<Object>,
    pub(super) checksums: bool,
}

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub(super) struct Verified {
    pub(super) lines: Vec<Line>,
    /// Every difference in words.
    pub(super) differences: Vec<String>,
    /// Some difference was not to be expected, so that an atomic restore is taken back.
    pub(super) is_serious: bool,
}

impl Verified {
    fn differs(&mut self, text: impl Into<String>, serious: bool) {
        self.differences.push(text.into());
        self.is_serious |= serious;
    }
}

impl Verification<'_> {
    /// Compares everything: while one session looks at the objects, the others count rows.
    ///
    /// # Errors
    /// The server's, when it cannot go on; interruption.
    pub(super) fn run(mut self, sessions: &mut [Session]) -> Result<Verified> {
        let mut verified = Verified::default();
        let wanted = self.reconciled.take().unwrap_or_default();
        let Some((lead, others)) = sessions.split_first_mut() else { return Ok(verified) };
        let parts = self.steps.parts;
        let groups = groups(self.manifest.tables.iter().filter(|table| parts.rows && has_rows(table)));
        let existing = relations(&mut lead.connection, "rp").map_err(Error::from)?;
        let counting = Counting::new(&groups, &existing);
        std::thread::scope(|scope| {
            let counters: Vec<_> =
                others.iter_mut().map(|session| scope.spawn(|| counting.work(session))).collect();
            let compared =
                if parts.definitions { self.compare_objects(lead, wanted, &mut verified) } else { Ok(()) };
            let counted = compared.and_then(|()| counting.work(lead));
            counters.into_iter().fold(counted, |result, counter| {
                let ended = counter.join();
                result.and(ended.unwrap_or_else(|_| Err(Error::failed("a session ended unexpectedly"))))
            })
        })?;
        if parts.rows {
            self.compare_rows(sessions, &groups, counting.counts(), &mut verified)?;
        }
        let more = verified.differences.len().saturating_sub(TOLD);
        verified.differences.truncate(TOLD);
        if more > 0 {
            verified.differences.push(format!("and {more} more differences"));
        }
        Ok(verified)
    }

    fn compare_objects(
        &self,
        session: &mut Session,
        wanted: Reconciled,
        verified: &mut Verified,
    ) -> Result<()> {
        let mut found = self.before.inventory_now(&mut session.connection).map_err(Error::from)?;
        found.privileges = self.before.privileges_now(&mut session.connection).map_err(Error::from)?;
        let refused = wanted.refused > 0;
        let expected = self.expected(&found, wanted.expected.privileges);
        let actual = self.actual(found, &expected);
        let same_major = self.manifest.source.server_version_num / 10_000 == self.before.major();
        let depth = if same_major { Depth::Definitions } else { Depth::Names };
        let differences: Vec<Difference> = compare(&expected, &actual, depth)
            .into_iter()
            .filter(|difference| !self.is_foreseen(difference, &expected))
            .collect();
        let mut kinds: BTreeSet<ObjectKind> = BTreeSet::new();
        let mut privileges_differ = false;
        let mut closed: Vec<&Difference> = Vec::new();
        for difference in &differences {
            match difference {
                // Members of extensions that a platform's own role made, say.
                Difference::MissingPrivilege(held) | Difference::ExtraPrivilege(held)
                    if self.before.roles.get(&held.owner) == Some(&false) =>
                {
                    privileges_differ = true;
                    closed.push(difference);
                }
                Difference::MissingPrivilege(_) | Difference::ExtraPrivilege(_) => {
                    privileges_differ = true;
                    verified.differs(difference.to_string(), !refused);
                }
                Difference::Missing { kind, .. }
                | Difference::Extra { kind, .. }
                | Difference::Changed { kind, .. }
                | Difference::Owner { kind, .. } => {
                    kinds.insert(*kind);
                    let is_told = self.is_told(difference);
                    verified.differs(difference.to_string(), is_serious(*kind, difference) && !is_told);
                }
            }
        }
        for difference in closed {
            let login = &self.before.login;
            verified.differs(format!("{difference} ({login} may not act as the owner)"), false);
        }
        self.compare_policies(session, same_major, verified)?;
        let (wanted, there) = (expected.counts(), actual.counts());
        let all: BTreeSet<ObjectKind> = wanted.keys().chain(there.keys()).copied().collect();
        for kind in all {
            let (expected, found) = (count(&wanted, kind), count(&there, kind));
            verified.lines.push(Line {
                what: kind.plural().to_owned(),
                expected,
                found,
                equal: !kinds.contains(&kind),
            });
        }
        verified.lines.push(Line {
            what: "privileges".to_owned(),
            expected: expected.privileges.len() as u64,
            found: actual.privileges.len() as u64,
            equal: !privileges_differ,
        });
        Ok(())
    }

    fn compare_policies(
        &self,
        session: &mut Session,
        same_major: bool,
        verified: &mut Verified,
    ) -> Result<()> {
        if self.policies.is_empty() {
            return Ok(());
        }
        let found = read_policies(&mut session.connection, &self.before.hosting).map_err(Error::from)?;
        for difference in different_policies(self.policies.iter().copied(), &found, !same_major) {
            verified.differs(difference, true);
        }
        Ok(())
    }

    /// The backup's inventory as this target can have it.
    fn expected(&self, found: &Inventory, mut privileges: Vec<Privilege>) -> Inventory {
        let present: BTreeSet<(ObjectKind, &str)> =
            found.items.iter().map(|item| (item.kind, item.name.as_str())).collect();
        let owners = &self.steps.owners;
        // A missing object is told once, not again for each of its privileges.
        let (own, existing) = (objects(&self.catalog.inventory), objects(found));
        let is_missing = |object: &Object| own.contains(object) && !existing.contains(object);
        let all = self.catalog.inventory.items.iter();
        let all = all.filter_map(|item| self.steps.roles.expected(item.clone()));
        let items = all.filter(|item| {
            let is_large_object = item.kind == ObjectKind::LargeObject
                || (item.kind == ObjectKind::Comment && item.name.starts_with("large object "));
            if is_large_object && !self.steps.parts.rows {
                return false;
            }
            match (&self.steps.carried, item.kind) {
                (Carried::Everything, _) => true,
                _ if self.steps.made.contains(&identity::of_item(item)) => true,
                _ => present.contains(&(item.kind, item.name.as_str())) && self.is_ours(item),
            }
        });
        let items = items
            .map(|mut item| {
                item.owner = item.owner.map(|owner| owners.at_target(&owner).to_owned());
                item
            })
            .collect();
        privileges.retain(|held| {
            let object = object(held);
            self.covered.contains(&object) && !is_missing(&object)
        });
        Inventory { items, privileges }
    }

    fn is_chosen(&self, item: &Item) -> bool {
        let mut parts = name_parts(&item.name).into_iter();
        match (parts.next(), parts.next()) {
            (Some(schema), Some(name)) => self.chosen.contains(&(schema, name)),
            _ => false,
        }
    }

    /// Whether an object that is there was made by this restore rather than found.
    fn is_ours(&self, item: &Item) -> bool {
        !was_there(self.before, item)
            || self.is_chosen(item)
            || self.steps.made.contains(&identity::of_item(item))
    }

    /// What of the target is compared: not what was there before and is none of the backup's.
    fn actual(&self, found: Inventory, expected: &Inventory) -> Inventory {
        let wanted: BTreeSet<(ObjectKind, &str)> =
            expected.items.iter().map(|item| (item.kind, item.name.as_str())).collect();
        let everything = self.steps.carried == Carried::Everything;
        let Inventory { items, privileges } = found;
        let mut privileges = complete(&items, privileges);
        let items = items
            .into_iter()
            .filter(|item| {
                wanted.contains(&(item.kind, item.name.as_str())) || (everything && !self.is_left_alone(item))
            })
            .collect();
        let existing = objects(expected);
        privileges.retain(|held| {
            let object = object(held);
            held.target != "DATABASE" && (self.covered.contains(&object) || existing.contains(&object))
        });
        Inventory { items, privileges }
    }

    fn is_left_alone(&self, item: &Item) -> bool {
        if item.kind == ObjectKind::Schema && self.is_for_extension(&item.name) {
            return true;
        }
        if item.kind == ObjectKind::DefaultPrivileges || !was_there(self.before, item) {
            return false;
        }
        let schema = name_parts(&item.name).into_iter().next().unwrap_or_default();
        if self.steps.cover.as_ref().is_some_and(|cover| cover.staying_in.contains(&schema)) {
            // All that could be dropped was: it belongs to what stays, and the plan told that.
            return true;
        }
        let cleared = self.steps.cover.as_ref().is_some_and(|cover| cover.schemas.contains(&schema));
        !(cleared && item.kind.is_in_schema())
    }

    /// Whether the schema was made because an extension of the backup needs it.
    fn is_for_extension(&self, schema: &str) -> bool {
        let name = name_parts(schema).concat();
        self.catalog.extensions.iter().any(|extension| extension.schema == name)
            && self.catalog.hosting.keeper(&name) == Keeper::Internal
    }

    /// Whether the plan told that this would be so.
    fn is_told(&self, difference: &Difference) -> bool {
        match difference {
            Difference::Missing { kind, name } => {
                self.steps.roles.is_lost(*kind, name) || self.is_forbidden(*kind, name)
            }
            Difference::Changed { kind, name, .. } => self.is_forbidden(*kind, name),
            _ => false,
        }
    }

    /// Whether the login may not make it.
    fn is_forbidden(&self, kind: ObjectKind, name: &str) -> bool {
        let item = Item { kind, name: name.to_owned(), owner: None, definition: String::new() };
        let forbidden = &self.steps.forbidden;
        forbidden.iter().any(|(kind, schema, tag)| is_item_of(&item, kind, Some(schema), tag))
    }

    fn is_foreseen(&self, difference: &Difference, expected: &Inventory) -> bool {
        match difference {
            // The plan's remarks tell versions and schemas of extensions.
            Difference::Changed { kind: ObjectKind::Extension, .. } => true,
            Difference::Changed { kind: ObjectKind::MaterializedView, .. } => !self.steps.parts.rows,
            // A column goes with its table.
            Difference::Missing { kind: ObjectKind::Column, name } => {
                let table = name_parts(name);
                let table = table.split_last().map(|(_, table)| table).unwrap_or_default();
                !expected.items.iter().any(|item| {
                    matches!(item.kind, ObjectKind::Table | ObjectKind::ForeignTable | ObjectKind::View)
                        && name_parts(&item.name) == table
                })
            }
            _ => false,
        }
    }

    fn compare_rows(
        &self,
        sessions: &mut [Session],
        groups: &[Group<'_>],
        counts: Vec<Count>,
        verified: &mut Verified,
    ) -> Result<()> {
        // What was there before cannot be told from what was added.
        let findings = if self.checksums && self.rows_before.is_none() {
            let comparison = Comparison {
                repository: self.repository,
                manifest: self.manifest,
                groups,
                interrupt: &sessions.first().map(|session| session.interrupt.clone()).unwrap_or_default(),
            };
            comparison.run(sessions)?
        } else {
            vec![Finding::Equal; groups.len()]
        };
        for ((group, counted), finding) in groups.iter().zip(counts).zip(findings) {
            self.row_line(group, counted, &finding, verified);
        }
        if self.checksums
            && let Some(session) = sessions.first_mut()
        {
            for oid in different_large_objects(session, self.repository, self.manifest)? {
                verified.differs(format!("large object {oid} holds other bytes than in the backup"), true);
            }
        }
        Ok(())
    }

    fn row_line(&self, group: &Group<'_>, counted: Count, finding: &Finding, verified: &mut Verified) {
        let shown = display_name(&group.name.0, &group.name.1);
        let before = self.rows_before.and_then(|before| before.get(&group.name)).copied().unwrap_or_default();
        let expected = group.rows() + before;
        let found = *counted.as_ref().unwrap_or(&0);
        if let Err(reason) = &counted {
            verified.differs(format!("rows of table {shown} could not be counted: {reason}"), true);
        } else if found != expected {
            verified.differs(format!("table {shown} holds {found} rows instead of {expected}"), true);
        } else {
            match finding {
                Finding::Equal => {}
                Finding::Differs => {
                    let other_major = self.manifest.source.server_version_num / 10_000 != self.before.major();
                    let note = if other_major {
                        " (servers of different versions may write values differently)"
                    } else {
                        ""
                    };
                    verified.differs(format!("rows of table {shown} differ in content{note}"), !other_major);
                }
                Finding::Unknown(reason) => {
                    verified
                        .differs(format!("contents of table {shown} could not be compared: {reason}"), true);
                }
            }
        }
        let equal = counted.is_ok_and(|found| found == expected) && *finding == Finding::Equal;
        verified.lines.push(Line { what: format!("rows of {shown}"), expected, found, equal });
    }
}

fn count(counts: &BTreeMap<ObjectKind, usize>, kind: ObjectKind) -> u64 {
    counts.get(&kind).copied().unwrap_or(0) as u64
}

/// Kinds whose difference takes an atomic restore back. Comments, labels and default privileges
/// may be closed to a login that is otherwise able to restore; they are told.
fn is_serious(kind: ObjectKind, difference: &Difference) -> bool {
    !matches!(kind, ObjectKind::Comment | ObjectKind::SecurityLabel | ObjectKind::DefaultPrivileges)
        && !matches!(difference, Difference::Owner { .. })
}

fn was_there(before: &TargetState, item: &Item) -> bool {
    before.inventory.find(item.kind, &item.name).is_some()
}

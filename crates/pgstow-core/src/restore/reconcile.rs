//! Which GRANT and REVOKE statements make the target's privileges equal to the backup's. Pure.
//!
//! Neither side's defaults matter: both lists are exploded access lists with the defaults filled
//! in, so what a target's default privileges added is revoked and what they lack is granted.
//! Privileges on the database itself are left as they are: they belong to the place, not to what
//! is restored into it.

use std::collections::{BTreeMap, BTreeSet};

use super::owners::Owners;
use crate::inventory::{Inventory, Item, ObjectKind, Privilege};
use crate::postgres::identifier::quote_identifier;

/// An object as GRANT knows it: its kind and its SQL identity.
pub(super) type Object = (String, String);

/// The roles and objects of the target that decide what can be granted.
pub(super) struct Terms<'a> {
    pub(super) owners: &'a Owners,
    /// Roles of the target, each with whether the login may act as it.
    pub(super) roles: &'a BTreeMap<String, bool>,
    /// Owners at the target.
    pub(super) owned: &'a BTreeMap<Object, String>,
    /// MAINTAIN exists at the source (PostgreSQL 17 on).
    pub(super) source_knows_maintain: bool,
    /// MAINTAIN exists at the target.
    pub(super) target_knows_maintain: bool,
}

/// The privileges that the target should have, and what cannot be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) privileges: Vec<Privilege>,
    /// Privileges lost with each missing role.
    pub(super) missing_roles: BTreeMap<String, usize>,
    /// Privileges that the owner grants in place of each role that cannot.
    pub(super) other_grantors: BTreeMap<String, usize>,
}

/// Translates the backup's privileges into the target's roles.
pub(super) fn expect<'p>(privileges: impl IntoIterator<Item = &'p Privilege>, terms: &Terms<'_>) -> Expected {
    let mut expected = Expected::default();
    for held in privileges.into_iter().filter(|held| held.target != "DATABASE") {
        if held.privilege == "MAINTAIN" && !terms.target_knows_maintain {
            continue;
        }
        let owner = terms
            .owned
            .get(&object(held))
            .cloned()
            .unwrap_or_else(|| terms.owners.at_target(&held.owner).to_owned());
        let grantee = match &held.grantee {
            Some(role) if *role == held.owner => Some(owner.clone()),
            Some(role) if !terms.roles.contains_key(terms.owners.renamed(role)) => {
                *expected.missing_roles.entry(role.clone()).or_default() += 1;
                continue;
            }
            Some(role) => Some(terms.owners.renamed(role).to_owned()),
            None => None,
        };
        let renamed_grantor = terms.owners.renamed(&held.grantor);
        let grantor = if held.grantor == held.owner || renamed_grantor == owner {
            owner.clone()
        } else if terms.roles.get(renamed_grantor) == Some(&true) {
            renamed_grantor.to_owned()
        } else {
            *expected.other_grantors.entry(held.grantor.clone()).or_default() += 1;
            owner.clone()
        };
        let mut mapped = Privilege { owner, grantee, grantor, ..held.clone() };
        let is_new_pair =
            |one: &str, other: &str| one != other && terms.owners.renamed(one) == terms.owners.renamed(other);
        if let Some(role) = &held.grantee {
            // Two roles that become one have nothing to grant to each other, and an owner needs no
            // grant option.
            if mapped.grantee.as_ref() != Some(&mapped.owner) && is_new_pair(role, &held.grantor) {
                continue;
            }
            mapped.grantable &= mapped.grantee.as_ref() != Some(&mapped.owner) || *role == held.owner;
        }
        expected.privileges.push(mapped);
    }
    expected.add(Vec::new());
    expected
}

impl Expected {
    /// Adds privileges; of those that are there already nothing changes.
    pub(super) fn add(&mut self, privileges: Vec<Privilege>) {
        self.privileges.extend(privileges);
        // The order ends with whether it may be granted on: of two that are else equal the later one
        // may, if any.
        self.privileges.sort();
        self.privileges.dedup_by(|later, earlier| {
            let same = key(later) == key(earlier) && later.owner == earlier.owner;
            earlier.grantable |= same && later.grantable;
            same
        });
    }

    /// One sentence for each role that is not there, and for each that cannot grant.
    pub(super) fn remarks(&self) -> Vec<String> {
        let count =
            |count: usize| if count == 1 { "1 privilege".to_owned() } else { format!("{count} privileges") };
        let missing = self.missing_roles.iter().map(|(role, lost)| {
            format!("{} of role {role} cannot be restored: the target has no such role", count(*lost))
        });
        let others = self.other_grantors.iter().map(|(role, given)| {
            format!("{} granted by role {role} are granted by the objects' owners instead", count(*given))
        });
        missing.chain(others).collect()
    }
}

/// The object that a privilege is on; columns count as their table.
pub(super) fn object(held: &Privilege) -> Object {
    let target = if held.target == "COLUMN" { "TABLE" } else { &held.target };
    (target.to_owned(), held.name.clone())
}

/// The object that GRANT sees in an item of an inventory.
pub(super) fn object_of(kind: ObjectKind, name: &str) -> Option<Object> {
    Some((kind.grant_target()?.to_owned(), name.to_owned()))
}

/// The privileges of large objects that an inventory leaves out because they are the default:
/// SELECT and UPDATE for the owner.
pub(super) fn left_out(items: &[Item], privileges: &[Privilege]) -> Vec<Privilege> {
    let on_large_objects = privileges.iter().filter(|held| held.target == "LARGE OBJECT");
    let listed: BTreeSet<&str> = on_large_objects.map(|held| held.name.as_str()).collect();
    let mut left_out = Vec::new();
    for item in items.iter().filter(|item| item.kind == ObjectKind::LargeObject) {
        let (Some(object), Some(owner)) = (object_of(item.kind, &item.name), &item.owner) else { continue };
        if listed.contains(item.name.as_str()) {
            continue;
        }
        for privilege in ["SELECT", "UPDATE"] {
            left_out.push(Privilege {
                target: object.0.clone(),
                name: object.1.clone(),
                column: None,
                owner: owner.clone(),
                grantor: owner.clone(),
                grantee: Some(owner.clone()),
                privilege: privilege.to_owned(),
                grantable: false,
            });
        }
    }
    left_out
}

/// The privileges with those that are left out.
pub(super) fn complete(items: &[Item], mut privileges: Vec<Privilege>) -> Vec<Privilege> {
    privileges.extend(left_out(items, &privileges));
    privileges
}

/// Every object of an inventory that can be granted on.
pub(super) fn objects(inventory: &Inventory) -> BTreeSet<Object> {
    inventory.items.iter().filter_map(|item| object_of(item.kind, &item.name)).collect()
}

/// One statement, and the role that has to run it when that is not the object's owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) act_as: Option<String>,
    pub(super) statement: String,
}

impl Change {
    /// The statement with the change of role around it.
    pub(super) fn statements(&self) -> String {
        match &self.act_as {
            None => self.statement.clone(),
            Some(role) => format!("SET ROLE {};\n{};\nRESET ROLE", quote_identifier(role), self.statement),
        }
    }
}

/// What a statement does; in the order in which statements run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Revoke,
    RevokeOption,
    Grant,
    GrantWithOption,
}

/// When a statement runs: what others granted stands on what the owner granted to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    TakenByOthers,
    TakenByOwner,
    GivenByOwner,
    GivenByOthers,
}

fn turn(verb: Verb, held: &Privilege) -> Turn {
    match (verb, held.grantor == held.owner) {
        (Verb::Revoke | Verb::RevokeOption, false) => Turn::TakenByOthers,
        (Verb::Revoke | Verb::RevokeOption, true) => Turn::TakenByOwner,
        (Verb::Grant | Verb::GrantWithOption, true) => Turn::GivenByOwner,
        (Verb::Grant | Verb::GrantWithOption, false) => Turn::GivenByOthers,
    }
}

/// What one statement is about: turn, verb, object, grantor, grantee.
type StatementKey<'a> = (Turn, Verb, Object, &'a str, Option<&'a str>);

type Key<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>, &'a str, &'a str);

fn key(held: &Privilege) -> Key<'_> {
    (
        &held.target,
        &held.name,
        held.column.as_deref(),
        held.grantee.as_deref(),
        &held.privilege,
        &held.grantor,
    )
}

/// The statements that turn `actual` into `expected` on the objects in `covered`: first what is
/// extra, then what is missing, an owner's grants before those that stand on them.
pub(super) fn changes(
    expected: &[Privilege],
    actual: &[Privilege],
    covered: &BTreeSet<Object>,
    terms: &Terms<'_>,
) -> Vec<Change> {
    let wanted: BTreeMap<Key<'_>, &Privilege> = expected.iter().map(|held| (key(held), held)).collect();
    let found: BTreeMap<Key<'_>, &Privilege> = actual.iter().map(|held| (key(held), held)).collect();
    let mut needed: Vec<(Verb, &Privilege)> = Vec::new();
    for (key, held) in &found {
        let kept =
            held.target == "DATABASE" || !covered.contains(&object(held)) || is_new_maintain(held, terms);
        match wanted.get(key) {
            _ if kept => {}
            None => needed.push((Verb::Revoke, held)),
            Some(wanted) if held.grantable && !wanted.grantable => needed.push((Verb::RevokeOption, held)),
            Some(_) => {}
        }
    }
    for (key, held) in &wanted {
        let there = found.get(key);
        if there.is_none_or(|there| held.grantable && !there.grantable) && covered.contains(&object(held)) {
            needed.push((if held.grantable { Verb::GrantWithOption } else { Verb::Grant }, held));
        }
    }
    let mut statements: BTreeMap<StatementKey<'_>, Vec<String>> = BTreeMap::new();
    for (verb, held) in needed {
        let key = (turn(verb, held), verb, object(held), held.grantor.as_str(), held.grantee.as_deref());
        statements.entry(key).or_default().push(words(held));
    }
    statements
        .into_iter()
        .map(|((turn, verb, (target, name), grantor, grantee), privileges)| Change {
            act_as: matches!(turn, Turn::TakenByOthers | Turn::GivenByOthers).then(|| grantor.to_owned()),
            statement: statement(verb, &privileges.join(", "), &format!("{target} {name}"), grantee),
        })
        .collect()
}

/// An owner has MAINTAIN on a newer server by default; the backup's server did not know it.
fn is_new_maintain(held: &Privilege, terms: &Terms<'_>) -> bool {
    !terms.source_knows_maintain
        && held.privilege == "MAINTAIN"
        && held.grantee.as_deref() == Some(held.owner.as_str())
}

fn words(held: &Privilege) -> String {
    match &held.column {
        Some(column) => format!("{} ({})", held.privilege, quote_identifier(column)),
        None => held.privilege.clone(),
    }
}

fn statement(verb: Verb, privileges: &str, object: &str, grantee: Option<&str>) -> String {
    let grantee = grantee.map_or_else(|| "PUBLIC".to_owned(), quote_identifier);
    match verb {
        Verb::Revoke => format!("REVOKE {privileges} ON {object} FROM {grantee} CASCADE"),
        Verb::RevokeOption => {
            format!("REVOKE GRANT OPTION FOR {privileges} ON {object} FROM {grantee} CASCADE")
        }
        Verb::Grant => format!("GRANT {privileges} ON {object} TO {grantee}"),
        Verb::GrantWithOption => format!("GRANT {privileges} ON {object} TO {grantee} WITH GRANT OPTION"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(privilege: &str, grantee: Option<&str>) -> Privilege {
        Privilege {
            target: "TABLE".into(),
            name: "public.t".into(),
            column: None,
            owner: "app".into(),
            grantor: "app".into(),
            grantee: grantee.map(str::to_owned),
            privilege: privilege.into(),
            grantable: false,
        }
    }

    struct World {
        owners: Owners,
        roles: BTreeMap<String, bool>,
        owned: BTreeMap<Object, String>,
    }

    impl World {
        fn new(roles: &[&str]) -> Self {
            let roles: BTreeMap<String, bool> = roles.iter().map(|role| ((*role).to_owned(), true)).collect();
            Self::with_names(roles, &BTreeMap::new())
        }

        fn with_names(roles: BTreeMap<String, bool>, renamed: &BTreeMap<String, String>) -> Self {
            Self { owners: Owners::new("me", ["app"], &roles, renamed), roles, owned: BTreeMap::new() }
        }

        fn terms(&self) -> Terms<'_> {
            Terms {
                owners: &self.owners,
                roles: &self.roles,
                owned: &self.owned,
                source_knows_maintain: false,
                target_knows_maintain: true,
            }
        }
    }

    fn covered() -> BTreeSet<Object> {
        BTreeSet::from([("TABLE".into(), "public.t".into())])
    }

    fn texts(changes: &[Change]) -> Vec<&str> {
        changes.iter().map(|change| change.statement.as_str()).collect()
    }

    #[test]
    fn what_is_extra_is_revoked_before_what_is_missing_is_granted() {
        let world = World::new(&["app", "reader", "me"]);
        let expected =
            expect(&[held("SELECT", Some("reader")), held("INSERT", Some("reader"))], &world.terms());
        let actual = [held("SELECT", Some("reader")), held("DELETE", None), held("UPDATE", None)];
        assert_eq!(
            texts(&changes(&expected.privileges, &actual, &covered(), &world.terms())),
            [
                "REVOKE DELETE, UPDATE ON TABLE public.t FROM PUBLIC CASCADE",
                "GRANT INSERT ON TABLE public.t TO \"reader\"",
            ]
        );
    }

    #[test]
    fn equal_privileges_need_no_statement() {
        let world = World::new(&["app", "reader"]);
        let both = [held("SELECT", Some("reader")), held("SELECT", Some("app"))];
        let expected = expect(&both, &world.terms());
        assert_eq!(changes(&expected.privileges, &both, &covered(), &world.terms()), []);
    }

    #[test]
    fn privileges_of_a_mapped_owner_go_to_the_new_owner_and_those_of_missing_roles_are_counted() {
        let world = World::new(&["me"]);
        let privileges =
            [held("SELECT", Some("app")), held("SELECT", Some("gone")), held("INSERT", Some("gone"))];
        let expected = expect(&privileges, &world.terms());
        assert_eq!(
            expected.privileges,
            [Privilege { owner: "me".into(), grantor: "me".into(), ..held("SELECT", Some("me")) }]
        );
        assert_eq!(
            expected.remarks(),
            ["2 privileges of role gone cannot be restored: the target has no such role"]
        );
    }

    #[test]
    fn privileges_follow_the_names_that_roles_have_at_the_target() {
        let roles: BTreeMap<String, bool> =
            ["web", "guest"].into_iter().map(|role| (role.to_owned(), true)).collect();
        let renamed = [("app", "web"), ("reader", "guest"), ("writer", "guest"), ("deputy", "web")];
        let renamed = renamed.into_iter().map(|(old, new)| (old.to_owned(), new.to_owned())).collect();
        let world = World::with_names(roles, &renamed);
        let by = |grantor: &str, privilege: &str, grantee: &str| Privilege {
            grantor: grantor.into(),
            ..held(privilege, Some(grantee))
        };
        let privileges = [
            held("SELECT", Some("app")),
            held("INSERT", Some("reader")),
            held("INSERT", Some("writer")),
            // An owner's grant to what is now the owner, and one between two roles that become one.
            Privilege { grantable: true, ..held("SELECT", Some("deputy")) },
            by("reader", "DELETE", "writer"),
            by("deputy", "UPDATE", "reader"),
        ];
        let mut expected = expect(&privileges, &world.terms());
        expected.privileges.sort();
        let held_there = |privilege: &str, grantee: &str| Privilege {
            owner: "web".into(),
            grantor: "web".into(),
            ..held(privilege, Some(grantee))
        };
        assert_eq!(
            expected.privileges,
            [held_there("INSERT", "guest"), held_there("UPDATE", "guest"), held_there("SELECT", "web")]
        );
        assert!(expected.remarks().is_empty(), "{:?}", expected.remarks());
    }

    #[test]
    fn a_grant_option_is_taken_and_given_alone() {
        let world = World::new(&["app", "reader"]);
        let with = Privilege { grantable: true, ..held("SELECT", Some("reader")) };
        let without = held("SELECT", Some("reader"));
        let change = |from: &Privilege, to: &Privilege| {
            let expected = expect(std::slice::from_ref(to), &world.terms());
            changes(&expected.privileges, std::slice::from_ref(from), &covered(), &world.terms())
        };
        assert_eq!(
            texts(&change(&with, &without)),
            ["REVOKE GRANT OPTION FOR SELECT ON TABLE public.t FROM \"reader\" CASCADE"]
        );
        assert_eq!(
            texts(&change(&without, &with)),
            ["GRANT SELECT ON TABLE public.t TO \"reader\" WITH GRANT OPTION"]
        );
    }

    #[test]
    fn a_grant_by_another_role_runs_as_that_role_after_the_owners_grants() {
        let world = World::new(&["app", "deputy", "reader"]);
        let privileges = [
            Privilege { grantor: "deputy".into(), ..held("SELECT", Some("reader")) },
            Privilege { grantable: true, ..held("SELECT", Some("deputy")) },
        ];
        let expected = expect(&privileges, &world.terms());
        let changes = changes(&expected.privileges, &[], &covered(), &world.terms());
        let order: Vec<_> = changes.iter().map(|change| change.act_as.as_deref()).collect();
        assert_eq!(order, [None, Some("deputy")]);
        let by_deputy = &changes[1];
        assert_eq!(
            by_deputy.statements(),
            "SET ROLE \"deputy\";\nGRANT SELECT ON TABLE public.t TO \"reader\";\nRESET ROLE"
        );
    }

    #[test]
    fn a_large_object_without_listed_privileges_has_its_owners() {
        let item = |name: &str| crate::inventory::Item {
            kind: ObjectKind::LargeObject,
            name: name.into(),
            owner: Some("app".into()),
            definition: String::new(),
        };
        let listed = Privilege { target: "LARGE OBJECT".into(), name: "1".into(), ..held("SELECT", None) };
        let inventory = Inventory { items: vec![item("1"), item("2")], privileges: vec![listed.clone()] };
        let all = complete(&inventory.items, inventory.privileges.clone());
        assert_eq!(all.len(), 3);
        assert_eq!(all[0], listed);
        assert!(all[1..].iter().all(|held| held.name == "2" && held.grantee.as_deref() == Some("app")));
    }

    #[test]
    fn columns_are_granted_with_their_table() {
        let world = World::new(&["app", "reader"]);
        let column = Privilege {
            target: "COLUMN".into(),
            column: Some("a \"b\"".into()),
            ..held("SELECT", Some("reader"))
        };
        let expected = expect(&[column], &world.terms());
        assert_eq!(
            texts(&changes(&expected.privileges, &[], &covered(), &world.terms())),
            ["GRANT SELECT (\"a \"\"b\"\"\") ON TABLE public.t TO \"reader\""]
        );
    }

    #[test]
    fn an_owners_maintain_on_a_newer_server_stays() {
        let world = World::new(&["app"]);
        let actual = [held("MAINTAIN", Some("app"))];
        assert_eq!(changes(&[], &actual, &covered(), &world.terms()), []);
    }

    #[test]
    fn objects_that_the_backup_does_not_cover_are_left_alone() {
        let world = World::new(&["app"]);
        assert_eq!(changes(&[], &[held("SELECT", None)], &BTreeSet::new(), &world.terms()), []);
    }
}

//! Decisions about roles, without a server.

use super::super::names::tests::renamed;
use super::*;
use crate::inventory::{Inventory, Item, Privilege};
use crate::restore::entry::tests::sample;

const EVERYTHING: Parts = Parts { definitions: true, rows: true };

fn target(roles: &[&str], rights: Rights) -> TargetState {
    TargetState {
        target: "db:5432/shop".into(),
        database: "shop".into(),
        login: "me".into(),
        roles: roles.iter().map(|role| ((*role).to_owned(), true)).collect(),
        rights,
        ..TargetState::default()
    }
}

fn creator(major: u32) -> Rights {
    Rights { create_role: true, major, ..Rights::default() }
}

fn role(name: &str, attributes: &str, member_of: &[&str]) -> Role {
    Role {
        name: name.into(),
        attributes: attributes.into(),
        member_of: member_of.iter().map(|parent| (*parent).to_owned()).collect(),
        settings: vec!["search_path=a, b".into()],
    }
}

/// A table of `app`, readable by `reader`, with a policy for `reader`.
fn backup() -> (Vec<Entry>, Catalog) {
    let mut policy = sample(2, "POLICY", "t mine", &[1]);
    policy.definition = "CREATE POLICY mine ON public.t FOR SELECT TO reader USING (true);\n".into();
    let comment = sample(3, "COMMENT", "POLICY mine ON t", &[2]);
    let entries = vec![sample(1, "TABLE", "t", &[]), policy, comment];
    let item = |kind: ObjectKind, name: &str, definition: &str| Item {
        kind,
        name: name.into(),
        owner: None,
        definition: definition.into(),
    };
    let privileges = vec![Privilege {
        target: "TABLE".into(),
        name: "public.t".into(),
        column: None,
        owner: "app".into(),
        grantor: "app".into(),
        grantee: Some("reader".into()),
        privilege: "SELECT".into(),
        grantable: false,
    }];
    let items =
        vec![item(ObjectKind::Policy, "public.t.mine", "permissive\nfor select\nto reader\nusing true")];
    let catalog = Catalog {
        inventory: Inventory { items, privileges },
        roles: vec![
            role("app", "LOGIN SUPERUSER", &["crew"]),
            role("crew", "NOLOGIN", &[]),
            role("reader", "NOLOGIN", &["pg_monitor"]),
        ],
        ..Catalog::default()
    };
    (entries, catalog)
}

fn decided(create: bool, map: &[(&str, &str)], target: &mut TargetState) -> Result<(Roles, Vec<Entry>)> {
    let (mut entries, catalog) = backup();
    let manifest = crate::restore::guards::tests::manifest(150_000, "UTF8");
    let backup =
        Backup { manifest: &manifest, catalog: &catalog, carried: &Carried::Everything, parts: EVERYTHING };
    let asked = Asked { create, map: &renamed(map) };
    let roles = resolve(&mut entries, &backup, asked, target)?;
    Ok((roles, entries))
}

fn left(roles: &Roles, entries: &[Entry]) -> Vec<i32> {
    let graph = Graph::new(entries);
    let mut chosen = selection::choose(&graph, &Carried::Everything);
    roles.leave_out(&graph, &mut chosen);
    chosen.entries.iter().map(|&index| entries[index].id).collect()
}

#[test]
fn missing_roles_are_named_with_what_depends_on_them_and_both_choices() {
    let mut target = target(&["me"], creator(16));
    let (roles, entries) = decided(false, &[], &mut target).expect("a decision");
    let told: Vec<String> =
        roles.missing.iter().map(|role| format!("{}: {}", role.role, role.in_words())).collect();
    assert_eq!(told, ["app: owns 1 object", "reader: holds 1 privilege; policy mine on public.t"]);
    assert!(
        roles.hints[0].starts_with("--create-roles") && roles.hints[1].starts_with("--map-role app=NAME")
    );
    assert_eq!(left(&roles, &entries), [1], "neither the policy nor its comment");
    assert!(roles.is_lost(ObjectKind::Policy, "public.t.mine"));
    assert_eq!(roles.remarks.len(), 1, "{:?}", roles.remarks);
    assert_eq!(roles.remarks[0], "policy mine on public.t is not restored: the target has no role reader");
}

#[test]
fn created_roles_come_with_memberships_and_settings_and_the_login_joins_them() {
    for (major, join) in [(15, Join::Member), (16, Join::Inherit)] {
        let mut target = target(&["me", "pg_monitor"], creator(major));
        let (roles, entries) = decided(true, &[], &mut target).expect("a decision");
        let created: Vec<&str> = roles.creation.roles.iter().map(|role| role.name.as_str()).collect();
        assert_eq!(created, ["app", "crew", "reader"]);
        assert_eq!(roles.creation.roles[0].attributes, "LOGIN", "no superusers");
        assert_eq!(roles.creation.join, join);
        let memberships: Vec<String> =
            roles.creation.memberships.iter().map(|one| format!("{} in {}", one.member, one.role)).collect();
        assert_eq!(memberships, ["app in crew", "reader in pg_monitor"]);
        assert_eq!(roles.creation.settings.len(), 3);
        assert_eq!(left(&roles, &entries), [1, 2, 3]);
        assert!(roles.missing.is_empty() && roles.hints.is_empty());
        assert_eq!(target.roles.get("crew"), Some(&true));
        assert_eq!(roles.remarks, ["role app is created without SUPERUSER: a restore never gives it"]);
        assert_eq!(roles.notes, ["role app has no password after this: no backup holds any"]);
    }
}

#[test]
fn a_login_that_may_not_create_roles_is_refused_with_the_remedy() {
    let error =
        decided(true, &[], &mut target(&["me"], Rights { major: 17, ..Rights::default() })).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Refused);
    assert_eq!(error.hints()[0], "ALTER ROLE \"me\" CREATEROLE;  (as a superuser)");
    // Nothing to create, nothing to refuse.
    let mut all = target(&["me", "app", "reader"], Rights::default());
    assert!(decided(true, &[], &mut all).is_ok());
}

#[test]
fn mapped_roles_are_neither_missing_nor_created_and_policies_follow() {
    let mut target = target(&["me", "web"], creator(16));
    let (roles, entries) =
        decided(false, &[("app", "me"), ("reader", "web")], &mut target).expect("a decision");
    assert!(roles.missing.is_empty() && roles.creation.roles.is_empty(), "{roles:?}");
    assert_eq!(entries[1].definition, "CREATE POLICY mine ON public.t FOR SELECT TO \"web\" USING (true);\n");
    let item = backup().1.inventory.items.remove(0);
    let expected = roles.expected(item).expect("an item");
    assert_eq!(expected.definition, "permissive\nfor select\nto web\nusing true");
}

#[test]
fn a_role_is_only_mapped_to_one_that_is_there_or_will_be() {
    let error = decided(false, &[("app", "web")], &mut target(&["me"], creator(16))).unwrap_err();
    assert_eq!(error.message(), "db:5432/shop has no role web");
    let error = decided(true, &[("app", "public")], &mut target(&["me"], creator(16))).unwrap_err();
    assert!(error.message().contains("has no role public"), "{error}");
    let mut there = target(&["me"], creator(16));
    let (roles, _) = decided(true, &[("reader", "crew")], &mut there).expect("a decision");
    assert!(roles.creation.roles.iter().any(|role| role.name == "crew"));
    let (roles, _) = decided(false, &[("nobody", "me")], &mut there).expect("a decision");
    assert_eq!(roles.notes, ["the backup names no role nobody: mapping it changes nothing"]);
}

#[test]
fn a_policy_whose_statement_is_not_the_inventorys_is_left_out_when_its_role_is_mapped() {
    let (mut entries, catalog) = backup();
    entries[1].definition =
        "CREATE POLICY mine ON public.t FOR SELECT TO reader, other USING (true);\n".into();
    let manifest = crate::restore::guards::tests::manifest(150_000, "UTF8");
    let backup =
        Backup { manifest: &manifest, catalog: &catalog, carried: &Carried::Everything, parts: EVERYTHING };
    let mut target = target(&["me", "app", "web", "other"], creator(16));
    let asked = Asked { create: false, map: &renamed(&[("reader", "web")]) };
    let roles = resolve(&mut entries, &backup, asked, &mut target).expect("roles");
    assert_eq!(left(&roles, &entries), [1]);
    assert!(roles.remarks[0].contains("roles cannot be read"), "{:?}", roles.remarks);
}

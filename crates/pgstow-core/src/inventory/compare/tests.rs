//! Tests of the comparison: pure data on both sides.

use super::*;

fn item(kind: ObjectKind, name: &str, owner: &str, definition: &str) -> Item {
    Item { kind, name: name.into(), owner: Some(owner.into()), definition: definition.into() }
}

fn held(name: &str, owner: &str, grantee: Option<&str>, privilege: &str) -> Privilege {
    Privilege {
        target: "TABLE".into(),
        name: name.into(),
        column: None,
        owner: owner.into(),
        grantor: owner.into(),
        grantee: grantee.map(str::to_owned),
        privilege: privilege.into(),
        grantable: false,
    }
}

fn items(items: Vec<Item>) -> Inventory {
    Inventory { items, privileges: Vec::new() }
}

fn privileges(privileges: Vec<Privilege>) -> Inventory {
    Inventory { items: Vec::new(), privileges }
}

fn lines(expected: &Inventory, actual: &Inventory, depth: Depth) -> Vec<String> {
    compare(expected, actual, depth).iter().map(ToString::to_string).collect()
}

#[test]
fn objects_that_are_missing_extra_changed_or_owned_by_another_are_told_apart() {
    let expected = items(vec![
        item(ObjectKind::Table, "public.a", "ann", "t"),
        item(ObjectKind::Table, "public.c", "ann", "t"),
        item(ObjectKind::Policy, "public.a.p", "ann", "one"),
    ]);
    let actual = items(vec![
        item(ObjectKind::Table, "public.b", "ann", "t"),
        item(ObjectKind::Table, "public.c", "bob", "t"),
        item(ObjectKind::Policy, "public.a.p", "ann", "two"),
    ]);
    let mut told = vec![
        "table public.a is missing",
        "table public.b is there, and the backup does not have it",
        "table public.c belongs to bob instead of ann",
    ];
    assert_eq!(lines(&expected, &actual, Depth::Names), told);
    told.push("policy public.a.p differs");
    assert_eq!(lines(&expected, &actual, Depth::Definitions), told);
}

#[test]
fn kinds_come_in_their_order_and_names_in_byte_order() {
    let expected = items(vec![
        item(ObjectKind::Index, "public.a", "", ""),
        item(ObjectKind::Table, "public.é", "", ""),
        item(ObjectKind::Table, "public.z", "", ""),
        item(ObjectKind::Table, "public.B", "", ""),
    ]);
    let told = lines(&expected, &Inventory::default(), Depth::Names);
    assert_eq!(
        told,
        [
            "table public.B is missing",
            "table public.z is missing",
            "table public.é is missing",
            "index public.a is missing"
        ]
    );
}

#[test]
fn a_definition_that_a_restore_prints_anew_does_not_differ() {
    let first = "CHECK ((s)::text = ANY ((ARRAY['a'::character varying])::text[]))";
    let second = "CHECK ((s)::text = ANY (ARRAY[('a'::character varying)::text]))";
    let expected = items(vec![item(ObjectKind::Constraint, "public.t.c", "", first)]);
    let actual = items(vec![item(ObjectKind::Constraint, "public.t.c", "", second)]);
    assert_eq!(compare(&expected, &actual, Depth::Definitions), []);
}

#[test]
fn privileges_are_sets_and_who_granted_them_does_not_matter() {
    let mut regranted = held("public.t", "ann", Some("bob"), "SELECT");
    regranted.grantor = "carl".into();
    let expected = privileges(vec![held("public.t", "ann", Some("bob"), "SELECT")]);
    let actual = privileges(vec![regranted.clone(), regranted]);
    assert_eq!(compare(&expected, &actual, Depth::Definitions), []);
}

#[test]
fn privileges_that_are_missing_or_extra_are_told_for_people() {
    let mut column = held("public.t", "ann", Some("bob"), "UPDATE");
    column.target = "COLUMN".into();
    column.column = Some("e mail".into());
    let mut grantable = held("public.t", "ann", Some("bob"), "SELECT");
    grantable.grantable = true;
    let mut database = held("", "ann", None, "CONNECT");
    database.target = "DATABASE".into();
    let expected = privileges(vec![column, grantable]);
    let actual = privileges(vec![held("public.t", "ann", Some("bob"), "SELECT"), database]);
    assert_eq!(
        lines(&expected, &actual, Depth::Names),
        [
            "bob lacks UPDATE on column e mail of table public.t",
            "everyone (PUBLIC) has CONNECT on the database, which the backup does not give",
            "bob has SELECT on table public.t, which the backup does not give",
            "bob lacks SELECT with grant option on table public.t",
        ]
    );
}

#[test]
fn privileges_of_an_object_that_only_one_side_has_are_not_listed() {
    let mut column = held("public.t", "ann", Some("bob"), "UPDATE");
    column.target = "COLUMN".into();
    column.column = Some("c".into());
    let expected = Inventory {
        items: vec![item(ObjectKind::View, "public.t", "ann", "")],
        privileges: vec![held("public.t", "ann", Some("bob"), "SELECT"), column],
    };
    let actual = privileges(vec![held("public.u", "ann", Some("bob"), "SELECT")]);
    assert_eq!(
        lines(&expected, &actual, Depth::Names),
        ["view public.t is missing", "bob has SELECT on table public.u, which the backup does not give"]
    );
}

#[test]
fn what_an_owner_holds_follows_the_owner() {
    let expected = privileges(vec![held("public.t", "ann", Some("ann"), "SELECT")]);
    let mapped = privileges(vec![held("public.t", "bob", Some("bob"), "SELECT")]);
    assert_eq!(compare(&expected, &mapped, Depth::Definitions), []);
    let widened = privileges(vec![
        held("public.t", "bob", Some("bob"), "SELECT"),
        held("public.t", "bob", Some("ann"), "SELECT"),
    ]);
    assert_eq!(
        lines(&expected, &widened, Depth::Definitions),
        ["ann has SELECT on table public.t, which the backup does not give"]
    );
}

#[test]
fn an_owners_maintain_counts_only_where_both_servers_know_it() {
    let old = privileges(vec![held("public.t", "ann", Some("ann"), "SELECT")]);
    let new = privileges(vec![
        held("public.t", "ann", Some("ann"), "MAINTAIN"),
        held("public.t", "ann", Some("ann"), "SELECT"),
    ]);
    assert_eq!(compare(&old, &new, Depth::Names), []);
    assert_eq!(compare(&new, &old, Depth::Names), []);
    assert_eq!(compare(&old, &new, Depth::Definitions).len(), 1);
    let given = privileges(vec![
        held("public.t", "ann", Some("bob"), "MAINTAIN"),
        held("public.t", "ann", Some("ann"), "SELECT"),
    ]);
    assert_eq!(
        lines(&old, &given, Depth::Names),
        ["bob has MAINTAIN on table public.t, which the backup does not give"]
    );
}

#[test]
fn a_name_with_a_newline_stays_on_one_line() {
    let expected = items(vec![item(ObjectKind::Comment, "table public.\"a\nb\t😀\"", "", "x")]);
    assert_eq!(
        lines(&expected, &Inventory::default(), Depth::Names),
        ["comment on table public.\"a\\nb\\t😀\" is missing"]
    );
}

#[test]
fn differences_survive_json() {
    let difference = Difference::MissingPrivilege(held("public.t", "ann", None, "SELECT"));
    let json = serde_json::to_string(&difference).expect("plain data");
    assert_eq!(serde_json::from_str::<Difference>(&json).expect("what we wrote"), difference);
}

//! What a drill takes out of a backup, and what goes with it.

use super::super::entry::tests::sample;
use super::*;
use crate::inventory::Inventory;

fn item(kind: ObjectKind, name: &str, definition: &str) -> Item {
    Item { kind, name: name.into(), owner: None, definition: definition.into() }
}

fn entry_of(id: i32, kind: &str, schema: Option<&str>, tag: &str, dependencies: &[i32]) -> Entry {
    let mut entry = sample(id, kind, tag, dependencies);
    entry.schema = schema.map(str::to_owned);
    entry
}

/// Entries of a table that needs an extension, and what belongs to it.
fn entries() -> Vec<Entry> {
    let public = Some("public");
    vec![
        entry_of(1, "EXTENSION", None, "hypopg", &[]),
        entry_of(2, "TABLE", public, "Plan", &[1]),
        entry_of(3, "INDEX", public, "plan_index", &[2]),
        entry_of(4, "TRIGGER", public, "Plan touch", &[2]),
        entry_of(5, "FUNCTION", public, "of plans(integer)", &[2]),
        entry_of(6, "TABLE", public, "other", &[]),
        entry_of(7, "CONSTRAINT", public, "other other_key", &[6]),
        entry_of(8, "FK CONSTRAINT", public, "other other_plan", &[6, 2]),
        entry_of(9, "COMMENT", public, "TABLE \"Plan\"", &[2]),
    ]
}

fn gone_names(entries: &[Entry]) -> Names {
    let graph = Graph::new(entries);
    let gone = closure(&graph, BTreeMap::from([(0, String::new())]));
    Names::of(gone.keys().map(|&index| &entries[index]))
}

#[test]
fn what_needs_an_extension_goes_with_it_by_name() {
    let found = needing(&entries(), "hypopg");
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.iter().any(|name| name.contains("other_plan")), "{found:?}");
    assert!(needing(&entries(), "another").is_empty());
}

#[test]
fn objects_are_recognised_by_what_the_archive_calls_them() {
    let entries = entries();
    let names = gone_names(&entries);
    for (kind, name, expected) in [
        (ObjectKind::Table, "public.\"Plan\"", true),
        (ObjectKind::Column, "public.\"Plan\".id", true),
        (ObjectKind::Constraint, "public.\"Plan\".\"Plan_pkey\"", true),
        (ObjectKind::Index, "public.plan_index", true),
        (ObjectKind::Function, "public.\"of plans\"(integer)", true),
        (ObjectKind::Function, "public.\"of plans\"(text)", false),
        (ObjectKind::Comment, "table public.\"Plan\"", true),
        (ObjectKind::Comment, "trigger touch on public.\"Plan\"", true),
        (ObjectKind::Comment, "table public.other", false),
        (ObjectKind::Extension, "hypopg", true),
        (ObjectKind::Extension, "hstore", false),
        (ObjectKind::Constraint, "public.other.other_plan", true),
        (ObjectKind::Constraint, "public.other.other_key", false),
        (ObjectKind::Table, "public.plan", false),
        (ObjectKind::Table, "other.\"Plan\"", false),
    ] {
        assert_eq!(names.covers_item(&item(kind, name, "")), expected, "{kind} {name}");
    }
    assert!(names.covers_item(&item(
        ObjectKind::Sequence,
        "public.s",
        "as bigint\nidentity of public.\"Plan\".id"
    )));
    assert!(!names.covers_item(&item(ObjectKind::Sequence, "public.s", "identity of public.other.id")));
}

#[test]
fn versions_and_tablespaces_are_those_of_the_place() {
    let mut catalog = Catalog {
        inventory: Inventory {
            items: vec![item(ObjectKind::Table, "public.t", "table\ntablespace fast\nwith a=1")],
            privileges: Vec::new(),
        },
        extensions: vec![crate::inventory::catalog::Extension {
            name: "hstore".into(),
            version: "1.7".into(),
            schema: "public".into(),
        }],
        ..Catalog::default()
    };
    let mut table = entry_of(1, "TABLE", Some("public"), "t", &[]);
    table.tablespace = Some("fast".into());
    let mut entries = vec![table];
    let target = TargetState {
        available: BTreeMap::from([("hstore".into(), "1.8".into())]),
        ..TargetState::default()
    };
    let mut exceptions = Vec::new();
    use_what_is_there(&mut catalog, &mut entries, &target, &mut exceptions);
    assert_eq!(catalog.inventory.items[0].definition, "table\nwith a=1");
    assert_eq!(catalog.extensions[0].version, "1.8");
    assert_eq!(entries[0].tablespace, None);
    let told: Vec<&str> = exceptions.iter().map(|exception| exception.what.as_str()).collect();
    assert_eq!(told, ["tablespace fast", "version 1.7 of extension hstore"]);
}

#[test]
fn a_foreign_key_dangles_only_where_rows_refer_to_rows_that_are_not_there() {
    let entries = entries();
    let graph = Graph::new(&entries);
    let without = |names: &[&str]| -> BTreeSet<TableName> {
        names.iter().map(|&name| ("public".to_owned(), name.to_owned())).collect()
    };
    assert!(dangles(&graph, 7, &without(&["Plan"])));
    assert!(!dangles(&graph, 7, &without(&["other"])));
    assert!(!dangles(&graph, 7, &without(&["other", "Plan"])));
    assert!(!dangles(&graph, 7, &without(&[])));
}

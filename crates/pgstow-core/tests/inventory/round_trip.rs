//! What an inventory holds, and what a dump and a restore by stock programs must not change in it.

use pgstow_core::inventory::ObjectKind;
use pgstow_core::inventory::compare::{Depth, compare};

use crate::ground::Ground;

fn a_dump_and_a_restore_leave_the_inventory_as_it_was(major: u32) {
    let ground = Ground::with_fixture(major);
    ground.create_database("copy");
    ground.dump_and_restore("source", "copy");
    // Belongs to the cluster: pg_dump leaves it to pg_dumpall.
    ground.run("copy", "REVOKE TEMPORARY ON DATABASE copy FROM PUBLIC");

    let (source, copy) = (ground.inventory("source"), ground.inventory("copy"));
    assert_eq!(compare(&source, &copy, Depth::Definitions), [], "PostgreSQL {major}");

    let counts = source.counts();
    for kind in KINDS {
        assert!(counts.contains_key(&kind), "PostgreSQL {major}: the inventory has no {}", kind.plural());
    }
    let names: Vec<_> = source.items.iter().map(|item| (item.kind, &item.name)).collect();
    assert!(names.is_sorted(), "PostgreSQL {major}: items are not sorted");
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "PostgreSQL {major}: a name occurs twice");
    assert!(source.privileges.is_sorted(), "PostgreSQL {major}: privileges are not sorted");
    let written = serde_json::to_string(&source).expect("plain data");
    assert!(!written.contains("sesame"), "PostgreSQL {major}: a secret is in the inventory");
}

/// All that a restore can bring back; a security label needs its provider.
const KINDS: [ObjectKind; 40] = [
    ObjectKind::Schema,
    ObjectKind::Extension,
    ObjectKind::Table,
    ObjectKind::Column,
    ObjectKind::View,
    ObjectKind::MaterializedView,
    ObjectKind::Sequence,
    ObjectKind::ForeignTable,
    ObjectKind::Constraint,
    ObjectKind::Index,
    ObjectKind::Trigger,
    ObjectKind::Rule,
    ObjectKind::Policy,
    ObjectKind::Function,
    ObjectKind::Procedure,
    ObjectKind::Aggregate,
    ObjectKind::Type,
    ObjectKind::Domain,
    ObjectKind::Operator,
    ObjectKind::OperatorClass,
    ObjectKind::OperatorFamily,
    ObjectKind::Cast,
    ObjectKind::Collation,
    ObjectKind::Conversion,
    ObjectKind::TextSearchConfiguration,
    ObjectKind::TextSearchDictionary,
    ObjectKind::TextSearchParser,
    ObjectKind::TextSearchTemplate,
    ObjectKind::Statistics,
    ObjectKind::Publication,
    ObjectKind::EventTrigger,
    ObjectKind::ForeignDataWrapper,
    ObjectKind::ForeignServer,
    ObjectKind::UserMapping,
    ObjectKind::Language,
    ObjectKind::Transform,
    ObjectKind::AccessMethod,
    ObjectKind::LargeObject,
    ObjectKind::Comment,
    ObjectKind::DefaultPrivileges,
];

#[test]
fn a_dump_and_a_restore_leave_the_inventory_as_it_was_on_13() {
    a_dump_and_a_restore_leave_the_inventory_as_it_was(13);
}

#[test]
fn a_dump_and_a_restore_leave_the_inventory_as_it_was_on_14() {
    a_dump_and_a_restore_leave_the_inventory_as_it_was(14);
}

#[test]
fn a_dump_and_a_restore_leave_the_inventory_as_it_was_on_15() {
    a_dump_and_a_restore_leave_the_inventory_as_it_was(15);
}

#[test]
fn a_dump_and_a_restore_leave_the_inventory_as_it_was_on_16() {
    a_dump_and_a_restore_leave_the_inventory_as_it_was(16);
}

#[test]
fn a_dump_and_a_restore_leave_the_inventory_as_it_was_on_17() {
    a_dump_and_a_restore_leave_the_inventory_as_it_was(17);
}

#[test]
fn a_dump_and_a_restore_leave_the_inventory_as_it_was_on_18() {
    a_dump_and_a_restore_leave_the_inventory_as_it_was(18);
}

#[test]
fn databases_of_different_majors_compare_by_name() {
    let (old, new) = (Ground::with_fixture(14), Ground::with_fixture(17));
    let differences = compare(&old.inventory("source"), &new.inventory("source"), Depth::Names);
    let shown: Vec<String> = differences.iter().map(ToString::to_string).collect();
    // The fixture's own additions, the schema `public` of 15 and later, and GRANT ALL.
    assert_eq!(
        shown,
        [
            "schema public belongs to pg_database_owner instead of postgres",
            "view app.invoked is there, and the backup does not have it",
            "publication narrow is there, and the backup does not have it",
            "publication schemas is there, and the backup does not have it",
            "everyone (PUBLIC) lacks CREATE on schema public",
            "inv_Odd \"role\" has MAINTAIN on table \"Odd \"\"schema\"\"\".\"line\\nbreak\\tand \\ \"\"quote\"\" %I $$ 😀\", which the backup does not give",
        ]
    );
}

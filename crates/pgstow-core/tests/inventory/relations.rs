//! Relations, their columns, and the positions of sequences, as a backup asks for them.

use pgstow_core::postgres::catalog::relations::{Column, Membership, Relation, Sizes, columns, list};
use pgstow_core::postgres::catalog::sequences::positions;

use crate::ground::Ground;

fn find<'r>(relations: &'r [Relation], name: &str) -> &'r Relation {
    let mut found = relations.iter().filter(|relation| relation.name == name);
    let relation = found.next().unwrap_or_else(|| panic!("no relation {name}"));
    assert!(found.next().is_none(), "{name} is there twice");
    relation
}

/// Makes hstore, which has no tables, own some, as an extension with configuration would.
const CONFIGURATION: &str = "
CREATE TABLE app.configured (id serial, a integer);
CREATE TABLE app.internal (a integer);
CREATE TABLE app.whole (a integer);
ALTER EXTENSION hstore ADD TABLE app.configured;
ALTER EXTENSION hstore ADD TABLE app.internal;
ALTER EXTENSION hstore ADD TABLE app.whole;
ALTER EXTENSION hstore ADD SEQUENCE app.configured_id_seq;
CREATE SEQUENCE app.hidden;
ALTER EXTENSION hstore ADD SEQUENCE app.hidden;
UPDATE pg_catalog.pg_extension
   SET extconfig = ARRAY['app.configured'::regclass, 'app.whole'::regclass, 'app.configured_id_seq'::regclass]::oid[],
       extcondition = ARRAY['WHERE a > 1', '', '']
 WHERE extname = 'hstore';
";

fn relations_are_described_for_a_backup(major: u32) {
    let ground = Ground::with_fixture(major);
    ground.run("source", CONFIGURATION);
    ground
        .run("source", "INSERT INTO app.lines (note) SELECT repeat('x', 100) FROM generate_series(1, 5000)");
    let mut connection = ground.connect("source");
    let relations = list(&mut connection, Sizes::Read).expect("relations");

    let names: Vec<_> = relations.iter().map(|relation| (&relation.schema, &relation.name)).collect();
    assert!(names.is_sorted());
    let lines = find(&relations, "lines");
    assert_eq!((lines.kind, lines.persistence, lines.owner.as_str()), ('r', 'p', "postgres"));
    assert_eq!(lines.access_method.as_deref(), Some("heap"));
    assert!(lines.filenode > 0);
    assert_eq!(lines.current_filenode, Some(lines.filenode));
    assert!(lines.pages >= 62, "{} pages", lines.pages);
    assert!(lines.table_bytes >= u64::from(lines.pages) * 8192);
    assert_eq!((&lines.extension, &lines.parent_root), (&None, &None));
    assert!(lines.selectable && !lines.row_security_active && !lines.load_through_root);
    assert_eq!(find(&relations, "visits").persistence, 'u');
    assert_eq!(find(&relations, "active").current_filenode, None);
    for (name, kind) in
        [("orders", 'p'), ("far", 'f'), ("summary", 'm'), ("active", 'v'), ("counter", 'S'), ("users", 'r')]
    {
        assert_eq!(find(&relations, name).kind, kind, "{name}");
    }

    let root = |name: &str| Some(("app".to_owned(), name.to_owned()));
    for (name, parent_root, through) in [
        ("orders", None, false),
        ("orders_2024", root("orders"), false),
        ("orders_2025", root("orders"), false),
        ("orders_2025_0", root("orders"), true),
        ("orders_rest", root("orders"), false),
        ("regions_a", root("regions"), true),
        ("codes_a", root("codes"), false),
        ("kinds_a", root("kinds"), false),
        ("loose_kinds_a", root("loose_kinds"), true),
        ("child", None, false),
    ] {
        let relation = find(&relations, name);
        assert_eq!(relation.parent_root, parent_root, "{name}");
        assert_eq!(relation.load_through_root, through, "{name}");
    }

    let member = |condition: Option<&str>| {
        Some(Membership { extension: "hstore".into(), condition: condition.map(str::to_owned) })
    };
    assert_eq!(find(&relations, "configured").extension, member(Some("WHERE a > 1")));
    assert_eq!(find(&relations, "whole").extension, member(Some("")));
    assert_eq!(find(&relations, "internal").extension, member(None));

    let without_sizes = list(&mut connection, Sizes::Skip).expect("relations");
    assert_eq!(find(&without_sizes, "lines").table_bytes, 0);
    assert_eq!(find(&without_sizes, "lines").oid, lines.oid);
}

#[test]
fn relations_are_described_for_a_backup_on_13() {
    relations_are_described_for_a_backup(13);
}

#[test]
fn relations_are_described_for_a_backup_on_15() {
    relations_are_described_for_a_backup(15);
}

#[test]
fn relations_are_described_for_a_backup_on_18() {
    relations_are_described_for_a_backup(18);
}

#[test]
fn relations_that_a_role_may_not_read_are_marked() {
    let ground = Ground::with_fixture(15);
    ground.run("source", "GRANT SELECT ON app.lines, app.unused TO inv_stranger");
    let mut connection = ground.connect("source");
    connection.execute("SET ROLE inv_reader").expect("a role");
    let relations = list(&mut connection, Sizes::Skip).expect("relations");
    let users = find(&relations, "users");
    assert!(users.selectable && users.row_security_active);
    assert!(!find(&relations, "lines").selectable);
    assert!(find(&relations, "summary").selectable);
    // A privilege on a table is worth nothing without the one on its schema.
    connection.execute("SET ROLE inv_stranger").expect("a role");
    assert!(!find(&list(&mut connection, Sizes::Skip).expect("relations"), "lines").selectable);
}

#[test]
fn a_relation_rewritten_after_the_snapshot_shows_two_filenodes() {
    let ground = Ground::with_fixture(15);
    let mut connection = ground.connect("source");
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT 1").expect("a snapshot");
    ground.run("source", "TRUNCATE app.lines");
    ground.run("source", "DROP TABLE app.heap2");
    let relations = list(&mut connection, Sizes::Read).expect("relations");
    let lines = find(&relations, "lines");
    assert!(lines.current_filenode.is_some_and(|current| current != lines.filenode));
    let dropped = find(&relations, "heap2");
    assert_eq!((dropped.current_filenode, dropped.pages, dropped.table_bytes), (None, 0, 0));
    assert!(dropped.filenode > 0);
}

fn columns_are_those_that_copy_moves(major: u32) {
    let ground = Ground::with_fixture(major);
    let mut connection = ground.connect("source");
    let relations = list(&mut connection, Sizes::Skip).expect("relations");
    let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
    let columns = columns(&mut connection, &oids).expect("columns");
    let named = |name: &str| -> Vec<(&str, &str)> {
        let columns = columns.get(&find(&relations, name).oid).expect("columns");
        columns.iter().map(|Column { name, type_name }| (name.as_str(), type_name.as_str())).collect()
    };
    assert_eq!(
        named("users"),
        [
            ("id", "bigint"),
            ("email", "public.citext"),
            ("status", "character varying(10)"),
            ("mood", "app.mood"),
            ("share", "app.percent"),
            ("name", "text"),
            ("place", "app.point3"),
            ("touched", "integer"),
            ("born", "date"),
            ("period", "int4range"),
        ]
    );
    assert_eq!(
        named("orders_2025"),
        [("total", "numeric"), ("id", "bigint"), ("user_id", "bigint"), ("at", "date")]
    );
    assert_eq!(
        named("line\nbreak\tand \\ \"quote\" %I $$ 😀"),
        [("col\numn\\", "integer"), ("select", "text")]
    );
}

#[test]
fn columns_are_those_that_copy_moves_on_13() {
    columns_are_those_that_copy_moves(13);
}

#[test]
fn columns_are_those_that_copy_moves_on_18() {
    columns_are_those_that_copy_moves(18);
}

#[test]
fn positions_of_sequences_are_read_in_batches() {
    let ground = Ground::with_fixture(15);
    ground.run("source", CONFIGURATION);
    ground.run(
        "source",
        "SELECT nextval('app.counter'), nextval('app.counter'), setval('app.unused', 77, false), setval('app.users_id_seq', 500);
         CREATE SCHEMA many;
         DO $$ BEGIN FOR i IN 1..700 LOOP
           EXECUTE format('CREATE SEQUENCE many.s%s START %s', lpad(i::text, 3, '0'), i);
         END LOOP; END $$",
    );
    let mut connection = ground.connect("source");
    let read = positions(&mut connection).expect("positions");
    assert_eq!(read.unreadable, []);
    let of = |name: &str| {
        let known = read.known.iter().find(|known| known.name == name);
        known.map(|known| (known.last_value, known.is_called))
    };
    // Its cache of 3 is drawn at once.
    assert_eq!(of("counter"), Some((3, true)));
    assert_eq!(of("unused"), Some((77, false)));
    assert_eq!(of("users_id_seq"), Some((500, true)));
    assert_eq!(of("configured_id_seq"), Some((1, false)));
    assert_eq!(of("hidden"), None);
    assert_eq!(of("sixty-three bytes: 0123456789012345678901234567890123456789012"), Some((1, false)));
    for number in [1, 300, 301, 700] {
        assert_eq!(of(&format!("s{number:03}")), Some((number, false)));
    }

    connection.execute("SET ROLE inv_reader").expect("a role");
    let read = positions(&mut connection).expect("positions");
    assert_eq!(read.known, []);
    assert!(read.unreadable.contains(&("app".to_owned(), "counter".to_owned())));
    assert!(read.unreadable.is_sorted());
}

//! What is in an export: chosen tables and schemas, owners and privileges, rows that cannot be text;
//! from encrypted repositories and partial backups.

use std::os::unix::fs::PermissionsExt;

use super::tools::{export, pg_restore, pg_restore_prints, psql};
use crate::support::oracle;
use crate::support::servers;
use crate::support::workspace::Workspace;

const SHOP: &str = "
CREATE SCHEMA app; CREATE SCHEMA other;
CREATE TYPE other.mood AS ENUM ('good', 'bad');
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE app.customer (id integer PRIMARY KEY);
CREATE TABLE app.orders (id serial PRIMARY KEY, customer integer REFERENCES app.customer, mood other.mood);
CREATE TRIGGER touch BEFORE INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TABLE app.events (id integer, at date) PARTITION BY RANGE (at);
CREATE TABLE other.events_1 PARTITION OF app.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE other.unrelated (id integer);
CREATE VIEW app.both AS SELECT o.id FROM app.orders o, other.unrelated u;
CREATE VIEW app.v AS SELECT id FROM app.orders;
INSERT INTO app.customer VALUES (1); INSERT INTO app.orders (customer, mood) VALUES (1, 'good');
INSERT INTO app.events VALUES (1, '2024-05-05'); INSERT INTO other.unrelated VALUES (1);
GRANT SELECT ON app.orders TO PUBLIC; COMMENT ON TABLE app.orders IS 'of customers';
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC;
SELECT lo_create(5)
";

#[test]
fn chosen_tables_bring_what_they_need() {
    let server = servers::shared(15);
    let source = server.database("source");
    source.run(SHOP);
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    let outcome = workspace
        .run(&["export", &backup, "--output", "orders.dump", "--table", "app.orders", "--table", "events"])
        .succeeded();
    outcome.saying(&["orders_customer_fkey", "customer, which is not chosen", "pg_restore"]);
    let target = server.database("target");
    pg_restore("client", &workspace.path().join("orders.dump"), &target, &[]);
    assert_eq!(
        target.lines("SELECT oid::regclass::text COLLATE \"C\" FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relnamespace >= 16384 ORDER BY 1"),
        ["app.events", "app.orders", "other.events_1"]
    );
    assert_eq!(
        target.value(
            "SELECT (SELECT mood FROM app.orders), (SELECT id FROM app.events), nextval('app.orders_id_seq')"
        ),
        "good|1|2"
    );
    assert_eq!(
        target
            .value("SELECT relacl IS NOT NULL, obj_description(oid) FROM pg_class WHERE relname = 'orders'"),
        "t|of customers"
    );
    assert_eq!(target.value("SELECT count(*) FROM pg_trigger WHERE tgname = 'touch'"), "1");
    assert_eq!(target.value("SELECT count(*) FROM pg_largeobject_metadata"), "0");

    workspace
        .run(&["export", &backup, "--output", "x.dump", "--table", "Orders"])
        .ended_with(2)
        .saying(&["app.orders", "case"]);
    workspace
        .run(&["export", &backup, "--output", "x.dump", "--schema", "nothing"])
        .ended_with(2)
        .saying(&["nothing"]);
    assert!(!workspace.path().join("x.dump").exists());
}

#[test]
fn chosen_schemas_bring_all_that_is_in_them() {
    let server = servers::shared(15);
    let source = server.database("source");
    source.run(SHOP);
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    let script = workspace.path().join("app.sql");
    workspace
        .run(&["export", &backup, "--output", "app.sql", "--schema", "app"])
        .succeeded()
        .saying(&["view app.both is left out", "other.unrelated"]);
    let target = server.database("target");
    psql("client", &script, &target, &[]);
    assert_eq!(
        target.lines("SELECT oid::regclass::text COLLATE \"C\" FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relnamespace >= 16384 ORDER BY 1"),
        ["app.customer", "app.events", "app.orders", "app.v", "other.events_1"]
    );
    assert_eq!(target.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f'"), "1");
    assert_eq!(target.value("SELECT count(*) FROM pg_default_acl"), "1");
}

#[test]
fn pg_restore_chooses_from_an_archive() {
    let server = servers::shared(15);
    let source = server.database("source");
    source.run(SHOP);
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    let archive = export(&workspace, &backup, "a.dump", &[]);
    let target = server.database("target");
    target.run("CREATE SCHEMA app; CREATE SCHEMA other");
    pg_restore("client", &archive, &target, &["-n", "app", "-t", "customer"]);
    assert_eq!(target.lines("SELECT oid::regclass::text COLLATE \"C\" FROM pg_class WHERE relkind = 'r' AND relnamespace >= 16384"), ["app.customer"]);
    assert_eq!(target.value("SELECT id FROM app.customer"), "1");
    let printed = pg_restore_prints("client-18", &archive, &["-f", "-", "-a", "-t", "orders"]);
    assert!(printed.contains("\n1\t1\tgood\n\\.\n"), "{printed}");
}

#[test]
fn owners_and_privileges_can_be_left_out() {
    let server = servers::shared(15);
    let source = server.database("source");
    source.run("CREATE ROLE left_out_owner; CREATE TABLE t (n integer); ALTER TABLE t OWNER TO left_out_owner; GRANT SELECT ON t TO left_out_owner, PUBLIC; SELECT lo_create(5); ALTER LARGE OBJECT 5 OWNER TO left_out_owner");
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    let custom = export(&workspace, &backup, "a.dump", &["--no-owner", "--no-privileges"]);
    let script = export(&workspace, &backup, "a.sql", &["--no-owner", "--no-privileges"]);
    for text in [std::fs::read_to_string(script).unwrap(), pg_restore_prints("client", &custom, &["-f", "-"])]
    {
        assert!(
            text.contains("CREATE TABLE public.t")
                && !text.contains("left_out_owner")
                && !text.contains("GRANT"),
            "{text}"
        );
    }
    source.drop_database();
    server.existing("postgres").run("DROP ROLE left_out_owner");
}

#[test]
fn encrypted_and_partial_backups_are_exported() {
    let server = servers::shared(15);
    let source = server.database("source");
    source.run(SHOP);
    let state = oracle::state(&source);
    let workspace = Workspace::with_source(&source);
    let key = workspace.temporary().join("key.txt");
    let key = key.to_str().expect("UTF-8");
    let public =
        workspace.run(&["key", "new", "--output", key, "--quiet"]).succeeded().stdout.trim().to_owned();
    workspace.run(&["init", "--encrypt-to", &public]).succeeded();
    let backup = workspace.backup(&[]);
    workspace.run(&["export", &backup, "--output", "a.dump"]).ended_with(7);
    let file = export(&workspace, &backup, "a.dump", &["--identity", key]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let target = server.database("target");
    pg_restore("client", &file, &target, &["-j", "2"]);
    oracle::assert_same(&state, &oracle::state(&target));

    let data = workspace.backup(&["--data-only", "--label", "data"]);
    workspace.run(&["export", &data, "--output", "b.sql", "--schema-only", "--identity", key]).ended_with(2);
    let script = export(&workspace, &data, "b.sql", &["--identity", key]);
    target.run("TRUNCATE app.customer, app.orders, app.events, other.unrelated; SELECT lo_unlink(5)");
    // Without definitions nobody knows of foreign keys.
    target.run("ALTER TABLE app.orders DROP CONSTRAINT orders_customer_fkey");
    psql("client", &script, &target, &[]);
    assert_eq!(state.contents, oracle::state(&target).contents);

    let one = workspace.backup(&["--table", "app.customer", "--exclude-data", "*", "--label", "one"]);
    let outcome = workspace.run(&["export", &one, "--output", "c.dump", "--identity", key]).succeeded();
    outcome.saying(&["made without them"]);
    let list = pg_restore_prints("client", &workspace.path().join("c.dump"), &["--list"]);
    assert!(
        list.contains("TABLE app customer") && !list.contains("orders") && !list.contains("TABLE DATA"),
        "{list}"
    );
}

#[test]
fn rows_that_are_no_text_are_named() {
    let server = servers::shared(15);
    let source = server.database("source");
    source.run(
        "CREATE TABLE files (body bytea); INSERT INTO files SELECT convert_to(repeat('0123456789', 55000000), 'UTF8');
         CREATE TABLE small (n integer); INSERT INTO small VALUES (7)",
    );
    let workspace = Workspace::with_source(&source);
    let backup = workspace.backup(&[]);
    workspace.run(&["export", &backup, "--output", "a.dump"]).ended_with(3).saying(&[
        "public.files",
        "too long",
        "not complete",
    ]);
    let target = server.database("target");
    pg_restore("client", &workspace.path().join("a.dump"), &target, &[]);
    assert_eq!(target.value("SELECT (SELECT count(*) FROM files), (SELECT n FROM small)"), "0|7");
    source.drop_database();
}

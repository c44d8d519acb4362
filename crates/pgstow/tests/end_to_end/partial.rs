//! Parts of a backup as people ask for them: one table, a schema, rows alone, a copy beside the
//! original, another database of the same server.

use crate::support::oracle;
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::Workspace;

const SHOP: &str = "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad', 'happy');
CREATE TABLE app.customers (id serial PRIMARY KEY, name text); CREATE TABLE app.orders (id serial PRIMARY KEY,
  customer integer REFERENCES app.customers, m app.mood DEFAULT 'happy'); CREATE INDEX orders_m ON app.orders (m);
CREATE VIEW app.recent AS SELECT o.id, c.name FROM app.orders o JOIN app.customers c ON c.id = o.customer;
CREATE TABLE \"Other.1\" (n integer); INSERT INTO app.customers (name) SELECT 'c' || n FROM generate_series(1, 50) n;
INSERT INTO app.orders (customer) SELECT n FROM generate_series(1, 50) n; INSERT INTO \"Other.1\" VALUES (1)";

/// A source, a target that holds the same, and the id of the backup.
fn in_use() -> (Database, Database, Workspace, String) {
    let server = servers::shared(DEFAULT_MAJOR);
    let (source, target) = (server.database("source"), server.database("target"));
    source.run(SHOP);
    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &target.url());
    let id = workspace.backup(&[]);
    workspace.run(&["restore", &id, "--to", "dev"]).succeeded();
    (source, target, workspace, id)
}

#[test]
fn a_table_and_a_schema_come_back_and_nothing_else_changes() {
    let (source, target, workspace, id) = in_use();
    let before = oracle::state(&source);
    target.run("DROP TABLE app.orders CASCADE");
    workspace
        .run(&["restore", &id, "--to", "dev", "--table", "ordres"])
        .ended_with(2)
        .saying(&["app.orders"]);
    workspace
        .run(&["restore", &id, "--to", "dev", "--table", "orders", "--table", "recent", "--dry-run"])
        .succeeded()
        .saying(&[
            "chosen",
            "table app.orders",
            "view app.recent",
            "stays",
            "type app.mood",
            "one transaction",
        ]);
    workspace.run(&["restore", &id, "--to", "dev", "--table", "orders", "--table", "recent"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
    // In use: only with --clean, and then with the view that reads it.
    workspace.run(&["restore", &id, "--to", "dev", "--table", "orders"]).ended_with(4).saying(&["--clean"]);
    target.run("DELETE FROM app.orders WHERE id > 9; ALTER TABLE app.orders ADD extra text");
    workspace.run(&["restore", &id, "--to", "dev", "--table", "orders", "--clean", "--yes"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
    target.run("DROP TABLE app.customers CASCADE; DROP TYPE app.mood CASCADE");
    workspace.run(&["restore", &id, "--to", "dev", "--schema", "app", "--clean", "--yes"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
}

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

#[test]
fn rows_are_added_or_replaced_and_the_wrong_options_are_refused() {
    let (source, target, workspace, id) = in_use();
    let before = oracle::state(&source);
    let orders = ["restore", &id, "--to", "dev", "--data-only", "--table", "orders"];
    workspace.run(&orders).ended_with(4).saying(&["--truncate", "--append"]);
    target.run("UPDATE app.orders SET customer = 1");
    workspace.run(&with(&orders, &["--truncate"])).ended_with(4);
    workspace.run(&with(&orders, &["--truncate", "--yes"])).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
    target.run("UPDATE app.orders SET id = id + 1000");
    workspace.run(&with(&orders, &["--append", "--yes"])).succeeded();
    assert_eq!(target.value("SELECT count(*) FROM app.orders"), "100");
    for wrong in [&["--append", "--truncate"][..], &["--append", "--clean"], &["--append", "--checksums"]] {
        workspace.run(&with(&orders, wrong)).ended_with(2);
    }
    workspace.run(&["restore", &id, "--to", "dev", "--append"]).ended_with(2);
    workspace.run(&["restore", &id, "--to", "dev", "--rename", "orders=o", "--table", "x"]).ended_with(2);
}

#[test]
fn a_copy_comes_beside_the_original_and_another_database_is_as_protected() {
    let (source, target, workspace, id) = in_use();
    let before = oracle::state(&source);
    let outcome = workspace
        .run(&["restore", &id, "--to", "dev", "--rename", "app.orders=app.orders_old"])
        .ended_with(3);
    outcome.saying(&["rows of app.orders_old", "foreign key"]);
    assert_eq!(
        target.value(
            "SELECT count(*), max(pg_get_serial_sequence('app.orders_old', 'id')) FROM app.orders_old"
        ),
        "50|app.orders_old_id_seq"
    );
    target.run("DROP TABLE app.orders_old");
    oracle::assert_same(&before, &oracle::state(&target));

    let other = target.server.database("other");
    workspace
        .run(&["restore", &id, "--to", "dev", "--database", &other.name])
        .succeeded()
        .saying(&[&other.name]);
    oracle::assert_same(&before, &oracle::state(&other));
    workspace
        .run(&["restore", &id, "--to", "dev", "--database", "no \"such\" one"])
        .ended_with(1)
        .saying(&["CREATE DATABASE \"no \"\"such\"\" one\";"]);
    std::fs::write(
        workspace.path().join("pgstow.toml"),
        format!("[env.safe]\nurl = \"{}\"\nprotected = true\n", target.url()),
    )
    .expect("the file is written");
    let clean = ["restore", &id, "--to", "safe", "--database", &other.name, "--clean", "--yes"];
    workspace.run(&clean).ended_with(4).saying(&["safe is protected"]);
}

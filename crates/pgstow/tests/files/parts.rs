//! Parts of an archive as people ask for them, and what `grant_to` gives after a restore of a file.

use std::path::Path;

use crate::ground::{dump, text, workspace};
use crate::support::oracle;
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::Workspace;

const SHOP: &str = "
CREATE SCHEMA app; COMMENT ON SCHEMA app IS 'the shop';
CREATE TYPE app.mood AS ENUM ('sad', 'happy');
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE app.customers (id serial PRIMARY KEY, name text UNIQUE);
CREATE TABLE app.orders (id serial PRIMARY KEY, number bigint GENERATED ALWAYS AS IDENTITY,
  customer integer REFERENCES app.customers, m app.mood DEFAULT 'happy', CHECK (id > 0));
CREATE INDEX orders_m ON app.orders (m);
CREATE STATISTICS app.orders_both ON customer, m FROM app.orders;
CREATE TRIGGER touched BEFORE UPDATE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY happy ON app.orders USING (m = 'happy');
COMMENT ON TABLE app.orders IS 'what they want'; COMMENT ON COLUMN app.orders.m IS 'how they feel';
GRANT SELECT ON app.orders TO PUBLIC; GRANT UPDATE (m) ON app.orders TO PUBLIC;
CREATE VIEW app.recent AS SELECT o.id, c.name FROM app.orders o JOIN app.customers c ON c.id = o.customer;
CREATE MATERIALIZED VIEW app.totals AS SELECT m, count(*) FROM app.orders GROUP BY m;
CREATE TABLE app.events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE app.events_2025 PARTITION OF app.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE app.events_2026 PARTITION OF app.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE \"Other.1\" (n integer);
INSERT INTO app.customers (name) SELECT 'c' || n FROM generate_series(1, 50) n;
INSERT INTO app.orders (customer) SELECT n FROM generate_series(1, 50) n;
INSERT INTO app.events SELECT date '2025-01-01' + n, 'event' FROM generate_series(1, 600) n;
INSERT INTO \"Other.1\" VALUES (1); SELECT lo_from_bytea(7, 'seven'); REFRESH MATERIALIZED VIEW app.totals;
";

/// A source, and a target that holds the same.
fn in_use() -> (Database, Database, Workspace) {
    let server = servers::shared(DEFAULT_MAJOR);
    let (source, target) = (server.database("source"), server.database("target"));
    source.run(SHOP);
    target.run(SHOP);
    let workspace = workspace(&target);
    (source, target, workspace)
}

fn restore<'a>(file: &'a Path, options: &[&'a str]) -> Vec<&'a str> {
    ["restore", text(file), "--to", "dev"].into_iter().chain(options.iter().copied()).collect()
}

#[test]
fn a_table_comes_back_with_all_that_belongs_to_it_and_nothing_else_changes() {
    let (source, target, workspace) = in_use();
    let before = oracle::state(&source);
    for (name, options) in [("custom", ["-Fc"]), ("folder", ["-Fd"]), ("tar", ["-Ft"])] {
        let file = dump(&source, &workspace, name, &options);
        target.run("DROP TABLE app.orders CASCADE");
        let views = ["--table", "orders", "--table", "recent", "--table", "totals"];
        workspace.run(&restore(&file, &["--table", "ordres"])).ended_with(2).saying(&["app.orders"]);
        workspace.run(&restore(&file, &[&views[..], &["--dry-run"]].concat())).succeeded().saying(&[
            "chosen",
            "table app.orders",
            "view app.recent",
            "stays",
            "type app.mood",
            "function app.touch()",
            "would load    50 rows of 1 table",
            "one transaction",
        ]);
        workspace.run(&restore(&file, &views)).succeeded();
        oracle::assert_same(&before, &oracle::state(&target));
        // It is there now, and stays until it is meant.
        workspace.run(&restore(&file, &["--table", "orders"])).ended_with(4).saying(&["--clean"]);
        target.run("DELETE FROM app.orders WHERE id > 9; ALTER TABLE app.orders ADD extra text; REFRESH MATERIALIZED VIEW app.totals");
        let clean = [&views[..], &["--clean", "--yes"]].concat();
        let cleared = oracle::state(&target);
        workspace.run(&restore(&file, &clean)).succeeded();
        oracle::assert_same(&before, &oracle::state(&target));
        workspace.run(&["undo", "dev", "--yes"]).succeeded();
        oracle::assert_same(&cleared, &oracle::state(&target));
        workspace.run(&restore(&file, &clean)).succeeded();
    }
}

#[test]
fn what_depends_on_a_replaced_table_is_not_taken_along() {
    let (source, target, workspace) = in_use();
    let file = dump(&source, &workspace, "shop.dump", &["-Fc"]);
    let before = oracle::state(&target);
    let clean = restore(&file, &["--table", "orders", "--clean", "--yes"]);
    workspace.run(&clean).ended_with(4).saying(&["app.recent", "nothing was changed"]);
    oracle::assert_same(&before, &oracle::state(&target));
    assert!(workspace.backups().is_empty());
}

#[test]
fn into_an_empty_database_comes_what_a_table_needs() {
    let (source, _, _) = in_use();
    let target = source.server.database("empty");
    let workspace = workspace(&target);
    let file = dump(&source, &workspace, "shop.dump", &["-Fc"]);
    let restored = workspace.run(&restore(&file, &["--table", "app.orders"])).ended_with(3);
    restored.saying(&[
        "with it",
        "schema app",
        "type app.mood",
        "orders_customer_fkey",
        "neither chosen nor",
    ]);
    let relations = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'app'::regnamespace";
    assert_eq!(target.value(relations), "orders orders_id_seq orders_m orders_number_seq orders_pkey");
    let looks = "SELECT (SELECT count(*) FROM app.orders), obj_description('app.orders'::regclass),
        (SELECT count(*) FROM pg_policy), (SELECT count(*) FROM pg_trigger WHERE tgname = 'touched'),
        (SELECT count(*) FROM pg_statistic_ext), (SELECT count(*) FROM pg_largeobject_metadata),
        has_table_privilege('public', 'app.orders', 'SELECT'), has_column_privilege('public', 'app.orders', 'm', 'UPDATE')";
    assert_eq!(target.value(looks), "50|what they want|1|1|1|0|t|t");
    assert_eq!(target.value("INSERT INTO app.orders (m) VALUES ('sad') RETURNING id, number"), "51|51");
}

#[test]
fn a_schema_is_replaced_and_an_excluded_table_stays() {
    let (source, target, workspace) = in_use();
    let before = oracle::state(&source);
    let file = dump(&source, &workspace, "shop.dump", &["-Fc"]);
    target.run("DROP TABLE app.customers CASCADE; CREATE TABLE app.surplus (n integer); ALTER TYPE app.mood ADD VALUE 'new'");
    workspace.run(&restore(&file, &["--schema", "app", "--clean", "--yes"])).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));

    target.run("UPDATE app.events SET what = 'changed'; INSERT INTO \"Other.1\" VALUES (2)");
    let events = target.value("SELECT md5(string_agg(e::text, '' ORDER BY at)) FROM app.events e");
    workspace.run(&restore(&file, &["--exclude-table", "events", "--clean", "--yes"])).succeeded();
    assert_eq!(target.value("SELECT md5(string_agg(e::text, '' ORDER BY at)) FROM app.events e"), events);
    assert_eq!(target.value("SELECT count(*) FROM \"Other.1\""), "1");
    let empty = source.server.database("empty");
    let other = crate::ground::workspace(&empty);
    let without = other.run(&restore(&file, &["--exclude-table", "customers"])).ended_with(3);
    without.saying(&["view app.recent", "orders_customer_fkey"]);
    assert_eq!(empty.value("SELECT count(*) FROM app.orders"), "50");
    assert_eq!(empty.value("SELECT to_regclass('app.customers') IS NULL"), "t");
    assert_eq!(empty.value("SELECT convert_from(lo_get(7), 'UTF8')"), "seven");
}

#[test]
fn rows_of_chosen_tables_replace_those_that_are_there() {
    let (source, target, workspace) = in_use();
    let before = oracle::state(&source);
    let file = dump(&source, &workspace, "shop.dump", &["-Fc"]);
    let rows = ["--data-only", "--table", "orders", "--table", "events"];
    workspace.run(&restore(&file, &rows)).ended_with(4).saying(&["holds rows"]);
    target.run(
        "DELETE FROM app.orders WHERE id > 9; DELETE FROM app.events; SELECT setval('app.orders_id_seq', 7)",
    );
    let truncate = [&rows[..], &["--truncate", "--yes"]].concat();
    let restored = workspace.run(&restore(&file, &truncate)).succeeded();
    restored.saying(&["chosen", "table app.orders", "would empty"]);
    oracle::assert_same(&before, &oracle::state(&target));
    workspace.run(&restore(&file, &["--data-only", "--append", "--table", "orders"])).ended_with(2);
}

#[test]
fn plain_sql_has_no_parts() {
    let (source, target, workspace) = in_use();
    let before = oracle::state(&target);
    let file = dump(&source, &workspace, "shop.sql", &[]);
    for part in [["--table", "orders"], ["--schema", "app"], ["--exclude-table", "orders"]] {
        let refused = workspace.run(&restore(&file, &part)).ended_with(4);
        refused.saying(&["restored as a whole", "-Fc", "pgstow import", "nothing was changed"]);
    }
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn roles_of_grant_to_get_what_an_application_needs_and_no_more() {
    let source = servers::shared(DEFAULT_MAJOR).database("source");
    source.run(SHOP);
    let target = servers::shared(DEFAULT_MAJOR).database("target");
    target.run("CREATE ROLE \"Files App\"");
    let mut workspace = workspace(&target);
    workspace.set("TARGET", &target.url());
    let config = "[env.app]\nurl = '${TARGET}'\ngrant_to = ['Files App']\n[env.more]\nurl = '${TARGET}'\ngrant_to = ['nobody there']\n";
    std::fs::write(workspace.path().join("pgstow.toml"), config).expect("a file");
    let may = |question: &str| target.value(&format!("SELECT has_{question}"));
    for (name, options) in [("custom", ["-Fc"]), ("plain", ["-Fp"])] {
        let file = dump(&source, &workspace, name, &options);
        let into = |env| ["restore", text(&file), "--to", env, "--clean", "--yes"];
        workspace.run(&into("app")).succeeded().saying(&["what an application needs to Files App"]);
        for granted in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            for table in ["app.orders", "app.recent", "app.totals", "app.events_2025", "\"Other.1\""] {
                assert_eq!(
                    may(&format!("table_privilege('Files App', '{table}', '{granted}')")),
                    "t",
                    "{name}"
                );
            }
        }
        assert_eq!(may("table_privilege('Files App', 'app.orders', 'TRUNCATE')"), "f");
        assert_eq!(may("schema_privilege('Files App', 'app', 'USAGE')"), "t");
        assert_eq!(may("schema_privilege('Files App', 'app', 'CREATE')"), "f");
        for sequence in ["orders_id_seq", "orders_number_seq"] {
            assert_eq!(may(&format!("sequence_privilege('Files App', 'app.{sequence}', 'USAGE')")), "t");
        }
        let missing = workspace.run(&into("more")).ended_with(3);
        missing.saying(&["role nobody there of grant_to is not there"]);
        assert_eq!(may("table_privilege('Files App', 'app.customers', 'SELECT')"), "f");
    }
    source.drop_database();
    target.run("DROP OWNED BY \"Files App\"; DROP ROLE \"Files App\"");
}

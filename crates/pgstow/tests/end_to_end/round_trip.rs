//! A backup is restored exactly: definitions, privileges, rows, positions of sequences, large
//! objects; on every version, through TCP with SCRAM and verified TLS.

use crate::support::fixture::{EVERYTHING, for_major};
use crate::support::oracle::{self, State};
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR, Server};
use crate::support::workspace::Workspace;

/// A table that is read in many chunks.
const LARGE: &str = "
CREATE TABLE shop.large (id bigint PRIMARY KEY, kind text, body text, at timestamptz, attributes jsonb);
INSERT INTO shop.large
SELECT n, 'kind ' || n % 17, md5(n::text) || md5((n * 7)::text) || md5((n * 13)::text),
       '2024-01-01'::timestamptz + n * interval '1 second', jsonb_build_object('n', n, 'odd', n % 2 = 1)
FROM generate_series(1, 180000) AS n;
DELETE FROM shop.large WHERE id BETWEEN 50000 AND 70000;
UPDATE shop.large SET kind = 'changed' WHERE id % 100 = 0;
";

fn filled(database: &Database) -> State {
    database.run(&for_major(EVERYTHING, database.server.major));
    oracle::state(database)
}

fn round_trip(major: u32, more: &str) {
    let server = servers::shared(major);
    let source = server.database("source");
    source.run(&for_major(EVERYTHING, major));
    source.run(more);
    let before = oracle::state(&source);
    let target = server.database("target");
    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &target.url());

    let id = workspace.backup(&["--label", "round-trip", "--jobs", "3"]);
    oracle::assert_same(&before, &oracle::state(&source));
    workspace.run(&["verify", &id, "--read-data"]).succeeded();
    workspace.run(&["restore", &id, "--to", "dev", "--jobs", "3", "--checksums"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn everything_comes_back_on_13() {
    round_trip(13, "");
}

#[test]
fn everything_comes_back_on_14() {
    round_trip(14, "");
}

#[test]
fn everything_comes_back_on_15_with_a_table_of_many_chunks() {
    round_trip(15, LARGE);
}

#[test]
fn everything_comes_back_on_16() {
    round_trip(16, "");
}

#[test]
fn everything_comes_back_on_17() {
    round_trip(17, "");
}

#[test]
fn everything_comes_back_on_18() {
    round_trip(18, "");
}

#[test]
fn an_older_servers_backup_restores_into_a_newer_one() {
    let source = servers::shared(13).database("source");
    let before = filled(&source);
    let target = servers::shared(18).database("target");
    // Roles are not part of a backup: the new server has to have them.
    let other = servers::shared(18).database("roles");
    other.run(&for_major(EVERYTHING, 18));

    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &target.url());
    let id = workspace.backup(&[]);
    // Extensions come in another version there; that may be listed as a difference.
    let outcome = workspace.run(&["restore", &id, "--to", "dev", "--checksums"]);
    assert!([0, 3].contains(&outcome.code()), "{}", outcome.said());
    let after = oracle::state(&target);
    assert_eq!(before.contents, after.contents);
    assert_eq!(before.sequences, after.sequences);
    assert_eq!(before.large_objects, after.large_objects);
}

#[test]
fn owners_and_privileges_of_missing_roles_are_listed() {
    let source = servers::shared(DEFAULT_MAJOR).database("source");
    filled(&source);
    // Rows that name roles cannot be loaded where there are none.
    source.run("UPDATE public.every_type SET t_regrole = NULL, t_acl = NULL");
    let before = oracle::state(&source);
    let elsewhere = std::sync::Arc::new(Server::start(DEFAULT_MAJOR, &[]));
    let target = elsewhere.database("target");
    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &target.url());
    let id = workspace.backup(&[]);

    let outcome = workspace.run(&["restore", &id, "--to", "dev"]).ended_with(3);
    for role in ["shop_owner", "shop_reader", "shop_writer", "Mixed Role", "has space"] {
        assert!(outcome.said().contains(role), "{role} is not listed\n{}", outcome.said());
    }
    let after = oracle::state(&target);
    assert_eq!(before.contents, after.contents);
    assert_eq!(
        target.value("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'shop.customer'::regclass"),
        "postgres"
    );
}

#[test]
fn a_filled_target_is_replaced_only_when_asked() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    let before = filled(&source);
    let target = server.database("target");
    target.run("CREATE TABLE precious (n integer); INSERT INTO precious VALUES (1), (2); CREATE SCHEMA shop; CREATE TABLE shop.customer (other text)");
    let untouched = oracle::state(&target);
    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &target.url());
    let id = workspace.backup(&[]);

    workspace.run(&["restore", &id, "--to", "dev"]).ended_with(4).saying(&["--clean"]);
    oracle::assert_same(&untouched, &oracle::state(&target));
    workspace
        .run(&["restore", &id, "--to", "dev", "--clean", "--dry-run"])
        .succeeded()
        .saying(&["would drop", "2 tables"]);
    oracle::assert_same(&untouched, &oracle::state(&target));
    workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
    // Once more onto its own result.
    workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn definitions_and_rows_can_be_restored_one_after_the_other() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run("CREATE TABLE a (id serial PRIMARY KEY, body text); INSERT INTO a (body) SELECT 'x' || n FROM generate_series(1, 500) AS n; CREATE VIEW v AS SELECT count(*) FROM a");
    let before = oracle::state(&source);
    let target = server.database("target");
    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &target.url());
    let id = workspace.backup(&[]);
    workspace.run(&["restore", &id, "--to", "dev", "--schema-only"]).succeeded();
    assert_eq!(target.value("SELECT count FROM v"), "0");
    assert_eq!(before.definitions, oracle::state(&target).definitions);
    workspace.run(&["restore", &id, "--to", "dev", "--data-only", "--yes"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn a_selection_of_tables_is_backed_up_alone() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run("CREATE TABLE kept (n integer); CREATE TABLE \"Left Out\" (n integer); CREATE TABLE no_rows (n integer);
                INSERT INTO kept VALUES (1); INSERT INTO \"Left Out\" VALUES (2); INSERT INTO no_rows VALUES (3)");
    let target = server.database("target");
    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &target.url());
    let id = workspace.backup(&["--exclude-table", "\"Left Out\"", "--exclude-data", "no_rows"]);
    workspace.run(&["restore", &id, "--to", "dev"]).succeeded();
    assert_eq!(target.lines("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"), ["kept", "no_rows"]);
    assert_eq!(target.value("SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM no_rows)"), "1|0");

    let alone = server.database("alone");
    workspace.environment("ALONE", &alone.url());
    let id = workspace.backup(&["--table", "kept", "--label", "one"]);
    workspace.run(&["restore", &id, "--to", "alone"]).succeeded();
    assert_eq!(
        alone.lines(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ),
        ["kept"]
    );
    assert_eq!(alone.value("SELECT n FROM kept"), "1");
}

#[test]
fn rows_of_other_encodings_come_back() {
    for (encoding, rows) in [
        ("LATIN1", "('Grüße, ÿ'), (E'\\u00e4\\t\\\\N')"),
        ("SQL_ASCII", "(E'\\x80\\xff raw'), ('Grüße'), (E'\\xe4')"),
    ] {
        let server = std::sync::Arc::new(Server::start_with(DEFAULT_MAJOR, |options| {
            options.encoding = encoding.to_owned();
            options.locale = "C".to_owned();
        }));
        let source = server.database("source");
        source.run(&format!("CREATE TABLE words (word text); INSERT INTO words VALUES {rows}; COMMENT ON TABLE words IS 'plain'"));
        let before = oracle::state(&source);
        let target = server.database("target");
        let mut workspace = Workspace::with_source(&source);
        workspace.environment("DEV", &target.url());
        let id = workspace.backup(&[]);
        workspace.run(&["restore", &id, "--to", "dev", "--checksums"]).succeeded();
        oracle::assert_same(&before, &oracle::state(&target));
    }
}

#[test]
fn settings_of_a_role_change_no_byte() {
    let server = std::sync::Arc::new(Server::start(DEFAULT_MAJOR, &[]));
    let source = server.database("source");
    source.run("CREATE TABLE t (at timestamptz, d date, i interval, b bytea, f float8, m money, x xml);
                INSERT INTO t VALUES ('2024-07-01 12:00+00', '2024-02-03', '1 day 02:03', '\\x005c', 0.1, 12.3, '<a/>')");
    let before = oracle::state(&source);
    let mut workspace = Workspace::with_source(&source);
    let plain = workspace.backup(&[]);
    server.existing("postgres").run(
        "ALTER ROLE postgres SET TimeZone = 'America/New_York'; ALTER ROLE postgres SET DateStyle = 'German, DMY';
         ALTER ROLE postgres SET IntervalStyle = 'sql_standard'; ALTER ROLE postgres SET bytea_output = 'escape';
         ALTER ROLE postgres SET extra_float_digits = -15; ALTER ROLE postgres SET search_path = 'pg_temp';
         ALTER ROLE postgres SET default_transaction_read_only = on;
         ALTER ROLE postgres SET row_security = off; ALTER ROLE postgres SET standard_conforming_strings = off",
    );
    let odd = workspace.backup(&["--label", "odd"]);
    let objects = |id: &str| {
        let list = workspace.repository().join("backups").join(id).join("objects.list");
        std::fs::read_to_string(list).expect("a backup lists its objects")
    };
    assert_eq!(objects(&plain), objects(&odd));
    // A backup only reads; a restore has to be allowed to write.
    server.existing("postgres").run(
        "SET default_transaction_read_only = off; ALTER ROLE postgres RESET default_transaction_read_only; CREATE DATABASE target TEMPLATE template0");
    let target = server.existing("target");
    workspace.environment("DEV", &target.url());
    workspace.run(&["restore", &odd, "--to", "dev", "--checksums"]).succeeded();
    server.existing("postgres").run("SET default_transaction_read_only = off; ALTER ROLE postgres RESET ALL");
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn tables_with_equal_rows_share_an_object_and_all_come_back() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("twins");
    for table in ["one", "two", "three"] {
        source.run(&format!("CREATE TABLE large_{table} AS SELECT n, md5(n::text) AS body FROM generate_series(1, 30000) AS n;
                             CREATE TABLE small_{table} AS SELECT n FROM generate_series(1, 3) AS n"));
    }
    let before = oracle::state(&source);
    let target = server.database("target");
    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &target.url());
    let id = workspace.backup(&[]);
    workspace.run(&["verify", &id, "--read-data"]).succeeded();
    workspace.run(&["restore", &id, "--to", "dev", "--checksums"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
}

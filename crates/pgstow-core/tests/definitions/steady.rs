//! What leaves definitions as they are.

use crate::ground::{Ground, OWNER, SUPERUSER};

/// Statements in the database itself, one at a time.
const HERE: &[&str] = &[
    "SELECT 1",
    "ANALYZE",
    "VACUUM people",
    "VACUUM FREEZE",
    "INSERT INTO notes SELECT g, 'more' FROM pg_catalog.generate_series(1, 500) g",
    "UPDATE people SET name = name || '!'",
    "DELETE FROM notes WHERE id > 900",
    "SELECT pg_catalog.nextval('counter'), pg_catalog.setval('people_id_seq', 5000)",
    "BEGIN; CREATE TABLE passing (x int); DROP VIEW names; ALTER TABLE people ADD COLUMN y int; ROLLBACK",
    "CREATE TABLE passing (x serial PRIMARY KEY); DROP TABLE passing",
    "COMMENT ON DATABASE other IS 'another'; COMMENT ON ROLE passing IS 'not carried'",
    "SET bytea_output = 'escape'",
];

/// Statements in another database.
const ELSEWHERE: &[&str] = &[
    "CREATE TABLE busy (x serial PRIMARY KEY); COMMENT ON TABLE busy IS 'x'; GRANT SELECT ON busy TO reader",
    "ALTER TABLE busy OWNER TO owner",
    "CREATE FUNCTION busy() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER DATABASE other SET work_mem = '1MB'",
    "ALTER ROLE reader IN DATABASE other SET work_mem = '1MB'",
    "VACUUM FULL pg_catalog.pg_class",
    "CREATE DATABASE another",
    "DROP DATABASE another",
];

fn files_are_taken_over_byte_for_byte(major: u32) {
    let ground = Ground::new(major);
    for role in [SUPERUSER, OWNER] {
        let first = ground.back_up(role);
        assert!(!first.reuse.definitions_reused, "{major}: {role}: the role is another one");
        let runs = ground.pg_dump_runs();
        let mut last = None;
        for _ in 0..3 {
            let next = ground.back_up(role);
            assert!(next.reuse.definitions_reused, "{major}: {role}: {:?}", next.reuse);
            assert_eq!(ground.files(&next.header), ground.files(&first.header), "{major}: {role}");
            assert_eq!(next.header.counts, first.header.counts);
            last = Some(next.header);
        }
        assert_eq!(ground.pg_dump_runs(), runs, "{major}: {role}: pg_dump ran");
        let names: Vec<String> = ground.files(&first.header).into_keys().collect();
        let expected = [
            "catalog.json.zst",
            "extensions.sql",
            "extensions.tsv",
            "grants.sql",
            "publications.sql",
            "roles.sql",
            "schema.dump",
            "schema.sql",
            "view_options.tsv",
        ];
        assert_eq!(names, expected);
        if role == SUPERUSER {
            ground.restore(&last.expect("a backup"));
        }
    }
}

#[test]
fn files_are_taken_over_byte_for_byte_and_restore_on_13() {
    files_are_taken_over_byte_for_byte(13);
}

#[test]
fn files_are_taken_over_byte_for_byte_and_restore_on_15() {
    files_are_taken_over_byte_for_byte(15);
}

#[test]
fn files_are_taken_over_byte_for_byte_and_restore_on_18() {
    files_are_taken_over_byte_for_byte(18);
}

fn what_does_not_touch_definitions_does_not_spoil_them(major: u32) {
    let ground = Ground::new(major);
    for role in [SUPERUSER, OWNER] {
        let _ = ground.back_up(role);
        for statement in HERE {
            ground.execute("source", statement);
            assert!(ground.takes_over(role, statement), "{major}: {role}: {statement}");
        }
        ground.execute("other", "DROP TABLE IF EXISTS busy; DROP FUNCTION IF EXISTS busy()");
        for statement in ELSEWHERE {
            ground.execute("other", statement);
            assert!(ground.takes_over(role, statement), "{major}: {role}: elsewhere: {statement}");
        }
        ground.assert_like_a_full_backup(role);
    }
    let password = "ALTER ROLE passing PASSWORD 'another'";
    ground.execute("source", password);
    assert!(ground.takes_over(OWNER, password), "{major}: no view shows a password");
}

#[test]
fn what_does_not_touch_definitions_does_not_spoil_them_on_13() {
    what_does_not_touch_definitions_does_not_spoil_them(13);
}

#[test]
fn what_does_not_touch_definitions_does_not_spoil_them_on_15() {
    what_does_not_touch_definitions_does_not_spoil_them(15);
}

#[test]
fn what_does_not_touch_definitions_does_not_spoil_them_on_18() {
    what_does_not_touch_definitions_does_not_spoil_them(18);
}

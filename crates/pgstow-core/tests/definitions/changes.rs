//! What changes definitions: they are read anew, and are what a full backup reads.

use crate::ground::{Ground, OWNER, SUPERUSER};

/// Statements by the superuser, one connection each, and the first server that knows them.
const CHANGES: &[(&str, u32)] = &[
    ("CREATE TABLE added (x serial PRIMARY KEY)", 13),
    ("ALTER TABLE added ADD COLUMN note text DEFAULT 'none'", 13),
    ("ALTER TABLE added ALTER note SET DEFAULT 'some'", 13),
    ("ALTER TABLE added RENAME note TO remark", 13),
    ("ALTER TABLE added ALTER remark SET NOT NULL", 13),
    ("ALTER TABLE added SET (fillfactor = 70)", 13),
    ("ALTER TABLE added OWNER TO owner", 13),
    ("DROP TABLE added", 13),
    ("CREATE OR REPLACE VIEW names AS SELECT name FROM people WHERE id > 5", 13),
    ("ALTER VIEW names SET (security_barrier = true)", 13),
    ("CREATE OR REPLACE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT x + x'", 13),
    ("ALTER FUNCTION twice(int) COST 9", 13),
    ("COMMENT ON TABLE people IS 'somebody'", 13),
    ("COMMENT ON COLUMN people.name IS 'the name'", 13),
    ("COMMENT ON DATABASE source IS 'the source'", 13),
    ("GRANT UPDATE (name) ON people TO reader", 13),
    ("GRANT INSERT ON people TO reader", 13),
    ("REVOKE INSERT ON people FROM reader", 13),
    ("REVOKE EXECUTE ON FUNCTION twice(int) FROM PUBLIC", 13),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT ON TABLES TO reader", 13),
    ("ALTER POLICY own ON notes USING (id > 1)", 13),
    ("ALTER TABLE notes ENABLE ROW LEVEL SECURITY", 13),
    ("ALTER TABLE people DISABLE TRIGGER touched", 13),
    ("DROP TRIGGER touched ON people", 13),
    ("CREATE RULE ignore AS ON DELETE TO notes DO INSTEAD NOTHING", 13),
    ("ALTER PUBLICATION changes ADD TABLE notes", 13),
    ("ALTER PUBLICATION changes SET TABLE people (id, name) WHERE (id > 3)", 15),
    ("ALTER PUBLICATION changes SET (publish = 'insert')", 13),
    ("CREATE EXTENSION citext", 13),
    ("DROP EXTENSION hstore", 13),
    ("CREATE TYPE pair AS (a int, b text)", 13),
    ("ALTER TYPE pair ADD ATTRIBUTE c date", 13),
    ("ALTER TYPE mood ADD VALUE 'so-so'", 13),
    ("ALTER TYPE mood RENAME VALUE 'sad' TO 'unhappy'", 13),
    ("ALTER DOMAIN percent ADD CHECK (VALUE <= 100)", 13),
    ("ALTER SEQUENCE counter INCREMENT 5", 13),
    ("CREATE INDEX people_name ON people (name)", 13),
    ("CREATE INDEX CONCURRENTLY people_mood ON people (mood)", 13),
    ("DROP INDEX CONCURRENTLY people_mood", 13),
    ("ALTER TABLE people CLUSTER ON people_name", 13),
    ("CLUSTER people", 13),
    ("REINDEX INDEX people_name", 13),
    ("ALTER TABLE people REPLICA IDENTITY FULL", 13),
    ("ALTER STATISTICS related SET STATISTICS 50", 13),
    ("DROP STATISTICS related", 13),
    (
        "ALTER TABLE notes VALIDATE CONSTRAINT notes_id_fkey; ALTER TABLE notes ADD CHECK (id > 0) NOT VALID",
        13,
    ),
    ("CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one WITH NO DATA", 13),
    ("REFRESH MATERIALIZED VIEW kept", 13),
    ("SELECT pg_catalog.lo_create(424242)", 13),
    ("SELECT pg_catalog.lo_unlink(424242)", 13),
    ("ALTER TABLE people RENAME TO persons; ALTER TABLE persons RENAME TO people", 13),
    ("DROP VIEW names; CREATE VIEW names AS SELECT name FROM people", 13),
    ("VACUUM FULL pg_catalog.pg_proc", 13),
    ("VACUUM FULL pg_catalog.pg_class", 13),
    (
        "SET allow_system_table_mods = on; INSERT INTO pg_catalog.pg_seclabel
         VALUES ('people'::regclass, 'pg_catalog.pg_class'::regclass, 0, 'selinux', 'secret')",
        13,
    ),
];

/// Changes that a role without special rights sees through views, or not in a catalog at all.
const THROUGH_VIEWS: &[(&str, u32)] = &[
    ("ALTER SERVER remote OPTIONS (SET host 'another')", 13),
    ("ALTER USER MAPPING FOR owner SERVER remote OPTIONS (SET user 'another')", 13),
    ("ALTER ROLE reader CREATEDB", 13),
    ("CREATE ROLE team; GRANT team TO reader", 13),
    ("REVOKE team FROM reader", 13),
    ("ALTER ROLE reader SET work_mem = '1MB'", 13),
    ("ALTER ROLE reader IN DATABASE source SET work_mem = '2MB'", 13),
    ("ALTER DATABASE source SET work_mem = '3MB'", 13),
    ("ALTER ROLE reader RENAME TO student", 13),
    // Constants and names in definitions are written as these say.
    ("ALTER DATABASE source SET quote_all_identifiers = on", 13),
    ("ALTER SYSTEM SET bytea_output = 'escape'; SELECT pg_catalog.pg_reload_conf()", 13),
];

fn are_read_anew(ground: &Ground, role: &str, changes: &[(&str, u32)]) {
    let major = ground.major;
    let _ = ground.back_up(role);
    for (change, _) in changes.iter().filter(|(_, since)| major >= *since) {
        let mut session = ground.connect("source");
        for statement in change.split("; ") {
            if let Err(error) = session.execute(statement) {
                panic!("PostgreSQL {major}: {statement}: {error:?}");
            }
        }
        assert!(!ground.takes_over(role, change), "PostgreSQL {major}: {role}: {change}");
    }
    assert!(ground.takes_over(role, "nothing"), "PostgreSQL {major}: {role}: nothing changed");
    ground.assert_like_a_full_backup(role);
}

/// `role` looks at what shows through views.
fn every_change_is_read_anew(major: u32, role: &str) {
    let ground = Ground::new(major);
    are_read_anew(&ground, SUPERUSER, CHANGES);
    are_read_anew(&ground, role, THROUGH_VIEWS);
}

#[test]
fn every_change_is_read_anew_on_13() {
    every_change_is_read_anew(13, OWNER);
}

#[test]
fn every_change_is_read_anew_on_15() {
    every_change_is_read_anew(15, SUPERUSER);
}

#[test]
fn every_change_is_read_anew_on_18() {
    every_change_is_read_anew(18, OWNER);
}

//! Whatever changes definitions must show in the rows of the system catalogs, or in what is hashed
//! beside them: to a superuser and to a role that may not read all of them.

use pgstow_core::postgres::Connection;
use pgstow_core::postgres::catalog::system_catalogs::{self, SystemCatalogs};

use crate::ground::Ground;
use crate::mutations::MUTATIONS;

/// Changes that a backup's catalog holds beside the inventory, or that move rows.
const MORE: &[&str] = &[
    "ALTER ROLE inv_reader CREATEDB",
    "ALTER ROLE inv_reader CONNECTION LIMIT 4",
    "ALTER ROLE inv_reader VALID UNTIL 'infinity'",
    "ALTER ROLE inv_reader SET work_mem = '1MB'",
    "ALTER ROLE inv_reader RESET statement_timeout",
    "ALTER ROLE inv_reader IN DATABASE source SET work_mem = '1MB'",
    "ALTER ROLE ALL IN DATABASE source SET work_mem = '1MB'",
    "ALTER DATABASE source SET work_mem = '1MB'",
    "ALTER DATABASE source OWNER TO inv_owner",
    "ALTER DATABASE source CONNECTION LIMIT 50",
    "COMMENT ON DATABASE source IS 'pg_dump writes it'",
    "INSERT INTO pg_catalog.pg_shseclabel SELECT oid, 'pg_catalog.pg_database'::pg_catalog.regclass, 'selinux', 'x' \
       FROM pg_catalog.pg_database WHERE datname = 'source'",
    "ALTER ROLE inv_reader RENAME TO inv_renamed",
    "CREATE ROLE inv_new",
    "DROP ROLE inv_super",
    "GRANT inv_group TO inv_stranger",
    "REVOKE inv_group FROM inv_reader",
    "ALTER SEQUENCE app.counter CACHE 9",
    "TRUNCATE app.lines",
    "CREATE OR REPLACE FUNCTION app.add(a integer, b integer DEFAULT 2, VARIADIC rest text[] DEFAULT '{}') \
     RETURNS integer LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, app COST 7 \
     AS 'SELECT a + b'",
    "ALTER TABLE app.users RENAME TO passing; ALTER TABLE app.passing RENAME TO users",
    "CREATE SUBSCRIPTION inv_sub CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false); \
     COMMENT ON SUBSCRIPTION inv_sub IS 'carried'",
];

/// What does not touch definitions, and must not spoil a proof.
const STEADY: &[&str] = &[
    "ANALYZE",
    "INSERT INTO app.lines (note) VALUES ('x'); SELECT pg_catalog.nextval('app.counter')",
    "SELECT pg_catalog.setval('app.counter', 5)",
    "COMMENT ON ROLE inv_reader IS 'not carried'",
    "CREATE SUBSCRIPTION inv_sub CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)",
    "CREATE TABLE app.passing (id serial PRIMARY KEY); DROP TABLE app.passing",
    "ALTER DATABASE postgres SET work_mem = '1MB'; COMMENT ON DATABASE postgres IS 'another'; \
     ALTER ROLE inv_reader IN DATABASE postgres SET work_mem = '1MB'",
];

/// Reads the catalogs as a role, NULL being the superuser.
fn read(connection: &mut Connection, role: Option<&str>, since: Option<u64>) -> SystemCatalogs {
    connection.execute(&format!("SET LOCAL ROLE {}", role.unwrap_or("NONE"))).expect("the role");
    let read = system_catalogs::read(connection, since).expect("the catalogs");
    connection.execute("SET LOCAL ROLE NONE").expect("the superuser");
    assert_eq!(read.hidden, Vec::<String>::new());
    assert!(read.counted.len() > 45, "{}", read.counted.len());
    read
}

fn shows(before: &SystemCatalogs, after: &SystemCatalogs) -> bool {
    after.counted.len() != before.counted.len()
        || before.counted.iter().zip(&after.counted).any(|(then, now)| now.newer > 0 || now.rows != then.rows)
        || after.uncounted != before.uncounted
}

/// Whether a statement shows to a role.
fn changed_by(connection: &mut Connection, statement: &str, role: Option<&str>) -> bool {
    connection.execute("BEGIN").expect("a transaction");
    let xmin = connection
        .query("SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())")
        .and_then(|rows| rows.only()?.get(0))
        .expect("xmin");
    let before = read(connection, role, None);
    // What `age` counts from is fixed once a transaction has asked: ask after the statement.
    if let Err(error) = connection.execute(statement) {
        panic!("{statement}: {error:?}");
    }
    let after = read(connection, role, Some(xmin));
    connection.execute("ROLLBACK").expect("a rollback");
    shows(&before, &after)
}

fn every_change_of_definitions_shows(major: u32) {
    let ground = Ground::with_fixture(major);
    let mut connection = ground.connect("source");
    let mutations = MUTATIONS
        .iter()
        .filter(|(_, since, differences)| major >= *since && !differences.is_empty())
        .map(|(statement, ..)| *statement);
    for statement in mutations.chain(MORE.iter().copied()) {
        for role in [None, Some("inv_stranger")] {
            // Options of user mappings are hidden from some roles, and then not written either.
            let hidden = role.is_some() && statement.starts_with("ALTER USER MAPPING");
            let shows = changed_by(&mut connection, statement, role);
            assert!(shows || hidden, "PostgreSQL {major}: {role:?}: {statement}");
        }
    }
    for statement in STEADY {
        for role in [None, Some("inv_stranger")] {
            assert!(
                !changed_by(&mut connection, statement, role),
                "PostgreSQL {major}: {role:?}: {statement}"
            );
        }
    }
    let password = "ALTER ROLE inv_reader PASSWORD 'another'";
    assert!(changed_by(&mut connection, password, None), "a row of pg_authid is newer");
    assert!(!changed_by(&mut connection, password, Some("inv_stranger")), "no view shows a password");
}

#[test]
fn every_change_of_definitions_shows_on_13() {
    every_change_of_definitions_shows(13);
}

#[test]
fn every_change_of_definitions_shows_on_15() {
    every_change_of_definitions_shows(15);
}

#[test]
fn every_change_of_definitions_shows_on_18() {
    every_change_of_definitions_shows(18);
}

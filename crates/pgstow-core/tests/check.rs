//! What a check finds out about a role and a server: each ability is the one that the server grants.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgstow_core::backup::{self, BackupOptions, CheckReport};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::platform::Platform;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::format::id::EnvironmentName;

const MAJORS: [u32; 4] = [13, 15, 16, 17];

struct Ground {
    server: DisposableServer,
    major: u32,
}

impl Ground {
    fn new(major: u32) -> Self {
        let options = ServerOptions {
            binaries: Some(programs(&major.to_string())),
            configuration: vec!["wal_level = logical".into(), "autovacuum = off".into()],
            ..ServerOptions::default()
        };
        let ground = Self { server: DisposableServer::start(&options).unwrap(), major };
        ground.execute("CREATE ROLE plain LOGIN; REVOKE CREATE ON DATABASE postgres FROM PUBLIC");
        ground
    }

    fn settings(&self, role: &str) -> ConnectionSettings {
        ConnectionSettings { user: role.to_owned(), ..self.server.settings("postgres") }
    }

    fn execute(&self, sql: &str) {
        let mut connection = Connection::open(&self.settings("postgres"), &Interrupt::new()).unwrap();
        connection.execute(sql).unwrap_or_else(|error| panic!("{}: {sql}: {error}", self.major));
    }

    fn value(&self, sql: &str) -> String {
        let mut connection = Connection::open(&self.settings("postgres"), &Interrupt::new()).unwrap();
        connection.query(sql).unwrap().only().unwrap().get::<String>(0).unwrap()
    }

    fn check(&self, role: &str) -> CheckReport {
        let client = if self.major <= 15 { "client" } else { "client-18" };
        let options = BackupOptions {
            jobs: 2,
            pg_dump: Some(programs(client).join("pg_dump")),
            lock_timeout: Duration::from_secs(10),
            ..BackupOptions::new(EnvironmentName::new("test").unwrap(), self.settings(role))
        };
        backup::check(&options, &Interrupt::new()).unwrap()
    }

    fn abilities(&self, role: &str) -> BTreeMap<String, Option<bool>> {
        let report = self.check(role);
        assert!(!report.abilities.is_empty(), "{}: {report:#?}", self.major);
        report.abilities.into_iter().map(|ability| (ability.what, ability.able)).collect()
    }

    fn ability(&self, role: &str, what: &str) -> Option<bool> {
        self.abilities(role).get(what).copied().unwrap_or_else(|| panic!("{what} is not looked at"))
    }
}

fn programs(name: &str) -> PathBuf {
    let link = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers").join(name);
    match link.canonicalize() {
        Ok(folder) => folder.join("bin"),
        Err(error) => panic!("{}: {error}; run scripts/set-up-tests", link.display()),
    }
}

fn found<'r>(report: &'r CheckReport, what: &str) -> &'r str {
    let line = report.lines.iter().find(|line| line.what == what);
    &line.unwrap_or_else(|| panic!("no line {what}: {report:#?}")).found
}

#[test]
fn a_superuser_may_everything_and_a_plain_role_nothing() {
    for major in MAJORS {
        let ground = Ground::new(major);
        let knows_reader = (major >= 14).then_some(true);
        for (what, able) in ground.abilities("postgres") {
            let expected = if what == "read-all-data" { knows_reader } else { Some(true) };
            assert_eq!(able, expected, "{major}: {what}");
        }
        // Everybody may ask for the control data unless somebody took that right away.
        ground.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
        for (what, able) in ground.abilities("plain") {
            let expected = if what == "read-all-data" { knows_reader.map(|_| false) } else { Some(false) };
            assert_eq!(able, expected, "{major}: {what}");
        }
    }
}

#[test]
fn each_right_shows_as_the_ability_that_it_gives() {
    for major in MAJORS {
        let ground = Ground::new(major);
        ground.execute("REVOKE EXECUTE ON FUNCTION pg_control_checkpoint() FROM PUBLIC");
        let mut grants = vec![
            ("row-security", "ALTER ROLE plain BYPASSRLS"),
            ("create-roles", "ALTER ROLE plain CREATEROLE"),
            ("create-schemas", "GRANT CREATE ON DATABASE postgres TO plain"),
            ("control-data", "GRANT EXECUTE ON FUNCTION pg_control_checkpoint() TO plain"),
            ("role-catalog", "GRANT SELECT ON pg_authid TO plain"),
        ];
        if major >= 14 {
            grants.push(("read-all-data", "GRANT pg_read_all_data TO plain"));
        }
        if major >= 15 {
            grants.push(("silence-triggers", "GRANT SET ON PARAMETER session_replication_role TO plain"));
        }
        for (what, statement) in grants {
            assert_eq!(ground.ability("plain", what), Some(false), "{major}: {what}");
            ground.execute(statement);
            assert_eq!(ground.ability("plain", what), Some(true), "{major}: {what}");
        }
    }
}

#[test]
fn nothing_is_left_of_what_is_tried() {
    let ground = Ground::new(15);
    let left =
        "SELECT ((SELECT count(*) FROM pg_event_trigger) + (SELECT count(*) FROM pg_publication))::text";
    let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text";
    let before = ground.value(next);
    for role in ["postgres", "plain"] {
        ground.check(role);
    }
    assert_eq!(ground.value(left), "0");
    assert_eq!(ground.value(next), before, "a transaction wrote something");
}

#[test]
fn of_a_database_that_cannot_be_written_no_restore_is_spoken_of() {
    let ground = Ground::new(16);
    ground.execute("ALTER ROLE plain SET default_transaction_read_only = on");
    for (what, able) in ground.abilities("plain") {
        let about_restores =
            ["silence-triggers", "create-schemas", "create-roles", "event-triggers", "publications"];
        assert_eq!(able.is_none(), about_restores.contains(&what.as_str()), "{what}");
    }
}

#[test]
fn the_platform_and_the_way_to_the_server_are_told() {
    let ground = Ground::new(15);
    let report = ground.check("postgres");
    assert_eq!(found(&report, "platform"), "no hosting platform recognised");
    assert_eq!(found(&report, "pooler"), "none: the session is the server's own");
    ground.execute("CREATE ROLE neon_superuser; CREATE ROLE cloud_admin");
    let report = ground.check("plain");
    assert_eq!(found(&report, "platform"), "Neon");
    assert_eq!(report.hosting.map(|hosting| hosting.platform), Some(Platform::Neon));
}

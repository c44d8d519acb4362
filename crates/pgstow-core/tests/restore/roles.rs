//! Roles of a backup at another server: created, mapped to others, or missing and named.

use std::collections::BTreeMap;

use pgstow_core::ErrorKind;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::server::DisposableServer;
use pgstow_core::postgres::{Connection, ConnectionSettings};
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::repository::format::receipt::{Outcome, Receipt};
use pgstow_core::restore::{self, RestoreOptions};

use crate::ground::{EVERYTHING, Ground, assert_same_dump, bare_server, told};

const MAJORS: [u32; 4] = [13, 15, 16, 17];

/// A role that owns, one that reads, one that both policies name, and a group.
const SOURCE: &str = r#"
    CREATE ROLE crew NOLOGIN;
    CREATE ROLE app LOGIN CONNECTION LIMIT 7 PASSWORD 'hidden' IN ROLE crew;
    CREATE ROLE reader NOLOGIN NOINHERIT;
    CREATE ROLE "Odd ""TO app""";
    ALTER ROLE app SET statement_timeout = '5s';
    ALTER ROLE app SET search_path = "$user", s;
    ALTER ROLE reader IN DATABASE source SET work_mem = '5MB';
    CREATE SCHEMA s AUTHORIZATION app;
    SET ROLE app;
    CREATE TABLE s.t (id int PRIMARY KEY, v text);
    INSERT INTO s.t SELECT g, 'TO app' FROM generate_series(1, 1000) g;
    CREATE INDEX ON s.t (v);
    CREATE VIEW s.shown AS SELECT id FROM s.t;
    GRANT USAGE ON SCHEMA s TO reader;
    GRANT SELECT ON s.t TO reader WITH GRANT OPTION;
    GRANT UPDATE (v) ON s.t TO "Odd ""TO app""";
    ALTER TABLE s.t ENABLE ROW LEVEL SECURITY;
    CREATE POLICY "to app" ON s.t FOR SELECT TO app, reader, "Odd ""TO app""" USING (v = ' TO app ');
    CREATE POLICY strict ON s.t AS RESTRICTIVE TO "Odd ""TO app""" USING (true) WITH CHECK (v <> 'TO reader');
    CREATE POLICY everybody ON s.t FOR SELECT USING (id > 0);
    COMMENT ON POLICY "to app" ON s.t IS 'TO app';
    RESET ROLE;
    SET ROLE reader;
    GRANT SELECT ON s.t TO "Odd ""TO app""";
    RESET ROLE;
    ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO reader WITH GRANT OPTION;
    ALTER DEFAULT PRIVILEGES FOR ROLE app REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA s GRANT ALL ON SEQUENCES TO "Odd ""TO app""";
"#;

/// What can be seen of the four roles.
const ROLES: &str = r"
    SELECT string_agg(concat_ws(' ', r.rolname, r.rolcanlogin, r.rolinherit, r.rolconnlimit, r.rolsuper, r.rolconfig,
        (SELECT string_agg(g.rolname, ',' ORDER BY g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
          WHERE m.member = r.oid),
        (SELECT string_agg(s.setconfig::text, ',') FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase <> 0)),
        E'\n' ORDER BY r.rolname)
    FROM pg_roles r WHERE r.rolname IN ('crew', 'app', 'reader') OR r.rolname LIKE 'Odd%'";

/// Another server without the roles of the source; `mover` may create roles and owns `target`.
struct There {
    server: DisposableServer,
}

impl There {
    fn new(major: u32) -> Self {
        let there = Self { server: bare_server(major) };
        there.execute("postgres", "CREATE ROLE mover LOGIN CREATEROLE CREATEDB");
        there.execute("postgres", "CREATE DATABASE target OWNER mover");
        there
    }

    fn settings(&self, role: &str, database: &str) -> ConnectionSettings {
        ConnectionSettings { user: role.to_owned(), ..self.server.settings(database) }
    }

    fn execute(&self, database: &str, sql: &str) {
        let mut connection =
            Connection::open(&self.settings("postgres", database), &Interrupt::new()).expect("a connection");
        connection.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn value(&self, sql: &str) -> String {
        let mut connection =
            Connection::open(&self.settings("postgres", "target"), &Interrupt::new()).expect("a connection");
        let rows = connection.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.only().expect("one row").get::<Option<String>>(0).expect("a value").unwrap_or_default()
    }

    fn options(&self, ground: &Ground, role: &str) -> RestoreOptions {
        RestoreOptions { connection: self.settings(role, "target"), ..ground.options() }
    }
}

fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
}

fn restored(ground: &Ground, header: &Header, options: &RestoreOptions) -> Receipt {
    ground.restore(header, options).unwrap_or_else(|error| panic!("{}", told(&error)))
}

#[test]
fn a_login_with_createrole_creates_all_roles_and_everything_is_as_in_the_backup() {
    for major in MAJORS {
        let ground = Ground::of_major(major, SOURCE);
        if major < 15 {
            // Else it belongs to the first superuser, in whose place only a superuser puts somebody.
            ground.execute("source", "ALTER SCHEMA public OWNER TO app");
        }
        let header = ground.back_up(Selection::default());
        for clean in [false, true] {
            let there = There::new(major);
            if major < 15 {
                there.execute("target", "ALTER SCHEMA public OWNER TO mover");
            }
            if clean {
                // Not empty, so that everything happens in one transaction.
                there.execute("target", "SET ROLE mover; CREATE SCHEMA s; CREATE TABLE s.other (x int)");
            }
            let options = RestoreOptions { clean, create_roles: true, ..there.options(&ground, "mover") };
            ground.restore_exactly(&header, &options);
            assert_eq!(there.value(ROLES), ground.value("source", ROLES), "{major}, clean {clean}");
            let password =
                "SELECT count(*)::text FROM pg_authid WHERE rolname = 'app' AND rolpassword IS NOT NULL";
            assert_eq!(there.value(password), "0");
            let owner = "SELECT relowner::regrole::text FROM pg_class WHERE oid = 's.t'::regclass";
            assert_eq!(there.value(owner), "app");
            // Once more over what is there now: nothing is created again.
            let again = RestoreOptions { clean: true, ..options };
            ground.restore_exactly(&header, &again);
            assert_eq!(there.value(ROLES), ground.value("source", ROLES), "{major}");
        }
    }
}

#[test]
fn created_roles_are_announced_and_what_they_do_not_get_is_told() {
    let ground = Ground::new(
        "CREATE ROLE boss SUPERUSER REPLICATION BYPASSRLS LOGIN; CREATE ROLE free BYPASSRLS; \
         CREATE SCHEMA b AUTHORIZATION boss; CREATE TABLE b.t (x int); ALTER TABLE b.t OWNER TO boss; \
         GRANT SELECT ON b.t TO free",
    );
    let header = ground.back_up(Selection::default());
    for (login, without) in [("postgres", 2), ("mover", 4)] {
        let there = There::new(15);
        let options = RestoreOptions { create_roles: true, ..there.options(&ground, login) };
        let (repository, interrupt) = (ground.repository(), Interrupt::new());
        let prepared = restore::prepare(&repository, &header, &options, &interrupt).expect("a plan");
        let plan = prepared.plan().clone();
        assert_eq!(plan.create_roles, ["boss", "free"]);
        assert_eq!(plan.steps[0], "create 2 roles");
        assert_eq!(plan.notes, ["role boss has no password after this: no backup holds any"]);
        assert_eq!(plan.remarks.len(), without, "{:?}", plan.remarks);
        assert!(
            plan.remarks.contains(&"role boss is created without SUPERUSER: a restore never gives it".into())
        );
        let count = "SELECT count(*)::text FROM pg_roles WHERE rolname IN ('boss', 'free')";
        assert_eq!(there.value(count), "0", "the plan changes nothing");
        drop(prepared);
        let receipt = restored(&ground, &header, &options);
        assert_eq!(receipt.outcome, Outcome::Differs);
        assert_eq!(receipt.remarks.len(), without, "{:?}", receipt.remarks);
        assert!(receipt.lines.iter().all(|line| line.equal), "{receipt:#?}");
        let bypassing = "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles \
                         WHERE rolname IN ('boss', 'free') AND rolbypassrls";
        assert_eq!(there.value(bypassing), if login == "postgres" { "boss,free" } else { "" });
        let powerful =
            "SELECT count(*)::text FROM pg_roles WHERE rolname = 'boss' AND (rolsuper OR rolreplication)";
        assert_eq!(there.value(powerful), "0");
    }
}

#[test]
fn bypassing_row_security_is_given_from_16_on_by_a_login_that_has_it() {
    let ground =
        Ground::of_major(16, "CREATE ROLE free BYPASSRLS; CREATE TABLE t (x int); GRANT SELECT ON t TO free");
    let header = ground.back_up(Selection::default());
    let there = There::new(16);
    there.execute("postgres", "ALTER ROLE mover BYPASSRLS");
    // What the superuser owned is the login's.
    let options = RestoreOptions {
        create_roles: true,
        role_map: names(&[("postgres", "mover")]),
        ..there.options(&ground, "mover")
    };
    ground.restore_exactly(&header, &options);
    assert_eq!(there.value("SELECT rolbypassrls::text FROM pg_roles WHERE rolname = 'free'"), "true");
}

#[test]
fn a_login_without_createrole_is_refused_before_anything_is_changed() {
    let ground = Ground::new(SOURCE);
    let header = ground.back_up(Selection::default());
    let there = There::new(15);
    there.execute("postgres", "ALTER ROLE mover NOCREATEROLE");
    let options = RestoreOptions { create_roles: true, ..there.options(&ground, "mover") };
    let error = ground.restore(&header, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.hints()[0].contains("ALTER ROLE \"mover\" CREATEROLE"), "{}", told(&error));
}

#[test]
fn a_restore_that_is_taken_back_takes_its_roles_along() {
    let ground = Ground::new(SOURCE);
    ground.execute("source", "CREATE PUBLICATION late FOR TABLE s.t");
    let header = ground.back_up(Selection::default());
    let there = There::new(15);
    there.execute(
        "target",
        "CREATE TABLE mine (x int); CREATE SCHEMA guard; CREATE FUNCTION guard.refuse() RETURNS event_trigger \
         LANGUAGE plpgsql AS $$ BEGIN RAISE 'not here'; END $$; CREATE EVENT TRIGGER guard ON ddl_command_start \
         WHEN TAG IN ('CREATE PUBLICATION') EXECUTE FUNCTION guard.refuse(); ALTER EVENT TRIGGER guard ENABLE ALWAYS",
    );
    let options = RestoreOptions { clean: true, create_roles: true, ..there.options(&ground, "postgres") };
    let error = ground.restore(&header, &options).unwrap_err();
    assert!(told(&error).contains("not here"), "{}", told(&error));
    assert_eq!(there.value(ROLES), "");
    assert_eq!(there.value("SELECT count(*)::text FROM mine"), "0");
}

/// Into the roles `web`, `guest` and `select`, which is a keyword.
const MAP: [(&str, &str); 3] = [("app", "web"), ("reader", "select"), ("Odd \"TO app\"", "guest \"x\"")];

#[test]
fn a_role_that_the_login_may_become_and_does_not_inherit_is_out_of_reach() {
    for major in [16, 17] {
        let ground = Ground::of_major(major, SOURCE);
        let header = ground.back_up(Selection::default());
        let there = There::new(major);
        there.execute(
            "target",
            "CREATE ROLE app; CREATE ROLE reader; CREATE ROLE \"Odd \"\"TO app\"\"\"; \
             GRANT app TO mover WITH INHERIT FALSE, SET TRUE",
        );
        let receipt = restored(&ground, &header, &there.options(&ground, "mover"));
        let owner = "SELECT relowner::regrole::text FROM pg_class WHERE oid = 's.t'::regclass";
        assert_eq!(there.value(owner), "mover", "{major}");
        assert_eq!(there.value("SELECT count(*)::text FROM s.t"), "1000");
        assert!(receipt.remarks.iter().any(|remark| remark.contains("app")), "{:#?}", receipt.remarks);
        assert_eq!(receipt.outcome, Outcome::Differs);
    }
}

#[test]
fn mapped_roles_own_hold_and_are_meant_under_their_new_names() {
    for major in MAJORS {
        let ground = Ground::of_major(major, SOURCE);
        ground.execute(
            "source",
            "CREATE EXTENSION postgres_fdw; CREATE SERVER remote FOREIGN DATA WRAPPER postgres_fdw; \
             CREATE USER MAPPING FOR app SERVER remote OPTIONS (user 'app'); \
             CREATE USER MAPPING FOR PUBLIC SERVER remote; SELECT lo_create(7); ALTER LARGE OBJECT 7 OWNER TO app; \
             GRANT SELECT ON LARGE OBJECT 7 TO reader",
        );
        let header = ground.back_up(Selection::default());
        let there = There::new(major);
        there.execute("postgres", "CREATE ROLE web; CREATE ROLE \"select\"; CREATE ROLE \"guest \"\"x\"\"\"");
        let options = RestoreOptions { role_map: names(&MAP), ..there.options(&ground, "postgres") };
        for clean in [false, true] {
            ground.restore_exactly(&header, &RestoreOptions { clean, ..options.clone() });
            let roles = "SELECT string_agg(polname || ': ' || (SELECT string_agg(r::regrole::text, ', ' \
                         ORDER BY r::regrole::text) FROM unnest(polroles) r), E'\\n' ORDER BY polname) FROM pg_policy";
            assert_eq!(
                there.value(roles),
                "everybody: -\nstrict: \"guest \"\"x\"\"\"\nto app: \"guest \"\"x\"\"\", \"select\", web"
            );
            let using = "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polname = 'to app'";
            assert_eq!(there.value(using), "(v = ' TO app '::text)");
            let owners = "SELECT string_agg(DISTINCT relowner::regrole::text, ',') FROM pg_class \
                          WHERE relnamespace = 's'::regnamespace";
            assert_eq!(there.value(owners), "web");
            let grantor = "SELECT string_agg(a.grantor::regrole::text, ',') FROM pg_class c, aclexplode(c.relacl) a \
                           WHERE c.oid = 's.t'::regclass AND a.grantee = '\"guest \"\"x\"\"\"'::regrole";
            assert_eq!(there.value(grantor), "\"select\"");
            let defaults = "SELECT string_agg(DISTINCT defaclrole::regrole::text, ',') FROM pg_default_acl";
            assert_eq!(there.value(defaults), "web");
            let mappings = "SELECT string_agg(usename, ',' ORDER BY usename) FROM pg_user_mappings";
            assert_eq!(there.value(mappings), "public,web");
        }
        // What a role makes there comes with what it came with at the source.
        there.execute(
            "target",
            "GRANT CREATE ON SCHEMA s TO web; SET ROLE web; CREATE TABLE s.later (x int); \
             CREATE FUNCTION s.hidden() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        );
        let later = "SELECT concat(has_table_privilege('select', 's.later', 'SELECT WITH GRANT OPTION'), \
                     has_function_privilege('select', 's.hidden()', 'EXECUTE'))";
        assert_eq!(there.value(later), "tf", "{major}");
    }
}

#[test]
fn two_roles_may_become_one_and_the_login_may_stand_in_for_all() {
    for login in ["postgres", "mover"] {
        let ground = Ground::new(SOURCE);
        let header = ground.back_up(Selection::default());
        let there = There::new(15);
        let map = names(&[("app", login), ("reader", login), ("Odd \"TO app\"", login), ("postgres", login)]);
        let options = RestoreOptions { role_map: map, ..there.options(&ground, login) };
        ground.restore_exactly(&header, &options);
        let roles = "SELECT string_agg(DISTINCT polroles::regrole[]::text, ' ') FROM pg_policy WHERE polroles <> '{0}'";
        assert_eq!(there.value(roles), format!("{{{login}}}"));
    }
}

#[test]
fn a_role_to_map_to_that_is_not_there_is_refused_by_name() {
    let ground = Ground::new(SOURCE);
    let header = ground.back_up(Selection::default());
    let there = There::new(15);
    for name in ["web", "public", "none"] {
        let options =
            RestoreOptions { role_map: names(&[("app", name)]), ..there.options(&ground, "postgres") };
        let error = ground.restore(&header, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.message().contains(&format!("has no role {name}")), "{}", told(&error));
    }
}

#[test]
fn missing_roles_are_foreseen_by_name_and_their_policies_left_out_also_in_one_transaction() {
    let ground = Ground::new(SOURCE);
    let header = ground.back_up(Selection::default());
    let there = There::new(15);
    there.execute("postgres", "CREATE ROLE app; CREATE ROLE \"Odd \"\"TO app\"\"\"");
    let options = there.options(&ground, "postgres");
    let (repository, interrupt) = (ground.repository(), Interrupt::new());
    let prepared = restore::prepare(&repository, &header, &options, &interrupt).expect("a plan");
    let plan = prepared.plan().clone();
    drop(prepared);
    let missing: Vec<String> =
        plan.missing_roles.iter().map(|role| format!("{}: {}", role.role, role.in_words())).collect();
    assert_eq!(
        missing,
        ["reader: holds 2 privileges; granted 1 privilege; 1 list of default privileges; policy s.t to app"]
    );
    assert!(plan.hints.iter().any(|hint| hint.contains("--create-roles")), "{:?}", plan.hints);
    assert!(plan.hints.iter().any(|hint| hint.contains("--map-role reader=NAME")), "{:?}", plan.hints);
    for clean in [false, true] {
        let receipt = restored(&ground, &header, &RestoreOptions { clean, ..options.clone() });
        assert_eq!(receipt.outcome, Outcome::Differs);
        let has = |text: &str| receipt.remarks.iter().any(|remark| remark.contains(text));
        assert!(has("is not restored: the target has no role reader"), "{:#?}", receipt.remarks);
        assert!(
            has("what default privileges of role app on tables give role reader"),
            "{:#?}",
            receipt.remarks
        );
        assert!(has("2 privileges of role reader cannot be restored"), "{:#?}", receipt.remarks);
        let unequal: Vec<&str> =
            receipt.lines.iter().filter(|line| !line.equal).map(|line| line.what.as_str()).collect();
        assert_eq!(unequal, ["policies", "comments"], "{:#?}", receipt.remarks);
        let left =
            "SELECT string_agg(polname || polroles::regrole[]::text, ' ' ORDER BY polname) FROM pg_policy";
        assert_eq!(there.value(left), "everybody{-} strict{\"\\\"Odd \\\"\\\"TO app\\\"\\\"\\\"\"}");
    }
}

#[test]
fn a_restrictive_policy_that_is_left_out_says_who_is_less_restricted() {
    let ground = Ground::new(
        "CREATE ROLE here; CREATE ROLE gone; CREATE TABLE t (x int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY p ON t AS RESTRICTIVE TO here, gone USING (x > 0)",
    );
    let header = ground.back_up(Selection::default());
    let there = There::new(15);
    there.execute("postgres", "CREATE ROLE here");
    let receipt = restored(&ground, &header, &there.options(&ground, "postgres"));
    let remark = receipt.remarks.iter().find(|remark| remark.contains("restrictive")).expect("a remark");
    assert!(
        remark.contains("policy p on public.t") && remark.contains("without it here may see"),
        "{remark}"
    );
}

#[test]
fn a_whole_backup_finds_all_its_roles_again_in_one_transaction() {
    let ground = Ground::of_major(15, EVERYTHING);
    let header = ground.back_up(Selection::default());
    let there = There::new(15);
    there.execute("target", "CREATE TABLE public.mine (x int)");
    let options = RestoreOptions { clean: true, create_roles: true, ..there.options(&ground, "postgres") };
    let receipt = restored(&ground, &header, &options);
    let unequal: Vec<_> = receipt.lines.iter().filter(|line| !line.equal).collect();
    assert!(unequal.is_empty(), "{unequal:#?}\n{:#?}", receipt.remarks);
    assert_same_dump(&ground.dump_at(&there.server, "target"), &ground.dump("source"));
}

//! Owners and privileges: equal where the roles are, mapped and told where they are not.

use pgstow_core::ErrorKind;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::repository::format::receipt::Outcome;
use pgstow_core::restore::RestoreOptions;

use crate::ground::{EVERYTHING, Ground, told};

#[test]
fn what_the_targets_default_privileges_add_is_revoked() {
    let ground = Ground::new(
        "CREATE ROLE anon; CREATE TABLE secret (x int); CREATE FUNCTION hidden() RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         REVOKE EXECUTE ON FUNCTION hidden() FROM PUBLIC; CREATE SEQUENCE q; CREATE TYPE kind AS ENUM ('a')",
    );
    let header = ground.back_up(Selection::default());
    ground.execute(
        "target",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO anon WITH GRANT OPTION; \
         ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO anon; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC",
    );
    let receipt =
        ground.restore(&header, &ground.options()).unwrap_or_else(|error| panic!("{}", told(&error)));
    for question in [
        "SELECT has_table_privilege('anon', 'secret', 'SELECT')",
        "SELECT has_function_privilege('anon', 'hidden()', 'EXECUTE')",
        "SELECT has_sequence_privilege('anon', 'q', 'USAGE')",
    ] {
        assert_eq!(ground.value("target", question), "f", "{question}");
    }
    let privileges = receipt.lines.iter().find(|line| line.what == "privileges").expect("a line");
    assert!(privileges.equal, "{receipt:#?}");
    // The default privileges themselves stay, and the receipt says so.
    assert_eq!(receipt.outcome, Outcome::Differs);
    assert!(receipt.remarks.iter().all(|remark| remark.contains("default privileges")), "{receipt:#?}");
}

/// Another server, without the roles of the source.
fn elsewhere() -> DisposableServer {
    let options =
        ServerOptions { configuration: vec!["wal_level = logical".into()], ..ServerOptions::default() };
    DisposableServer::start(&options).expect("a server")
}

#[test]
fn missing_roles_are_mapped_to_the_login_with_one_remark_each() {
    let ground = Ground::new(
        "CREATE ROLE app; CREATE ROLE reader; CREATE SCHEMA s AUTHORIZATION app; SET ROLE app; \
         CREATE TABLE s.t (x int); CREATE TABLE s.u (x int); GRANT SELECT ON s.t, s.u TO reader; RESET ROLE; \
         ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO reader; SELECT lo_create(7); \
         ALTER LARGE OBJECT 7 OWNER TO app",
    );
    let header = ground.back_up(Selection::default());
    let there = elsewhere();
    let options = RestoreOptions { connection: there.settings("postgres"), ..ground.options() };
    let receipt = ground.restore(&header, &options).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(receipt.outcome, Outcome::Differs);
    let owners: Vec<_> =
        receipt.remarks.iter().filter(|remark| remark.contains("of role app will belong")).collect();
    assert_eq!(owners.len(), 1, "{:#?}", receipt.remarks);
    assert!(owners[0].contains("4 objects") && owners[0].contains("postgres"), "{owners:?}");
    let lost: Vec<_> = receipt.remarks.iter().filter(|remark| remark.contains("role reader")).collect();
    assert_eq!(lost.len(), 1, "{:#?}", receipt.remarks);
    assert!(lost[0].contains("2 privileges"), "{lost:?}");
    let unequal: Vec<_> = receipt.lines.iter().filter(|line| !line.equal).collect();
    assert!(
        unequal.len() <= 1 && unequal.iter().all(|line| line.what == "default privileges"),
        "{unequal:#?}"
    );
    // The same again, replacing all of it.
    let clean = RestoreOptions { clean: true, ..options };
    let again = ground.restore(&header, &clean).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(again.outcome, Outcome::Differs);
}

#[test]
fn a_missing_role_in_a_policy_fails_by_name_and_the_rest_is_restored() {
    let ground = Ground::new(
        "CREATE ROLE anon; CREATE TABLE t (x int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY mine ON t TO anon USING (true); COMMENT ON POLICY mine ON t IS 'c'; INSERT INTO t VALUES (1)",
    );
    let header = ground.back_up(Selection::default());
    let there = elsewhere();
    let options = RestoreOptions { connection: there.settings("postgres"), ..ground.options() };
    let receipt = ground.restore(&header, &options).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(receipt.outcome, Outcome::Differs);
    assert!(
        receipt
            .remarks
            .iter()
            .any(|remark| remark.contains("policy mine on public.t") && remark.contains("anon"))
    );
    assert!(receipt.lines.iter().any(|line| line.what == "rows of public.t" && line.equal));
    assert!(receipt.lines.iter().any(|line| line.what == "policies" && !line.equal));
}

#[test]
fn a_login_that_is_no_superuser_restores_what_it_may_own() {
    let ground = Ground::new(
        "CREATE ROLE owner_role; CREATE ROLE outsider; CREATE ROLE plain LOGIN; GRANT owner_role TO plain; \
         CREATE SCHEMA s AUTHORIZATION owner_role; SET ROLE owner_role; CREATE TABLE s.t (id serial PRIMARY KEY); \
         INSERT INTO s.t DEFAULT VALUES; CREATE MATERIALIZED VIEW s.m AS SELECT * FROM s.t; RESET ROLE; \
         CREATE TABLE s.theirs (x int); ALTER TABLE s.theirs OWNER TO outsider",
    );
    let header = ground.back_up(Selection::default());
    let mut options = ground.options();
    options.connection.user = "plain".to_owned();
    let error = ground.restore(&header, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(error.hints(), ["GRANT CREATE ON DATABASE \"target\" TO plain;"]);
    ground.execute("postgres", "GRANT CREATE ON DATABASE target TO plain, owner_role");
    let receipt = ground.restore(&header, &options).unwrap_or_else(|error| panic!("{}", told(&error)));
    let owner = |table: &str| {
        ground.value(
            "target",
            &format!("SELECT relowner::regrole FROM pg_class WHERE oid = '{table}'::regclass"),
        )
    };
    assert_eq!((owner("s.t").as_str(), owner("s.m").as_str()), ("owner_role", "owner_role"));
    assert_eq!(owner("s.theirs"), "plain");
    assert!(receipt.remarks.iter().any(|remark| remark.contains("role outsider")), "{receipt:#?}");
    assert!(receipt.lines.iter().all(|line| line.equal), "{receipt:#?}");
}

#[test]
fn a_whole_backup_into_a_server_without_any_of_its_roles_loses_nothing_else() {
    let ground = Ground::new(EVERYTHING);
    let header = ground.back_up(Selection::default());
    let there = elsewhere();
    let options = RestoreOptions { connection: there.settings("postgres"), ..ground.options() };
    let receipt = ground.restore(&header, &options).unwrap_or_else(|error| panic!("{}", told(&error)));
    let unequal: Vec<_> =
        receipt.lines.iter().filter(|line| !line.equal).map(|line| line.what.as_str()).collect();
    assert_eq!(
        unequal,
        ["policies", "user mappings", "comments", "default privileges"],
        "{:#?}",
        receipt.remarks
    );
}

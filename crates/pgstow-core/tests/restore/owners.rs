//! Clearing as a role that does not own everything: what it may not drop is foreseen.

use pgstow_core::ErrorKind;
use pgstow_core::postgres::ConnectionSettings;
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::repository::format::receipt::Outcome;
use pgstow_core::restore::RestoreOptions;

use crate::ground::{Ground, assert_same_dump, told};

/// The target holds objects of the role that restores, and of others; its schema belongs to nobody of them.
const OTHERS: &str = "CREATE ROLE restorer LOGIN; CREATE ROLE \"The Other\"; GRANT ALL ON SCHEMA public TO restorer, \"The Other\"; \
     SET ROLE restorer; CREATE TABLE mine (x int); CREATE FUNCTION old() RETURNS int LANGUAGE sql AS 'SELECT 1'; RESET ROLE; \
     SET ROLE \"The Other\"; CREATE TABLE \"not mine\" (x int PRIMARY KEY, CHECK (x > 0)); CREATE INDEX ON \"not mine\" ((x + 1)); \
     INSERT INTO \"not mine\" VALUES (1); COMMENT ON TABLE \"not mine\" IS 'stays'; CREATE TYPE theirs AS ENUM ('a'); RESET ROLE";

fn as_restorer(ground: &Ground) -> RestoreOptions {
    let settings = ConnectionSettings { user: "restorer".to_owned(), ..ground.settings("target") };
    RestoreOptions { clean: true, connection: settings, ..ground.options() }
}

#[test]
fn what_may_not_be_dropped_and_is_not_in_the_way_stays_and_is_told() {
    let ground = Ground::new(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE VIEW v AS SELECT id FROM t",
    );
    let header = ground.back_up(Selection::default());
    ground.execute("target", OTHERS);
    let receipt =
        ground.restore(&header, &as_restorer(&ground)).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(receipt.outcome, Outcome::Differs, "{receipt:#?}");
    for said in [
        "table public.\"not mine\" stays: it belongs to role The Other, and restorer may not drop it; its owner can: DROP TABLE public.\"not mine\"",
        "type public.theirs stays",
    ] {
        assert!(receipt.remarks.iter().any(|remark| remark.contains(said)), "{said}\n{:#?}", receipt.remarks);
    }
    let is_about_owners = |remark: &&String| {
        remark.contains("stays: it")
            || remark.contains("role postgres")
            || remark.contains("restorer may not act as the owner")
    };
    let rest: Vec<_> = receipt.remarks.iter().filter(|remark| !is_about_owners(remark)).collect();
    assert!(rest.is_empty(), "{rest:#?}");
    assert_eq!(ground.value("target", "SELECT count(*) FROM \"not mine\""), "1");
    assert_eq!(ground.value("target", "SELECT count(*) FROM v"), "2");
    assert_eq!(
        ground.value("target", "SELECT to_regclass('mine') IS NULL AND to_regproc('old') IS NULL"),
        "t"
    );
    // With the owner's rights everything goes.
    ground.execute("target", "GRANT \"The Other\" TO restorer");
    let receipt =
        ground.restore(&header, &as_restorer(&ground)).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert!(!receipt.remarks.iter().any(|remark| remark.contains("stays: it")), "{:#?}", receipt.remarks);
    assert_eq!(ground.value("target", "SELECT to_regclass('\"not mine\"') IS NULL"), "t");
}

#[test]
fn a_large_object_of_another_role_is_in_the_way() {
    let ground = Ground::new("SELECT lo_from_bytea(4711, 'new')");
    let header = ground.back_up(Selection::default());
    ground.execute(
        "target",
        "CREATE ROLE restorer LOGIN; CREATE ROLE other; SET ROLE other; SELECT lo_from_bytea(4711, 'old'); RESET ROLE",
    );
    let before = ground.dump("target");
    let error = ground.restore(&header, &as_restorer(&ground)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", told(&error));
    assert!(error.message().contains("large object 4711 is in the way"), "{}", told(&error));
    assert_same_dump(&ground.dump("target"), &before);
}

#[test]
fn what_is_in_the_way_or_would_be_damaged_is_refused_before_anything_changes() {
    let ground = Ground::new("CREATE TABLE \"not mine\" (other text)");
    let header = ground.back_up(Selection::default());
    ground.execute("target", OTHERS);
    let before = ground.dump("target");
    let error = ground.restore(&header, &as_restorer(&ground)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let said = told(&error);
    for part in [
        "\"not mine\" is in the way",
        "role The Other",
        "DROP TABLE public.\\\"not mine\\\"",
        "GRANT \\\"The Other\\\" TO",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert_same_dump(&ground.dump("target"), &before);

    // A column of a table that stays is of a type that would go.
    ground.execute("target", "ALTER TABLE \"not mine\" RENAME TO elsewhere; SET ROLE restorer; CREATE TYPE going AS ENUM ('a'); RESET ROLE; \
         GRANT USAGE ON TYPE going TO \"The Other\"; ALTER TABLE elsewhere ADD COLUMN g going");
    let before = ground.dump("target");
    let error = ground.restore(&header, &as_restorer(&ground)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.message().contains("table public.elsewhere"), "{}", told(&error));
    assert_same_dump(&ground.dump("target"), &before);
}

/// What stayed at the restore stays at the undo too: it is what it was.
#[test]
fn what_stayed_is_not_in_the_way_of_an_undo() {
    let ground = Ground::new(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE TABLE new (x int)",
    );
    let header = ground.back_up(Selection::default());
    ground.execute("target", OTHERS);
    ground.execute(
        "target",
        "SET ROLE \"The Other\"; CREATE TABLE numbered (id serial PRIMARY KEY, other int GENERATED ALWAYS AS IDENTITY, at_home theirs); \
         INSERT INTO numbered (at_home) VALUES ('a'), ('a'); CREATE VIEW shown AS SELECT id FROM numbered; \
         CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         RESET ROLE; GRANT SELECT ON ALL TABLES IN SCHEMA public TO restorer; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO restorer; \
         GRANT REFERENCES ON \"not mine\" TO restorer; \
         SET ROLE restorer; INSERT INTO mine VALUES (7); CREATE TABLE refers (x int REFERENCES \"not mine\", y int DEFAULT 5); \
         INSERT INTO refers VALUES (1); CREATE FUNCTION f(text) RETURNS int LANGUAGE sql AS 'SELECT 2'; RESET ROLE",
    );
    let before = ground.dump("target");
    let settings = as_restorer(&ground).connection;
    let safety = ground.back_up_of(settings.clone(), Selection::default());
    for jobs in [1, 3] {
        let options = RestoreOptions { jobs, in_parallel: jobs > 1, ..as_restorer(&ground) };
        let restored = ground.restore(&header, &options).unwrap_or_else(|error| panic!("{}", told(&error)));
        assert!(restored.remarks.iter().any(|remark| remark.contains("numbered stays")), "{restored:#?}");
        assert_eq!(
            ground.value("target", "SELECT to_regclass('new') IS NOT NULL AND to_regclass('mine') IS NULL"),
            "t"
        );

        let undo =
            RestoreOptions { jobs, in_parallel: jobs > 1, ..RestoreOptions::to_undo(settings.clone()) };
        let undone = ground.restore(&safety, &undo).unwrap_or_else(|error| panic!("{}", told(&error)));
        assert_eq!(undone.outcome, Outcome::Equal, "{undone:#?}");
        assert_same_dump(&ground.dump("target"), &before);
    }

    // What its owner has changed since is not as it was: nothing is done then.
    ground.execute("target", "ALTER VIEW shown RENAME COLUMN id TO renamed");
    let changed = ground.dump("target");
    let error = ground.restore(&safety, &RestoreOptions::to_undo(settings)).unwrap_err();
    assert!(error.message().contains("view public.shown is in the way"), "{}", told(&error));
    assert_same_dump(&ground.dump("target"), &changed);
}

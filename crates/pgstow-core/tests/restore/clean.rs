//! Restores into databases that are not empty, in one transaction.

use std::time::Duration;

use pgstow_core::ErrorKind;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::repository::format::receipt::Outcome;
use pgstow_core::restore::{self, RestoreOptions};

use crate::ground::{EVERYTHING, Ground, assert_same_dump, told};

const SMALL: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 100) g; \
     CREATE VIEW shown AS SELECT id FROM t";

fn clean(ground: &Ground) -> RestoreOptions {
    RestoreOptions { clean: true, ..ground.options() }
}

#[test]
fn a_target_that_is_not_empty_is_refused_and_what_it_holds_is_named() {
    let ground = Ground::new(SMALL);
    let header = ground.back_up(Selection::default());
    ground.execute("target", "CREATE TABLE mine (x int); CREATE TYPE kind AS ENUM ('a')");
    let before = ground.dump("target");
    let error = ground.restore(&header, &ground.options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let told = told(&error);
    assert!(told.contains("1 table") && told.contains("1 type") && told.contains("public.mine"), "{told}");
    assert!(told.contains("--clean"), "{told}");
    assert_same_dump(&ground.dump("target"), &before);
}

#[test]
fn a_target_with_extensions_only_counts_as_empty() {
    let ground = Ground::new(SMALL);
    let header = ground.back_up(Selection::default());
    ground.execute("target", "CREATE SCHEMA extensions; CREATE EXTENSION hstore SCHEMA extensions");
    ground.restore_exactly(&header, &ground.options());
}

#[test]
fn everything_is_replaced_by_the_same_and_by_something_else() {
    let ground = Ground::new(EVERYTHING);
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &ground.options());
    let expected = ground.dump("source");
    ground.restore_exactly(&header, &clean(&ground));
    assert_same_dump(&ground.dump("target"), &expected);

    ground.execute(
        "target",
        "DROP TABLE s.orders CASCADE; CREATE TABLE s.orders (other text); CREATE TABLE s.more (x s.mood); \
         CREATE FUNCTION public.more(s.mood) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         ALTER TYPE s.mood ADD VALUE 'new'; DELETE FROM s.customers; REVOKE ALL ON SCHEMA s FROM reader; \
         ALTER PUBLICATION chosen ADD TABLE public.loose; SELECT lo_put(4711, 0, 'changed'); \
         GRANT ALL ON ALL TABLES IN SCHEMA public TO reader; ALTER SCHEMA s OWNER TO postgres",
    );
    ground.restore_exactly(&header, &clean(&ground));
    assert_same_dump(&ground.dump("target"), &expected);
}

#[test]
fn a_failure_leaves_the_target_exactly_as_it_was() {
    let ground = Ground::new(EVERYTHING);
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &ground.options());
    // The event trigger lets everything pass until almost all is done.
    ground.execute(
        "target",
        "CREATE SCHEMA guard; CREATE FUNCTION guard.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ \
         BEGIN RAISE 'no publications here'; END $$; \
         CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('CREATE PUBLICATION') \
         EXECUTE FUNCTION guard.refuse(); ALTER EVENT TRIGGER guard ENABLE ALWAYS; INSERT INTO public.parent VALUES (77)",
    );
    let before = ground.dump("target");
    let error = ground.restore(&header, &clean(&ground)).unwrap_err();
    let told = told(&error);
    assert!(told.contains("publication chosen") && told.contains("no publications here"), "{told}");
    assert!(told.contains("the target is as it was"), "{told}");
    assert_same_dump(&ground.dump("target"), &before);
    let receipts = ground.repository().receipts(&header.id).expect("receipts");
    assert!(receipts.receipts.iter().any(|receipt| receipt.outcome == Outcome::Failed));
}

#[test]
fn what_depends_on_cleared_objects_from_outside_is_never_taken_along() {
    let ground = Ground::new(SMALL);
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &ground.options());
    ground.execute("target", "CREATE SCHEMA report; CREATE TABLE report.mine (x int)");
    for (statement, named, undo) in [
        ("CREATE VIEW report.daily AS SELECT * FROM public.t", "view report.daily", "DROP VIEW report.daily"),
        (
            "CREATE TABLE report.refers (t int REFERENCES public.t)",
            "refers_t_fkey",
            "DROP TABLE report.refers",
        ),
        ("CREATE PUBLICATION theirs FOR TABLE public.t", "publication theirs", "DROP PUBLICATION theirs"),
        (
            "CREATE TABLE report.default_of (x int DEFAULT nextval('public.q'))",
            "report.default_of",
            "DROP TABLE report.default_of",
        ),
    ] {
        ground.execute("target", "CREATE SEQUENCE IF NOT EXISTS public.q");
        ground.execute("target", statement);
        let before = ground.dump("target");
        let error = ground.restore(&header, &clean(&ground)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.message().contains(named), "{}", told(&error));
        assert_same_dump(&ground.dump("target"), &before);
        ground.execute("target", undo);
    }
    let prepared =
        restore::prepare(&ground.repository(), &header, &clean(&ground), &Interrupt::new()).map(|prepared| {
            (prepared.plan().left_alone.clone(), prepared.plan().dropped.clone(), prepared.plan().atomic)
        });
    let (left_alone, dropped, atomic) = prepared.expect("a plan");
    assert_eq!(left_alone, ["report"]);
    assert!(dropped.contains(&"table public.t".to_owned()) && atomic, "{dropped:?}");
    ground.restore_exactly(&header, &clean(&ground));
    assert_eq!(ground.value("target", "SELECT count(*) FROM report.mine"), "0");
}

#[test]
fn a_lock_held_by_someone_else_fails_with_that_session_named() {
    let ground = Ground::new(SMALL);
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &ground.options());
    let mut holder = ground.connect("target");
    holder.execute("BEGIN; LOCK TABLE public.t IN ACCESS SHARE MODE").expect("locked");
    let pid = holder.process_id();
    let options = RestoreOptions { lock_timeout: Duration::from_millis(200), ..clean(&ground) };
    let error = ground.restore(&header, &options).unwrap_err();
    let told = told(&error);
    assert!(told.contains("public.t") && told.contains(&format!("session {pid}")), "{told}");
    holder.execute("ROLLBACK").expect("unlocked");
    ground.restore_exactly(&header, &clean(&ground));
}

#[test]
fn event_triggers_of_the_target_do_not_change_what_is_restored() {
    let ground = Ground::new(SMALL);
    let header = ground.back_up(Selection::default());
    ground.execute(
        "target",
        "CREATE SCHEMA platform; CREATE FUNCTION platform.protect() RETURNS event_trigger LANGUAGE plpgsql AS $$ \
         DECLARE made record; BEGIN FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() \
         WHERE object_type = 'table' LOOP EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made.object_identity); \
         END LOOP; END $$; \
         CREATE EVENT TRIGGER protect ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION platform.protect(); \
         CREATE TABLE mine (x int)",
    );
    ground.restore_exactly(&header, &clean(&ground));
    assert_eq!(ground.value("target", "SELECT relrowsecurity FROM pg_class WHERE oid = 't'::regclass"), "f");
    ground.execute("target", "CREATE TABLE still_protected (x int)");
    let protected = "SELECT relrowsecurity FROM pg_class WHERE oid = 'still_protected'::regclass";
    assert_eq!(ground.value("target", protected), "t");
}

#[test]
fn one_partition_never_takes_its_siblings_along() {
    let ground = Ground::new(
        "CREATE TABLE e (k int) PARTITION BY RANGE (k); CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (0) TO (10); \
         CREATE TABLE e2 PARTITION OF e FOR VALUES FROM (10) TO (20); INSERT INTO e SELECT generate_series(0, 19)",
    );
    let whole = ground.back_up(Selection::default());
    let one = ground.back_up(Selection { tables: vec!["e1".to_owned()], ..Selection::default() });
    ground.restore_exactly(&whole, &ground.options());
    ground.execute("target", "DELETE FROM e WHERE k IN (1, 11)");
    let receipt = ground.restore(&one, &clean(&ground)).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert!(receipt.remarks.iter().all(|remark| remark.contains("stays as it is")), "{receipt:#?}");
    assert_eq!(ground.value("target", "SELECT count(*) FROM e1"), "10");
    assert_eq!(ground.value("target", "SELECT count(*) FROM e"), "19");
}

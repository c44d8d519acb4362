//! A part of a backup into a database that is in use: beside what is there, or in its place.

use pgstow_core::ErrorKind;
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::repository::format::receipt::Outcome;
use pgstow_core::repository::format::receipt::Verdict;
use pgstow_core::restore::{self, RestoreOptions, RestorePlan, RestoreSelection};

use crate::ground::{Ground, assert_same_dump, told};

/// Names that break whoever pastes them, and all that can belong to a table or depend on one.
const LIVE: &str = r#"CREATE ROLE reader; CREATE SCHEMA "Sales.2"; CREATE TYPE "Sales.2"."the mood" AS ENUM ('a', 'b');
CREATE FUNCTION "Sales.2"."touch ""it"""() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
GRANT EXECUTE ON FUNCTION "Sales.2"."touch ""it"""() TO reader; REVOKE ALL ON FUNCTION "Sales.2"."touch ""it"""() FROM public;
CREATE TABLE "Sales.2"."Customers "" x" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE);
CREATE TABLE "Sales.2"."Order on; --" (id serial PRIMARY KEY, customer int CONSTRAINT "key on it" REFERENCES "Sales.2"."Customers "" x" (id),
  m "Sales.2"."the mood" DEFAULT 'a', price numeric CHECK (price > 0));
CREATE INDEX "by m" ON "Sales.2"."Order on; --" (m);
CREATE STATISTICS "Sales.2"."st at" ON id, customer FROM "Sales.2"."Order on; --";
CREATE TRIGGER "t r" BEFORE INSERT ON "Sales.2"."Order on; --" FOR EACH ROW EXECUTE FUNCTION "Sales.2"."touch ""it"""();
CREATE POLICY "p.1" ON "Sales.2"."Order on; --" TO reader USING (m = 'a'); ALTER TABLE "Sales.2"."Order on; --" ENABLE ROW LEVEL SECURITY;
COMMENT ON COLUMN "Sales.2"."Order on; --".m IS 'it''s';
CREATE VIEW public."Recent one" AS SELECT o.id, c.name FROM "Sales.2"."Order on; --" o JOIN "Sales.2"."Customers "" x" c ON c.id = o.customer;
CREATE VIEW public.above AS SELECT count(*) FROM public."Recent one"; GRANT SELECT ON public.above TO reader;
CREATE MATERIALIZED VIEW public.stored AS SELECT * FROM public."Recent one"; CREATE INDEX ON public.stored (name);
CREATE TABLE public.other (x int PRIMARY KEY); CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
INSERT INTO "Sales.2"."Customers "" x" (name) SELECT 'c' || g FROM generate_series(1, 20) g;
INSERT INTO "Sales.2"."Order on; --" (customer, price) SELECT g, g FROM generate_series(1, 20) g;
INSERT INTO public.other SELECT generate_series(1, 5); REFRESH MATERIALIZED VIEW public.stored;
CREATE PUBLICATION "pub ""1""" FOR TABLE "Sales.2"."Order on; --", public.other; GRANT SELECT ON "Sales.2"."Order on; --" TO reader"#;
const ORDERS: &str = "\"Sales.2\".\"Order on; --\"";
const CUSTOMERS: &str = "\"Sales.2\".\"Customers \"\" x\"";

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn choosing(ground: &Ground, tables: &[&str], schemas: &[&str]) -> RestoreOptions {
    let selection =
        RestoreSelection { tables: list(tables), schemas: list(schemas), ..RestoreSelection::default() };
    RestoreOptions { selection, ..ground.options() }
}

/// A server with a backup of a whole database, restored: the target is in use.
fn in_use(major: u32) -> (Ground, pgstow_core::repository::format::header::Header) {
    let ground = Ground::of_major(major, LIVE);
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &ground.options());
    (ground, header)
}

fn plan(
    ground: &Ground,
    header: &pgstow_core::repository::format::header::Header,
    options: &RestoreOptions,
) -> RestorePlan {
    let repository = ground.repository();
    let prepared = restore::prepare(&repository, header, options, &pgstow_core::interrupt::Interrupt::new());
    prepared.unwrap_or_else(|error| panic!("{}", told(&error))).plan().clone()
}

fn a_lost_table_comes_back_beside_the_others(major: u32) {
    let (ground, header) = in_use(major);
    let before = ground.dump("target");
    ground.execute("target", &format!("DROP VIEW public.\"Recent one\" CASCADE; DROP TABLE {ORDERS}"));
    let options = choosing(&ground, &[ORDERS], &[]);
    let foreseen = plan(&ground, &header, &options);
    assert_eq!(foreseen.chosen, ["table \"Sales.2\".\"Order on; --\""]);
    assert_eq!(foreseen.along, Vec::<String>::new());
    assert!(foreseen.stays.iter().any(|name| name == "type \"Sales.2\".\"the mood\""), "{foreseen:#?}");
    assert!(foreseen.drop.is_empty() && foreseen.atomic, "{foreseen:#?}");
    let receipt = ground.restore_exactly(&header, &options);
    assert!(receipt.lines.iter().any(|line| line.what == "indexes" && line.found == 1), "{receipt:#?}");
    let proven = matches!(receipt.verdict(), Verdict::Proven { .. });
    assert!(!proven && !receipt.part.is_empty(), "a part says nothing of the whole backup: {receipt:#?}");
    // What nobody asked for stays lost; the oracle makes it again.
    let views = choosing(&ground, &["public.\"Recent one\"", "above", "stored"], &[]);
    ground.restore_exactly(&header, &views);
    assert_same_dump(&ground.dump("target"), &before);
    let error = ground.restore(&header, &options).expect_err("the restore is refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.message().contains("Order on; --") && told(&error).contains("--clean"), "{}", told(&error));
}

#[test]
fn a_lost_table_comes_back_beside_the_others_on_13() {
    a_lost_table_comes_back_beside_the_others(13);
}

#[test]
fn a_lost_table_comes_back_beside_the_others_on_18() {
    a_lost_table_comes_back_beside_the_others(18);
}

fn a_table_is_replaced_and_what_depends_on_it_comes_back(major: u32) {
    let (ground, header) = in_use(major);
    let before = ground.dump("target");
    ground.execute(
        "target",
        &format!("UPDATE {CUSTOMERS} SET name = name || '!'; DELETE FROM public.other WHERE x > 3"),
    );
    let options = RestoreOptions { clean: true, ..choosing(&ground, &[CUSTOMERS], &[]) };
    let foreseen = plan(&ground, &header, &options);
    let along = foreseen.along.join("\n");
    for named in ["Recent one", "view public.above", "materialized view public.stored", "key on it"] {
        assert!(along.contains(named), "{named}: {along}");
    }
    ground.restore_exactly(&header, &options);
    assert_eq!(ground.value("target", "SELECT count(*) FROM public.other"), "3");
    ground.execute("target", "INSERT INTO public.other VALUES (4), (5)");
    assert_same_dump(&ground.dump("target"), &before);
}

#[test]
fn a_table_is_replaced_and_what_depends_on_it_comes_back_on_13() {
    a_table_is_replaced_and_what_depends_on_it_comes_back(13);
}

#[test]
fn a_table_is_replaced_and_what_depends_on_it_comes_back_on_18() {
    a_table_is_replaced_and_what_depends_on_it_comes_back(18);
}

#[test]
fn what_depends_on_a_replaced_table_and_is_not_in_the_backup_is_named_and_nothing_changes() {
    let (ground, header) = in_use(18);
    let clean = |tables: &[&str]| RestoreOptions { clean: true, ..choosing(&ground, tables, &[]) };
    for (change, named) in [
        ("CREATE VIEW public.mine AS SELECT * FROM public.other", "view public.mine"),
        (
            "DROP VIEW public.mine; CREATE TABLE public.late (x int CONSTRAINT late_key REFERENCES public.other)",
            "late_key",
        ),
        ("DROP TABLE public.late; CREATE PUBLICATION late FOR TABLE public.other", "publication late"),
        (
            "DROP PUBLICATION late; CREATE FUNCTION public.g(public.other) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "function public.g(",
        ),
    ] {
        ground.execute("target", change);
        let before = ground.dump("target");
        let error = ground.restore(&header, &clean(&["public.other"])).expect_err("the restore is refused");
        assert_eq!(error.kind(), ErrorKind::Refused, "{}", told(&error));
        assert!(told(&error).contains(named), "{named}: {}", told(&error));
        assert_same_dump(&ground.dump("target"), &before);
    }
    // A view that is another one now is not replaced by the backup's.
    ground.execute("target", "DROP FUNCTION public.g; CREATE OR REPLACE VIEW public.above AS SELECT 7::int8 AS count FROM public.\"Recent one\"");
    let error = ground.restore(&header, &clean(&[CUSTOMERS])).expect_err("the restore is refused");
    assert!(told(&error).contains("view public.above"), "{}", told(&error));
    // Nor is one whose privileges are others.
    ground.execute("target", "CREATE OR REPLACE VIEW public.above AS SELECT count(*) FROM public.\"Recent one\"; GRANT UPDATE ON public.above TO reader");
    let error = ground.restore(&header, &clean(&[CUSTOMERS])).expect_err("the restore is refused");
    assert!(told(&error).contains("view public.above"), "{}", told(&error));
}

#[test]
fn what_a_table_needs_and_differs_at_the_target_stays_and_is_told() {
    let (ground, header) = in_use(18);
    ground.execute(
        "target",
        &format!("DROP VIEW public.\"Recent one\" CASCADE; DROP TABLE {ORDERS}; ALTER TYPE \"Sales.2\".\"the mood\" ADD VALUE 'c'"),
    );
    let receipt = ground
        .restore(&header, &choosing(&ground, &[ORDERS], &[]))
        .unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(receipt.outcome, Outcome::Differs);
    assert_eq!(receipt.remarks.len(), 1, "{:#?}", receipt.remarks);
    assert!(
        receipt.remarks[0].contains("the mood") && receipt.remarks[0].contains("differs"),
        "{receipt:#?}"
    );
    assert_eq!(ground.value("target", &format!("SELECT count(*) FROM {ORDERS}")), "20");
}

fn a_schema_comes_back_whole(major: u32) {
    let (ground, header) = in_use(major);
    let before = ground.dump("target");
    let schema = choosing(&ground, &[], &["Sales*"]);
    assert_eq!(
        ground.restore(&header, &schema).expect_err("the restore is refused").kind(),
        ErrorKind::Refused
    );
    ground.execute(
        "target",
        &format!(
            "DELETE FROM {ORDERS} WHERE id > 7; REVOKE ALL ON FUNCTION \"Sales.2\".\"touch \"\"it\"\"\"() FROM reader; \
             CREATE TABLE \"Sales.2\".stray (x int); ALTER TABLE {ORDERS} DROP COLUMN price; DROP INDEX \"Sales.2\".\"by m\""
        ),
    );
    let clean = RestoreOptions { clean: true, ..schema };
    let foreseen = plan(&ground, &header, &clean);
    assert_eq!(foreseen.chosen, ["schema \"Sales.2\""]);
    assert!(foreseen.dropped.iter().any(|name| name.contains("stray")), "{foreseen:#?}");
    ground.restore_exactly(&header, &clean);
    assert_same_dump(&ground.dump("target"), &before);
    // And into a database that has nothing: what needs another schema is left out by name.
    ground.execute("postgres", "DROP DATABASE target");
    ground.execute("postgres", "CREATE DATABASE target");
    let receipt = ground
        .restore(&header, &choosing(&ground, &[], &["public"]))
        .unwrap_or_else(|error| panic!("{}", told(&error)));
    let remarks = receipt.remarks.join("\n");
    assert!(remarks.contains("view public.\"Recent one\" is not restored: it needs table"), "{remarks}");
    assert_eq!(ground.value("target", "SELECT public.f() + count(*) FROM public.other"), "6");
}

#[test]
fn a_schema_comes_back_whole_on_13() {
    a_schema_comes_back_whole(13);
}

#[test]
fn a_schema_comes_back_whole_on_18() {
    a_schema_comes_back_whole(18);
}

#[test]
fn an_excluded_table_is_spared_when_all_else_is_replaced() {
    let (ground, header) = in_use(18);
    ground.execute("target", "INSERT INTO public.other VALUES (99)");
    let selection =
        RestoreSelection { exclude_tables: list(&["public.other"]), ..RestoreSelection::default() };
    let options = RestoreOptions { clean: true, selection, ..ground.options() };
    // It is in a publication that the restore makes anew.
    let error = ground.restore(&header, &options);
    let error = error.err().map(|error| told(&error)).unwrap_or_default();
    assert_eq!(error, "");
    assert_eq!(ground.value("target", "SELECT count(*) FROM public.other"), "6");
}

#[test]
fn a_partition_alone_is_attached_again() {
    let ground = Ground::new(
        "CREATE TABLE events (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day); \
         CREATE TABLE e1 PARTITION OF events FOR VALUES FROM (1) TO (10); \
         CREATE TABLE e2 PARTITION OF events FOR VALUES FROM (10) TO (20); CREATE INDEX ON events (day); \
         INSERT INTO events SELECT g, g FROM generate_series(1, 19) g",
    );
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &ground.options());
    let before = ground.dump("target");
    ground.execute("target", "DROP TABLE e2");
    ground.restore_exactly(&header, &choosing(&ground, &["e2"], &[]));
    assert_same_dump(&ground.dump("target"), &before);
    ground.execute("target", "DELETE FROM events WHERE day > 5");
    ground.restore_exactly(&header, &RestoreOptions { clean: true, ..choosing(&ground, &["events"], &[]) });
    assert_same_dump(&ground.dump("target"), &before);
}

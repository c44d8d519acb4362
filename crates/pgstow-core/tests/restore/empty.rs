//! Restores into empty databases, on several sessions.

use pgstow_core::ErrorKind;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::inventory::ObjectKind;
use pgstow_core::monitor::{Event, Monitor};
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::repository::format::receipt::Outcome;
use pgstow_core::restore::{self, RestoreOptions};

use crate::ground::{EVERYTHING, Ground, assert_same_dump, told};

#[test]
fn every_kind_of_object_and_every_row_comes_back() {
    let ground = Ground::new(EVERYTHING);
    let header = ground.back_up(Selection::default());
    let receipt = ground.restore_exactly(&header, &ground.options());
    assert!(receipt.lines.iter().any(|line| line.what == "rows of s.orders" && line.found == 20_000));
    assert_same_dump(&ground.dump("target"), &ground.dump("source"));
}

#[test]
fn many_tables_with_keys_in_all_directions_build_on_eight_sessions_without_a_deadlock() {
    let mut sql = String::new();
    for table in 0..24 {
        sql.push_str(&format!(
            "CREATE TABLE t{table} (id int PRIMARY KEY, a int, b int, c int); INSERT INTO t{table} SELECT g, g, g, g \
             FROM generate_series(1, 200) g; CREATE INDEX ON t{table} (a); CREATE INDEX ON t{table} (b);"
        ));
    }
    for table in 0..24 {
        for (column, step) in [("a", 1), ("b", 7), ("c", 13)] {
            sql.push_str(&format!(
                "ALTER TABLE t{table} ADD FOREIGN KEY ({column}) REFERENCES t{};",
                (table + step) % 24
            ));
        }
    }
    let ground = Ground::new(&sql);
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &RestoreOptions { jobs: 8, ..ground.options() });
    ground.execute("target", "SELECT pg_stat_clear_snapshot()");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'target'";
    assert_eq!(ground.value("target", deadlocks), "0");
}

#[test]
fn a_definition_that_fails_is_named_with_what_depends_on_it_and_the_rest_comes_back() {
    let ground = Ground::new(
        "CREATE TABLE a (x int); CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'; \
         CREATE TABLE b (x int DEFAULT f(1)); CREATE VIEW v AS SELECT x FROM b; INSERT INTO a VALUES (1), (2); \
         CREATE INDEX a_x ON a (x); INSERT INTO b VALUES (1); CREATE INDEX b_x ON b (x)",
    );
    let header = ground.back_up(Selection::default());
    // A login without the right to use a language cannot create functions in it.
    ground.execute("target", "REVOKE USAGE ON LANGUAGE sql FROM PUBLIC; CREATE ROLE plain LOGIN");
    ground.execute("postgres", "ALTER DATABASE target OWNER TO plain");
    let mut options = ground.options();
    options.connection.user = "plain".to_owned();
    let receipt = ground.restore(&header, &options).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(receipt.outcome, Outcome::Differs);
    let remarks = receipt.remarks.join("\n");
    assert!(remarks.contains("function public.f(integer): permission denied for language sql"), "{remarks}");
    for skipped in ["table public.b", "view public.v", "index public.b_x"] {
        let line = format!("{skipped}: skipped because function public.f(integer) failed");
        assert!(remarks.contains(&line), "{line}\n{remarks}");
    }
    assert_eq!(ground.value("target", "SELECT count(*) FROM a"), "2");
    assert_eq!(ground.value("target", "SELECT to_regclass('a_x')"), "a_x");
}

#[test]
fn an_index_by_a_function_that_reads_another_table_is_built_after_the_rows_of_both() {
    // The indexed table is much the larger one, so that its rows are loaded first, and on one
    // session its index would be the next step.
    let ground = Ground::new(
        "CREATE TABLE names (id int, name text); INSERT INTO names SELECT g, 'n' || g FROM generate_series(0, 9) g; \
         CREATE FUNCTION named(int) RETURNS text LANGUAGE sql IMMUTABLE \
           AS 'SELECT max(name) FROM public.names WHERE id = $1'; \
         CREATE TABLE items (id int, body text); \
         INSERT INTO items SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 30000) g; \
         CREATE INDEX items_named ON items (named(id % 10))",
    );
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &RestoreOptions { jobs: 1, ..ground.options() });
    let found = "SET enable_seqscan = off; SELECT count(*) FROM items WHERE named(id % 10) = 'n3'";
    assert_eq!(ground.value("target", found), "3000");
}

#[test]
fn restored_tables_have_the_planners_statistics() {
    let ground = Ground::new(
        "CREATE TABLE t (id int PRIMARY KEY, v text); \
         INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 40000) g; CREATE INDEX t_v ON t (v)",
    );
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &ground.options());
    assert_eq!(ground.value("target", "SELECT reltuples FROM pg_class WHERE relname = 't'"), "40000");
    assert_eq!(ground.value("target", "SELECT count(*) FROM pg_stats WHERE tablename = 't'"), "2");
}

#[test]
fn an_interrupted_restore_ends_and_says_what_state_the_target_is_in() {
    struct Stop(Interrupt);
    impl Monitor for Stop {
        fn event(&self, event: Event<'_>) {
            if matches!(event, Event::TableProgress { .. }) {
                self.0.trigger();
            }
        }
    }
    let ground = Ground::new(
        "CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 300000) g; CREATE INDEX ON t (g)",
    );
    let header = ground.back_up(Selection::default());
    let repository = ground.repository();
    let stopped = |options: &RestoreOptions| {
        let interrupt = Interrupt::new();
        let prepared = restore::prepare(&repository, &header, options, &interrupt).expect("a plan");
        prepared.apply(&Stop(interrupt.clone()), &interrupt).expect_err("interrupted")
    };
    let error = stopped(&ground.options());
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(told(&error).contains("incomplete") && told(&error).contains("--clean"), "{}", told(&error));

    let clean = RestoreOptions { clean: true, ..ground.options() };
    ground.restore_exactly(&header, &clean);
    ground.execute("target", "DELETE FROM t WHERE g > 10");
    let before = ground.dump("target");
    let error = stopped(&clean);
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(told(&error).contains("the target is as it was"), "{}", told(&error));
    assert_same_dump(&ground.dump("target"), &before);
}

#[test]
fn rows_of_an_extensions_configuration_table_replace_those_it_came_with() {
    let configuration = "CREATE EXTENSION hstore; CREATE TABLE settings (id int PRIMARY KEY, v text); \
         ALTER EXTENSION hstore ADD TABLE settings; \
         UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass::oid], extcondition = ARRAY['WHERE id > 10'] \
         WHERE extname = 'hstore'; INSERT INTO settings VALUES (1, 'built in'), (11, 'shipped');";
    let ground = Ground::new(configuration);
    ground.execute(
        "source",
        "UPDATE settings SET v = 'changed' WHERE id = 11; INSERT INTO settings VALUES (12, 'new')",
    );
    let header = ground.back_up(Selection::default());
    ground.execute("target", configuration);
    ground.restore_exactly(&header, &ground.options());
    let rows = "SELECT string_agg(id || v, ',' ORDER BY id) FROM settings";
    assert_eq!(ground.value("target", rows), "1built in,11changed,12new");
}

#[test]
fn a_check_that_the_server_prints_anew_is_no_difference() {
    let ground = Ground::new("CREATE TABLE t (s varchar(9) CHECK (s IN ('a', 'b')))");
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &ground.options());
    ground.restore_exactly(&header, &RestoreOptions { clean: true, ..ground.options() });
}

#[test]
fn a_plan_says_what_would_happen_and_changes_nothing() {
    let ground = Ground::new(EVERYTHING);
    let header = ground.back_up(Selection::default());
    let before = ground.dump("target");
    let repository = ground.repository();
    let prepared =
        restore::prepare(&repository, &header, &ground.options(), &Interrupt::new()).expect("a plan");
    let plan = prepared.plan();
    assert_eq!(plan.create[&ObjectKind::Publication], 3);
    assert_eq!(plan.create[&ObjectKind::LargeObject], 3);
    assert_eq!(plan.load_rows, ground.manifest(&header).rows());
    assert!(!plan.atomic && plan.drop.is_empty() && plan.remarks.is_empty(), "{plan:#?}");
    assert!(plan.steps.len() > 5, "{plan:#?}");
    drop(prepared);
    assert_same_dump(&ground.dump("target"), &before);
}

#[test]
fn contents_that_differ_from_the_backup_are_found_by_checksums_alone() {
    struct Meddle<'g>(&'g Ground);
    impl Monitor for Meddle<'_> {
        fn event(&self, event: Event<'_>) {
            if matches!(event, Event::Phase { name: "verification" }) {
                self.0.execute("target", "UPDATE t SET v = 'y' WHERE id = 7; SELECT lo_put(9, 1, 'z')");
            }
        }
    }
    let ground = Ground::new(
        "CREATE TABLE t AS SELECT g AS id, 'x' AS v FROM generate_series(1, 1000) g; SELECT lo_from_bytea(9, 'abc')",
    );
    let header = ground.back_up(Selection::default());
    let repository = ground.repository();
    let meddled = |checksums: bool| {
        ground
            .execute("target", "DROP TABLE IF EXISTS t; SELECT lo_unlink(oid) FROM pg_largeobject_metadata");
        let options = RestoreOptions { checksums, ..ground.options() };
        let interrupt = Interrupt::new();
        let prepared = restore::prepare(&repository, &header, &options, &interrupt).expect("a plan");
        prepared.apply(&Meddle(&ground), &interrupt).expect("it ends").receipt
    };
    assert_eq!(meddled(false).outcome, Outcome::Equal);
    let receipt = meddled(true);
    assert_eq!(receipt.outcome, Outcome::Differs);
    let remarks = receipt.remarks.join("\n");
    assert!(remarks.contains("rows of table public.t differ in content"), "{remarks}");
    assert!(remarks.contains("large object 9 holds other bytes"), "{remarks}");
}

#[test]
fn tables_with_equal_rows_share_an_object_and_all_come_back() {
    // Enough tables for several bundles, all of the same content.
    let tables: String = (0..600)
        .map(|table| format!("CREATE TABLE t{table} (x int); INSERT INTO t{table} VALUES (1);"))
        .collect();
    let ground = Ground::new(&tables);
    let header = ground.back_up(Selection::default());
    assert!(ground.manifest(&header).objects.len() < 3);
    ground.restore_exactly(&header, &ground.options());
}

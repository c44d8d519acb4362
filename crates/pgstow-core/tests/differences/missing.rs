//! Rows that are gone come back, and nothing else changes.

use std::time::Duration;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::restore::RestoreSelection;
use pgstow_core::restore::missing::{self, MissingOptions, MissingReport};
use pgstow_core::{Error, ErrorKind, Result};

use crate::ground::{Ground, told};

fn options(ground: &Ground, tables: &[&str]) -> MissingOptions {
    let tables = tables.iter().map(|&table| table.to_owned()).collect();
    MissingOptions {
        connection: ground.settings("source"),
        selection: RestoreSelection { tables, ..RestoreSelection::default() },
        key: Vec::new(),
        fire_triggers: false,
        lock_timeout: Duration::from_secs(5),
        trusted_for: Duration::ZERO,
        spool: std::env::temp_dir(),
    }
}

fn put_back(ground: &Ground, header: &Header, options: &MissingOptions) -> Result<MissingReport> {
    let (repository, interrupt) = (ground.repository(), Interrupt::new());
    missing::prepare(&repository, header, options, &Silent, &interrupt)?.apply(&Silent, &interrupt)
}

#[track_caller]
fn back(ground: &Ground, header: &Header, tables: &[&str]) -> MissingReport {
    put_back(ground, header, &options(ground, tables)).unwrap_or_else(|error| panic!("{}", told(&error)))
}

#[track_caller]
fn refused(result: Result<MissingReport>, part: &str) -> Error {
    let error = result.expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", told(&error));
    assert!(told(&error).contains(part), "{part}: {}", told(&error));
    error
}

/// All rows of a table as text.
fn content(ground: &Ground, table: &str) -> String {
    ground.value("source", &format!("SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM {table} t"))
}

const SHOP: &str = r#"
CREATE TABLE customers (id int PRIMARY KEY, email text UNIQUE);
INSERT INTO customers SELECT g, 'c' || g FROM generate_series(1, 200) g;
CREATE TABLE "Order.Lines" ("Id" bigint GENERATED ALWAYS AS IDENTITY, "part ""no""" text, customer int REFERENCES customers,
    parent bigint, total numeric, twice numeric GENERATED ALWAYS AS (total * 2) STORED, note text,
    PRIMARY KEY ("Id", "part ""no"""), UNIQUE ("Id"));
ALTER TABLE "Order.Lines" ADD FOREIGN KEY (parent) REFERENCES "Order.Lines" ("Id");
INSERT INTO "Order.Lines" ("part ""no""", customer, parent, total, note)
    SELECT E'p\t' || g, g % 200 + 1, CASE WHEN g > 1 THEN g - 1 END, g / 7.0,
        CASE g % 4 WHEN 0 THEN NULL WHEN 1 THEN E'\\N' WHEN 2 THEN E'a\tb\nc\\' ELSE '' END FROM generate_series(1, 5000) g;
"#;

#[test]
fn rows_that_are_gone_come_back_and_the_others_stay_as_they_are() {
    let ground = Ground::new(SHOP);
    ground.execute(
        "source",
        r#"CREATE TABLE before AS TABLE "Order.Lines"; ALTER TABLE before DROP COLUMN twice"#,
    );
    let header = ground.back_up(Selection::default());
    ground.execute(
        "source",
        r#"UPDATE "Order.Lines" SET parent = NULL WHERE parent % 40 = 3;
           DELETE FROM "Order.Lines" WHERE "Id" % 40 = 3;
           UPDATE "Order.Lines" SET note = 'kept' WHERE "Id" % 11 = 0;
           INSERT INTO "Order.Lines" ("part ""no""", note) VALUES ('new', 'new');
           ALTER TABLE "Order.Lines" ADD COLUMN later int NOT NULL DEFAULT 5;
           CREATE TABLE live AS TABLE "Order.Lines";
           ALTER SEQUENCE "Order.Lines_Id_seq" RESTART WITH 9"#,
    );
    let missing = ground.value(
        "source",
        r#"SELECT count(*) FROM before b WHERE NOT EXISTS (SELECT FROM live l WHERE l."Id" = b."Id")"#,
    );
    let report = back(&ground, &header, &[r#""Order.Lines""#]);
    let [table] = report.tables.as_slice() else { panic!("{:?}", report.tables) };
    assert_eq!(table.rows.to_string(), missing);
    assert_eq!((table.backup_rows, table.rows_after - table.rows_before), (5000, table.rows));
    // What is there now is what was there, and the rows of before that were not.
    let columns = r#""Id", "part ""no""", customer, parent, total, note"#;
    let expected = format!(
        r#"(SELECT {columns}, twice, later FROM live UNION ALL SELECT {columns}, total * 2, 5 FROM before b
            WHERE NOT EXISTS (SELECT FROM live l WHERE l."Id" = b."Id"))"#
    );
    let found = format!(r#"(SELECT {columns}, twice, later FROM "Order.Lines")"#);
    for (one, other) in [(&expected, &found), (&found, &expected)] {
        let only = format!("SELECT count(*) FROM ({one} EXCEPT ALL {other}) d");
        assert_eq!(ground.value("source", &only), "0", "{only}");
    }
    assert!(report.notes.iter().any(|note| note.contains("was behind")), "{:?}", report.notes);
    assert_eq!(
        ground.value(
            "source",
            r#"INSERT INTO "Order.Lines" ("part ""no""") VALUES ('next') RETURNING "Id" > 4900"#
        ),
        "t"
    );
    let receipts = ground.repository().receipts(&header.id).expect("receipts").receipts;
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].lines[0].found, table.rows);
    // Once more there is nothing to do.
    assert_eq!(back(&ground, &header, &[r#""Order.Lines""#]).tables[0].rows, 0);
}

#[test]
fn rows_whose_parents_are_gone_are_refused_by_name_or_come_back_with_them() {
    let ground = Ground::new(SHOP);
    let header = ground.back_up(Selection::default());
    ground.execute("source", r#"TRUNCATE "Order.Lines"; DELETE FROM customers WHERE id = 7"#);
    let error =
        refused(put_back(&ground, &header, &options(&ground, &["\"Order.Lines\""])), "public.customers");
    assert!(error.hints().iter().any(|hint| hint.contains("--table public.customers")), "{}", told(&error));
    assert_eq!(ground.value("source", r#"SELECT count(*) FROM "Order.Lines""#), "0");
    let report = back(&ground, &header, &["\"Order.Lines\"", "customers"]);
    let rows: Vec<(&str, u64)> =
        report.tables.iter().map(|table| (table.table.as_str(), table.rows)).collect();
    assert_eq!(rows, [("public.customers", 1), ("public.\"Order.Lines\"", 5000)]);
}

#[test]
fn unique_values_that_other_rows_hold_are_refused_by_the_rows_that_want_them() {
    let ground = Ground::new(SHOP);
    let header = ground.back_up(Selection::default());
    ground.execute("source", r#"TRUNCATE "Order.Lines"; DELETE FROM customers WHERE id IN (3, 4, 5); INSERT INTO customers VALUES (900, 'c4')"#);
    let before = content(&ground, "customers");
    refused(put_back(&ground, &header, &options(&ground, &["customers"])), "id=4");
    assert_eq!(content(&ground, "customers"), before);
}

#[test]
fn triggers_stay_silent_unless_they_are_meant_to_fire() {
    let ground = Ground::new(&format!(
        "{SHOP} CREATE TABLE seen (id int); CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO public.seen VALUES (NEW.id); RETURN NEW; END'; \
         CREATE TRIGGER see AFTER INSERT ON customers FOR EACH ROW EXECUTE FUNCTION see()"
    ));
    let header = ground.back_up(Selection::default());
    let lose = r#"TRUNCATE "Order.Lines"; DELETE FROM customers WHERE id <= 9"#;
    ground.execute("source", lose);
    assert_eq!(back(&ground, &header, &["customers"]).tables[0].rows, 9);
    assert_eq!(ground.value("source", "SELECT count(*) FROM seen"), "0");
    ground.execute("source", lose);
    let fire = MissingOptions { fire_triggers: true, ..options(&ground, &["customers"]) };
    let report = put_back(&ground, &header, &fire).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(report.tables[0].rows, 9);
    assert_eq!(ground.value("source", "SELECT count(*) FROM seen"), "9");
    // Silence takes the server's own checks with it: they are made all the same.
    ground.execute(
        "source",
        r#"CREATE TRIGGER see AFTER INSERT ON "Order.Lines" FOR EACH ROW EXECUTE FUNCTION see()"#,
    );
    let (repository, interrupt) = (ground.repository(), Interrupt::new());
    let prepared =
        missing::prepare(&repository, &header, &options(&ground, &["\"Order.Lines\""]), &Silent, &interrupt);
    let prepared = prepared.unwrap_or_else(|error| panic!("{}", told(&error)));
    ground.execute("source", "DELETE FROM customers WHERE id = 7");
    let error = prepared.apply(&Silent, &interrupt).expect_err("a parent went meanwhile");
    assert!(told(&error).contains("public.customers"), "{}", told(&error));
    assert_eq!(ground.value("source", r#"SELECT count(*) FROM "Order.Lines""#), "0");
    ground.execute("source", "ALTER TABLE customers ENABLE ALWAYS TRIGGER see");
    refused(put_back(&ground, &header, &options(&ground, &["customers"])), "ALWAYS");
}

#[test]
fn a_trigger_that_keeps_rows_out_takes_everything_back() {
    let ground = Ground::new(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1), (2); \
         INSERT INTO b VALUES (1), (2)",
    );
    let header = ground.back_up(Selection::default());
    ground.execute(
        "source",
        "DELETE FROM a; DELETE FROM b WHERE id = 2; CREATE FUNCTION drop() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN RETURN NULL; END'; CREATE TRIGGER t BEFORE INSERT ON b FOR EACH ROW EXECUTE FUNCTION drop()",
    );
    let fire = MissingOptions { fire_triggers: true, ..options(&ground, &["a", "b"]) };
    let error = put_back(&ground, &header, &fire).expect_err("rows that do not stay");
    assert!(told(&error).contains("public.b"), "{}", told(&error));
    assert_eq!(ground.value("source", "SELECT count(*) FROM a"), "0");
    // One that puts more in than was missing is as bad.
    ground.execute(
        "source",
        "CREATE OR REPLACE FUNCTION drop() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN IF NEW.id < 10 THEN INSERT INTO public.b VALUES (NEW.id + 10); END IF; RETURN NEW; END'",
    );
    let error = put_back(&ground, &header, &fire).expect_err("rows that nobody asked for");
    assert!(told(&error).contains("a trigger or rule of the table"), "{}", told(&error));
    assert_eq!(content(&ground, "b"), "(1)");
}

#[test]
fn a_column_that_is_computed_now_is_computed_for_rows_that_come_back() {
    let ground =
        Ground::new("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 7), (2, 7)");
    let header = ground.back_up(Selection::default());
    ground.execute(
        "source",
        "DELETE FROM t WHERE id = 2; ALTER TABLE t DROP v, ADD v int GENERATED ALWAYS AS (id * 3) STORED",
    );
    assert_eq!(back(&ground, &header, &["t"]).tables[0].rows, 1);
    assert_eq!(content(&ground, "t"), "(1,3)\n(2,6)");
}

#[test]
fn tables_that_do_not_fit_are_refused_with_what_to_do() {
    let ground = Ground::new(
        "CREATE TABLE nokey (a int NOT NULL, b text); CREATE UNIQUE INDEX by_a ON nokey (a); INSERT INTO nokey VALUES (1, 'x'), (2, 'y'); \
         CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'v'); \
         CREATE TABLE secret (id int PRIMARY KEY); INSERT INTO secret VALUES (1)",
    );
    let header = ground.back_up(Selection::default());
    ground.execute("source", "DELETE FROM nokey WHERE a = 1; DELETE FROM t; ALTER TABLE t DROP COLUMN v");
    refused(put_back(&ground, &header, &options(&ground, &["nokey"])), "--key a");
    let by_key = MissingOptions { key: vec!["a".to_owned()], ..options(&ground, &["nokey"]) };
    assert_eq!(put_back(&ground, &header, &by_key).expect("a report").tables[0].rows, 1);
    assert_eq!(content(&ground, "nokey"), "(1,x)\n(2,y)");
    let by_other = MissingOptions { key: vec!["b".to_owned()], ..options(&ground, &["nokey"]) };
    refused(put_back(&ground, &header, &by_other), "no unique index of b");
    refused(put_back(&ground, &header, &options(&ground, &["t"])), "column v");
    ground.execute("source", "ALTER TABLE t ADD COLUMN v text, ADD COLUMN must int NOT NULL");
    refused(put_back(&ground, &header, &options(&ground, &["t"])), "column must");
    ground.execute("source", "DROP TABLE t");
    refused(put_back(&ground, &header, &options(&ground, &["t"])), "does not exist");
    ground.execute(
        "source",
        "CREATE ROLE clerk LOGIN; GRANT ALL ON secret TO clerk; ALTER TABLE secret ENABLE ROW LEVEL SECURITY",
    );
    let mut as_clerk = options(&ground, &["secret"]);
    as_clerk.connection.user = "clerk".to_owned();
    refused(put_back(&ground, &header, &as_clerk), "row-level security");
}

#[test]
fn keys_that_are_equal_to_the_server_are_not_missing() {
    let ground = Ground::new(
        "CREATE TABLE n (k numeric PRIMARY KEY, v text); INSERT INTO n VALUES (1.0, 'a'), (2.50, 'b'), (3, 'c'); \
         CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         CREATE TABLE w (k text COLLATE nocase PRIMARY KEY); INSERT INTO w VALUES ('Bob'), ('Eve')",
    );
    let header = ground.back_up(Selection::default());
    ground.execute("source", "DELETE FROM n; INSERT INTO n VALUES (1, 'other'), (2.5, 'other'); UPDATE w SET k = 'BOB' WHERE k = 'bob'; DELETE FROM w WHERE k = 'eve'");
    let report = back(&ground, &header, &["n", "w"]);
    assert_eq!(report.tables.iter().map(|table| table.rows).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(content(&ground, "n"), "(1,other)\n(2.5,other)\n(3,c)");
    assert_eq!(content(&ground, "w"), "(BOB)\n(Eve)");
}

#[test]
fn rows_of_partitions_go_through_the_root() {
    let ground = Ground::new(
        "CREATE TABLE parts (k int PRIMARY KEY, v text) PARTITION BY RANGE (k); \
         CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (100); \
         CREATE TABLE high (v text, k int NOT NULL); ALTER TABLE parts ATTACH PARTITION high FOR VALUES FROM (100) TO (200); \
         INSERT INTO parts SELECT g, 'v' || g FROM generate_series(0, 199) g",
    );
    let header = ground.back_up(Selection::default());
    let before = content(&ground, "parts");
    ground.execute(
        "source",
        "DELETE FROM parts WHERE k % 50 < 3; CREATE TABLE keep AS TABLE low; ALTER TABLE parts DETACH PARTITION low; DROP TABLE low; \
         CREATE TABLE a PARTITION OF parts FOR VALUES FROM (0) TO (30); CREATE TABLE b PARTITION OF parts FOR VALUES FROM (30) TO (100); \
         INSERT INTO parts SELECT * FROM keep",
    );
    assert_eq!(back(&ground, &header, &["parts"]).tables[0].rows, 12);
    assert_eq!(content(&ground, "parts"), before);
}

#[test]
fn a_damaged_object_puts_nothing_back() {
    let ground = Ground::new(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 900) g",
    );
    let header = ground.back_up(Selection::default());
    ground.execute("source", "DELETE FROM t WHERE id > 500");
    let manifest = ground.manifest(&header);
    let name = manifest.objects[0].id.to_string();
    let path = ground.folder_path().join("objects").join(&name[..2]).join(format!("{name}.zst"));
    let mut bytes = std::fs::read(&path).expect("an object");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("a write");
    let error = put_back(&ground, &header, &options(&ground, &["t"])).expect_err("damage");
    assert!(error.in_one_line().contains(&name), "{}", told(&error));
    assert_eq!(ground.value("source", "SELECT count(*) FROM t"), "500");
}

#[test]
fn rows_that_came_back_by_themselves_meanwhile_stay_as_they_are() {
    let ground =
        Ground::new("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    let header = ground.back_up(Selection::default());
    ground.execute("source", "DELETE FROM t");
    let (repository, interrupt) = (ground.repository(), Interrupt::new());
    let prepared = missing::prepare(&repository, &header, &options(&ground, &["t"]), &Silent, &interrupt)
        .expect("a plan");
    assert_eq!(prepared.plan().missing(), 2);
    ground.execute("source", "INSERT INTO t VALUES (1, 'mine')");
    let report = prepared.apply(&Silent, &interrupt).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(report.tables[0].rows, 1);
    assert_eq!(content(&ground, "t"), "(1,mine)\n(2,b)");
}

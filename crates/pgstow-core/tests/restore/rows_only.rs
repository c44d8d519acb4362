//! Rows alone into tables that exist: what does not fit is said before, what is there is emptied or
//! kept, and no foreign key is violated without a word.

use std::sync::Mutex;

use pgstow_core::ErrorKind;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor};
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::{Sections, Selection};
use pgstow_core::restore::{self, ExistingRows, RestoreOptions, RestoreSelection};

use crate::ground::{Ground, assert_same_dump, told};

const SHOP: &str = r#"CREATE TABLE customers (id serial PRIMARY KEY, name text, since date);
CREATE TABLE "Orders" (id serial PRIMARY KEY, customer int REFERENCES customers, n smallint, region int);
CREATE TABLE regions (id int PRIMARY KEY); ALTER TABLE "Orders" ADD FOREIGN KEY (region) REFERENCES regions DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE parted (id int, c int REFERENCES customers) PARTITION BY LIST (id); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
INSERT INTO customers (name, since) SELECT 'c' || g, '2026-01-01' FROM generate_series(1, 10) g; INSERT INTO regions VALUES (1);
INSERT INTO "Orders" (customer, n, region) SELECT g, g, 1 FROM generate_series(1, 10) g; INSERT INTO parted VALUES (1, 1)"#;

fn rows(ground: &Ground, tables: &[&str], existing_rows: ExistingRows) -> RestoreOptions {
    let tables = tables.iter().map(|&name| name.to_owned()).collect();
    RestoreOptions {
        sections: Sections::DataOnly,
        selection: RestoreSelection { tables, ..RestoreSelection::default() },
        existing_rows,
        checksums: existing_rows != ExistingRows::Append,
        ..ground.options()
    }
}

/// A server with a backup, and a target that holds the same.
fn in_use(major: u32) -> (Ground, Header) {
    let ground = Ground::of_major(major, SHOP);
    let header = ground.back_up(Selection::default());
    ground.restore_exactly(&header, &ground.options());
    (ground, header)
}

fn emptying_takes_what_was_chosen_and_names_who_refers_to_it(major: u32) {
    let (ground, header) = in_use(major);
    let before = ground.dump("target");
    let error = ground
        .restore(&header, &rows(&ground, &["customers"], ExistingRows::Truncate))
        .expect_err("the restore is refused");
    let text = told(&error);
    assert_eq!(error.kind(), ErrorKind::Refused, "{text}");
    for named in ["table public.\"Orders\" refers to public.customers", "table public.parted"] {
        assert!(text.contains(named), "{named}: {text}");
    }
    // A deferred key counts too: TRUNCATE does not wait.
    let error = ground
        .restore(&header, &rows(&ground, &["regions"], ExistingRows::Truncate))
        .expect_err("the restore is refused");
    assert!(told(&error).contains("refers to public.regions"), "{}", told(&error));
    ground.execute("target", "DELETE FROM \"Orders\" WHERE id > 3; UPDATE customers SET name = 'x'; INSERT INTO regions VALUES (2)");
    let chosen = ["customers", "Orders", "parted"];
    ground.restore_exactly(&header, &rows(&ground, &chosen, ExistingRows::Truncate));
    assert_eq!(ground.value("target", "DELETE FROM regions WHERE id = 2 RETURNING id"), "2");
    assert_same_dump(&ground.dump("target"), &before);
}

#[test]
fn emptying_takes_what_was_chosen_and_names_who_refers_to_it_on_13() {
    emptying_takes_what_was_chosen_and_names_who_refers_to_it(13);
}

#[test]
fn emptying_takes_what_was_chosen_and_names_who_refers_to_it_on_18() {
    emptying_takes_what_was_chosen_and_names_who_refers_to_it(18);
}

#[test]
fn rows_are_added_to_those_that_are_there_and_sequences_stay_ahead() {
    let (ground, header) = in_use(18);
    let error = ground
        .restore(&header, &rows(&ground, &["Orders"], ExistingRows::Refuse))
        .expect_err("the restore is refused");
    assert!(told(&error).contains("--append"), "{}", told(&error));
    // The same rows again violate the primary key; nothing remains of the attempt.
    let before = ground.dump("target");
    let error = ground
        .restore(&header, &rows(&ground, &["Orders"], ExistingRows::Append))
        .expect_err("the restore is refused");
    assert!(told(&error).contains("Orders_pkey"), "{}", told(&error));
    assert_same_dump(&ground.dump("target"), &before);
    ground.execute(
        "target",
        "UPDATE \"Orders\" SET id = id + 100; SELECT setval('\"Orders_id_seq\"', 110); SELECT setval('customers_id_seq', 2)",
    );
    let receipt = ground.restore_exactly(&header, &rows(&ground, &["Orders"], ExistingRows::Append));
    let line = receipt.lines.iter().find(|line| line.what.contains("Orders")).expect("a line");
    assert_eq!((line.expected, line.found), (20, 20));
    assert_eq!(ground.value("target", "INSERT INTO \"Orders\" (n) VALUES (1) RETURNING id"), "111");
    assert_eq!(ground.value("target", "SELECT last_value FROM customers_id_seq"), "2", "not chosen");
    ground.execute("target", "SELECT setval('\"Orders_id_seq\"', 4); DELETE FROM \"Orders\" WHERE id < 100");
    ground.restore_exactly(&header, &rows(&ground, &["Orders"], ExistingRows::Append));
    assert_eq!(ground.value("target", "SELECT nextval('\"Orders_id_seq\"')"), "11");
}

/// Somebody who writes into a table while rows are being added to it.
struct Writer<'g>(&'g Ground, Mutex<Option<String>>);

impl Monitor for Writer<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Phase { name: "foreign keys" } = event {
            let mut writer = self.0.connect("target");
            let statement = "SET lock_timeout = '100ms'; INSERT INTO \"Orders\" (id) VALUES (77)";
            let code = writer.execute(statement).err().and_then(|error| error.code().map(str::to_owned));
            *self.1.lock().expect("no panic") = Some(code.unwrap_or_default());
        }
    }
}

#[test]
fn nobody_writes_into_tables_while_rows_are_added_to_them() {
    let (ground, header) = in_use(18);
    ground.execute("target", "UPDATE \"Orders\" SET id = id + 100");
    let (repository, interrupt) = (ground.repository(), Interrupt::new());
    let options = rows(&ground, &["Orders"], ExistingRows::Append);
    let writer = Writer(&ground, Mutex::new(None));
    let prepared = restore::prepare(&repository, &header, &options, &interrupt);
    let report = prepared.and_then(|prepared| prepared.apply(&writer, &interrupt));
    drop(report.unwrap_or_else(|error| panic!("{}", told(&error))));
    assert_eq!(writer.1.into_inner().expect("no panic").as_deref(), Some("55P03"), "it waits for the lock");
    assert_eq!(ground.value("target", "SELECT count(*) FROM \"Orders\""), "20");
}

#[test]
fn values_for_a_column_that_is_computed_there_are_refused() {
    let (ground, header) = in_use(18);
    ground.execute(
        "target",
        "TRUNCATE \"Orders\"; ALTER TABLE \"Orders\" DROP n, ADD n smallint GENERATED ALWAYS AS (1) STORED",
    );
    let error = ground.restore(&header, &rows(&ground, &["Orders"], ExistingRows::Refuse));
    let error = error.expect_err("the restore is refused");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", told(&error));
    assert!(
        told(&error).contains("column n") && told(&error).contains("is generated there"),
        "{}",
        told(&error)
    );
}

#[test]
fn rows_that_refer_to_rows_that_are_gone_are_taken_back_by_name() {
    let (ground, header) = in_use(18);
    ground.execute(
        "target",
        "TRUNCATE \"Orders\"; DELETE FROM parted; DELETE FROM customers WHERE id IN (4, 5)",
    );
    let before = ground.dump("target");
    // A superuser silences the keys, so nobody but the check can notice.
    assert_eq!(ground.value("target", "SELECT current_setting('is_superuser')"), "on");
    let error = ground
        .restore(&header, &rows(&ground, &["Orders"], ExistingRows::Refuse))
        .expect_err("the restore is refused");
    let text = told(&error);
    assert!(
        text.contains("2 rows of table public.\"Orders\" violate foreign key \"Orders_customer_fkey\""),
        "{text}"
    );
    assert_same_dump(&ground.dump("target"), &before);
    ground.execute("target", "INSERT INTO customers (id) VALUES (4), (5)");
    ground.restore_exactly(&header, &rows(&ground, &["Orders"], ExistingRows::Refuse));
}

#[test]
fn columns_whose_values_cannot_fit_are_refused_and_doubtful_ones_are_noted() {
    let (ground, header) = in_use(18);
    ground.execute(
        "target",
        "TRUNCATE \"Orders\", parted, customers; ALTER TABLE customers DROP since, ADD since uuid; \
         ALTER TABLE customers ALTER name TYPE varchar(2), ADD later text DEFAULT 'new'",
    );
    let options = rows(&ground, &["customers"], ExistingRows::Refuse);
    let error = ground.restore(&header, &options).expect_err("the restore is refused");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        told(&error).contains("column since of table public.customers is of type uuid there and date"),
        "{}",
        told(&error)
    );
    ground.execute("target", "ALTER TABLE customers DROP since, ADD since text");
    let repository = ground.repository();
    let prepared = restore::prepare(&repository, &header, &options, &Interrupt::new());
    let notes = prepared.unwrap_or_else(|error| panic!("{}", told(&error))).plan().notes.join("\n");
    assert!(
        notes.contains("column name") && notes.contains("character varying(2)") && !notes.contains("since"),
        "{notes}"
    );
    let error = ground.restore(&header, &options).expect_err("the restore is refused");
    assert!(told(&error).contains("too long"), "{}", told(&error));
    assert_eq!(ground.value("target", "SELECT count(*) FROM customers"), "0");
    ground.execute("target", "ALTER TABLE customers ALTER name TYPE varchar(3)");
    ground.restore_exactly(&header, &RestoreOptions { checksums: false, ..options });
    assert_eq!(
        ground.value("target", "SELECT string_agg(DISTINCT later || since, '') FROM customers"),
        "new2026-01-01"
    );
}

//! Restores of some tables only: because the backup carries no more, or because no more was asked for.

use pgstow_core::ErrorKind;
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::repository::format::receipt::Outcome;
use pgstow_core::restore::{RestoreOptions, RestoreSelection};

use crate::ground::{Ground, assert_same_dump, told};

const SHOP: &str = "CREATE TYPE mood AS ENUM ('a'); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
     'BEGIN RETURN NEW; END'; CREATE ROLE reader; \
     CREATE TABLE customers (id serial PRIMARY KEY, m mood); \
     CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customers, m mood); \
     CREATE INDEX orders_m ON orders (m); CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f(); \
     CREATE VIEW recent AS SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer; \
     CREATE TABLE other (x int); GRANT SELECT ON orders TO reader; COMMENT ON TABLE orders IS 'orders'; \
     INSERT INTO customers (m) SELECT 'a' FROM generate_series(1, 10); \
     INSERT INTO orders (customer, m) SELECT g, 'a' FROM generate_series(1, 10) g; INSERT INTO other VALUES (1)";

fn tables(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn one_table_comes_back_with_its_needs_and_without_keys_to_others() {
    let ground = Ground::new(SHOP);
    let header = ground.back_up(Selection { tables: tables(&["orders"]), ..Selection::default() });
    let receipt =
        ground.restore(&header, &ground.options()).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(receipt.outcome, Outcome::Differs);
    assert!(receipt.lines.iter().all(|line| line.equal), "{receipt:#?}");
    assert_eq!(receipt.remarks.len(), 1, "{:#?}", receipt.remarks);
    assert!(receipt.remarks[0].contains("orders_customer_fkey on public.orders"), "{:#?}", receipt.remarks);
    let listed = ground.value(
        "target",
        "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class \
         WHERE relnamespace = 'public'::regnamespace",
    );
    assert_eq!(listed, "orders,orders_id_seq,orders_m,orders_pkey");
    assert_eq!(ground.value("target", "INSERT INTO orders (m) VALUES ('a') RETURNING id"), "11");
    assert_eq!(ground.value("target", "SELECT has_table_privilege('reader', 'orders', 'SELECT')"), "t");
    assert_eq!(ground.value("target", "SELECT obj_description('orders'::regclass)"), "orders");
}

#[test]
fn a_table_of_a_whole_backup_comes_back_as_one_of_a_backup_of_that_table() {
    let ground = Ground::new(SHOP);
    let whole = ground.back_up(Selection::default());
    let one = ground.back_up(Selection { tables: tables(&["orders"]), ..Selection::default() });
    let choose = |texts: &[&str]| RestoreOptions {
        selection: RestoreSelection { tables: tables(texts), ..RestoreSelection::default() },
        ..ground.options()
    };
    let error = ground.restore(&whole, &choose(&["orders", "public.costumers"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{}", told(&error));
    assert!(
        told(&error).contains("public.costumers") && told(&error).contains("public.customers"),
        "{error:?}"
    );
    assert_eq!(ground.value("target", "SELECT count(*) FROM pg_class WHERE relname = 'orders'"), "0");
    let asked =
        ground.restore(&whole, &choose(&["orders"])).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert!(asked.remarks[0].contains("table public.customers, which is neither chosen"), "{asked:#?}");
    let chosen = ground.dump("target");
    ground.execute("postgres", "DROP DATABASE target");
    ground.execute("postgres", "CREATE DATABASE target");
    let carried = ground.restore(&one, &ground.options()).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!((asked.outcome, &asked.lines), (carried.outcome, &carried.lines));
    assert_same_dump(&chosen, &ground.dump("target"));
}

#[test]
fn an_excluded_table_is_left_out_with_what_needs_it() {
    let ground = Ground::new(SHOP);
    let header = ground.back_up(Selection { exclude_tables: tables(&["customers"]), ..Selection::default() });
    let receipt =
        ground.restore(&header, &ground.options()).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert!(receipt.lines.iter().all(|line| line.equal), "{receipt:#?}");
    let remarks = receipt.remarks.join("\n");
    assert!(remarks.contains("view public.recent") && remarks.contains("orders_customer_fkey"), "{remarks}");
    assert_eq!(ground.value("target", "SELECT count(*) FROM orders, other"), "10");
    assert_eq!(ground.value("target", "SELECT to_regclass('customers')"), "");
}

#[test]
fn one_table_replaces_that_table_alone() {
    let ground = Ground::new(SHOP);
    let whole = ground.back_up(Selection::default());
    let header = ground.back_up(Selection { tables: tables(&["other"]), ..Selection::default() });
    ground.restore_exactly(&whole, &ground.options());
    ground
        .execute("target", "DELETE FROM other; DELETE FROM orders WHERE id > 5; ALTER TABLE other ADD y int");
    let options = RestoreOptions { clean: true, ..ground.options() };
    ground.restore(&header, &options).unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(ground.value("target", "SELECT count(*) FROM other"), "1");
    assert_eq!(ground.value("target", "SELECT count(*) FROM orders"), "5");
    assert_eq!(
        ground.value(
            "target",
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'other'::regclass AND attnum > 0"
        ),
        "1"
    );
}

#[test]
fn tables_whose_rows_were_excluded_come_back_empty() {
    let ground = Ground::new(SHOP);
    let header = ground.back_up(Selection { exclude_data: tables(&["other"]), ..Selection::default() });
    ground.restore_exactly(&header, &ground.options());
    assert_eq!(ground.value("target", "SELECT count(*) FROM other"), "0");
}

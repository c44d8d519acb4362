//! The tables that the writers work on.

use super::random::Random;

/// Rows of the largest table: at about 1 KB each some chunks.
pub(crate) const WIDE_ROWS: u64 = 36_000;
/// Rows of a table that is a chunk of its own, little more than 1 MiB.
pub(crate) const MEDIUM_ROWS: u64 = 1500;
/// Rows whose values of 256 KB lie in a TOAST table, more than a chunk together.
pub(crate) const TOASTED_ROWS: u64 = 80;
pub(crate) const MEDIUM_TABLES: u64 = 8;
pub(crate) const SMALL_TABLES: u64 = 12;
const SMALL_ROWS: u64 = 120;

/// Tables whose text depends on definitions that no lock of a backup holds still.
pub(crate) const SEEN_THROUGH_DEFINITIONS: [&str; 4] = ["enums", "composites", "row_types", "names"];

const OTHER_TABLES: [&str; 12] = [
    "enums",
    "composites",
    "row_types",
    "names",
    "kinds",
    "generated",
    "domains",
    "p",
    "swap_a",
    "swap_b",
    "fleeting",
    "loggable",
];

/// Statements that make the tables.
pub(crate) fn setup() -> String {
    let mut sql = String::from(
        "CREATE FUNCTION filler(g bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT pg_catalog.repeat(pg_catalog.md5(g::text), 30) $$;
         CREATE TYPE mood AS ENUM ('m0', 'm1', 'm2');
         CREATE TYPE pair AS (a int, b text);
         CREATE DOMAIN pair_domain AS pair;
         CREATE DOMAIN small_domain AS int;
         CREATE TABLE source (a int);
         CREATE TABLE wide (id int, v int, body text) WITH (fillfactor = 90);
         CREATE TABLE toasted (id int, v int, body text, filler char(2500) DEFAULT 'x');
         ALTER TABLE toasted ALTER body SET STORAGE EXTERNAL, ALTER filler SET STORAGE PLAIN;
         CREATE TABLE enums (id int, v int, m mood DEFAULT 'm0', ms mood[] DEFAULT '{m0,m1}');
         CREATE TABLE composites (id int, v int, c pair DEFAULT ROW(1, 'x'), d pair_domain DEFAULT ROW(2, 'y'), a pair[] DEFAULT ARRAY[ROW(3, 'z')::pair]);
         CREATE TABLE row_types (id int, v int, r source DEFAULT ROW(1));
         CREATE TABLE names (id int, v int, o regclass DEFAULT 'source');
         CREATE TABLE kinds (id int, v int, t timestamp DEFAULT '2024-02-29 12:00', n numeric(10, 2) DEFAULT 1.5, s varchar(20) DEFAULT 'x', o oid DEFAULT 1259, c cidr DEFAULT '10.1.2.3', i int DEFAULT 7);
         CREATE TABLE generated (id int, v int, g int GENERATED ALWAYS AS (v * 2) STORED);
         CREATE TABLE domains (id int, v int, d small_domain DEFAULT 5);
         CREATE TABLE p (id int, v int, body text) PARTITION BY RANGE (id);
         CREATE TABLE part_a PARTITION OF p FOR VALUES FROM (MINVALUE) TO (100);
         CREATE TABLE part_b PARTITION OF p FOR VALUES FROM (100) TO (200);
         CREATE TABLE part_rest PARTITION OF p DEFAULT;
         CREATE TABLE swap_a (id int, v int, body text); CREATE TABLE swap_b (id int, v int, body text);
         CREATE TABLE fleeting (id int, v int, body text); CREATE TABLE loggable (id int, v int, body text);
         CREATE TABLE roaming AS SELECT g AS id, 0 AS v FROM generate_series(1, 50) g;
         CREATE SEQUENCE serial;
         SELECT lo_from_bytea(g::oid, convert_to(filler(g), 'UTF8')) FROM generate_series(9001, 9005) g;",
    );
    let plain = |sql: &mut String, name: &str, rows: u64| {
        if !["wide", "toasted"].contains(&name) {
            sql.push_str(&format!("CREATE TABLE {name} (id int, v int, body text) WITH (fillfactor = 80);"));
        }
        sql.push_str(&format!("CREATE INDEX {name}_id ON {name} (id);"));
        sql.push_str(&format!(
            "INSERT INTO {name} (id, v, body) SELECT g, 0, filler(g) FROM generate_series(1, {rows}) g;"
        ));
    };
    plain(&mut sql, "wide", WIDE_ROWS);
    (0..MEDIUM_TABLES).for_each(|number| plain(&mut sql, &format!("medium_{number}"), MEDIUM_ROWS));
    (0..SMALL_TABLES).for_each(|number| plain(&mut sql, &format!("small_{number}"), SMALL_ROWS));
    sql.push_str("CREATE INDEX toasted_id ON toasted (id);");
    sql.push_str(&format!(
        "INSERT INTO toasted (id, v, body) SELECT g, 0, repeat(filler(g), 270) FROM generate_series(1, {TOASTED_ROWS}) g;"
    ));
    for name in OTHER_TABLES {
        sql.push_str(&format!("INSERT INTO {name} (id, v) SELECT g, 0 FROM generate_series(1, 250) g;"));
    }
    sql
}

/// A table and a range of its ids.
pub(crate) struct Place {
    pub(crate) table: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Place {
    pub(crate) fn condition(&self) -> String {
        format!("id BETWEEN {} AND {}", self.first, self.last)
    }

    /// Statement that inserts so many rows; the columns that all tables have.
    pub(crate) fn insert(&self, rows: u64, value: u64) -> String {
        format!(
            "INSERT INTO {} (id, v) SELECT {} + g, {value} FROM generate_series(1, {rows}) g",
            self.table, self.first
        )
    }
}

/// Small tables often, large ones now and then.
pub(crate) fn any_place(random: &mut Random) -> Place {
    let (table, rows) = match random.below(100) {
        0..10 => ("wide".to_owned(), WIDE_ROWS),
        10..13 => ("toasted".to_owned(), TOASTED_ROWS),
        13..30 => return plain_place(random),
        30..60 => (format!("small_{}", random.below(SMALL_TABLES)), SMALL_ROWS),
        _ => ((*random.pick(&OTHER_TABLES)).to_owned(), 250),
    };
    range(random, table, rows)
}

/// A table with the columns id, v and body, of moderate size, with an index `<table>_id`.
pub(crate) fn plain_place(random: &mut Random) -> Place {
    // Half of the medium tables are left alone most of the time.
    let number =
        if random.percent(85) { random.below(MEDIUM_TABLES / 2) } else { random.below(MEDIUM_TABLES) };
    if random.percent(50) {
        range(random, format!("medium_{number}"), MEDIUM_ROWS)
    } else {
        let number = random.below(SMALL_TABLES);
        range(random, format!("small_{number}"), SMALL_ROWS)
    }
}

fn range(random: &mut Random, table: String, rows: u64) -> Place {
    let first = 1 + random.below(rows);
    Place { table, first, last: first + random.below(20) }
}

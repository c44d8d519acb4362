//! Differences of rows against what the server says of the same tables.

use std::hash::{BuildHasher, Hasher};

use pgstow_core::diff::{self, DiffOptions, DiffReport, KeyKind, RowOptions, RowReport, State};
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::{Error, ErrorKind};

use crate::ground::{Ground, told};

/// Tables with keys of each kind, names of each kind and rows that are hard to write as text.
const TABLES: &str = r#"
CREATE SCHEMA "odd ""s""";
CREATE TABLE "odd ""s"""."T.a b" ("Id" bigint, "part ""k""" text, "te	xt" text, n numeric, at timestamptz, raw bytea,
    twice numeric GENERATED ALWAYS AS (n * 2) STORED, PRIMARY KEY ("Id", "part ""k"""));
INSERT INTO "odd ""s"""."T.a b" SELECT g % 700, 'p' || g / 700, CASE g % 5 WHEN 0 THEN NULL WHEN 1 THEN E'tab\t\\N new\nline\\'
    WHEN 2 THEN '' ELSE repeat('é', g % 90) END, CASE WHEN g % 7 > 0 THEN g / 3.0 END, now() + g * interval '1 min',
    decode(md5(g::text), 'hex') FROM generate_series(1, 4000) g;
CREATE TABLE nokey (a int, b text);
INSERT INTO nokey SELECT g % 40, CASE WHEN g % 3 > 0 THEN 'v' || g % 5 END FROM generate_series(1, 3000) g;
CREATE TABLE parts (k int PRIMARY KEY, v text) PARTITION BY HASH (k);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_1 (v text, gone int, k int NOT NULL);
ALTER TABLE parts_1 DROP COLUMN gone;
ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts SELECT g, 'v' || g FROM generate_series(1, 3000) g;
"#;

/// A table as patterns name it and as SQL does, the columns of its key, and those of all of it.
const CASES: &[(&str, &str, &[&str], &[&str])] = &[
    (
        r#""odd ""s"""."T.a b""#,
        r#""odd ""s"""."T.a b""#,
        &[r#""Id""#, r#""part ""k""""#],
        &[r#""Id""#, r#""part ""k""""#, "\"te\txt\"", "n", "at", "raw"],
    ),
    ("public.nokey", "nokey", &["a", "b"], &["a", "b"]),
    ("public.parts", "parts", &["k"], &["k", "v"]),
];

fn random_seed() -> f64 {
    let number = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (number % 1_000_000) as f64 / 1_000_000.0
}

/// Changes every table at random.
fn change(ground: &Ground, seed: f64) {
    ground.execute(
        "source",
        &format!(
            r#"SELECT setseed({seed});
DELETE FROM "odd ""s"""."T.a b" WHERE random() < 0.03;
UPDATE "odd ""s"""."T.a b" SET "te	xt" = CASE WHEN random() < 0.3 THEN NULL ELSE 'changed ' || "Id" END WHERE random() < 0.03;
UPDATE "odd ""s"""."T.a b" SET n = n + 1, raw = NULL WHERE random() < 0.02;
UPDATE "odd ""s"""."T.a b" SET n = n WHERE random() < 0.3;
INSERT INTO "odd ""s"""."T.a b" SELECT g + 100000, E'new\t', 'x' FROM generate_series(1, 30) g WHERE random() < 0.5;
DELETE FROM nokey WHERE random() < 0.05;
UPDATE nokey SET b = 'other' WHERE random() < 0.02;
INSERT INTO nokey SELECT a, b FROM nokey WHERE random() < 0.03;
DELETE FROM parts WHERE random() < 0.05;
UPDATE parts SET v = 'changed' WHERE random() < 0.05;
INSERT INTO parts SELECT g, 'new' FROM generate_series(5000, 5050) g WHERE random() < 0.7;"#
        ),
    );
}

pub(crate) fn compare(
    ground: &Ground,
    before: &Header,
    after: State,
    options: &RowOptions,
    table: &str,
) -> Result<DiffReport, Error> {
    let options = DiffOptions {
        before: State::Backup(Box::new(before.clone())),
        after,
        tables: vec![table.to_owned()],
        counts: true,
        rows: Some(options.clone()),
    };
    diff::run(&ground.repository(), &options, &Silent, &Interrupt::new())
}

fn options(key: &[&str], limit: usize) -> RowOptions {
    let key = key.iter().map(|&column| column.to_owned()).collect();
    RowOptions { key, limit, trusted_for: None, spool: std::env::temp_dir() }
}

fn rows_of(ground: &Ground, before: &Header, after: State, table: &str) -> RowReport {
    let report = compare(ground, before, after, &options(&[], 100_000), table);
    let mut report = report.unwrap_or_else(|error| panic!("{table}: {}", told(&error)));
    assert_eq!(report.rows_compared.len(), 1, "{table}");
    report.rows_compared.remove(0)
}

fn live(ground: &Ground) -> State {
    State::Live(Box::new(ground.settings("source")))
}

/// The keys of rows, sorted, as the server writes them as text.
fn listed(keys: impl Iterator<Item = Vec<Option<String>>>) -> Vec<String> {
    let mut keys: Vec<String> = keys
        .map(|key| {
            key.into_iter()
                .map(|value| value.unwrap_or_else(|| "NULL".to_owned()))
                .collect::<Vec<_>>()
                .join("|")
        })
        .collect();
    keys.sort();
    keys
}

/// What the server says differs: keys of rows removed, added and changed.
fn expected(
    ground: &Ground,
    (_, table, key, columns): (&str, &str, &[&str], &[&str]),
    seed: f64,
) -> [Vec<String>; 3] {
    let key_text: Vec<String> =
        key.iter().map(|column| format!("coalesce({column}::text, 'NULL')")).collect();
    let key_text = key_text.join(" || '|' || ");
    let old = format!("oracle.{}", if table.contains('"') { "odd" } else { table });
    let (key, columns) = (key.join(", "), columns.join(", "));
    let lines = |query: String| -> Vec<String> {
        let mut connection = ground.connect("source");
        let rows = connection.query(&query).unwrap_or_else(|error| panic!("seed {seed}: {error:?}: {query}"));
        let mut lines: Vec<String> = rows.iter().map(|row| row.get(0).expect("text")).collect();
        lines.sort();
        lines
    };
    if columns == key {
        // Whole rows, as often as they are there.
        let only = |one: &str, other: &str| {
            lines(format!(
                "SELECT {key_text} FROM (SELECT {columns} FROM {one} EXCEPT ALL SELECT {columns} FROM {other}) d"
            ))
        };
        return [only(&old, table), only(table, &old), Vec::new()];
    }
    let only = |one: &str, other: &str| {
        lines(format!(
            "SELECT {key_text} FROM {one} WHERE ({key}) IN (SELECT {key} FROM {one} EXCEPT SELECT {key} FROM {other})"
        ))
    };
    let changed = lines(format!(
        "SELECT {key_text} FROM (SELECT {columns} FROM {old} EXCEPT SELECT {columns} FROM {table}) d \
         WHERE ({key}) IN (SELECT {key} FROM {table})"
    ));
    [only(&old, table), only(table, &old), changed]
}

fn check(report: &RowReport, expected: &[Vec<String>; 3], context: &str) {
    let values = |cells: &[diff::Cell]| cells.iter().map(|cell| cell.value.clone()).collect::<Vec<_>>();
    let whole = report.key_kind == KeyKind::WholeRow;
    let key = |row: &diff::ShownRow| if whole { values(&row.values) } else { values(&row.key) };
    let [removed, added, changed] = expected;
    let numbers = (report.removed, report.added, report.changed);
    let sizes = (removed.len() as u64, added.len() as u64, changed.len() as u64);
    assert_eq!(numbers, sizes, "{context}: {} removed, added, changed", report.table);
    let distinct = |list: &[String]| {
        let mut list = list.to_vec();
        list.dedup();
        list
    };
    // Of equal rows one is shown.
    assert_eq!(
        listed(report.removed_rows.iter().map(key)),
        distinct(removed),
        "{context}: {} removed",
        report.table
    );
    assert_eq!(
        listed(report.added_rows.iter().map(key)),
        distinct(added),
        "{context}: {} added",
        report.table
    );
    assert_eq!(
        listed(report.changed_rows.iter().map(|row| values(&row.key))),
        *changed,
        "{context}: {} changed",
        report.table
    );
    for row in &report.changed_rows {
        assert!(!row.before.is_empty() && row.before != row.after, "{context}: {row:?}");
    }
}

#[test]
fn rows_differ_as_the_server_says_between_backups_and_against_the_live_table() {
    let ground = Ground::new(TABLES);
    ground.execute(
        "source",
        r#"CREATE SCHEMA oracle; CREATE TABLE oracle.odd AS TABLE "odd ""s"""."T.a b";
           CREATE TABLE oracle.nokey AS TABLE nokey; CREATE TABLE oracle.parts AS TABLE parts"#,
    );
    let before = ground.back_up(Selection::default());
    for case in CASES {
        let report = rows_of(&ground, &before, live(&ground), case.0);
        assert!(report.is_equal() && report.rows_before > 2_000, "{report:?}");
    }
    let seed = random_seed();
    change(&ground, seed);
    let after = ground.back_up(Selection::default());
    for case in CASES {
        let expected = expected(&ground, *case, seed);
        assert!(expected.iter().take(2).all(|list| !list.is_empty()), "seed {seed}: nothing changed");
        let against_live = rows_of(&ground, &before, live(&ground), case.0);
        check(&against_live, &expected, &format!("seed {seed}, live"));
        let between = rows_of(&ground, &before, State::Backup(Box::new(after.clone())), case.0);
        check(&between, &expected, &format!("seed {seed}, backups"));
        // Few rows shown, all of them counted, the first of the table.
        let few = compare(&ground, &before, live(&ground), &options(&[], 2), case.0).expect("a report");
        let few = &few.rows_compared[0];
        assert_eq!((few.removed, few.removed_rows.len()), (expected[0].len() as u64, 2));
        assert_eq!(few.removed_rows, against_live.removed_rows[..2]);
    }
}

#[test]
fn chunks_that_both_backups_have_are_not_read() {
    let ground = Ground::new(
        "CREATE TABLE large (id int PRIMARY KEY, body text); \
         INSERT INTO large SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 45000) g",
    );
    let before = ground.back_up(Selection::default());
    ground.execute("source", "DELETE FROM large WHERE id = 7; UPDATE large SET body = 'x' WHERE id = 8");
    let after = ground.back_up(Selection::default());
    let chunks = &ground.manifest(&before).tables[0].chunks;
    assert!(chunks.len() > 2, "{chunks:?}");
    // Any chunk but the first and the last is in both: without its object the comparison works.
    let manifest = ground.manifest(&before);
    let middle = &manifest.objects[chunks[1].object as usize];
    let name = middle.id.to_string();
    let path = ground.folder_path().join("objects").join(&name[..2]).join(format!("{name}.zst"));
    std::fs::remove_file(path).expect("the object is there");
    let report = rows_of(&ground, &before, State::Backup(Box::new(after)), "large");
    assert_eq!((report.removed, report.added, report.changed), (1, 0, 1));
    assert!(report.rows_not_read > 10_000, "{report:?}");
    assert_eq!((report.rows_before, report.rows_after), (45_000, 44_999));
    let error =
        compare(&ground, &before, live(&ground), &options(&[], 5), "large").expect_err("a missing object");
    assert!(error.in_one_line().contains(&name), "{}", told(&error));
}

#[test]
fn columns_that_only_one_state_has_are_left_out_and_told() {
    let ground = Ground::new(
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a', 'b')",
    );
    let before = ground.back_up(Selection::default());
    ground.execute(
        "source",
        "ALTER TABLE t DROP COLUMN a, ADD COLUMN c int DEFAULT 5, ALTER COLUMN id TYPE bigint",
    );
    let report = rows_of(&ground, &before, live(&ground), "t");
    assert_eq!((report.removed, report.added, report.changed), (0, 0, 0));
    assert_eq!(report.column_remarks.len(), 3, "{:?}", report.column_remarks);
    assert!(!report.is_equal());
    let error = compare(&ground, &before, live(&ground), &options(&["a"], 5), "t").expect_err("no such key");
    assert_eq!(error.kind(), ErrorKind::Usage);
    let by_value = compare(&ground, &before, live(&ground), &options(&["b"], 5), "t").expect("a report");
    assert_eq!(by_value.rows_compared[0].key_kind, KeyKind::Asked);
}

#[test]
fn row_level_security_never_passes_for_missing_rows() {
    let ground = Ground::new(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); ALTER TABLE t ENABLE ROW LEVEL SECURITY; \
         CREATE ROLE clerk LOGIN; GRANT SELECT ON t TO clerk; CREATE POLICY p ON t USING (id = 1)",
    );
    let before = ground.back_up(Selection::default());
    let mut settings = ground.settings("source");
    settings.user = "clerk".to_owned();
    let state = State::Live(Box::new(settings));
    let error = compare(&ground, &before, state, &options(&[], 5), "t").expect_err("hidden rows");
    assert_eq!(error.kind(), ErrorKind::Refused, "{}", told(&error));
    assert!(error.message().contains("row-level security"), "{}", told(&error));
}

//! What differs, and rows that are gone put back, as users do it: a million rows in an encrypted
//! repository.

use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::{Workspace, files_below};

/// What a run may take at most.
const LIMIT_BYTES: u64 = 256 * 1024 * 1024;

fn json(stdout: &str) -> serde_json::Value {
    serde_json::from_str(stdout).expect("one JSON object")
}

#[test]
fn forty_of_a_million_rows_come_back_by_one_command() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("orders");
    source.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY, note text);
         INSERT INTO orders SELECT n, 'note-' || n FROM generate_series(1, 1000000) AS n",
    );
    let sums = "SELECT count(*), sum(hashtextextended(id || note, 0)) FROM orders";
    let before = source.value(sums);
    let mut workspace = Workspace::with_source(&source);
    workspace.run(&["key", "new", "--output", "key.txt"]).succeeded();
    workspace.set("PGSTOW_IDENTITY_FILE", "key.txt");
    let key = std::fs::read_to_string(workspace.path().join("key.txt")).expect("a key");
    let public = key.split_whitespace().find(|word| word.starts_with("age1")).expect("a public key");
    workspace.run(&["init", "--encrypt-to", public]).succeeded();
    let backup = workspace.backup(&[]);
    source.run("DELETE FROM orders WHERE id % 25000 = 7");

    let lost = workspace.run(&["diff", &backup, "--table", "orders", "--rows", "--json"]).ended_with(3);
    let report = json(&lost.stdout);
    let rows = &report["rows_compared"][0];
    assert_eq!(
        (rows["removed"].as_u64(), rows["added"].as_u64(), rows["changed"].as_u64()),
        (Some(40), Some(0), Some(0))
    );
    assert_eq!(rows["removed_rows"][0]["key"][0]["value"], "7");
    assert!(lost.peak_memory_bytes <= LIMIT_BYTES, "diff took {} bytes", lost.peak_memory_bytes);

    let arguments = ["restore", "prod@latest", "--to", "prod", "--table", "orders", "--only-missing"];
    let asked = workspace.run(&arguments).ended_with(4);
    asked.saying(&["40 of 1,000,000 rows of public.orders", "--yes=prod", "nothing was changed"]);
    let restored = workspace.run(&[&arguments[..], &["--yes=prod"]].concat()).succeeded();
    assert!(restored.peak_memory_bytes <= LIMIT_BYTES, "restore took {} bytes", restored.peak_memory_bytes);
    restored.saying(&[
        "public.orders: 40 of 1,000,000 rows were missing and are back; 999,960 before, 1,000,000 now",
    ]);
    assert_eq!(source.value(sums), before);
    workspace.run(&["audit"]).succeeded().saying(&["restore"]);
    assert_eq!(files_below(&workspace.temporary()), [], "temporary files were left");
    source.drop_database();
}

#[test]
fn what_differs_is_told_and_the_exit_code_says_whether() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("told");
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 50) n;
         CREATE VIEW w AS SELECT id FROM t WHERE id > 1; CREATE TABLE gone (id int PRIMARY KEY, note text)",
    );
    let workspace = Workspace::with_source(&source);
    let first = workspace.backup(&["--label", "first"]);
    workspace
        .run(&["diff", "latest"])
        .succeeded()
        .saying(&["nothing differs", "2 tables with equal numbers of rows"]);
    workspace.run(&["diff", "latest", "latest"]).succeeded().saying(&["proven by their objects"]);
    source.run(
        "CREATE OR REPLACE VIEW w AS SELECT id FROM t WHERE id > 2; DELETE FROM t WHERE id = 3; DROP TABLE gone;
         UPDATE t SET v = E'\\x1b[31mred' WHERE id = 9",
    );
    let live = workspace.run(&["diff", "prod@first", "live:prod"]).ended_with(3);
    assert!(!live.stdout.contains('\u{1b}'), "{}", live.stdout);
    live.saying(&[
        "- table public.gone  with 2 columns, 1 constraint",
        "~ view public.w",
        "-  WHERE (t.id > 1);",
        "+  WHERE (t.id > 2);",
        "public.t      50     49          -1",
    ]);
    let second = workspace.backup(&[]);
    let rows = workspace.run(&["diff", &first, &second, "--table", "t", "--rows"]).ended_with(3);
    assert!(!rows.stdout.contains('\u{1b}'), "{}", rows.stdout);
    rows.saying(&["1 removed, 0 added, 1 changed", "- id=3  v=v3", "v: v9 → "]);
    let report = json(&workspace.run(&["diff", &first, &second, "--json"]).ended_with(3).stdout);
    assert_eq!(report["equal"], false);
    assert_eq!(report["row_counts"][0]["table"], "public.t");
    workspace.run(&["diff", "latest", "--table", "nothing"]).ended_with(2).saying(&["no table matches"]);
    workspace.run(&["diff", "latest", "live:elsewhere"]).ended_with(5);
    workspace
        .run(&["diff", &first, "--table", "gone", "--rows"])
        .ended_with(2)
        .saying(&["public.gone is not in"]);
    workspace
        .run(&["restore", "latest", "--to", "prod", "--only-missing"])
        .ended_with(2)
        .saying(&["--table"]);
    source.drop_database();
}

/// What is changed, what is said of it, and what takes it back.
const KINDS: [(&str, &[&str], &str); 11] = [
    ("ALTER TABLE t ALTER v SET DEFAULT 'x'", &["~ column public.t.v"], "ALTER TABLE t ALTER v DROP DEFAULT"),
    (
        "ALTER TABLE t OWNER TO diff_owner",
        &["public.t", "owner postgres → diff_owner"],
        "ALTER TABLE t OWNER TO postgres",
    ),
    (
        "GRANT UPDATE ON t TO diff_reader",
        &["diff_reader gained UPDATE on table public.t"],
        "REVOKE UPDATE ON t FROM diff_reader",
    ),
    (
        "REVOKE SELECT ON t FROM diff_reader",
        &["diff_reader lost SELECT on table public.t"],
        "GRANT SELECT ON t TO diff_reader",
    ),
    ("INSERT INTO t VALUES (100)", &["public.t      50     51          +1"], "DELETE FROM t WHERE id = 100"),
    ("SELECT setval('s', 5)", &["~ sequence public.s"], "SELECT setval('s', 1)"),
    ("SELECT setval('s', 1, false)", &["~ sequence public.s"], "SELECT setval('s', 1)"),
    ("ALTER ROLE diff_reader CREATEDB", &["~ role diff_reader"], "ALTER ROLE diff_reader NOCREATEDB"),
    ("CREATE INDEX more ON t (v)", &["+ index public.more"], "DROP INDEX more"),
    ("COMMENT ON TABLE t IS 'other'", &["~ comment"], "COMMENT ON TABLE t IS 'this'"),
    ("ALTER TABLE t ADD CHECK (id > 0)", &["+ constraint"], "ALTER TABLE t DROP CONSTRAINT t_id_check"),
];

#[test]
fn each_kind_of_difference_is_told_by_itself() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("kinds");
    source.run(
        "CREATE ROLE diff_owner; CREATE ROLE diff_reader; GRANT CREATE ON SCHEMA public TO diff_owner;
         CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'v' FROM generate_series(1, 50) n;
         GRANT SELECT ON t TO diff_reader; CREATE SEQUENCE s; SELECT nextval('s'); COMMENT ON TABLE t IS 'this';
         CREATE EXTENSION hstore VERSION '1.4'; SELECT lo_from_bytea(77, 'large')",
    );
    let workspace = Workspace::with_source(&source);
    let first = workspace.backup(&["--label", "first"]);
    let setting = format!("ALTER DATABASE {}", source.name);
    let (set, reset) = (format!("{setting} SET work_mem = '8MB'"), format!("{setting} RESET work_mem"));
    let more: [(&str, &[&str], &str); 1] = [(&set, &["~ setting work_mem"], &reset)];
    for (change, said, back) in KINDS.iter().chain(&more) {
        source.run(change);
        workspace.run(&["diff", "latest"]).ended_with(3).saying(said);
        source.run(back);
        workspace.run(&["diff", "latest"]).succeeded().saying(&["nothing differs"]);
    }
    source.run("ALTER EXTENSION hstore UPDATE TO '1.5'");
    workspace.run(&["diff", "latest"]).ended_with(3).saying(&["~ extension hstore  version 1.4 → 1.5"]);

    // As many rows and large objects as before, and other ones.
    source.run("UPDATE t SET v = 'w' WHERE id = 9; SELECT lo_put(77, 0, 'L')");
    let second = workspace.backup(&[]);
    let between = workspace.run(&["diff", &first, &second]).ended_with(3);
    between.saying(&["? rows of public.t", "? rows of large objects"]);
    source.drop_database();
}

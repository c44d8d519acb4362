//! `pgstow verify --drill` as users run it.

mod given;
mod life;
mod outward;

use serde_json::Value;

use crate::support::fixture::{EVERYTHING, for_major};
use crate::support::program::Outcome;
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::{Workspace, files_below};

const ORDERS: &str = "
CREATE TABLE orders (id bigint PRIMARY KEY, body text);
INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(1, 20000) AS n;
CREATE TABLE customers AS SELECT n, 'customer ' || n AS name FROM generate_series(1, 50) AS n;
";

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON object")
}

/// A source with orders, and a workspace that has its server's programs.
fn orders() -> (Database, Workspace) {
    let source = servers::shared(DEFAULT_MAJOR).database("orders");
    source.run(ORDERS);
    let mut workspace = Workspace::with_source(&source);
    workspace.servers_of(DEFAULT_MAJOR);
    (source, workspace)
}

/// What `list --json` says of the only backup.
fn listed(workspace: &Workspace) -> Value {
    json(&workspace.run(&["list", "--json"]).succeeded().stdout)["backups"][0].clone()
}

/// Stops the test unless a drill left nothing behind.
#[track_caller]
fn assert_nothing_left(workspace: &Workspace) {
    assert_eq!(files_below(&workspace.temporary()), [], "files are left");
}

fn everything_is_proven(major: u32) {
    let source = servers::shared(major).database("everything");
    source.run(&for_major(EVERYTHING, major));
    let mut workspace = Workspace::with_source(&source);
    workspace.servers_of(major);
    let backup = workspace.backup(&[]);
    let outcome = workspace.run(&["verify", &backup, "--drill", "--json", "--jobs", "3"]).succeeded();
    let report = json(&outcome.stdout);
    assert_eq!(report["proven"], true);
    assert_eq!(report["receipt"]["checksums"], true);
    assert_eq!(report["receipt"]["remarks"], json("[]"));
    let drill = &report["receipt"]["drill"];
    assert!(drill["server_version"].as_str().expect("a version").starts_with(&major.to_string()), "{drill}");
    assert!(drill["rows"].as_u64() > Some(100), "{drill}");
    assert!(drill["restore_seconds"].as_f64() > Some(0.0) && report["rows_per_second"].is_f64(), "{drill}");
    let left: Vec<&str> = drill["exceptions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|left| left["what"].as_str())
        .collect();
    assert_eq!(left.len(), 2, "only the user mappings are left out: {left:?}");
    assert!(left.iter().all(|what| what.contains("user mapping")), "{left:?}");
    assert_nothing_left(&workspace);
}

#[test]
fn everything_of_13_is_proven() {
    everything_is_proven(13);
}

#[test]
fn everything_of_18_is_proven() {
    everything_is_proven(18);
}

#[test]
fn list_show_verify_and_audit_tell_of_drills() {
    let (_source, workspace) = orders();
    let backup = workspace.backup(&[]);
    workspace.run(&["list"]).succeeded().saying(&["never"]);
    assert_eq!(listed(&workspace)["proven_at"], Value::Null);
    let drill = workspace.run(&["verify", "latest", "--drill"]).succeeded();
    drill.saying(&["is proven: everything is equal, contents too", "20,050 rows", "rows of public.orders"]);
    let proven = listed(&workspace);
    assert!(proven["proven_at"].is_string() && proven["proven_by_drill"] == true, "{proven}");
    assert_eq!(proven["drill_failed_at"], Value::Null);
    workspace.run(&["list"]).succeeded().saying(&["just now  "]);
    workspace.run(&["show", &backup]).succeeded().saying(&["drill", ": proven, "]);
    workspace.run(&["verify", &backup]).succeeded().saying(&["1 recorded; last drill at", ": proven"]);
    workspace.run(&["audit"]).succeeded().saying(&["drill", "a disposable server"]);

    // A drill that fails afterwards counts more than the one before.
    workspace.configure("[[env.prod.check]]\nname = 'never'\nsql = 'SELECT 1'\nexpect = 2\n");
    workspace.run(&["verify", "latest", "--drill"]).ended_with(3).saying(&["1, expected 2", "failed never"]);
    let failed = listed(&workspace);
    assert!(failed["proven_at"].is_string() && failed["drill_failed_at"].is_string(), "{failed}");
    workspace.run(&["list"]).succeeded().saying(&["failed just now"]);
    workspace
        .run(&["show", &backup])
        .succeeded()
        .saying(&["not proven", "check never failed: 1, expected 2"]);
    workspace.run(&["verify", &backup]).ended_with(3).saying(&["last drill at", "not proven"]);
}

#[test]
fn a_damaged_object_fails_the_drill_and_is_named() {
    let (_source, workspace) = orders();
    let backup = workspace.backup(&[]);
    let objects = files_below(&workspace.repository().join("objects"));
    let (largest, _) = objects.iter().max_by_key(|(_, bytes)| *bytes).expect("an object");
    let mut bytes = std::fs::read(largest).expect("an object");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(largest, bytes).expect("a damaged object");
    let name = largest.file_stem().expect("a name").to_string_lossy().into_owned();
    let name = name.trim_end_matches(".zst").to_owned();
    workspace.run(&["verify", &backup, "--drill"]).ended_with(3).saying(&[
        "is not proven",
        &name,
        "rows of public.orders",
    ]);
    let failed = listed(&workspace);
    assert!(failed["drill_failed_at"].is_string() && failed["proven_at"] == Value::Null, "{failed}");
    workspace.run(&["show", &backup]).succeeded().saying(&["not proven", &name]);
    assert_nothing_left(&workspace);
}

fn checked(workspace: &Workspace, checks: &str) -> Outcome {
    workspace.configure(checks);
    workspace.run(&["verify", "latest", "--drill", "--json"])
}

#[test]
fn the_users_checks_decide_too() {
    let (source, workspace) = orders();
    source.run("CREATE SEQUENCE numbers");
    workspace.configure("");
    workspace.backup(&[]);
    let good = "
[[env.prod.check]]
name = 'as many orders'
sql = 'SELECT count(*) FROM orders;'
expect = 20000
[[env.prod.check]]
name = 'a lot of them'
sql = 'SELECT count(*) FROM orders'
expect_min = 19999.5
[[env.prod.check]]
name = 'every customer'
sql = 'SELECT * FROM customers'
expect_rows = 50
";
    let report = json(&checked(&workspace, good).succeeded().stdout);
    let results = report["receipt"]["drill"]["checks"].as_array().expect("a list").clone();
    assert!(results.len() == 3 && results.iter().all(|check| check["passed"] == true), "{results:?}");

    let bad = "
[[env.prod.check]]
name = 'writes'
sql = 'WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) FROM gone'
expect = 20000
[[env.prod.check]]
name = 'two statements'
sql = 'SELECT 1; SELECT 1'
expect = 1
[[env.prod.check]]
name = 'too slow'
sql = 'SELECT 1 FROM pg_sleep(3600)'
expect = 1
timeout = '100ms'
[[env.prod.check]]
name = 'two rows'
sql = 'SELECT n FROM customers LIMIT 2'
expect = 1
[[env.prod.check]]
name = 'one row too few'
sql = 'SELECT 1 FROM customers'
expect_rows = 51
[[env.prod.check]]
name = 'still works'
sql = 'SELECT count(*) FROM orders'
expect = '20000'
[[env.prod.check]]
name = 'writes by a function'
sql = '''SELECT setval('numbers', 7)'''
expect = 7
[[env.prod.check]]
name = 'nothing'
sql = 'SELECT max(n) FROM customers WHERE false'
expect = ''
";
    let outcome = checked(&workspace, bad).ended_with(3);
    let report = json(&outcome.stdout);
    assert_eq!(report["proven"], false);
    assert_eq!(report["receipt"]["outcome"], "differs");
    let results = report["receipt"]["drill"]["checks"].as_array().expect("a list").clone();
    let found = |index: usize| results[index]["found"].as_str().expect("what was found").to_owned();
    assert_eq!(results.iter().filter(|check| check["passed"] == true).count(), 1, "{results:?}");
    assert_eq!(results[5]["passed"], true, "{results:?}");
    assert!(found(0).starts_with("cannot be run"), "{}", found(0));
    assert!(found(1).contains("multiple commands"), "{}", found(1));
    assert!(found(2).contains("statement timeout"), "{}", found(2));
    assert!(found(6).starts_with("cannot be run"), "{}", found(6));
    assert_eq!(found(7), "NULL");
    assert_eq!((found(3), found(4)), ("more than one row".to_owned(), "50 rows".to_owned()));
}

#[test]
fn an_extension_that_is_not_there_is_foreseen_with_what_needs_it() {
    let server = std::sync::Arc::new(servers::Server::start_with(DEFAULT_MAJOR, |options| {
        options.binaries = Some(servers::programs("supabase-15"));
    }));
    let source = server.database("vaulted");
    source.run(
        "CREATE TABLE plain AS SELECT 1 AS n; CREATE EXTENSION supabase_vault CASCADE; \
                CREATE TABLE kept (id bigint PRIMARY KEY, of_type vault.secrets); \
                CREATE VIEW names AS SELECT id FROM kept; COMMENT ON COLUMN kept.id IS 'a comment'; \
                CREATE INDEX kept_again ON kept (id); GRANT SELECT ON kept TO PUBLIC",
    );
    let mut workspace = Workspace::with_source(&source);
    workspace.servers_of(DEFAULT_MAJOR);
    let backup = workspace.backup(&[]);
    workspace.run(&["verify", &backup, "--drill"]).ended_with(4).saying(&[
        "the drill cannot have extension supabase_vault",
        "table public.kept",
        "--drill-without supabase_vault",
        "--drill-target URL",
    ]);
    assert_eq!(listed(&workspace)["drill_failed_at"], Value::Null, "the backup is not to blame");
    workspace
        .run(&["verify", &backup, "--drill", "--drill-without", "hstore"])
        .ended_with(4)
        .saying(&["the backup has no extension hstore", "supabase_vault"]);
    let outcome =
        workspace.run(&["verify", &backup, "--drill", "--drill-without", "supabase_vault"]).succeeded();
    outcome.saying(&["table public.kept", "view public.names", "rows of public.plain", "is proven but for"]);
    assert!(listed(&workspace)["proven_except"].as_u64() >= Some(3));
    workspace.run(&["list"]).succeeded().saying(&["just now, but for"]);
    assert_nothing_left(&workspace);
}

#[test]
fn parts_of_a_database_are_drilled_if_they_hold_definitions() {
    let (_source, workspace) = orders();
    let rows = workspace.backup(&["--data-only"]);
    workspace.run(&["verify", &rows, "--drill"]).ended_with(4).saying(&["holds rows only"]);
    let definitions = workspace.backup(&["--schema-only"]);
    workspace.run(&["verify", &definitions, "--drill"]).succeeded().saying(&["is proven"]);
    let table = workspace.backup(&["--table", "customers"]);
    workspace.run(&["verify", &table, "--drill"]).succeeded().saying(&["rows of public.customers"]);
}

#[test]
fn a_drill_without_a_key_or_with_nothing_suitable_is_refused() {
    let (source, mut workspace) = orders();
    let key = workspace.temporary().join("key.txt");
    let file = key.to_str().expect("UTF-8");
    let public = workspace.run(&["key", "new", "--output", file, "--quiet"]).succeeded().stdout;
    workspace.run(&["init", "--encrypt-to", public.trim()]).succeeded();
    workspace.environment("PROD", &source.url());
    let backup = workspace.backup(&[]);
    workspace.run(&["verify", &backup, "--drill"]).ended_with(7);
    workspace.run(&["verify", &backup, "--drill", "--identity", file]).succeeded().saying(&["is proven"]);
    workspace.run(&["list", "--identity", file]).succeeded().saying(&["just now  "]);
    workspace.run(&["list"]).succeeded().saying(&["no key"]);
    for arguments in
        [vec!["--all", "--drill"], vec![&backup, "--drill-target", "x"], vec![&backup, "--jobs", "2"]]
    {
        let all: Vec<&str> = ["verify"].iter().chain(&arguments).copied().collect();
        workspace.run(&all).ended_with(2);
    }
    let arguments = ["verify", &backup, "--drill", "--identity", file, "--drill-folder", "/no/such/folder"];
    workspace.run(&arguments).ended_with(1).saying(&["/no/such/folder", "--drill-folder"]);
}

#[test]
fn a_receipt_that_cannot_be_stored_is_told_and_fails_nothing() {
    let (_source, workspace) = orders();
    let backup = workspace.backup(&[]);
    // Nothing can be stored in a file.
    std::fs::write(workspace.repository().join("receipts"), "").expect("a file");
    workspace
        .run(&["verify", &backup, "--drill"])
        .succeeded()
        .saying(&["the receipt could not be stored", "is proven"]);
}

//! What has not changed is taken over, what has is read, and the program says which and why; a
//! backup that took data over restores exactly.

use std::sync::Arc;

use crate::support::oracle::{self, State};
use crate::support::psql::Database;
use crate::support::servers::{DEFAULT_MAJOR, Server};
use crate::support::workspace::{Workspace, files_below};

/// One table of several chunks, many that share bundles.
const TABLES: &str = "
CREATE TABLE large (id bigint, kind integer, body text, at timestamptz DEFAULT now());
INSERT INTO large SELECT n, n % 17, md5(n::text) || md5((n * 7)::text) FROM generate_series(1, 300000) AS n;
DO $$ BEGIN FOR n IN 1..30 LOOP
  EXECUTE format('CREATE TABLE small_%s AS SELECT n, ''row '' || n AS body FROM generate_series(1, %s) AS n', n, n);
END LOOP; END $$;
CREATE INDEX ON large (id);
CREATE VIEW kinds AS SELECT kind, count(*) FROM large GROUP BY kind;
";

/// A table that can never be proven: its rows hold the names of others.
const WATCHED: &str =
    "CREATE TABLE watched (kind regclass, note text); INSERT INTO watched VALUES ('large', 'x')";
const WATCHED_REASON: &str = "public.watched has a regclass column (kind)";

/// A server that can prove something: with `fsync`, and one that the test may restart.
fn provable_server() -> Arc<Server> {
    Arc::new(Server::start_with(DEFAULT_MAJOR, |options| options.durable = true))
}

/// The `reuse` of a backup made now.
#[track_caller]
fn reuse(workspace: &Workspace, arguments: &[&str]) -> serde_json::Value {
    let all: Vec<&str> = ["backup", "prod", "--json"].iter().chain(arguments).copied().collect();
    let outcome = workspace.run(&all).succeeded();
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("one JSON object");
    report["reuse"].clone()
}

fn number(reuse: &serde_json::Value, field: &str) -> u64 {
    reuse[field].as_u64().unwrap_or_else(|| panic!("{field} in {reuse}"))
}

/// `chunks reason` of everything that was read.
fn reasons(reuse: &serde_json::Value) -> Vec<String> {
    let read = reuse["read"].as_array().expect("a list").iter();
    read.map(|read| format!("{} {}", read["chunks"], read["reason"].as_str().expect("a reason"))).collect()
}

fn objects(workspace: &Workspace) -> Vec<(std::path::PathBuf, u64)> {
    files_below(&workspace.repository().join("objects"))
}

#[track_caller]
fn assert_restores(workspace: &mut Workspace, source: &State, backup: &str, server: &Arc<Server>) {
    let target: Database = server.database("target");
    workspace.environment("DEV", &target.url());
    workspace.run(&["verify", backup, "--read-data"]).succeeded();
    workspace.run(&["restore", backup, "--to", "dev", "--checksums"]).succeeded();
    oracle::assert_same(source, &oracle::state(&target));
    target.drop_database();
}

#[test]
fn a_backup_takes_over_what_has_not_changed_and_restores_exactly() {
    let server = provable_server();
    let source = server.database("source");
    source.run(TABLES);
    source.run(WATCHED);
    let mut workspace = Workspace::with_source(&source);

    let first = workspace.run(&["backup", "prod"]).succeeded();
    first.saying(&["read", "everything: there is no earlier backup to compare with"]);
    let stored = objects(&workspace);

    let unchanged = reuse(&workspace, &["--label", "unchanged"]);
    let chunks = number(&unchanged, "chunks");
    assert!(chunks > 30 + 1, "{unchanged}");
    assert_eq!(number(&unchanged, "reused"), chunks - 1, "{unchanged}");
    assert!(number(&unchanged, "reused_bytes") > 20_000_000, "{unchanged}");
    assert_eq!(reasons(&unchanged), [format!("1 {WATCHED_REASON}")]);
    assert!(unchanged["full"].is_null(), "{unchanged}");
    assert_eq!(unchanged["definitions_reused"], true, "{unchanged}");
    // Read alone, the one table is an object of its own; nothing else is stored again.
    let new: Vec<u64> =
        objects(&workspace).iter().filter(|file| !stored.contains(file)).map(|file| file.1).collect();
    assert!(new.len() == 1 && new[0] < 100, "{new:?}");

    source.run("UPDATE large SET kind = 18 WHERE id = 7; DELETE FROM small_3 WHERE n = 2; CREATE TABLE added (n integer)");
    let changed = reuse(&workspace, &["--label", "changed"]);
    // The first chunk of the large table, its last one, where the new version lies, and small_3.
    let expected = ["3 changed".to_owned(), "1 in new tables".to_owned(), format!("1 {WATCHED_REASON}")];
    assert_eq!(reasons(&changed), expected, "{changed}");
    assert_eq!(number(&changed, "reused"), chunks - 4);
    let definitions = changed["definitions_read"].as_str().unwrap_or_default();
    assert!(definitions.starts_with("definitions changed (pg_"), "{changed}");
    let before = oracle::state(&source);

    source.run("INSERT INTO large SELECT n, 1, repeat('appended', 50) FROM generate_series(1, 80000) AS n");
    let grown = workspace.run(&["backup", "prod", "--label", "grown"]).succeeded();
    let because = format!("1 because {WATCHED_REASON}");
    grown.saying(&[
        "taken over",
        "chunks, proven unchanged; read",
        " appended",
        &because,
        "definitions taken over",
    ]);

    assert_restores(&mut workspace, &before, "prod@changed", &server);
    assert_restores(&mut workspace, &oracle::state(&source), "prod@grown", &server);
}

#[test]
fn a_full_backup_of_unchanged_data_reads_everything_and_stores_nothing() {
    let server = provable_server();
    let source = server.database("source");
    source.run(TABLES);
    let workspace = Workspace::with_source(&source);
    workspace.backup(&[]);
    let stored = objects(&workspace);
    let full = reuse(&workspace, &["--full"]);
    assert_eq!((number(&full, "reused"), full["full"].as_str()), (0, Some("a full backup was asked for")));
    assert!(number(&full, "read_bytes") > 20_000_000, "{full}");
    assert_eq!(objects(&workspace), stored);
    workspace.run(&["show", "latest"]).succeeded().saying(&["read in full", "with this backup"]);
    workspace.backup(&[]);
    let shown = workspace.run(&["show", "latest"]).succeeded();
    shown.saying(&["read in full", "since then unchanged data was taken over"]);
}

#[test]
fn full_every_reads_everything_when_the_last_full_reading_is_that_long_ago() {
    let server = provable_server();
    let source = server.database("source");
    source.run("CREATE TABLE t AS SELECT n, 'row ' || n AS body FROM generate_series(1, 100) AS n");
    let mut workspace = Workspace::with_source(&source);
    workspace.set("SHOP", &source.url());
    let configure = |full_every: &str| {
        let config = format!("[env.prod]\nurl = '${{SHOP}}'\nfull_every = '{full_every}'\n");
        std::fs::write(workspace.path().join("pgstow.toml"), config).expect("a file");
    };
    configure("7d");
    workspace.backup(&[]);
    assert_eq!(number(&reuse(&workspace, &[]), "reused"), 1);
    configure("0s");
    let due = workspace.run(&["backup", "prod"]).succeeded();
    due.saying(&["read", "everything: all is read anew from time to time (full_every)"]);
    configure("-7d");
    let refused = workspace.run(&["backup", "prod"]).ended_with(2);
    refused.saying(&["pgstow.toml:3", "expected a time such as 7d, 12h or 0s"]);
}

#[test]
fn a_restart_of_the_server_costs_one_full_reading_and_says_so() {
    let server = provable_server();
    let source = server.database("source");
    source.run(TABLES);
    let mut workspace = Workspace::with_source(&source);
    workspace.backup(&[]);
    let stored = objects(&workspace);
    server.process.restart().expect("the server restarts");

    let outcome = workspace.run(&["backup", "prod", "--label", "restarted"]).succeeded();
    outcome.saying(&["read", "everything: the server was restarted"]);
    assert_eq!(objects(&workspace), stored);
    let after = reuse(&workspace, &["--label", "after"]);
    assert_eq!(number(&after, "reused"), number(&after, "chunks"), "{after}");
    assert_restores(&mut workspace, &oracle::state(&source), "prod@after", &server);
}

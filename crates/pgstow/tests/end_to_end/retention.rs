//! Retention after a backup, prune and pins, as users see them; what stays restores exactly.

use std::sync::Arc;

use crate::support::oracle;
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::{Workspace, files_below};

const ROWS: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, body text);
INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(1, 20000) AS n;";

/// Rules for `prod`, which is protected, beside the environment that is there.
fn with_rules(workspace: &Workspace, rules: &str) {
    let text = format!(
        "[env.prod]\nurl = \"${{DATABASE_URL_PROD}}\"\nprotected = true\n{rules}\n\
         [env.dev]\nurl = \"${{DATABASE_URL_DEV}}\"\n"
    );
    std::fs::write(workspace.path().join("pgstow.toml"), text).expect("the configuration can be written");
}

fn json(workspace: &Workspace, arguments: &[&str]) -> serde_json::Value {
    let outcome = workspace.run(arguments).succeeded();
    serde_json::from_str(&outcome.stdout).expect("one JSON object")
}

fn listed(workspace: &Workspace) -> Vec<(String, String)> {
    let listing = json(workspace, &["list", "--json"]);
    let backups = listing["backups"].as_array().expect("a list").iter();
    backups
        .map(|backup| {
            let because = backup["kept_because"].as_array().expect("a list").iter();
            let because: Vec<&str> = because.filter_map(|reason| reason.as_str()).collect();
            (backup["id"].as_str().expect("an id").to_owned(), because.join(", "))
        })
        .collect()
}

#[test]
fn retention_runs_after_a_backup_prune_deletes_what_nobody_needs_and_what_stays_restores() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("retained");
    source.run(ROWS);
    let mut workspace = Workspace::with_source(&source);
    let target = server.database("retained_target");
    workspace.environment("DEV", &target.url());
    with_rules(&workspace, "");
    workspace.run(&["backup", "prod", "--label", "first"]).succeeded();
    source.run("UPDATE orders SET body = 'x' || body; CREATE TABLE more AS SELECT 1 AS n");
    workspace.run(&["backup", "prod", "--label", "second"]).succeeded();
    workspace.run(&["pin", "prod@first", "--note", "before the move"]).succeeded();

    with_rules(&workspace, "[env.prod.retention]\nkeep_last = 1");
    source.run("INSERT INTO more VALUES (2)");
    let third = json(&workspace, &["backup", "prod", "--label", "third", "--json"]);
    let retired = third["pruned"]["retired"].as_array().expect("a list");
    assert_eq!(retired.len(), 1, "{third}");
    assert!(retired[0].as_str().is_some_and(|id| id.ends_with("_second")), "{third}");
    let kept = listed(&workspace);
    let kept: Vec<(&str, &str)> = kept
        .iter()
        .map(|(id, because)| (id.rsplit('_').next().expect("a label"), because.as_str()))
        .collect();
    assert_eq!(kept, [("third", "newest good backup, last 1"), ("first", "pinned")]);

    workspace.run(&["unpin", "prod@first"]).succeeded();
    let plan = workspace.run(&["prune", "--dry-run"]).succeeded();
    plan.saying(&["delete", "no rule keeps it", "would delete 1 backup"]);
    assert_eq!(listed(&workspace).len(), 2, "a dry run deletes nothing");
    let refused = workspace.run(&["prune"]);
    refused.ended_with(4).saying(&["prod is protected", "--yes=prod", "nothing was deleted"]);
    let before = files_below(&workspace.repository().join("objects")).len();
    workspace.run(&["prune", "--yes=prod", "--grace", "0s"]).succeeded().saying(&["1 backup deleted"]);
    assert!(files_below(&workspace.repository().join("objects")).len() < before);
    assert_eq!(listed(&workspace).len(), 1);

    let state = oracle::state(&source);
    workspace.run(&["verify", "prod@third", "--read-data"]).succeeded();
    workspace.run(&["restore", "prod@third", "--to", "dev", "--checksums"]).succeeded();
    oracle::assert_same(&state, &oracle::state(&target));
}

#[test]
fn a_retention_that_fails_is_a_warning_and_exit_code_3_and_the_backup_is_good() {
    let server: Arc<_> = servers::shared(DEFAULT_MAJOR);
    let source = server.database("retention_fails");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let mut workspace = Workspace::with_source(&source);
    workspace.environment("DEV", &source.url());
    with_rules(&workspace, "[env.prod.retention]\nkeep_last = 1");
    workspace.run(&["backup", "prod", "--label", "first"]).succeeded();
    let list = files_below(&workspace.repository().join("backups"));
    let list = list.iter().find(|(path, _)| path.ends_with("objects.list")).expect("a list");
    std::fs::remove_file(&list.0).expect("it can be removed");
    let outcome = workspace.run(&["backup", "prod", "--label", "second"]);
    outcome.ended_with(3).saying(&["the backup is done, but retention could not be applied", "objects.list"]);
    workspace.run(&["verify", "prod@second", "--read-data"]).succeeded();
    workspace
        .run(&["prune", "--dry-run"])
        .ended_with(1)
        .saying(&["cannot be relied on", "nothing was deleted"]);
}

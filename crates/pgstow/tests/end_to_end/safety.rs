//! The safety backup: when it is taken, what it is called, what it is not taken for, and what happens
//! when it cannot be taken.

use std::sync::Arc;

use crate::support::oracle;
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR, Server};
use crate::support::workspace::Workspace;

/// A backup of `prod`, and `dev`, which holds something else.
pub(crate) fn stage() -> (Workspace, String, Database) {
    stage_on(&servers::shared(DEFAULT_MAJOR))
}

/// The same on this server.
pub(crate) fn stage_on(server: &Arc<Server>) -> (Workspace, String, Database) {
    let source = server.database("safety_source");
    source.run(
        "CREATE SCHEMA shop; CREATE TABLE shop.items (id serial PRIMARY KEY, name text); CREATE INDEX ON shop.items (name); \
         INSERT INTO shop.items (name) SELECT md5(n::text) FROM generate_series(1, 500) n; \
         CREATE MATERIALIZED VIEW shop.counted AS SELECT count(*) FROM shop.items; CREATE PUBLICATION all_items FOR TABLE shop.items; \
         GRANT SELECT ON shop.items TO PUBLIC; CREATE EXTENSION hstore SCHEMA shop",
    );
    let mut workspace = Workspace::with_source(&source);
    let id = workspace.backup(&[]);
    let target = server.database("safety_target");
    target.run(
        "CREATE TABLE precious (n int PRIMARY KEY, v text); INSERT INTO precious VALUES (1, 'a'), (2, 'b'); \
         CREATE SCHEMA \"My Own\"; CREATE VIEW \"My Own\".seen AS SELECT n FROM precious; CREATE SCHEMA aside; \
         CREATE TABLE aside.t (x int); INSERT INTO aside.t VALUES (7); DROP VIEW \"My Own\".seen; COMMENT ON SCHEMA public IS 'mine'",
    );
    workspace.environment("DEV", &target.url());
    (workspace, id, target)
}

/// Ids of the safety backups, oldest first.
pub(crate) fn safety_backups(workspace: &Workspace) -> Vec<String> {
    workspace.backups().into_iter().filter(|id| id.ends_with("_safety")).collect()
}

#[test]
fn a_destructive_restore_backs_the_target_up_first_and_latest_never_means_that() {
    let (workspace, id, target) = stage();
    let ordinary = workspace.run(&["backup", "dev", "--quiet"]).succeeded().stdout.trim().to_owned();
    let dry = workspace.run(&["restore", &id, "--to", "dev", "--clean", "--dry-run"]).succeeded();
    dry.saying(&[
        "would drop",
        "a safety backup comes first",
        "leaves alone",
        "aside",
        "nothing was changed",
    ]);
    workspace.run(&["restore", &id, "--to", "dev", "--clean"]).ended_with(4).saying(&["--yes"]);
    assert_eq!(safety_backups(&workspace), [""; 0]);

    let outcome = workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes", "--json"]).succeeded();
    let [safety] = &safety_backups(&workspace)[..] else { panic!("one safety backup: {}", outcome.said()) };
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("one JSON object");
    assert_eq!(report["receipt"]["safety_backup"], safety.as_str());
    assert_eq!(report["undo_command"], "pgstow undo dev");

    let listing = workspace.run(&["list", "dev", "--json"]).succeeded().stdout;
    let listing: serde_json::Value = serde_json::from_str(&listing).expect("one JSON object");
    let newest = &listing["backups"][0];
    assert_eq!((newest["id"].as_str(), newest["safety"]["before"].as_str()), (Some(&**safety), Some(&*id)));
    workspace.run(&["list"]).succeeded().saying(&[&format!("before restoring {id}"), "undo puts it back"]);
    for (selector, meant) in [("latest", &ordinary), ("dev@latest", &ordinary), ("dev@safety", safety)] {
        let shown = workspace.run(&["show", selector]).succeeded();
        assert!(shown.stdout.contains(meant.as_str()), "{selector}\n{}", shown.said());
    }
    assert_eq!(target.value("SELECT count(*) FROM shop.items"), "500");
    workspace.run(&["backup", "prod", "--label", "safety"]).ended_with(2).saying(&["safety backups"]);
}

#[test]
fn without_a_safety_backup_nothing_is_changed_unless_that_is_asked_for() {
    let (mut workspace, id, target) = stage();
    let before = oracle::state(&target);
    let restore = ["restore", id.as_str(), "--to", "dev", "--clean", "--yes"];
    let empty = servers::shared(DEFAULT_MAJOR).database("safety_empty");
    workspace.environment("EMPTY", &empty.url());
    let environment = |name: &str, variable: &str| {
        format!("[env.{name}]\nurl = '${{DATABASE_URL_{variable}}}'\npg_dump = '/nonexistent/pg_dump'\n")
    };
    let config = environment("dev", "DEV") + &environment("empty", "EMPTY");
    std::fs::write(workspace.path().join("pgstow.toml"), config).expect("a file");
    let refused = workspace.run(&restore).ended_with(4);
    refused.saying(&["no safety backup of dev", "pg_dump", "--no-safety-backup", "nothing was changed"]);
    oracle::assert_same(&before, &oracle::state(&target));

    let parallel = [&restore[..], &["--no-safety-backup", "--jobs", "2", "--dry-run"]].concat();
    workspace.run(&parallel).succeeded().saying(&["no safety backup", "dev is left incomplete"]);
    let without = [&restore[..], &["--no-safety-backup"]].concat();
    let done = workspace.run(&without).succeeded().saying(&["what is dropped is gone"]);
    assert!(!done.stdout.contains("pgstow undo"), "{}", done.said());
    assert_eq!(safety_backups(&workspace), [""; 0]);
    workspace.run(&["undo", "dev", "--yes"]).ended_with(5).saying(&["no safety backup of dev"]);

    // Where nothing can be lost it is a warning.
    workspace.run(&["restore", &id, "--to", "empty"]).succeeded().saying(&["cannot be undone"]);
}

#[test]
fn rows_that_are_replaced_are_backed_up_too() {
    let (workspace, id, target) = stage();
    workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes"]).succeeded();
    target.run(
        "UPDATE shop.items SET name = 'changed' WHERE id <= 100; SELECT setval('shop.items_id_seq', 4000)",
    );
    let before = oracle::state(&target);
    workspace.run(&["restore", &id, "--to", "dev", "--data-only", "--clean", "--yes"]).succeeded();
    assert_eq!(target.value("SELECT count(*) FROM shop.items WHERE name = 'changed'"), "0");
    workspace.run(&["undo", "dev", "--yes"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn retention_keeps_what_undo_needs_and_counts_safety_backups_for_nothing_else() {
    let (workspace, id, _target) = stage();
    let rules = "[env.prod]\nurl = '${DATABASE_URL_PROD}'\n[env.prod.retention]\nkeep_last = 1\n\
                 [env.dev]\nurl = '${DATABASE_URL_DEV}'\n[env.dev.retention]\nkeep_last = 1\n\
                 [env.dev.retention.label.safety]\nkeep_last = 1\n";
    std::fs::write(workspace.path().join("pgstow.toml"), rules).expect("a file");
    let ordinary = workspace.run(&["backup", "dev", "--quiet"]).succeeded().stdout.trim().to_owned();
    for _ in 0..3 {
        workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes"]).succeeded();
    }
    let safety = safety_backups(&workspace);
    workspace.run(&["undo", "dev", "--yes"]).succeeded();
    workspace.run(&["prune"]).succeeded();
    let left = workspace.backups();
    assert!(left.contains(&ordinary) && left.contains(&id), "{left:?}");
    // The undo's own, and the one that it put back.
    let newest = safety_backups(&workspace);
    assert_eq!(newest.len(), 2, "{left:?}");
    assert_eq!(newest.first(), safety.last());
}

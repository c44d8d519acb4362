//! The audit log: every backup and restore is there, however it ended, and nothing secret.

use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR, PASSWORD};
use crate::support::workspace::{Workspace, files_below};

fn small() -> (Database, Workspace) {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run(
        "CREATE TABLE invoices (n integer PRIMARY KEY); INSERT INTO invoices SELECT generate_series(1, 100)",
    );
    let workspace = Workspace::with_source(&source);
    (source, workspace)
}

/// The events, oldest first.
#[track_caller]
fn events(workspace: &Workspace, arguments: &[&str]) -> Vec<serde_json::Value> {
    let all: Vec<&str> = ["audit", "--json"].iter().chain(arguments).copied().collect();
    let outcome = workspace.run(&all).succeeded();
    let log: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("one JSON object");
    assert_eq!(log["damaged"], serde_json::json!([]));
    log["events"].as_array().expect("a list").clone()
}

fn endings(events: &[serde_json::Value]) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    events.iter().map(|event| format!("{} {}", text(&event["command"]), text(&event["outcome"]))).collect()
}

#[test]
fn every_backup_and_restore_is_recorded_with_who_where_what_and_how_it_ended() {
    let (source, mut workspace) = small();
    let target = source.server.database("target");
    workspace.environment("DEV", &target.url());
    let id = workspace.backup(&[]);
    workspace.run(&["restore", &id, "--to", "dev"]).succeeded();
    // The target is not empty any more.
    workspace.run(&["restore", &id, "--to", "dev"]).ended_with(4);
    workspace.environment("GONE", &source.server.url("no_such_database"));
    workspace.run(&["backup", "gone"]).ended_with(1);
    let recorded = events(&workspace, &[]);
    assert_eq!(endings(&recorded), ["backup done", "restore done", "restore refused", "backup failed"]);
    let [backup, restore, refused, failed] = recorded.as_slice() else { panic!("{recorded:?}") };
    assert_eq!((&backup["environment"], &backup["backups"][0]), (&"prod".into(), &id.as_str().into()));
    assert_eq!((&restore["environment"], &restore["backups"][0]), (&"dev".into(), &id.as_str().into()));
    let reached = restore["target"].as_str().expect("a target");
    assert!(
        reached.starts_with("localhost:") && reached.ends_with(&format!("/{}", target.name)),
        "{reached}"
    );
    assert_eq!((&refused["exit_code"], &failed["exit_code"]), (&4.into(), &1.into()));
    assert!(failed["message"].as_str().expect("a message").contains("no_such_database"), "{failed}");
    for event in &recorded {
        let by = &event["by"];
        assert!(by["user"].is_string() && by["host"].is_string() && by["process"].is_u64(), "{event}");
        assert_eq!(by["program"], concat!("pgstow ", env!("CARGO_PKG_VERSION")));
        assert!(event["started_at"].as_str() <= event["finished_at"].as_str(), "{event}");
    }
    // By environment: its backups, restores of them, and restores into it.
    assert_eq!(endings(&events(&workspace, &["dev"])), ["restore done", "restore refused"]);
    assert_eq!(events(&workspace, &["prod"]).len(), 3);
    assert_eq!(events(&workspace, &["--since", "1h"]).len(), 4);
    assert_eq!(events(&workspace, &["--since", "2099-01-01"]).len(), 0);
    workspace.run(&["audit"]).succeeded().saying(&["COMMAND", "restore", "refused", &id, &target.name]);
}

#[test]
fn what_changes_nothing_is_not_recorded() {
    let (source, mut workspace) = small();
    let id = workspace.backup(&[]);
    workspace.environment("DEV", &source.server.database("target").url());
    workspace.run(&["list"]).succeeded();
    workspace.run(&["show", &id]).succeeded();
    workspace.run(&["verify", "--all", "--read-data"]).succeeded();
    workspace.run(&["restore", &id, "--to", "dev", "--dry-run"]).succeeded();
    workspace.run(&["backup", "--no-such-option"]).ended_with(2);
    assert_eq!(endings(&events(&workspace, &[])), ["backup done"]);
}

#[test]
fn the_log_holds_no_password_and_no_table() {
    let (source, mut workspace) = small();
    let target = source.server.database("target");
    workspace.environment("DEV", &target.url());
    let id = workspace.backup(&["--table", "invoices"]);
    workspace.run(&["restore", &id, "--to", "dev"]).succeeded();
    let files = files_below(&workspace.repository().join("audit"));
    assert_eq!(files.len(), 2);
    for (file, _) in files {
        let text = std::fs::read_to_string(file).expect("an event");
        assert!(!text.contains(PASSWORD) && !text.contains("invoices"), "{text}");
    }
}

#[test]
fn a_log_that_cannot_be_written_is_told_and_hides_nothing() {
    let (_source, mut workspace) = small();
    workspace.backup(&[]);
    let log = workspace.repository().join("audit");
    std::fs::remove_dir_all(&log).expect("the log goes");
    std::fs::write(&log, "in the way").expect("a file");
    workspace
        .run(&["backup", "prod"])
        .ended_with(3)
        .saying(&["warning: this run is missing in the audit log", "audit"]);
    assert_eq!(workspace.backups().len(), 2, "the backup is there");
    workspace.environment("GONE", "postgres://127.0.0.1:1/none");
    workspace.run(&["backup", "gone"]).ended_with(1).saying(&["error: gone", "missing in the audit log"]);
}

#[test]
fn a_damaged_event_is_named_and_the_others_are_shown() {
    let (_source, workspace) = small();
    workspace.backup(&[]);
    let id = workspace.backup(&[]);
    // Both may be of the same second, and then their names do not tell the order.
    let files = files_below(&workspace.repository().join("audit")).into_iter();
    let mut events = files.map(|(file, _)| (std::fs::read_to_string(&file).expect("an event"), file));
    let (text, file) = events.find(|(text, _)| !text.contains(&id)).expect("the first backup's event");
    std::fs::write(&file, text.replace("\"done\"", "\"failed\"")).expect("the event is changed");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    workspace.run(&["audit"]).ended_with(3).saying(&[&id, &name, "checksum"]);
    workspace.run(&["verify", "--all"]).ended_with(1).saying(&[&name, "no backup is touched"]);
}

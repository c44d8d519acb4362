//! Undo: after restores that worked, that failed, and that were killed in the middle. The oracle compares
//! with the state before.

use std::sync::Arc;

use rustix::process::Signal;

use super::safety::{safety_backups, stage, stage_on};
use crate::support::oracle;
use crate::support::proxy::{Fault, FaultProxy};
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR, Server};
use crate::support::waiting;
use crate::support::workspace::Workspace;

/// An event trigger of the target that makes statements of this kind do `action`, whatever restores do
/// about event triggers.
fn trap(target: &Database, tag: &str, action: &str) {
    target.run(&format!(
        "CREATE SCHEMA guard; CREATE FUNCTION guard.act() RETURNS event_trigger LANGUAGE plpgsql AS $$ \
         BEGIN {action}; END $$; CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('{tag}') \
         EXECUTE FUNCTION guard.act(); ALTER EVENT TRIGGER guard ENABLE ALWAYS"
    ));
}

#[test]
fn undo_puts_back_what_was_there_and_twice_is_redo() {
    let (workspace, id, target) = stage();
    let before = oracle::state(&target);
    workspace
        .run(&["restore", &id, "--to", "dev", "--clean", "--yes"])
        .succeeded()
        .saying(&["pgstow undo dev"]);
    let restored = oracle::state(&target);
    let dry = workspace.run(&["undo", "dev", "--dry-run"]).succeeded();
    dry.saying(&["schema", "1 extension", "a safety backup comes first", "nothing was changed"]);
    workspace.run(&["undo", "dev"]).ended_with(4).saying(&["nobody can be asked"]);
    oracle::assert_same(&restored, &oracle::state(&target));

    workspace.run(&["undo", "dev", "--yes", "--checksums"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
    workspace.run(&["undo", "dev", "--yes"]).succeeded();
    oracle::assert_same(&restored, &oracle::state(&target));
    workspace.run(&["undo", "dev", "--yes"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
    workspace.run(&["audit"]).succeeded().saying(&["undo"]);

    workspace.run(&["undo", "dev", "--yes", "--no-safety-backup"]).succeeded();
    oracle::assert_same(&restored, &oracle::state(&target));
    let again = workspace.run(&["undo", "dev", "--yes"]).ended_with(4);
    again.saying(&["was undone already", "nothing was changed"]);
}

#[test]
fn a_protected_environment_has_its_name_typed_for_an_undo() {
    let (workspace, id, _target) = stage();
    let config = "[env.prod]\nurl = '${DATABASE_URL_PROD}'\n[env.dev]\nurl = '${DATABASE_URL_DEV}'\nprotected = true\n";
    std::fs::write(workspace.path().join("pgstow.toml"), config).expect("a file");
    workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes"]).ended_with(4);
    workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes=dev"]).succeeded();
    workspace.run(&["undo", "dev", "--yes"]).ended_with(4).saying(&["--yes=dev"]);
    workspace.run(&["undo", "dev", "--yes=dev"]).succeeded();
}

#[test]
fn a_restore_that_was_rolled_back_leaves_nothing_to_undo() {
    let (workspace, id, target) = stage();
    trap(&target, "CREATE PUBLICATION", "RAISE 'no publications here'");
    let before = oracle::state(&target);
    let failed = workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes"]).ended_with(1);
    failed.saying(&["no publications here", "the target is as it was: the transaction was rolled back"]);
    oracle::assert_same(&before, &oracle::state(&target));
    workspace.run(&["undo", "dev", "--yes"]).ended_with(4).saying(&["nothing to undo", "changed nothing"]);
}

#[test]
fn a_parallel_restore_that_fails_is_undone_by_itself_or_says_how() {
    let (workspace, id, target) = stage();
    trap(&target, "CREATE PUBLICATION", "RAISE 'no publications here'");
    let before = oracle::state(&target);
    let restore = ["restore", id.as_str(), "--to", "dev", "--clean", "--jobs", "3", "--yes"];
    let failed = workspace.run(&restore).ended_with(1);
    failed.saying(&["no publications here", "the target is as it was: its safety backup"]);
    oracle::assert_same(&before, &oracle::state(&target));
    workspace.run(&["undo", "dev", "--yes"]).ended_with(4).saying(&["nothing to undo"]);

    // Putting it back replaces all there is, and somebody reads a table that the restore leaves alone.
    let config = "[env.dev]\nurl = '${DATABASE_URL_DEV}'\nlock_timeout = '1s'\n";
    std::fs::write(workspace.path().join("pgstow.toml"), config).expect("a file");
    let mut reader = target.session();
    reader.run("BEGIN; SELECT FROM aside.t");
    let failed = workspace.run(&restore).ended_with(1);
    let failed =
        failed.saying(&["failed too", "aside.t", "put back what was there before with: pgstow undo dev"]);
    assert!(!failed.said().contains("the target is as it was"), "{}", failed.said());
    drop(reader);
    assert_eq!(target.value("SELECT to_regclass('public.precious') IS NULL"), "t");
    workspace.run(&["undo", "dev", "--yes"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
}

/// Restores into a target whose statements of this kind wait, and kills the program while one does.
fn killed_at(tag: &str, arguments: &[&str]) -> (Workspace, Database, oracle::State) {
    let (workspace, id, target) = stage();
    trap(&target, tag, "PERFORM pg_advisory_xact_lock_shared(4711)");
    let before = oracle::state(&target);
    let mut holder = target.session();
    holder.run("SELECT pg_advisory_lock(4711)");
    let all = [&["restore", &id, "--to", "dev", "--clean", "--yes"], arguments].concat();
    let restore = workspace.start(&all);
    waiting::until_a_client_waits_for_a_lock(&target);
    restore.signal(Signal::KILL);
    assert_eq!(restore.finish().code(), 128 + 9);
    drop(holder);
    waiting::until_all_clients_are_gone(&target);
    (workspace, target, before)
}

/// Statements that come in each phase of a restore.
const PHASES: [&str; 6] = [
    "DROP TABLE",
    "CREATE TABLE",
    "CREATE INDEX",
    "GRANT",
    "REFRESH MATERIALIZED VIEW",
    "CREATE PUBLICATION",
];

#[test]
fn a_killed_atomic_restore_is_rolled_back_by_the_server() {
    for tag in PHASES {
        let (workspace, target, before) = killed_at(tag, &[]);
        oracle::assert_same(&before, &oracle::state(&target));
        // Nobody was left to record how it ended: an undo is allowed, and changes nothing.
        workspace.run(&["undo", "dev", "--yes"]).succeeded();
        oracle::assert_same(&before, &oracle::state(&target));
    }
}

#[test]
fn a_killed_parallel_restore_is_undone() {
    for tag in PHASES {
        let (workspace, target, before) = killed_at(tag, &["--jobs", "3"]);
        if tag != "DROP TABLE" {
            assert_eq!(target.value("SELECT to_regclass('public.precious') IS NULL"), "t", "{tag}");
        }
        workspace.run(&["undo", "dev", "--yes"]).succeeded();
        oracle::assert_same(&before, &oracle::state(&target));
    }
}

/// What a restore sends when it loads rows, sets sequences, and counts what it has restored.
const WITHIN: [&[&str]; 3] = [&["FROM STDIN"], &["setval("], &["setval(", "(SELECT pg_catalog.count(*)"]];

/// What a killed restore leaves.
struct Killed {
    workspace: Workspace,
    target: Database,
    before: oracle::State,
    /// Through it the environment is reached.
    _proxy: FaultProxy,
}

/// Kills a restore that has sent these texts, the last of which does not arrive.
fn killed_when_it_sends(texts: &[&'static str], arguments: &[&str]) -> Killed {
    let server = Arc::new(Server::start_without_tls(DEFAULT_MAJOR));
    let (mut workspace, id, target) = stage_on(&server);
    let proxy =
        FaultProxy::start(server.process.tcp_port().expect("test servers listen on TCP"), Fault::None);
    workspace.environment("DEV", &server.open_url_through(proxy.port(), &target.name));
    let before = oracle::state(&target);
    proxy.hold_at(texts);
    let all = [&["restore", &id, "--to", "dev", "--clean", "--yes"], arguments].concat();
    let restore = workspace.start(&all);
    waiting::until("the restore has sent it", || proxy.holds());
    restore.signal(Signal::KILL);
    assert_eq!(restore.finish().code(), 128 + 9);
    proxy.end_all();
    waiting::until_all_clients_are_gone(&target);
    Killed { workspace, target, before, _proxy: proxy }
}

#[test]
fn a_restore_killed_while_it_loads_sets_sequences_or_compares_is_rolled_back_or_undone() {
    for texts in WITHIN {
        let atomic = killed_when_it_sends(texts, &[]);
        oracle::assert_same(&atomic.before, &oracle::state(&atomic.target));

        let open = killed_when_it_sends(texts, &["--jobs", "3"]);
        assert_ne!(open.before, oracle::state(&open.target), "{texts:?}");
        open.workspace.run(&["undo", "dev", "--yes"]).succeeded();
        oracle::assert_same(&open.before, &oracle::state(&open.target));
    }
}

#[test]
fn an_undo_that_is_killed_is_tried_again() {
    let (workspace, id, target) = stage();
    let before = oracle::state(&target);
    workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes"]).succeeded();
    let mut reader = target.session();
    reader.run("BEGIN; SELECT FROM shop.items LIMIT 1");
    let undo = workspace.start(&["undo", "dev", "--yes"]);
    waiting::until_a_client_waits_for_a_lock(&target);
    undo.signal(Signal::KILL);
    undo.finish();
    drop(reader);
    waiting::until_all_clients_are_gone(&target);
    assert_eq!(safety_backups(&workspace).len(), 2);
    workspace.run(&["undo", "dev", "--yes"]).succeeded().saying(&["did not come to its end"]);
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn a_restore_into_nothing_that_was_killed_is_undone_too() {
    let (mut workspace, id, _target) = stage();
    let target = servers::shared(DEFAULT_MAJOR).database("undo_empty");
    workspace.environment("EMPTY", &target.url());
    let before = oracle::state(&target);
    workspace.run(&["restore", &id, "--to", "empty"]).succeeded();
    assert_ne!(before, oracle::state(&target));
    workspace.run(&["undo", "empty", "--yes"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn databases_of_urls_are_told_apart() {
    let (mut workspace, id, one) = stage();
    let other = servers::shared(DEFAULT_MAJOR).database("undo_other");
    other.run("CREATE TABLE other (x int)");
    workspace.set("ONE", &one.url());
    workspace.set("OTHER", &other.url());
    let (before, other_before) = (oracle::state(&one), oracle::state(&other));
    for url in ["$ONE", "$OTHER"] {
        let done = workspace.run(&["restore", &id, "--url", url, "--clean", "--yes"]).succeeded();
        done.saying(&[&format!("pgstow undo --url '{url}'")]);
    }
    workspace.run(&["undo", "--url", "$ONE", "--yes"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&one));
    assert_eq!(other.value("SELECT to_regclass('public.other') IS NULL"), "t");
    workspace.run(&["undo", "--url", "$OTHER", "--yes"]).succeeded();
    oracle::assert_same(&other_before, &oracle::state(&other));

    // An environment that points somewhere else now.
    workspace.run(&["restore", &id, "--to", "dev", "--clean", "--yes"]).succeeded();
    workspace.environment("DEV", &other.url());
    workspace
        .run(&["undo", "dev", "--yes"])
        .ended_with(4)
        .saying(&["was not taken of", "nothing was changed"]);
}

#[test]
fn a_pipeline_backs_up_before_migrations_and_rolls_back() {
    let (workspace, _id, target) = stage();
    let before = oracle::state(&target);
    workspace.run(&["backup", "dev", "--label", "pre-migrate"]).succeeded();
    target.run("ALTER TABLE precious DROP COLUMN v; CREATE TABLE half_done (x int); CREATE SCHEMA new; CREATE TABLE new.t (x int)");
    // A guard's refusal and a missing backup are told apart by their codes.
    workspace.run(&["restore", "dev@pre-migrate", "--to", "dev", "--yes"]).ended_with(4);
    workspace.run(&["restore", "dev@no-such", "--to", "dev", "--clean", "--yes"]).ended_with(5);
    workspace.run(&["restore", "dev@pre-migrate", "--to", "dev", "--clean", "--yes"]).succeeded();
    target.run("DROP SCHEMA new CASCADE");
    oracle::assert_same(&before, &oracle::state(&target));
}

//! Runs that end early: Ctrl-C, SIGKILL, a broken network, a server that stops.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::oracle;
use crate::support::program::Running;
use crate::support::proxy::{Fault, FaultProxy};
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR, PASSWORD, Server};
use crate::support::waiting;
use crate::support::workspace::{Workspace, files_below};

/// How long Ctrl-C may take; part of what is promised to users.
const PROMPTLY: Duration = Duration::from_secs(2);

const ROWS: &str = "
CREATE TABLE filler (n integer PRIMARY KEY, body text);
INSERT INTO filler SELECT n, md5(n::text) || md5((n * 3)::text) || md5((n * 5)::text) FROM generate_series(1, 60000) AS n;
CREATE TABLE other (n integer PRIMARY KEY);
INSERT INTO other SELECT generate_series(1, 100);
";

fn filled() -> (Arc<Server>, Database) {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run(ROWS);
    (server, source)
}

/// An environment that reaches a database through a proxy.
fn through(proxy: &FaultProxy, database: &Database) -> String {
    database.server.url_through(proxy.port(), "postgres", PASSWORD, &database.name)
}

/// A backup that waits for more bytes of a table and will not get any.
fn stalled_backup(workspace: &mut Workspace, source: &Database) -> (Running, FaultProxy) {
    let target = source.server.process.tcp_port().expect("test servers listen on TCP");
    let proxy = FaultProxy::start(target, Fault::StallAfter(1_000_000));
    workspace.environment("STALLED", &through(&proxy, source));
    let backup = workspace.start(&["backup", "stalled"]);
    waiting::until("a megabyte has passed", || proxy.passed() > 1_000_000);
    (backup, proxy)
}

fn assert_nothing_left(workspace: &Workspace, source: &Database) {
    waiting::until_all_clients_are_gone(source);
    assert_eq!(files_below(&workspace.temporary()), [], "temporary files are left");
}

#[test]
fn ctrl_c_ends_a_backup_that_waits_for_a_lock() {
    let (_server, source) = filled();
    let workspace = Workspace::with_source(&source);
    for signal in [Signal::INT, Signal::TERM] {
        let mut session = source.session();
        session.run("BEGIN; LOCK TABLE filler IN ACCESS EXCLUSIVE MODE");
        let backup = workspace.start(&["backup", "prod"]);
        waiting::until_a_client_waits_for_a_lock(&source);
        backup.signal(signal);
        backup.finish_within(PROMPTLY).ended_with(130);
        session.run("ROLLBACK");
        drop(session);
        assert_nothing_left(&workspace, &source);
        assert!(workspace.backups().is_empty());
    }
}

#[test]
fn ctrl_c_ends_a_backup_in_the_middle_of_a_table() {
    let (_server, source) = filled();
    let mut workspace = Workspace::with_source(&source);
    let (backup, proxy) = stalled_backup(&mut workspace, &source);
    backup.signal(Signal::INT);
    backup.finish_within(PROMPTLY).ended_with(130);
    drop(proxy);
    assert_nothing_left(&workspace, &source);
    assert!(workspace.backups().is_empty());
}

#[test]
fn ctrl_c_leaves_the_target_of_an_atomic_restore_as_it_was() {
    let (server, source) = filled();
    let mut workspace = Workspace::with_source(&source);
    let id = workspace.backup(&[]);
    let target = server.database("target");
    target.run("CREATE TABLE precious (n integer); INSERT INTO precious VALUES (1)");
    let before = oracle::state(&target);
    workspace.environment("DEV", &target.url());
    // The restore gets as far as this table and waits: somebody reads it.
    let mut reader = target.session();
    reader.run("BEGIN; SELECT * FROM precious");
    let restore = workspace.start(&["restore", &id, "--to", "dev", "--clean", "--yes"]);
    waiting::until_a_client_waits_for_a_lock(&target);
    restore.signal(Signal::INT);
    restore.finish_within(PROMPTLY).ended_with(130);
    reader.run("COMMIT");
    drop(reader);
    assert_nothing_left(&workspace, &target);
    oracle::assert_same(&before, &oracle::state(&target));
}

#[test]
fn earlier_backups_survive_a_killed_run_and_the_next_one_succeeds() {
    let (server, source) = filled();
    let mut workspace = Workspace::with_source(&source);
    let first = workspace.backup(&["--label", "first"]);
    let (backup, proxy) = stalled_backup(&mut workspace, &source);
    backup.signal(Signal::KILL);
    assert_eq!(backup.finish_within(PROMPTLY).code(), 128 + 9);
    drop(proxy);
    waiting::until_all_clients_are_gone(&source);
    assert_eq!(workspace.backups(), std::slice::from_ref(&first));
    workspace.run(&["verify", &first, "--read-data"]).succeeded();
    let next = workspace.backup(&["--label", "next"]);
    workspace.run(&["verify", &next, "--read-data"]).succeeded();
    let target = server.database("target");
    workspace.environment("DEV", &target.url());
    workspace.run(&["restore", &next, "--to", "dev", "--checksums"]).succeeded();
    assert_eq!(target.value("SELECT count(*) FROM filler"), "60000");
}

#[test]
fn a_connection_cut_anywhere_never_makes_a_backup_that_is_not_whole() {
    let (server, source) = filled();
    let mut workspace = Workspace::with_source(&source);
    let port = server.process.tcp_port().expect("test servers listen on TCP");
    for limit in [100, 3_000, 20_000, 60_000, 150_000, 1_500_000, 4_000_000] {
        for fault in [Fault::CutAfter(limit), Fault::ResetAfter(limit)] {
            let proxy = FaultProxy::start(port, fault);
            workspace.environment("PROXIED", &through(&proxy, &source));
            let before = workspace.backups();
            let outcome = workspace.run(&["backup", "proxied"]);
            let passed = proxy.passed();
            assert!(passed > limit, "{fault:?}: only {passed} bytes came\n{}", outcome.said());
            let outcome = outcome.ended_with(1);
            assert!(outcome.stderr.contains("localhost"), "{fault:?}\n{}", outcome.said());
            assert_eq!(workspace.backups(), before, "{fault:?}");
            assert_nothing_left(&workspace, &source);
        }
    }
}

#[test]
fn a_server_that_stops_in_the_middle_is_named_and_nothing_is_written() {
    let server = Arc::new(Server::start(DEFAULT_MAJOR, &[]));
    let source = server.database("source");
    source.run(ROWS);
    let mut workspace = Workspace::with_source(&source);
    let (backup, proxy) = stalled_backup(&mut workspace, &source);
    server.process.stop_immediately().expect("the server stops");
    drop(proxy);
    let outcome = backup.finish().ended_with(1);
    assert!(outcome.stderr.contains("localhost"), "{}", outcome.said());
    assert!(workspace.backups().is_empty());
    assert_eq!(files_below(&workspace.temporary()), []);
    server.process.restart().expect("the server starts again");
    workspace.backup(&[]);
}

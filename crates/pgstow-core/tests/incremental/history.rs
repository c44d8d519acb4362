//! The same history: a server that went back in time, or another one, is seen.
//!
//! Guards: system identifier, timeline, the postmaster's start, not in recovery, `fsync`.

use std::path::{Path, PathBuf};
use std::process::Command;

use pgstow_core::postgres::server::{DisposableServer, ServerOptions};

use crate::ground::{Backup, Ground, configuration, connect, options, settle, told, until, value};

const TABLES: &str = "CREATE TABLE still AS SELECT g AS id FROM generate_series(1, 100) g; \
     CREATE TABLE t AS SELECT g AS id, 'old' AS v FROM generate_series(1, 10) g;; CHECKPOINT";

/// Where the row that matters lies and what wrote it.
const PLACE: &str = "SELECT concat_ws(' ', ctid, xmin, v) FROM t WHERE id = 1";

fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg("--").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success());
}

fn replace_folder(old: &Path, new: &Path) {
    std::fs::remove_dir_all(old).expect("the folder is removed");
    copy_folder(new, old);
}

fn beside(server: &DisposableServer) -> PathBuf {
    server.socket_directory().join("copy")
}

#[test]
fn a_restart_costs_one_full_read_and_nothing_else() {
    let ground = Ground::new(TABLES);
    let first = ground.back_up();
    ground.server.restart().expect("the server starts");
    let second = ground.back_up();
    second.assert_nothing_reused();
    assert_eq!(first.objects(), second.objects(), "what is equal is not stored again");
    assert_eq!(ground.rows(&first, "t"), ground.rows(&second, "t"));
    ground.back_up().assert_nothing_read();
}

/// The old files come back, and the same transaction id writes another row to the same place.
#[test]
fn a_restored_data_directory_is_read() {
    let ground = Ground::new(TABLES);
    settle(&mut ground.connect());
    ground.server.stop().expect("the server stops");
    let (data, copy) = (ground.server.data_directory().to_owned(), beside(&ground.server));
    copy_folder(&data, &copy);
    ground.server.restart().expect("the server starts");
    ground.execute("UPDATE t SET v = 'first' WHERE id = 1");
    let before = ground.value(PLACE);
    let first = ground.back_up_at_once();
    ground.server.stop().expect("the server stops");
    replace_folder(&data, &copy);
    ground.server.restart().expect("the server starts");
    ground.execute("UPDATE t SET v = 'other' WHERE id = 1");
    assert_eq!(ground.value(PLACE), before.replace("first", "other"), "place and transaction id come again");
    let second = ground.back_up_at_once();
    assert!(ground.rows(&first, "t").contains("first") && ground.rows(&second, "t").contains("other"));
    second.assert_nothing_reused();
}

/// A server whose files are a copy of `primary`'s, which is stopped; it starts as a standby
/// without anybody to follow.
fn standby_of(primary: &Ground) -> DisposableServer {
    let options =
        ServerOptions { configuration: configuration(&[]), durable: true, ..ServerOptions::default() };
    let server = DisposableServer::start(&options).unwrap_or_else(|error| panic!("{}", told(&error)));
    server.stop().expect("the server stops");
    let data = server.data_directory();
    // Both name the server's own folders.
    let own = ["postgresql.conf", "postmaster.opts"].map(|name| {
        let path = data.join(name);
        let content = std::fs::read(&path).expect("read");
        (path, content)
    });
    replace_folder(data, primary.server.data_directory());
    own.into_iter().for_each(|(path, content)| std::fs::write(path, content).expect("written"));
    std::fs::write(server.data_directory().join("standby.signal"), "").expect("written");
    server.restart().unwrap_or_else(|error| panic!("{}", told(&error)));
    server
}

fn promote(server: &DisposableServer) {
    let mut session = connect(&server.settings("postgres"));
    assert_eq!(value(&mut session, "SELECT pg_promote()"), "t");
    until("the standby takes writes", || value(&mut session, "SELECT pg_is_in_recovery()") == "f");
    session.execute("CHECKPOINT").expect("a checkpoint");
}

#[test]
fn two_standbys_promoted_apart_are_not_taken_for_each_other() {
    let primary = Ground::new(TABLES);
    settle(&mut primary.connect());
    primary.server.stop().expect("the server stops");
    let servers = [standby_of(&primary), standby_of(&primary)];
    let mut backups: Vec<Backup> = Vec::new();
    let mut places = Vec::new();
    for (server, v) in servers.iter().zip(["one", "two"]) {
        promote(server);
        let mut session = connect(&server.settings("postgres"));
        session.execute(&format!("UPDATE t SET v = '{v}' WHERE id = 1")).expect("written");
        places.push(value(&mut session, PLACE));
        backups.push(primary.vault.back_up(&options(server), &|_| ()));
    }
    assert_eq!(places[0].replace("one", "two"), places[1], "place and transaction id are the same");
    let [first, second] = &backups[..] else { panic!("two backups") };
    let (one, other) = (&first.manifest.source, &second.manifest.source);
    assert_eq!((&one.system_identifier, one.timeline), (&other.system_identifier, other.timeline));
    assert_eq!(one.timeline, Some(2));
    assert!(primary.rows(second, "t").contains("two"));
    second.assert_nothing_reused();
    for server in &servers {
        let again = primary.vault.back_up(&options(server), &|_| ());
        assert_eq!(again.table("t").rows, 10);
    }
}

#[test]
fn a_standby_is_read_in_full_each_time_and_after_its_promotion_once_more() {
    let primary = Ground::new(TABLES);
    settle(&mut primary.connect());
    primary.server.stop().expect("the server stops");
    let standby = standby_of(&primary);
    for _ in 0..2 {
        let backup = primary.vault.back_up(&options(&standby), &|_| ());
        assert!(backup.manifest.source.in_recovery);
        backup.assert_nothing_reused();
    }
    let reasons = |backup: &Backup| format!("{:?}", backup.report.reuse.read);
    let last = primary.vault.back_up(&options(&standby), &|_| ());
    assert!(reasons(&last).contains("is a standby"), "{}", reasons(&last));
    promote(&standby);
    let promoted = primary.vault.back_up(&options(&standby), &|_| ());
    promoted.assert_nothing_reused();
    assert!(reasons(&promoted).contains("was a standby"), "{}", reasons(&promoted));
    settle(&mut connect(&standby.settings("postgres")));
    primary.vault.back_up(&options(&standby), &|_| ());
    primary.vault.back_up(&options(&standby), &|_| ()).assert_nothing_read();
}

#[test]
fn another_server_under_the_same_name_is_read() {
    let ground = Ground::new(TABLES);
    let first = ground.back_up();
    let other = Ground::new(TABLES);
    other.execute("UPDATE t SET v = 'other'");
    settle(&mut other.connect());
    let second = ground.vault.back_up(&other.options(), &|_| ());
    assert_eq!(first.table("t").oid, second.table("t").oid);
    assert!(ground.rows(&second, "t").contains("other"));
    second.assert_nothing_reused();
}

/// Without fsync a crash of the machine may lose anything.
#[test]
fn a_server_without_fsync_is_read_in_full_each_time() {
    let options = ServerOptions { configuration: configuration(&[]), ..ServerOptions::default() };
    let ground = Ground::with_options(&options, TABLES);
    ground.back_up();
    ground.back_up().assert_nothing_reused();
    // The postmaster stays: only the setting tells.
    let set = |fsync: &str| {
        ground.execute(&format!("ALTER SYSTEM SET fsync = {fsync};; SELECT pg_reload_conf()"));
        until("the setting is taken over", || ground.value("SHOW fsync") == fsync);
    };
    set("on");
    ground.back_up().assert_nothing_reused();
    ground.back_up().assert_nothing_read();
    set("off");
    ground.back_up().assert_nothing_reused();
}

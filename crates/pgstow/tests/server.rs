//! The disposable server that the other tests, the demo and drills stand on.

use std::path::Path;
use std::process::{Command, Output};

use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::postgres::settings::Secret;

fn psql(server: &DisposableServer, arguments: &[&str]) -> Output {
    Command::new("psql")
        .args(["-X", "-At", "-U", "postgres", "-d", "postgres"])
        .args(["-p", &server.socket_port().to_string()])
        .args(arguments)
        .output()
        .expect("psql runs")
}

fn answer(server: &DisposableServer, sql: &str) -> String {
    let directory = server.socket_directory().to_string_lossy();
    let output = psql(server, &["-h", &directory, "-c", sql]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn postmaster(server: &DisposableServer) -> String {
    let file = std::fs::read_to_string(server.data_directory().join("postmaster.pid"));
    file.expect("a running server has a pid file").lines().next().expect("a process id").to_owned()
}

/// Whether a process still runs; one that has ended and waits for its parent does not.
fn runs(process: &str) -> bool {
    let status = Path::new("/proc").join(process).join("status");
    std::fs::read_to_string(status).is_ok_and(|text| !text.contains("State:\tZ"))
}

#[test]
fn a_server_answers_and_is_gone_when_dropped() {
    let server = DisposableServer::start(&ServerOptions::default()).unwrap();
    assert_eq!(answer(&server, "SHOW server_encoding"), "UTF8");
    assert_eq!(answer(&server, "SHOW fsync"), "off");
    let directory = server.socket_directory().to_owned();
    let process = postmaster(&server);
    drop(server);
    assert!(!directory.exists(), "{} was left behind", directory.display());
    assert!(!runs(&process), "the postmaster goes on");
}

#[test]
fn a_server_is_gone_after_a_panic() {
    let mut directory = None;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let server = DisposableServer::start(&ServerOptions::default()).unwrap();
        directory = Some((server.socket_directory().to_owned(), postmaster(&server)));
        panic!("a test fails");
    }));
    assert!(outcome.is_err());
    let (directory, process) = directory.unwrap();
    assert!(!directory.exists());
    assert!(!runs(&process));
}

#[test]
fn tcp_needs_the_password() {
    let options =
        ServerOptions { tcp: true, password: Some(Secret::new("p@ss'wörd")), ..ServerOptions::default() };
    let server = DisposableServer::start(&options).unwrap();
    let login = |password: &str| {
        Command::new("psql")
            .args(["-X", "-At", "-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-c", "SELECT 1"])
            .args(["-p", &server.tcp_port().unwrap().to_string()])
            .env("PGPASSWORD", password)
            .output()
            .unwrap()
    };
    assert!(login("p@ss'wörd").status.success());
    assert!(String::from_utf8_lossy(&login("wrong").stderr).contains("password authentication failed"));
}

#[test]
fn rows_survive_a_crash_and_a_restart() {
    let server = DisposableServer::start(&ServerOptions::default()).unwrap();
    answer(&server, "CREATE TABLE t AS SELECT 42 AS n");
    server.stop_immediately().unwrap();
    let directory = server.socket_directory().to_string_lossy().into_owned();
    assert!(!psql(&server, &["-h", &directory, "-c", "SELECT 1"]).status.success());
    server.restart().unwrap();
    assert_eq!(answer(&server, "SELECT n FROM t"), "42");
    server.stop().unwrap();
    server.restart().unwrap();
    assert_eq!(answer(&server, "SELECT n FROM t"), "42");
}

#[test]
fn a_start_that_fails_shows_the_end_of_the_log() {
    let configuration = vec!["shared_preload_libraries = 'no_such_library'".to_owned()];
    let options = ServerOptions { configuration, ..ServerOptions::default() };
    let error = DisposableServer::start(&options).err().expect("the start fails");
    let reason = error.reason().unwrap();
    assert!(reason.contains("no_such_library"), "{reason}");
}

#[test]
fn a_parent_directory_too_long_for_a_socket_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let long = parent.path().join("d".repeat(90));
    std::fs::create_dir(&long).unwrap();
    let options = ServerOptions { parent_directory: long, ..ServerOptions::default() };
    let error = DisposableServer::start(&options).err().expect("the path is refused");
    assert!(error.message().contains("too long"), "{error}");
}

#[test]
fn another_encoding_and_locale_are_taken() {
    let options =
        ServerOptions { encoding: "LATIN1".to_owned(), locale: "C".to_owned(), ..ServerOptions::default() };
    let server = DisposableServer::start(&options).unwrap();
    assert_eq!(answer(&server, "SHOW server_encoding"), "LATIN1");
}

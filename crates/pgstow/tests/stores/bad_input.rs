//! What is wrong with a store is told by name, with the exit code of the reference, and loses
//! nothing.

use std::sync::Arc;

use crate::ground::{Host, PREFIX, id};
use crate::support::object_stores::{BUCKET, Kind, ObjectStore};
use crate::support::psql::Database;
use crate::support::servers::{DEFAULT_MAJOR, Server, shared};

const TABLE: &str = "CREATE TABLE t AS SELECT n, md5(n::text) AS body FROM generate_series(1, 1000) AS n";

fn source() -> (Arc<Server>, Database) {
    let server = shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run(TABLE);
    (server, source)
}

/// Every command that opens the repository ends with `code` and says `parts`; the repository stays
/// as it is.
fn every_command_says(host: &Host, store: &ObjectStore, backup: &str, code: i32, parts: &[&str]) {
    let before = store.names(PREFIX);
    for command in [&["list"][..], &["show", backup], &["verify", backup, "--read-data"], &["backup", "prod"]]
    {
        host.run(command).ended_with(code).saying(parts);
    }
    host.run(&["check", "prod"]).ended_with(1).saying(&parts[..1]);
    assert_eq!(store.names(PREFIX), before);
}

#[test]
fn wrong_keys_are_told_apart_and_lose_nothing() {
    let (_server, source) = source();
    let store = ObjectStore::start(Kind::Radosgw);
    let mut host = Host::with_bucket(&source, &store);
    let backup = id(&host.backup(&[])["header"]);

    host.workspace.set("STORE_KEY", "another secret");
    every_command_says(&host, &store, &backup, 2, &["the secret key is wrong", "credentials"]);
    host.workspace.set("STORE_ID", "AKIANOBODY");
    every_command_says(&host, &store, &backup, 2, &["does not know the access key", "credentials"]);

    host.become_user(&store.owner);
    host.run(&["verify", &backup, "--read-data"]).succeeded();
}

#[test]
fn a_wrong_key_of_an_azure_account_is_told() {
    let (_server, source) = source();
    let store = ObjectStore::start(Kind::Azurite);
    let mut host = Host::with_bucket(&source, &store);
    let backup = id(&host.backup(&[])["header"]);
    host.workspace.set("STORE_KEY", "d3Jvbmc=");
    every_command_says(&host, &store, &backup, 2, &["the secret key is wrong", "credentials"]);
}

#[test]
fn a_bucket_that_does_not_exist_is_not_found() {
    let (_server, source) = source();
    for kind in [Kind::Radosgw, Kind::S3sFs, Kind::Azurite] {
        let store = ObjectStore::start(kind);
        let host = Host::with_bucket(&source, &store);
        host.configure(&store.section(PREFIX).replace(BUCKET, "no-such-bucket"));
        for command in [&["list"][..], &["backup", "prod"], &["verify", "latest"]] {
            host.run(command).ended_with(5).saying(&["the bucket does not exist", "create the bucket"]);
        }
        host.run(&["check", "prod"]).ended_with(1).saying(&["the bucket does not exist"]);
    }
}

#[test]
fn a_server_that_is_not_there_is_named_and_so_is_a_certificate_that_is_not() {
    let (_server, source) = source();
    let store = ObjectStore::start(Kind::S3sFs);
    let host = Host::with_bucket(&source, &store);
    host.configure(&store.section(PREFIX).replace("http://", "https://"));
    host.run(&["list"]).ended_with(1).saying(&["127.0.0.1:"]);
    let section = store.section(PREFIX);
    let endpoint = store.endpoint();
    drop(store);
    host.configure(&section);
    let address = endpoint.trim_start_matches("http://");
    for command in [&["list"][..], &["backup", "prod"]] {
        host.run(command).ended_with(1).saying(&[address, "cannot be reached", "check the endpoint"]);
    }
    host.configure(&section.replace(&endpoint, "http://no-such-host.invalid"));
    host.run(&["list"]).ended_with(1).saying(&["no-such-host.invalid", "cannot be reached"]);
}

#[test]
fn credentials_that_may_only_read_make_no_backup_and_lose_none() {
    let (_server, source) = source();
    let store = ObjectStore::start(Kind::Radosgw);
    let mut host = Host::with_bucket(&source, &store);
    let [reader] = store.users([("reader", &["GetObject", "ListBucket"])]);
    host.become_user(&reader);
    host.run(&["backup", "prod"])
        .ended_with(1)
        .saying(&["the credentials do not permit it", "nothing was written"]);
    assert!(store.names(PREFIX).is_empty());

    host.become_user(&store.owner);
    let backup = id(&host.backup(&[])["header"]);
    let before = store.names(PREFIX);
    host.become_user(&reader);
    source.run("UPDATE t SET body = 'changed'");
    host.run(&["backup", "prod"])
        .ended_with(1)
        .saying(&["the credentials do not permit it", "nothing was written"]);
    assert_eq!(store.names(PREFIX), before);
    // All that only reads goes on.
    assert_eq!(host.ids(), [backup.as_str()]);
    host.run(&["verify", &backup, "--read-data"]).succeeded();
}

#[test]
fn a_repository_that_a_failed_first_backup_made_is_taken_back() {
    let (_server, source) = source();
    for kind in [Kind::Radosgw, Kind::S3sFs, Kind::Azurite] {
        let store = ObjectStore::start(kind);
        let mut host = Host::with_bucket(&source, &store);
        host.workspace.environment("GONE", "postgresql://u@127.0.0.1:1/d");
        host.run(&["backup", "gone"]).ended_with(1).saying(&["nothing was written"]);
        assert!(store.names(PREFIX).is_empty(), "{kind:?}: {:?}", store.names(PREFIX));
        // One that is there stays, whatever fails later.
        let backup = id(&host.backup(&[])["header"]);
        host.run(&["backup", "gone"]).ended_with(1);
        assert_eq!(host.ids(), [backup.as_str()]);
    }
}

#[test]
fn a_program_that_gives_no_keys_is_named_with_its_complaint() {
    let (_server, source) = source();
    let store = ObjectStore::start(Kind::S3sFs);
    let host = Host::with_bucket(&source, &store);
    let section = |line: &str| {
        let section = store.section(PREFIX);
        let kept: Vec<&str> = section.lines().filter(|line| !line.contains("STORE_")).collect();
        format!("{}\ncredential_process = {}\n", kept.join("\n"), serde_json::Value::from(line))
    };
    host.configure(&section("sh -c 'echo the session is over >&2; exit 1'"));
    host.run(&["list"]).ended_with(1).saying(&["repository.credential_process", "the session is over"]);
    let expired = r#"{\"Version\": 1, \"AccessKeyId\": \"a\", \"SecretAccessKey\": \"b\", \"Expiration\": \"2020-01-01T00:00:00Z\"}"#;
    host.configure(&section(&format!("echo \"{expired}\"")));
    host.run(&["list"]).ended_with(1).saying(&["gave keys that have expired", "2020-01-01"]);
    host.configure(&section("no-such-program --now"));
    host.run(&["list"]).ended_with(1).saying(&["cannot start no-such-program"]);
}

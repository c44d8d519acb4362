//! A backup comes back exactly from each kind of store, and the next one takes over what has not
//! changed.

use std::sync::Arc;

use crate::ground::{Host, PREFIX, id};
use crate::support::object_stores::{Kind, ObjectStore};
use crate::support::oracle;
use crate::support::psql::Database;
use crate::support::servers::{DEFAULT_MAJOR, Server};
use crate::support::workspace::files_below;

/// One table of several chunks, tables that share bundles.
const TABLES: &str = "
CREATE TABLE large (id bigint PRIMARY KEY, body text);
INSERT INTO large SELECT n, md5(n::text) || md5((n * 7)::text) FROM generate_series(1, 250000) AS n;
DO $$ BEGIN FOR n IN 1..20 LOOP
  EXECUTE format('CREATE TABLE small_%s AS SELECT n, ''row '' || n AS body FROM generate_series(1, %s) AS n', n, n);
END LOOP; END $$;
CREATE SEQUENCE numbers; SELECT setval('numbers', 42);
CREATE VIEW bodies AS SELECT count(*) FROM large;
";

/// A table whose object is sent in parts.
const WIDE: &str = "
CREATE TABLE wide (id bigint PRIMARY KEY, body bytea);
ALTER TABLE wide ALTER body SET STORAGE EXTERNAL;
INSERT INTO wide SELECT n, decode((SELECT string_agg(md5((n * 100000 + m)::text), '') FROM generate_series(1, 20000) AS m), 'hex')
FROM generate_series(1, 60) AS n;
";

/// A server that can prove something: with `fsync`.
fn server() -> Arc<Server> {
    Arc::new(Server::start_with(DEFAULT_MAJOR, |options| options.durable = true))
}

fn backup_and_restore(host: &mut Host, source: &Database) {
    host.run(&["check", "prod"]).succeeded().saying(&["holds nothing yet; the first backup makes it"]);
    let first = id(&host.backup(&["--label", "first"])["header"]);
    source.run("UPDATE small_7 SET body = 'changed' WHERE n = 3; DELETE FROM large WHERE id = 1");
    let second = host.backup(&["--label", "second"]);
    let (reused, chunks) = (&second["reuse"]["reused"], &second["reuse"]["chunks"]);
    assert!(reused.as_u64() > Some(10) && reused.as_u64() < chunks.as_u64(), "{}", second["reuse"]);
    let second = id(&second["header"]);
    let before = oracle::state(source);
    let third = id(&host.backup(&["--label", "third"])["header"]);

    assert_eq!(host.ids(), [third.as_str(), second.as_str(), first.as_str()]);
    host.run(&["check", "prod"]).succeeded();
    host.run(&["show", "prod@first"]).succeeded().saying(&[&first, "large"]);
    host.run(&["verify", &first]).succeeded();
    host.run(&["verify", "latest", "--read-data"]).succeeded();

    let target = source.server.database("target");
    host.workspace.environment("DEV", &target.url());
    host.run(&["restore", &second, "--to", "dev", "--checksums", "--no-safety-backup"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
    prune_all_but(host, &third, &[&first, &second]);
}

/// Retention lets the older backups go, and what only they needed; the newest stays whole.
fn prune_all_but(host: &Host, newest: &str, older: &[&str]) {
    let objects = || whole(host)["objects"].as_u64().expect("a number");
    let before = objects();
    host.add_to_configuration(
        "\n[env.prod]\nurl = \"${DATABASE_URL_PROD}\"\n[env.prod.retention]\nkeep_last = 1\n",
    );
    host.run(&["prune", "--dry-run"]).succeeded().saying(older);
    assert_eq!(objects(), before);
    host.run(&["prune", "--grace", "0s"]).succeeded().saying(older);
    assert_eq!(host.ids(), [newest]);
    let after = whole(host);
    assert!(after["objects"].as_u64() < Some(before), "{after}");
    assert_eq!(after["unused"]["objects"], 0, "{after}");
    host.run(&["verify", "latest", "--read-data"]).succeeded();
}

/// What the program says of the whole repository, every byte of which must be right.
fn whole(host: &Host) -> serde_json::Value {
    let outcome = host.run(&["verify", "--all", "--read-data", "--json"]).succeeded();
    serde_json::from_str(&outcome.stdout).expect("one JSON object")
}

fn on_a_store(kind: Kind) {
    let source = server().database("source");
    source.run(TABLES);
    // With its simple back end, radosgw gives back the last part in the place of each.
    if kind != Kind::Radosgw {
        source.run(WIDE);
    }
    let store = ObjectStore::start(kind);
    let mut host = Host::with_bucket(&source, &store);
    backup_and_restore(&mut host, &source);
    let names = store.names(PREFIX);
    assert!(names.iter().any(|name| name.ends_with("/pgstow.json")), "{names:?}");
    let strange: Vec<&String> =
        names.iter().filter(|name| !name.starts_with(&format!("{PREFIX}/"))).collect();
    assert!(strange.is_empty(), "{strange:?}");
    let left = files_below(&host.workspace.temporary());
    assert!(left.is_empty(), "temporary files are left: {left:?}");
}

#[test]
fn a_backup_comes_back_exactly_from_a_local_disk() {
    let source = server().database("source");
    source.run(TABLES);
    source.run(WIDE);
    backup_and_restore(&mut Host::with_folder(&source), &source);
}

#[test]
fn a_backup_comes_back_exactly_from_radosgw() {
    on_a_store(Kind::Radosgw);
}

#[test]
fn a_backup_comes_back_exactly_from_s3s_fs() {
    on_a_store(Kind::S3sFs);
}

#[test]
fn a_backup_comes_back_exactly_from_azurite() {
    on_a_store(Kind::Azurite);
}

#[test]
fn backups_are_copied_from_a_folder_to_a_bucket_and_make_a_repository_there() {
    let source = server().database("source");
    source.run(TABLES);
    let store = ObjectStore::start(Kind::Azurite);
    let host = Host::with_bucket(&source, &store);
    let there = store.section(PREFIX);
    let copies = there.replace("[repository]", "[copy.cold]");
    host.configure(&format!("[repository]\nurl = \"elsewhere/backups\"\n{copies}"));
    let first = id(&host.backup(&[])["header"]);
    host.run(&["copy", "--all", "--to", "cold"]).succeeded().saying(&[&first]);
    source.run("INSERT INTO small_1 SELECT * FROM small_1 LIMIT 1");
    let second = id(&host.backup(&[])["header"]);
    host.run(&["copy", "--all", "--to", "cold"]).succeeded().saying(&[&second, "1 there already"]);
    host.configure(&there);
    assert_eq!(host.ids(), [second, first]);
    assert_eq!(whole(&host)["unused"]["objects"], 0);
}

#[test]
fn init_makes_a_repository_in_a_bucket_and_says_what_the_store_can_do() {
    let source = server().database("source");
    for (kind, refuses) in [(Kind::Radosgw, "does not refuse"), (Kind::S3sFs, "refuses")] {
        let store = ObjectStore::start(kind);
        let mut host = Host::with_bucket(&source, &store);
        std::fs::remove_file(host.workspace.path().join("pgstow.toml")).expect("a file");
        host.workspace.set("AWS_ENDPOINT_URL_S3", &store.endpoint());
        host.workspace.set("AWS_REGION", "us-east-1");
        host.workspace.set("AWS_ACCESS_KEY_ID", &store.owner.id);
        host.workspace.set("AWS_SECRET_ACCESS_KEY", &store.owner.secret);
        let url = format!("s3://{}/made", crate::support::object_stores::BUCKET);
        host.run(&["init", "--repository", &url]).succeeded().saying(&[&url, refuses, "can be removed"]);
        let written = std::fs::read_to_string(host.workspace.path().join("pgstow.toml")).expect("a file");
        assert!(written.contains(&store.endpoint()) && !written.contains(&store.owner.secret), "{written}");
        host.run(&["list"]).succeeded().saying(&["no backups in"]);
        assert_eq!(store.names("made"), ["made/pgstow.json"]);
    }
}

#[test]
fn a_safety_backup_in_a_bucket_is_put_back() {
    let source = server().database("source");
    source.run(TABLES);
    let store = ObjectStore::start(Kind::S3sFs);
    let mut host = Host::with_bucket(&source, &store);
    let ordinary = id(&host.backup(&[])["header"]);
    let target = source.server.database("target");
    target.run(
        "CREATE TABLE precious (n int PRIMARY KEY, v text); CREATE SCHEMA mine; CREATE TABLE mine.t (x serial); \
         INSERT INTO precious VALUES (1, 'a'); INSERT INTO mine.t DEFAULT VALUES; SELECT lo_from_bytea(77, 'mine')",
    );
    host.workspace.environment("DEV", &target.url());
    let before = oracle::state(&target);
    let lacks_precious = || target.value("SELECT to_regclass('public.precious') IS NULL");
    for arguments in [&[][..], &["--jobs", "3"]] {
        let restore = [&["restore", &ordinary, "--to", "dev", "--clean", "--yes"], arguments].concat();
        host.run(&restore).succeeded().saying(&["pgstow undo dev"]);
        assert_eq!(lacks_precious(), "t");
        host.run(&["undo", "dev", "--yes", "--checksums"]).succeeded();
        oracle::assert_same(&before, &oracle::state(&target));
    }
    // The restores' and the undos' own, all of them beside the ordinary one.
    assert_eq!(host.ids().iter().filter(|id| id.ends_with("_safety")).count(), 4);
    host.run(&["verify", "--all", "--read-data"]).succeeded();
}

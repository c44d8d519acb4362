//! A host that is broken into can neither read nor remove what it backed up: it has a public key
//! alone, and credentials that may not delete.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ground::{Host, PREFIX, id};
use crate::support::object_stores::{Kind, ObjectStore};
use crate::support::oracle;
use crate::support::servers::{DEFAULT_MAJOR, Server};
use crate::support::workspace::files_below;

const TABLES: &str = "
CREATE TABLE large (id bigint, body text);
INSERT INTO large SELECT n, 'xyzzy' || md5(n::text) FROM generate_series(1, 300000) AS n;
CREATE TABLE small AS SELECT n FROM generate_series(1, 3) AS n;
";

/// What a host needs that backs up (`docs/stores.md`).
const WRITER: [&str; 4] = ["GetObject", "PutObject", "AbortMultipartUpload", "ListBucket"];
/// What a host needs that restores: it writes the record of the restore.
const RESTORER: [&str; 3] = ["GetObject", "PutObject", "ListBucket"];

#[test]
fn a_host_that_may_not_delete_and_has_no_private_key_backs_up_incrementally() {
    let server = Arc::new(Server::start_with(DEFAULT_MAJOR, |options| options.durable = true));
    let source = server.database("source");
    source.run(TABLES);
    let store = ObjectStore::start(Kind::Radosgw);
    let mut elsewhere = Host::with_bucket(&source, &store);
    let key = elsewhere.workspace.temporary().join("key.txt").to_string_lossy().into_owned();
    let public = elsewhere.run(&["key", "new", "--output", &key, "--quiet"]).succeeded().stdout;

    let mut host = Host::with_bucket(&source, &store);
    // Objects belong to who wrote them: the bucket's owner could not read them.
    let [writer, restorer] = store.users([("writer", &WRITER), ("restorer", &RESTORER)]);
    host.become_user(&writer);
    host.configure(&format!("{}encrypt_to = [\"{}\"]\n", store.section(PREFIX), public.trim()));

    let names = || store.names(PREFIX).into_iter().collect::<BTreeSet<String>>();
    host.backup(&["--label", "full"]);
    let after_the_first = names();
    source.run("INSERT INTO small VALUES (4)");
    let second = host.backup(&["--label", "incremental"]);
    let (reused, chunks) = (&second["reuse"]["reused"], &second["reuse"]["chunks"]);
    assert_eq!(second["reuse"]["full"], serde_json::Value::Null, "{second}");
    assert!(reused.as_u64() >= Some(2) && reused.as_u64() < chunks.as_u64(), "{}", second["reuse"]);
    let gone: Vec<&String> = after_the_first.iter().filter(|name| !names().contains(*name)).collect();
    assert!(gone.is_empty(), "{gone:?}");
    // It cannot read what it wrote, and nothing on it could.
    host.run(&["verify", "latest", "--read-data"]).ended_with(3).saying(&["no private key"]);
    for folder in [host.workspace.path(), host.workspace.temporary()] {
        for (file, _) in files_below(&folder) {
            let content = std::fs::read(&file).expect("a file");
            let found = content.windows(14).any(|window| window == b"AGE-SECRET-KEY");
            assert!(!found, "{} holds a private key", file.display());
        }
    }

    let before = oracle::state(&source);
    let second = id(&second["header"]);
    elsewhere.become_user(&restorer);
    elsewhere.configure(&format!("{}identity_file = \"{key}\"\n", store.section(PREFIX)));
    elsewhere.run(&["verify", "prod@full", "--read-data"]).succeeded();
    elsewhere.run(&["verify", &second, "--read-data"]).succeeded();
    let target = server.database("target");
    elsewhere.workspace.environment("DEV", &target.url());
    elsewhere.run(&["restore", &second, "--to", "dev", "--checksums"]).succeeded();
    oracle::assert_same(&before, &oracle::state(&target));
}

//! Keys of a store are shown nowhere: no argument, no child's environment, no message, no file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::ground::{Host, PREFIX};
use crate::support::object_stores::{Kind, ObjectStore};
use crate::support::servers::{DEFAULT_MAJOR, client_programs, shared};
use crate::support::workspace::files_below;

/// Passes everything on to the real program, and writes down what it and its parent were given.
const SPY: &str = r#"#!/bin/bash
{ printf '%s\n' "$@"; env; tr '\0' '\n' < /proc/$PPID/cmdline; } >> "$(dirname "$0")/seen"
exec REAL/pg_dump "$@"
"#;

fn write_script(path: &Path, content: &str) {
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
}

fn assert_absent(secret: &str, folder: &Path) {
    for (file, _) in files_below(folder) {
        let bytes = fs::read(&file).expect("a file");
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds the key", file.display());
    }
}

#[test]
fn the_keys_reach_no_child_no_output_and_no_file() {
    let server = shared(DEFAULT_MAJOR);
    let source = server.database("secret");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let store = ObjectStore::start(Kind::S3sFs);
    let mut host = Host::with_bucket(&source, &store);
    let spy = host.workspace.temporary().join("spy");
    fs::create_dir(&spy).expect("a folder");
    let real = client_programs(DEFAULT_MAJOR).to_string_lossy().into_owned();
    write_script(&spy.join("pg_dump"), &SPY.replace("REAL", &real));
    let path = spy.to_string_lossy().into_owned();
    let target = server.database("target");
    host.workspace.environment("DEV", &target.url());

    // Each run looks for the key in what it prints.
    host.run(&["backup", "prod", "--pg-dump", &path]).succeeded();
    host.run(&["backup", "prod", "--json", "--pg-dump", &path]).succeeded();
    host.run(&["check", "prod"]).succeeded();
    host.run(&["list"]).succeeded().saying(&["t"]);
    host.run(&["restore", "latest", "--to", "dev"]).succeeded();
    host.run(&["list", "--repository", "s3://no-such-bucket"]).ended_with(5);
    host.run(&["init"]).ended_with(4);

    let seen = fs::read_to_string(spy.join("seen")).expect("pg_dump was called");
    assert!(seen.contains("--schema-only") || seen.contains("-s\n"), "{seen}");
    assert!(!seen.contains(&store.owner.secret), "a child saw the key");
    assert!(!store.names(PREFIX).is_empty());
    assert_absent(&store.owner.secret, &store.data());
    // The configuration only refers to it.
    for folder in [host.workspace.path(), host.workspace.temporary()] {
        assert_absent(&store.owner.secret, &folder);
    }
}

#[test]
fn keys_that_a_program_gives_stay_in_memory() {
    let server = shared(DEFAULT_MAJOR);
    let source = server.database("secret");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let store = ObjectStore::start(Kind::S3sFs);
    let mut host = Host::with_bucket(&source, &store);
    host.workspace.set("STORE_KEY", "unused");
    let vault = tempfile::tempdir().expect("a temporary directory");
    let answer = serde_json::json!({
        "Version": 1, "AccessKeyId": store.owner.id, "SecretAccessKey": store.owner.secret,
        "Expiration": "2999-01-01T00:00:00Z",
    });
    fs::write(vault.path().join("answer"), answer.to_string()).expect("a file");
    let program = vault.path().join("give keys");
    // Beside the keys it shows who asks: what anybody on this machine can see of that process.
    let script = format!(
        "#!/bin/bash\ntr '\\0' '\\n' < /proc/$PPID/cmdline >> {0}/seen\ntr '\\0' '\\n' < /proc/$PPID/environ >> {0}/seen\ncat {0}/answer\n",
        vault.path().display()
    );
    write_script(&program, &script);
    let section = store.section(PREFIX);
    let kept: Vec<&str> = section.lines().filter(|line| !line.contains("STORE_")).collect();
    host.configure(&format!("{}\ncredential_process = \"'{}'\"\n", kept.join("\n"), program.display()));

    host.run(&["backup", "prod"]).succeeded();
    host.run(&["verify", "latest", "--read-data"]).succeeded();
    let seen = fs::read_to_string(vault.path().join("seen")).expect("the program was called");
    assert!(seen.contains("backup") && !seen.contains(&store.owner.secret), "{seen}");
    assert_absent(&store.owner.secret, &store.data());
    for folder in [host.workspace.path(), host.workspace.temporary()] {
        assert_absent(&store.owner.secret, &folder);
    }
}

//! Hosts that back up with the public key alone.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::{SECRETS, encrypt_to, encrypted, reuse, text};
use crate::support::oracle;
use crate::support::servers::{DEFAULT_MAJOR, Server};
use crate::support::workspace::{Workspace, files_below};

/// A server that can prove something.
fn provable_server() -> Arc<Server> {
    Arc::new(Server::start_with(DEFAULT_MAJOR, |options| options.durable = true))
}

fn objects(workspace: &Workspace) -> Vec<String> {
    let files = files_below(&workspace.repository().join("objects"));
    files
        .iter()
        .map(|(path, _)| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_host_without_a_private_key_backs_up_incrementally_and_another_restores() {
    let server = provable_server();
    let source = server.database("source");
    source.run(SECRETS);
    let (mut workspace, key) = encrypted(&source);
    let hidden = workspace.temporary().join("elsewhere.txt");
    std::fs::rename(&key, &hidden).expect("the key goes elsewhere");

    workspace.backup(&[]);
    source.run("UPDATE tiny_plugh SET plugh_column = 'changed'");
    let reuse = reuse(&workspace, &[]);
    assert_eq!(reuse["full"], serde_json::Value::Null, "{reuse}");
    assert!(reuse["reused"].as_u64() >= Some(2), "{reuse}");
    assert_eq!(reuse["definitions_reused"], true, "{reuse}");

    let target = server.database("target");
    workspace.environment("DEV", &target.url());
    let configuration = workspace.path().join("pgstow.toml");
    let text_before = std::fs::read_to_string(&configuration).expect("a configuration");
    let more = "\n[env.dev]\nurl = \"${DATABASE_URL_DEV}\"\n";
    std::fs::write(&configuration, text_before + more).expect("a configuration");
    workspace.run(&["verify", "latest", "--read-data", "--identity", text(&hidden)]).succeeded();
    workspace
        .run(&["restore", "latest", "--to", "dev", "--checksums", "--identity", text(&hidden)])
        .succeeded();
    oracle::assert_same(&oracle::state(&source), &oracle::state(&target));
    // The receipt is encrypted, and read again with the key.
    workspace.run(&["show", "latest", "--identity", text(&hidden)]).succeeded().saying(&["equal"]);
    workspace.run(&["list"]).succeeded().saying(&["no key"]);
}

#[test]
fn no_name_and_no_value_of_the_database_is_in_the_repository() {
    let server = provable_server();
    let source = server.database("source");
    source.run(SECRETS);
    source.run("CREATE ROLE zork_reader; GRANT SELECT ON secret_ledger TO zork_reader");
    let (workspace, key) = encrypted(&source);
    workspace.backup(&[]);
    workspace.backup(&[]);
    // A receipt too: of a restore that does nothing but fail.
    let target = server.database("target");
    target.run("CREATE TABLE tiny_plugh ()");
    workspace.run(&["restore", "latest", "--url", &target.url(), "--identity", text(&key)]).ended_with(4);
    let empty = server.database("empty");
    workspace.run(&["restore", "latest", "--url", &empty.url(), "--identity", text(&key)]).succeeded();
    let words = ["secret_ledger", "xyzzy", "plugh", "frobozz", "grue", "zork", "holder_word", &empty.name];
    let log = workspace.repository().join("audit");
    for (file, _) in files_below(&workspace.repository()) {
        let bytes = std::fs::read(&file).expect("a file");
        let is_event = file.starts_with(&log);
        let is_header = file.ends_with("backup.json");
        for word in words {
            // The audit log tells without a key where a restore went, and a header what database it is of.
            if (is_event || is_header) && word == empty.name {
                continue;
            }
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{} holds {word}", file.display());
        }
        let plain = ["pgstow.json", "backup.json", "objects.list"];
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(is_event || name.ends_with(".age") || plain.contains(&name.as_str()), "{name}");
        assert_eq!(bytes.starts_with(b"age-encryption.org/v1\n"), name.ends_with(".age"), "{name}");
    }
    server.existing("postgres").run("DROP OWNED BY zork_reader");
}

#[test]
fn a_lost_cache_costs_a_full_reading_and_a_key_at_hand_saves_it() {
    let server = provable_server();
    let source = server.database("source");
    source.run(SECRETS);
    let (mut workspace, key) = encrypted(&source);
    workspace.backup(&[]);
    let cache = workspace.temporary().join("cache");
    workspace.set("XDG_CACHE_HOME", text(&cache));
    workspace.run(&["backup", "prod"]).succeeded().saying(&[
        "everything: no copy of the last manifest is on this host, and no key to read it is at hand",
    ]);
    // That one left a copy.
    assert_eq!(reuse(&workspace, &[])["full"], serde_json::Value::Null);

    let mode =
        |path: &std::path::Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let copies = files_below(&cache);
    assert_eq!(copies.len(), 1, "{copies:?}");
    for (file, _) in &copies {
        let folder = file.parent().expect("a folder");
        assert_eq!((mode(file), mode(folder)), (0o600, 0o700), "{}", file.display());
    }

    std::fs::remove_dir_all(&cache).expect("the cache can be lost");
    workspace.set("PGSTOW_IDENTITY_FILE", text(&key));
    assert_eq!(reuse(&workspace, &[])["full"], serde_json::Value::Null);
}

#[test]
fn a_damaged_or_foreign_copy_of_a_manifest_is_not_used() {
    let server = provable_server();
    let source = server.database("source");
    source.run(SECRETS);
    let (mut workspace, _) = encrypted(&source);
    let cache = workspace.temporary().join("cache");
    workspace.set("XDG_CACHE_HOME", text(&cache));
    workspace.backup(&[]);
    let (copy, bytes) = files_below(&cache).remove(0);
    let whole = std::fs::read(&copy).expect("a copy");
    for at in [0, 65, bytes / 2, bytes - 1] {
        let at = usize::try_from(at).expect("a place in a file");
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::remove_dir_all(&cache).expect("it can be removed");
        std::fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
        std::fs::write(&copy, &changed).expect("a copy");
        let reuse = reuse(&workspace, &["--label", &format!("at{at}")]);
        assert!(reuse["full"].as_str().is_some_and(|why| why.starts_with("no copy")), "{at}: {reuse}");
        std::fs::remove_dir_all(workspace.repository().join("backups").join(newest(&workspace)))
            .expect("it can be removed");
    }
    // The copy of a backup that is not in the repository any more.
    std::fs::remove_dir_all(&cache).expect("it can be removed");
    std::fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
    std::fs::write(&copy, &whole).expect("a copy");
    std::fs::remove_dir_all(workspace.repository().join("backups").join(newest(&workspace)))
        .expect("it can be removed");
    let reuse = reuse(&workspace, &[]);
    assert_eq!(reuse["full"], "there is no earlier backup to compare with");
}

fn newest(workspace: &Workspace) -> String {
    workspace.backups().pop().expect("a backup")
}

#[test]
fn other_recipients_get_everything_anew_and_removed_ones_nothing() {
    let server = provable_server();
    let source = server.database("source");
    source.run(SECRETS);
    let (workspace, first) = encrypted(&source);
    let first_public = workspace.run(&["key", "show", text(&first)]).succeeded().stdout.trim().to_owned();
    workspace.backup(&[]);
    let before = objects(&workspace);

    let second = workspace.temporary().join("second.txt");
    let second_public = workspace.new_key(&second);
    encrypt_to(&workspace, &[&second_public]);
    workspace.run(&["backup", "prod"]).succeeded().saying(&[
        "everything: earlier backups are encrypted to other public keys (encrypt_to changed)",
        "earlier backups stay readable",
    ]);
    let lists = |id: &str| {
        let list = workspace.repository().join("backups").join(id).join("objects.list");
        std::fs::read_to_string(list).expect("a list")
    };
    let ids = workspace.backups();
    assert!(lists(&ids[1]).lines().all(|name| !lists(&ids[0]).contains(name)), "no object is shared");
    assert!(objects(&workspace).len() > before.len());
    workspace.run(&["verify", &ids[1], "--read-data", "--identity", text(&second)]).succeeded();
    workspace.run(&["verify", &ids[1], "--identity", text(&first)]).ended_with(7).saying(&[
        "wrong key",
        &second_public,
        &first_public,
    ]);

    let again = workspace.run(&["backup", "prod"]).succeeded();
    assert!(!again.said().contains("stay readable"), "{}", again.said());

    // The same keys in another order, one of them twice and from a file, are the same recipients.
    encrypt_to(&workspace, &[&first_public, &second_public]);
    workspace.backup(&[]);
    let list = format!("# both\n{second_public}\n{first_public}\n");
    std::fs::write(workspace.path().join("recipients.txt"), list).expect("a file");
    encrypt_to(&workspace, &["recipients.txt", &first_public]);
    assert_eq!(reuse(&workspace, &[])["full"], serde_json::Value::Null);
    for key in [&first, &second] {
        workspace.run(&["verify", "latest", "--read-data", "--identity", text(key)]).succeeded();
    }
}

#[test]
fn the_objects_of_equal_rows_are_stored_once_by_a_host_without_a_key() {
    let server = provable_server();
    let source = server.database("source");
    source.run(SECRETS);
    let (workspace, key) = encrypted(&source);
    workspace.backup(&[]);
    let before = objects(&workspace);
    workspace.backup(&["--full"]);
    assert_eq!(objects(&workspace), before);
    workspace.run(&["verify", "latest", "--read-data", "--identity", text(&key)]).succeeded();

    // One that is not what it was is never taken for it: its content is stored as the next copy.
    let (file, bytes) = files_below(&workspace.repository().join("objects")).pop().expect("an object");
    let whole = std::fs::read(&file).expect("an object");
    std::fs::write(&file, &whole[..whole.len() - 1]).expect("an object");
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    workspace.backup(&["--full"]);
    let copy = name.replace(".zst.age", "-1.zst.age");
    assert!(objects(&workspace).contains(&copy), "{copy}");
    workspace.run(&["verify", "latest", "--read-data", "--identity", text(&key)]).succeeded();
    workspace
        .run(&["verify", "--all", "--read-data", "--identity", text(&key)])
        .ended_with(1)
        .saying(&[&name.replace(".zst.age", "")]);
    assert!(bytes > 0);
}

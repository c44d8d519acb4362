//! What is said, and with which exit code, when a key is wrong or missing.

use super::{encrypt_to, encrypted, text};
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::Workspace;

#[test]
fn a_missing_a_wrong_and_a_broken_key_are_told_apart() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let (mut workspace, key) = encrypted(&source);
    let public = workspace.run(&["key", "show", text(&key)]).succeeded().stdout.trim().to_owned();
    let id = workspace.backup(&[]);
    let folder = workspace.temporary();
    let readers: [(&[&str], i32); 4] = [
        (&["show", "latest"], 7),
        // What needs no key is verified all the same.
        (&["verify", "latest"], 3),
        (&["verify", "latest", "--read-data"], 3),
        (&["restore", "latest", "--url", "$DATABASE_URL_PROD"], 7),
    ];
    for (reader, code) in readers {
        let outcome = workspace.run(reader).ended_with(code).saying(&["no private key", &id, &public]);
        assert!(code == 3 || outcome.said().contains("--identity FILE"), "{}", outcome.said());
    }
    workspace.run(&["list"]).succeeded().saying(&[&id]);

    let other = folder.join("other.txt");
    let other_public = workspace.new_key(&other);
    for (reader, _) in readers {
        let all: Vec<&str> = reader.iter().copied().chain(["--identity", text(&other)]).collect();
        workspace.run(&all).ended_with(7).saying(&["wrong key", &id, &public, &other_public]);
    }

    let broken = folder.join("broken.txt");
    let secret = "AGE-SECRET-KEY-1NOTAKEYATALL";
    let cases = [
        ("", "it holds no key"),
        (secret, "line 1 is no private key"),
        ("# c\nAGE-PLUGIN-YUBIKEY-1ABC", "line 2 is a key of a plugin"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "cannot be used"),
        ("age-encryption.org/v1\n-> X25519 AAAA\nBBBB\n--- CCCC\n", "cannot be opened"),
    ];
    for (content, expected) in cases {
        std::fs::write(&broken, content).expect("a file");
        workspace.set("PGSTOW_PASSPHRASE", "anything");
        let outcome = workspace.run(&["show", "latest", "--identity", text(&broken)]).ended_with(7);
        let outcome = outcome.saying(&[expected, "broken.txt"]);
        assert!(!outcome.said().contains(secret), "{}", outcome.said());
    }
    workspace
        .run(&["show", "latest", "--identity", "absent.txt"])
        .ended_with(7)
        .saying(&["cannot read the identity file", "absent.txt"]);
}

#[test]
fn what_cannot_be_encrypted_to_is_refused_by_name() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let (workspace, key) = encrypted(&source);
    let before = workspace.repository_files();
    let cases = [
        (
            "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
            "a key of the YubiKey plugin",
        ),
        ("age1pq1qqqqqqq", "a post-quantum key"),
        ("age1frobnicate1qqqqqq", "the plugin \"frobnicate\""),
        ("age1qqqqqqqq", "has a typing error"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACBAP", "is no public key"),
        ("ssh-ed25519 AAAA", "is no public key"),
        ("ecdsa-sha2-nistp256 AAAA", "is no public key"),
        ("absent.txt", "cannot read"),
    ];
    for (entry, expected) in cases {
        encrypt_to(&workspace, &[entry]);
        workspace.run(&["backup", "prod"]).ended_with(2).saying(&[expected]);
    }
    encrypt_to(&workspace, &[]);
    workspace.run(&["backup", "prod"]).ended_with(2).saying(&["encrypt_to names no public key"]);
    let private = std::fs::read_to_string(&key).expect("a key");
    let private = private.lines().last().expect("a line");
    encrypt_to(&workspace, &[private]);
    let outcome = workspace.run(&["backup", "prod"]).ended_with(2).saying(&["holds a private key"]);
    assert!(!outcome.said().contains(private));
    assert_eq!(workspace.repository_files(), before);
}

#[test]
fn a_repository_stays_encrypted_or_plain_as_it_was_made() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let plain = Workspace::with_source(&source);
    plain.run(&["init"]).succeeded();
    plain.backup(&[]);
    let key = plain.temporary().join("key.txt");
    let public = plain.new_key(&key);
    encrypt_to(&plain, &[&public]);
    let before = plain.repository_files();
    plain.run(&["backup", "prod"]).ended_with(4).saying(&[
        "is not encrypted, and encrypt_to is configured",
        "pgstow copy",
        "remove encrypt_to",
    ]);
    assert_eq!(plain.repository_files(), before);
    // What is there can still be read.
    plain.run(&["verify", "latest"]).succeeded();

    let (workspace, _) = encrypted(&source);
    let configuration = workspace.path().join("pgstow.toml");
    let text = std::fs::read_to_string(&configuration).expect("a configuration");
    let without: String =
        text.lines().filter(|line| !line.starts_with("encrypt_to")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&configuration, without).expect("a configuration");
    let before = workspace.repository_files();
    workspace.run(&["backup", "prod"]).ended_with(7).saying(&[
        "no public key is configured",
        "encrypt_to",
        "never taken from the repository",
    ]);
    assert_eq!(workspace.repository_files(), before);
}

#[test]
fn encrypted_backups_are_copied_to_a_plain_repository_only_when_that_is_meant() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let (workspace, key) = encrypted(&source);
    let id = workspace.backup(&[]);
    let copy = ["copy", &id, "--to", "./plain", "--identity", text(&key)];
    workspace.run(&copy).ended_with(4).saying(&["is not encrypted", "--decrypt"]);
    assert!(!workspace.path().join("plain").exists());
    workspace.run(&[&copy[..], &["--decrypt"]].concat()).succeeded();
    workspace.run(&["verify", "--all", "--read-data", "--repository", "plain"]).succeeded();
}

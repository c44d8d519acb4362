//! Every kind of recipient with every kind of identity, made by stock programs.

use std::path::{Path, PathBuf};

use super::{SECRETS, encrypt_to, encrypted, stock, text};
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::Workspace;

const PASSPHRASE: &str = "correct horse battery staple";

fn ssh_key(folder: &Path, name: &str, kind: &str, passphrase: &str) -> (PathBuf, String) {
    let file = folder.join(name);
    let bits: &[&str] = if kind == "rsa" { &["-b", "2048"] } else { &[] };
    let arguments = ["-q", "-t", kind, "-N", passphrase, "-C", "somebody@example.com", "-f", text(&file)];
    stock("ssh-keygen", &[&arguments, bits].concat());
    let public = std::fs::read_to_string(file.with_extension("pub")).expect("a public key");
    (file, public.trim().to_owned())
}

#[track_caller]
fn reads(workspace: &Workspace, arguments: &[&str]) {
    let all: Vec<&str> = ["verify", "latest", "--read-data"].iter().chain(arguments).copied().collect();
    workspace.run(&all).succeeded();
}

#[test]
fn each_kind_of_recipient_reads_with_its_identity() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) AS n");
    let (mut workspace, own) = encrypted(&source);
    let folder = workspace.temporary();
    let (ed25519, ed25519_public) = ssh_key(&folder, "ed25519", "ed25519", "");
    let (rsa, rsa_public) = ssh_key(&folder, "rsa", "rsa", "");
    let (protected, protected_public) = ssh_key(&folder, "protected", "ed25519", PASSPHRASE);
    let stock_key = folder.join("stock.txt");
    stock("age-keygen", &["-o", text(&stock_key)]);
    let stock_public = workspace.run(&["key", "show", text(&stock_key)]).succeeded().stdout.trim().to_owned();
    let own_public = workspace.run(&["key", "show", text(&own)]).succeeded().stdout.trim().to_owned();

    workspace.set("PGSTOW_PASSPHRASE", PASSPHRASE);
    let guarded = folder.join("guarded.age");
    let arguments = ["key", "new", "--passphrase", "--output", text(&guarded), "--quiet"];
    let guarded_public = workspace.run(&arguments).succeeded().stdout.trim().to_owned();
    assert!(std::fs::read(&guarded).expect("a key").starts_with(b"age-encryption.org/v1\n-> scrypt "));

    let all = [&own_public, &ed25519_public, &rsa_public, &protected_public, &stock_public, &guarded_public];
    encrypt_to(&workspace, &all.map(String::as_str));
    workspace.backup(&[]);
    for identity in [&own, &ed25519, &rsa, &protected, &stock_key, &guarded] {
        reads(&workspace, &["--identity", text(identity)]);
        // The same through a variable, and as text where it is text.
        workspace.set("PGSTOW_IDENTITY_FILE", text(identity));
        reads(&workspace, &[]);
        workspace.set("PGSTOW_IDENTITY_FILE", "");
        if let Ok(content) = std::fs::read_to_string(identity) {
            workspace.set("PGSTOW_IDENTITY", &content);
            reads(&workspace, &[]);
            workspace.set("PGSTOW_IDENTITY", "");
        }
    }
    // Each of them alone opens the file with stock age, as long as it asks for no passphrase.
    let manifest =
        workspace.repository().join("backups").join(&workspace.backups()[0]).join("version.txt.age");
    for identity in [&own, &ed25519, &rsa, &stock_key] {
        let content = stock("age", &["-d", "-i", text(identity), text(&manifest)]);
        assert!(String::from_utf8_lossy(&content).contains("pgstow"), "{content:?}");
    }
}

#[test]
fn keys_come_from_the_configuration_as_well() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let (mut workspace, key) = encrypted(&source);
    workspace.backup(&[]);
    let configuration = workspace.path().join("pgstow.toml");
    let before = std::fs::read_to_string(&configuration).expect("a configuration");
    let with = |lines: &str| {
        let after = before.replace("[repository]\n", &format!("[repository]\n{lines}\n"));
        std::fs::write(&configuration, after).expect("a configuration");
    };
    std::fs::copy(&key, workspace.path().join("mine.txt")).expect("a copy");
    with("identity_file = \"mine.txt\"");
    reads(&workspace, &[]);
    with("identity_command = \"cat mine.txt\"");
    reads(&workspace, &[]);
    with("identity_command = \"echo nothing >&2; exit 3\"");
    workspace.run(&["verify", "latest"]).ended_with(1).saying(&["identity_command", "nothing"]);

    workspace.set("PGSTOW_PASSPHRASE", PASSPHRASE);
    let guarded = workspace.path().join("guarded.age");
    let arguments = ["key", "new", "--passphrase", "--output", text(&guarded), "--quiet"];
    let public = workspace.run(&arguments).succeeded().stdout.trim().to_owned();
    workspace.set("PGSTOW_PASSPHRASE", "");
    let before = before.replace("[repository]\n", "[repository]\nidentity_file = \"guarded.age\"\n");
    std::fs::write(&configuration, &before).expect("a configuration");
    encrypt_to(&workspace, &[&public]);
    workspace.backup(&[]);
    std::fs::write(workspace.path().join("passphrase"), format!("{PASSPHRASE}\n")).expect("a file");
    for line in ["passphrase_file = \"passphrase\"", "passphrase_command = \"cat passphrase\""] {
        let text = std::fs::read_to_string(&configuration).expect("a configuration");
        let lines = text.lines().filter(|line| !line.starts_with("passphrase_"));
        let kept: String = lines.map(|line| format!("{line}\n")).collect();
        std::fs::write(&configuration, kept.replace("[repository]\n", &format!("[repository]\n{line}\n")))
            .expect("a configuration");
        reads(&workspace, &[]);
    }
}

#[test]
fn a_repository_with_a_passphrase_asks_for_it_to_read_and_never_to_back_up() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run(SECRETS);
    let mut workspace = Workspace::with_source(&source);
    workspace.run(&["init", "--passphrase"]).ended_with(7).saying(&["PGSTOW_PASSPHRASE"]);
    assert!(!workspace.repository().exists(), "nothing is left of it");
    workspace.set("PGSTOW_PASSPHRASE", PASSPHRASE);
    workspace.run(&["init", "--passphrase"]).succeeded();
    workspace.set("PGSTOW_PASSPHRASE", "");
    workspace.backup(&[]);
    workspace.backup(&[]);
    workspace.run(&["show", "latest"]).ended_with(7).saying(&["no private key"]);
    workspace.set("PGSTOW_PASSPHRASE", "wrong");
    workspace.run(&["show", "latest"]).ended_with(7).saying(&["wrong passphrase"]);
    workspace.set("PGSTOW_PASSPHRASE", PASSPHRASE);
    reads(&workspace, &[]);
    let keys: Vec<PathBuf> = std::fs::read_dir(workspace.repository().join("keys"))
        .expect("keys")
        .map(|entry| entry.expect("a key").path())
        .collect();
    assert_eq!(keys.len(), 1);
    let shown = workspace.run(&["key", "show", text(&keys[0])]).succeeded().stdout;
    assert_eq!(
        keys[0].file_name().and_then(|name| name.to_str()),
        Some(format!("{}.age", shown.trim()).as_str())
    );
}

#[test]
fn a_new_key_is_its_owners_alone_and_overwrites_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::new();
    let file = workspace.temporary().join("key.txt");
    let public = workspace.new_key(&file);
    let mode = std::fs::metadata(&file).expect("a key").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let before = std::fs::read(&file).expect("a key");
    workspace
        .run(&["key", "new", "--output", text(&file)])
        .ended_with(4)
        .saying(&["exists already", "never overwritten"]);
    assert_eq!(std::fs::read(&file).expect("a key"), before);
    let stock_public = stock("age-keygen", &["-y", text(&file)]);
    assert_eq!(String::from_utf8_lossy(&stock_public).trim(), public);
    // To standard output it is an identity file of age.
    let printed = workspace.run(&["key", "new"]).succeeded().stdout;
    assert!(printed.contains("AGE-SECRET-KEY-1") && printed.starts_with("# created: "), "{}", printed.len());
}

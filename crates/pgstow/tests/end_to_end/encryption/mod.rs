//! Encrypted repositories as their users have them: keys of every kind, hosts with the public key
//! alone, and what is said when a key is wrong or missing.

mod hosts;
mod keys;
mod messages;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::psql::Database;
use crate::support::workspace::Workspace;

/// Rows in a table of several chunks and in small ones, with words that no repository may show.
const SECRETS: &str = "
CREATE TABLE secret_ledger (id bigint, holder_word text);
INSERT INTO secret_ledger SELECT n, 'xyzzy' || md5(n::text) FROM generate_series(1, 300000) AS n;
CREATE TABLE tiny_plugh (plugh_column text);
INSERT INTO tiny_plugh VALUES ('frobozz magic word');
CREATE VIEW plugh_view AS SELECT count(*) FROM tiny_plugh;
COMMENT ON TABLE tiny_plugh IS 'grue lurks here';
";

/// A workspace whose repository is encrypted, and the file with its private key.
fn encrypted(source: &Database) -> (Workspace, PathBuf) {
    let workspace = Workspace::with_source(source);
    let key = workspace.encrypt();
    (workspace, key)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Runs a stock program that must succeed.
#[track_caller]
fn stock(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Changes what `encrypt_to` says.
fn encrypt_to(workspace: &Workspace, keys: &[&str]) {
    let path = workspace.path().join("pgstow.toml");
    let before = std::fs::read_to_string(&path).expect("a configuration");
    let list = keys.iter().map(|key| format!("{key:?}")).collect::<Vec<_>>().join(", ");
    let lines = before.lines().filter(|line| !line.starts_with("encrypt_to"));
    let after: String = lines
        .map(|line| match line {
            "[repository]" => format!("[repository]\nencrypt_to = [{list}]\n"),
            line => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&path, after).expect("a configuration");
}

/// The `reuse` of a backup made now.
#[track_caller]
fn reuse(workspace: &Workspace, arguments: &[&str]) -> serde_json::Value {
    let all: Vec<&str> = ["backup", "prod", "--json"].iter().chain(arguments).copied().collect();
    let outcome = workspace.run(&all).succeeded();
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("one JSON object");
    report["reuse"].clone()
}

//! Stock pg_restore and psql of a version, and the formats that they take.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::psql::Database;
use crate::support::servers::programs;
use crate::support::stock::{program_of, succeeds};
use crate::support::workspace::Workspace;

/// Default privileges that belong to no schema outlive a --clean, as they do with pg_dump's, and add to what
/// is created then.
pub(crate) const DEFAULTS_GONE: &str = "ALTER DEFAULT PRIVILEGES REVOKE USAGE ON SCHEMAS FROM shop_reader";

/// Stock tools that restore exports, in folders of `.test/servers`: old and new ones.
pub(crate) const VERSIONS: [&str; 6] =
    ["client-13", "client-14", "client-15", "client-16", "client-17", "client-18"];

/// A client program of a version, connecting to a database.
pub(crate) fn client(folder: &str, name: &str, database: &Database) -> Command {
    let mut command = program_of(folder, database, name);
    command.args(["-d", &database.name]);
    command
}

/// What `pg_restore` prints of an archive alone.
#[track_caller]
pub(crate) fn pg_restore_prints(folder: &str, archive: &Path, options: &[&str]) -> String {
    let mut command = Command::new(programs(folder).join("pg_restore"));
    let output = succeeds(command.env_clear().args(options).arg(archive));
    String::from_utf8(output.stdout).expect("pg_restore prints UTF-8")
}

/// Restores an archive; stops the test at the first error.
#[track_caller]
pub(crate) fn pg_restore(folder: &str, archive: &Path, database: &Database, options: &[&str]) -> Output {
    let mut command = client(folder, "pg_restore", database);
    succeeds(command.arg("--exit-on-error").args(options).arg(archive))
}

/// Runs a script; stops the test at the first error.
#[track_caller]
pub(crate) fn psql(folder: &str, script: &Path, database: &Database, options: &[&str]) -> Output {
    succeeds(psql_command(folder, script, database).args(options))
}

/// psql that runs a script up to the first error.
pub(crate) fn psql_command(folder: &str, script: &Path, database: &Database) -> Command {
    let mut command = client(folder, "psql", database);
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(script);
    command
}

/// Unpacks a file with stock gzip.
pub(crate) fn unpacked(file: &Path) -> PathBuf {
    let unpacked = file.with_extension("unpacked");
    let output = succeeds(Command::new("gzip").args(["-d", "-c"]).arg(file));
    std::fs::write(&unpacked, output.stdout).expect("a file");
    unpacked
}

/// Exports a backup; where it is.
#[track_caller]
pub(crate) fn export(workspace: &Workspace, backup: &str, name: &str, options: &[&str]) -> PathBuf {
    let all: Vec<&str> = ["export", backup, "--output", name].iter().chain(options).copied().collect();
    workspace.run(&all).succeeded();
    workspace.path().join(name)
}

/// Exports to standard output.
#[track_caller]
pub(crate) fn streamed(workspace: &Workspace, arguments: &[&str]) -> Vec<u8> {
    let mut command = workspace.command(arguments);
    let output = command.stdin(Stdio::null()).output().expect("pgstow starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

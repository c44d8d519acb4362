//! Dumps of a database made by stock pg_dump.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::fixture::{EVERYTHING, for_major};
use crate::support::psql::Database;
use crate::support::servers;
use crate::support::stock;
use crate::support::workspace::Workspace;

/// A database with every kind of object that pg_dump of its version writes, and rows of every type.
pub(crate) fn everything(major: u32) -> Database {
    let source = servers::shared(major).database("source");
    source.run(&for_major(EVERYTHING, major));
    if major < 15 {
        // Of this schema, pg_dump of the time writes nothing but privileges.
        source.run("COMMENT ON SCHEMA public IS 'standard public schema'");
    }
    source
}

/// A workspace whose environment `dev` is `target`, and a folder for dumps.
pub(crate) fn workspace(target: &Database) -> Workspace {
    let mut workspace = Workspace::new();
    workspace.clients_of(target.server.major);
    workspace.environment("DEV", &target.url());
    workspace
}

/// Stock pg_dump of the server's own version.
fn pg_dump(source: &Database) -> Command {
    stock::program_of(&format!("client-{}", source.server.major), source, "pg_dump")
}

/// Dumps a database with stock pg_dump to a file of the workspace's folder.
pub(crate) fn dump(source: &Database, workspace: &Workspace, name: &str, options: &[&str]) -> PathBuf {
    let path = workspace.path().join(name);
    let mut command = pg_dump(source);
    stock::succeeds(command.args(options).args(["-d", &source.name, "-f"]).arg(&path));
    path
}

/// Dumps a database through a pipe, so that an archive does not know where its data is.
pub(crate) fn dump_through_pipe(
    source: &Database,
    workspace: &Workspace,
    name: &str,
    options: &[&str],
) -> PathBuf {
    let path = workspace.path().join(name);
    let mut command = pg_dump(source);
    let output = stock::succeeds(command.args(options).args(["-d", &source.name]));
    std::fs::write(&path, output.stdout).expect("a file");
    path
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

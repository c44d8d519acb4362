//! PostgreSQL's own client programs.

use std::path::Path;
use std::process::{Command, Output};

use super::psql::Database;
use super::servers::{client_programs, programs};

/// Copies a database by `pg_dump -Fc` and `pg_restore`; stops the test at the first error.
pub(crate) fn dump_and_restore(source: &Database, target: &Database) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("stock.dump");
    let mut dump = program(source, "pg_dump");
    succeeds(dump.args(["-Fc", "-d", &source.name, "-f"]).arg(&file));
    let mut restore = program(target, "pg_restore");
    succeeds(restore.args(["--exit-on-error", "-d", &target.name]).arg(&file));
}

/// What a query gives through a URL, or what psql said when it failed.
pub(crate) fn psql_through(url: &str, query: &str) -> Result<String, String> {
    let mut command = Command::new(programs("client").join("psql"));
    let output =
        command.env_clear().args(["-X", "-A", "-t", "-c", query, "-d", url]).output().expect("psql starts");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A client program that suits a database's server, told how to reach it.
pub(crate) fn program(database: &Database, name: &str) -> Command {
    reaching(database, &client_programs(database.server.major).join(name))
}

/// A client program of a version, told how to reach a database.
pub(crate) fn program_of(client: &str, database: &Database, name: &str) -> Command {
    reaching(database, &programs(client).join(name))
}

fn reaching(database: &Database, program: &Path) -> Command {
    let server = &database.server;
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .args(["-U", "postgres", "-h"])
        .arg(server.process.socket_directory())
        .args(["-p", &server.process.socket_port().to_string()]);
    command
}

/// Runs a program that must succeed.
#[track_caller]
pub(crate) fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

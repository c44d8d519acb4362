//! Every way to say where a database is and what its password is, up to a finished backup.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::servers::{self, DEFAULT_MAJOR, PASSWORD, client_programs};
use crate::support::waiting;
use crate::support::workspace::Workspace;

/// Becomes the real program once it has written down what it was given beside arguments.
const SPY: &str = r#"#!/bin/bash
{ printf '%s\n' "$@"; env; cat "$PGSERVICEFILE" /dev/null; } >> "$(dirname "$0")/seen"
exec REAL/pg_dump "$@"
"#;

fn write(workspace: &Workspace, name: &str, content: &str, bits: u32) {
    let path = workspace.path().join(name);
    std::fs::write(&path, content).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).expect("permissions");
}

/// `pg_dump` and a folder to name with `--pg-dump`.
fn spy(workspace: &Workspace) -> String {
    let folder = workspace.path().join("spy");
    std::fs::create_dir(&folder).expect("a folder");
    let real = client_programs(DEFAULT_MAJOR).to_string_lossy().into_owned();
    write(workspace, "spy/pg_dump", &SPY.replace("REAL", &real), 0o755);
    folder.to_string_lossy().into_owned()
}

#[test]
fn the_keys_of_an_env_backup_file_lead_to_a_backup() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("keys");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let workspace = Workspace::new();
    let port = server.process.tcp_port().expect("test servers listen on TCP");
    let quoted = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
    let keys = format!(
        "DB_HOST=localhost\nDB_PORT={port}\nDB_USER=postgres\nDB_NAME={}\nexport DB_PASSWORD=\"{quoted}\"\n",
        source.name
    );
    write(&workspace, ".env.backup", &keys, 0o600);
    write(&workspace, "pgstow.toml", "[env.prod]\nenv_file = '.env.backup'\n", 0o644);
    workspace.backup(&[]);
}

#[test]
fn a_password_command_and_a_service_lead_to_a_backup_and_pg_dump_hears_of_the_keepalives() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("service");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let mut workspace = Workspace::new();
    let port = server.process.tcp_port().expect("test servers listen on TCP");
    let service = format!(
        "[shop]\nhost=localhost\nport={port}\nuser=postgres\ndbname={}\nsslmode=require\nkeepalives_idle=77\n\
         tcp_user_timeout=123456\n",
        source.name
    );
    write(&workspace, "services", &service, 0o644);
    write(&workspace, "secret", &format!("{PASSWORD}\nsecond line\n"), 0o600);
    let config = "[env.prod]\nservice = 'shop'\npassword_command = 'cat secret'\n";
    write(&workspace, "pgstow.toml", config, 0o644);
    workspace.set("PGSERVICEFILE", &workspace.path().join("services").to_string_lossy());
    let spy = spy(&workspace);
    workspace.backup(&["--pg-dump", &spy]);
    let seen = std::fs::read_to_string(Path::new(&spy).join("seen")).expect("pg_dump was called");
    for line in ["keepalives_idle=77", "tcp_user_timeout=123456", "PGSSLMODE=require"] {
        assert!(seen.lines().any(|seen| seen == line), "{line} is missing in {seen}");
    }
    assert!(!seen.contains(PASSWORD) && !seen.contains("second line"), "a child saw the password");
}

#[test]
fn a_password_command_that_fails_is_shown_by_its_complaint_alone() {
    let workspace = Workspace::new();
    let command = "echo hunter2; echo 'the vault is sealed' >&2; exit 1";
    let config = format!("[env.prod]\nhost = 'localhost'\npassword_command = \"{command}\"\n");
    write(&workspace, "pgstow.toml", &config, 0o644);
    let outcome = workspace.run(&["check", "prod"]).ended_with(1);
    let outcome = outcome.saying(&["env.prod.password_command", "the vault is sealed"]);
    assert!(!outcome.said().contains("hunter2"), "{}", outcome.said());
}

#[test]
fn ctrl_c_ends_a_password_command() {
    let workspace = Workspace::new();
    let config = "[env.prod]\nhost = 'localhost'\npassword_command = 'touch begun; sleep 1000; echo x'\n";
    write(&workspace, "pgstow.toml", config, 0o644);
    let backup = workspace.start(&["backup", "prod"]);
    waiting::until("the command has begun", || workspace.path().join("begun").exists());
    backup.signal(Signal::INT);
    backup.finish_within(Duration::from_secs(2)).ended_with(130);
}

//! Passwords are shown nowhere: no argument, no child's environment, no message, no file.

use std::os::unix::fs::PermissionsExt;

use crate::support::servers::{self, DEFAULT_MAJOR, PASSWORD, client_programs, percent};
use crate::support::workspace::{Workspace, files_below};

/// Passes everything on to the real program, and writes down how it was called.
const SPY: &str = r#"#!/bin/bash
{ printf '%s\n' "$@"; env; tr '\0' '\n' < /proc/$PPID/cmdline; tr '\0' '\n' < /proc/$PPID/environ | grep -v ^DATABASE_URL; } >> "$(dirname "$0")/seen"
exec REAL/pg_dump "$@"
"#;

#[test]
fn the_password_reaches_no_child_and_no_file() {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("secret");
    source.run("CREATE TABLE t AS SELECT 1 AS n");
    let workspace = Workspace::with_source(&source);
    let spy = workspace.path().join("spy");
    std::fs::create_dir(&spy).expect("a folder");
    let real = client_programs(DEFAULT_MAJOR).to_string_lossy().into_owned();
    std::fs::write(spy.join("pg_dump"), SPY.replace("REAL", &real)).expect("a file");
    std::fs::set_permissions(spy.join("pg_dump"), std::fs::Permissions::from_mode(0o755))
        .expect("permissions");
    let path = spy.to_string_lossy().into_owned();

    workspace.backup(&["--pg-dump", &path]);
    let seen = std::fs::read_to_string(spy.join("seen")).expect("pg_dump was called");
    assert!(seen.contains("--schema-only") || seen.contains("-s\n"), "{seen}");
    for secret in [PASSWORD.to_owned(), percent(PASSWORD)] {
        let line = seen.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "a child saw the password");
        for (file, _) in
            files_below(&workspace.repository()).into_iter().chain(files_below(&workspace.temporary()))
        {
            let bytes = std::fs::read(&file).expect("a file of the repository");
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds the password", file.display());
        }
    }
}

#[test]
fn a_wrong_url_is_reported_without_its_password() {
    let server = servers::shared(DEFAULT_MAJOR);
    let mut workspace = Workspace::new();
    let url = server.url("postgres").replace("sslmode=verify-full", "sslmode=nonsense");
    workspace.environment("PROD", &url);
    let outcome = workspace.run(&["backup", "prod"]).ended_with(2).saying(&["sslmode"]);
    assert!(!outcome.said().contains(&percent(PASSWORD)), "{}", outcome.said());
}

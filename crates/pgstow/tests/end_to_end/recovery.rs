//! `docs/recovery.md` works as written: its commands are taken from the page and run, with stock
//! programs alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::support::fixture::{EVERYTHING, for_major};
use crate::support::oracle;
use crate::support::servers::{self, DEFAULT_MAJOR, client_programs};
use crate::support::workspace::Workspace;

/// Shell blocks of the page by the section they stand in; what precedes the first heading is "".
fn commands() -> BTreeMap<String, String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recovery.md");
    let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let (mut section, mut is_shell) = (String::new(), false);
    for line in text.lines() {
        match line.strip_prefix("## ").filter(|_| !is_shell) {
            Some(heading) => section = heading.chars().take_while(char::is_ascii_digit).collect(),
            None if line == "```sh" => is_shell = true,
            None if line == "```" => is_shell = false,
            // Where the test has its key and its room.
            None if is_shell && line.starts_with("export IDENTITY=") => {}
            None if is_shell => {
                let block = sections.entry(section.clone()).or_default();
                block.push_str(line);
                block.push('\n');
            }
            None => {}
        }
    }
    sections
}

/// A table of several chunks; the others share objects.
const LARGE: &str = "CREATE TABLE public.many_chunks AS
    SELECT n, md5(n::text) || md5((n + 1)::text) AS body FROM generate_series(1, 400000) AS n";

/// Tables that are recovered one by one.
const TABLES: &[(&str, &str)] = &[
    ("public", "many_chunks"),
    ("shop", "customer"),
    ("shop", "order"),
    ("shop", "order_line"),
    ("shop", "toasted"),
    ("shop", "sale_2023"),
    ("shop", "sale_2025"),
    ("shop", "with_holes"),
    ("public", "every_type"),
    ("Mixed Case", "User"),
    ("Mixed Case", "USER"),
    ("Mixed Case", "../../etc/passwd"),
    ("sch\"ema 'x' \\ 🐘", "ta\"ble 'x' \\ 🐘 $$; DROP TABLE x; --"),
    ("sch\"ema 'x' \\ 🐘", "line\nbreak; SELECT 1"),
];

#[test]
fn rows_come_back_by_following_the_recovery_page() {
    follow_the_page(None);
}

#[test]
fn rows_come_back_from_an_encrypted_repository_by_following_the_recovery_page() {
    let keys = tempfile::tempdir().expect("a folder");
    let identity = keys.path().join("key.txt");
    let made = Command::new("age-keygen").arg("-o").arg(&identity).output().expect("age-keygen starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    follow_the_page(Some(&identity));
}

/// Recovers every table, with stock programs alone; `identity` is the key of an encrypted repository.
fn follow_the_page(identity: Option<&Path>) {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run(&for_major(EVERYTHING, DEFAULT_MAJOR));
    source.run(LARGE);
    let workspace = Workspace::with_source(&source);
    if let Some(identity) = identity {
        let public = workspace.run(&["key", "show", &identity.to_string_lossy()]).succeeded().stdout;
        workspace.run(&["init", "--encrypt-to", public.trim()]).succeeded();
    }
    let id = workspace.backup(&[]);
    let target = server.database("rescue");
    let sections = commands();
    let plain = workspace.path().join("plain");
    let run = |section: &str, schema: &str, table: &str| {
        let decrypted = identity.is_some() && section != "0";
        let folder = if decrypted { plain.clone() } else { workspace.repository() };
        let script = sections.get(section).unwrap_or_else(|| panic!("the page has no section {section}"));
        let mut path = client_programs(DEFAULT_MAJOR).into_os_string();
        path.push(":/usr/bin:/bin");
        let output = Command::new("bash")
            .args(["-eu", "-c", script])
            .current_dir(folder)
            .env_clear()
            .env("PATH", path)
            .env("LC_ALL", "C.UTF-8")
            .env("PGHOST", server.process.socket_directory())
            .env("PGPORT", server.process.socket_port().to_string())
            .env("PGUSER", "postgres")
            // What the page has the reader set first.
            .env("PGDATABASE", &target.name)
            .env("PGCLIENTENCODING", "UTF8")
            .env("BACKUP", format!("backups/{id}"))
            .env("IDENTITY", identity.unwrap_or(Path::new("")))
            .env("PLAIN", &plain)
            .env("SCHEMA", schema)
            .env("TABLE", table)
            .output()
            .expect("bash starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "section {section} for {schema}.{table}: {said}\n{complaint}");
        said
    };
    assert!(sections[""].contains("export BACKUP="), "the page begins with its variables");
    let first = if identity.is_some() { Some("0") } else { None };
    for section in first.into_iter().chain(["1", "2"]) {
        run(section, "shop", "customer");
    }
    for (schema, table) in TABLES {
        run("3", schema, table);
    }
    run("4", "shop", "customer");

    let (before, after) = (oracle::state(&source), oracle::state(&target));
    for (schema, table) in TABLES {
        let name = source.value(&format!("SELECT to_json(format('%I.%I', $n${schema}$n$, $n${table}$n$))"));
        let line = |state: &oracle::State| {
            let begin = format!("[{name}, ");
            state.contents.iter().find(|line| line.starts_with(&begin)).cloned()
        };
        assert!(line(&before).is_some(), "{name} is not in the source");
        assert_eq!(line(&before), line(&after));
    }
    assert_eq!(before.sequences, after.sequences);
}

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

/// Tables that are recovered one by one.
const TABLES: &[(&str, &str)] = &[
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
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run(&for_major(EVERYTHING, DEFAULT_MAJOR));
    let workspace = Workspace::with_source(&source);
    let id = workspace.backup(&[]);
    let target = server.database("rescue");
    let sections = commands();
    let run = |section: &str, schema: &str, table: &str| {
        let script = sections.get(section).unwrap_or_else(|| panic!("the page has no section {section}"));
        let mut path = client_programs(DEFAULT_MAJOR).into_os_string();
        path.push(":/usr/bin:/bin");
        let output = Command::new("bash")
            .args(["-eu", "-c", script])
            .current_dir(workspace.repository())
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
    for section in ["1", "2"] {
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

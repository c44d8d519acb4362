//! `docs/cli.md` shows the program's own help; here it is compared.
//!
//! `UPDATE_CLI_REFERENCE=1 cargo test -p pgstow --test cli_reference` writes the help into the file.

mod cli_support;

use std::path::Path;

use cli_support::Folder;

const COMMANDS: [&str; 19] = [
    "init", "check", "backup", "list", "show", "diff", "verify", "prune", "pin", "unpin", "restore", "undo",
    "export", "dump", "import", "key", "copy", "audit", "demo",
];
const KEY_COMMANDS: [&str; 2] = ["new", "show"];

fn help(arguments: &[&str]) -> String {
    let run = Folder::with(&[]).run(arguments);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}");
    run.out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The block of the reference that a help text belongs into.
fn block(arguments: &[&str], help: &str) -> (String, String) {
    let opening = format!("```text\n$ pgstow {}", arguments.join(" "));
    let whole = format!("{opening}\n{help}```\n");
    (opening, whole)
}

/// `document` with the block that begins with `opening` replaced.
fn replaced(document: &str, opening: &str, whole: &str) -> String {
    let (before, rest) =
        document.split_once(opening).unwrap_or_else(|| panic!("docs/cli.md lacks {opening}"));
    let (_, after) = rest.split_once("\n```\n").expect("a block ends");
    format!("{before}{whole}{after}")
}

#[test]
fn the_reference_shows_the_real_help_of_every_command() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let document = std::fs::read_to_string(&path).expect("docs/cli.md can be read");
    let mut expected = document.clone();
    let mut calls = vec![vec!["--help"]];
    calls.extend(COMMANDS.map(|command| vec![command, "--help"]));
    calls.extend(KEY_COMMANDS.map(|command| vec!["key", command, "--help"]));
    for arguments in &calls {
        let (opening, whole) = block(arguments, &help(arguments));
        expected = replaced(&expected, &opening, &whole);
    }
    if std::env::var_os("UPDATE_CLI_REFERENCE").is_some() {
        std::fs::write(&path, &expected).expect("docs/cli.md can be written");
    }
    let document = std::fs::read_to_string(&path).expect("docs/cli.md can be read");
    assert!(document == expected, "docs/cli.md does not show the program's help; see this file's top");
}

#[test]
fn the_help_names_every_command_of_the_reference_and_no_other() {
    let help = help(&["--help"]);
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert_eq!(listed, COMMANDS);
}

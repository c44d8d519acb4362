//! `scripts/check-layers` catches each breach that it is there for.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the check on a checkout that holds only the given files.
fn check(files: &[(&str, &str)]) -> Output {
    let checkout = tempfile::tempdir().expect("a temporary directory");
    let sound =
        [("crates/pgstow-core/src/lib.rs", "//! The core.\n"), ("crates/pgstow/src/main.rs", "//! Main.\n")];
    for (name, content) in sound.iter().chain(files) {
        let path = checkout.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders are made");
        std::fs::write(path, content).expect("files are written");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/check-layers");
    Command::new(script).arg(checkout.path()).output().expect("the check runs")
}

fn assert_caught(file: &str, content: &str, rule: &str) {
    let output = check(&[(file, content)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{file} with {content:?} passed");
    assert!(said.contains(rule) && said.contains(file), "{file} with {content:?}: {said}");
}

#[test]
fn sound_sources_pass() {
    let output = check(&[
        ("crates/pgstow-core/src/postgres/server.rs", "//! S.\nfn f() { std::env::split_paths(\"\"); }\n"),
        (
            "crates/pgstow-core/src/postgres/rows.rs",
            "//! R.\n// use crate::repository;\n#[cfg(test)]\nmod tests { use crate::repository; }\n",
        ),
        ("crates/pgstow-core/src/repository/format/mod.rs", "//! F.\n#[cfg(test)]\nmod testdata;\n"),
        ("crates/pgstow-core/src/repository/format/testdata.rs", "//! T.\nuse std::fs::File;\n"),
        ("crates/pgstow-core/src/backup/plan.rs", "//! P.\nuse crate::postgres::ConnectionSettings;\n"),
        ("crates/pgstow/src/ui.rs", "//! U.\nfn f() { println!(); std::env::var(\"HOME\"); }\n"),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_core_may_not_reach_environment_terminal_or_command_line() {
    let file = "crates/pgstow-core/src/monitor.rs";
    for line in ["std::env::var(\"HOME\")", "use std::env;", "env::temp_dir()"] {
        assert_caught(file, &format!("//! M.\n{line}\n"), "the core reads no environment");
    }
    for line in ["println!()", "eprint!()", "std::io::stdin()", "io::stdout()", "io::stderr().lock()"] {
        assert_caught(file, &format!("//! M.\n{line}\n"), "the core has no terminal");
    }
    for line in ["use clap::Parser;", "use anstream::println;", "use indicatif::ProgressBar;"] {
        assert_caught(file, &format!("//! M.\n{line}\n"), "the core has no command line");
    }
    assert_caught(file, "//! M.\nstd::process::exit(1)\n", "the core does not end the process");
}

#[test]
fn modules_may_not_use_what_lies_above_them() {
    for layer in ["repository", "backup", "restore", "verify"] {
        let content = format!("//! X.\nuse crate::{layer}::Something;\n");
        assert_caught("crates/pgstow-core/src/postgres/copy.rs", &content, "postgres knows only");
    }
    for layer in ["postgres", "backup", "restore", "verify"] {
        let content = format!("//! X.\nfn f(x: crate::{layer}::Something) {{}}\n");
        assert_caught("crates/pgstow-core/src/repository/open.rs", &content, "repository knows only");
    }
    for file in ["archive/mod.rs", "inventory/mod.rs", "error.rs"] {
        let content = "//! X.\nuse crate::postgres::Connection;\n";
        assert_caught(&format!("crates/pgstow-core/src/{file}"), content, "know nothing above");
    }
    let grouped = "//! X.\nuse crate::{postgres, repository};\n";
    assert_caught("crates/pgstow-core/src/postgres/copy.rs", grouped, "name the module");
}

#[test]
fn plans_and_formats_may_not_touch_the_world() {
    let files = ["backup/plan.rs", "restore/plan.rs", "repository/format/header.rs", "backup/schedule.rs"];
    for file in files {
        let file = format!("crates/pgstow-core/src/{file}");
        for line in ["use std::fs::File;", "std::net::TcpStream", "f: &mut Connection", "s: &dyn Store"] {
            assert_caught(&file, &format!("//! X.\n{line}\n"), "do no I/O");
        }
        assert_caught(&file, "//! X.\njiff::Timestamp::now()\n", "take the time as an argument");
    }
}

#[test]
fn unfinished_long_and_undescribed_files_are_caught() {
    let file = "crates/pgstow/src/commands/list.rs";
    for line in ["todo!()", "unimplemented!()", "dbg!(x)"] {
        assert_caught(file, &format!("//! X.\n{line}\n"), "unfinished code");
    }
    assert_caught(file, "fn f() {}\n", "begins with //!");
    let long = format!("//! X.\n{}", "const X: u8 = 1;\n".repeat(600));
    assert_caught(file, &long, "at most 600");
    let tested = format!("//! X.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "const X: u8 = 1;\n".repeat(600));
    assert!(check(&[(file, &tested)]).status.success());
}

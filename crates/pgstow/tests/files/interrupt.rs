//! Restores and imports of files that end in the middle of the rows: by Ctrl-C and by SIGKILL.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::ground::{dump, text, workspace};
use crate::support::oracle;
use crate::support::program::Running;
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR, programs};
use crate::support::stock;
use crate::support::waiting;
use crate::support::workspace::{Workspace, files_below};

/// How long Ctrl-C may take; part of what is promised to users.
const PROMPTLY: Duration = Duration::from_secs(2);

/// The 5000th row of a table calls a function, which does what `BODY` says.
const TABLES: &str = "
CREATE TABLE a_first AS SELECT generate_series(1, 3000) AS n;
CREATE FUNCTION at_row(n integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$;
CREATE TABLE b_next (n integer CHECK (n <> 5000 OR public.at_row(n)), body text);
INSERT INTO b_next SELECT n, md5(n::text) FROM generate_series(1, 10000) AS n;
CREATE OR REPLACE FUNCTION at_row(n integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN BODY; RETURN true; END $$;
";

/// Formats, each with options of pg_dump.
const FORMATS: [(&str, &[&str]); 3] = [("custom", &["-Fc"]), ("folder", &["-Fd"]), ("gz", &["-Z5"])];

fn source(body: &str) -> Database {
    let source = servers::shared(DEFAULT_MAJOR).database("source");
    source.run(&TABLES.replace("BODY", body));
    source
}

#[test]
fn a_restore_that_ends_in_the_middle_of_the_rows_leaves_the_target_as_it_was() {
    let source = source("PERFORM pg_advisory_xact_lock_shared(4711)");
    for (name, options) in FORMATS {
        let target = servers::shared(DEFAULT_MAJOR).database("target");
        target.run("CREATE TABLE precious (n integer); INSERT INTO precious VALUES (1)");
        let before = oracle::state(&target);
        let workspace = workspace(&target);
        let file = dump(&source, &workspace, name, options);
        let command = ["restore", text(&file), "--to", "dev", "--clean", "--yes"];
        for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
            let mut holder = target.session();
            holder.run("SELECT pg_advisory_lock(4711)");
            let restore = workspace.start(&command);
            waiting::until_a_client_waits_for_a_lock(&target);
            restore.signal(signal);
            let outcome = restore.finish_within(PROMPTLY);
            drop(holder);
            if signal == Signal::KILL {
                assert_eq!(outcome.code(), 137);
            } else {
                outcome.ended_with(130).saying(&["the target is as it was"]);
            }
            waiting::until_all_clients_are_gone(&target);
            oracle::assert_same(&before, &oracle::state(&target));
            assert_eq!(files_below(&workspace.temporary()), [], "{name}: {signal:?} leaves files");
        }
        // Each took a safety backup first: they are whole, and nothing else is in the way.
        workspace.run(&["verify", "--all", "--read-data"]).succeeded();
        workspace.run(&command).succeeded();
        assert_eq!(target.value("SELECT count(*) FROM b_next"), "10000");
        workspace.run(&["undo", "dev", "--yes"]).succeeded();
        oracle::assert_same(&before, &oracle::state(&target));
    }
}

/// The throw-away server of an import: where its socket is, and its process.
struct ThrowAway {
    folder: PathBuf,
    process: String,
}

impl ThrowAway {
    /// Those in the workspace's folder for temporary files.
    fn all(workspace: &Workspace) -> Vec<Self> {
        let below = |folder: PathBuf| {
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
        };
        let servers = below(workspace.temporary()).flat_map(below);
        servers
            .filter_map(|folder| {
                let text = std::fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
                let process = text.lines().next()?.to_owned();
                Some(Self { folder, process })
            })
            .collect()
    }

    /// Whether a session of it has come to the row where the function waits.
    fn waits(&self) -> bool {
        let folder = servers::percent(text(&self.folder));
        let url = format!("postgresql://postgres@/postgres?host={folder}");
        let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        stock::psql_through(&url, query).is_ok_and(|count| count == "1")
    }

    fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }
}

/// An import that has come to the middle of the rows.
fn begun(workspace: &Workspace, file: &str) -> (Running, ThrowAway) {
    let binaries = programs(&DEFAULT_MAJOR.to_string());
    let mut import =
        workspace.start(&["import", file, "--env", "prod", "--server-binaries", text(&binaries)]);
    let known: Vec<String> = ThrowAway::all(workspace).into_iter().map(|server| server.process).collect();
    let mut found = None;
    waiting::until("the import waits in the middle of the rows", || {
        assert!(import.is_running(), "the import goes on");
        let mut servers = ThrowAway::all(workspace).into_iter();
        found = servers.find(|server| !known.contains(&server.process) && server.waits());
        found.is_some()
    });
    (import, found.expect("it was found"))
}

#[test]
fn an_import_that_is_interrupted_leaves_no_server_no_folder_and_no_backup() {
    let source = source("PERFORM pg_sleep(3600)");
    let workspace = Workspace::with_source(&source);
    let own = workspace.backup(&[]);
    let repository = workspace.repository_files();
    for (name, options) in FORMATS {
        let file = dump(&source, &workspace, name, options);
        for signal in [Signal::INT, Signal::TERM] {
            let (import, server) = begun(&workspace, text(&file));
            import.signal(signal);
            import.finish_within(PROMPTLY * 2).ended_with(130).saying(&["nothing was written"]);
            assert!(!server.is_alive(), "{name}: {signal:?} leaves the server");
            assert_eq!(files_below(&workspace.temporary()), [], "{name}: {signal:?} leaves files");
            assert_eq!(workspace.repository_files(), repository, "{name}: {signal:?}");
        }
    }
    workspace.run(&["verify", &own, "--read-data"]).succeeded();
}

#[test]
fn what_a_killed_import_left_goes_with_the_next_and_a_live_one_stays() {
    let source = source("PERFORM pg_sleep(3600)");
    let workspace = Workspace::with_source(&source);
    let own = workspace.backup(&[]);
    let repository = workspace.repository_files();
    let endless = dump(&source, &workspace, "endless", &["-Fc"]);
    let short = dump(&source, &workspace, "short", &["-Fc", "--table", "a_first"]);
    let (killed, left) = begun(&workspace, text(&endless));
    killed.signal(Signal::KILL);
    assert_eq!(killed.finish().code(), 137);
    assert!(left.is_alive(), "a server outlives its killed import");
    assert_eq!(workspace.repository_files(), repository);

    let (live, server) = begun(&workspace, text(&endless));
    assert!(!left.is_alive() && !left.folder.exists(), "the next import removes what was left");
    let binaries = programs(&DEFAULT_MAJOR.to_string());
    workspace
        .run(&[
            "import",
            text(&short),
            "--env",
            "prod",
            "--label",
            "short",
            "--server-binaries",
            text(&binaries),
        ])
        .succeeded();
    assert!(server.is_alive(), "another import ended the server of a live one");
    live.signal(Signal::INT);
    live.finish().ended_with(130).saying(&["left by an import that was killed"]);
    assert!(!server.is_alive());
    assert_eq!(files_below(&workspace.temporary()), [], "files are left");
    assert_eq!(workspace.backups().len(), 2);
    workspace.run(&["verify", &own, "--read-data"]).succeeded();
    workspace.run(&["verify", "prod@short", "--read-data"]).succeeded();
}

//! Files of pg_dump 9.6 to 12, which no test can make anew: these programs are not to be had any more. `fixtures/old` has the
//! files, and says how they were made. What they hold is known by the statements that filled their databases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ground::{text, workspace};
use crate::support::fixture::for_major;
use crate::support::oracle::{self, State};
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR, Server, programs};

/// What the databases were filled with.
const CONTENT: &str = include_str!("../fixtures/old/content.sql");

/// Every format.
const ENDINGS: [&str; 4] = ["dump", "dir", "tar.gz", "sql.gz"];

fn file(version: &str, ending: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/old").join(format!("{version}.{ending}"))
}

/// A database of a new server, filled as that of the old server `major` was.
fn filled(server: &Arc<Server>, major: u32) -> Database {
    let database = server.database("filled");
    database.run(&for_major(CONTENT, major));
    database
}

/// A new database, filled by `restore`, equals the one that was filled by hand.
#[track_caller]
fn comes_back(expected: &State, source: &Database, restore: impl FnOnce(&Database)) {
    let target = source.server.database("target");
    restore(&target);
    oracle::assert_same(expected, &oracle::state(&target));
    target.drop_database();
}

/// Files of every format come back on the oldest and the newest server, and become backups.
fn files_come_back(version: &str, archive: &str, major: u32) {
    for server in [servers::shared(13), servers::shared(18)] {
        let source = filled(&server, major);
        let expected = oracle::state(&source);
        for ending in ENDINGS {
            let file = file(version, ending);
            comes_back(&expected, &source, |target| {
                let workspace = workspace(target);
                let outcome = workspace.run(&["restore", text(&file), "--to", "dev"]).succeeded();
                if ending == "dump" {
                    // In its own place too.
                    workspace.run(&["restore", text(&file), "--to", "dev", "--clean", "--yes"]).succeeded();
                }
                if ending != "sql.gz" {
                    outcome.saying(&[&format!("archive {archive}"), &format!("PostgreSQL {version}.")]);
                }
            });
        }
    }
    let source = filled(&servers::shared(DEFAULT_MAJOR), major);
    let expected = oracle::state(&source);
    for ending in ["dump", "sql.gz"] {
        comes_back(&expected, &source, |target| {
            let workspace = workspace(target);
            let binaries = programs(&DEFAULT_MAJOR.to_string());
            let file = file(version, ending);
            let import = ["import", text(&file), "--env", "prod", "--server-binaries", text(&binaries)];
            workspace.run(&import).succeeded();
            workspace.run(&["restore", "latest", "--to", "dev", "--checksums"]).succeeded();
        });
    }
}

#[test]
fn files_of_9_6_come_back() {
    files_come_back("9.6", "1.12", 9);
}

#[test]
fn files_of_10_come_back() {
    files_come_back("10", "1.12", 10);
}

#[test]
fn files_of_11_come_back() {
    files_come_back("11", "1.13", 11);
}

#[test]
fn files_of_12_come_back() {
    files_come_back("12", "1.14", 12);
}

#[test]
fn a_table_with_oids_is_refused_before_anything_is_changed() {
    let target = servers::shared(DEFAULT_MAJOR).database("target");
    let before = oracle::state(&target);
    let workspace = workspace(&target);
    for (ending, named) in
        [("dump", "table \"counted\" is one WITH OIDS"), ("sql", "line 35: the table that")]
    {
        let file = file("9.6-oids", ending);
        workspace.run(&["restore", text(&file), "--to", "dev"]).ended_with(4).saying(&[
            named,
            "SET WITHOUT OIDS",
            "nothing was changed",
        ]);
    }
    oracle::assert_same(&before, &oracle::state(&target));
}

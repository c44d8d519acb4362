//! `pgstow copy`: to another repository with keys of its own, and back into a database from there.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::oracle;
use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::waiting;
use crate::support::workspace::{Workspace, files_below};

const ROWS: &str = "
CREATE TABLE steady (n integer, body text);
INSERT INTO steady SELECT n, md5(n::text) || md5((n * 3)::text) FROM generate_series(1, 400000) AS n;
CREATE TABLE busy AS SELECT n FROM generate_series(1, 1000) AS n;
CREATE VIEW seen AS SELECT count(*) FROM steady;
";

/// A workspace whose backups can be copied to `cold`, which is encrypted to a key of its own.
struct Cold {
    source: Database,
    workspace: Workspace,
    key: PathBuf,
}

impl Cold {
    fn new() -> Self {
        let source = servers::shared(DEFAULT_MAJOR).database("source");
        source.run(ROWS);
        let workspace = Workspace::with_source(&source);
        let key = workspace.temporary().join("cold.txt");
        let path = key.to_str().expect("a path").to_owned();
        workspace.run(&["key", "new", "--output", &path]).succeeded();
        let public = workspace.run(&["key", "show", &path]).succeeded().stdout.trim().to_owned();
        let config = format!("[copy.cold]\nurl = \"cold\"\nencrypt_to = [\"{public}\"]\n");
        std::fs::write(workspace.path().join("pgstow.toml"), config).expect("a configuration");
        Self { source, workspace, key }
    }

    fn place(&self) -> PathBuf {
        self.workspace.path().join("cold")
    }

    /// Everything in the copy is good, read with its own key.
    #[track_caller]
    fn assert_good(&self, backups: &str) {
        self.read(&["verify", "--all", "--read-data"]).succeeded().saying(&[backups]);
    }

    /// Runs a command on the copy with its key.
    fn read(&self, arguments: &[&str]) -> crate::support::program::Outcome {
        let key = self.key.to_str().expect("a path");
        let all: Vec<&str> =
            arguments.iter().copied().chain(["--repository", "cold", "--identity", key]).collect();
        self.workspace.run(&all)
    }
}

fn objects(place: &Path) -> usize {
    files_below(&place.join("objects")).len()
}

#[test]
fn a_copy_with_other_keys_restores_equal_and_a_second_copy_sends_nothing() {
    let mut cold = Cold::new();
    let first = cold.workspace.backup(&[]);
    cold.workspace.run(&["copy", &first, "--to", "cold"]).succeeded().saying(&["1 backup copied to", "cold"]);
    let sent = objects(&cold.place());
    cold.source.run("UPDATE busy SET n = n + 1");
    let second = cold.workspace.backup(&["--full"]);
    let expected = oracle::state(&cold.source);

    // The host that copies has the public key alone, and knows from its cache what is there.
    let outcome = cold.workspace.run(&["copy", "--all", "--to", "cold", "--json"]).succeeded();
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("one JSON object");
    assert_eq!(
        (&report["present"][0], &report["copied"][0]["backup"]),
        (&first.into(), &second.clone().into())
    );
    let (all, new) = (&report["copied"][0]["objects"], &report["copied"][0]["new_objects"]);
    assert!(new.as_u64() < all.as_u64() && new.as_u64() > Some(0), "{report}");
    assert_eq!(
        objects(&cold.place()) - sent,
        usize::try_from(new.as_u64().expect("a number")).expect("small")
    );
    cold.assert_good("2 backups, all good");

    let before = files_below(&cold.place().join("backups"));
    let again = cold.workspace.run(&["copy", "--env", "prod", "--to", "cold"]).succeeded();
    again.saying(&["0 backups copied", "2 there already"]);
    assert_eq!(before, files_below(&cold.place().join("backups")));

    let target = cold.source.server.database("target");
    cold.workspace.environment("DEV", &target.url());
    // The key of the copy, and nothing else, opens it.
    cold.workspace.run(&["restore", &second, "--to", "dev", "--repository", "cold"]).ended_with(7);
    cold.read(&["restore", &second, "--to", "dev", "--checksums"]).succeeded();
    oracle::assert_same(&expected, &oracle::state(&target));

    // Both repositories say who copied.
    cold.workspace.run(&["audit"]).succeeded().saying(&["copy", "/cold"]);
    cold.workspace.run(&["audit", "--repository", "cold"]).succeeded().saying(&["copy", &second, "restore"]);
}

#[test]
fn a_copy_that_is_killed_leaves_nothing_visible_and_the_next_one_goes_on() {
    let cold = Cold::new();
    let id = cold.workspace.backup(&[]);
    let copy = cold.workspace.start(&["copy", &id, "--to", "cold"]);
    waiting::until("an object was sent", || objects(&cold.place()) > 0);
    copy.signal(Signal::KILL);
    let killed = copy.finish();
    if killed.code() == 137 {
        cold.workspace.run(&["list", "--repository", "cold", "--quiet"]).succeeded();
    }
    cold.workspace.run(&["copy", &id, "--to", "cold"]).succeeded();
    cold.assert_good("1 backup, and it is good");
    let listed = cold.workspace.run(&["list", "--repository", "cold", "--quiet"]).succeeded();
    assert_eq!(listed.stdout.trim(), id);
}

#[test]
fn a_damaged_backup_is_named_and_the_others_are_copied() {
    let cold = Cold::new();
    let damaged = cold.workspace.backup(&[]);
    cold.source.run("TRUNCATE steady; UPDATE busy SET n = n + 1");
    let good = cold.workspace.backup(&["--full"]);
    let all = files_below(&cold.workspace.repository().join("objects"));
    let (object, _) = all.iter().max_by_key(|(_, bytes)| bytes).expect("an object");
    let mut content = std::fs::read(object).expect("an object");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(object, content).expect("the object is changed");
    let name = object.file_stem().expect("a name").to_string_lossy().into_owned();
    cold.workspace
        .run(&["copy", "--all", "--to", "cold"])
        .ended_with(3)
        .saying(&[&damaged, &name, "damaged", &good]);
    cold.assert_good("1 backup, and it is good");
    cold.workspace.run(&["copy", &damaged, "--to", "cold"]).ended_with(1).saying(&[&name]);
}

#[test]
fn what_is_not_there_or_the_same_place_is_refused_by_name() {
    let cold = Cold::new();
    let id = cold.workspace.backup(&[]);
    cold.workspace.run(&["copy", &id, "--to", "colt"]).ended_with(5).saying(&["copy.colt", "cold"]);
    cold.workspace.run(&["copy", "--to", "cold"]).ended_with(2);
    cold.workspace.run(&["copy", "--env", "dev", "--to", "cold"]).ended_with(5).saying(&["no backup of dev"]);
    cold.workspace
        .run(&["copy", &id, "--to", "./backups"])
        .ended_with(4)
        .saying(&["cannot be copied to itself"]);
    // A folder that is named needs no section.
    cold.workspace.run(&["copy", &id, "--to", "./plain"]).succeeded();
    cold.workspace.run(&["verify", "--all", "--read-data", "--repository", "plain"]).succeeded();
}

//! A directory of its own to run `pgstow` in: home, temporary files, repository, environments.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::object_stores::ObjectStore;
use super::program::{self, Outcome, Running};
use super::psql::Database;
use super::servers::{client_programs, programs};

/// Where tests run the program; removed when dropped.
pub(crate) struct Workspace {
    directory: TempDir,
    variables: BTreeMap<String, OsString>,
}

impl Workspace {
    /// Nothing in it yet; `pg_dump` 15 and the system's programs on `PATH`.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for folder in ["home", "temporary", "work"] {
            std::fs::create_dir(directory.path().join(folder)).expect("a folder");
        }
        let mut workspace = Self { directory, variables: BTreeMap::new() };
        for (name, folder) in [("HOME", "home"), ("TMPDIR", "temporary")] {
            let folder = workspace.directory.path().join(folder);
            workspace.variables.insert(name.to_owned(), folder.into());
        }
        workspace.set("LANG", "C.UTF-8");
        workspace.set("TZ", "UTC");
        workspace.clients_of(15);
        workspace
    }

    /// One environment, `prod`, that stands for `database`.
    pub(crate) fn with_source(database: &Database) -> Self {
        let mut workspace = Self::new();
        workspace.clients_of(database.server.major);
        workspace.environment("PROD", &database.url());
        workspace
    }

    /// Puts the client programs that suit a server first on `PATH`.
    pub(crate) fn clients_of(&mut self, major: u32) {
        let mut path = client_programs(major).into_os_string();
        path.push(":/usr/bin:/bin");
        self.variables.insert("PATH".to_owned(), path);
    }

    /// Puts the programs of a server before the client programs that suit it, for drills.
    pub(crate) fn servers_of(&mut self, major: u32) {
        let mut path = programs(&major.to_string()).into_os_string();
        path.push(":");
        path.push(client_programs(major));
        path.push(":/usr/bin:/bin");
        self.variables.insert("PATH".to_owned(), path);
    }

    /// Writes `pgstow.toml`: the repository, the environment `prod`, and what follows in its section.
    pub(crate) fn configure(&self, more: &str) {
        let text =
            format!("[repository]\nurl = 'backups'\n[env.prod]\nurl = '${{DATABASE_URL_PROD}}'\n{more}");
        std::fs::write(self.path().join("pgstow.toml"), text).expect("a configuration");
    }

    /// Makes a key; its public one.
    pub(crate) fn new_key(&self, file: &Path) -> String {
        let file = file.to_str().expect("paths of tests are text");
        self.run(&["key", "new", "--output", file, "--quiet"]).succeeded().stdout.trim().to_owned()
    }

    /// Makes the repository an encrypted one; the file with its private key.
    pub(crate) fn encrypt(&self) -> PathBuf {
        let key = self.temporary().join("key.txt");
        let public = self.new_key(&key);
        self.run(&["init", "--encrypt-to", &public]).succeeded();
        key
    }

    /// Keeps the repository in a bucket that is opened as its owner.
    pub(crate) fn use_bucket(&mut self, store: &ObjectStore, prefix: &str) {
        for (name, value) in store.variables() {
            self.set(name, value);
        }
        std::fs::write(self.path().join("pgstow.toml"), store.section(prefix)).expect("a configuration");
    }

    /// Names a database: `DATABASE_URL_<name>`.
    pub(crate) fn environment(&mut self, name: &str, url: &str) {
        self.set(&format!("DATABASE_URL_{name}"), url);
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Working directory of the runs.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// The repository.
    pub(crate) fn repository(&self) -> PathBuf {
        self.path().join("backups")
    }

    /// Directory for temporary files of the runs.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.directory.path().join("temporary")
    }

    /// The program with its arguments and environment, not started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgstow"));
        command.args(arguments).env_clear().envs(&self.variables).current_dir(self.path());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.start(arguments).finish()
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        program::start(self.command(arguments))
    }

    /// Makes a backup of `prod` that must succeed; its id.
    #[track_caller]
    pub(crate) fn backup(&self, arguments: &[&str]) -> String {
        let before = self.backups();
        let all: Vec<&str> = ["backup", "prod"].iter().chain(arguments).copied().collect();
        let outcome = self.run(&all).succeeded();
        let mut new = self.backups();
        new.retain(|id| !before.contains(id));
        assert_eq!(new.len(), 1, "one backup more is expected: {new:?}\n{}", outcome.said());
        new.remove(0)
    }

    /// Ids of the backups that exist: those with a header.
    pub(crate) fn backups(&self) -> Vec<String> {
        let folder = self.repository().join("backups");
        let mut ids: Vec<String> = std::fs::read_dir(folder)
            .map(|entries| {
                entries
                    .flatten()
                    .filter(|entry| entry.path().join("backup.json").exists())
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .collect()
            })
            .unwrap_or_default();
        ids.sort();
        ids
    }

    /// Every file of the repository with its content's length, for "nothing was changed". The audit log
    /// is left out: what was refused is recorded.
    pub(crate) fn repository_files(&self) -> Vec<(PathBuf, u64)> {
        let log = self.repository().join("audit");
        files_below(&self.repository()).into_iter().filter(|(path, _)| !path.starts_with(&log)).collect()
    }
}

/// Files below a folder with their lengths, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) => found.push((entry.path(), metadata.len())),
                Err(_) => {}
            }
        }
    }
    found.sort();
    found
}

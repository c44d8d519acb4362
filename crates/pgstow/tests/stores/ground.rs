//! A host with a repository somewhere: in a folder or in a bucket.

use std::fs;

use crate::support::object_stores::{Keys, ObjectStore};
use crate::support::program::Outcome;
use crate::support::psql::Database;
use crate::support::workspace::Workspace;

/// The prefix of the repository in its bucket.
pub(crate) const PREFIX: &str = "hosts/db 1";

/// One host: its own folder, configuration and variables.
pub(crate) struct Host {
    pub(crate) workspace: Workspace,
    /// What nothing it writes or prints may hold.
    secret: Option<String>,
}

impl Host {
    /// A host whose repository is in a folder.
    pub(crate) fn with_folder(source: &Database) -> Self {
        let host = Self { workspace: Workspace::with_source(source), secret: None };
        host.configure("[repository]\nurl = \"elsewhere/backups\"\n");
        host
    }

    /// A host whose repository is in a bucket that it opens as the owner.
    pub(crate) fn with_bucket(source: &Database, store: &ObjectStore) -> Self {
        let mut workspace = Workspace::with_source(source);
        workspace.use_bucket(store, PREFIX);
        Self { workspace, secret: Some(store.owner.secret.clone()) }
    }

    /// Uses other keys from now on.
    pub(crate) fn become_user(&mut self, keys: &Keys) {
        self.workspace.set("STORE_ID", &keys.id);
        self.workspace.set("STORE_KEY", &keys.secret);
        self.secret = Some(keys.secret.clone());
    }

    /// Writes `pgstow.toml`.
    pub(crate) fn configure(&self, content: &str) {
        fs::write(self.workspace.path().join("pgstow.toml"), content).expect("a file");
    }

    /// Adds to `pgstow.toml`.
    pub(crate) fn add_to_configuration(&self, more: &str) {
        let path = self.workspace.path().join("pgstow.toml");
        let content = fs::read_to_string(path).expect("a configuration");
        self.configure(&format!("{content}{more}"));
    }

    /// Runs the program; no secret may show.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        let outcome = self.workspace.run(arguments);
        if let Some(secret) = &self.secret {
            assert!(!outcome.said().contains(secret), "the key is shown: {}", outcome.said());
        }
        outcome
    }

    /// Makes a backup of `prod` that must succeed; what it says of itself.
    #[track_caller]
    pub(crate) fn backup(&self, arguments: &[&str]) -> serde_json::Value {
        let all: Vec<&str> = ["backup", "prod", "--json"].iter().chain(arguments).copied().collect();
        serde_json::from_str(&self.run(&all).succeeded().stdout).expect("one JSON object")
    }

    /// Ids of all backups, newest first.
    #[track_caller]
    pub(crate) fn ids(&self) -> Vec<String> {
        let outcome = self.run(&["list", "--json"]).succeeded();
        let listing: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("one JSON object");
        let backups = listing["backups"].as_array().expect("a list").iter();
        backups.map(id).collect()
    }
}

/// The id in a header, or in a report.
pub(crate) fn id(value: &serde_json::Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("an id in {value}")).to_owned()
}

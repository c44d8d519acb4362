//! Restores a file of pg_dump: an archive in any format, or plain SQL. One session, one transaction:
//! whatever goes wrong, the target is as it was.
//!
//! The file is read twice. The first time (`survey`) nothing is changed: all of it is read to its
//! end, every statement is understood or refused, and what it brings is counted. The second time
//! (`load`) the same steps are carried out, and at the end (`verify`) rows and objects are counted at
//! the target and compared, before the commit.

mod archive;
mod configuration;
mod grants;
mod load;
mod part;
mod prepare;
mod roles;
mod script;
mod step;
mod survey;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Parts;
use super::clear::Cover;
use super::part::RestoreSelection;
use super::plan::RestorePlan;
use super::session::Session;
use super::target::TargetState;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::monitor::Monitor;
use crate::postgres::ConnectionSettings;
use crate::repository::format::manifest::Sections;
use crate::repository::format::receipt::Line;
use roles::FileRoles;
use survey::Survey;

/// Which file to restore and how.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// The file, or the folder of a dump in directory format.
    pub path: PathBuf,
    /// How to reach the target.
    pub connection: ConnectionSettings,
    /// Clear a target that is not empty, in the same transaction.
    pub clean: bool,
    /// Definitions only, rows only, or all.
    pub sections: Sections,
    /// How long to wait for a lock on an object that is to be dropped.
    pub lock_timeout: Duration,
    /// Create the roles that the file names and the target lacks, without the right to log in.
    pub create_roles: bool,
    /// The role of the target that stands for a role of the file.
    pub role_map: BTreeMap<String, String>,
    /// Which part of an archive to restore.
    pub selection: RestoreSelection,
    /// Roles that get what an application needs on what is made.
    pub grant_to: Vec<String>,
    /// The caller takes a safety backup of a target that loses something.
    pub safety_backup: bool,
}

impl FileOptions {
    /// All of the file into an empty target; locks are waited for 30 seconds.
    pub fn new(path: PathBuf, connection: ConnectionSettings) -> Self {
        Self {
            path,
            connection,
            clean: false,
            sections: Sections::All,
            lock_timeout: Duration::from_secs(30),
            create_roles: false,
            role_map: BTreeMap::new(),
            selection: RestoreSelection::default(),
            grant_to: Vec::new(),
            safety_backup: false,
        }
    }
}

/// What a file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct FileFacts {
    /// The file.
    pub file: String,
    /// Such as `custom archive 1.15, gzip`.
    pub format: String,
    /// The database it was made of, where the file says.
    pub database: Option<String>,
    /// Of the server it was made of.
    pub server_version: Option<String>,
    /// Of pg_dump.
    pub dump_version: Option<String>,
    /// When it was made, in the local time of that place.
    pub made: Option<String>,
}

impl FileFacts {
    /// Major version of the server it was made of.
    pub fn major(&self) -> Option<u32> {
        let version = self.server_version.as_deref()?;
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// Where the file comes from, in words: `database shop, PostgreSQL 15.18, made 2026-11-20 02:00:00`.
    pub fn origin(&self) -> String {
        let parts = [
            self.database.as_ref().map(|name| format!("database {name}")),
            self.server_version.as_ref().map(|version| format!("PostgreSQL {version}")),
            self.made.as_ref().map(|time| format!("made {time}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "it does not say where it comes from".to_owned() } else { parts.join(", ") }
    }
}

/// What a restore of a file did and found. A file has no place in the repository, and so no receipt.
#[derive(Debug, Clone, serde::Serialize)]
#[must_use]
pub struct FileReport {
    /// The file.
    pub facts: FileFacts,
    /// `host:port/database`.
    pub target: String,
    /// The verification, line by line.
    pub lines: Vec<Line>,
    /// Everything that was skipped, mapped or differs, in words.
    pub remarks: Vec<String>,
    /// What to know, although nothing differs for it.
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

impl FileReport {
    /// Whether nothing was left out and nothing differs (else exit code 3).
    pub fn is_complete(&self) -> bool {
        self.remarks.is_empty() && self.lines.iter().all(|line| line.equal)
    }
}

/// A restore of a file that has been planned and not begun: nothing is changed yet.
pub struct PreparedFile {
    source: Arc<step::Source>,
    facts: FileFacts,
    survey: Survey,
    session: Session,
    target: TargetState,
    parts: Parts,
    cover: Option<Cover>,
    roles: FileRoles,
    lock_timeout: Duration,
    /// Beside what is made there is more of its schemas that stays.
    is_part: bool,
    plan: RestorePlan,
}

/// Reads the file to its end, looks at the target, and plans. Nothing is changed.
///
/// # Errors
/// Refused by a guard (target not empty without `clean`, server too old, missing extension, a
/// statement that is not run …); a damaged file; an unreachable target.
pub fn prepare(options: &FileOptions, monitor: &dyn Monitor, interrupt: &Interrupt) -> Result<PreparedFile> {
    prepare::prepare(options, monitor, interrupt)
}

/// What a file says of itself. Nothing is connected to.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn facts(path: &std::path::Path) -> Result<FileFacts> {
    step::Source::open(path).and_then(|source| source.facts())
}

impl PreparedFile {
    /// What would be done.
    pub fn plan(&self) -> &RestorePlan {
        &self.plan
    }

    /// What the file says of itself.
    pub fn facts(&self) -> &FileFacts {
        &self.facts
    }

    /// Does it, verifies, commits.
    ///
    /// # Errors
    /// The target is as it was then, unless the error says that nobody can tell.
    pub fn apply(self, monitor: &dyn Monitor, interrupt: &Interrupt) -> Result<FileReport> {
        load::apply(self, monitor, interrupt)
    }
}

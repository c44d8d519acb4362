//! What went otherwise than the backup has it, collected while a restore runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::repository::format::receipt::Line;

/// Everything noted so far. Shared by all sessions of a restore.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    /// Entries that failed or were skipped, with the name of the one that failed first.
    failed: BTreeMap<usize, String>,
    problems: Vec<String>,
    remarks: Vec<String>,
    lines: Vec<Line>,
    said: Vec<String>,
}

impl Journal {
    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that entry `index` failed.
    pub(super) fn fail(&self, index: usize, name: &str, reason: &str) {
        let mut notes = self.notes();
        notes.problems.push(format!("{name}: {reason}"));
        notes.failed.insert(index, name.to_owned());
    }

    /// Notes that entry `index` is skipped because what it needs failed. `quiet` leaves it out of
    /// the list, for parts that nobody would look for.
    pub(super) fn skip(&self, index: usize, name: &str, cause: &str, quiet: bool) {
        let mut notes = self.notes();
        if !quiet {
            notes.problems.push(format!("{name}: skipped because {cause} failed"));
        }
        notes.failed.insert(index, cause.to_owned());
    }

    /// The name of the failed entry that one of `dependencies` fell with.
    pub(super) fn cause(&self, mut dependencies: impl Iterator<Item = usize>) -> Option<String> {
        let notes = self.notes();
        dependencies.find_map(|dependency| notes.failed.get(&dependency).cloned())
    }

    /// Whether entry `index` failed or was skipped.
    pub(super) fn has_failed(&self, index: usize) -> bool {
        self.notes().failed.contains_key(&index)
    }

    /// Notes a failure that is not an entry's.
    pub(super) fn problem(&self, text: impl Into<String>) {
        self.notes().problems.push(text.into());
    }

    /// Notes a difference that the restore makes on purpose.
    pub(super) fn remark(&self, text: impl Into<String>) {
        self.notes().remarks.push(text.into());
    }

    /// Notes what was counted on the way.
    pub(super) fn line(&self, line: Line) {
        self.notes().lines.push(line);
    }

    /// All counts so far.
    pub(super) fn lines(&self) -> Vec<Line> {
        self.notes().lines.clone()
    }

    /// Notes something to know that is no difference.
    pub(super) fn note(&self, text: impl Into<String>) {
        self.notes().said.push(text.into());
    }

    /// What is to know and no difference.
    pub(super) fn said(&self) -> Vec<String> {
        self.notes().said.clone()
    }

    /// All failures so far.
    pub(super) fn problems(&self) -> Vec<String> {
        self.notes().problems.clone()
    }

    /// All remarks so far.
    pub(super) fn remarks(&self) -> Vec<String> {
        self.notes().remarks.clone()
    }
}

//! Replays an archive's entries: one by one, or in order with many in one message.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::entry::{self, Surroundings};
use super::hosted;
use super::journal::Journal;
use super::owners::Owners;
use super::selection::{Graph, belongs_to_table};
use super::session::{Session, describe, is_fatal, is_transient};
use crate::error::{Error, Result};
use crate::monitor::{Event, Monitor};
use crate::platform::Hosting;
use crate::postgres::QueryError;

/// Entries sent in one message at most: a round trip each would make many tables slow.
pub(super) const BATCH_ENTRIES: usize = 64;
/// Bytes of statements in one message at most.
pub(super) const BATCH_BYTES: usize = 256 * 1024;
/// How often a statement that met a deadlock or a lock is tried.
pub(super) const ATTEMPTS: usize = 5;

/// What replaying needs besides a session.
pub(super) struct Replay<'a> {
    pub(super) graph: &'a Graph<'a>,
    pub(super) owners: &'a Owners,
    pub(super) surroundings: Surroundings<'a>,
    pub(super) journal: &'a Journal,
    pub(super) monitor: &'a dyn Monitor,
    /// Objects that exist already are kept: the backup carries some tables only.
    pub(super) keep_existing: bool,
    /// Who runs the target.
    pub(super) hosting: &'a Hosting,
    /// Entries whose owner could not be set; tried again once privileges are in place.
    pub(super) unowned: Mutex<Vec<usize>>,
}

impl Replay<'_> {
    pub(super) fn name(&self, index: usize) -> String {
        entry::name(&self.graph.entries[index])
    }

    fn creation(&self, index: usize) -> String {
        entry::statements(&self.graph.entries[index], &self.surroundings)
    }

    fn owner_statement(&self, index: usize, login: &str) -> Option<String> {
        let entry = &self.graph.entries[index];
        let owner = self.owners.at_target(entry::owner(entry)?);
        if owner == login && entry.kind != "SCHEMA" {
            return None;
        }
        entry::owner_statement(entry, owner)
    }

    /// Adds the statements that create an entry's object and give it to its owner.
    pub(super) fn add_statements(&self, index: usize, login: &str, message: &mut String) {
        message.push_str(&self.creation(index));
        if let Some(owner) = self.owner_statement(index, login) {
            message.push_str(&owner);
            message.push('\n');
        }
    }

    /// Whether the entry is skipped because something it needs failed; noted then.
    pub(super) fn skips(&self, index: usize) -> bool {
        let Some(cause) = self.journal.cause(self.graph.dependencies(index)) else { return false };
        let quiet = matches!(self.graph.entries[index].kind.as_str(), "COMMENT" | "SECURITY LABEL");
        self.journal.skip(index, &self.name(index), &cause, quiet);
        true
    }

    /// Replays entries one after the other. Those that `is_light` come many in one message where
    /// all goes well: each message is a savepoint, and thousands of them make a transaction slow.
    ///
    /// # Errors
    /// Atomic: the first entry that fails. Otherwise only what ends the restore.
    pub(super) fn in_order(
        &self,
        session: &mut Session,
        indexes: &[usize],
        is_light: &dyn Fn(usize) -> bool,
    ) -> Result<()> {
        let mut rest = indexes;
        while let Some((&first, others)) = rest.split_first() {
            session.interrupt.check()?;
            if self.skips(first) {
                rest = others;
                continue;
            }
            let (batch, after) = rest.split_at(self.batch(rest, is_light));
            rest = after;
            let mut message = String::new();
            for &index in batch {
                self.add_statements(index, &session.login, &mut message);
            }
            match session.unit(&message) {
                Ok(()) => {}
                Err(error) if is_fatal(&error) => return Err(self.ended(first, &error)),
                Err(_) => {
                    for &index in batch {
                        self.one(session, index)?;
                    }
                }
            }
            let done = indexes.len() - rest.len();
            let name = batch.last().map(|&index| self.name(index)).unwrap_or_default();
            self.monitor.event(Event::Steps { done, total: indexes.len(), name: &name });
        }
        Ok(())
    }

    /// How many of the first entries go into one message: up to what depends on a failed one.
    fn batch(&self, indexes: &[usize], is_light: &dyn Fn(usize) -> bool) -> usize {
        let mut bytes = 0;
        let mut fits = |index: &usize| {
            bytes += self.graph.entries[*index].definition.len();
            let fits = bytes <= BATCH_BYTES && is_light(*index);
            fits && self.journal.cause(self.graph.dependencies(*index)).is_none()
        };
        indexes.iter().take(BATCH_ENTRIES).take_while(|index| fits(index)).count().max(1)
    }

    /// Replays one entry.
    ///
    /// # Errors
    /// Atomic: its failure. Otherwise what ends the restore; its failure is noted.
    pub(super) fn one(&self, session: &mut Session, index: usize) -> Result<()> {
        session.interrupt.check()?;
        if self.skips(index) {
            return Ok(());
        }
        let creation = self.creation(index);
        let created = retried(|| session.unit(&creation));
        if let Err(error) = created {
            if is_fatal(&error) {
                return Err(self.ended(index, &error));
            }
            if self.tolerates(index, &error) {
                return Ok(());
            }
            let reason = describe(&error);
            if session.atomic {
                return Err(Error::failed(format!("{} could not be restored", self.name(index))).why(reason));
            }
            self.journal.fail(index, &self.name(index), &reason);
            return Ok(());
        }
        if let Some(statement) = self.owner_statement(index, &session.login)
            && let Err(error) = retried(|| session.unit(&statement))
        {
            if is_fatal(&error) {
                return Err(self.ended(index, &error));
            }
            self.unowned.lock().unwrap_or_else(PoisonError::into_inner).push(index);
        }
        Ok(())
    }

    /// Failures that a restore can live with, each with a remark.
    fn tolerates(&self, index: usize, error: &QueryError) -> bool {
        let entry = &self.graph.entries[index];
        let is_comment = matches!(entry.kind.as_str(), "COMMENT" | "SECURITY LABEL");
        let is_attached = hosted::is_attached(entry, self.hosting);
        match error.code() {
            Some("42501") if is_attached => {
                let (name, why) = (self.name(index), describe(error));
                let statement = entry::visible(entry.definition.trim());
                self.journal.fail(index, &name, &format!("{why}; the table's owner can run: {statement}"));
                true
            }
            // The verification shows whether it differs.
            Some("42710") if is_attached => true,
            Some("42501") if is_comment => {
                self.journal.remark(format!("{} is not restored: {}", self.name(index), describe(error)));
                true
            }
            Some("42710" | "42P07" | "42723" | "42P06" | "42P16")
                if self.keep_existing && !is_part_of_a_table(&entry.kind) =>
            {
                self.journal.remark(format!("{} exists at the target and stays as it is", self.name(index)));
                true
            }
            _ => false,
        }
    }

    pub(super) fn ended(&self, index: usize, error: &QueryError) -> Error {
        if matches!(error, QueryError::Interrupted) {
            return Error::interrupted();
        }
        Error::failed(format!("the restore ended at {}", self.name(index))).why(describe(error))
    }

    /// Tries owners again that could not be set before; what still fails belongs to the login.
    ///
    /// # Errors
    /// Only what ends the restore.
    pub(super) fn owners_again(&self, session: &mut Session) -> Result<()> {
        let unowned = std::mem::take(&mut *self.unowned.lock().unwrap_or_else(PoisonError::into_inner));
        let mut failed: BTreeMap<(String, String), usize> = BTreeMap::new();
        for index in unowned {
            let Some(statement) = self.owner_statement(index, &session.login) else { continue };
            if let Err(error) = session.unit(&statement) {
                if is_fatal(&error) {
                    return Err(self.ended(index, &error));
                }
                let owner = entry::owner(&self.graph.entries[index]).unwrap_or_default().to_owned();
                *failed.entry((owner, describe(&error))).or_default() += 1;
            }
        }
        for ((owner, reason), count) in failed {
            self.journal
                .remark(format!("{count} objects of role {owner} belong to {}: {reason}", session.login));
        }
        Ok(())
    }
}

/// Whether an object of that name can only be another one: its table has just been made.
fn is_part_of_a_table(kind: &str) -> bool {
    belongs_to_table(kind) && !matches!(kind, "SEQUENCE" | "TABLE ATTACH" | "INDEX ATTACH")
}

/// Tries again what met a deadlock, a few times.
fn retried(mut attempt: impl FnMut() -> Result<(), QueryError>) -> Result<(), QueryError> {
    let mut tried = 1;
    loop {
        match attempt() {
            Err(error) if is_transient(&error) && tried < ATTEMPTS => tried += 1,
            result => return result,
        }
    }
}

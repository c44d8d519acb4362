//! Replays an archive's entries: in order on one session, or by dependency on several.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex, PoisonError};

use super::entry::{self, Surroundings};
use super::journal::Journal;
use super::owners::Owners;
use super::schedule::{Hold, Schedule, Task};
use super::selection::{Graph, TableName};
use super::session::{Session, describe, is_fatal, is_transient};
use crate::error::{Error, Result};
use crate::monitor::{Event, Monitor};
use crate::postgres::QueryError;

/// Entries sent in one message at most: a round trip each would make many tables slow.
const BATCH_ENTRIES: usize = 64;
/// Bytes of statements in one message at most.
const BATCH_BYTES: usize = 256 * 1024;
/// How often a statement that met a deadlock or a lock is tried.
const ATTEMPTS: usize = 5;

/// What replaying needs besides a session.
pub(super) struct Replay<'a> {
    pub(super) graph: &'a Graph<'a>,
    pub(super) owners: &'a Owners,
    pub(super) surroundings: Surroundings<'a>,
    pub(super) journal: &'a Journal,
    pub(super) monitor: &'a dyn Monitor,
    /// Objects that exist already are kept: the backup carries some tables only.
    pub(super) keep_existing: bool,
    /// Entries whose owner could not be set; tried again once privileges are in place.
    pub(super) unowned: Mutex<Vec<usize>>,
}

impl Replay<'_> {
    fn name(&self, index: usize) -> String {
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

    /// Whether the entry is skipped because something it needs failed; noted then.
    fn skips(&self, index: usize) -> bool {
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
                message.push_str(&self.creation(index));
                if let Some(owner) = self.owner_statement(index, &session.login) {
                    message.push_str(&owner);
                    message.push('\n');
                }
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
    fn one(&self, session: &mut Session, index: usize) -> Result<()> {
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
        match error.code() {
            Some("42501") if is_comment => {
                self.journal.remark(format!("{} is not restored: {}", self.name(index), describe(error)));
                true
            }
            Some("42710" | "42P07" | "42723" | "42P06" | "42P16") if self.keep_existing => {
                self.journal.remark(format!("{} exists at the target and stays as it is", self.name(index)));
                true
            }
            _ => false,
        }
    }

    fn ended(&self, index: usize, error: &QueryError) -> Error {
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

    /// Replays entries on several sessions at once, each as soon as what it needs is there and no
    /// other session holds its tables. `bytes` gives the size of a table's rows.
    ///
    /// # Errors
    /// What ends the restore.
    pub(super) fn at_once(
        &self,
        sessions: &mut [Session],
        indexes: &[usize],
        bytes: &dyn Fn(&TableName) -> u64,
    ) -> Result<()> {
        let run = Run {
            schedule: Mutex::new(Schedule::new(tasks(self.graph, indexes, bytes))),
            changed: Condvar::new(),
            ended: Mutex::new(None),
            total: indexes.len(),
        };
        std::thread::scope(|scope| {
            for session in sessions.iter_mut() {
                scope.spawn(|| run.work(self, session, indexes));
            }
        });
        run.ended.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
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

/// One run of a schedule by several sessions.
struct Run {
    schedule: Mutex<Schedule>,
    changed: Condvar,
    ended: Mutex<Option<Error>>,
    total: usize,
}

impl Run {
    fn work(&self, replay: &Replay<'_>, session: &mut Session, indexes: &[usize]) {
        while let Some(task) = self.next() {
            let result = replay.one(session, indexes[task]);
            let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
            schedule.end(task);
            let done = self.total - schedule.left();
            drop(schedule);
            if let Err(error) = result {
                self.ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            } else {
                let name = replay.name(indexes[task]);
                replay.monitor.event(Event::Steps { done, total: self.total, name: &name });
            }
            self.changed.notify_all();
        }
    }

    /// Waits for the next task that may run; `None` when there is none left or the run has ended.
    fn next(&self) -> Option<usize> {
        let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if schedule.is_finished() || self.ended.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                return None;
            }
            if let Some(task) = schedule.next() {
                return Some(task);
            }
            schedule = self.changed.wait(schedule).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The entries as tasks of a schedule.
fn tasks(graph: &Graph<'_>, indexes: &[usize], bytes: &dyn Fn(&TableName) -> u64) -> Vec<Task> {
    let position: HashMap<usize, usize> =
        indexes.iter().enumerate().map(|(position, &index)| (index, position)).collect();
    let trees = Trees::new(graph);
    let mut sizes: HashMap<usize, u64> = HashMap::new();
    indexes
        .iter()
        .map(|&index| {
            let entry = &graph.entries[index];
            let hold = if entry.kind == "INDEX" { Hold::Shared } else { Hold::Alone };
            let relations = trees.relations_of(graph, index);
            let weight = relations
                .iter()
                .map(|&relation| *sizes.entry(relation).or_insert_with(|| size(graph, relation, bytes)))
                .max()
                .unwrap_or(0);
            Task {
                after: graph.dependencies(index).filter_map(|other| position.get(&other).copied()).collect(),
                holds: relations.iter().map(|&relation| (trees.root(relation), hold)).collect(),
                weight,
            }
        })
        .collect()
}

fn size(graph: &Graph<'_>, relation: usize, bytes: &dyn Fn(&TableName) -> u64) -> u64 {
    let entry = &graph.entries[relation];
    entry.schema.as_ref().map_or(0, |schema| bytes(&(schema.clone(), entry.tag.clone())))
}

/// Which tables share a partition or inheritance tree.
struct Trees {
    /// For each entry one that it is joined with, or itself.
    parents: Vec<usize>,
}

impl Trees {
    fn new(graph: &Graph<'_>) -> Self {
        let mut trees = Self { parents: (0..graph.entries.len()).collect() };
        for (index, entry) in graph.entries.iter().enumerate() {
            let joins = matches!(entry.kind.as_str(), "TABLE" | "TABLE ATTACH");
            let mut first = (entry.kind == "TABLE").then_some(index);
            for other in
                graph.dependencies(index).filter(|&other| joins && graph.entries[other].kind == "TABLE")
            {
                let one = *first.get_or_insert(other);
                let (one, other) = (trees.root(one), trees.root(other));
                trees.parents[one] = other;
            }
        }
        trees
    }

    fn root(&self, mut index: usize) -> usize {
        while self.parents[index] != index {
            index = self.parents[index];
        }
        index
    }

    /// The tables and views an entry works on: those it depends on, also through other entries
    /// that come after the rows (a comment on an index locks the index's table).
    fn relations_of(&self, graph: &Graph<'_>, index: usize) -> Vec<usize> {
        let mut found = Vec::new();
        let mut seen = vec![index];
        let mut open = vec![index];
        while let Some(next) = open.pop() {
            for other in graph.dependencies(next) {
                if is_relation(&graph.entries[other].kind) {
                    found.push(other);
                } else if graph.entries[other].section == crate::archive::Section::PostData
                    && !seen.contains(&other)
                {
                    seen.push(other);
                    open.push(other);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn is_relation(kind: &str) -> bool {
    matches!(kind, "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE")
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::sample;
    use super::*;

    #[test]
    fn indexes_of_one_table_build_together_and_keys_lock_both_tables() {
        let entries = vec![
            sample(1, "TABLE", "orders", &[]),
            sample(2, "TABLE", "customers", &[]),
            sample(3, "INDEX", "a", &[1]),
            sample(4, "INDEX", "b", &[1]),
            sample(5, "FK CONSTRAINT", "orders fk", &[1, 2]),
            sample(6, "COMMENT", "INDEX a", &[3]),
        ];
        let graph = Graph::new(&entries);
        let sizes = |name: &TableName| if name.1 == "orders" { 100 } else { 7 };
        let tasks = tasks(&graph, &[2, 3, 4, 5], &sizes);
        assert_eq!(tasks[0].holds, [(0, Hold::Shared)]);
        assert_eq!(tasks[0].weight, 100);
        assert_eq!(tasks[2].holds, [(0, Hold::Alone), (1, Hold::Alone)]);
        assert_eq!(tasks[3], Task { after: vec![0], holds: vec![(0, Hold::Alone)], weight: 100 });
    }

    #[test]
    fn a_partition_tree_counts_as_one_table() {
        let entries = vec![
            sample(1, "TABLE", "events", &[]),
            sample(2, "TABLE", "events_1", &[1]),
            sample(3, "TABLE", "events_2", &[]),
            sample(4, "TABLE ATTACH", "events_2", &[3, 1]),
            sample(5, "CONSTRAINT", "events_1 pk", &[2]),
            sample(6, "CONSTRAINT", "events_2 pk", &[3]),
        ];
        let graph = Graph::new(&entries);
        let tasks = tasks(&graph, &[4, 5], &|_| 0);
        assert_eq!(tasks[0].holds, tasks[1].holds);
    }
}

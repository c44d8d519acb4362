//! A reader asks whether what earlier backups read has changed.

use std::sync::PoisonError;

use super::{Outcome, Reader, Role, Shared, is_planning_error, no_room};
use crate::backup::plan::{PageRange, Task};
use crate::backup::reuse::{Doubt, Earlier, Question, Since, Verdict, ask};
use crate::error::{Error, Result};
use crate::postgres::error::QueryError;
use crate::repository::format::manifest::Object;

/// Why the server gave no answer.
enum Unanswered {
    /// It cannot plan the question: an index expression of a table needs another search_path, say.
    NotPlanned,
    /// It has no room for the locks on the tables and, to plan, on all of their indexes.
    NoRoom(QueryError),
}

impl Reader<'_> {
    /// Asks about one range of pages: proven unchanged, or why not. `None` when the table cannot be
    /// locked now.
    pub(super) fn prove_chunk(
        &mut self,
        table: usize,
        pages: PageRange,
        known: usize,
        shared: &Shared<'_>,
    ) -> Result<Option<Result<(), Doubt>>> {
        let Some(read_table) = shared.tables.get(table) else { return Ok(Some(Err(Doubt::NewTable))) };
        let Some(earlier) = read_table.earlier.get(known) else { return Ok(Some(Err(Doubt::NewPages))) };
        let since = match shared.may_stand(table, earlier, pages)? {
            Ok(since) => since,
            Err(doubt) => return Ok(Some(Err(doubt))),
        };
        if !self.lock(&[table], shared)? {
            return Ok(None);
        }
        let question = Question { table: read_table, pages, since, rows: earlier.chunk.rows };
        Ok(Some(match self.ask(&[question], shared)? {
            Ok(verdicts) if verdicts == [Verdict::Unchanged] => {
                shared.progress.taken_over(table, &earlier.chunk);
                Ok(())
            }
            Ok(_) => Err(Doubt::Changed),
            Err(Unanswered::NotPlanned) => Err(Doubt::NoAnswer),
            Err(Unanswered::NoRoom(error)) => return Err(no_room(error)),
        }))
    }

    /// Asks about several small tables at once.
    pub(super) fn prove_tables(
        &mut self,
        tables: Vec<usize>,
        bytes: u64,
        shared: &Shared<'_>,
    ) -> Result<Outcome> {
        if !self.lock(&tables, shared)? {
            return Ok(Outcome::NotLocked(Task::Prove { tables, bytes }));
        }
        let mut questions = Vec::with_capacity(tables.len());
        let mut asked = Vec::with_capacity(tables.len());
        let mut rest = Vec::new();
        for &table in &tables {
            let Some(read_table) = shared.tables.get(table) else { continue };
            let Some(earlier) = read_table.earlier.first() else {
                rest.push((table, read_table.doubt.clone()));
                continue;
            };
            match shared.may_stand(table, earlier, PageRange::ALL)? {
                Ok(since) => {
                    let rows = earlier.chunk.rows;
                    questions.push(Question { table: read_table, pages: PageRange::ALL, since, rows });
                    asked.push((table, &earlier.chunk));
                }
                Err(doubt) => rest.push((table, doubt)),
            }
        }
        let verdicts = match self.ask(&questions, shared)? {
            Ok(verdicts) => verdicts,
            Err(_) if tables.len() > 1 => return Ok(Outcome::Divide { tables, bytes }),
            Err(Unanswered::NotPlanned) => {
                let rest = tables.into_iter().map(|table| (table, Doubt::NoAnswer)).collect();
                return Ok(Outcome::Proven { unchanged: Vec::new(), rest });
            }
            Err(Unanswered::NoRoom(error)) => return Err(no_room(error)),
        };
        self.release(shared)?;
        let mut unchanged = Vec::with_capacity(asked.len());
        for ((table, chunk), verdict) in asked.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Unchanged => {
                    shared.progress.taken_over(table, chunk);
                    unchanged.push(table);
                }
                Verdict::Changed => rest.push((table, Doubt::Changed)),
            }
        }
        Ok(Outcome::Proven { unchanged, rest })
    }

    /// Asks. The session can go on, whatever the answer.
    fn ask(
        &mut self,
        questions: &[Question<'_>],
        shared: &Shared<'_>,
    ) -> Result<Result<Vec<Verdict>, Unanswered>> {
        if self.role == Role::Leader {
            self.connection.execute("SAVEPOINT chunk")?;
        }
        match ask(self.connection, questions) {
            Ok(verdicts) => {
                if self.role == Role::Leader {
                    self.connection.execute("RELEASE chunk")?;
                }
                Ok(Ok(verdicts))
            }
            Err(error) if is_planning_error(&error) => {
                self.recover(shared.snapshot)?;
                Ok(Err(Unanswered::NotPlanned))
            }
            Err(error) if error.code() == Some("53200") => {
                self.recover(shared.snapshot)?;
                Ok(Err(Unanswered::NoRoom(error)))
            }
            Err(error) => Err(Error::from(error).context("asking whether tables have changed")),
        }
    }
}

impl Shared<'_> {
    /// Whether an earlier chunk may stand for the table's pages, if the server says so: since when,
    /// or the doubt.
    fn may_stand(&self, table: usize, earlier: &Earlier, pages: PageRange) -> Result<Result<Since, Doubt>> {
        let since = match &earlier.trust {
            Ok(since) => *since,
            Err(doubt) => return Ok(Err(doubt.clone())),
        };
        if !earlier.stands_for(pages) {
            return Ok(Err(Doubt::NewPages));
        }
        // One format throughout a table.
        if earlier.chunk.format != self.progress.format(table) {
            return Ok(Err(Doubt::Changed));
        }
        Ok(if self.may_be_used(&earlier.object) { Ok(since) } else { Err(Doubt::Object) })
    }

    /// Whether an earlier object is not condemned, and still there with its size; each is looked for
    /// once.
    fn may_be_used(&self, object: &Object) -> bool {
        let name = object.name();
        let known = self.stored.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied();
        known.unwrap_or_else(|| {
            let stored = self.repository.take_over(self.object_key, object);
            self.stored.lock().unwrap_or_else(PoisonError::into_inner).insert(name, stored);
            stored
        })
    }
}

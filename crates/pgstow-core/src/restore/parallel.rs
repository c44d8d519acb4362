//! Carries out on several sessions at once what follows the definitions: rows, indexes,
//! constraints, statistics. Each table's indexes begin when its rows are there, while the rows of
//! other tables are still loading, so that no session waits for the end of a phase.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::data::{self, Load};
use super::definitions::{BATCH_BYTES, BATCH_ENTRIES, Replay};
use super::finish;
use super::schedule::Schedule;
use super::selection::TableName;
use super::session::{Session, describe, is_fatal, on_all_numbered};
use super::tasks::{Step, Work};
use crate::error::{Error, Result};
use crate::monitor::{Event, Monitor};

/// Statements up to this weight are sent together: a round trip each would make many tables slow.
const LIGHT: u64 = 1 << 20;
/// And together they weigh no more than this, so that the last of them keep all sessions busy.
const BATCH_WEIGHT: u64 = 8 << 20;

/// What is done, and with what.
pub(super) struct Parallel<'a> {
    pub(super) replay: &'a Replay<'a>,
    pub(super) load: &'a Load<'a>,
    pub(super) loads: &'a [data::Task<'a>],
    pub(super) analyzed: &'a [TableName],
    /// Processors of the server that are at our disposal, where we know them.
    pub(super) processors: Option<usize>,
    pub(super) monitor: &'a dyn Monitor,
}

struct State {
    schedule: Schedule,
    /// Rows are still to come.
    loading: bool,
    /// Steps other than loads that have ended.
    done: usize,
    ended: Option<Error>,
}

/// One run through all steps.
struct Run<'a> {
    parallel: &'a Parallel<'a>,
    steps: Vec<Step>,
    weights: Vec<u64>,
    sorted_rows: Vec<u64>,
    /// Steps that are told when they end.
    told: usize,
    sessions: usize,
    state: Mutex<State>,
    changed: Condvar,
}

/// What one session does next: one heavy task, or several light ones.
struct Batch {
    tasks: Vec<usize>,
    /// Processors that nothing else is going to use.
    idle_processors: Option<usize>,
}

impl Parallel<'_> {
    /// Does everything in `work`.
    ///
    /// # Errors
    /// What ends the restore; the rest is noted.
    pub(super) fn run(&self, sessions: &mut [Session], work: Work) -> Result<()> {
        let Work { steps, tasks, sorted_rows } = work;
        let told = steps.iter().filter(|step| matches!(step, Step::Replay(_) | Step::Analyze(_))).count();
        let loading = steps.contains(&Step::AllLoaded);
        if !loading {
            self.monitor.event(Event::Phase { name: AFTER_ROWS });
        }
        let run = Run {
            parallel: self,
            steps,
            sorted_rows,
            weights: tasks.iter().map(|task| task.weight).collect(),
            told,
            sessions: sessions.len(),
            state: Mutex::new(State { schedule: Schedule::new(tasks), loading, done: 0, ended: None }),
            changed: Condvar::new(),
        };
        on_all_numbered(sessions, |number, session| {
            run.work(number, session);
            Ok(())
        })?;
        run.state.into_inner().unwrap_or_else(PoisonError::into_inner).ended.map_or(Ok(()), Err)
    }
}

const AFTER_ROWS: &str = "indexes and constraints";

impl Run<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, number: usize, session: &mut Session) {
        while let Some(batch) = self.next(number) {
            let result = self.carry_out(session, &batch);
            self.finish(&batch, result);
        }
    }

    /// Waits for the next tasks that may run; `None` when there are none left or the run has ended.
    fn next(&self, session: usize) -> Option<Batch> {
        let mut state = self.state();
        loop {
            if state.schedule.is_finished() || state.ended.is_some() {
                return None;
            }
            let Some(first) = state.schedule.next(session, |_| true) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if matches!(self.steps[first], Step::Milestone | Step::AllLoaded) {
                self.pass(&mut state, first);
                continue;
            }
            let tasks = self.batch(&mut state.schedule, session, first);
            let busy = state.schedule.busy();
            let soon = busy + state.schedule.startable(self.sessions - busy);
            let idle_processors = self.parallel.processors.map(|processors| processors.saturating_sub(soon));
            return Some(Batch { tasks, idle_processors });
        }
    }

    fn pass(&self, state: &mut State, milestone: usize) {
        state.schedule.end(milestone);
        if self.steps[milestone] == Step::AllLoaded {
            state.loading = false;
            self.parallel.monitor.event(Event::Phase { name: AFTER_ROWS });
        }
        self.changed.notify_all();
    }

    /// Adds further light tasks to a light one.
    fn batch(&self, schedule: &mut Schedule, session: usize, first: usize) -> Vec<usize> {
        let is_light = |task: usize| {
            self.weights[task] <= LIGHT && matches!(self.steps[task], Step::Replay(_) | Step::Analyze(_))
        };
        let mut tasks = vec![first];
        if !is_light(first) {
            return tasks;
        }
        let (mut weight, mut bytes) = (self.weights[first], self.bytes(first));
        while tasks.len() < BATCH_ENTRIES && weight < BATCH_WEIGHT && bytes < BATCH_BYTES {
            let Some(task) = schedule.next(session, is_light) else { break };
            tasks.push(task);
            weight += self.weights[task];
            bytes += self.bytes(task);
        }
        tasks
    }

    /// About the length of a task's statements.
    fn bytes(&self, task: usize) -> usize {
        match self.steps[task] {
            Step::Replay(index) => self.parallel.replay.graph.entries[index].definition.len(),
            _ => 0,
        }
    }

    fn carry_out(&self, session: &mut Session, batch: &Batch) -> Result<()> {
        if let (Some(idle), [only]) = (batch.idle_processors, batch.tasks.as_slice())
            && matches!(self.steps[*only], Step::Replay(_))
            && self.weights[*only] > LIGHT
        {
            session.tune(idle, self.sorted_rows[*only])?;
        }
        if batch.tasks.len() > 1 {
            session.interrupt.check()?;
            let (tasks, message) = self.message(session, &batch.tasks);
            match session.unit(&message) {
                Ok(()) => return Ok(()),
                Err(error) if is_fatal(&error) => {
                    let Some(&first) = tasks.first() else { return Err(error.into()) };
                    return Err(self.ended(first, &error));
                }
                Err(_) => return tasks.into_iter().try_for_each(|task| self.one(session, task)),
            }
        }
        batch.tasks.iter().try_for_each(|&task| self.one(session, task))
    }

    /// The statements of several tasks, and the tasks that are not skipped.
    fn message(&self, session: &Session, tasks: &[usize]) -> (Vec<usize>, String) {
        let (replay, mut message) = (self.parallel.replay, String::new());
        let mut kept = Vec::new();
        for &task in tasks {
            match self.steps[task] {
                Step::Replay(index) if replay.skips(index) => continue,
                Step::Replay(index) => replay.add_statements(index, &session.login, &mut message),
                Step::Analyze(index) => {
                    message.push_str(&finish::analyze_statement(&self.parallel.analyzed[index]));
                    message.push_str(";\n");
                }
                _ => {}
            }
            kept.push(task);
        }
        (kept, message)
    }

    fn one(&self, session: &mut Session, task: usize) -> Result<()> {
        match self.steps[task] {
            Step::Load(index) => match self.parallel.loads.get(index) {
                Some(load) => self.parallel.load.task(session, load),
                None => Ok(()),
            },
            Step::Replay(index) => self.parallel.replay.one(session, index),
            Step::Analyze(index) => {
                let table = &self.parallel.analyzed[index];
                finish::analyze(session, std::slice::from_ref(table), self.parallel.replay.journal)
            }
            Step::Milestone | Step::AllLoaded => Ok(()),
        }
    }

    fn ended(&self, task: usize, error: &crate::postgres::QueryError) -> Error {
        match self.steps[task] {
            Step::Replay(index) => self.parallel.replay.ended(index, error),
            _ => Error::failed(format!("the restore ended at {}", self.name(task))).why(describe(error)),
        }
    }

    fn name(&self, task: usize) -> String {
        match self.steps[task] {
            Step::Replay(index) => self.parallel.replay.name(index),
            Step::Analyze(index) => {
                let (schema, name) = &self.parallel.analyzed[index];
                format!("statistics of {}", crate::postgres::identifier::display_name(schema, name))
            }
            Step::Load(_) | Step::Milestone | Step::AllLoaded => String::new(),
        }
    }

    fn finish(&self, batch: &Batch, result: Result<()>) {
        let mut state = self.state();
        for &task in &batch.tasks {
            state.schedule.end(task);
            state.done += usize::from(!matches!(self.steps[task], Step::Load(_)));
        }
        let (done, loading) = (state.done, state.loading);
        if let Err(error) = result {
            state.ended.get_or_insert(error);
        }
        drop(state);
        self.changed.notify_all();
        // While rows are loading it is they that are told.
        if let (false, Some(&last)) = (loading, batch.tasks.last()) {
            let name = self.name(last);
            self.parallel.monitor.event(Event::Steps { done, total: self.told, name: &name });
        }
    }
}

//! Readers at work: a queue of tasks, several sessions, one coordinator.
//!
//! Each reader receives, hashes, compresses and stores in one thread: while one compresses,
//! another's server process produces, so the processors stay busy without handing data from
//! thread to thread, and memory is bounded by the readers' own buffers. The coordinator keeps
//! the leader alive, reads what readers could not lock, hands out what follows from their answers
//! (small tables that have changed, say), and puts the manifest's chunks together.

mod collected;

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

pub(super) use self::collected::{Collected, Held};
use super::plan::{self, Extent, PageRange, Task};
use super::reader::{Outcome, Reader, Shared};
use super::reuse::{Doubt, Earlier};
use super::watch::Watch;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::ConnectionSettings;
use crate::postgres::connection::Connection;
use crate::postgres::session::{self, Purpose};
use crate::repository::Repository;
use crate::repository::format::encryption::ObjectKey;

/// How often the coordinator looks after the leader.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How many readers there are, how they connect and where they store.
pub(super) struct Readers<'a> {
    pub(super) repository: &'a Repository,
    /// The key of the ids of all objects, in an encrypted repository.
    pub(super) object_key: Option<&'a ObjectKey>,
    pub(super) settings: &'a ConnectionSettings,
    pub(super) encoding: &'a str,
    pub(super) jobs: usize,
}

/// What is read.
pub(super) struct Work<'a> {
    pub(super) tasks: Vec<Task>,
    /// Of each table, to plan what is read after all.
    pub(super) extents: &'a [Extent],
    /// Earlier chunks of large objects that are taken over, or why large objects are read.
    pub(super) large_objects: Result<&'a [Earlier], Doubt>,
}

/// Keeps what is finished, for the case of an interruption.
pub(super) trait Keep {
    /// Called often: decides itself whether it is time.
    ///
    /// # Errors
    /// The leader's session is gone.
    fn keep(&mut self, collected: &Collected, leader: &mut Connection) -> Result<()>;

    /// Reading failed or was interrupted: the last opportunity.
    fn keep_last(&mut self, collected: &Collected);
}

/// What a reader thread says.
enum Message {
    Outcome(Result<Outcome>),
    /// It could not start; others go on.
    Absent(Error),
}

/// Reads all tasks.
///
/// # Errors
/// The first error of any reader, or the loss of the leader.
pub(super) fn run(
    work: Work<'_>,
    leader: &mut Connection,
    readers: &Readers<'_>,
    shared: &Shared<'_>,
    keep: Option<&mut dyn Keep>,
    monitor: &dyn Monitor,
) -> Result<Collected> {
    let workers = readers.jobs.min(work.tasks.len());
    let (tasks, queue) = unbounded();
    let (sender, messages) = bounded(workers * 2);
    let mut coordinator = Coordinator {
        leader,
        shared,
        monitor,
        keep,
        extents: work.extents,
        tasks,
        outstanding: 0,
        proving: 0,
        rest: Vec::new(),
        collected: Collected::new(shared.tables.len(), work.large_objects)?,
    };
    coordinator.hand_out(work.tasks);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (queue, sender) = (queue.clone(), sender.clone());
            scope.spawn(move || worker(&queue, &sender, readers, shared));
        }
        drop(sender);
        let result = coordinator.run(&messages, &queue);
        if result.is_err() {
            shared.stop.trigger();
            if let Some(keep) = &mut coordinator.keep {
                keep.keep_last(&coordinator.collected);
            }
        }
        // Without a sender the queue ends, and with it the workers; what they still say is not needed.
        let collected = coordinator.collected;
        drop(coordinator.tasks);
        messages.iter().for_each(drop);
        result.map(|()| collected)
    })
}

struct Coordinator<'a, 'k> {
    leader: &'a mut Connection,
    shared: &'a Shared<'a>,
    monitor: &'a dyn Monitor,
    keep: Option<&'a mut (dyn Keep + 'k)>,
    extents: &'a [Extent],
    tasks: Sender<Task>,
    /// Tasks handed out and not settled.
    outstanding: usize,
    /// Those of them that ask about small tables.
    proving: usize,
    /// Small tables that have to be read.
    rest: Vec<usize>,
    collected: Collected,
}

impl Coordinator<'_, '_> {
    fn hand_out(&mut self, tasks: impl IntoIterator<Item = Task>) {
        for task in tasks {
            self.outstanding += 1;
            self.proving += usize::from(matches!(task, Task::Prove { .. }));
            // The receiver lives as long as the coordinator: sending cannot fail.
            let _ = self.tasks.send(task);
        }
    }

    /// Until everything is settled.
    fn run(&mut self, messages: &Receiver<Message>, queue: &Receiver<Task>) -> Result<()> {
        let mut watch = Watch::default();
        let mut looked = Instant::now();
        while self.outstanding > 0 {
            let pause = WATCH_INTERVAL.saturating_sub(looked.elapsed());
            match messages.recv_timeout(pause) {
                Ok(Message::Outcome(outcome)) => self.settle(outcome?)?,
                Ok(Message::Absent(error)) => self.absent(&error),
                Err(RecvTimeoutError::Timeout) => {}
                // No reader could connect, or none is left: the leader reads alone.
                Err(RecvTimeoutError::Disconnected) => self.read_next(queue)?,
            }
            if looked.elapsed() >= WATCH_INTERVAL {
                watch.look(self.leader, self.monitor)?;
                looked = Instant::now();
            }
            if let Some(keep) = &mut self.keep {
                keep.keep(&self.collected, self.leader)?;
            }
            if self.outstanding == 0 {
                let again = self.collected.take_back_mixed_tables(self.shared);
                self.hand_out(again);
            }
        }
        Ok(())
    }

    fn read_next(&mut self, queue: &Receiver<Task>) -> Result<()> {
        self.shared.stop.check()?;
        let task = queue.try_recv().map_err(|_| Error::failed("a reader ended without a word"))?;
        let outcome = Reader::leader(self.leader).read(task, self.shared)?;
        self.settle(outcome)
    }

    fn absent(&self, error: &Error) {
        let reason = error.reason().unwrap_or_default();
        let message = format!("one reader fewer: {} ({reason})", error.message());
        self.monitor.event(Event::Warning { message: &message });
    }

    /// Takes in what a reader did.
    fn settle(&mut self, mut outcome: Outcome) -> Result<()> {
        if let Outcome::NotLocked(task) = outcome {
            outcome = Reader::leader(self.leader).read(task, self.shared)?;
        }
        self.outstanding -= 1;
        match outcome {
            Outcome::Done { written, chunks } => self.collected.add(&written, chunks, self.shared.tables)?,
            Outcome::TakenOver { table, pages, known } => {
                self.collected.take_over(table, pages, known, self.shared.tables)?;
            }
            Outcome::Proven { unchanged, rest } => self.proven(&unchanged, rest)?,
            Outcome::Divide { tables, bytes } => {
                self.proving -= 1;
                let half = tables.len() / 2;
                let halves = [&tables[..half], &tables[half..]];
                self.hand_out(halves.map(|tables| Task::Prove { tables: tables.to_vec(), bytes: bytes / 2 }));
            }
            Outcome::NotLocked(_) => return Err(Error::failed("the leader does not hold its lock")),
            Outcome::Superseded => {}
            Outcome::Indivisible { table } => {
                if self.shared.progress.switch_to_whole(table) {
                    let pages = PageRange::ALL;
                    self.hand_out([Task::Chunk { table, pages, bytes: 0, known: None }]);
                }
            }
            Outcome::TooLong { task, table } => self.read_in_binary(task, table),
        }
        Ok(())
    }

    fn proven(&mut self, unchanged: &[usize], rest: Vec<(usize, Doubt)>) -> Result<()> {
        for table in unchanged {
            self.collected.take_over(*table, PageRange::ALL, 0, self.shared.tables)?;
        }
        for (table, doubt) in rest {
            self.collected.doubt(table, doubt);
            self.rest.push(table);
        }
        self.proving -= 1;
        if self.proving == 0 {
            self.read_rest();
        }
        Ok(())
    }

    /// All small tables have been asked about: what has changed is read, in bundles.
    fn read_rest(&mut self) {
        self.rest.extend(self.collected.take_back_sparse(self.extents, self.shared.progress));
        self.rest.sort_unstable();
        self.rest.dedup();
        let mut extents: Vec<&Extent> =
            self.rest.drain(..).filter_map(|table| self.extents.get(table)).collect();
        self.hand_out(plan::bundles(&mut extents));
    }

    fn read_in_binary(&mut self, task: Task, table: usize) {
        let progress = self.shared.progress;
        progress.switch_to_binary(table);
        match task {
            Task::Bundle { tables, bytes } => {
                let before = tables.iter().take_while(|other| **other != table);
                before.for_each(|other| progress.chunk_again(*other));
                let rest: Vec<usize> = tables.into_iter().filter(|other| *other != table).collect();
                self.hand_out([Task::Chunk { table, pages: PageRange::ALL, bytes, known: None }]);
                if !rest.is_empty() {
                    self.hand_out([Task::Bundle { tables: rest, bytes }]);
                }
            }
            Task::Chunk { table, pages, bytes, .. } => {
                self.hand_out([Task::Chunk { table, pages, bytes, known: None }]);
            }
            other => self.hand_out([other]),
        }
    }
}

fn worker(queue: &Receiver<Task>, messages: &Sender<Message>, readers: &Readers<'_>, shared: &Shared<'_>) {
    let mut connection = match connect(readers, shared.stop) {
        Ok(connection) => connection,
        Err(error) => {
            let message = if shared.stop.is_triggered() {
                Message::Outcome(Err(Error::interrupted()))
            } else {
                Message::Absent(error)
            };
            // The coordinator listens until all workers are gone.
            let _ = messages.send(message);
            return;
        }
    };
    let mut reader = match Reader::follower(&mut connection, shared.snapshot) {
        Ok(reader) => reader,
        Err(error) => {
            let error = Error::from(error).context("a reader could not take over the snapshot");
            let _ = messages.send(Message::Outcome(Err(error)));
            return;
        }
    };
    for task in queue {
        let outcome = shared.stop.check().and_then(|()| reader.read(task, shared));
        let failed = outcome.is_err();
        if messages.send(Message::Outcome(outcome)).is_err() || failed {
            return;
        }
    }
}

fn connect(readers: &Readers<'_>, stop: &Interrupt) -> Result<Connection> {
    let mut connection = Connection::open(readers.settings, stop)?;
    session::pin(&mut connection, Purpose::Read, readers.encoding)?;
    Ok(connection)
}

//! Readers at work: a queue of tasks, several sessions, one coordinator.
//!
//! Each reader receives, hashes, compresses and stores in one thread: while one compresses,
//! another's server process produces, so the processors stay busy without handing data from
//! thread to thread, and memory is bounded by the readers' own buffers. The coordinator keeps
//! the leader alive, reads what readers could not lock, and puts the manifest's chunks together.

use std::collections::HashMap;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::plan::{PageRange, Task};
use super::reader::{Outcome, ReadChunk, Reader, Shared};
use super::watch::Watch;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::ConnectionSettings;
use crate::postgres::connection::Connection;
use crate::postgres::session::{self, Purpose};
use crate::repository::Repository;
use crate::repository::format::id::ObjectId;
use crate::repository::format::manifest::{Chunk, CopyFormat, Object};
use crate::repository::object::Written;

/// How often the coordinator looks after the leader.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How many readers there are, how they connect and where they store.
pub(super) struct Readers<'a> {
    pub(super) repository: &'a Repository,
    pub(super) settings: &'a ConnectionSettings,
    pub(super) encoding: &'a str,
    pub(super) jobs: usize,
}

/// Everything that was read, as the manifest will hold it.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) objects: Vec<Object>,
    /// Chunks by index of the table.
    pub(super) tables: Vec<Vec<Chunk>>,
    pub(super) large_objects: Vec<Chunk>,
    /// Stored bytes of objects that the repository did not hold before.
    pub(super) new_bytes: u64,
    positions: HashMap<ObjectId, u32>,
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
    tasks: Vec<Task>,
    leader: &mut Connection,
    readers: &Readers<'_>,
    shared: &Shared<'_>,
    monitor: &dyn Monitor,
) -> Result<Collected> {
    let mut collected = Collected { tables: vec![Vec::new(); shared.tables.len()], ..Collected::default() };
    let mut watch = Watch::default();
    let mut pending = tasks;
    while !pending.is_empty() {
        let mut again = round(pending, leader, readers, shared, monitor, &mut collected, &mut watch)?;
        again.extend(collected.take_back_mixed_tables(shared));
        pending = again;
    }
    Ok(collected)
}

/// Reads `tasks`; those that have to be read in another way.
fn round(
    tasks: Vec<Task>,
    leader: &mut Connection,
    readers: &Readers<'_>,
    shared: &Shared<'_>,
    monitor: &dyn Monitor,
    collected: &mut Collected,
    watch: &mut Watch,
) -> Result<Vec<Task>> {
    let workers = readers.jobs.min(tasks.len());
    let (task_sender, queue) = unbounded();
    for task in tasks {
        // The receiver lives in this function: sending cannot fail.
        let _ = task_sender.send(task);
    }
    drop(task_sender);
    let (sender, messages) = bounded(workers * 2);
    let mut again = Vec::new();
    let mut failure: Option<Error> = None;
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (queue, sender) = (queue.clone(), sender.clone());
            scope.spawn(move || worker(&queue, &sender, readers, shared));
        }
        drop(sender);
        loop {
            let step = match messages.recv_timeout(WATCH_INTERVAL) {
                Ok(Message::Outcome(outcome)) => {
                    outcome.and_then(|outcome| settle(outcome, leader, shared, collected, &mut again))
                }
                Ok(Message::Absent(error)) => {
                    absent(&error, monitor);
                    Ok(())
                }
                Err(RecvTimeoutError::Timeout) => watch.look(leader, monitor),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Err(error) = step
                && failure.is_none()
            {
                failure = Some(error);
                shared.stop.trigger();
            }
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    // Left over only when no reader could connect.
    while let Ok(task) = queue.try_recv() {
        shared.stop.check()?;
        let outcome = Reader::leader(leader).read(task, shared)?;
        settle(outcome, leader, shared, collected, &mut again)?;
    }
    Ok(again)
}

fn absent(error: &Error, monitor: &dyn Monitor) {
    let reason = error.reason().unwrap_or_default();
    let message = format!("one reader fewer: {} ({reason})", error.message());
    monitor.event(Event::Warning { message: &message });
}

/// Takes in what a reader did.
fn settle(
    outcome: Outcome,
    leader: &mut Connection,
    shared: &Shared<'_>,
    collected: &mut Collected,
    again: &mut Vec<Task>,
) -> Result<()> {
    match outcome {
        Outcome::Done { written, chunks } => collected.add(&written, chunks),
        Outcome::NotLocked(task) => {
            let outcome = Reader::leader(leader).read(task, shared)?;
            settle(outcome, leader, shared, collected, again)
        }
        Outcome::Superseded => Ok(()),
        Outcome::Indivisible { table } => {
            if shared.progress.switch_to_whole(table) {
                again.push(Task::Chunk { table, pages: PageRange::ALL, bytes: 0 });
            }
            Ok(())
        }
        Outcome::TooLong { task, table } => {
            shared.progress.switch_to_binary(table);
            match task {
                Task::Bundle { tables, bytes } => {
                    let before = tables.iter().take_while(|other| **other != table);
                    before.for_each(|other| shared.progress.chunk_again(*other));
                    let rest: Vec<usize> = tables.into_iter().filter(|other| *other != table).collect();
                    again.push(Task::Chunk { table, pages: PageRange::ALL, bytes });
                    if !rest.is_empty() {
                        again.push(Task::Bundle { tables: rest, bytes });
                    }
                }
                chunk => again.push(chunk),
            }
            Ok(())
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
    while let Ok(task) = queue.try_recv() {
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

impl Collected {
    fn add(&mut self, written: &Written, chunks: Vec<ReadChunk>) -> Result<()> {
        if written.new {
            self.new_bytes += written.object.stored_bytes;
        }
        let next = u32::try_from(self.objects.len())
            .map_err(|_| Error::failed("too many objects for one backup"))?;
        let position = *self.positions.entry(written.object.id).or_insert(next);
        if position == next {
            self.objects.push(written.object.clone());
        }
        for ReadChunk { table, mut chunk } in chunks {
            chunk.object = position;
            match table.and_then(|table| self.tables.get_mut(table)) {
                Some(chunks) => chunks.push(chunk),
                None => self.large_objects.push(chunk),
            }
        }
        Ok(())
    }

    /// A table is in one format throughout: text chunks of a table that turned binary while they
    /// were read are read again. Ranges of a table that turned out to be indivisible are dropped:
    /// it is read as a whole. Their objects stay in the repository unreferenced.
    fn take_back_mixed_tables(&mut self, shared: &Shared<'_>) -> Vec<Task> {
        let mut tasks = Vec::new();
        for (table, chunks) in self.tables.iter_mut().enumerate() {
            if shared.progress.is_whole(table) {
                chunks.retain(|chunk| chunk.first_page == 0 && chunk.end_page.is_none());
            }
            if shared.progress.format(table) == CopyFormat::Text {
                continue;
            }
            chunks.retain(|chunk| {
                if chunk.format == CopyFormat::Text {
                    shared.progress.chunk_again(table);
                    let pages = PageRange { first: chunk.first_page, end: chunk.end_page };
                    tasks.push(Task::Chunk { table, pages, bytes: chunk.bytes });
                }
                chunk.format == CopyFormat::Binary
            });
        }
        tasks
    }

    /// Puts each table's chunks in the order of pages and drops objects that no chunk uses.
    pub(super) fn arrange(&mut self) {
        for chunks in &mut self.tables {
            chunks.sort_by_key(|chunk| chunk.first_page);
        }
        let mut used = vec![false; self.objects.len()];
        let all = self.tables.iter().flatten().chain(&self.large_objects);
        for chunk in all {
            if let Some(used) = used.get_mut(chunk.object as usize) {
                *used = true;
            }
        }
        let mut place = 0;
        let places: Vec<u32> = used
            .iter()
            .map(|used| {
                let here = place;
                place += u32::from(*used);
                here
            })
            .collect();
        let mut keep = used.iter();
        self.objects.retain(|_| keep.next().copied().unwrap_or(true));
        let all = self.tables.iter_mut().flatten().chain(&mut self.large_objects);
        for chunk in all {
            if let Some(place) = places.get(chunk.object as usize) {
                chunk.object = *place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(id: u8, new: bool) -> Written {
        Written { object: Object { id: ObjectId([id; 32]), bytes: 10, stored_bytes: 5 }, new }
    }

    fn chunk(first_page: u32) -> Chunk {
        Chunk {
            object: 0,
            offset: 0,
            bytes: 10,
            rows: 1,
            format: CopyFormat::Text,
            first_page,
            end_page: None,
        }
    }

    #[test]
    fn equal_contents_share_one_object_and_unused_objects_are_dropped() {
        let mut collected = Collected { tables: vec![Vec::new(); 2], ..Collected::default() };
        let read = |table, page| vec![ReadChunk { table: Some(table), chunk: chunk(page) }];
        collected.add(&written(1, true), read(0, 8)).unwrap();
        collected.add(&written(2, true), Vec::new()).unwrap();
        collected.add(&written(3, true), read(0, 0)).unwrap();
        collected.add(&written(1, false), read(1, 0)).unwrap();
        collected.arrange();
        let ids: Vec<u8> = collected.objects.iter().map(|object| object.id.0[0]).collect();
        assert_eq!(ids, [1, 3]);
        let objects =
            |table: usize| collected.tables[table].iter().map(|chunk| chunk.object).collect::<Vec<_>>();
        assert_eq!((objects(0), objects(1)), (vec![1, 0], vec![0]));
        assert_eq!(collected.new_bytes, 15);
    }
}

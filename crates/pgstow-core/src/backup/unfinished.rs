//! Writes down every now and then what is finished, so that an interrupted backup helps the next.

use std::time::{Duration, Instant};

use super::pipeline::{Collected, Keep};
use super::read_plan::{ReadPlan, manifest_tables};
use super::reuse::{Flush, Judged};
use crate::error::Result;
use crate::monitor::{Event, Monitor};
use crate::postgres::connection::Connection;
use crate::repository::BackupDraft;
use crate::repository::format::FORMAT_VERSION;
use crate::repository::format::encryption::ObjectKey;
use crate::repository::format::manifest::{LargeObjects, Manifest, Selection, Snapshot, Source};
use crate::repository::format::proof::Proof;

/// Writing takes at most one part in so many of the time.
const COST: u32 = 20;
/// Written down again after this time even when nothing was finished: other runs take one that is
/// silent for a day for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3600);
/// Between two looks at the server's log.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Writes down what is finished of one backup.
pub(super) struct Unfinished<'a, 'r> {
    pub(super) draft: &'a mut BackupDraft<'r>,
    pub(super) plan: &'a ReadPlan,
    pub(super) judged: &'a Judged,
    pub(super) source: &'a Source,
    pub(super) snapshot: Snapshot,
    pub(super) selection: &'a Selection,
    /// The key of objects' ids, in an encrypted repository.
    pub(super) object_key: Option<&'a ObjectKey>,
    pub(super) fsync: bool,
    pub(super) flush: Flush,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) pace: Pace,
}

/// When to write again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    every: Duration,
    last: Instant,
    /// Chunks that were written down the last time.
    chunks: usize,
    /// The server's log is known to be on disk: before that, nothing could be proven with what is
    /// written down.
    durable: bool,
    looked: Option<Instant>,
    /// Writing failed once.
    given_up: bool,
}

impl Pace {
    /// `every`: the shortest time between two writings.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, last: Instant::now(), chunks: 0, durable: false, looked: None, given_up: false }
    }
}

/// Tells what went wrong with the backup's signs of life.
pub(super) fn tell_troubles(draft: &BackupDraft<'_>, monitor: &dyn Monitor) {
    for message in draft.troubles() {
        monitor.event(Event::Warning { message: &message });
    }
}

impl Keep for Unfinished<'_, '_> {
    fn keep(&mut self, collected: &Collected, leader: &mut Connection) -> Result<()> {
        tell_troubles(self.draft, self.monitor);
        self.look(leader)?;
        let idle = self.pace.last.elapsed();
        if self.pace.given_up || idle < self.pace.every {
            return Ok(());
        }
        if collected.chunks() == self.pace.chunks && idle < SIGN_OF_LIFE {
            return Ok(());
        }
        self.write(collected);
        Ok(())
    }

    fn keep_last(&mut self, collected: &Collected) {
        if !self.pace.given_up {
            self.write(collected);
        }
    }
}

impl Unfinished<'_, '_> {
    /// Looks whether the server's log is on disk by now.
    fn look(&mut self, leader: &mut Connection) -> Result<()> {
        let due = self.pace.looked.is_none_or(|last| last.elapsed() >= LOOK_EVERY);
        if !self.pace.durable && due {
            self.pace.durable = self.flush.is_done(leader)?;
            self.pace.looked = Some(Instant::now());
        }
        Ok(())
    }

    /// Failing costs the next backup some time, and this one nothing.
    fn write(&mut self, collected: &Collected) {
        if !self.pace.durable {
            return;
        }
        let begun = Instant::now();
        if let Err(error) = self.draft.write_progress(&self.manifest(collected.clone())) {
            let message = format!("what is finished so far cannot be written down: {error}");
            self.monitor.event(Event::Warning { message: &message });
            self.pace.given_up = true;
        }
        self.pace.chunks = collected.chunks();
        let cost = begun.elapsed();
        self.pace.every = self.pace.every.max(cost * COST);
        self.pace.last = Instant::now();
    }

    fn manifest(&self, mut collected: Collected) -> Manifest {
        collected.arrange();
        let bases = collected.tally();
        let read_in_full_at = self.judged.read_in_full_at(bases.bases().iter().copied());
        Manifest {
            format_version: FORMAT_VERSION,
            backup: self.draft.id().clone(),
            source: self.source.clone(),
            snapshot: self.snapshot.clone(),
            selection: self.selection.clone(),
            encryption: None,
            object_key: self.object_key.cloned(),
            tables: manifest_tables(self.plan, &collected.tables),
            sequences: Vec::new(),
            materialized_views: Vec::new(),
            large_objects: LargeObjects::default(),
            objects: collected.objects,
            files: Vec::new(),
            not_carried: Vec::new(),
            proof: Some(Proof {
                fsync: self.fsync,
                durable: true,
                read_in_full_at: read_in_full_at.unwrap_or(self.snapshot.taken_at),
                definitions: None,
                large_objects: None,
            }),
        }
    }
}

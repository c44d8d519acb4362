//! One backup from connecting to the header.

use std::time::Instant;

use jiff::Timestamp;

use super::definitions::{self, Definitions, DefinitionsOptions};
use super::pipeline::{Collected, Keep, Readers};
use super::prepare::{Start, prepare};
use super::read_plan::{ReadPlan, manifest_tables, read_plan, read_rows};
use super::reuse::{self, DefinitionsBase, Judged, Present};
use super::snapshot::{ChangedMeanwhile, Leader, Locks};
use super::unfinished::{self, Pace, Unfinished};
use super::{BackupOptions, BackupReport, ReuseReport, not_carried, sidecars, snapshot, watch};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::client_tools::MORE_LOCKS;
use crate::postgres::{QueryError, ServerError};
use crate::repository::format::FORMAT_VERSION;
use crate::repository::format::header::Header;
use crate::repository::format::id::ObjectId;
use crate::repository::format::manifest::{LargeObjects, Manifest};
use crate::repository::format::proof::Proof;
use crate::repository::{BackupDraft, Repository};

/// How often a backup is begun anew before it gives up.
const ATTEMPTS: u32 = 3;

/// What a change of keys does not do.
const RECIPIENTS_CHANGED: &str = "encrypt_to changed: this backup is for the new keys alone; earlier backups stay readable \
     with the keys they were made for, also those that were removed";

/// Why an attempt did not give a backup.
enum Setback {
    /// Another attempt may succeed; what stood in the way.
    Again(Error, &'static str),
    /// pg_dump found no room for its locks beside ours.
    NoRoom(Error),
    /// Nothing to be gained by trying again.
    Final(Error),
}

impl<E: Into<Error>> From<E> for Setback {
    fn from(error: E) -> Self {
        let error = error.into();
        if is_recovery_conflict(&error) {
            Self::Again(error, "the standby cancelled the snapshot (recovery conflict)")
        } else if std::error::Error::source(&error).is_some_and(|source| source.is::<ChangedMeanwhile>()) {
            Self::Again(error, "a table was changed before it was read")
        } else {
            Self::Final(error)
        }
    }
}

/// Makes a backup, anew when something passing stood in the way.
pub(super) fn run(
    repository: &Repository,
    options: &BackupOptions,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<BackupReport> {
    let mut attempt = 1;
    let mut locks = Locks::Leader;
    loop {
        let (clock, started_at) = (Instant::now(), Timestamp::now());
        let attempt_once = Attempt { repository, options, monitor, interrupt, clock, started_at };
        match attempt_once.run(locks) {
            Ok(report) => return Ok(report),
            Err(Setback::NoRoom(_)) if locks == Locks::Leader => {
                monitor.event(Event::Warning { message: snapshot::NO_ROOM });
                locks = Locks::Readers;
            }
            Err(Setback::Again(_, reason)) if attempt < ATTEMPTS && !interrupt.is_triggered() => {
                monitor.event(Event::Warning { message: &format!("{reason}; starting anew") });
                attempt += 1;
            }
            Err(Setback::Again(error, _) | Setback::NoRoom(error) | Setback::Final(error)) => {
                return Err(error);
            }
        }
    }
}

fn is_recovery_conflict(error: &Error) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        let code = source.downcast_ref::<QueryError>().and_then(QueryError::code);
        let code = code.or_else(|| source.downcast_ref::<ServerError>().map(|server| server.code.as_str()));
        if code == Some("40001") {
            return true;
        }
        next = source.source();
    }
    false
}

/// One attempt.
struct Attempt<'a> {
    repository: &'a Repository,
    options: &'a BackupOptions,
    monitor: &'a dyn Monitor,
    interrupt: &'a Interrupt,
    clock: Instant,
    started_at: Timestamp,
}

/// What is known once the snapshot is taken.
struct Looked<'a> {
    start: &'a Start,
    plan: &'a ReadPlan,
    judged: &'a Judged,
    /// A backup whose definitions may be taken over.
    earlier: Option<&'a DefinitionsBase>,
}

impl Attempt<'_> {
    fn run(&self, locks: Locks) -> Result<BackupReport, Setback> {
        let Self { repository, options, monitor, interrupt, .. } = *self;
        let (mut start, connection) = prepare(repository, options, monitor, interrupt)?;
        let mut draft =
            repository.begin_backup(&options.environment, options.label.as_ref(), self.started_at)?;
        let usable = draft.build_on(&start.bases.finished())?;
        start.bases.retain(&usable);
        let mut leader =
            snapshot::take(connection, &start.scope, options.lock_timeout, locks, monitor, interrupt)?;
        let present = Present {
            source: &start.source,
            fsync: leader.fsync,
            next_transaction: leader.next_transaction,
            taken_at: leader.snapshot.taken_at,
            full: options.full,
            full_every: options.full_every,
        };
        let judged = Judged::new(std::mem::take(&mut start.bases.rows), &present, start.bases.closed.clone());
        let earlier = start.bases.definitions.take();
        let earlier = earlier.filter(|base| reuse::same_history(&base.manifest, &present).is_ok());
        let plan = read_plan(&mut leader, &start.scope, &start.source, &judged)?;
        let locked = if leader.locks == Locks::Leader { plan.tables.len() } else { 0 };
        monitor.event(Event::Snapshot { id: &leader.snapshot.id, tables: locked });
        let looked = Looked { start: &start, plan: &plan, judged: &judged, earlier: earlier.as_ref() };
        let (definitions, collected) = self.read(&looked, &mut leader, &mut draft)?;
        let durable = self.close(&plan, &mut leader)?;
        Ok(self.commit(draft, &looked, &leader, &definitions, collected, durable)?)
    }

    fn read(
        &self,
        looked: &Looked<'_>,
        leader: &mut Leader,
        draft: &mut BackupDraft<'_>,
    ) -> Result<(Definitions, Collected), Setback> {
        let (start, options) = (looked.start, self.options);
        let definitions = DefinitionsOptions {
            connection: &start.settings,
            source: &start.source,
            pg_dump: start.pg_dump.as_ref(),
            sections: options.selection.sections,
            exclude: &start.closed,
            hosting: start.scope.hosting(),
            managed: &looked.plan.managed,
            encoding: start.encoding,
            lock_timeout: options.lock_timeout,
            repository: self.repository,
            flush: leader.flush,
            earlier: looked.earlier,
        };
        let readers = Readers {
            repository: self.repository,
            object_key: start.bases.object_key.as_ref(),
            settings: &start.settings,
            encoding: start.encoding,
            jobs: options.jobs.clamp(1, 64),
        };
        let mut unfinished = Unfinished {
            draft,
            plan: looked.plan,
            judged: looked.judged,
            source: &start.source,
            snapshot: leader.snapshot.clone(),
            selection: &options.selection,
            object_key: start.bases.object_key.as_ref(),
            fsync: leader.fsync,
            flush: leader.flush,
            monitor: self.monitor,
            pace: Pace::new(options.keep_every),
        };
        // Without the leader's locks it shows only at the end that what was read is what the
        // snapshot shows.
        let keep = (leader.locks == Locks::Leader).then_some(&mut unfinished as &mut dyn Keep);
        match self.read_everything(&definitions, &readers, looked.plan, leader, keep) {
            Ok(everything) => Ok(everything),
            Err(error) if error.hints().iter().any(|hint| hint == MORE_LOCKS) => Err(Setback::NoRoom(error)),
            // pg_dump takes locks of its own and must not wait for ever behind a queued statement.
            Err(error)
                if error.kind() != ErrorKind::Interrupted && watch::holds_up(&mut leader.connection) =>
            {
                Err(Setback::Again(error, "a statement waits for one of our locks, and pg_dump behind it"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads definitions and rows side by side; the first failure ends both.
    fn read_everything(
        &self,
        definitions: &DefinitionsOptions<'_>,
        readers: &Readers<'_>,
        plan: &ReadPlan,
        leader: &mut Leader,
        keep: Option<&mut dyn Keep>,
    ) -> Result<(Definitions, Collected)> {
        let stop = Interrupt::new();
        let stopper = stop.clone();
        let registration = self.interrupt.register(move || stopper.trigger());
        let snapshot = leader.snapshot.clone();
        let read_definitions = || {
            let read = definitions::read(definitions, &snapshot, &stop);
            if read.is_err() {
                stop.trigger();
            }
            read
        };
        if leader.locks == Locks::Readers {
            // pg_dump locks every table: there is no room for the readers' locks beside it.
            let definitions = read_definitions()?;
            let collected = read_rows(plan, readers, leader, keep, self.monitor, &stop);
            drop(registration);
            self.interrupt.check()?;
            return Ok((definitions, collected?));
        }
        let (definitions, collected) = std::thread::scope(|threads| {
            let definitions = threads.spawn(read_definitions);
            let collected = read_rows(plan, readers, leader, keep, self.monitor, &stop);
            if collected.is_err() {
                stop.trigger();
            }
            (definitions.join(), collected)
        });
        drop(registration);
        self.interrupt.check()?;
        let definitions = definitions.map_err(|_| Error::failed("the thread that reads definitions died"))?;
        match (definitions, collected) {
            (Ok(definitions), Ok(collected)) => Ok((definitions, collected)),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
            // One of them was only stopped because the other failed.
            (Err(first), Err(second)) => {
                Err(if second.kind() == ErrorKind::Interrupted { first } else { second })
            }
        }
    }

    /// Shows that what was read belongs together; whether the server's log is on disk.
    fn close(&self, plan: &ReadPlan, leader: &mut Leader) -> Result<bool, Setback> {
        leader.connection.execute("COMMIT").map_err(|error| {
            Error::failed("the session that holds the locks was lost before the backup was complete")
                .source(error)
        })?;
        // Types are not locked, and what writes their values does not look at the snapshot.
        if plan.definitions_changed(&mut leader.connection)? {
            return Err(Setback::Again(
                Error::failed("columns or their types were changed while rows were read")
                    .hint("run the backup when no migration is running"),
                "a column or its type was changed while rows were read",
            ));
        }
        Ok(leader.flush.wait(&mut leader.connection, self.clock.elapsed(), self.interrupt)?)
    }

    /// Writes the files, the manifest and last the header.
    fn commit(
        &self,
        mut draft: BackupDraft<'_>,
        looked: &Looked<'_>,
        leader: &Leader,
        definitions: &Definitions,
        mut collected: Collected,
        durable: bool,
    ) -> Result<BackupReport> {
        self.monitor.event(Event::Phase { name: "writing the manifest" });
        collected.arrange();
        let (plan, start, tally) = (looked.plan, looked.start, collected.tally());
        // What was taken over is as old as the oldest of its sources; all else was read now.
        let read_in_full_at = looked.judged.read_in_full_at(tally.bases().iter().copied());
        let proof = Proof {
            fsync: leader.fsync,
            durable,
            read_in_full_at: read_in_full_at.unwrap_or(leader.snapshot.taken_at),
            definitions: definitions.proof.clone(),
            large_objects: plan.large_object_rows.clone().map(|rows| rows.catalog),
        };
        let tables = manifest_tables(plan, &collected.tables);
        let source = not_carried::Contents {
            relations: &leader.relations,
            tables: &tables,
            sequences: &plan.sequences,
            subscriptions: &definitions.subscriptions,
            vault: plan.managed.vault,
            secrets: definitions.managed.secrets_left,
            users_chosen: self.options.auth_users.is_some(),
        };
        let not_carried = not_carried::list(&source, &start.scope);
        let mut remarks = not_carried::remarks(&source, &start.scope);
        if start.bases.recipients_changed {
            remarks.push(RECIPIENTS_CHANGED.to_owned());
        }
        let chunks = collected.large_objects.iter().map(|held| held.chunk.clone()).collect();
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            backup: draft.id().clone(),
            source: start.source.clone(),
            snapshot: leader.snapshot.clone(),
            selection: self.options.selection.clone(),
            encryption: None,
            object_key: start.bases.object_key.clone(),
            tables,
            sequences: plan.sequences.known.clone(),
            materialized_views: plan.materialized_views.clone(),
            large_objects: LargeObjects { list: plan.large_objects.clone(), chunks },
            objects: collected.objects,
            files: Vec::new(),
            not_carried: not_carried.clone(),
            proof: Some(proof),
        };
        let pg_dump = start.pg_dump.as_ref().map(|pg_dump| pg_dump.version.as_str());
        let version = sidecars::of_backup(&manifest, pg_dump);
        draft.write_file(version.name, version.content.as_bytes())?;
        definitions.write(&mut draft)?;
        let header = self.header(&draft, &manifest, definitions, collected.new_bytes);
        unfinished::tell_troubles(&draft, self.monitor);
        let header = draft.commit(manifest, header, Timestamp::now())?;
        if let Some(fault) = self.repository.take_cache_fault() {
            self.monitor.event(Event::Warning {
                message: &format!("{fault}; the next backup may have to read everything"),
            });
        }
        Ok(BackupReport {
            header,
            not_carried,
            remarks,
            tables: plan.tables.len(),
            reuse: ReuseReport {
                definitions_reused: definitions.are_taken_over(),
                definitions_read: definitions.doubt.clone(),
                ..tally.into_report(looked.judged.newest().cloned())
            },
            seconds: self.clock.elapsed().as_secs_f64(),
        })
    }

    fn header(
        &self,
        draft: &BackupDraft<'_>,
        manifest: &Manifest,
        definitions: &Definitions,
        new_bytes: u64,
    ) -> Header {
        Header {
            format_version: FORMAT_VERSION,
            id: draft.id().clone(),
            environment: self.options.environment.clone(),
            label: self.options.label.clone(),
            note: self.options.note.clone(),
            safety: self.options.safety.clone(),
            written_by: format!("pgstow {}", env!("CARGO_PKG_VERSION")),
            started_at: self.started_at,
            snapshot_at: manifest.snapshot.taken_at,
            finished_at: self.started_at,
            server_version: manifest.source.server_version.clone(),
            database: manifest.source.database.clone(),
            sections: self.options.selection.sections,
            limited: false,
            counts: definitions.counts(),
            rows: manifest.rows(),
            content_bytes: manifest.content_bytes(),
            stored_bytes: manifest.stored_bytes(),
            new_bytes,
            not_carried: manifest.not_carried.iter().filter(|item| !item.expected).count(),
            encryption: None,
            objects_list_hash: None,
            manifest_bytes: 0,
            manifest_hash: ObjectId::ZERO,
            checksum: ObjectId::ZERO,
        }
    }
}

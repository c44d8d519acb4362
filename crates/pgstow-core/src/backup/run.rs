//! One backup from connecting to the header.

use std::time::Instant;

use jiff::Timestamp;

use super::definitions::{self, Definitions, DefinitionsOptions};
use super::pipeline::{Collected, Readers};
use super::read_plan::{ReadPlan, manifest_tables, read_plan, read_rows};
use super::scope::Scope;
use super::snapshot::{ChangedMeanwhile, Leader, Locks};
use super::{BackupOptions, BackupReport, large_objects, not_carried, preflight, sidecars, snapshot, watch};
use crate::archive;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::catalog::relations::{self, Sizes};
use crate::postgres::client_tools::{MORE_LOCKS, PgDump, ToolPlaces, server_major};
use crate::postgres::connection::Connection;
use crate::postgres::pooler;
use crate::postgres::session::{self, Purpose};
use crate::postgres::{ConnectionSettings, QueryError, ServerError};
use crate::repository::format::FORMAT_VERSION;
use crate::repository::format::header::Header;
use crate::repository::format::id::ObjectId;
use crate::repository::format::manifest::{LargeObjects, Manifest, Source};
use crate::repository::{BackupDraft, Repository};

/// How often a backup is begun anew before it gives up.
const ATTEMPTS: u32 = 3;

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
        match attempt_once(repository, options, locks, monitor, interrupt) {
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

/// The session and what was found before anything was locked.
struct Start {
    connection: Connection,
    /// Narrowed to the host that answered: all sessions of a backup belong to one server.
    settings: ConnectionSettings,
    /// Client encoding of all sessions.
    encoding: &'static str,
    source: Source,
    scope: Scope,
    pg_dump: Option<PgDump>,
    /// Tables that pg_dump must leave alone: not taken in, and not readable.
    closed: Vec<(String, String)>,
}

fn attempt_once(
    repository: &Repository,
    options: &BackupOptions,
    locks: Locks,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<BackupReport, Setback> {
    let (clock, started_at) = (Instant::now(), Timestamp::now());
    let start = prepare(options, monitor, interrupt)?;
    let draft = repository.begin_backup(&options.environment, options.label.as_ref(), started_at)?;
    let mut leader =
        snapshot::take(start.connection, &start.scope, options.lock_timeout, locks, monitor, interrupt)?;
    let plan = read_plan(&mut leader, &start.scope)?;
    let locked = if leader.locks == Locks::Leader { plan.tables.len() } else { 0 };
    monitor.event(Event::Snapshot { id: &leader.snapshot.id, tables: locked });
    let encoding = start.encoding;
    let definitions = DefinitionsOptions {
        connection: &start.settings,
        pg_dump: start.pg_dump.as_ref(),
        exclude: &start.closed,
        encoding,
        lock_timeout: options.lock_timeout,
    };
    let readers =
        Readers { repository, settings: &start.settings, encoding, jobs: options.jobs.clamp(1, 64) };
    let everything = read_everything(&definitions, &readers, &plan, &mut leader, monitor, interrupt);
    let (definitions, mut collected) = match everything {
        Ok(everything) => everything,
        Err(error) if error.hints().iter().any(|hint| hint == MORE_LOCKS) => {
            return Err(Setback::NoRoom(error));
        }
        // pg_dump takes locks of its own and must not wait for ever behind a queued statement.
        Err(error) if error.kind() != ErrorKind::Interrupted && watch::holds_up(&mut leader.connection) => {
            return Err(Setback::Again(
                error,
                "a statement waits for one of our locks, and pg_dump behind it",
            ));
        }
        Err(error) => return Err(error.into()),
    };
    leader.connection.execute("COMMIT").map_err(|error| {
        Error::failed("the session that holds the locks was lost before the backup was complete")
            .source(error)
    })?;

    monitor.event(Event::Phase { name: "writing the manifest" });
    collected.arrange();
    let not_carried = not_carried::list(&leader.relations, &start.scope, &plan, &definitions.subscriptions);
    let tables = plan.tables.len();
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        backup: draft.id().clone(),
        source: start.source,
        snapshot: leader.snapshot,
        selection: options.selection.clone(),
        tables: manifest_tables(&plan, &collected.tables),
        sequences: plan.sequences.known,
        materialized_views: plan.materialized_views,
        large_objects: LargeObjects { list: plan.large_objects, chunks: collected.large_objects },
        objects: collected.objects,
        files: Vec::new(),
        not_carried: not_carried.clone(),
        proof: None,
    };
    let header = commit(draft, options, manifest, &definitions, collected.new_bytes, started_at)?;
    Ok(BackupReport { header, not_carried, tables, seconds: clock.elapsed().as_secs_f64() })
}

/// Reads definitions and rows side by side; the first failure ends both.
fn read_everything(
    definitions: &DefinitionsOptions<'_>,
    readers: &Readers<'_>,
    plan: &ReadPlan,
    leader: &mut Leader,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<(Definitions, Collected)> {
    let stop = Interrupt::new();
    let stopper = stop.clone();
    let registration = interrupt.register(move || stopper.trigger());
    let snapshot = leader.snapshot.id.clone();
    let (definitions, collected) = std::thread::scope(|threads| {
        let definitions = threads.spawn(|| {
            let read = definitions::read(definitions, &snapshot, &stop);
            if read.is_err() {
                stop.trigger();
            }
            read
        });
        let collected = read_rows(plan, readers, leader, monitor, &stop);
        if collected.is_err() {
            stop.trigger();
        }
        (definitions.join(), collected)
    });
    drop(registration);
    interrupt.check()?;
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

/// Connects and refuses whatever would fail later.
fn prepare(options: &BackupOptions, monitor: &dyn Monitor, interrupt: &Interrupt) -> Result<Start> {
    let mut connection = Connection::open(&options.connection, interrupt)?;
    pooler::refuse_transaction_pooler(&mut connection, interrupt)?;
    // Before any other query: the role's own settings (time-outs, say) must not apply to us.
    let encoding = session::client_encoding(&connection);
    session::pin(&mut connection, Purpose::Read, encoding)?;
    let source = preflight::source(&mut connection)?;
    let endpoint = format!("{}/{}", source.endpoint, source.database);
    let server = format!("PostgreSQL {}", source.server_version);
    monitor.event(Event::Connected { endpoint: &endpoint, server: &server });
    let scope = Scope::new(&options.selection, source.in_recovery)?;
    let relations = relations::list(&mut connection, Sizes::Skip)?;
    scope.require_matches(&relations)?;
    preflight::require_readable(&relations, &scope, &source.role)?;
    if scope.wants_large_objects() {
        large_objects::require_readable(&mut connection, &source.role)?;
    }
    let places = ToolPlaces { configured: options.pg_dump.clone(), search_path: options.search_path.clone() };
    let pg_dump =
        scope.wants_definitions().then(|| PgDump::find(&places, server_major(&connection))).transpose()?;
    let closed = relations
        .iter()
        .filter(|relation| {
            matches!(relation.kind, 'r' | 'p') && !relation.selectable && !scope.locks(relation)
        })
        .map(|relation| (relation.schema.clone(), relation.name.clone()))
        .collect();
    let settings = connection.settings().clone();
    Ok(Start { connection, settings, encoding, source, scope, pg_dump, closed })
}

/// Writes the files, the manifest and last the header.
fn commit(
    mut draft: BackupDraft<'_>,
    options: &BackupOptions,
    manifest: Manifest,
    definitions: &Definitions,
    new_bytes: u64,
    started_at: Timestamp,
) -> Result<Header> {
    let archive = definitions.archive.as_ref();
    let entries = archive.map(|archive| archive::read(&archive.content)).transpose()?.unwrap_or_default();
    let pg_dump = archive.map(|archive| archive.pg_dump_version.as_str());
    for sidecar in sidecars::all(&manifest, &definitions.catalog, &entries, pg_dump) {
        draft.write_file(sidecar.name, sidecar.content.as_bytes())?;
    }
    if let Some(archive) = archive {
        draft.write_file("schema.dump", &archive.content)?;
    }
    draft.write_catalog(&definitions.catalog)?;
    let header = Header {
        format_version: FORMAT_VERSION,
        id: draft.id().clone(),
        environment: options.environment.clone(),
        label: options.label.clone(),
        note: options.note.clone(),
        written_by: format!("pgstow {}", env!("CARGO_PKG_VERSION")),
        started_at,
        snapshot_at: manifest.snapshot.taken_at,
        finished_at: started_at,
        server_version: manifest.source.server_version.clone(),
        database: manifest.source.database.clone(),
        sections: options.selection.sections,
        counts: definitions.catalog.inventory.counts(),
        rows: manifest.rows(),
        content_bytes: manifest.content_bytes(),
        stored_bytes: manifest.stored_bytes(),
        new_bytes,
        not_carried: manifest.not_carried.iter().filter(|item| !item.expected).count(),
        manifest_bytes: 0,
        manifest_hash: ObjectId([0; 32]),
        checksum: ObjectId([0; 32]),
    };
    draft.commit(manifest, header, Timestamp::now())
}

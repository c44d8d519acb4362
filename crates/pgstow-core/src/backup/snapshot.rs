//! Locks, then the snapshot, then the check: the order that loses nothing.
//!
//! A snapshot taken before the locks silently loses a table that is truncated or rewritten in
//! between. So the tables are listed, locked by name without freezing the snapshot (`LOCK` does
//! not), the snapshot is taken, and only then is it shown that what is locked is what the
//! snapshot sees, with the same storage: the set of OIDs in `pg_locks`, and for every table
//! `pg_class.relfilenode` (the snapshot's) against `pg_relation_filenode` (the current one).
//! On any difference everything is let go and tried again, a bounded number of times.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::reuse::Flush;
use super::scope::Scope;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::catalog::relations::{self, Relation, Sizes};
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;
use crate::postgres::identifier::{display_name, quote_qualified};
use crate::repository::format::manifest::Snapshot;

/// How often the tables may change under our hands before the backup gives up.
const ATTEMPTS: u32 = 8;
/// Tables named in one LOCK statement.
const LOCK_BATCH: usize = 200;
/// What the user is told when the leader cannot hold all locks.
pub(super) const NO_ROOM: &str = "the server has no room to lock all tables at once \
     (max_locks_per_transaction): each is locked while it is read, and a change meanwhile starts the backup anew";
/// OID of the database of the session, as a scalar subquery.
const THIS_DATABASE: &str =
    "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())";

/// Who holds the locks on the tables that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locks {
    /// The leader, on all of them for the whole backup.
    Leader,
    /// Each reader, on what it reads: the server has no room for more. The reader then checks the
    /// table as [`take`] does otherwise, and a difference makes the whole backup begin anew.
    Readers,
}

/// A table is not any more what the snapshot shows; another attempt may succeed.
#[derive(Debug, thiserror::Error)]
#[error("it was changed while the backup ran")]
pub(super) struct ChangedMeanwhile;

/// The session that holds the locks and the snapshot for the length of the backup.
pub(super) struct Leader {
    pub(super) connection: Connection,
    pub(super) snapshot: Snapshot,
    /// All relations as the snapshot shows them, with sizes.
    pub(super) relations: Vec<Relation>,
    pub(super) locks: Locks,
    /// The snapshot's `xmax`: no transaction so far has a higher id.
    pub(super) next_transaction: u64,
    /// How far the server's log reached.
    pub(super) flush: Flush,
    /// The server's `fsync` is on.
    pub(super) fsync: bool,
}

/// What the statement that takes the snapshot says.
struct Taken {
    snapshot: Snapshot,
    next_transaction: u64,
    flush: Flush,
    fsync: bool,
}

/// Why an attempt did not hold.
enum Failure {
    /// The tables changed while they were being locked; another attempt may succeed.
    Changed(String),
    /// The server has no room for so many locks.
    NoRoom,
    /// Nothing to be gained by trying again.
    Final(Error),
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error.code() {
            // Undefined table, schema or object; wrong object type: dropped, renamed or swapped
            // between listing and locking.
            Some("42P01" | "3F000" | "42704" | "42809") => Self::Changed(error.to_string()),
            _ => Self::Final(error.into()),
        }
    }
}

/// Locks the tables in scope, takes the snapshot and shows that the two belong together.
/// `connection` is outside a transaction; on success it is inside the one that must stay open.
///
/// # Errors
/// A table that keeps changing, or a lock that is not to be had in time, each by name.
pub(super) fn take(
    mut connection: Connection,
    scope: &Scope,
    lock_timeout: Duration,
    mut locks: Locks,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<Leader> {
    let mut reason = String::new();
    for attempt in 1..=ATTEMPTS {
        interrupt.check()?;
        match try_once(&mut connection, scope, lock_timeout, locks) {
            Ok((taken, relations)) => {
                let Taken { snapshot, next_transaction, flush, fsync } = taken;
                return Ok(Leader { connection, snapshot, relations, locks, next_transaction, flush, fsync });
            }
            Err(Failure::NoRoom) => {
                connection.execute("ROLLBACK")?;
                monitor.event(Event::Warning { message: NO_ROOM });
                locks = Locks::Readers;
            }
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Changed(what)) => {
                connection.execute("ROLLBACK")?;
                if attempt < ATTEMPTS {
                    let message =
                        format!("the tables changed while they were being locked ({what}); trying again");
                    monitor.event(Event::Warning { message: &message });
                }
                reason = what;
            }
        }
    }
    Err(Error::failed(format!("the tables changed {ATTEMPTS} times while they were being locked"))
        .why(reason)
        .hint("run the backup when no migration is running"))
}

fn try_once(
    connection: &mut Connection,
    scope: &Scope,
    lock_timeout: Duration,
    locks: Locks,
) -> Result<(Taken, Vec<Relation>), Failure> {
    if locks == Locks::Readers {
        connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
        connection.execute(&format!("SET LOCAL lock_timeout = {}", lock_timeout.as_millis()))?;
        return Ok((export(connection)?, relations::list(connection, Sizes::Read)?));
    }
    let listed: Vec<Relation> = relations::list(connection, Sizes::Skip)?;
    let listed: Vec<&Relation> = listed.iter().filter(|relation| scope.locks(relation)).collect();
    connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
    lock(connection, &listed, lock_timeout)?;
    let snapshot = export(connection)?;
    let relations = relations::list(connection, Sizes::Read)?;
    let locked = locked_oids(connection)?;
    let expected: BTreeSet<u32> = listed.iter().map(|relation| relation.oid).collect();
    check(&relations, scope, &locked, &expected)?;
    Ok((snapshot, relations))
}

fn lock(connection: &mut Connection, listed: &[&Relation], lock_timeout: Duration) -> Result<(), Failure> {
    connection.execute(&format!("SET LOCAL lock_timeout = {}", lock_timeout.as_millis()))?;
    for batch in listed.chunks(LOCK_BATCH) {
        let names: Vec<String> =
            batch.iter().map(|relation| quote_qualified(&relation.schema, &relation.name)).collect();
        let statement = format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", names.join(", ONLY "));
        match connection.execute(&statement) {
            Ok(_) => {}
            Err(error) if error.code() == Some("55P03") => {
                return Err(Failure::Final(lock_not_available(connection, batch, lock_timeout)));
            }
            Err(error) if error.code() == Some("53200") => return Err(Failure::NoRoom),
            Err(error) => return Err(error.into()),
        }
    }
    connection.execute("SET LOCAL lock_timeout = 0")?;
    Ok(())
}

/// Names who holds the lock we waited for, without repeating anybody's statements.
fn lock_not_available(connection: &mut Connection, batch: &[&Relation], lock_timeout: Duration) -> Error {
    let oids: Vec<String> = batch.iter().map(|relation| relation.oid.to_string()).collect();
    let question = format!(
        "SELECT l.relation, l.pid, COALESCE(a.application_name, '') FROM pg_catalog.pg_locks l \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.database = {THIS_DATABASE} \
         AND l.relation IN ({}) ORDER BY l.granted DESC, l.pid LIMIT 1",
        oids.join(", ")
    );
    let mut table = match batch {
        [only] => Some(display_name(&only.schema, &only.name)),
        _ => None,
    };
    let mut holder = None;
    // The answer only makes the message better; without it the message stands as it is.
    if connection.execute("ROLLBACK").is_ok()
        && let Ok(rows) = connection.query(&question)
        && let Some(row) = rows.iter().next()
        && let (Ok(oid), Ok(pid), Ok(name)) = (row.get::<u32>(0), row.get::<i32>(1), row.get::<String>(2))
    {
        if let Some(found) = batch.iter().find(|relation| relation.oid == oid) {
            table = Some(display_name(&found.schema, &found.name));
        }
        holder =
            Some(if name.is_empty() { format!("process {pid}") } else { format!("process {pid} ({name})") });
    }
    let table = table.unwrap_or_else(|| "a table".to_owned());
    let seconds = lock_timeout.as_secs_f64();
    let error = Error::failed(format!("{table} could not be locked within {seconds} s"));
    match holder {
        Some(holder) => error
            .why(format!(
                "{holder} holds or waits for an ACCESS EXCLUSIVE lock on it (a migration, VACUUM FULL …)"
            ))
            .hint("wait until it is done, or allow more time: --lock-timeout SECONDS"),
        None => {
            error.hint("find what holds the lock in pg_locks, or allow more time: --lock-timeout SECONDS")
        }
    }
}

/// The first SELECT freezes the snapshot; this is it. The position of the log is read by functions
/// of the same statement, so after the snapshot.
fn export(connection: &mut Connection) -> Result<Taken, Failure> {
    let rows = connection.query(
        "SELECT pg_catalog.pg_export_snapshot(), \
         pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), \
         (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint, \
         pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()), \
         CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN \
         (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn)::pg_catalog.int8 END, \
         pg_catalog.current_setting('fsync') = 'on'",
    )?;
    let row = rows.only()?;
    let taken_at = Timestamp::from_microsecond(row.get(2)?)
        .map_err(|_| Failure::Final(Error::failed("the server's clock is out of range")))?;
    Ok(Taken {
        snapshot: Snapshot { id: row.get(0)?, xmin: row.get(1)?, taken_at },
        next_transaction: row.get(3)?,
        flush: Flush::new(row.get(4)?),
        fsync: row.get(5)?,
    })
}

fn locked_oids(connection: &mut Connection) -> Result<BTreeSet<u32>, Failure> {
    let rows = connection.query(&format!(
        "SELECT relation FROM pg_catalog.pg_locks WHERE pid = pg_catalog.pg_backend_pid() \
         AND locktype = 'relation' AND mode = 'AccessShareLock' AND granted AND database = {THIS_DATABASE}",
    ))?;
    Ok(rows.iter().map(|row| row.get(0)).collect::<Result<_, QueryError>>()?)
}

/// What is locked is what the snapshot sees, with the storage it sees.
fn check(
    relations: &[Relation],
    scope: &Scope,
    locked: &BTreeSet<u32>,
    expected: &BTreeSet<u32>,
) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for relation in relations.iter().filter(|relation| scope.locks(relation)) {
        let name = || display_name(&relation.schema, &relation.name);
        if !locked.contains(&relation.oid) {
            return Err(Failure::Changed(format!("{} appeared", name())));
        }
        let current = relation.current_filenode.unwrap_or(0);
        if relation.kind == 'r' && current != relation.filenode {
            return Err(Failure::Changed(format!("{} was truncated or rewritten", name())));
        }
        seen.insert(relation.oid);
    }
    if let Some(gone) = expected.difference(&seen).next() {
        return Err(Failure::Changed(format!("the table with OID {gone} was dropped or replaced")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(oid: u32, filenode: u32, current: u32) -> Relation {
        Relation {
            oid,
            schema: "public".into(),
            name: format!("t{oid}"),
            kind: 'r',
            persistence: 'p',
            filenode,
            current_filenode: Some(current),
            ..Relation::default()
        }
    }

    fn outcome(relations: &[Relation], locked: &[u32], listed: &[u32]) -> Option<String> {
        let set = |oids: &[u32]| oids.iter().copied().collect::<BTreeSet<u32>>();
        match check(relations, &Scope::default(), &set(locked), &set(listed)) {
            Ok(()) => None,
            Err(Failure::Changed(what)) => Some(what),
            Err(Failure::NoRoom) => panic!("nothing was locked"),
            Err(Failure::Final(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn the_check_accepts_only_what_is_locked_listed_and_stored_the_same() {
        let fine = [table(1, 10, 10), table(2, 20, 20)];
        assert_eq!(outcome(&fine, &[1, 2, 1259], &[1, 2]), None);
        assert!(outcome(&fine, &[1], &[1]).is_some_and(|what| what.contains("t2 appeared")));
        assert!(outcome(&fine, &[1, 2, 3], &[1, 2, 3]).is_some_and(|what| what.contains("OID 3")));
        let rewritten = [table(1, 10, 11)];
        assert!(outcome(&rewritten, &[1], &[1]).is_some_and(|what| what.contains("rewritten")));
    }
}

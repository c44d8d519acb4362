//! The commit of a restore's one transaction, and what became of it when the answer does not come.
//!
//! A connection may break between COMMIT and its answer. Then the transaction may be committed, and
//! nothing here can tell. The server can, by the transaction's id: it is asked over a new connection, and
//! believed only where it is the same server with the same history, since after a failover the id may be
//! another's. What nobody can tell is called unknown, never undone.

use std::time::{Duration, Instant};

use super::session::{Session, describe};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::{Connection, ConnectionSettings, QueryError};

/// How long the server is asked: it may have to recover first, or to notice that the session is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for somebody who wants an end.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);
/// What is told of a transaction that is known to be rolled back.
pub(super) const AS_IT_WAS: &str = "the target is as it was: the transaction was rolled back";
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// The server and the timeline that its log is on; an error on a standby.
const HISTORY: &str = "(SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()) \
     || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8)";

/// A transaction that is not known to be committed.
pub(super) struct Uncommitted {
    pub(super) error: Error,
    /// It is known to be rolled back.
    pub(super) rolled_back: bool,
}

impl Uncommitted {
    /// The error, which says so where nothing was changed.
    pub(super) fn told(self) -> Error {
        if self.rolled_back { self.error.hint(AS_IT_WAS) } else { self.error }
    }
}

/// What fails before the commit is rolled back, by us or with the session.
impl From<Error> for Uncommitted {
    fn from(error: Error) -> Self {
        Self { error, rolled_back: true }
    }
}

/// What tells a transaction from all others, noted within it.
struct Mark {
    id: String,
    history: String,
}

enum Fate {
    /// And the connection that said so.
    Committed(Box<Connection>),
    RolledBack,
}

impl Session {
    /// Commits the one transaction. If it is the server that had to be asked what became of it, and it
    /// was committed, the session goes on over a new connection, and the result is true: what belonged to the old
    /// one, such as temporary tables, is gone.
    ///
    /// # Errors
    /// The server's, and whether the transaction is known to be rolled back.
    pub(super) fn commit(&mut self, monitor: &dyn Monitor) -> Result<bool, Uncommitted> {
        let mark = match self.guarded(mark) {
            // Nothing was said of a commit yet.
            Err(lost) if lost.is_lost() => {
                return Err(uncommitted(&lost).into());
            }
            mark => mark.ok(),
        };
        self.atomic = false;
        let Err(failure) = self.connection.execute("COMMIT") else { return Ok(false) };
        let error = uncommitted(&failure);
        if matches!(&failure, QueryError::Server(server) if !server.is_fatal()) {
            return Err(error.into());
        }
        let Some(mark) = mark else {
            return Err(unknown(error.hint("look at the target before you go on")));
        };
        let message = "the connection was lost while the transaction was committed: the server is asked what became of it";
        monitor.event(Event::Warning { message });
        match mark.ask(self.connection.settings(), &self.interrupt) {
            Some(Fate::Committed(connection)) => {
                self.resume(*connection);
                Ok(true)
            }
            Some(Fate::RolledBack) => Err(error.into()),
            None => {
                Err(unknown(error.hint(format!("the server can tell: SELECT pg_xact_status('{}')", mark.id))))
            }
        }
    }

    /// Goes on over another connection, if it can be had as it should be; what follows the commit is no
    /// condition of it.
    fn resume(&mut self, connection: Connection) {
        let settings = self.connection.settings().clone();
        if let Ok(session) = Self::pinned(connection, &settings, &self.interrupt) {
            let login = std::mem::replace(self, session).login;
            self.login = login;
        }
    }
}

fn uncommitted(failure: &QueryError) -> Error {
    let what = "the transaction could not be committed";
    match failure {
        QueryError::Interrupted => Error::interrupted(),
        QueryError::Server(server) if !server.is_fatal() => Error::failed(what).why(describe(failure)),
        _ => Error::failed("the connection was lost while the transaction was committed")
            .why(describe(failure)),
    }
}

fn unknown(error: Error) -> Uncommitted {
    let error = error.hint("whether the transaction was committed is not known");
    Uncommitted { error, rolled_back: false }
}

fn mark(connection: &mut Connection) -> Result<Mark, QueryError> {
    let rows =
        connection.query(&format!("SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text, {HISTORY}"))?;
    let row = rows.only()?;
    Ok(Mark { id: row.get(0)?, history: row.get(1)? })
}

impl Mark {
    /// Asks until the server knows; nothing if it does not say in time, or cannot know.
    fn ask(&self, settings: &ConnectionSettings, interrupt: &Interrupt) -> Option<Fate> {
        let hurried = interrupt.is_triggered();
        let (patience, interrupt) =
            if hurried { (SHORT_PATIENCE, Interrupt::new()) } else { (PATIENCE, interrupt.clone()) };
        let end = Instant::now() + patience;
        while !interrupt.is_triggered() {
            let left = end.checked_duration_since(Instant::now())?;
            let settings = ConnectionSettings { connect_timeout: Some(left), ..settings.clone() };
            if let Ok(mut connection) = Connection::open(&settings, &interrupt)
                && let Ok(status) = self.status(&mut connection)
            {
                match status?.as_str() {
                    "committed" => return Some(Fate::Committed(Box::new(connection))),
                    "aborted" => return Some(Fate::RolledBack),
                    _ => {}
                }
            }
            std::thread::sleep(PAUSE);
        }
        None
    }

    /// What the server says; nothing if it is another, or has forgotten.
    fn status(&self, connection: &mut Connection) -> Result<Option<String>, QueryError> {
        let status = format!(
            "SELECT CASE WHEN {HISTORY} = $1 THEN pg_catalog.pg_xact_status($2::pg_catalog.xid8) END"
        );
        let rows = connection.query_with(&status, &[Some(&self.history), Some(&self.id)])?;
        rows.only()?.get(0)
    }
}

//! A session with the target, and what a failed statement means for the rest of the restore.

use super::tuning::{self, Tuning};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::postgres::pooler::refuse_transaction_pooler;
use crate::postgres::session::{Purpose, client_encoding, pin};
use crate::postgres::{Connection, ConnectionSettings, QueryError};

/// Statements of [`Session::each`] in one message.
const BATCH: usize = 100;

/// A session that works on the target.
pub(super) struct Session {
    pub(super) connection: Connection,
    /// Whether everything happens in one transaction, so that each unit needs a savepoint.
    pub(super) atomic: bool,
    /// The role it acts as.
    pub(super) login: String,
    pub(super) interrupt: Interrupt,
    /// Settings for index builds, once they were needed.
    tuning: Option<Tuning>,
}

impl Session {
    /// Connects, pins the settings of a restore.
    ///
    /// # Errors
    /// The connection's.
    pub(super) fn open(settings: &ConnectionSettings, interrupt: &Interrupt) -> Result<Self> {
        let mut connection = Connection::open(settings, interrupt)?;
        refuse_transaction_pooler(&mut connection, interrupt)?;
        Self::pinned(connection, settings, interrupt)
    }

    pub(super) fn pinned(
        mut connection: Connection,
        settings: &ConnectionSettings,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let encoding = client_encoding(&connection);
        pin(&mut connection, Purpose::Restore, encoding)?;
        let login = settings.user.clone();
        Ok(Self { connection, atomic: false, login, interrupt: interrupt.clone(), tuning: None })
    }

    /// Another session with the same server, which is known not to be a transaction pooler. It does not wait for disk at each commit: only the
    /// last commit of a restore does, and it covers all before it.
    ///
    /// # Errors
    /// The connection's.
    pub(super) fn sibling(&self) -> Result<Self> {
        let settings = self.connection.settings();
        let connection = Connection::open(settings, &self.interrupt)?;
        let mut sibling = Self::pinned(connection, settings, &self.interrupt)?;
        sibling.login.clone_from(&self.login);
        sibling.ease()?;
        Ok(sibling)
    }

    /// Settings that make loading faster and change no result.
    ///
    /// # Errors
    /// The connection's.
    pub(super) fn ease(&mut self) -> Result<()> {
        self.connection.execute("SET synchronous_commit = off")?;
        Ok(())
    }

    /// Prepares for a statement that sorts so many rows and has so many processors to itself
    /// beside its own ([`Tuning::settle`]).
    ///
    /// # Errors
    /// The connection's.
    pub(super) fn tune(&mut self, idle_processors: usize, sorted_rows: u64) -> Result<()> {
        let mut tuning = match self.tuning {
            Some(tuning) => tuning,
            None => {
                let rows = self.connection.query(tuning::QUERY)?;
                let own = rows.only()?;
                let may_spill = own.get::<Option<bool>>(2)?.unwrap_or(false);
                Tuning::new(own.get(0)?, own.get(1)?, may_spill)
            }
        };
        if let Some(statement) = tuning.settle(idle_processors, sorted_rows) {
            self.connection.execute(&statement)?;
        }
        self.tuning = Some(tuning);
        Ok(())
    }

    /// Runs statements that belong together: all of them take effect, or none.
    ///
    /// # Errors
    /// The server's; the session can go on unless [`is_fatal`].
    pub(super) fn unit(&mut self, statements: &str) -> Result<(), QueryError> {
        if !self.atomic {
            // One message is one transaction.
            return self.connection.execute(statements).map(drop);
        }
        self.guarded(|connection| connection.execute(statements).map(drop))
    }

    /// Runs one statement for each item, many in one message where all goes well. A failure is the
    /// item's own; `failed` decides whether it ends the run.
    ///
    /// # Errors
    /// Those of `failed`, and what makes it impossible to go on.
    pub(super) fn each<T>(
        &mut self,
        items: &[T],
        statement: impl Fn(&T) -> String,
        mut failed: impl FnMut(&mut Self, &T, &QueryError) -> Result<()>,
    ) -> Result<()> {
        for batch in items.chunks(BATCH) {
            self.interrupt.check()?;
            let message: String = batch.iter().map(|item| statement(item) + ";\n").collect();
            match self.unit(&message) {
                Ok(()) => {}
                Err(error) if is_fatal(&error) => return Err(error.into()),
                Err(_) => {
                    for item in batch {
                        match self.unit(&statement(item)) {
                            Ok(()) => {}
                            Err(error) if is_fatal(&error) => return Err(error.into()),
                            Err(error) => failed(self, item, &error)?,
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins the one transaction of an atomic restore, silent where the login may silence: triggers on
    /// rows, and event triggers of the target that would change what is created.
    ///
    /// # Errors
    /// The server's.
    pub(super) fn begin(&mut self, may_silence: bool) -> Result<()> {
        self.connection.execute("BEGIN").map_err(Error::from)?;
        self.atomic = true;
        if may_silence {
            self.unit("SET LOCAL session_replication_role = replica").map_err(Error::from)?;
        }
        Ok(())
    }

    /// Runs `work` so that its failure leaves no trace and the session can go on: in a savepoint of
    /// the one transaction, or in a transaction of its own.
    ///
    /// # Errors
    /// Those of `work`, or of the server.
    pub(super) fn guarded<T, E: From<QueryError>>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.atomic {
            let undo = "ROLLBACK TO SAVEPOINT pgstow; RELEASE SAVEPOINT pgstow";
            self.between(["SAVEPOINT pgstow", "RELEASE SAVEPOINT pgstow", undo], work)
        } else {
            self.between(["BEGIN", "COMMIT", "ROLLBACK"], work)
        }
    }

    /// Runs `work` in a transaction of its own; in an atomic restore in the one transaction, which
    /// a failure ends. Without savepoints, which become slow by the thousand.
    ///
    /// # Errors
    /// Those of `work`, or of the server.
    pub(super) fn transaction<T, E: From<QueryError>>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.atomic { work(&mut self.connection) } else { self.guarded(work) }
    }

    fn between<T, E: From<QueryError>>(
        &mut self,
        [begin, end, undo]: [&str; 3],
        work: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.connection.execute(begin)?;
        match work(&mut self.connection) {
            Ok(value) => {
                self.connection.execute(end)?;
                Ok(value)
            }
            Err(error) => {
                // A lost session has rolled back by itself; the cause is what counts.
                let _ = self.connection.execute(undo);
                Err(error)
            }
        }
    }
}

/// Runs `work` on all sessions at once.
///
/// # Errors
/// The first that any of them gives, in the order of sessions.
pub(super) fn on_all(
    sessions: &mut [Session],
    work: impl Fn(&mut Session) -> Result<()> + Sync,
) -> Result<()> {
    on_all_numbered(sessions, |_, session| work(session))
}

/// As [`on_all`], and tells each its number.
///
/// # Errors
/// As there.
pub(super) fn on_all_numbered(
    sessions: &mut [Session],
    work: impl Fn(usize, &mut Session) -> Result<()> + Sync,
) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let sessions = sessions.iter_mut().enumerate();
        let workers: Vec<_> =
            sessions.map(|(number, session)| scope.spawn(move || work(number, session))).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(Error::failed("a session ended unexpectedly")))
        })
    })
}

/// Whether nothing more can be done: the session is over, or the server lacks a resource or is
/// shutting down.
pub(super) fn is_fatal(error: &QueryError) -> bool {
    if error.is_lost() {
        return true;
    }
    if let QueryError::Server(server) = error
        && server.severity == "ERROR"
        && server.code.as_str().starts_with("08")
        && server.code.as_str() != "08P01"
    {
        // Not our connection: one that a function tried to open from there.
        return false;
    }
    let class = error.code().and_then(|code| code.get(..2));
    matches!(class, Some("08" | "53" | "57" | "58" | "XX"))
}

/// Whether trying again may help: our own sessions met in a deadlock, or something else held a
/// lock for a moment.
pub(super) fn is_transient(error: &QueryError) -> bool {
    matches!(error.code(), Some("40P01" | "55P03" | "40001"))
}

/// The failure in words, without its kind: the server's message, code and hint.
pub(super) fn describe(error: &QueryError) -> String {
    match error {
        QueryError::Server(server) => match &server.hint {
            Some(hint) => format!("{server} [{}]; {hint}", server.code),
            None => format!("{server} [{}]", server.code),
        },
        other => other.to_string(),
    }
}

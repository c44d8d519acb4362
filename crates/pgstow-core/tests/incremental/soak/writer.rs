//! A writer: does one operation after the other, with two sessions, and notes what it did.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::connection::TransactionStatus;
use pgstow_core::postgres::{Connection, ConnectionSettings, QueryError};

use super::journal::Journal;
use super::pace::Pace;
use super::random::Random;
use super::{definitions, rows, tables};

/// Writers that may hold a transaction open at a time.
const HOLDERS: u64 = 2;
/// How long a transaction is held open at most.
const HOLD: Duration = Duration::from_secs(20);

/// Why an operation did not happen.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server said no: a lock was not to be had, the table is not there at the moment …
    Refused(QueryError),
    /// Not now.
    NotNow(&'static str),
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::Refused(error)
    }
}

pub(crate) type Outcome = Result<(), Failure>;

/// What an operation may disturb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Rows.
    Rows,
    /// Which files or large objects there are.
    Tables,
    /// Definitions: not while a backup is compared together with its definitions.
    Definitions,
}

/// One kind of operation.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    pub(crate) run: fn(&mut Writer<'_>) -> Outcome,
}

/// Every kind of operation.
pub(crate) fn operations() -> Vec<&'static Operation> {
    rows::OPERATIONS.iter().chain(tables::OPERATIONS).chain(definitions::OPERATIONS).collect()
}

/// What all writers share.
pub(crate) struct Shared {
    pub(crate) settings: ConnectionSettings,
    pub(crate) journal: Journal,
    pub(crate) pace: Pace,
    /// Held by whoever changes definitions, and by a backup during which nobody may.
    pub(crate) definitions: RwLock<()>,
    /// Snapshots that backups have taken.
    pub(crate) snapshots: AtomicU64,
    pub(crate) holders: AtomicU64,
    /// Gives names to what must be unique.
    pub(crate) names: AtomicU64,
    /// The server is crashing, so that lost connections are no wonder.
    pub(crate) crashing: AtomicBool,
    /// Only rows are changed for a while: nothing that definitions could come from.
    pub(crate) only_rows: AtomicBool,
}

impl Shared {
    pub(crate) fn new(settings: ConnectionSettings) -> Self {
        Self {
            settings,
            journal: Journal::new(),
            pace: Pace::default(),
            definitions: RwLock::default(),
            snapshots: AtomicU64::new(0),
            holders: AtomicU64::new(0),
            names: AtomicU64::new(0),
            crashing: AtomicBool::new(false),
            only_rows: AtomicBool::new(false),
        }
    }
}

/// One of several threads that change the database.
pub(crate) struct Writer<'s> {
    pub(crate) shared: &'s Shared,
    pub(crate) random: Random,
    name: String,
    session: Connection,
    second: Connection,
}

impl<'s> Writer<'s> {
    pub(crate) fn new(shared: &'s Shared, name: String, random: Random) -> Self {
        let open = || open(&shared.settings);
        Self { shared, random, name, session: open(), second: open() }
    }

    /// Works until there is nothing more to do.
    pub(crate) fn work(mut self) {
        while self.shared.pace.begin() {
            let operation = self.choose();
            let gate =
                (operation.class == Class::Definitions).then(|| self.shared.definitions.read().unwrap());
            self.shared.journal.note(&self.name, operation.name);
            match (operation.run)(&mut self) {
                Ok(()) => self.shared.journal.succeeded(operation.name),
                Err(failure) => {
                    let why = match &failure {
                        Failure::Refused(error) => error.to_string(),
                        Failure::NotNow(why) => (*why).to_owned(),
                    };
                    self.shared.journal.note(&self.name, &format!("{} failed: {why}", operation.name));
                    self.shared.journal.failed(operation.name, &why);
                }
            }
            drop(gate);
            self.tidy();
            self.shared.pace.done();
        }
    }

    /// What has never worked yet half of the time, else rows mostly.
    fn choose(&mut self) -> &'static Operation {
        let mut all = operations();
        if self.shared.only_rows.load(Ordering::SeqCst) {
            all.retain(|operation| operation.class == Class::Rows);
        }
        let due: Vec<&'static Operation> = all
            .iter()
            .copied()
            .filter(|operation| !self.shared.journal.has_succeeded(operation.name))
            .collect();
        if !due.is_empty() && self.random.percent(50) {
            return self.random.pick::<&'static Operation>(&due);
        }
        let class = match self.random.below(100) {
            _ if self.shared.only_rows.load(Ordering::SeqCst) => Class::Rows,
            0..70 => Class::Rows,
            70..82 => Class::Tables,
            _ => Class::Definitions,
        };
        let of_class: Vec<&'static Operation> =
            all.into_iter().filter(|operation| operation.class == class).collect();
        self.random.pick::<&'static Operation>(&of_class)
    }

    /// Ends what a failed operation left open, and connects again after a crash.
    fn tidy(&mut self) {
        let settings = &self.shared.settings;
        for session in [&mut self.session, &mut self.second] {
            let left = session.transaction_status() != TransactionStatus::Idle;
            if left && session.execute("ROLLBACK").is_err() || session.query("SELECT 1").is_err() {
                *session = open(settings);
            }
        }
    }

    /// Runs statements in the first session.
    pub(crate) fn run(&mut self, sql: &str) -> Outcome {
        self.shared.journal.note(&self.name, sql);
        self.session.execute(sql)?;
        Ok(())
    }

    /// Runs statements in the second session.
    pub(crate) fn run_beside(&mut self, sql: &str) -> Outcome {
        self.shared.journal.note(&self.name, &format!("(beside) {sql}"));
        self.second.execute(sql)?;
        Ok(())
    }

    /// The only value of a query.
    pub(crate) fn value(&mut self, sql: &str) -> Result<Option<String>, Failure> {
        let rows = self.session.query(sql)?;
        let first = rows.iter().next();
        Ok(first.map(|row| row.get::<Option<String>>(0)).transpose()?.flatten())
    }

    /// Sends rows by COPY.
    pub(crate) fn copy(&mut self, sql: &str, rows: &str) -> Outcome {
        self.shared.journal.note(&self.name, sql);
        let mut copy = self.session.copy_in(sql)?;
        // What went wrong is what finishing says.
        let _ = std::io::Write::write_all(&mut copy, rows.as_bytes());
        copy.finish()?;
        Ok(())
    }

    /// Goes on only once a backup has taken its snapshot.
    pub(crate) fn hold(&mut self) -> Outcome {
        let shared = self.shared;
        if shared.holders.fetch_add(1, Ordering::SeqCst) >= HOLDERS {
            shared.holders.fetch_sub(1, Ordering::SeqCst);
            return Err(Failure::NotNow("others hold transactions open"));
        }
        let seen = shared.snapshots.load(Ordering::SeqCst);
        let over =
            || shared.snapshots.load(Ordering::SeqCst) > seen || shared.crashing.load(Ordering::SeqCst);
        shared.pace.rest(over, HOLD);
        shared.holders.fetch_sub(1, Ordering::SeqCst);
        if shared.snapshots.load(Ordering::SeqCst) > seen {
            Ok(())
        } else {
            Err(Failure::NotNow("no backup came"))
        }
    }

    pub(crate) fn new_name(&self) -> String {
        format!("n{}", self.shared.names.fetch_add(1, Ordering::SeqCst))
    }
}

fn open(settings: &ConnectionSettings) -> Connection {
    let begin = std::time::Instant::now();
    loop {
        match Connection::open(settings, &Interrupt::new()) {
            Ok(mut session) => {
                // Statements that change tables must not queue for long: others queue behind them.
                let pinned = session.execute(
                    "SET lock_timeout = '400ms'; SET timezone = 'UTC'; SET client_min_messages = error",
                );
                if pinned.is_ok() {
                    return session;
                }
            }
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(60), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

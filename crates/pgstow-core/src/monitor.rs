//! How the library speaks: a stream of events that terminal, JSON lines and tests turn into what
//! they need. Nothing here decides anything; losing every event changes no result.

/// Receives events from any thread; must not block for long.
pub trait Monitor: Send + Sync {
    /// Takes note of one event.
    fn event(&self, event: Event<'_>);
}

/// What a run tells while it goes on. Byte counts are of uncompressed COPY data.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// Connected to a server.
    Connected {
        /// Where: `host:port/database`.
        endpoint: &'a str,
        /// Such as `PostgreSQL 15.18`.
        server: &'a str,
    },
    /// A new phase of the run began, in a few words (`schema archive`, `indexes`).
    Phase {
        /// The phase.
        name: &'a str,
    },
    /// The snapshot is taken.
    Snapshot {
        /// PostgreSQL's name of it.
        id: &'a str,
        /// Tables held under lock until the end; 0 when each is locked while it is read.
        tables: usize,
    },
    /// How much there is to do.
    Planned {
        /// Tables whose rows will be moved.
        tables: usize,
        /// Estimated size.
        bytes: u64,
    },
    /// Work on a table began.
    TableStarted {
        /// Schema-qualified name.
        table: &'a str,
        /// Estimated size.
        bytes: u64,
    },
    /// More of a table moved since the last event.
    TableProgress {
        /// Schema-qualified name.
        table: &'a str,
        /// Bytes since the last event for this table.
        bytes: u64,
    },
    /// More of a table was proven unchanged and taken over from an earlier backup since the last
    /// event.
    TakenOver {
        /// Schema-qualified name.
        table: &'a str,
        /// Chunks since the last event for this table.
        chunks: usize,
        /// Chunks that the table is planned in.
        planned: usize,
        /// Bytes of the chunks, none of which was read.
        bytes: u64,
    },
    /// A table is done.
    TableFinished {
        /// Schema-qualified name.
        table: &'a str,
        /// Rows moved or taken over.
        rows: u64,
        /// Bytes moved or taken over.
        bytes: u64,
    },
    /// So many of so many steps of the current phase are done (indexes, constraints).
    Steps {
        /// Done so far.
        done: usize,
        /// In all.
        total: usize,
        /// What was finished last.
        name: &'a str,
    },
    /// Something the user should know while the run goes on.
    Warning {
        /// One sentence or two, naming the object.
        message: &'a str,
    },
}

/// Hears nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Monitor for Silent {
    fn event(&self, _event: Event<'_>) {}
}

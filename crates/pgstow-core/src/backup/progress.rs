//! Counts what the readers do and tells the monitor, once a mebibyte rather than once a piece.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::monitor::{Event, Monitor};
use crate::repository::format::manifest::CopyFormat;

/// Bytes between two progress events of one reader.
const STEP_BYTES: u64 = 1 << 20;

/// Progress of one table.
struct Table {
    name: String,
    estimate_bytes: u64,
    started: AtomicBool,
    binary: AtomicBool,
    whole: AtomicBool,
    chunks_left: AtomicUsize,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// Progress of all tables, shared by the readers.
pub(super) struct Progress<'a> {
    monitor: &'a dyn Monitor,
    tables: Vec<Table>,
}

impl<'a> Progress<'a> {
    /// `tables`: name for people, estimated bytes, number of chunks.
    pub(super) fn new(
        monitor: &'a dyn Monitor,
        tables: impl IntoIterator<Item = (String, u64, usize)>,
    ) -> Self {
        let tables = tables
            .into_iter()
            .map(|(name, estimate_bytes, chunks)| Table {
                name,
                estimate_bytes,
                started: AtomicBool::new(false),
                binary: AtomicBool::new(false),
                whole: AtomicBool::new(false),
                chunks_left: AtomicUsize::new(chunks),
                rows: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
            })
            .collect();
        Self { monitor, tables }
    }

    /// The format the table is read in from now on.
    pub(super) fn format(&self, table: usize) -> CopyFormat {
        let binary = self.tables.get(table).is_some_and(|table| table.binary.load(Ordering::SeqCst));
        if binary { CopyFormat::Binary } else { CopyFormat::Text }
    }

    /// All chunks of the table are read in binary from now on.
    pub(super) fn switch_to_binary(&self, table: usize) {
        if let Some(table) = self.tables.get(table) {
            table.binary.store(true, Ordering::SeqCst);
        }
    }

    /// Whether the table is read as one chunk, although it was planned in several.
    pub(super) fn is_whole(&self, table: usize) -> bool {
        self.tables.get(table).is_some_and(|table| table.whole.load(Ordering::SeqCst))
    }

    /// The table is read as one chunk from now on; false when it was already.
    pub(super) fn switch_to_whole(&self, table: usize) -> bool {
        let Some(table) = self.tables.get(table) else { return false };
        table.chunks_left.store(1, Ordering::SeqCst);
        !table.whole.swap(true, Ordering::SeqCst)
    }

    /// One more chunk of the table has to be read again.
    pub(super) fn chunk_again(&self, table: usize) {
        if let Some(table) = self.tables.get(table) {
            table.chunks_left.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A chunk of the table is complete.
    pub(super) fn chunk_finished(&self, table: usize, rows: u64) {
        let Some(table) = self.tables.get(table) else { return };
        let rows = table.rows.fetch_add(rows, Ordering::SeqCst) + rows;
        let left =
            table.chunks_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left == Ok(1) {
            let bytes = table.bytes.load(Ordering::SeqCst);
            self.monitor.event(Event::TableFinished { table: &table.name, rows, bytes });
        }
    }

    /// Counts the bytes of one COPY.
    pub(super) fn meter(&self, table: Option<usize>) -> Meter<'_> {
        let table = table.and_then(|table| self.tables.get(table));
        if let Some(table) = table
            && !table.started.swap(true, Ordering::SeqCst)
        {
            self.monitor.event(Event::TableStarted { table: &table.name, bytes: table.estimate_bytes });
        }
        Meter { monitor: self.monitor, table, pending: 0 }
    }
}

/// Counts the bytes of one COPY.
pub(super) struct Meter<'p> {
    monitor: &'p dyn Monitor,
    table: Option<&'p Table>,
    pending: u64,
}

impl Meter<'_> {
    /// More data arrived.
    pub(super) fn add(&mut self, bytes: usize) {
        self.pending += bytes as u64;
        if self.pending >= STEP_BYTES {
            self.flush();
        }
    }

    /// Tells what has not been told yet.
    pub(super) fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.pending);
        let name = self.table.map_or("large objects", |table| table.name.as_str());
        if bytes > 0 {
            if let Some(table) = self.table {
                table.bytes.fetch_add(bytes, Ordering::SeqCst);
            }
            self.monitor.event(Event::TableProgress { table: name, bytes });
        }
    }
}

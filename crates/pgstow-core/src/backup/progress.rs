//! Counts what the readers do and tells the monitor, once a mebibyte rather than once a piece.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::monitor::{Event, Monitor};
use crate::repository::format::manifest::{Chunk, CopyFormat};

/// Bytes between two progress events of one reader.
const STEP_BYTES: u64 = 1 << 20;

/// Progress of one table.
struct Table {
    name: String,
    estimate_bytes: u64,
    started: AtomicBool,
    binary: AtomicBool,
    whole: AtomicBool,
    chunks: usize,
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
                chunks,
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

    /// A chunk of the table was taken over from an earlier backup.
    pub(super) fn taken_over(&self, table: usize, chunk: &Chunk) {
        if let Some(table) = self.tables.get(table) {
            self.start(table);
            table.bytes.fetch_add(chunk.bytes, Ordering::SeqCst);
            let (name, planned) = (&table.name, table.chunks);
            self.monitor.event(Event::TakenOver { table: name, chunks: 1, planned, bytes: chunk.bytes });
        }
        self.chunk_finished(table, chunk.rows);
    }

    /// Tells, once, that work on the table began.
    fn start(&self, table: &Table) {
        if !table.started.swap(true, Ordering::SeqCst) {
            self.monitor.event(Event::TableStarted { table: &table.name, bytes: table.estimate_bytes });
        }
    }

    /// Counts the bytes of one COPY.
    pub(super) fn meter(&self, table: Option<usize>) -> Meter<'_> {
        let table = table.and_then(|table| self.tables.get(table));
        if let Some(table) = table {
            self.start(table);
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// The events as JSON.
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Monitor for Heard {
        fn event(&self, event: Event<'_>) {
            let line = serde_json::to_string(&event).unwrap();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn chunk(bytes: u64, rows: u64) -> Chunk {
        let (object, offset, first_page, end_page) = (0, 0, 0, None);
        Chunk { object, offset, bytes, rows, format: CopyFormat::Text, first_page, end_page }
    }

    #[test]
    fn what_is_taken_over_is_told_apart_from_what_is_read_and_counts_for_the_table() {
        let heard = Heard::default();
        let progress = Progress::new(&heard, [("public.t".to_owned(), 90, 2)]);
        progress.taken_over(0, &chunk(50, 5));
        let mut meter = progress.meter(Some(0));
        meter.add(30);
        meter.flush();
        progress.chunk_finished(0, 3);
        drop(progress);
        assert_eq!(
            heard.0.into_inner().unwrap_or_else(PoisonError::into_inner),
            [
                r#"{"event":"table-started","table":"public.t","bytes":90}"#,
                r#"{"event":"taken-over","table":"public.t","chunks":1,"planned":2,"bytes":50}"#,
                r#"{"event":"table-progress","table":"public.t","bytes":30}"#,
                r#"{"event":"table-finished","table":"public.t","rows":8,"bytes":80}"#,
            ]
        );
    }
}

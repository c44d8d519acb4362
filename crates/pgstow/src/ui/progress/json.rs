//! Progress as JSON lines on standard error, one event each; table progress is gathered so that a
//! fast run does not flood the reader.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pgstow_core::monitor::{Event, Monitor};

use crate::ui::Output;

const INTERVAL: Duration = Duration::from_secs(1);

/// Writes events as JSON lines.
pub(crate) struct JsonMonitor<'o> {
    output: &'o Output,
    gathered: Mutex<Gathered>,
}

/// Progress of tables that was not written yet.
struct Gathered {
    pending: BTreeMap<String, Pending>,
    written_at: Instant,
}

/// Progress of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pending {
    /// Bytes read.
    read: u64,
    /// Chunks taken over, of so many, and their bytes.
    chunks: usize,
    planned: usize,
    taken_over: u64,
}

impl Gathered {
    /// Takes an event; the progress of tables that is to be written before it.
    fn take(&mut self, event: &Event<'_>, now: Instant) -> Vec<(String, Pending)> {
        match event {
            Event::TableProgress { table, bytes } => {
                let pending = self.pending.entry((*table).to_owned()).or_default();
                pending.read = pending.read.saturating_add(*bytes);
                self.due(now)
            }
            Event::TakenOver { table, chunks, planned, bytes } => {
                let pending = self.pending.entry((*table).to_owned()).or_default();
                pending.chunks = pending.chunks.saturating_add(*chunks);
                pending.planned = *planned;
                pending.taken_over = pending.taken_over.saturating_add(*bytes);
                self.due(now)
            }
            Event::TableFinished { table, .. } => self.pending.remove_entry(*table).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Everything, once an interval has passed.
    fn due(&mut self, now: Instant) -> Vec<(String, Pending)> {
        if now.saturating_duration_since(self.written_at) < INTERVAL {
            return Vec::new();
        }
        self.written_at = now;
        std::mem::take(&mut self.pending).into_iter().collect()
    }
}

impl Pending {
    fn write(self, table: &str) {
        let Self { read, chunks, planned, taken_over } = self;
        if chunks > 0 {
            write(&Event::TakenOver { table, chunks, planned, bytes: taken_over });
        }
        if read > 0 {
            write(&Event::TableProgress { table, bytes: read });
        }
    }
}

impl<'o> JsonMonitor<'o> {
    /// A monitor for one run.
    pub(crate) fn new(output: &'o Output) -> Self {
        let gathered = Gathered { pending: BTreeMap::new(), written_at: Instant::now() };
        Self { output, gathered: Mutex::new(gathered) }
    }
}

/// There is nobody to tell when standard error is gone.
fn write(event: &Event<'_>) {
    if let Ok(line) = serde_json::to_string(event) {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}

impl Monitor for JsonMonitor<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning { message } = event {
            return self.output.warn(message);
        }
        if self.output.is_quiet() {
            return;
        }
        let progress = {
            let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.take(&event, Instant::now())
        };
        for (table, pending) in &progress {
            pending.write(table);
        }
        if !matches!(event, Event::TableProgress { .. } | Event::TakenOver { .. }) {
            write(&event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_gathered_and_nothing_of_it_is_lost() {
        let start = Instant::now();
        let mut gathered = Gathered { pending: BTreeMap::new(), written_at: start };
        let moved = |table, bytes| Event::TableProgress { table, bytes };
        let taken = |table, bytes| Event::TakenOver { table, chunks: 1, planned: 4, bytes };
        assert!(gathered.take(&moved("a", 5), start).is_empty());
        assert!(gathered.take(&moved("b", 7), start).is_empty());
        assert!(gathered.take(&taken("b", 30), start).is_empty());
        assert!(gathered.take(&taken("b", 40), start).is_empty());
        let later = start + INTERVAL;
        let read = |read| Pending { read, ..Pending::default() };
        let both = Pending { read: 7, chunks: 2, planned: 4, taken_over: 70 };
        assert_eq!(gathered.take(&moved("a", 1), later), [("a".to_owned(), read(6)), ("b".to_owned(), both)]);
        assert!(gathered.take(&moved("b", 2), later).is_empty());
        let finished = Event::TableFinished { table: "b", rows: 1, bytes: 9 };
        assert_eq!(gathered.take(&finished, later), [("b".to_owned(), read(2))]);
        assert_eq!(gathered.take(&taken("a", 9), later + INTERVAL).len(), 1);
    }
}

//! Adds up the events of a run: how much is done, how fast, how much is left. Pure: time is handed
//! in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pgstow_core::monitor::Event;

use super::format;

/// The state of a run as its events tell it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Tables and bytes to move, once planned.
    pub(crate) planned: Option<(usize, u64)>,
    /// Tables finished.
    pub(crate) tables_done: usize,
    /// Bytes moved or taken over.
    pub(crate) bytes_done: u64,
    /// Those of them that were taken over from an earlier backup.
    pub(crate) bytes_taken_over: u64,
    /// Tables under way.
    pub(crate) running: BTreeMap<String, Moving>,
    began: Option<Instant>,
}

/// A table under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moving {
    /// Bytes moved or taken over so far.
    pub(crate) done: u64,
    /// Estimated size; at least `done`.
    pub(crate) total: u64,
    /// Chunks taken over from an earlier backup.
    pub(crate) taken_over: usize,
    /// Chunks that the table has; known once one was taken over.
    pub(crate) chunks: usize,
}

impl Moving {
    /// `1.1 of 1.6 GiB`, or `1.1 GiB  reused 118 of 121 chunks` where some were: both do not fit
    /// beside the bar on a terminal of 80 columns.
    pub(crate) fn summary(&self) -> String {
        if self.taken_over == 0 {
            return format::size_of(self.done, self.total);
        }
        let size = format::size(self.done);
        let chunks = format::count(self.chunks.max(self.taken_over) as u64, "chunk");
        format!("{size}  reused {} of {chunks}", format::number(self.taken_over as u64))
    }

    fn add(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        self.total = self.total.max(self.done);
    }
}

impl Tally {
    /// Takes an event into account.
    pub(crate) fn apply(&mut self, event: &Event<'_>, now: Instant) {
        match event {
            Event::Planned { tables, bytes } => {
                *self = Self { planned: Some((*tables, *bytes)), began: Some(now), ..Self::default() };
            }
            Event::TableStarted { table, bytes } => {
                self.running.insert((*table).to_owned(), Moving { total: *bytes, ..Moving::default() });
            }
            Event::TableProgress { table, bytes } => {
                self.bytes_done = self.bytes_done.saturating_add(*bytes);
                if let Some(moving) = self.running.get_mut(*table) {
                    moving.add(*bytes);
                }
            }
            Event::TakenOver { table, chunks, planned, bytes } => {
                self.bytes_done = self.bytes_done.saturating_add(*bytes);
                self.bytes_taken_over = self.bytes_taken_over.saturating_add(*bytes);
                if let Some(moving) = self.running.get_mut(*table) {
                    moving.add(*bytes);
                    moving.taken_over = moving.taken_over.saturating_add(*chunks);
                    moving.chunks = *planned;
                }
            }
            Event::TableFinished { table, bytes, .. } => self.finish(table, *bytes),
            _ => {}
        }
    }

    /// The estimates give way to what the table really held.
    fn finish(&mut self, table: &str, bytes: u64) {
        self.tables_done = self.tables_done.saturating_add(1);
        let moving = self.running.remove(table).unwrap_or(Moving { total: bytes, ..Moving::default() });
        self.bytes_done = self.bytes_done.saturating_sub(moving.done).saturating_add(bytes);
        if let Some((_, planned)) = &mut self.planned {
            *planned = planned.saturating_sub(moving.total).saturating_add(bytes);
        }
    }

    /// Bytes in all, never less than those done.
    pub(crate) fn bytes_total(&self) -> u64 {
        self.planned.map_or(0, |(_, bytes)| bytes).max(self.bytes_done)
    }

    /// `3.3 of 4.2 GiB, 12 of 63 tables, 212 MiB/s, 2 s left, 2.9 GiB taken over`. The rate is that
    /// of reading; how long the rest takes follows from all that is done, since what was not asked
    /// about yet will hardly have changed more than what was.
    pub(crate) fn summary(&self, now: Instant) -> String {
        let tables = self.planned.map_or(0, |(tables, _)| tables).max(self.tables_done);
        let mut parts = vec![
            format::size_of(self.bytes_done, self.bytes_total()),
            format!("{} of {}", self.tables_done, format::count(tables as u64, "table")),
        ];
        let elapsed = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        // The first moments say nothing about the rate.
        if elapsed >= Duration::from_millis(500) && self.bytes_done > 0 {
            let seconds = elapsed.as_secs_f64();
            let read = self.bytes_done.saturating_sub(self.bytes_taken_over);
            if read > 0 {
                parts.push(format!("{}/s", format::size((read as f64 / seconds) as u64)));
            }
            let rest = self.bytes_total().saturating_sub(self.bytes_done);
            let left = rest as f64 * seconds / self.bytes_done as f64;
            if left >= 1.0 {
                parts.push(format!("{} left", format::seconds(left.round())));
            }
        }
        if self.bytes_taken_over > 0 {
            parts.push(format!("{} taken over", format::size(self.bytes_taken_over)));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn rate_and_time_left_follow_from_what_was_moved() {
        let start = Instant::now();
        let mut tally = Tally::default();
        tally.apply(&Event::Planned { tables: 2, bytes: 100 * MIB }, start);
        tally.apply(&Event::TableStarted { table: "public.a", bytes: 60 * MIB }, start);
        tally.apply(&Event::TableProgress { table: "public.a", bytes: 20 * MIB }, start);
        let shown = tally.summary(start + Duration::from_secs(2));
        assert_eq!(shown, "20 of 100 MiB, 0 of 2 tables, 10 MiB/s, 8.0 s left");
    }

    #[test]
    fn a_finished_table_replaces_its_estimate() {
        let start = Instant::now();
        let mut tally = Tally::default();
        tally.apply(&Event::Planned { tables: 2, bytes: 100 * MIB }, start);
        tally.apply(&Event::TableStarted { table: "public.a", bytes: 60 * MIB }, start);
        tally.apply(&Event::TableProgress { table: "public.a", bytes: 5 * MIB }, start);
        tally.apply(&Event::TableFinished { table: "public.a", rows: 3, bytes: 30 * MIB }, start);
        assert_eq!((tally.bytes_done, tally.bytes_total(), tally.tables_done), (30 * MIB, 70 * MIB, 1));
        assert!(tally.running.is_empty());
    }

    #[test]
    fn what_is_taken_over_counts_as_done_but_not_for_the_rate() {
        let start = Instant::now();
        let mut tally = Tally::default();
        tally.apply(&Event::Planned { tables: 2, bytes: 100 * MIB }, start);
        tally.apply(&Event::TableStarted { table: "public.a", bytes: 80 * MIB }, start);
        let taken = Event::TakenOver { table: "public.a", chunks: 1, planned: 5, bytes: 16 * MIB };
        (0..3).for_each(|_| tally.apply(&taken, start));
        let shown = tally.summary(start + Duration::from_secs(1));
        assert_eq!(shown, "48 of 100 MiB, 0 of 2 tables, 1.0 s left, 48 MiB taken over");
        tally.apply(&Event::TableProgress { table: "public.a", bytes: 2 * MIB }, start);
        let shown = tally.summary(start + Duration::from_secs(1));
        assert_eq!(shown, "50 of 100 MiB, 0 of 2 tables, 2.0 MiB/s, 1.0 s left, 48 MiB taken over");
        assert_eq!(tally.running["public.a"].summary(), "50 MiB  reused 3 of 5 chunks");
        tally.apply(&Event::TableFinished { table: "public.a", rows: 1, bytes: 50 * MIB }, start);
        assert_eq!((tally.bytes_done, tally.bytes_total(), tally.tables_done), (50 * MIB, 70 * MIB, 1));
    }

    #[test]
    fn more_than_was_planned_is_never_shown_as_more_than_all() {
        let start = Instant::now();
        let mut tally = Tally::default();
        tally.apply(&Event::Planned { tables: 1, bytes: MIB }, start);
        tally.apply(&Event::TableStarted { table: "t", bytes: MIB }, start);
        tally.apply(&Event::TableProgress { table: "t", bytes: 3 * MIB }, start);
        assert_eq!(tally.bytes_total(), 3 * MIB);
        assert_eq!(tally.running["t"], Moving { done: 3 * MIB, total: 3 * MIB, ..Moving::default() });
    }
}

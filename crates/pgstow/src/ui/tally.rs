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
    /// Bytes moved.
    pub(crate) bytes_done: u64,
    /// Tables under way.
    pub(crate) running: BTreeMap<String, Moving>,
    began: Option<Instant>,
}

/// A table under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moving {
    /// Moved so far.
    pub(crate) done: u64,
    /// Estimated size; at least `done`.
    pub(crate) total: u64,
}

impl Tally {
    /// Takes an event into account.
    pub(crate) fn apply(&mut self, event: &Event<'_>, now: Instant) {
        match event {
            Event::Planned { tables, bytes } => {
                *self = Self { planned: Some((*tables, *bytes)), began: Some(now), ..Self::default() };
            }
            Event::TableStarted { table, bytes } => {
                self.running.insert((*table).to_owned(), Moving { done: 0, total: *bytes });
            }
            Event::TableProgress { table, bytes } => {
                self.bytes_done = self.bytes_done.saturating_add(*bytes);
                if let Some(moving) = self.running.get_mut(*table) {
                    moving.done = moving.done.saturating_add(*bytes);
                    moving.total = moving.total.max(moving.done);
                }
            }
            Event::TableFinished { table, bytes, .. } => self.finish(table, *bytes),
            _ => {}
        }
    }

    /// The estimates give way to what the table really held.
    fn finish(&mut self, table: &str, bytes: u64) {
        self.tables_done = self.tables_done.saturating_add(1);
        let moving = self.running.remove(table).unwrap_or(Moving { done: 0, total: bytes });
        self.bytes_done = self.bytes_done.saturating_sub(moving.done).saturating_add(bytes);
        if let Some((_, planned)) = &mut self.planned {
            *planned = planned.saturating_sub(moving.total).saturating_add(bytes);
        }
    }

    /// Bytes in all, never less than those done.
    pub(crate) fn bytes_total(&self) -> u64 {
        self.planned.map_or(0, |(_, bytes)| bytes).max(self.bytes_done)
    }

    /// `3.3 of 4.2 GiB, 12 of 63 tables, 212 MiB/s, 2 s left`.
    pub(crate) fn summary(&self, now: Instant) -> String {
        let tables = self.planned.map_or(0, |(tables, _)| tables).max(self.tables_done);
        let mut parts = vec![
            format::size_of(self.bytes_done, self.bytes_total()),
            format!("{} of {}", self.tables_done, format::count(tables as u64, "table")),
        ];
        let elapsed = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        // The first moments say nothing about the rate.
        if elapsed >= Duration::from_millis(500) && self.bytes_done > 0 {
            let rate = self.bytes_done as f64 / elapsed.as_secs_f64();
            parts.push(format!("{}/s", format::size(rate as u64)));
            let left = self.bytes_total().saturating_sub(self.bytes_done) as f64 / rate;
            if left >= 1.0 {
                parts.push(format!("{} left", format::seconds(left.round())));
            }
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
    fn more_than_was_planned_is_never_shown_as_more_than_all() {
        let start = Instant::now();
        let mut tally = Tally::default();
        tally.apply(&Event::Planned { tables: 1, bytes: MIB }, start);
        tally.apply(&Event::TableStarted { table: "t", bytes: MIB }, start);
        tally.apply(&Event::TableProgress { table: "t", bytes: 3 * MIB }, start);
        assert_eq!(tally.bytes_total(), 3 * MIB);
        assert_eq!(tally.running["t"], Moving { done: 3 * MIB, total: 3 * MIB });
    }
}

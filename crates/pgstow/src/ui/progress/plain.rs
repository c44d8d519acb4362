//! Progress where standard error is no terminal: what happens, and a line every few seconds.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pgstow_core::monitor::{Event, Monitor};

use crate::ui::tally::Tally;
use crate::ui::{Output, Text, format};

const INTERVAL: Duration = Duration::from_secs(5);

/// Writes plain lines.
pub(crate) struct PlainMonitor<'o> {
    output: &'o Output,
    subject: String,
    state: Mutex<State>,
}

struct State {
    tally: Tally,
    last_line: Instant,
}

impl<'o> PlainMonitor<'o> {
    /// A monitor for one run.
    pub(crate) fn new(output: &'o Output, subject: &str) -> Self {
        let state = State { tally: Tally::default(), last_line: Instant::now() };
        Self { output, subject: subject.to_owned(), state: Mutex::new(state) }
    }

    fn line(&self, line: &str) {
        let mut text = Text::new(None);
        text.line(line);
        self.output.note(&text);
    }
}

impl State {
    /// The line for an event; progress only when the last line is long enough ago.
    fn line(&mut self, event: &Event<'_>, now: Instant) -> Option<String> {
        self.tally.apply(event, now);
        let due = now.saturating_duration_since(self.last_line) >= INTERVAL;
        let line = match event {
            Event::Phase { name } => (*name).to_owned(),
            Event::Planned { tables, bytes } => {
                format!("{}, about {}", format::count(*tables as u64, "table"), format::size(*bytes))
            }
            Event::TableProgress { .. } | Event::TakenOver { .. } | Event::TableFinished { .. } if due => {
                self.tally.summary(now)
            }
            Event::Steps { done, total, name } if due => format!("{done} of {total}: {name}"),
            _ => return None,
        };
        self.last_line = now;
        Some(line)
    }
}

impl Monitor for PlainMonitor<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning { message } = event {
            return self.output.warn(message);
        }
        if let Some(line) = super::lasting_line(&event, &self.subject, self.output) {
            return self.line(&line);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = state.line(&event, Instant::now()) {
            self.line(&format!("  {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_comes_every_few_seconds_and_phases_at_once() {
        let start = Instant::now();
        let mut state = State { tally: Tally::default(), last_line: start };
        let planned = Event::Planned { tables: 1, bytes: 1 << 30 };
        let moved = Event::TableProgress { table: "t", bytes: 100 << 20 };
        assert_eq!(state.line(&Event::Phase { name: "rows" }, start).as_deref(), Some("rows"));
        assert_eq!(state.line(&planned, start).as_deref(), Some("1 table, about 1.0 GiB"));
        assert_eq!(state.line(&moved, start + Duration::from_secs(4)), None);
        let line = state.line(&moved, start + Duration::from_secs(5));
        assert_eq!(line.as_deref(), Some("200 MiB of 1.0 GiB, 0 of 1 table, 40 MiB/s, 21 s left"));
        assert_eq!(state.line(&moved, start + Duration::from_secs(9)), None);
        let taken = Event::TakenOver { table: "t", chunks: 1, planned: 9, bytes: 312 << 20 };
        let line = state.line(&taken, start + Duration::from_secs(10));
        assert_eq!(
            line.as_deref(),
            Some("612 MiB of 1.0 GiB, 0 of 1 table, 30 MiB/s, 7.0 s left, 312 MiB taken over")
        );
    }
}

//! Live progress on a terminal: a bar for every larger table under way, one for all.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pgstow_core::monitor::{Event, Monitor};

use crate::ui::escape::visible;
use crate::ui::tally::Tally;
use crate::ui::{Output, Text, Tone};

/// Tables smaller than this come and go too fast to be read.
const SHOWN_FROM_BYTES: u64 = 8 << 20;
/// More bars than this do not help.
const BARS: usize = 8;
const REDRAW: Duration = Duration::from_millis(100);

/// Draws bars on standard error.
pub(crate) struct LiveMonitor<'o> {
    output: &'o Output,
    subject: String,
    multi: MultiProgress,
    state: Mutex<State>,
}

struct State {
    tally: Tally,
    bars: BTreeMap<String, ProgressBar>,
    total: ProgressBar,
    drawn_at: Option<Instant>,
}

impl<'o> LiveMonitor<'o> {
    /// A monitor for one run.
    pub(crate) fn new(output: &'o Output, subject: &str) -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let total = multi.add(ProgressBar::new(0).with_style(style("  {wide_msg}", output)));
        let state = State { tally: Tally::default(), bars: BTreeMap::new(), total, drawn_at: None };
        Self { output, subject: subject.to_owned(), multi, state: Mutex::new(state) }
    }

    /// Writes lines that stay, above the bars.
    fn keep(&self, lines: &str) {
        self.multi.suspend(|| {
            use std::io::Write as _;
            // There is nobody to tell when standard error is gone.
            let _ = anstream::stderr().lock().write_all(lines.as_bytes());
        });
    }

    fn draw(&self, event: &Event<'_>, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tally.apply(event, now);
        match event {
            Event::Phase { name } => state.phase(&visible(name), self.output),
            Event::Planned { .. } => state.total.set_style(style(TOTAL, self.output)),
            Event::TableStarted { table, bytes } if *bytes >= SHOWN_FROM_BYTES => {
                self.add_bar(&mut state, table)
            }
            Event::TableFinished { table, .. } => {
                if let Some(bar) = state.bars.remove(*table) {
                    bar.finish_and_clear();
                }
            }
            Event::Steps { done, total, name } => {
                state.phase(&format!("{done} of {total}: {}", visible(name)), self.output);
            }
            _ => {}
        }
        if !matches!(
            event,
            Event::TableStarted { .. }
                | Event::TableProgress { .. }
                | Event::TakenOver { .. }
                | Event::TableFinished { .. }
        ) {
            return;
        }
        if state.drawn_at.is_none_or(|drawn| now.saturating_duration_since(drawn) >= REDRAW) {
            state.refresh(now);
        }
    }

    fn add_bar(&self, state: &mut State, table: &str) {
        if state.bars.len() >= BARS {
            return;
        }
        let bar =
            ProgressBar::new(0).with_style(style(TABLE, self.output)).with_prefix(short(table, self.output));
        let bar = self.multi.insert_before(&state.total, bar);
        state.bars.insert(table.to_owned(), bar);
    }
}

impl State {
    fn phase(&mut self, phase: &str, output: &Output) {
        self.total.set_style(style("  {wide_msg}", output));
        self.total.set_message(phase.to_owned());
    }

    fn refresh(&mut self, now: Instant) {
        self.drawn_at = Some(now);
        for (table, bar) in &self.bars {
            if let Some(moving) = self.tally.running.get(table) {
                bar.set_length(moving.total);
                bar.set_message(moving.summary());
                bar.set_position(moving.done);
            }
        }
        self.total.set_length(self.tally.bytes_total());
        self.total.set_message(self.tally.summary(now));
        self.total.set_position(self.tally.bytes_done);
    }
}

const TABLE: &str = "  {prefix:<24!} {bar:16} {wide_msg}";
const TOTAL: &str = "  total                    {bar:16} {wide_msg}";

fn style(template: &str, output: &Output) -> ProgressStyle {
    let characters = if output.terminal().unicode { "█▉▊▋▌▍▎▏░" } else { "#>-" };
    // The templates are constants; a wrong one would only draw differently.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars(characters)
}

fn short(table: &str, output: &Output) -> String {
    console::truncate_str(&visible(table), 24, output.ellipsis()).into_owned()
}

impl Monitor for LiveMonitor<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning { message } = event {
            if let Some(line) = self.output.new_warning(message) {
                self.keep(&line);
            }
            return;
        }
        if let Some(line) = super::lasting_line(&event, &self.subject, self.output) {
            let mut text = Text::new(None);
            text.put(Tone::Plain, &line).end();
            self.keep(text.as_str());
        }
        self.draw(&event, Instant::now());
    }
}

impl Drop for LiveMonitor<'_> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for bar in state.bars.values() {
            bar.finish_and_clear();
        }
        state.total.finish_and_clear();
    }
}

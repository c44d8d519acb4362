//! Standard output and standard error of one run.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use jiff::tz::TimeZone;
use pgstow_core::{Error, ErrorKind, Result};
use serde::Serialize;

use super::terminal::Terminal;
use super::text::{Text, Tone};
use crate::exit::{Exit, Failure};

/// Where and how the run speaks.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    terminal: Terminal,
    warned: Mutex<HashSet<String>>,
}

/// The JSON of a failure.
#[derive(Debug, Serialize)]
struct JsonFailure<'a> {
    error: JsonError<'a>,
    exit_code: u8,
}

#[derive(Debug, Serialize)]
struct JsonError<'a> {
    kind: &'static str,
    message: &'a str,
    why: Option<String>,
    hints: &'a [String],
    state: Option<&'a str>,
}

impl Output {
    /// Of the running process.
    pub(crate) fn of_process(json: bool, quiet: bool) -> Self {
        Self { json, quiet, terminal: Terminal::of_process(), warned: Mutex::default() }
    }

    /// Whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether only results and warnings are wanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Facts about the terminal.
    pub(crate) fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// The user's time zone.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.terminal.zone
    }

    /// An empty text as wide as standard output.
    pub(crate) fn text(&self) -> Text {
        Text::new(self.terminal.width)
    }

    /// What stands where text was cut.
    pub(crate) fn ellipsis(&self) -> &'static str {
        if self.terminal.unicode { "…" } else { "..." }
    }

    /// The sign before a line that is good or bad; words where signs cannot be drawn.
    pub(crate) fn mark(&self, good: bool) -> (Tone, &'static str) {
        match (good, self.terminal.unicode) {
            (true, true) => (Tone::Good, "✔"),
            (false, true) => (Tone::Bad, "✘"),
            (true, false) => (Tone::Good, "ok"),
            (false, false) => (Tone::Bad, "NO"),
        }
    }

    /// Writes a result to standard output. A reader that went away is no error.
    ///
    /// # Errors
    /// When it cannot be written for another reason, such as a full disk.
    pub(crate) fn print(&self, text: &Text) -> Result<()> {
        let mut out = anstream::stdout().lock();
        written(out.write_all(text.as_str().as_bytes()).and_then(|()| out.flush()))
    }

    /// Writes the one JSON result to standard output.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub(crate) fn print_json(&self, result: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_string(result)
            .map_err(|error| Error::failed("cannot write the result as JSON").source(error))?;
        line.push('\n');
        let mut out = io::stdout().lock();
        written(out.write_all(line.as_bytes()).and_then(|()| out.flush()))
    }

    /// Tells something on the way on standard error; not when quiet or JSON.
    pub(crate) fn note(&self, text: &Text) {
        if !self.quiet && !self.json {
            self.complain(text.as_str());
        }
    }

    /// Warns on standard error, also when quiet, each thing once.
    pub(crate) fn warn(&self, message: &str) {
        if let Some(line) = self.new_warning(message) {
            self.complain(&line);
        }
    }

    /// The warning as a line, unless it was given before.
    pub(crate) fn new_warning(&self, message: &str) -> Option<String> {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if !warned.insert(message.to_owned()) {
            return None;
        }
        if self.json {
            let event = serde_json::json!({ "event": "warning", "message": message });
            return Some(format!("{event}\n"));
        }
        let mut text = Text::new(None);
        text.put(Tone::Warn, "warning: ").line(message);
        Some(text.as_str().to_owned())
    }

    /// Says why the command failed; the exit code it ends with.
    pub(crate) fn failure(&self, failure: &Failure) -> Exit {
        let exit = Exit::from(failure.error.kind());
        if self.json {
            // Nobody is left to tell when standard output is gone.
            let _ = self.print_json(&JsonFailure::new(failure, exit));
        } else {
            self.complain(self.failure_text(failure).as_str());
        }
        exit
    }

    fn failure_text(&self, failure: &Failure) -> Text {
        let error = &failure.error;
        let mut text = self.text();
        let mut message = error.message().lines();
        let interrupted = error.kind() == ErrorKind::Interrupted;
        if !interrupted {
            text.put(Tone::Bad, "error: ");
        }
        text.put(Tone::Strong, message.next().unwrap_or_default()).end();
        for line in message {
            text.plain("  ").line(line);
        }
        let why = error.reason().map(|why| ("why", why));
        let hints = error.hints().iter().map(|hint| ("try", hint.clone()));
        let fields: Vec<(&str, String)> = why.into_iter().chain(hints).collect();
        text.fields(&fields);
        if let Some(closing) = &failure.closing {
            text.plain("  ").line(closing);
        }
        text
    }

    /// Writes to standard error; there is nobody to tell when that fails.
    fn complain(&self, lines: &str) {
        let mut error = anstream::stderr().lock();
        let _ = error.write_all(lines.as_bytes());
    }
}

fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::failed("cannot write to standard output").source(error))
        }
        _ => Ok(()),
    }
}

impl<'a> JsonFailure<'a> {
    fn new(failure: &'a Failure, exit: Exit) -> Self {
        let error = &failure.error;
        let error = JsonError {
            kind: kind_name(error.kind()),
            message: error.message(),
            why: error.reason(),
            hints: error.hints(),
            state: failure.closing.as_deref(),
        };
        Self { error, exit_code: exit.code() }
    }
}

/// The kind as JSON has it.
fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Failed => "failed",
        ErrorKind::Usage => "usage",
        ErrorKind::Refused => "refused",
        ErrorKind::NotFound => "not-found",
        ErrorKind::Locked => "locked",
        ErrorKind::Key => "key",
        ErrorKind::Interrupted => "interrupted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(json: bool) -> Output {
        let terminal =
            Terminal { width: None, interactive: false, live: false, unicode: true, zone: TimeZone::UTC };
        Output { json, quiet: false, terminal, warned: Mutex::default() }
    }

    fn failure() -> Failure {
        let error = Error::refused("events: permission denied")
            .why("role backup_reader lacks SELECT")
            .hint("GRANT SELECT ON events TO backup_reader")
            .hint("ALTER ROLE backup_reader BYPASSRLS");
        Failure { error, closing: Some("nothing was written".into()) }
    }

    #[test]
    fn a_failure_says_what_why_what_to_do_and_what_is_left() {
        let text = output(false).failure_text(&failure());
        assert_eq!(
            anstream::adapter::strip_str(text.as_str()).to_string(),
            "error: events: permission denied\n  why  role backup_reader lacks SELECT\n  \
             try  GRANT SELECT ON events TO backup_reader\n  try  ALTER ROLE backup_reader BYPASSRLS\n  \
             nothing was written\n"
        );
    }

    #[test]
    fn a_failure_in_json_carries_the_kind_and_the_exit_code() {
        let json = serde_json::to_value(JsonFailure::new(&failure(), Exit::Refused)).unwrap();
        assert_eq!(json["error"]["kind"], "refused");
        assert_eq!(json["error"]["hints"][1], "ALTER ROLE backup_reader BYPASSRLS");
        assert_eq!(json["error"]["state"], "nothing was written");
        assert_eq!(json["exit_code"], 4);
    }

    #[test]
    fn a_warning_is_given_once() {
        let output = output(false);
        assert!(output.new_warning("statistics are missing").is_some());
        assert!(output.new_warning("statistics are missing").is_none());
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_and_a_full_disk_is() {
        assert!(written(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(written(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}

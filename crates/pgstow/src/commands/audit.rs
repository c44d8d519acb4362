//! `pgstow audit`: who ran what, newest last.

use clap::Args;
use jiff::civil::Date;
use jiff::{Span, Timestamp, Zoned};
use pgstow_core::Result;
use pgstow_core::repository::AuditLog;
use pgstow_core::repository::format::audit::{AuditEvent, AuditOutcome};
use serde::Serialize;

use crate::app::App;
use crate::exit::{Exit, Failure};
use crate::ui::table::{Align, Table};
use crate::ui::{Tone, format};

/// Arguments of `pgstow audit`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only what was about this environment
    #[arg(value_name = "ENV")]
    environment: Option<String>,

    /// Only what ended since then: a date, a time, or how long ago (7d, 12h)
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    since: Option<Timestamp>,
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonLog<'r> {
    repository: String,
    events: Vec<&'r AuditEvent>,
    damaged: Vec<JsonDamage<'r>>,
}

#[derive(Serialize)]
struct JsonDamage<'r> {
    name: &'r str,
    found: &'r str,
}

/// The value of `--since`.
fn parse_since(text: &str) -> Result<Timestamp, String> {
    since(text, &Zoned::now()).ok_or_else(|| {
        "a date (2026-11-21), a time (2026-11-21T10:00:00Z) or a length of time (7d, 12h) is needed"
            .to_owned()
    })
}

fn since(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(date) = text.parse::<Date>().as_ref()
        && !text.contains(['T', ' '])
    {
        return Some(date.to_zoned(now.time_zone().clone()).ok()?.timestamp());
    }
    let ago: Span = text.parse().ok()?;
    let time = now.checked_sub(ago).ok()?;
    (time < *now).then(|| time.timestamp())
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let repository = app.repository()?;
    let log = repository.audit_log(arguments.since, &app.interrupt)?;
    let about = |event: &&AuditEvent| match &arguments.environment {
        Some(environment) => is_about(event, environment),
        None => true,
    };
    let events: Vec<&AuditEvent> = log.events.iter().filter(about).collect();
    let exit = if log.damaged.is_empty() { Exit::Done } else { Exit::Differs };
    if app.output.is_json() {
        let damaged = log.damaged.iter().map(|(name, found)| JsonDamage { name, found }).collect();
        app.output.print_json(&JsonLog { repository: repository.location(), events, damaged })?;
        return Ok(exit);
    }
    print(app, &events, &log)?;
    Ok(exit)
}

/// Whether it worked on the environment's database, or on a backup of it.
fn is_about(event: &AuditEvent, environment: &str) -> bool {
    let of_it = |id: &String| id.split('_').next() == Some(environment);
    event.environment.as_deref() == Some(environment) || event.backups.iter().any(of_it)
}

fn print(app: &App<'_>, events: &[&AuditEvent], log: &AuditLog) -> Result<()> {
    let mut text = app.output.text();
    if events.is_empty() && !app.output.is_quiet() {
        text.line("nothing is recorded");
    } else if !events.is_empty() {
        let mut table = Table::new(&[
            ("ENDED", Align::Left),
            ("BY", Align::Left),
            ("COMMAND", Align::Left),
            ("ENVIRONMENT", Align::Left),
            ("RESULT", Align::Left),
            ("WHAT", Align::Cut),
        ]);
        for event in events {
            let (tone, result) = result(event.outcome);
            let cells = vec![
                format::moment(event.finished_at, app.output.zone()),
                format!("{}@{}", event.by.user, event.by.host),
                event.command.clone(),
                event.environment.clone().unwrap_or_default(),
                result.to_owned(),
                what(event),
            ];
            table.row(tone, cells);
        }
        table.write(&mut text, app.output.terminal().width, app.output.ellipsis());
    }
    for (path, found) in &log.damaged {
        let (tone, mark) = app.output.mark(false);
        text.put(tone, mark).plain(" ").line(&format!("{path} {found}"));
    }
    app.output.print(&text)
}

fn result(outcome: AuditOutcome) -> (Tone, &'static str) {
    match outcome {
        AuditOutcome::Done => (Tone::Plain, "done"),
        AuditOutcome::Differs => (Tone::Warn, "differs"),
        AuditOutcome::Failed => (Tone::Bad, "failed"),
        AuditOutcome::Refused => (Tone::Warn, "refused"),
        AuditOutcome::Interrupted => (Tone::Warn, "interrupted"),
    }
}

/// Backups, where to, and what went wrong.
fn what(event: &AuditEvent) -> String {
    let backups = (!event.backups.is_empty()).then(|| event.backups.join(", "));
    let target = event.target.as_ref().map(|target| format!("to {target}"));
    let subject: Vec<String> = backups.into_iter().chain(target).collect();
    let subject = (!subject.is_empty()).then(|| subject.join(" "));
    let parts: Vec<String> = subject.into_iter().chain(event.message.clone()).collect();
    parts.join(": ").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_a_date_or_a_length_of_time() {
        let now: Zoned = "2026-11-21T10:00:00+01:00[Europe/Berlin]".parse().unwrap();
        let cases = [
            ("2026-11-20T09:00:00Z", "2026-11-20T09:00:00Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("7d", "2026-11-14T09:00:00Z"),
            ("12h", "2026-11-20T21:00:00Z"),
            ("1 month", "2026-10-21T08:00:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(since(text, &now), Some(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "yesterday", "7", "-7d", "2026-13-01", "0s"] {
            assert_eq!(since(text, &now), None, "{text}");
        }
    }
}

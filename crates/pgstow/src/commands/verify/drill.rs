//! `pgstow verify --drill`: the backup restored into a place that nobody needs, and what was found there.

use std::collections::BTreeSet;

use pgstow_core::drill::{self, Check, DrillOptions, DrillPlace, DrillReport, OwnServer};
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::receipt::{Drill, Outcome, Receipt};
use pgstow_core::{Error, Result};
use serde::Serialize;

use super::super::restore::{TABLES_BY_NAME, verification};
use super::Arguments;
use crate::app::App;
use crate::exit::{Exit, Failure};
use crate::ui::{Output, Text, Tone, format, progress};

/// What the audit log calls the place of a drill that is not given.
const OWN_SERVER: &str = "a disposable server";

/// The result in JSON.
#[derive(Serialize)]
struct Json<'r> {
    proven: bool,
    rows_per_second: Option<f64>,
    #[serde(flatten)]
    report: &'r DrillReport,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let repository = app.repository()?;
    let header = repository.resolve(arguments.backup.as_deref().unwrap_or_default())?;
    app.facts.backup(&header.id);
    app.facts.environment(header.environment.as_str());
    let place = place(app, arguments)?;
    repository.unlock()?;
    let environment = app.config.environments().find(|environment| environment.name == header.environment);
    let checks: Vec<Check> = environment.map(|environment| environment.checks.clone()).unwrap_or_default();
    let options = DrillOptions {
        place,
        jobs: app.jobs(arguments.jobs, None, 1),
        without: arguments.drill_without.iter().cloned().collect::<BTreeSet<_>>(),
        checks,
    };
    let own = matches!(options.place, DrillPlace::Own(_));
    let report = {
        let monitor = progress::monitor(app.output, header.id.as_str());
        drill::drill(&repository, &header, &options, monitor.as_ref(), &app.interrupt).map_err(|error| {
            Failure { error, closing: own.then(|| "nothing of the drill is left on this machine".to_owned()) }
        })?
    };
    present(app, &report, &header)?;
    Ok(match report.receipt.outcome {
        Outcome::Equal => Exit::Done,
        Outcome::Differs => Exit::Differs,
        Outcome::Failed => Exit::Failed,
    })
}

/// Where to drill.
///
/// # Errors
/// Usage; refused when the URL leads to the database of an environment.
fn place(app: &App<'_>, arguments: &Arguments) -> Result<DrillPlace> {
    let Some(url) = &arguments.drill_target else {
        app.facts.target(OWN_SERVER);
        let given = arguments.drill_folder.as_ref().map(|folder| app.current_folder().join(folder));
        return Ok(DrillPlace::Own(OwnServer {
            folder: given.unwrap_or_else(|| app.process.temporary_folder()),
            search_path: app.process.search_path(),
        }));
    };
    let settings = app.connection_of_option("--drill-target", url)?;
    let hosts: Vec<String> = settings.hosts.iter().map(ToString::to_string).collect();
    let endpoint = format!("{}/{}", hosts.join(","), settings.database);
    if let Some(environment) = app.environment_at(&settings) {
        return Err(Error::refused(format!(
            "{endpoint} is the database of environment {}: no drill begins there",
            environment.name
        ))
        .hint("name an empty database of a server that is there for tests"));
    }
    app.facts.target(&endpoint);
    Ok(DrillPlace::Given(Box::new(settings)))
}

fn present(app: &App<'_>, report: &DrillReport, header: &Header) -> Result<()> {
    let (output, receipt) = (app.output, &report.receipt);
    if let Some(error) = &report.receipt_error {
        output.warn(&format!("the receipt could not be stored, so nobody will know of this drill: {error}"));
    }
    let Some(drill) = &receipt.drill else { return Ok(()) };
    let proven = receipt.outcome == Outcome::Equal;
    if output.is_json() {
        let rows_per_second = rows_per_second(drill);
        return output.print_json(&Json { proven, rows_per_second, report });
    }
    let mut text = output.text();
    if !output.is_quiet() || !proven {
        verification(&mut text, &receipt.lines, "BACKUP", TABLES_BY_NAME, output);
        checks(&mut text, drill, output);
        text.fields(&fields(report, receipt, drill));
        last_line(&mut text, receipt, drill, header, output);
    }
    output.print(&text)
}

fn rows_per_second(drill: &Drill) -> Option<f64> {
    (drill.restore_seconds > 0.0).then(|| drill.rows as f64 / drill.restore_seconds)
}

/// A line for each of the user's checks.
fn checks(text: &mut Text, drill: &Drill, output: &Output) {
    for check in &drill.checks {
        let (tone, mark) = output.mark(check.passed);
        let found = if check.passed && check.found == check.expected {
            check.found.clone()
        } else {
            format!("{}, expected {}", check.found, check.expected)
        };
        text.put(tone, mark).line(&format!(" check {}: {found}", check.name));
    }
}

fn fields(report: &DrillReport, receipt: &Receipt, drill: &Drill) -> Vec<(&'static str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    let exceptions = drill.exceptions.iter();
    fields.extend(exceptions.map(|left| ("left out", format!("{}: {}", left.what, left.reason))));
    fields.extend(receipt.remarks.iter().map(|remark| ("differs", remark.clone())));
    fields.extend(report.notes.iter().map(|note| ("note", note.clone())));
    let rate = rows_per_second(drill).map(|rate| format!(", {} rows/s", format::number(rate as u64)));
    fields.push((
        "took",
        format!(
            "{} to restore {}{}; {} in all",
            format::seconds(drill.restore_seconds),
            format::count(drill.rows, "row"),
            rate.unwrap_or_default(),
            format::seconds(drill.total_seconds)
        ),
    ));
    fields.push(("server", format!("PostgreSQL {}, {}", drill.server_version, receipt.target)));
    fields.extend(report.receipt_path.clone().map(|path| ("receipt", path)));
    fields
}

/// The truth in one line.
fn last_line(text: &mut Text, receipt: &Receipt, drill: &Drill, header: &Header, output: &Output) {
    let id = &header.id;
    let failed: Vec<&str> =
        drill.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect();
    let passed = match drill.checks.len() {
        0 => String::new(),
        count => format!(" and {} passed", format::count(count as u64, "check")),
    };
    let (good, bad) = (output.mark(true), output.mark(false));
    let ((tone, mark), line) = match (receipt.outcome, drill.exceptions.len()) {
        (Outcome::Equal, 0) => (good, format!("{id} is proven: everything is equal, contents too{passed}")),
        (Outcome::Equal, left) => {
            let left = format::count(left as u64, "thing");
            let line =
                format!("{id} is proven but for {left} left out, listed above: all else is equal{passed}");
            ((Tone::Warn, good.1), line)
        }
        _ if failed.is_empty() => {
            let remarks = format::count(receipt.remarks.len().max(1) as u64, "difference");
            (bad, format!("{id} is not proven: {remarks}, listed above"))
        }
        _ => (bad, format!("{id} is not proven: failed {}", failed.join(", "))),
    };
    text.put(tone, mark).plain(" ").put(tone, &line).end();
}

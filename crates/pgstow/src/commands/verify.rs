//! `pgstow verify`: a checklist with pass or fail for each line.

use clap::Args;
use pgstow_core::Result;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::verify::{self, VerifyReport};
use serde::Serialize;

use crate::app::App;
use crate::exit::{Exit, Failure};
use crate::ui::{Tone, format, progress};

/// Arguments of `pgstow verify`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Backup: latest, ENV@latest, ENV@LABEL, an id or its unique beginning
    #[arg(value_name = "BACKUP")]
    backup: String,

    /// Read and hash every byte, not only sizes
    #[arg(long)]
    read_data: bool,
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonReport<'r> {
    #[serde(flatten)]
    report: &'r VerifyReport,
    good: bool,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let repository = app.repository()?;
    let header = repository.resolve(&arguments.backup)?;
    repository.unlock()?;
    let report = check(app, &repository, &header, arguments.read_data)?;
    present(app, &report)?;
    Ok(if report.is_good() { Exit::Done } else { Exit::Failed })
}

/// Verifies, showing progress.
pub(super) fn check(
    app: &App<'_>,
    repository: &Repository,
    header: &Header,
    read_data: bool,
) -> Result<VerifyReport> {
    let monitor = progress::monitor(app.output, header.id.as_str());
    verify::verify(repository, header, read_data, monitor.as_ref(), &app.interrupt)
}

/// Prints the checklist.
pub(super) fn present(app: &App<'_>, report: &VerifyReport) -> Result<()> {
    let output = app.output;
    let good = report.is_good();
    if output.is_json() {
        return output.print_json(&JsonReport { report, good });
    }
    let mut text = output.text();
    let width = report.lines.iter().map(|line| console::measure_text_width(&line.what)).max().unwrap_or(0);
    for line in report.lines.iter().filter(|line| !line.passed || !output.is_quiet()) {
        let (tone, mark) = output.mark(line.passed);
        text.put(tone, mark).plain(" ").plain(&line.what);
        let padding = width.saturating_sub(console::measure_text_width(&line.what)) + 2;
        text.plain(&" ".repeat(padding)).line(&line.found);
    }
    let failed = report.lines.iter().filter(|line| !line.passed).count();
    if failed > 0 {
        let checks = format::count(failed as u64, "check");
        text.put(Tone::Bad, &format!("{} is not good: {checks} failed", report.backup)).end();
    } else if !output.is_quiet() {
        let read = match report.read_bytes {
            0 => "contents not read; --read-data reads them".to_owned(),
            bytes => format!("{} of content read and hashed", format::size(bytes)),
        };
        text.put(Tone::Good, &format!("{} is good", report.backup)).line(&format!(" ({read})"));
    }
    output.print(&text)
}

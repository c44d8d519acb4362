//! What `pgstow verify` prints.

use jiff::Timestamp;
use pgstow_core::Result;
use pgstow_core::verify::{Fault, Reading, RepositoryReport, Verdict, VerifyLine, VerifyReport};
use serde::Serialize;

use crate::app::App;
use crate::ui::{Output, Text, Tone, format};

/// How many tables, and how many foreign files, are named; JSON has all of them.
const SHOWN: usize = 20;

/// A result in JSON.
#[derive(Serialize)]
struct Json<'r, R> {
    #[serde(flatten)]
    report: &'r R,
    good: bool,
    complete: bool,
}

/// Prints the checklist of one backup.
pub(in crate::commands) fn present(app: &App<'_>, report: &VerifyReport) -> Result<()> {
    let output = app.output;
    let (good, complete) = (report.is_good(), report.is_complete());
    if output.is_json() {
        return output.print_json(&Json { report, good, complete });
    }
    let mut text = output.text();
    let age = age(report, output);
    let width = report.lines.iter().map(|line| console::measure_text_width(&line.what)).max().unwrap_or(0);
    let matters =
        |line: &&VerifyLine| !output.is_quiet() || matches!(line.verdict, Verdict::Failed | Verdict::Open);
    for line in report.lines.iter().chain([&age]).filter(matters) {
        let (tone, mark) = mark(output, line.verdict);
        text.put(tone, mark).plain(" ").plain(&line.what);
        let padding = width.saturating_sub(console::measure_text_width(&line.what)) + 2;
        text.plain(&" ".repeat(padding)).line(&line.found);
    }
    if let Some(seed) = report.seed {
        text.line(&format!("seed {seed}  (--seed {seed} repeats this sample)"));
    }
    conclude(&mut text, report, output);
    output.print(&text)
}

fn conclude(text: &mut Text, report: &VerifyReport, output: &Output) {
    let number = |verdict| report.lines.iter().filter(|line| line.verdict == verdict).count() as u64;
    if !report.is_good() {
        let checks = format::count(number(Verdict::Failed), "check");
        text.put(Tone::Bad, &format!("{} is not good: {checks} failed", report.backup)).end();
    } else if !report.is_complete() {
        let checks = format::count(number(Verdict::Open), "check");
        text.put(Tone::Warn, &format!("nothing of {} is damaged; {checks} left open", report.backup)).end();
    } else if !output.is_quiet() {
        let read = match report.read_bytes {
            0 => "contents not read; --read-data reads them".to_owned(),
            bytes => format!("{} of content read and hashed", format::size(bytes)),
        };
        text.put(Tone::Good, &format!("{} is good", report.backup)).line(&format!(" ({read})"));
    }
}

/// The line that only the present can tell.
fn age(report: &VerifyReport, output: &Output) -> VerifyLine {
    let taken = format::moment(report.snapshot_at, output.zone());
    let found = format!("taken {taken}, {}", format::ago(report.snapshot_at, Timestamp::now()));
    VerifyLine { what: "age".to_owned(), verdict: Verdict::Noted, found }
}

/// The sign before a line.
fn mark(output: &Output, verdict: Verdict) -> (Tone, &'static str) {
    match verdict {
        Verdict::Passed => output.mark(true),
        Verdict::Failed => output.mark(false),
        Verdict::Open => (Tone::Warn, "?"),
        Verdict::Noted => (Tone::Faint, "-"),
    }
}

/// Prints what was found in a whole repository.
pub(super) fn whole(app: &App<'_>, report: &RepositoryReport, reading: &Reading) -> Result<()> {
    let output = app.output;
    let (good, complete) = (report.is_good(), report.is_complete());
    if output.is_json() {
        return output.print_json(&Json { report, good, complete });
    }
    let mut text = output.text();
    for fault in &report.faults {
        line(&mut text, mark(output, Verdict::Failed), &fault.found);
        text.fields(&touched(fault));
    }
    for open in &report.open {
        line(&mut text, mark(output, Verdict::Open), open);
    }
    if !output.is_quiet() {
        for note in notes(report) {
            line(&mut text, mark(output, Verdict::Noted), &note);
        }
    }
    if let Some(seed) = report.seed {
        text.line(&format!("seed {seed}  (--seed {seed} repeats this sample)"));
    }
    sum_up(&mut text, report, reading, output);
    output.print(&text)
}

fn line(text: &mut Text, (tone, mark): (Tone, &str), what: &str) {
    text.put(tone, mark).plain(" ").line(what);
}

/// Whom a fault touches, a line for each backup.
fn touched(fault: &Fault) -> Vec<(&'static str, String)> {
    let lines = fault.touches.iter().map(|touched| {
        let tables = match touched.tables.len() {
            0 => return touched.backup.clone(),
            1..=SHOWN => touched.tables.join(", "),
            all => {
                let shown =
                    touched.tables.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
                format!("{shown} and {} more", all - SHOWN)
            }
        };
        format!("{}: {tables}", touched.backup)
    });
    lines.map(|line| ("touches", line)).collect()
}

/// What is worth knowing and no fault.
fn notes(report: &RepositoryReport) -> Vec<String> {
    let mut notes = Vec::new();
    match report.unused {
        Some(unused) if unused.objects > 0 => notes.push(format!(
            "{} of {} that no backup uses: left by runs that were interrupted or still go on",
            format::count(unused.objects as u64, "object"),
            format::size(unused.bytes)
        )),
        Some(_) => {}
        None => notes.push(
            "objects that no backup uses cannot be told: what a damaged backup uses is not known".to_owned(),
        ),
    }
    notes.extend(
        report
            .unfinished
            .iter()
            .map(|folder| format!("{folder} has no header: being made, interrupted or being removed")),
    );
    notes.extend(report.foreign.iter().take(SHOWN).map(|path| format!("{path} belongs to nobody")));
    if let more @ 1.. = report.foreign.len().saturating_sub(SHOWN) {
        notes.push(format!("and {more} more that belong to nobody"));
    }
    notes
}

fn sum_up(text: &mut Text, report: &RepositoryReport, reading: &Reading, output: &Output) {
    let all = report.backups.len();
    let backups = format::count(all as u64, "backup");
    let bad = report.backups.iter().filter(|state| !state.good).count();
    let objects = format!(
        "{} of {}",
        format::count(report.objects as u64, "object"),
        format::size(report.stored_bytes)
    );
    let read = match reading {
        Reading::Sizes => "contents not read; --read-data reads them".to_owned(),
        _ => format!(
            "{} read, {} of content hashed",
            format::count(report.read_objects as u64, "object"),
            format::size(report.read_bytes)
        ),
    };
    if !report.is_good() {
        let faults = format::count(report.faults.len() as u64, "fault");
        let touched =
            if bad == 0 { "no backup is touched".to_owned() } else { format!("{bad} of {backups} touched") };
        text.put(Tone::Bad, &format!("{faults}; {touched}")).line(&format!(" ({objects}; {read})"));
    } else if !report.is_complete() {
        text.put(Tone::Warn, &format!("nothing is damaged as far as it can be seen; {backups}"));
        text.line(&format!(" ({objects}; {read})"));
    } else if !output.is_quiet() {
        let good = match all {
            0 => "no backups".to_owned(),
            1 => "1 backup, and it is good".to_owned(),
            _ => format!("{backups}, all good"),
        };
        text.put(Tone::Good, &good).line(&format!(" ({objects}; {read})"));
    }
}

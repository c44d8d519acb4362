//! The report: tables of all cases, targets and conditions, on standard output and in a document.

mod conditions;
mod document;
mod targets;
pub(crate) mod text;

use crate::cases::{Activity, Case};
use crate::results::{Entry, Results};
use crate::statistics;

pub(crate) use conditions::Conditions;
pub(crate) use document::Document;

const PGSTOW: &str = "pgstow";
const NOTHING: &str = "—";

/// Everything, as Markdown.
pub(crate) fn figures(results: &Results, conditions: &Conditions) -> String {
    let mut text = String::from("### Targets\n\n");
    text.push_str(&text::table(&["target", "wanted", "measured", "verdict"], &targets::rows(results)));
    for case in results.cases() {
        text.push_str(&format!("\n### {}\n\n{}", case.title(), case_table(results, case)));
        text.push_str(&reasons(results, case));
    }
    text.push_str(&format!("\n### Conditions\n\n{}", conditions.text()));
    text
}

fn case_table(results: &Results, case: Case) -> String {
    let mut heading = vec![
        "what",
        "median",
        "least – most",
        "to pgstow",
        "client CPU",
        "server CPU",
        "largest",
        "together",
    ];
    let stores = case.activity() != Activity::Restore;
    if stores {
        heading.push("stored");
    }
    let rows: Vec<Vec<String>> = results
        .of_case(case)
        .map(|entry| {
            let mut row = time_cells(results, entry);
            row.extend(cost_cells(entry));
            row.truncate(heading.len());
            row
        })
        .collect();
    text::table(&heading, &rows)
}

fn time_cells(results: &Results, entry: &Entry) -> Vec<String> {
    let wall = entry.wall();
    let pgstow = results.median_wall(entry.case, PGSTOW);
    let ratio = wall.zip(pgstow).and_then(|(wall, pgstow)| statistics::ratio(wall.median, pgstow));
    let range = wall.map(|wall| format!("{} – {}", text::seconds(wall.least), text::seconds(wall.most)));
    vec![
        entry.label.to_owned(),
        cell(wall.map(|wall| text::seconds(wall.median))),
        cell(range),
        cell(ratio.map(text::times)),
    ]
}

fn cost_cells(entry: &Entry) -> Vec<String> {
    vec![
        cell(entry.client_processor().map(text::seconds)),
        cell(entry.server_processor().map(text::seconds)),
        cell(entry.peak_process_bytes().map(text::mebibytes)),
        cell(entry.peak_total_bytes().map(text::mebibytes)),
        cell(entry.stored_bytes().map(text::mebibytes)),
    ]
}

fn cell(value: Option<String>) -> String {
    value.unwrap_or_else(|| NOTHING.to_owned())
}

/// Why some have no figures.
fn reasons(results: &Results, case: Case) -> String {
    let lines: String = results
        .of_case(case)
        .filter_map(|entry| Some(format!("- {}: {}\n", entry.label, entry.reason.as_deref()?)))
        .collect();
    if lines.is_empty() { lines } else { format!("\nNo figures of:\n\n{lines}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Usage;
    use crate::results::Sample;

    fn sample(seconds: u64) -> Sample {
        let wall = Duration::from_secs(seconds);
        let usage = Usage { wall, client_processor: wall, peak_process_bytes: 1 << 20, ..Usage::default() };
        Sample { usage, stored_bytes: Some(5 << 20) }
    }

    #[test]
    fn a_case_shows_medians_ranges_ratios_and_why_figures_are_missing() {
        let mut results = Results::default();
        results.entry(Case::Full, "pgstow").samples.extend([sample(3), sample(1), sample(2)]);
        results.entry(Case::Full, "pg_dump-Fc").samples.push(sample(11));
        results.entry(Case::Full, "pgcopydb").reason = Some("it keeps no backup".to_owned());
        let text = figures(&results, &Conditions::default());
        for part in ["### First full backup", "2.00 s | 1.00 s – 3.00 s", "5.50×", "5.00 MiB"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("- pgcopydb: it keeps no backup"), "{text}");
        assert!(!text.contains("### Nothing changed"), "{text}");
    }
}

//! `pgstow list`: the backups of a repository, newest first.

use clap::Args;
use jiff::Timestamp;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::{Proof, Repository};
use pgstow_core::retention::{self, Candidate, Verdict};
use pgstow_core::{Error, ErrorKind, Result};
use serde::Serialize;

use super::prune;
use crate::app::App;
use crate::config::suggest_names;
use crate::exit::{Exit, Failure};
use crate::ui::table::{Align, Table};
use crate::ui::{Text, Tone, format};

/// Arguments of `pgstow list`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only backups of this environment
    #[arg(value_name = "ENV")]
    environment: Option<String>,
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonListing<'r> {
    repository: String,
    backups: Vec<JsonBackup<'r>>,
    damaged: Vec<JsonDamage<'r>>,
    unfinished: &'r [String],
}

#[derive(Serialize)]
struct JsonBackup<'r> {
    #[serde(flatten)]
    header: &'r Header,
    /// When a drill or restore last showed it to be good.
    proven_at: Option<Timestamp>,
    /// Whether that was a drill.
    proven_by_drill: bool,
    /// How many things that one left out.
    proven_except: usize,
    /// When a drill failed since.
    drill_failed_at: Option<Timestamp>,
    /// Receipts that were not looked at.
    unread_receipts: usize,
    /// Text of its pin.
    pinned: Option<&'r str>,
    /// Whether the configured retention keeps it.
    keep: bool,
    kept_because: &'r [String],
}

#[derive(Serialize)]
struct JsonDamage<'r> {
    name: &'r str,
    found: &'r str,
}

/// A backup and what its receipts say.
struct Entry {
    header: Header,
    proof: Proof,
    pinned: Option<String>,
    verdict: Verdict,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let repository = app.repository()?;
    Ok(print(app, &repository, arguments.environment.as_deref())?)
}

/// Prints the listing; differs when a header is damaged.
pub(super) fn print(app: &App<'_>, repository: &Repository, environment: Option<&str>) -> Result<Exit> {
    let mut listing = repository.list()?;
    if let Some(name) = environment {
        known(app, &listing.backups, name)?;
        listing.backups.retain(|header| header.environment.as_str() == name);
        let of_it = |folder: &str| folder.split('_').next() == Some(name);
        listing.damaged.retain(|(folder, _)| of_it(folder));
        listing.unfinished.retain(|folder| of_it(folder));
    }
    let pins: Vec<Option<String>> =
        listing.backups.iter().map(|header| repository.pin_of(&header.id)).collect::<Result<_>>()?;
    let candidates: Vec<Candidate> =
        listing.backups.iter().zip(&pins).map(|(header, pin)| Candidate::of(header, pin.is_some())).collect();
    let verdicts = retention::judge(&candidates, &prune::rules(app), app.output.zone());
    let receipts = repository.receipt_index()?;
    let mut entries = Vec::with_capacity(listing.backups.len());
    for ((header, pinned), verdict) in listing.backups.into_iter().zip(pins).zip(verdicts).rev() {
        app.interrupt.check()?;
        let mut proof = receipts.proof_of(&header.id);
        listing.damaged.append(&mut proof.damaged);
        entries.push(Entry { header, proof, pinned, verdict });
    }
    let exit = if listing.damaged.is_empty() { Exit::Done } else { Exit::Differs };
    if app.output.is_json() {
        let backups = entries.iter().map(|entry| JsonBackup {
            header: &entry.header,
            proven_at: entry.proof.proven.map(|proven| proven.at),
            proven_by_drill: entry.proof.proven.is_some_and(|proven| proven.by_drill),
            proven_except: entry.proof.proven.map_or(0, |proven| proven.exceptions),
            drill_failed_at: entry.proof.failed_at,
            unread_receipts: entry.proof.unread,
            pinned: entry.pinned.as_deref(),
            keep: entry.verdict.keep,
            kept_because: &entry.verdict.reasons,
        });
        let damaged = listing.damaged.iter().map(|(name, found)| JsonDamage { name, found });
        let listing = JsonListing {
            repository: repository.location(),
            backups: backups.collect(),
            damaged: damaged.collect(),
            unfinished: &listing.unfinished,
        };
        app.output.print_json(&listing)?;
        return Ok(exit);
    }
    let mut text = app.output.text();
    if app.output.is_quiet() {
        entries.iter().for_each(|entry| text.line(entry.header.id.as_str()));
    } else if entries.is_empty() && listing.damaged.is_empty() {
        text.line(&format!("no backups in {}", repository.location()));
    } else {
        table(&entries, Timestamp::now()).write(
            &mut text,
            app.output.terminal().width,
            app.output.ellipsis(),
        );
    }
    if !app.output.is_quiet() {
        for folder in &listing.unfinished {
            let what = if listing.interrupted.contains(folder) {
                "interrupted; what it had finished serves the next backup"
            } else {
                "being made now or interrupted; no backup"
            };
            text.put(Tone::Faint, &format!("unfinished  {folder}  {what}")).end();
        }
    }
    damaged_lines(&mut text, &listing.damaged);
    app.output.print(&text)?;
    Ok(exit)
}

/// An environment that is neither configured nor in the repository is a mistake.
fn known(app: &App<'_>, backups: &[Header], name: &str) -> Result<()> {
    let mut names: Vec<&str> = backups.iter().map(|header| header.environment.as_str()).collect();
    names.extend(app.config.environments().map(|environment| environment.name.as_str()));
    names.sort_unstable();
    names.dedup();
    if names.contains(&name) {
        return Ok(());
    }
    let error =
        Error::new(ErrorKind::NotFound, format!("there is no environment {name:?} and no backup of it"));
    Err(suggest_names(error, name, &names))
}

/// When a backup was last proven, in a few words; a drill that failed since then counts more.
fn proven_text(proof: &Proof, now: Timestamp) -> String {
    match (proof.failed_at, proof.proven) {
        (Some(failed), _) => format!("failed {}", format::ago(failed, now)),
        (None, Some(proven)) if proven.exceptions > 0 => {
            format!("{}, but for {}", format::ago(proven.at, now), proven.exceptions)
        }
        (None, Some(proven)) => format::ago(proven.at, now),
        (None, None) if proof.closed => "no key".to_owned(),
        (None, None) if proof.unread > 0 => "see show".to_owned(),
        (None, None) => "never".to_owned(),
    }
}

fn table(entries: &[Entry], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        ("ENVIRONMENT", Align::Left),
        ("BACKUP", Align::Left),
        ("TAKEN", Align::Left),
        ("SIZE", Align::Right),
        ("NEW", Align::Right),
        ("ROWS", Align::Right),
        ("PROVEN", Align::Left),
        ("KEPT BECAUSE", Align::Cut),
        ("NOTE", Align::Cut),
    ]);
    for Entry { header, proof, verdict, .. } in entries {
        let proven = proven_text(proof, now);
        let incomplete = (header.not_carried > 0).then(|| format!("{} not carried", header.not_carried));
        let note: Vec<&str> = incomplete.as_deref().into_iter().chain(header.note.as_deref()).collect();
        let cells = vec![
            header.environment.to_string(),
            header.id.to_string(),
            format::ago(header.snapshot_at, now),
            format::size(header.content_bytes),
            format::size(header.new_bytes),
            format::number(header.rows),
            proven,
            prune::kept_because(verdict),
            note.join("; "),
        ];
        let tone = match (proof.failed_at, &incomplete) {
            (Some(_), _) => Tone::Bad,
            (None, Some(_)) => Tone::Warn,
            (None, None) => Tone::Plain,
        };
        table.row(tone, cells);
    }
    table
}

fn damaged_lines(text: &mut Text, damaged: &[(String, String)]) {
    for (folder, found) in damaged {
        text.put(Tone::Bad, "damaged").plain("  ").put(Tone::Strong, folder).plain("  ").line(found);
    }
    if !damaged.is_empty() {
        text.put(Tone::Bad, &format!("{} damaged, listed above", damaged.len())).end();
    }
}

#[cfg(test)]
mod tests {
    use pgstow_core::repository::Proven;

    use super::*;

    #[test]
    fn a_drill_that_failed_since_counts_more_than_an_earlier_proof() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let at = "2026-11-21T10:00:00Z".parse().unwrap();
        let shown = |exceptions: Option<usize>, failed: Option<&str>, closed, unread| {
            let proven = exceptions.map(|exceptions| Proven { at, exceptions, by_drill: true });
            let failed_at = failed.map(|time| time.parse().unwrap());
            proven_text(&Proof { proven, failed_at, closed, unread, damaged: Vec::new() }, now)
        };
        assert_eq!(shown(Some(0), None, false, 0), "2 h ago");
        assert_eq!(shown(Some(3), None, false, 0), "2 h ago, but for 3");
        assert_eq!(shown(Some(0), Some("2026-11-21T11:00:00Z"), false, 0), "failed 1 h ago");
        assert_eq!(shown(None, None, true, 0), "no key");
        assert_eq!(shown(None, None, false, 1), "see show");
        assert_eq!(shown(None, None, false, 0), "never");
    }

    #[test]
    fn a_hostile_folder_name_cannot_draw_on_the_terminal() {
        let mut text = Text::new(None);
        damaged_lines(&mut text, &[("prod\u{1b}[2J".into(), "checksum differs".into())]);
        let shown = anstream::adapter::strip_str(text.as_str()).to_string();
        assert!(shown.starts_with("damaged  prod\\u{1b}[2J  checksum differs\n"), "{shown}");
        assert!(shown.ends_with("1 damaged, listed above\n"), "{shown}");
    }
}

//! Shows that backups in the repository are good: header, manifest, files, objects.
//!
//! [`verify`] looks at one backup, [`verify_all`] at everything that lies in the repository. What
//! is wrong becomes a line of the report that names it; only an interrupt ends it early. Nothing is
//! ever changed.

mod checklist;
mod content;
mod keyless;
mod reading;
mod structure;
mod whole;

use std::fmt::Write as _;

pub use reading::{Reading, Sample, Share};
pub use whole::{BackupState, Fault, RepositoryReport, Touched, Unused, verify_all};

use crate::error::{ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::repository::Repository;
use crate::repository::format::header::Header;

/// How many of many things a line names.
const SHOWN: usize = 20;

/// What a verification found.
#[derive(Debug, Clone, serde::Serialize)]
#[must_use]
pub struct VerifyReport {
    /// The backup.
    pub backup: String,
    /// The moment that it shows.
    pub snapshot_at: jiff::Timestamp,
    /// The checklist, in order.
    pub lines: Vec<VerifyLine>,
    /// Bytes of content that were read and hashed.
    pub read_bytes: u64,
    /// Repeats the choice of a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// One line of the checklist.
#[derive(Debug, Clone, serde::Serialize)]
pub struct VerifyLine {
    /// What was checked, such as `manifest` or `objects`.
    pub what: String,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What was found, naming damaged or missing files.
    pub found: String,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not: something is damaged or missing.
    Failed,
    /// No damage, and no proof either: it was not carried, or cannot be looked at without a key.
    Open,
    /// Worth knowing; nothing to pass or to fail.
    Noted,
}

impl VerifyLine {
    fn new(what: &str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self { what: what.to_owned(), verdict, found: found.into() }
    }

    /// Passed with what was found, or failed with the fault.
    fn of(what: &str, outcome: Outcome) -> Self {
        match outcome {
            Ok(found) => Self::new(what, Verdict::Passed, found),
            Err(fault) => Self::new(what, Verdict::Failed, fault),
        }
    }

    /// Whether it found damage.
    pub fn has_failed(&self) -> bool {
        self.verdict == Verdict::Failed
    }
}

impl VerifyReport {
    /// Whether nothing is damaged or missing, as far as was looked.
    pub fn is_good(&self) -> bool {
        !self.lines.iter().any(VerifyLine::has_failed)
    }

    /// Whether nothing was left open either.
    pub fn is_complete(&self) -> bool {
        self.is_good() && self.lines.iter().all(|line| line.verdict != Verdict::Open)
    }
}

/// Outcome of a check: what was found, or the fault.
type Outcome = std::result::Result<String, String>;

/// Checks one backup: header, manifest, files of its folder, archive readable, every object
/// present with its size; as far as `reading` says every byte of the objects and the rows of their
/// chunks.
///
/// Lines, in order: `header`, `manifest`, `not empty`, `complete`, `files`, `object list`,
/// `schema archive`, `catalog`, `objects`, `rows` if objects were read, `restores`. Without a
/// readable manifest the list ends there, or goes on with what needs no key.
///
/// # Errors
/// Interrupted; the keys at hand do not open it. Damage, the lack of any key, and a store that cannot be read, are lines of the
/// report.
pub fn verify(
    repository: &Repository,
    header: &Header,
    reading: &Reading,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<VerifyReport> {
    let mut report = VerifyReport {
        backup: header.id.to_string(),
        snapshot_at: header.snapshot_at,
        lines: Vec::new(),
        read_bytes: 0,
        seed: None,
    };
    monitor.event(Event::Phase { name: "header and manifest" });
    report.lines.push(VerifyLine::of("header", structure::check_header(repository, header)));
    let manifest = match repository.manifest(header) {
        Ok(manifest) => manifest,
        // Somebody who gives a key wants to know that it is the wrong one.
        Err(error) if error.kind() == ErrorKind::Key && repository.has_key()? => return Err(error),
        Err(error) if error.kind() == ErrorKind::Key => {
            report.lines.extend(keyless::check(repository, header, &error));
            report.lines.push(checklist::restores(repository, header));
            return Ok(report);
        }
        Err(error) => {
            let fault = format!("{}; without it nothing more can be checked", error.in_one_line());
            report.lines.push(VerifyLine::of("manifest", Err(fault)));
            return Ok(report);
        }
    };
    report.lines.push(VerifyLine::of("manifest", structure::compare_with_header(&manifest, header)));
    report.lines.push(checklist::not_empty(&manifest, header));
    report.lines.push(checklist::complete(&manifest));
    monitor.event(Event::Phase { name: "files" });
    report.lines.extend(structure::check_files(repository, &manifest, interrupt)?);
    monitor.event(Event::Phase { name: "objects" });
    let found = content::check(repository, &manifest, reading, monitor, interrupt)?;
    report.read_bytes = found.read_bytes;
    report.lines.push(VerifyLine::of("objects", found.objects));
    report.lines.extend(found.rows.map(|rows| VerifyLine::of("rows", rows)));
    report.lines.push(checklist::restores(repository, header));
    if let Reading::Sample(sample) = reading {
        report.seed = Some(sample.seed());
    }
    Ok(report)
}

/// The first of many, and how many more.
fn joined(items: &[String]) -> String {
    let mut text = items.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    if items.len() > SHOWN {
        let _ = write!(text, "; and {} more", items.len() - SHOWN);
    }
    text
}

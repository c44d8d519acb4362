//! Makes the receipt of a restore.

use super::Planned;
use super::journal::Journal;
use super::selection::Carried;
use super::verify::Verified;
use crate::error::Error;
use crate::repository::format::FORMAT_VERSION;
use crate::repository::format::manifest::Sections;
use crate::repository::format::receipt::{Outcome, Receipt};

/// The receipt of a restore that came to its end.
pub(super) fn receipt(
    planned: &Planned<'_>,
    journal: &Journal,
    verified: Verified,
    started_at: jiff::Timestamp,
) -> Receipt {
    let mut remarks = planned.plan.remarks.clone();
    remarks.extend(journal.problems());
    remarks.extend(journal.remarks());
    remarks.extend(verified.differences);
    let mut lines = verified.lines;
    lines.extend(journal.lines());
    if let Some(renaming) = &planned.renaming {
        remarks.iter_mut().for_each(|remark| *remark = renaming.told(remark));
        lines.iter_mut().for_each(|line| line.what = renaming.told(&line.what));
    }
    let mut seen = std::collections::BTreeSet::new();
    remarks.retain(|remark| seen.insert(remark.clone()));
    let equal = remarks.is_empty() && lines.iter().all(|line| line.equal);
    Receipt {
        format_version: FORMAT_VERSION,
        backup: planned.manifest.backup.clone(),
        target: planned.target.target.clone(),
        started_at,
        finished_at: jiff::Timestamp::now(),
        safety_backup: None,
        unchanged: false,
        outcome: if equal { Outcome::Equal } else { Outcome::Differs },
        checksums: planned.checksums,
        part: part(planned),
        lines,
        remarks,
        drill: None,
    }
}

/// The receipt of a restore that failed.
pub(super) fn failure(
    planned: &Planned<'_>,
    journal: &Journal,
    error: &Error,
    started_at: jiff::Timestamp,
) -> Receipt {
    let mut remarks = vec![error.in_one_line()];
    remarks.extend(journal.problems());
    Receipt {
        format_version: FORMAT_VERSION,
        backup: planned.manifest.backup.clone(),
        target: planned.target.target.clone(),
        started_at,
        finished_at: jiff::Timestamp::now(),
        safety_backup: None,
        unchanged: false,
        outcome: Outcome::Failed,
        checksums: planned.checksums,
        part: part(planned),
        lines: Vec::new(),
        remarks,
        drill: None,
    }
}

/// What was restored, where that was not all of the backup.
fn part(planned: &Planned<'_>) -> Vec<String> {
    let Planned { plan, steps, manifest, .. } = planned;
    let mut part: Vec<String> = plan.chosen.iter().chain(&plan.renamed).cloned().collect();
    if matches!(&steps.carried, Carried::AllBut(part) if part.by_request) {
        part.push("all but excluded tables".to_owned());
    }
    if manifest.selection.sections == Sections::All && !(steps.parts.definitions && steps.parts.rows) {
        part.push(if steps.parts.rows { "rows" } else { "definitions" }.to_owned());
    }
    part
}

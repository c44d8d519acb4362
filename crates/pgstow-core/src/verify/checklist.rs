//! What people ask of a backup beyond its bytes: does it hold anything, is anything missing, was
//! it ever restored?

use super::{Verdict, VerifyLine, joined};
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::manifest::{Manifest, Sections};
use crate::repository::format::receipt::{Outcome, Receipt, Verdict as Proof};

/// The line `not empty`: a backup of nothing is the disaster that nobody notices.
pub(super) fn not_empty(manifest: &Manifest, header: &Header) -> VerifyLine {
    let definitions: usize = match header.sections {
        Sections::DataOnly => 0,
        Sections::All | Sections::SchemaOnly => header.counts.values().sum(),
    };
    let large_objects = manifest.large_objects.list.len();
    let holds_something = definitions > 0 || !manifest.tables.is_empty() || large_objects > 0;
    let found = format!(
        "{definitions} objects of the database, {} rows, {} bytes of content",
        manifest.rows(),
        manifest.content_bytes()
    );
    VerifyLine::of("not empty", if holds_something { Ok(found) } else { Err(found) })
}

/// The line `complete`: whether all that should be in it was carried.
pub(super) fn complete(manifest: &Manifest) -> VerifyLine {
    let missing: Vec<String> = manifest
        .not_carried
        .iter()
        .filter(|item| !item.expected)
        .map(|item| format!("{}: {}", item.what, item.reason))
        .collect();
    if !missing.is_empty() {
        let found = format!("{} not carried: {}", missing.len(), joined(&missing));
        return VerifyLine::new("complete", Verdict::Open, found);
    }
    let found = match manifest.not_carried.len() {
        0 => "everything was carried".to_owned(),
        by_request => format!("nothing is missing; {by_request} left out as asked or as always"),
    };
    VerifyLine::new("complete", Verdict::Passed, found)
}

/// The line `restores`: what its receipts say.
pub(super) fn restores(repository: &Repository, header: &Header) -> VerifyLine {
    let line = |verdict, found: String| VerifyLine::new("restores", verdict, found);
    let found = match repository.receipts(&header.id) {
        Ok(found) => found,
        Err(error) => return line(Verdict::Failed, error.in_one_line()),
    };
    if !found.damaged.is_empty() {
        let damaged: Vec<String> =
            found.damaged.iter().map(|(name, why)| format!("receipt {name} {why}")).collect();
        // No backup depends on its receipts.
        return line(Verdict::Open, joined(&damaged));
    }
    if !found.closed.is_empty() {
        let closed = found.closed.len();
        return line(Verdict::Open, format!("{closed} receipts that no key at hand opens"));
    }
    let drill = last_drill(&found.receipts);
    let is_proof = |receipt: &&Receipt| receipt.outcome == Outcome::Equal && receipt.part.is_empty();
    let proven = found.receipts.iter().rev().find(is_proof);
    if let Some((failed, text)) = drill {
        // No damage was found here, but a drill found something.
        let verdict = if failed { Verdict::Open } else { Verdict::Passed };
        return line(verdict, format!("{} recorded; {text}", found.receipts.len()));
    }
    match proven {
        Some(receipt) => line(
            Verdict::Passed,
            format!(
                "{} recorded; equal at {} in {}",
                found.receipts.len(),
                receipt.finished_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
                receipt.target
            ),
        ),
        None if found.receipts.is_empty() => line(Verdict::Noted, "never restored".to_owned()),
        None => {
            let recorded = found.receipts.len();
            line(Verdict::Noted, format!("{recorded} recorded, none that found everything equal"))
        }
    }
}

/// The last drill: whether it failed, and in words.
fn last_drill(receipts: &[Receipt]) -> Option<(bool, String)> {
    let last = receipts.iter().rev().find(|receipt| receipt.drill.is_some())?;
    let at = last.finished_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    Some(match last.verdict() {
        Proof::Proven { exceptions: 0 } => (false, format!("last drill at {at}: proven")),
        Proof::Proven { exceptions } => {
            (false, format!("last drill at {at}: proven but for {exceptions} things left out"))
        }
        Proof::Failed | Proof::Nothing => {
            let why = last.remarks.first().map(|why| format!(": {why}")).unwrap_or_default();
            (true, format!("last drill at {at}: not proven{why}"))
        }
    })
}

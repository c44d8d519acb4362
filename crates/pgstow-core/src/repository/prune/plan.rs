//! Decides what goes, and reckons what that frees. Pure.

use std::collections::BTreeSet;

use super::survey::{HeaderFile, Survey};
use super::{Amount, BackupVerdict, PruneOptions, PrunePlan};
use crate::repository::format::header::Header;
use crate::repository::format::id::{BackupId, ObjectName};
use crate::retention::{self, Candidate};

/// Files that are named in a remark.
const NAMED: usize = 5;

/// What a prune would do, given what it saw.
pub(super) fn plan(survey: Survey, options: PruneOptions) -> PrunePlan {
    let verdicts = verdicts(&survey, &options);
    let (now, later) = amounts(&survey, &options, &verdicts);
    let remarks = remarks(&survey);
    PrunePlan { survey, options, verdicts, now, later, remarks }
}

fn verdicts(survey: &Survey, options: &PruneOptions) -> Vec<BackupVerdict> {
    let folders = survey.folders.by_id.values();
    let mut backups: Vec<(&Header, bool)> =
        folders.filter_map(|folder| Some((folder.good_header()?, folder.is_pinned))).collect();
    backups.sort_by(|(one, _), (other, _)| (other.snapshot_at, &other.id).cmp(&(one.snapshot_at, &one.id)));
    let candidates: Vec<Candidate> =
        backups.iter().map(|(header, pinned)| Candidate::of(header, *pinned)).collect();
    let judged = retention::judge(&candidates, &options.rules, &options.zone);
    let with_time = judged.into_iter().zip(&backups);
    with_time
        .map(|(verdict, (header, _))| {
            let chosen =
                options.environments.is_empty() || options.environments.contains(&header.environment);
            let (keep, reasons) = match chosen {
                false if !verdict.keep => (true, vec!["of an environment that was not named".to_owned()]),
                _ => (verdict.keep, verdict.reasons),
            };
            BackupVerdict { id: verdict.id, snapshot_at: header.snapshot_at, keep, reasons }
        })
        .collect()
}

/// What goes at once, and what goes later: what was condemned long enough ago, and all else that nobody
/// names, or will name.
fn amounts(survey: &Survey, options: &PruneOptions, verdicts: &[BackupVerdict]) -> (Amount, Amount) {
    let goes = |id: &BackupId| verdicts.iter().any(|verdict| verdict.id == *id && !verdict.keep);
    let staying = survey.folders.by_id.iter().filter(|(id, _)| !goes(id));
    let objects = staying.filter_map(|(_, folder)| folder.objects.as_ref());
    let named: BTreeSet<ObjectName> = objects.flat_map(|names| names.iter()).copied().collect();
    let is_due = |list: &str| {
        let list = survey.condemned.lists.get(list);
        list.is_some_and(|list| survey.age(list.written).is_some_and(|age| age >= options.grace))
    };
    let due = survey.lists.iter().filter(|(list, _)| is_due(list)).flat_map(|(_, names)| names);
    let due: BTreeSet<&ObjectName> = due.collect();
    let (mut now, mut later) = (Amount::default(), Amount::default());
    for object in survey.objects.objects.iter().filter(|object| !named.contains(&object.name)) {
        if options.grace.is_zero() || due.contains(&object.name) {
            now.add(object.bytes);
        } else {
            later.add(object.bytes);
        }
    }
    (now, later)
}

/// What prune leaves alone, in words.
fn remarks(survey: &Survey) -> Vec<String> {
    let mut remarks = Vec::new();
    for (id, folder) in &survey.folders.by_id {
        match &folder.header {
            Some(HeaderFile::Damaged(why)) => {
                remarks.push(format!("{id} is left alone: its header {why}"));
            }
            None if folder.has_manifest && folder.pending.is_empty() && !folder.is_pruned => {
                remarks.push(format!("{id} is left alone: it has a manifest and no header"));
            }
            _ => {}
        }
    }
    let foreign: Vec<&String> = survey
        .folders
        .foreign
        .iter()
        .chain(&survey.objects.foreign)
        .chain(&survey.condemned.foreign)
        .collect();
    for path in foreign.iter().take(NAMED) {
        remarks.push(format!("{path} is left alone: it is no file of a repository"));
    }
    if let more @ 1.. = foreign.len().saturating_sub(NAMED) {
        remarks.push(format!("{more} more files that belong to no repository are left alone"));
    }
    if survey.now.is_none() {
        remarks.push("this store tells no times, so no object is ever old enough to be deleted".to_owned());
    }
    remarks
}

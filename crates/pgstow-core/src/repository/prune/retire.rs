//! Lets backups go: a mark first, then a look at the runs that may build on them, then the header,
//! then the rest.

use super::survey::{Folder, Survey};
use super::{BackupVerdict, PruneReport};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::repository::format::id::BackupId;
use crate::repository::format::layout;
use crate::repository::open::{Repository, write};
use crate::repository::unfinished::name_in;

/// For people who find it.
const MARK: &str = "Retention lets this backup go: a prune removes this folder.\n";

/// Removes the backups whose verdict says so, and what an interrupted prune left of others. A verdict
/// that turns out to be wrong by now is changed.
pub(super) fn retire(
    repository: &Repository,
    survey: &Survey,
    verdicts: &mut [BackupVerdict],
    report: &mut PruneReport,
    interrupt: &Interrupt,
) -> Result<()> {
    take_back_marks(repository, survey, verdicts)?;
    let going: Vec<BackupId> =
        verdicts.iter().filter(|verdict| !verdict.keep).map(|verdict| verdict.id.clone()).collect();
    for id in &going {
        interrupt.check()?;
        write(repository.store(), &mark(id), MARK.as_bytes())?;
    }
    // Marks first, the look after: a run names what it builds on first, and looks for marks after.
    let folders = survey.look_again(repository)?;
    for verdict in verdicts.iter_mut().filter(|verdict| !verdict.keep) {
        interrupt.check()?;
        let Some(folder) = folders.by_id.get(&verdict.id) else { continue };
        match reason_to_stay(repository, survey, &folders, &verdict.id, folder) {
            Some(reason) => {
                repository.store().remove(&mark(&verdict.id))?;
                (verdict.keep, verdict.reasons) = (true, vec![reason]);
            }
            None => {
                remove(repository, &verdict.id, folder, report)?;
                report.retired.push(verdict.id.clone());
            }
        }
    }
    for (id, folder) in &folders.by_id {
        let is_half_gone = folder.is_pruned && folder.header.is_none() && !going.contains(id);
        let is_in_use = folders.live(survey, repository.timing().lease).any(|(of, _)| of == id);
        if is_half_gone && !is_in_use {
            interrupt.check()?;
            remove(repository, id, folder, report)?;
        }
    }
    Ok(())
}

/// Marks of earlier prunes that decided otherwise, and did not get to the header.
fn take_back_marks(repository: &Repository, survey: &Survey, verdicts: &[BackupVerdict]) -> Result<()> {
    for verdict in verdicts.iter().filter(|verdict| verdict.keep) {
        if survey.folders.by_id.get(&verdict.id).is_some_and(|folder| folder.is_pruned) {
            repository.store().remove(&mark(&verdict.id))?;
        }
    }
    Ok(())
}

fn mark(id: &BackupId) -> String {
    layout::backup_file(id, layout::PRUNED_FILE)
}

/// Why a marked backup stays after all.
fn reason_to_stay(
    repository: &Repository,
    survey: &Survey,
    folders: &super::survey::Folders,
    id: &BackupId,
    folder: &Folder,
) -> Option<String> {
    if folder.is_pinned {
        return Some("pinned".to_owned());
    }
    let judged = survey.folders.by_id.get(id).and_then(Folder::good_header).map(|header| header.checksum);
    let header = repository.header(id);
    if folder.header.is_some() && !header.is_ok_and(|header| Some(header.checksum) == judged) {
        return Some("its header is another one than a moment ago".to_owned());
    }
    let mut live = folders.live(survey, repository.timing().lease);
    live.find_map(|(run, pending)| match &pending.mark {
        Some(mark) if mark.bases.contains(id) => Some(format!("{run} builds on it")),
        Some(_) => None,
        None => Some(format!("{run} may build on it: its pending mark cannot be read")),
    })
}

/// Removes a folder: the header, then the manifest, then the rest, the mark last.
fn remove(repository: &Repository, id: &BackupId, folder: &Folder, report: &mut PruneReport) -> Result<()> {
    let store = repository.store();
    let path_of_folder = layout::backup_folder(id);
    for name in layout::PROOFS {
        store.remove(&layout::backup_file(id, name))?;
    }
    let mut is_empty = true;
    for file in &folder.files {
        let name = name_in(&file.path, &path_of_folder).unwrap_or_default();
        if store.size(&mark(id))?.is_none() {
            // Another prune was quicker, and the folder may be a new run's by now.
            return Ok(());
        }
        if is_ours(name) {
            store.remove(&file.path)?;
        } else if !layout::PROOFS.contains(&name) && name != layout::PRUNED_FILE {
            report.remarks.push(format!("{} is left alone: it is no file of a backup", file.path));
            is_empty = false;
        }
    }
    store.remove(&mark(id))?;
    if is_empty {
        store.remove_folder(&path_of_folder)?;
    }
    Ok(())
}

/// What a run may have written beside header and manifest.
fn is_ours(name: &str) -> bool {
    layout::is_file_name(name)
        || name == layout::ENDED_FILE
        || layout::progress_parts(name).is_some()
        || layout::is_pending_file(name)
}

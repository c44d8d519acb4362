//! Deletes what was condemned long enough ago.
//!
//! The mark of the sweep is written before the look at the backups: a run that commits later looks for
//! such marks after its manifest is visible. So either its objects are seen here and left, or it sees
//! the mark and fails. And no run of which the list is unknown is alive when the mark is written, so
//! none fails that was not silent for too long.

use std::collections::BTreeSet;
use std::time::Duration;

use super::survey::{Folders, Survey};
use super::{Amount, PruneReport};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::random;
use crate::repository::condemned::{Condemned, ListState};
use crate::repository::format::id::{ObjectName, RunTag};
use crate::repository::format::layout;
use crate::repository::open::{Repository, write};

/// For people who find it.
const SWEEPING: &str = "A prune deletes what the list of this name condemns, or began to.\n";
const SWEPT: &str =
    "What the list of this name condemned is deleted. It stays for a while: nobody uses these names again.\n";

/// Sweeps the lists that are older than the grace period, and removes those that were swept long ago.
pub(super) fn sweep(
    repository: &Repository,
    survey: &Survey,
    folders: &Folders,
    grace: Duration,
    report: &mut PruneReport,
    interrupt: &Interrupt,
) -> Result<()> {
    let condemned = Condemned::list(repository.store())?;
    let mut due = Vec::new();
    for (name, list) in &condemned.lists {
        interrupt.check()?;
        if list.swept {
            remove_if_old(repository, survey, name, list, report);
        } else if list.is_there {
            // What another prune condemned a moment ago is left to the next one.
            let is_due =
                survey.age(list.written).is_some_and(|age| age >= grace) && survey.lists.contains_key(name);
            if is_due && nobody_in_the_way(repository, survey, folders, name, report) {
                due.push(name.as_str());
            } else {
                wait(survey, name, report);
            }
        }
    }
    if due.is_empty() {
        return Ok(());
    }
    let sweep = Sweep { repository, survey, tag: RunTag(random::bytes()?) };
    for name in &due {
        write(repository.store(), &sweep.mark(name), SWEEPING.as_bytes())?;
    }
    // Marks first, the look after.
    let folders = survey.look_again(repository)?;
    let named = folders.named();
    for name in due {
        interrupt.check()?;
        if nobody_in_the_way(repository, survey, &folders, name, report) {
            sweep.list(name, &named, report, interrupt)?;
        } else {
            // Nothing of it was deleted by this run.
            repository.store().remove(&sweep.mark(name))?;
            wait(survey, name, report);
        }
    }
    Ok(())
}

/// One run's sweep.
struct Sweep<'a> {
    repository: &'a Repository,
    survey: &'a Survey,
    tag: RunTag,
}

impl Sweep<'_> {
    fn mark(&self, list: &str) -> String {
        layout::sweeping_mark(list, &self.tag)
    }

    fn list(
        &self,
        list: &str,
        named: &BTreeSet<ObjectName>,
        report: &mut PruneReport,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let store = self.repository.store();
        let names = self.survey.lists.get(list).map(Vec::as_slice).unwrap_or_default();
        let mut left = 0_u64;
        for name in names {
            if interrupt.is_triggered() {
                // All that this run asked to be deleted is deleted: it leaves nothing behind.
                store.remove(&self.mark(list))?;
                return Err(Error::interrupted());
            }
            if named.contains(name) {
                left += 1;
                continue;
            }
            if let Some(object) = self.survey.objects.get(name) {
                store.remove(&layout::object(name, self.repository.is_encrypted()))?;
                report.deleted.add(object.bytes);
            }
        }
        if left > 0 {
            report.remarks.push(format!("{left} objects that were condemned stay: backups came to use them"));
        }
        write(store, &layout::swept_mark(list), SWEPT.as_bytes())?;
        // Everything that this run asked to be deleted is deleted.
        Ok(store.remove(&self.mark(list))?)
    }
}

/// Whether every live run knows the list, so that none uses its names. Told when one does not.
fn nobody_in_the_way(
    repository: &Repository,
    survey: &Survey,
    folders: &Folders,
    list: &str,
    report: &mut PruneReport,
) -> bool {
    let mut live = folders.live(survey, repository.timing().lease);
    let ignorant = live.find(|(_, pending)| {
        pending.mark.as_ref().is_none_or(|mark| !mark.knows.iter().any(|known| known == list))
    });
    let Some((run, pending)) = ignorant else { return true };
    let who = pending
        .mark
        .as_ref()
        .map_or_else(String::new, |mark| format!(" (process {} on {})", mark.process, mark.host));
    let remark = format!("what was condemned waits for {run}, which is being made{who}");
    if !report.remarks.contains(&remark) {
        report.remarks.push(remark);
    }
    false
}

/// Counts what is still to be deleted of a list.
fn wait(survey: &Survey, list: &str, report: &mut PruneReport) {
    let amount = survey.amount(survey.lists.get(list).map(Vec::as_slice).unwrap_or_default());
    report.waiting.objects += amount.objects;
    report.waiting.bytes = report.waiting.bytes.saturating_add(amount.bytes);
}

/// Removes a list that was swept long ago: its marks first, so that no mark is without its list. A list
/// that somebody else began to sweep and never finished stays for ever: that run may be frozen, and
/// delete these names when it goes on.
fn remove_if_old(
    repository: &Repository,
    survey: &Survey,
    name: &str,
    list: &ListState,
    report: &mut PruneReport,
) {
    let age = survey.age(list.swept_at);
    let is_old = age.is_some_and(|age| age > repository.timing().tombstone);
    if !is_old || !list.sweeping.is_empty() {
        return;
    }
    let store = repository.store();
    let removed =
        store.remove(&layout::swept_mark(name)).and_then(|()| store.remove(&layout::condemned_list(name)));
    if let Err(error) = removed {
        report.failures.push(Error::from(error).in_one_line());
    }
}

impl Amount {
    /// Nothing.
    pub fn is_nothing(&self) -> bool {
        self.objects == 0
    }
}

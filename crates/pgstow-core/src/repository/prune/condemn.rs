//! Condemns objects that nobody names: from now on no run uses them.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::survey::{Folders, Survey, began_at, is_older};
use crate::error::Result;
use crate::random;
use crate::repository::condemned;
use crate::repository::format::id::{ObjectName, RunTag};
use crate::repository::open::Repository;

/// Writes a condemned list of what no backup names, is on no other list, and is older than the grace
/// period and every live run. Returns its name and content; nothing when there is no such object.
pub(super) fn condemn(
    repository: &Repository,
    survey: &Survey,
    folders: &Folders,
    grace: Duration,
) -> Result<Option<(String, Vec<ObjectName>)>> {
    let Some(before) = limit(repository, survey, folders, grace) else { return Ok(None) };
    let named = folders.named();
    let listed: BTreeSet<&ObjectName> = survey.lists.values().flatten().collect();
    let orphans = survey.objects.objects.iter().filter(|object| {
        !named.contains(&object.name) && !listed.contains(&object.name) && is_older(object, before)
    });
    let names: Vec<ObjectName> = orphans.map(|object| object.name).collect();
    if names.is_empty() {
        return Ok(None);
    }
    // The time in the name is for people.
    let name = condemned::new_name(jiff::Timestamp::now(), &RunTag(random::bytes()?));
    condemned::write_list(repository.store(), &name, &names)?;
    Ok(Some((name, names)))
}

/// What was written before this may be condemned; `None` when that cannot be known.
fn limit(repository: &Repository, survey: &Survey, folders: &Folders, grace: Duration) -> Option<SystemTime> {
    let mut limit = survey.now?.checked_sub(grace)?;
    for (_, pending) in folders.live(survey, repository.timing().lease) {
        limit = limit.min(began_at(pending)?);
    }
    Some(limit)
}

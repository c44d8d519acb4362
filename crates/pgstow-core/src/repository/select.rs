//! Which backup a selector means. Pure: looks at a listing only.

use super::format::header::{Header, SAFETY_LABEL};
use super::format::id::BackupId;
use super::listing::Listing;
use crate::error::{Error, ErrorKind, Result};

const CANDIDATES_SHOWN: usize = 8;
const NEAR_EDITS: usize = 3;

/// What a selector means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Selected {
    /// The backup.
    Backup(Box<Header>),
    /// The backup in this folder, whose header cannot be used.
    Damaged {
        folder: String,
        /// The newest usable backup that the selector would mean without it.
        instead: Option<BackupId>,
    },
}

/// `latest`, `ENV@latest`, `ENV@LABEL`, a full id or a unique prefix.
///
/// # Errors
/// Not found (with near names), ambiguous prefix (usage, with the candidates).
pub(super) fn resolve(listing: &Listing, selector: &str) -> Result<Selected> {
    if selector == "latest" {
        return newest(listing, selector, |id| !is_safety(listing, id));
    }
    match selector.split_once('@') {
        Some((environment, "latest")) => {
            newest(listing, selector, |id| id.environment() == environment && !is_safety(listing, id))
        }
        Some((environment, label)) => {
            newest(listing, selector, |id| id.environment() == environment && id.label() == Some(label))
        }
        None => by_id(listing, selector),
    }
}

/// Whether a backup is a safety backup: those are chosen by id, by label or by an undo only. Where the
/// header is damaged the label tells, which no other backup has.
fn is_safety(listing: &Listing, id: &BackupId) -> bool {
    match listing.backups.iter().find(|header| header.id == *id) {
        Some(header) => header.safety.is_some(),
        None => id.label() == Some(SAFETY_LABEL),
    }
}

/// The newest backup among those wanted.
///
/// A damaged header that may be of a newer one is not passed over: an older backup in its place
/// would be a silent surprise.
fn newest(listing: &Listing, selector: &str, wanted: impl Fn(&BackupId) -> bool) -> Result<Selected> {
    let found = listing.backups.iter().rev().find(|header| wanted(&header.id));
    let damaged = listing
        .damaged
        .iter()
        .filter_map(|(folder, _)| BackupId::new(folder.as_str()).ok())
        .filter(|id| wanted(id))
        .max_by(|one, other| one.time().cmp(other.time()));
    match (found, damaged) {
        (Some(header), Some(id)) if id.time() >= header.id.time() => {
            Ok(Selected::Damaged { folder: id.into(), instead: Some(header.id.clone()) })
        }
        (Some(header), _) => Ok(Selected::Backup(Box::new(header.clone()))),
        (None, Some(id)) => Ok(Selected::Damaged { folder: id.into(), instead: None }),
        (None, None) => Err(not_found(listing, selector)),
    }
}

fn by_id(listing: &Listing, selector: &str) -> Result<Selected> {
    let folders = || {
        let good = listing.backups.iter().map(|header| header.id.as_str());
        good.chain(listing.damaged.iter().map(|(folder, _)| folder.as_str()))
    };
    let mut matching: Vec<&str> = folders().filter(|folder| *folder == selector).collect();
    if matching.is_empty() && !selector.is_empty() {
        matching = folders().filter(|folder| folder.starts_with(selector)).collect();
    }
    matching.sort_by_key(|folder| BackupId::new(*folder).map(|id| id.time().to_owned()).unwrap_or_default());
    match matching.as_slice() {
        [] => Err(not_found(listing, selector)),
        [folder] => {
            let header = listing.backups.iter().find(|header| header.id.as_str() == *folder);
            Ok(match header {
                Some(header) => Selected::Backup(Box::new(header.clone())),
                None => Selected::Damaged { folder: (*folder).to_owned(), instead: None },
            })
        }
        several => Err(ambiguous(listing, selector, several)),
    }
}

fn ambiguous(listing: &Listing, selector: &str, candidates: &[&str]) -> Error {
    let mut error =
        Error::new(ErrorKind::Usage, format!("{selector:?} could be any of {} backups", candidates.len()));
    if listing.backups.iter().any(|header| header.environment.as_str() == selector) {
        error = error.hint(format!("{selector}@latest is the newest of {selector}"));
    }
    // The newest are the likeliest to be meant.
    for candidate in candidates.iter().rev().take(CANDIDATES_SHOWN) {
        error = error.hint(*candidate);
    }
    error
}

fn not_found(listing: &Listing, selector: &str) -> Error {
    let error = Error::new(ErrorKind::NotFound, format!("there is no backup {selector:?}"));
    if listing.unfinished.iter().any(|folder| folder == selector) {
        return error
            .why("its folder is there without a header: it is being made, was interrupted, or its header was lost")
            .hint("pgstow list shows the backups that are complete");
    }
    if listing.backups.is_empty() {
        return error.why("the repository holds no backup yet").hint("make one: pgstow backup");
    }
    let near = near_names(listing, selector);
    if near.is_empty() {
        let environments = environments(listing).join(", ");
        return error.hint(format!("there are backups of {environments}: pgstow list shows them"));
    }
    near.into_iter().fold(error, |error, name| error.hint(format!("did you mean {name}?")))
}

fn environments(listing: &Listing) -> Vec<&str> {
    let mut names: Vec<&str> = listing.backups.iter().map(|header| header.environment.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What might have been meant, nearest first: ids, or selectors of the environments.
fn near_names(listing: &Listing, selector: &str) -> Vec<String> {
    let mut names: Vec<String> = vec!["latest".to_owned()];
    for header in &listing.backups {
        names.push(header.id.to_string());
        names.push(format!("{}@latest", header.environment));
        names.extend(header.label.as_ref().map(|label| format!("{}@{label}", header.environment)));
    }
    names.sort_unstable();
    names.dedup();
    let mut near: Vec<(usize, String)> = names
        .into_iter()
        .map(|name| (edits(selector, &name), name))
        .filter(|(edits, _)| *edits <= NEAR_EDITS)
        .collect();
    near.sort_unstable();
    near.into_iter().take(CANDIDATES_SHOWN).map(|(_, name)| name).collect()
}

/// How many characters must be inserted, removed or replaced to turn one text into the other.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, left) in one.chars().enumerate() {
        let mut next = vec![line + 1];
        for (&right, pair) in other.iter().zip(row.windows(2)) {
            let [diagonal, above] = pair else { break };
            let before = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(left != right)).min(above + 1).min(before + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edits_count_insertions_removals_and_replacements() {
        let cases = [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
        ];
        for (one, other, expected) in cases {
            assert_eq!(edits(one, other), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn any_selector_of_an_empty_repository_is_not_found() {
        for selector in
            ["", "latest", "@", "@latest", "prod@", "prod@x@y", "prod_2026-11-21T09-12-04Z", "\0", "%"]
        {
            assert_eq!(
                resolve(&Listing::default(), selector).unwrap_err().kind(),
                ErrorKind::NotFound,
                "{selector:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn edits_are_symmetric_and_at_most_the_longer_text(one in ".{0,12}", other in ".{0,12}") {
            prop_assert_eq!(edits(&one, &other), edits(&other, &one));
            prop_assert!(edits(&one, &other) <= one.chars().count().max(other.chars().count()));
        }
    }
}

//! Differences between two inventories.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use super::canonical::canonical;
use super::{Inventory, Item, ObjectKind, Privilege};

/// One difference between what should be there and what is.
///
/// Its `Display` is one line for people; definitions are left out of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "difference", rename_all = "kebab-case")]
pub enum Difference {
    /// Expected and absent.
    Missing {
        /// Kind of the object.
        kind: ObjectKind,
        /// Its name.
        name: String,
    },
    /// Present and not expected.
    Extra {
        /// Kind of the object.
        kind: ObjectKind,
        /// Its name.
        name: String,
    },
    /// Both have it, defined differently.
    Changed {
        /// Kind of the object.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// Expected definition.
        expected: String,
        /// Actual definition.
        actual: String,
    },
    /// Both have it, owned by different roles.
    Owner {
        /// Kind of the object.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// Expected owner.
        expected: String,
        /// Actual owner.
        actual: String,
    },
    /// A privilege that should be there and is not.
    MissingPrivilege(Privilege),
    /// A privilege that is there and should not be.
    ExtraPrivilege(Privilege),
}

/// Whether definitions are compared: their text is only comparable between equal server majors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Existence and owners only.
    Names,
    /// Definitions too.
    Definitions,
}

/// Lists what differs, in the order of kinds and names, privileges last.
///
/// Privileges are compared at either depth, as sets. Who granted one is not compared: it only
/// decides who may revoke it, and a restore that maps a role grants in another role's name. What
/// an owner holds on its own object is compared as "the owner's", whoever that is, so an object
/// with another owner is one difference and not one for each privilege. Privileges on an object
/// that is itself missing or extra are not listed. At [`Depth::Names`] an owner's MAINTAIN is left
/// out where only one side knows that privilege (servers from 17 on).
pub fn compare(expected: &Inventory, actual: &Inventory, depth: Depth) -> Vec<Difference> {
    let mut differences = compare_items(&expected.items, &actual.items, depth);
    let privileges = compare_privileges(&expected.privileges, &actual.privileges, depth);
    let one_sided: HashSet<(&str, &str)> = differences.iter().filter_map(one_sided_target).collect();
    let remaining: Vec<Difference> = privileges
        .into_iter()
        .filter(|difference| privilege_target(difference).is_none_or(|target| !one_sided.contains(&target)))
        .collect();
    differences.extend(remaining);
    differences
}

/// What GRANT would call an object that only one side has.
fn one_sided_target(difference: &Difference) -> Option<(&str, &str)> {
    let (Difference::Missing { kind, name } | Difference::Extra { kind, name }) = difference else {
        return None;
    };
    Some((kind.grant_target()?, name))
}

fn privilege_target(difference: &Difference) -> Option<(&str, &str)> {
    match difference {
        Difference::MissingPrivilege(held) | Difference::ExtraPrivilege(held) => {
            let target = if held.column.is_some() { "TABLE" } else { held.target.as_str() };
            Some((target, &held.name))
        }
        _ => None,
    }
}

fn compare_items(expected: &[Item], actual: &[Item], depth: Depth) -> Vec<Difference> {
    fn key(item: &Item) -> (ObjectKind, &str) {
        (item.kind, &item.name)
    }
    let mut differences = Vec::new();
    merge(expected, actual, key, |pair| match pair {
        Pair::Left(item) => {
            differences.push(Difference::Missing { kind: item.kind, name: item.name.clone() });
        }
        Pair::Right(item) => {
            differences.push(Difference::Extra { kind: item.kind, name: item.name.clone() });
        }
        Pair::Both(expected, actual) => {
            differences.extend(owner_difference(expected, actual));
            if depth == Depth::Definitions {
                differences.extend(definition_difference(expected, actual));
            }
        }
    });
    differences
}

fn owner_difference(expected: &Item, actual: &Item) -> Option<Difference> {
    match (&expected.owner, &actual.owner) {
        (Some(expected_owner), Some(actual_owner)) if expected_owner != actual_owner => {
            Some(Difference::Owner {
                kind: expected.kind,
                name: expected.name.clone(),
                expected: expected_owner.clone(),
                actual: actual_owner.clone(),
            })
        }
        _ => None,
    }
}

fn definition_difference(expected: &Item, actual: &Item) -> Option<Difference> {
    let same = expected.definition == actual.definition
        || canonical(&expected.definition) == canonical(&actual.definition);
    (!same).then(|| Difference::Changed {
        kind: expected.kind,
        name: expected.name.clone(),
        expected: expected.definition.clone(),
        actual: actual.definition.clone(),
    })
}

/// Who holds a privilege, as far as two databases can be compared.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Holder<'a> {
    Owner,
    Public,
    Role(&'a str),
}

fn holder(privilege: &Privilege) -> Holder<'_> {
    match privilege.grantee.as_deref() {
        None => Holder::Public,
        Some(role) if role == privilege.owner => Holder::Owner,
        Some(role) => Holder::Role(role),
    }
}

const MAINTAIN: &str = "MAINTAIN";

fn compare_privileges(expected: &[Privilege], actual: &[Privilege], depth: Depth) -> Vec<Difference> {
    type Key<'a> = (&'a str, &'a str, Option<&'a str>, Holder<'a>, &'a str, bool);
    fn key(privilege: &Privilege) -> Key<'_> {
        (
            &privilege.target,
            &privilege.name,
            privilege.column.as_deref(),
            holder(privilege),
            &privilege.privilege,
            privilege.grantable,
        )
    }
    let knows_maintain = |side: &[Privilege]| side.iter().any(|held| held.privilege == MAINTAIN);
    let skip_maintain = depth == Depth::Names && knows_maintain(expected) != knows_maintain(actual);
    let counts =
        |held: &Privilege| !(skip_maintain && held.privilege == MAINTAIN && holder(held) == Holder::Owner);

    let mut differences = Vec::new();
    merge(expected, actual, key, |pair| match pair {
        Pair::Left(held) if counts(held) => differences.push(Difference::MissingPrivilege(held.clone())),
        Pair::Right(held) if counts(held) => differences.push(Difference::ExtraPrivilege(held.clone())),
        _ => {}
    });
    differences
}

enum Pair<'a, T> {
    Left(&'a T),
    Right(&'a T),
    Both(&'a T, &'a T),
}

/// Walks two lists by key, each key once. Lists from a server come sorted; sorting them again costs
/// one pass, and makes a list from elsewhere safe.
fn merge<'a, T, K: Ord>(
    left: &'a [T],
    right: &'a [T],
    key: fn(&'a T) -> K,
    mut visit: impl FnMut(Pair<'a, T>),
) {
    let sorted = |side: &'a [T]| {
        let mut side: Vec<&'a T> = side.iter().collect();
        side.sort_by_key(|entry| key(entry));
        side.dedup_by(|a, b| key(a) == key(b));
        side.into_iter().peekable()
    };
    let (mut left, mut right) = (sorted(left), sorted(right));
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(l), Some(r)) => key(l).cmp(&key(r)),
        };
        let from_left = left.next_if(|_| order.is_le());
        let from_right = right.next_if(|_| order.is_ge());
        match (from_left, from_right) {
            (Some(l), Some(r)) => visit(Pair::Both(l, r)),
            (Some(l), None) => visit(Pair::Left(l)),
            (None, Some(r)) => visit(Pair::Right(r)),
            (None, None) => return,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { kind, name } => write!(formatter, "{} is missing", object(*kind, name)),
            Self::Extra { kind, name } => {
                write!(formatter, "{} is there, and the backup does not have it", object(*kind, name))
            }
            Self::Changed { kind, name, .. } => write!(formatter, "{} differs", object(*kind, name)),
            Self::Owner { kind, name, expected, actual } => write!(
                formatter,
                "{} belongs to {} instead of {}",
                object(*kind, name),
                one_line(actual),
                one_line(expected)
            ),
            Self::MissingPrivilege(held) => write!(formatter, "{} lacks {}", grantee(held), held_text(held)),
            Self::ExtraPrivilege(held) => {
                write!(formatter, "{} has {}, which the backup does not give", grantee(held), held_text(held))
            }
        }
    }
}

fn object(kind: ObjectKind, name: &str) -> String {
    let link = if kind == ObjectKind::Comment { " on" } else { "" };
    format!("{kind}{link} {}", one_line(name))
}

fn grantee(held: &Privilege) -> String {
    held.grantee.as_deref().map_or_else(|| String::from("everyone (PUBLIC)"), one_line)
}

fn held_text(held: &Privilege) -> String {
    let option = if held.grantable { " with grant option" } else { "" };
    let target = match (&held.column, held.target.as_str()) {
        (Some(column), _) => format!("column {} of table {}", one_line(column), one_line(&held.name)),
        (None, "DATABASE") => String::from("the database"),
        (None, target) => format!("{} {}", target.to_lowercase(), one_line(&held.name)),
    };
    format!("{}{option} on {target}", held.privilege)
}

/// A name with its control characters escaped, so that a line stays one line.
fn one_line(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests;

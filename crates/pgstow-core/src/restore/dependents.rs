//! What of the target depends on what a part replaces: what the backup has, equal, is brought back;
//! anything else stands in the way.

use std::collections::{BTreeMap, BTreeSet};

use super::clear::{self, Cover, Outside};
use super::identity::{Identity, by_identity, of_entry};
use super::part::{Part, is_relation};
use super::selection::Graph;
use crate::error::{Error, Result};
use crate::inventory::catalog::Catalog;
use crate::inventory::name_parts;
use crate::inventory::{Inventory, Item, ObjectKind};
use crate::postgres::Connection;

/// Views on views on views: how often what depends on dependents is looked for.
const ROUNDS: usize = 32;

/// Adds to the part what depends on it at the target and is the same in the backup.
///
/// # Errors
/// The server's.
pub(super) fn bring_back(
    connection: &mut Connection,
    graph: &Graph<'_>,
    part: &mut Part,
    cover: impl Fn(&Part) -> Cover,
    (catalog, target): (&Catalog, &Inventory),
) -> Result<()> {
    let entries: BTreeMap<Identity, usize> =
        (0..graph.entries.len()).filter_map(|index| Some((of_entry(graph, index)?, index))).collect();
    let (ours, there) = (by_identity(&catalog.inventory), by_identity(target));
    for _ in 0..ROUNDS {
        let survey = clear::survey(connection, &cover(part)).map_err(Error::from)?;
        let before = part.brought_back.len();
        for outside in &survey.outside {
            let Some(identity) = &outside.identity else { continue };
            if identity.0 == ObjectKind::Publication {
                bring_membership_back(graph, part, identity);
                continue;
            }
            let pair = ours.get(identity).zip(there.get(identity));
            let same = pair.is_some_and(|(one, other)| is_same(one, other, &catalog.inventory, target));
            if let Some(entry) = entries.get(identity).filter(|_| same).map(|&index| &graph.entries[index]) {
                part.brought_back.insert(entry.id);
                part.returning.insert(identity.clone());
                if let (true, Some(schema)) = (is_relation(&entry.kind), &entry.schema) {
                    let name = (schema.clone(), entry.tag.clone());
                    part.there.remove(&name);
                    part.relations.insert(name);
                }
            }
        }
        if part.brought_back.len() == before {
            break;
        }
    }
    Ok(())
}

/// A table's membership in a publication that stays comes back as it is in the backup.
fn bring_membership_back(graph: &Graph<'_>, part: &mut Part, identity: &Identity) {
    let [schema, table, publication] = identity.1.as_slice() else { return };
    let tag = format!("{publication} {table}");
    let entry = graph.entries.iter().find(|entry| {
        entry.kind == "PUBLICATION TABLE" && entry.schema.as_ref() == Some(schema) && entry.tag == tag
    });
    if let Some(entry) = entry {
        part.brought_back.insert(entry.id);
        part.returning.insert(identity.clone());
    }
}

fn is_same(one: &Item, other: &Item, ours: &Inventory, target: &Inventory) -> bool {
    let privileges = |inventory: &Inventory| -> BTreeSet<(Option<String>, String, Option<String>, bool)> {
        let held = inventory.privileges.iter().filter(|held| held.name == one.name);
        held.map(|held| (held.column.clone(), held.privilege.clone(), held.grantee.clone(), held.grantable))
            .collect()
    };
    let brought = matches!(
        one.kind,
        ObjectKind::View
            | ObjectKind::MaterializedView
            | ObjectKind::Constraint
            | ObjectKind::Policy
            | ObjectKind::Trigger
    );
    brought
        && one.definition == other.definition
        && one.owner == other.owner
        && privileges(ours) == privileges(target)
}

/// The object that the server's `pg_identify_object` names so.
pub(super) fn identified(kind: &str, identity: &str) -> Option<Identity> {
    let kind = match kind {
        "view" => ObjectKind::View,
        "materialized view" => ObjectKind::MaterializedView,
        "table constraint" => ObjectKind::Constraint,
        "policy" => ObjectKind::Policy,
        "trigger" => ObjectKind::Trigger,
        "publication relation" => ObjectKind::Publication,
        _ => return None,
    };
    let between = match kind {
        ObjectKind::View | ObjectKind::MaterializedView => return Some((kind, name_parts(identity))),
        ObjectKind::Publication => " in publication ",
        _ => " on ",
    };
    let at = outside_quotes(identity, between)?;
    let (first, second) = (identity.get(..at)?, identity.get(at + between.len()..)?);
    // The server quotes all of these names but a publication's.
    let (relation, name) = match kind {
        ObjectKind::Publication => (first, second.to_owned()),
        _ => (second, name_parts(first).concat()),
    };
    let mut parts = name_parts(relation);
    parts.push(name);
    Some((kind, parts))
}

/// Where `text` first holds `wanted` outside of double quotes.
fn outside_quotes(text: &str, wanted: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, character)| {
        quoted ^= character == '"';
        (!quoted && text.get(at..)?.starts_with(wanted)).then_some(at)
    })
}

/// Whether something outside comes back.
pub(super) fn returns(outside: &Outside, returning: &BTreeSet<Identity>) -> bool {
    outside.identity.as_ref().is_some_and(|identity| returning.contains(identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_identifies_comes_apart_outside_of_quotes() {
        for (kind, text, parts) in [
            ("table constraint", "\"a on b\" on public.\"t on u\"", ["public", "t on u", "a on b"]),
            ("policy", "mine on s.t", ["s", "t", "mine"]),
            ("publication relation", "s.t in publication the \"P\"", ["s", "t", "the \"P\""]),
        ] {
            assert_eq!(identified(kind, text).unwrap().1, parts, "{text}");
        }
        assert_eq!(identified("view", "s.\"v.w\"").unwrap().1, ["s", "v.w"]);
        assert_eq!(identified("function", "s.f(integer)"), None);
    }
}

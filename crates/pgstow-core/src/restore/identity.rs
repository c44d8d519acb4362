//! Which entry of an archive and which item of an inventory are the same object. Pure.

use std::collections::BTreeMap;

use super::part::is_relation;
use super::plan::kind_of;
use super::selection::Graph;
use crate::inventory::name_parts;
use crate::inventory::{Inventory, Item, ObjectKind};

/// An object by kind and the parts of its name, unquoted: schema, relation, name.
pub(super) type Identity = (ObjectKind, Vec<String>);

/// The object that an entry makes; `None` for kinds that are told apart in other ways.
pub(super) fn of_entry(graph: &Graph<'_>, index: usize) -> Option<Identity> {
    let entry = graph.entries.get(index)?;
    let kind = kind_of(&entry.kind)?;
    let Some(schema) = entry.schema.clone() else { return Some((kind, vec![entry.tag.clone()])) };
    let parts = match kind {
        ObjectKind::Schema | ObjectKind::Extension => vec![entry.tag.clone()],
        ObjectKind::Function | ObjectKind::Procedure | ObjectKind::Aggregate => {
            let (name, arguments) = entry.tag.split_once('(').unwrap_or((&entry.tag, ""));
            vec![schema, name.to_owned(), signature(kind, arguments)]
        }
        ObjectKind::Constraint | ObjectKind::Trigger | ObjectKind::Rule | ObjectKind::Policy => {
            let (relation, name) = graph.dependencies(index).find_map(|dependency| {
                let owner = graph.entries.get(dependency)?;
                let is_owner = is_relation(&owner.kind) || owner.kind == "DOMAIN";
                let same = is_owner && owner.schema == entry.schema;
                let name = entry.tag.strip_prefix(owner.tag.as_str())?.strip_prefix(' ')?;
                same.then(|| (owner.tag.clone(), name.to_owned()))
            })?;
            vec![schema, relation, name]
        }
        _ => vec![schema, entry.tag.clone()],
    };
    Some((kind, parts))
}

/// The object that an item of an inventory describes.
pub(super) fn of_item(item: &Item) -> Identity {
    of_name(item.kind, &item.name)
}

/// The object of a kind with this SQL identity.
pub(super) fn of_name(kind: ObjectKind, name: &str) -> Identity {
    let is_routine = matches!(kind, ObjectKind::Function | ObjectKind::Procedure | ObjectKind::Aggregate);
    let (name, arguments) = if is_routine { apart(name) } else { (name, "") };
    let mut parts = name_parts(name);
    if is_routine {
        parts.push(signature(kind, arguments));
    }
    (kind, parts)
}

/// The items of an inventory by identity.
pub(super) fn by_identity(inventory: &Inventory) -> BTreeMap<Identity, &Item> {
    inventory.items.iter().map(|item| (of_item(item), item)).collect()
}

/// A routine's name and what follows the bracket after it, outside of quotes.
fn apart(name: &str) -> (&str, &str) {
    let mut quoted = false;
    let bracket = name.find(|character| {
        quoted ^= character == '"';
        character == '(' && !quoted
    });
    match bracket {
        Some(at) => (name.get(..at).unwrap_or(name), name.get(at + 1..).unwrap_or_default()),
        None => (name, ""),
    }
}

/// Argument types as both sides write them; aggregates write them in too many ways.
fn signature(kind: ObjectKind, arguments: &str) -> String {
    if kind == ObjectKind::Aggregate {
        return String::new();
    }
    arguments.strip_suffix(')').unwrap_or(arguments).replace(", ", ",")
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::sample;
    use super::*;

    fn item(kind: ObjectKind, name: &str) -> Item {
        Item { kind, name: name.into(), owner: None, definition: String::new() }
    }

    #[test]
    fn entries_and_items_of_the_same_object_have_the_same_identity() {
        let entries = vec![
            sample(1, "TABLE", "my orders", &[]),
            sample(2, "FK CONSTRAINT", "my orders the key", &[1]),
            sample(3, "FUNCTION", "Total(integer, public.\"Mood\")", &[]),
            sample(4, "SCHEMA", "public", &[]),
            sample(5, "INDEX", "by.day", &[1]),
        ];
        let graph = Graph::new(&entries);
        let items = [
            item(ObjectKind::Table, "public.\"my orders\""),
            item(ObjectKind::Constraint, "public.\"my orders\".\"the key\""),
            item(ObjectKind::Function, "public.\"Total\"(integer, public.\"Mood\")"),
            item(ObjectKind::Schema, "public"),
            item(ObjectKind::Index, "public.\"by.day\""),
        ];
        for (index, item) in items.iter().enumerate() {
            assert_eq!(of_entry(&graph, index), Some(of_item(item)));
        }
    }
}

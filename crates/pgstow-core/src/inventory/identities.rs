//! Names of objects taken apart, and the partition trees that definitions tell of.

use std::collections::BTreeMap;

use super::{Inventory, ObjectKind};

/// A relation by schema and name, unquoted.
type RelationName = (String, String);

/// The parts of a dotted SQL name, unquoted: `public."a.b"` gives `public` and `a.b`.
pub(crate) fn name_parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                parts.last_mut().expect("there is always a part").push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            other => parts.last_mut().expect("there is always a part").push(other),
        }
    }
    parts
}

/// Schema and name of a relation; `None` where the name has not just these two parts.
pub(crate) fn relation_name(identity: &str) -> Option<RelationName> {
    <[String; 2]>::try_from(name_parts(identity)).ok().map(|[schema, name]| (schema, name))
}

/// What `text` begins with up to the first blank outside of quotes.
pub(crate) fn leading_name(text: &str) -> &str {
    let mut quoted = false;
    let end = text.find(|character| {
        quoted ^= character == '"';
        character == ' ' && !quoted
    });
    text.get(..end.unwrap_or(text.len())).unwrap_or(text)
}

/// The table that each partition belongs to.
pub(crate) fn parents(inventory: &Inventory) -> BTreeMap<RelationName, RelationName> {
    let tables = inventory.items.iter().filter(|item| item.kind == ObjectKind::Table);
    let partitions = tables.filter_map(|item| {
        let parent = item.definition.lines().find_map(|line| line.strip_prefix("partition of "))?;
        Some((relation_name(&item.name)?, relation_name(leading_name(parent))?))
    });
    partitions.collect()
}

/// The top of the tree of each partition, by the table that each belongs to.
pub(crate) fn tops(parents: &BTreeMap<RelationName, RelationName>) -> BTreeMap<RelationName, RelationName> {
    let top = |partition: &RelationName| {
        let mut top = partition;
        // A tree has no circles; a damaged text may say so.
        for _ in 0..parents.len() {
            match parents.get(top) {
                Some(parent) => top = parent,
                None => break,
            }
        }
        (partition.clone(), top.clone())
    };
    parents.keys().map(top).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Item;

    #[test]
    fn names_come_apart_at_dots_outside_quotes() {
        assert_eq!(name_parts("public.t"), ["public", "t"]);
        assert_eq!(name_parts("\"a.b\".\"say \"\"hi\"\"\".c"), ["a.b", "say \"hi\"", "c"]);
        assert_eq!(name_parts("plain"), ["plain"]);
    }

    #[test]
    fn partitions_belong_to_the_top_of_their_tree() {
        let item = |name: &str, definition: &str| Item {
            kind: ObjectKind::Table,
            name: name.into(),
            owner: None,
            definition: definition.into(),
        };
        let inventory = Inventory {
            items: vec![
                item("public.\"a b\"", "partitioned table\npartition by LIST (x)"),
                item("public.m", "table\npartition of public.\"a b\" FOR VALUES IN (1)"),
                item("public.l", "table\npartition of public.m FOR VALUES IN (1)"),
                item("public.c", "table\ninherits public.m"),
            ],
            privileges: Vec::new(),
        };
        let table = |name: &str| ("public".to_owned(), name.to_owned());
        let found = tops(&parents(&inventory));
        assert_eq!(found.get(&table("l")), Some(&table("a b")));
        assert_eq!(found.get(&table("m")), Some(&table("a b")));
        assert_eq!(found.len(), 2);
    }
}

//! What the texts of an inventory say of the keys of tables. Pure.

use super::TableName;
use super::report::KeyKind;
use crate::inventory::{Inventory, ObjectKind, leading_name, name_parts, relation_name};

/// What tells the rows of a table apart: its primary key, else a unique constraint or index of
/// columns alone; each with its columns.
pub(super) fn keys(inventory: &Inventory, table: &TableName) -> Vec<(KeyKind, Vec<String>)> {
    let mut found = Vec::new();
    for item in &inventory.items {
        let first = item.definition.lines().next().unwrap_or_default();
        match item.kind {
            ObjectKind::Constraint if belongs(&item.name, table) => {
                if let Some(list) = first.strip_prefix("PRIMARY KEY (") {
                    found.extend(column_list(list).map(|columns| (KeyKind::PrimaryKey, columns)));
                } else if let Some(list) = first.strip_prefix("UNIQUE (") {
                    found.extend(column_list(list).map(|columns| (KeyKind::Unique, columns)));
                }
            }
            ObjectKind::Index if first.starts_with("CREATE UNIQUE INDEX ") => {
                let on = first.split_once(" ON ").map(|(_, on)| on.strip_prefix("ONLY ").unwrap_or(on));
                let Some(on) = on else { continue };
                let own = leading_name(on);
                let list = on.get(own.len()..).and_then(|rest| rest.strip_prefix(" USING btree ("));
                if relation_name(own).as_ref() == Some(table)
                    && let Some(list) = list.filter(|list| !list.contains(" WHERE "))
                {
                    found.extend(column_list(list).map(|columns| (KeyKind::Unique, columns)));
                }
            }
            _ => {}
        }
    }
    found.sort_by_key(|(kind, _)| *kind != KeyKind::PrimaryKey);
    found
}

fn belongs(constraint: &str, table: &TableName) -> bool {
    match name_parts(constraint).as_slice() {
        [schema, name, _] => *schema == table.0 && *name == table.1,
        _ => false,
    }
}

/// The names in `a, "B c")…`; `None` where an entry is more than a name.
fn column_list(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))?;
                (rest.get(..end)?.to_owned(), rest.get(end..)?)
            }
        };
        names.push(name);
        match after.strip_prefix(", ") {
            Some(next) => rest = next,
            None => return after.starts_with(')').then_some(names),
        }
    }
}

/// A name up to its closing quote, and what follows.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Item;

    fn item(kind: ObjectKind, name: &str, definition: &str) -> Item {
        Item { kind, name: name.into(), owner: None, definition: definition.into() }
    }

    fn table(name: &str) -> TableName {
        ("public".into(), name.into())
    }

    #[test]
    fn keys_are_read_from_definitions_however_their_columns_are_called() {
        let inventory = Inventory {
            items: vec![
                item(ObjectKind::Constraint, "public.t.u", "UNIQUE (a)"),
                item(ObjectKind::Constraint, "public.t.pk", "PRIMARY KEY (id, \"A, b\"\")\")\nwith x"),
                item(ObjectKind::Constraint, "public.t.range", "PRIMARY KEY (id, at WITHOUT OVERLAPS)"),
                item(ObjectKind::Constraint, "public.other.pk", "PRIMARY KEY (no)"),
                item(ObjectKind::Index, "public.i", "CREATE UNIQUE INDEX i ON public.t USING btree (b, c)"),
                item(
                    ObjectKind::Index,
                    "public.e",
                    "CREATE UNIQUE INDEX e ON public.t USING btree (lower(b))",
                ),
                item(
                    ObjectKind::Index,
                    "public.p",
                    "CREATE UNIQUE INDEX p ON public.t USING btree (b) WHERE (c)",
                ),
                item(ObjectKind::Index, "public.d", "CREATE UNIQUE INDEX d ON public.t USING btree (b DESC)"),
            ],
            privileges: Vec::new(),
        };
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(
            keys(&inventory, &table("t")),
            [
                (KeyKind::PrimaryKey, names(&["id", "A, b\")"])),
                (KeyKind::Unique, names(&["a"])),
                (KeyKind::Unique, names(&["b", "c"])),
            ]
        );
    }
}

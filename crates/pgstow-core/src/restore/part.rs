//! Which part of a backup is restored: patterns of tables and schemas, narrowed to what the backup
//! carries. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::identity::Identity;
use super::selection::{Carried, TableName};
use super::target::TargetState;
use crate::archive::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::inventory::catalog::Catalog;
use crate::inventory::{Inventory, ObjectKind, name_parts, parents, relation_name, tops};
use crate::pattern::{Candidate, Choice, Patterns};
use crate::repository::format::manifest::{Manifest, Selection};

/// Which part of a backup to restore; nothing given means all of it. Patterns are those of a
/// backup: `name` or `schema.name`, `*` and `?` are wildcards, double quotes make a part literal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSelection {
    /// Tables, and views, sequences and the like, by name.
    pub tables: Vec<String>,
    /// Schemas with all that is in them.
    pub schemas: Vec<String>,
    /// Tables that are left out; they win.
    pub exclude_tables: Vec<String>,
}

impl RestoreSelection {
    /// Whether all of the backup is meant.
    pub fn is_everything(&self) -> bool {
        self.tables.is_empty() && self.schemas.is_empty() && self.exclude_tables.is_empty()
    }

    /// # Errors
    /// Usage: a pattern that is not valid.
    pub(super) fn patterns(&self) -> Result<Patterns> {
        Patterns::parse(&self.tables, &self.exclude_tables, &[])?.with_schemas(&self.schemas)
    }
}

/// The chosen part of a backup, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// Chosen tables, and relations of other kinds that were named.
    pub(super) relations: BTreeSet<TableName>,
    /// Schemas of which everything comes, but for tables that are not among `relations`.
    pub(super) schemas: BTreeSet<String>,
    /// Relations of the target that stay: what is restored may refer to them.
    pub(super) there: BTreeSet<TableName>,
    /// Publications of the target.
    pub(super) publications: BTreeSet<String>,
    /// What depends at the target on something that is replaced, and is brought back from the backup:
    /// ids of entries.
    pub(super) brought_back: BTreeSet<i32>,
    /// The same by identity.
    pub(super) returning: BTreeSet<Identity>,
    /// It was chosen for this restore, and not when the backup was made.
    pub(super) by_request: bool,
}

impl Part {
    /// Tables that were asked for, and nothing else.
    pub(crate) fn of_tables(relations: BTreeSet<TableName>) -> Self {
        Self { relations, by_request: true, ..Self::default() }
    }

    /// Whether the entry's object was chosen itself.
    pub(super) fn names(&self, entry: &Entry) -> bool {
        if self.brought_back.contains(&entry.id) {
            return true;
        }
        match (entry.kind.as_str(), &entry.schema) {
            ("SCHEMA", _) => self.schemas.contains(&entry.tag),
            ("TABLE", Some(schema)) => self.has_relation(schema, &entry.tag),
            ("ACL" | "DEFAULT ACL" | "PUBLICATION TABLE" | "PUBLICATION TABLES IN SCHEMA", _) => false,
            (kind, Some(schema)) => {
                self.schemas.contains(schema) || is_relation(kind) && self.has_relation(schema, &entry.tag)
            }
            _ => false,
        }
    }

    /// Whether the relation was chosen by name.
    pub(super) fn has_relation(&self, schema: &str, name: &str) -> bool {
        self.relations.contains(&(schema.to_owned(), name.to_owned()))
    }

    /// Why something that this part needs and that does not come is not there.
    pub(super) fn reason(&self) -> &'static str {
        if self.by_request {
            "which is neither chosen nor at the target"
        } else {
            "which the backup does not carry"
        }
    }
}

/// Kinds of relations in an archive.
pub(super) fn is_relation(kind: &str) -> bool {
    matches!(kind, "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" | "SEQUENCE")
}

/// Leaves in the manifest what was asked for; what was chosen, when that is not the whole backup.
///
/// # Errors
/// Usage: a pattern that is not valid or matches nothing, with near names; nothing is left.
pub(super) fn narrow(
    manifest: &mut Manifest,
    catalog: &Catalog,
    entries: &[Entry],
    selection: &RestoreSelection,
) -> Result<Option<Narrowed>> {
    if selection.is_everything() {
        return Ok(None);
    }
    let patterns = selection.patterns()?;
    let roots = roots(manifest, &catalog.inventory);
    let candidate = |schema: &str, name: &str| Candidate {
        schema: schema.to_owned(),
        name: name.to_owned(),
        root: roots.get(&(schema.to_owned(), name.to_owned())).cloned(),
    };
    let tables: Vec<Candidate> =
        manifest.tables.iter().map(|table| candidate(&table.schema, &table.name)).collect();
    let others: Vec<Candidate> = entries
        .iter()
        .filter(|entry| entry.kind != "TABLE" && is_relation(&entry.kind))
        .filter_map(|entry| Some(candidate(entry.schema.as_deref()?, &entry.tag)))
        .collect();
    let all: Vec<Candidate> = tables.iter().chain(&others).cloned().collect();
    let nothing_changed = |error: Error| error.context(&manifest.backup);
    patterns.require_matches(&all).map_err(nothing_changed)?;
    let schemas = schemas(catalog, entries, &tables);
    patterns.require_schemas(schemas.iter().map(String::as_str)).map_err(nothing_changed)?;

    let is_chosen = |candidate: &Candidate| patterns.choose(candidate) != Choice::Leave;
    let of = |candidate: &Candidate| (candidate.schema.clone(), candidate.name.clone());
    let chosen: BTreeSet<TableName> = tables.iter().filter(|table| is_chosen(table)).map(of).collect();
    let in_archive = entries.iter().filter(|entry| entry.kind == "TABLE");
    let in_archive = in_archive.filter_map(|entry| Some((entry.schema.clone()?, entry.tag.clone())));
    let all_tables: BTreeSet<TableName> = tables.iter().map(of).chain(in_archive).collect();
    let spared = all_tables.difference(&chosen).cloned().collect();
    let is_limited = patterns.is_limited();
    let mut relations = chosen.clone();
    if is_limited {
        relations.extend(others.iter().filter(|other| is_chosen(other)).map(of));
    }
    let schemas: BTreeSet<String> =
        schemas.into_iter().filter(|schema| patterns.takes_schema(schema)).collect();
    if relations.is_empty() && schemas.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "nothing is left to restore".to_owned())
            .why("every table that is chosen is excluded too"));
    }
    manifest.tables.retain(|table| chosen.contains(&(table.schema.clone(), table.name.clone())));
    if is_limited {
        manifest.large_objects.list.clear();
        manifest.large_objects.chunks.clear();
    }
    Ok(Some(Narrowed { relations, schemas, is_limited, spared }))
}

/// What was asked for, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Narrowed {
    relations: BTreeSet<TableName>,
    schemas: BTreeSet<String>,
    /// Only what is named comes; otherwise all but what is excluded.
    is_limited: bool,
    /// Tables that were left out, or that the backup does not carry: they are not touched.
    pub(super) spared: BTreeSet<TableName>,
}

/// What a restore carries: as the backup was made, and as was asked for.
pub(super) fn carried(
    manifest: &Manifest,
    narrowed: Option<&Narrowed>,
    target: &TargetState,
    clean: bool,
) -> Carried {
    let Selection { tables, exclude_tables, .. } = &manifest.selection;
    let names: BTreeSet<TableName> =
        manifest.tables.iter().map(|table| (table.schema.clone(), table.name.clone())).collect();
    let is_limited = narrowed.is_some_and(|narrowed| narrowed.is_limited);
    if tables.is_empty() && exclude_tables.is_empty() && narrowed.is_none() {
        return Carried::Everything;
    }
    let nothing = BTreeSet::new();
    let spared = narrowed.map_or(&nothing, |narrowed| &narrowed.spared);
    let mut part = match narrowed {
        Some(narrowed) if narrowed.is_limited => Part {
            relations: narrowed.relations.clone(),
            schemas: narrowed.schemas.clone(),
            ..Part::default()
        },
        _ => Part { relations: names, ..Part::default() },
    };
    part.publications.clone_from(&target.publications);
    part.by_request = narrowed.is_some();
    let stays = |name: &TableName| {
        let replaced = part.relations.contains(name) || part.schemas.contains(&name.0);
        !clean || spared.contains(name) || !replaced
    };
    let there = relations_of(target).filter(stays);
    if is_limited || !tables.is_empty() {
        part.there = there.collect();
        return Carried::Only(part);
    }
    part.there = there.filter(|name| spared.contains(name)).collect();
    Carried::AllBut(part)
}

/// What a backup carries, whatever the target.
pub(crate) fn carried_by(manifest: &Manifest) -> Carried {
    carried(manifest, None, &TargetState::default(), true)
}

/// Tables, views and sequences of the target.
fn relations_of(target: &TargetState) -> impl Iterator<Item = TableName> {
    let items = target.inventory.items.iter().filter(|item| {
        matches!(
            item.kind,
            ObjectKind::Table
                | ObjectKind::View
                | ObjectKind::MaterializedView
                | ObjectKind::ForeignTable
                | ObjectKind::Sequence
        )
    });
    items.filter_map(|item| relation_name(&item.name)).chain(target.tables.keys().cloned())
}

/// Schemas of a backup.
fn schemas(catalog: &Catalog, entries: &[Entry], tables: &[Candidate]) -> BTreeSet<String> {
    let items = catalog.inventory.items.iter().filter(|item| item.kind == ObjectKind::Schema);
    let named = items.map(|item| name_parts(&item.name).concat());
    let used = entries.iter().filter_map(|entry| entry.schema.clone());
    named.chain(used).chain(tables.iter().map(|table| table.schema.clone())).collect()
}

/// The top of each partition's tree.
fn roots(manifest: &Manifest, inventory: &Inventory) -> BTreeMap<TableName, TableName> {
    let mut parents = parents(inventory);
    for table in &manifest.tables {
        if let Some(root) = &table.load_through {
            parents.entry((table.schema.clone(), table.name.clone())).or_insert_with(|| root.clone());
        }
    }
    tops(&parents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Item;

    #[test]
    fn partitions_know_the_top_of_their_tree_whatever_it_is_called() {
        let item = |name: &str, definition: &str| Item {
            kind: ObjectKind::Table,
            name: name.into(),
            owner: None,
            definition: definition.into(),
        };
        let inventory = Inventory {
            items: vec![
                item("\"a b\".\"the \"\"top\"\"\"", "partitioned table"),
                item("public.middle", "table\npartition of \"a b\".\"the \"\"top\"\"\" FOR VALUES IN (1)"),
                item("public.leaf", "table\npartition of public.middle DEFAULT"),
                item("public.child", "table\ninherits public.other"),
            ],
            privileges: Vec::new(),
        };
        let manifest = super::super::guards::tests::manifest(150_000, "UTF8");
        let roots = roots(&manifest, &inventory);
        let top = ("a b".to_owned(), "the \"top\"".to_owned());
        for leaf in ["middle", "leaf"] {
            assert_eq!(roots.get(&("public".to_owned(), leaf.to_owned())), Some(&top), "{leaf}");
        }
        assert_eq!(roots.get(&("public".to_owned(), "child".to_owned())), None);
    }
}

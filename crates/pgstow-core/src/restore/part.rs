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
use crate::repository::format::manifest::{Manifest, Selection, Table};

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
    let tables: BTreeSet<TableName> =
        manifest.tables.iter().map(|table| (table.schema.clone(), table.name.clone())).collect();
    let names = Names {
        whose: manifest.backup.to_string(),
        schemas: schemas(catalog, entries, &tables),
        tables,
        roots: roots(manifest, &catalog.inventory),
        entries,
    };
    let narrowed = names.narrow(selection)?;
    let is_chosen = |table: &Table| narrowed.tables.contains(&(table.schema.clone(), table.name.clone()));
    manifest.tables.retain(is_chosen);
    if narrowed.is_limited {
        manifest.large_objects.list.clear();
        manifest.large_objects.chunks.clear();
    }
    Ok(Some(narrowed))
}

/// What there is to choose from, by name.
pub(super) struct Names<'n> {
    /// The backup or the file, for messages.
    pub(super) whose: String,
    pub(super) tables: BTreeSet<TableName>,
    pub(super) schemas: BTreeSet<String>,
    /// The top of each partition's tree.
    pub(super) roots: BTreeMap<TableName, TableName>,
    pub(super) entries: &'n [Entry],
}

impl Names<'_> {
    fn candidate(&self, name: &TableName) -> Candidate {
        let root = self.roots.get(name).cloned();
        Candidate { schema: name.0.clone(), name: name.1.clone(), root }
    }

    /// What patterns choose.
    ///
    /// # Errors
    /// Usage: a pattern that is not valid or matches nothing, with near names; nothing is left.
    pub(super) fn narrow(&self, selection: &RestoreSelection) -> Result<Narrowed> {
        let patterns = selection.patterns()?;
        let of_kind = |entry: &&Entry| entry.kind != "TABLE" && is_relation(&entry.kind);
        let named = |entry: &Entry| Some((entry.schema.clone()?, entry.tag.clone()));
        let others: Vec<TableName> = self.entries.iter().filter(of_kind).filter_map(named).collect();
        let all: Vec<Candidate> =
            self.tables.iter().chain(&others).map(|name| self.candidate(name)).collect();
        let nothing_changed = |error: Error| error.context(&self.whose);
        patterns.require_matches(&all).map_err(nothing_changed)?;
        patterns.require_schemas(self.schemas.iter().map(String::as_str)).map_err(nothing_changed)?;

        let is_chosen = |name: &&TableName| patterns.choose(&self.candidate(name)) != Choice::Leave;
        let tables: BTreeSet<TableName> = self.tables.iter().filter(is_chosen).cloned().collect();
        let in_archive = self.entries.iter().filter(|entry| entry.kind == "TABLE").filter_map(named);
        let all_tables: BTreeSet<TableName> = self.tables.iter().cloned().chain(in_archive).collect();
        let spared = all_tables.difference(&tables).cloned().collect();
        let is_limited = patterns.is_limited();
        let mut relations = tables.clone();
        if is_limited {
            relations.extend(others.iter().filter(is_chosen).cloned());
        }
        let schemas: BTreeSet<String> =
            self.schemas.iter().filter(|schema| patterns.takes_schema(schema)).cloned().collect();
        if relations.is_empty() && schemas.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "nothing is left to restore".to_owned())
                .why("every table that is chosen is excluded too"));
        }
        Ok(Narrowed { tables, relations, schemas, is_limited, spared })
    }
}

/// What was asked for, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Narrowed {
    /// Chosen tables.
    pub(super) tables: BTreeSet<TableName>,
    /// The same with relations of other kinds that were named.
    pub(super) relations: BTreeSet<TableName>,
    pub(super) schemas: BTreeSet<String>,
    /// Only what is named comes; otherwise all but what is excluded.
    is_limited: bool,
    /// Tables that were left out, or that the backup does not carry: they are not touched.
    pub(super) spared: BTreeSet<TableName>,
}

impl Narrowed {
    /// What a restore carries of something whole.
    pub(super) fn carried(&self, target: &TargetState, clean: bool) -> Carried {
        let schemas = if self.is_limited { self.schemas.clone() } else { BTreeSet::new() };
        let part = Part { relations: self.relations.clone(), schemas, by_request: true, ..Part::default() };
        beside(part, &self.spared, self.is_limited, target, clean)
    }
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
    part.by_request = narrowed.is_some();
    beside(part, spared, is_limited || !tables.is_empty(), target, clean)
}

/// A part, with what of the target stays beside it.
fn beside(
    mut part: Part,
    spared: &BTreeSet<TableName>,
    is_limited: bool,
    target: &TargetState,
    clean: bool,
) -> Carried {
    part.publications.clone_from(&target.publications);
    let stays = |name: &TableName| {
        let replaced = part.relations.contains(name) || part.schemas.contains(&name.0);
        !clean || spared.contains(name) || !replaced
    };
    let there = relations_of(target).filter(stays);
    if is_limited {
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
    let items = target.inventory.items.iter().filter(|item| item.kind.is_relation());
    items.filter_map(|item| relation_name(&item.name)).chain(target.tables.keys().cloned())
}

/// Schemas of a backup.
fn schemas(catalog: &Catalog, entries: &[Entry], tables: &BTreeSet<TableName>) -> BTreeSet<String> {
    let items = catalog.inventory.items.iter().filter(|item| item.kind == ObjectKind::Schema);
    let named = items.map(|item| name_parts(&item.name).concat());
    let used = entries.iter().filter_map(|entry| entry.schema.clone());
    named.chain(used).chain(tables.iter().map(|(schema, _)| schema.clone())).collect()
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

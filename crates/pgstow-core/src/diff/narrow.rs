//! Which part of two states is compared: everything, or what belongs to tables that patterns name.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::TableName;
use super::facts::Facts;
use crate::error::Result;
use crate::inventory::{Item, ObjectKind, Privilege, name_parts, parents, tops};
use crate::pattern::{Candidate, Choice, Patterns};

/// The tables that are meant.
pub(crate) struct Narrowing {
    /// `None`: all.
    chosen: Option<BTreeSet<TableName>>,
    /// As items of an inventory are called.
    identities: Vec<String>,
    /// The top of each partition's tree, in either state.
    roots: BTreeMap<TableName, TableName>,
}

impl Narrowing {
    /// # Errors
    /// Usage: a pattern that is not valid or matches no table.
    pub(super) fn new(patterns: &[String], before: &Facts, after: &Facts) -> Result<Self> {
        let mut roots = tops(&parents(&before.catalog.inventory));
        roots.extend(tops(&parents(&after.catalog.inventory)));
        if patterns.is_empty() {
            return Ok(Self { chosen: None, identities: Vec::new(), roots });
        }
        let mut known: BTreeMap<TableName, String> = BTreeMap::new();
        for facts in [before, after] {
            let items = facts.catalog.inventory.items.iter().filter(|item| item.kind.is_relation());
            for item in items {
                if let [schema, name] = name_parts(&item.name).as_slice() {
                    known.insert((schema.clone(), name.clone()), item.name.clone());
                }
            }
            for (schema, name) in facts.tables.keys() {
                let shown = crate::postgres::identifier::display_name(schema, name);
                known.entry((schema.clone(), name.clone())).or_insert(shown);
            }
        }
        let parsed = Patterns::parse(patterns, &[], &[])?;
        let candidate = |name: &TableName| Candidate {
            schema: name.0.clone(),
            name: name.1.clone(),
            root: roots.get(name).cloned(),
        };
        parsed.require_matches(&known.keys().map(candidate).collect::<Vec<_>>())?;
        let (chosen, identities) =
            known.into_iter().filter(|(name, _)| parsed.choose(&candidate(name)) != Choice::Leave).unzip();
        Ok(Self { chosen: Some(chosen), identities, roots })
    }

    /// Whether only some tables are meant.
    pub(super) fn is_narrow(&self) -> bool {
        self.chosen.is_some()
    }

    /// Whether the table, view or sequence is meant.
    pub(super) fn takes(&self, name: &TableName) -> bool {
        self.chosen.as_ref().is_none_or(|chosen| chosen.contains(name))
    }

    /// The table itself, or the top of the partition tree that it is a part of.
    pub(super) fn root<'n>(&'n self, name: &'n TableName) -> &'n TableName {
        self.roots.get(name).unwrap_or(name)
    }

    /// Whether the object is one of these tables or belongs to one.
    pub(super) fn takes_item(&self, item: &Item) -> bool {
        if !self.is_narrow() {
            return true;
        }
        let parts = name_parts(&item.name);
        let [schema, name, ..] = parts.as_slice() else { return self.is_remark(item) };
        let relation = || self.takes(&(schema.clone(), name.clone()));
        match item.kind {
            kind if kind.is_relation() => relation(),
            ObjectKind::Column
            | ObjectKind::Constraint
            | ObjectKind::Trigger
            | ObjectKind::Rule
            | ObjectKind::Policy => relation(),
            ObjectKind::Index | ObjectKind::Statistics => {
                let first = item.definition.lines().next().unwrap_or_default();
                self.identities.iter().any(|table| {
                    [format!(" ON {table} "), format!(" ON ONLY {table} ")]
                        .iter()
                        .any(|on| first.contains(on))
                        || first.ends_with(&format!(" FROM {table}"))
                })
            }
            _ => self.is_remark(item),
        }
    }

    /// A comment or security label on one of the tables or a part of it.
    fn is_remark(&self, item: &Item) -> bool {
        matches!(item.kind, ObjectKind::Comment | ObjectKind::SecurityLabel)
            && self.identities.iter().any(|table| {
                item.name.match_indices(table.as_str()).any(|(at, _)| {
                    let before = item.name.get(..at).unwrap_or_default();
                    let after = item.name.get(at + table.len()..).unwrap_or_default();
                    before.ends_with(' ') && (after.is_empty() || after.starts_with('.'))
                })
            })
    }

    /// Whether the privilege is on one of the tables.
    pub(super) fn takes_privilege(&self, held: &Privilege) -> bool {
        if !self.is_narrow() {
            return true;
        }
        let is_relation = held.column.is_some() || matches!(held.target.as_str(), "TABLE" | "SEQUENCE");
        match name_parts(&held.name).as_slice() {
            [schema, name] => is_relation && self.takes(&(schema.clone(), name.clone())),
            _ => false,
        }
    }
}

//! A table or a schema of a backup under another name, beside the one that is in use.
//!
//! The server does the renaming, so that every dependency follows, and nothing that is in use is
//! locked. A table is made in a schema of its own, under the name that it has in the backup, is
//! compared there, and then renamed and moved where it belongs. For a schema, the one in use steps
//! aside for as long as the transaction lasts: renaming a schema touches one row of the catalog, and
//! others see it under its name all the time.

mod names;
mod rewriting;

use std::collections::{BTreeMap, BTreeSet};

use super::part::{Part, RestoreSelection};
use super::plan::RestorePlan;
use super::selection::{self, Carried, Chosen, Graph, TableName, belongs_to_table};
use super::session::{Session, describe};
use super::target::TargetState;
use super::{Planned, entry};
use crate::archive::{Entry, Section};
use crate::error::{Error, ErrorKind, Result};
use crate::inventory::catalog::Catalog;
use crate::inventory::name_parts;
use crate::inventory::{Inventory, ObjectKind};
use crate::pattern::literal_parts;
use crate::postgres::identifier::{display_name, display_part, quote_identifier, quote_qualified};
use crate::random;
use crate::repository::format::manifest::Manifest;
use names::{NAME_BYTES, Named, free_name, named_in};
use rewriting::Moved;

/// What is restored under another name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Renaming {
    /// Schemas: old name, new name.
    schemas: BTreeMap<String, String>,
    /// Tables: old name, new name.
    tables: BTreeMap<TableName, TableName>,
    /// The schema in which tables are made, or the name that schemas in use have meanwhile begins so.
    aside: String,
    /// Schemas that are in use.
    in_use: BTreeSet<String>,
}

/// Reads what was asked for.
///
/// # Errors
/// Usage: not `OLD=NEW`, names of neither a schema nor a table of the backup, one renamed twice.
pub(super) fn asked(pairs: &[String], manifest: &Manifest, catalog: &Catalog) -> Result<Option<Renaming>> {
    if pairs.is_empty() {
        return Ok(None);
    }
    let random: [u8; 6] = random::bytes()?;
    let mark: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut renaming = Renaming { aside: format!("pgstow_{mark}"), ..Renaming::default() };
    for pair in pairs {
        let usage = |why: &str| {
            Error::new(ErrorKind::Usage, format!("--rename {pair} is not valid")).why(why).hint(
                "write OLD=NEW: app=app_old for a schema, public.orders=public.orders_old for a table; \
                 quote names that hold a dot or an equals sign",
            )
        };
        let (old, new) = apart(pair).ok_or_else(|| usage("it is not OLD=NEW"))?;
        let (old, new) = (literal_parts(old).map_err(usage)?, literal_parts(new).map_err(usage)?);
        if new.iter().any(|part| part.len() > NAME_BYTES) {
            return Err(usage("the new name is longer than 63 bytes"));
        }
        let schemas = catalog.inventory.items.iter().filter(|item| item.kind == ObjectKind::Schema);
        let is_schema = |name: &str| schemas.clone().any(|item| name_parts(&item.name).concat() == name);
        let tables: Vec<TableName> = manifest
            .tables
            .iter()
            .filter(|table| match old.as_slice() {
                [name] => table.name == *name,
                [schema, name] => table.schema == *schema && table.name == *name,
                _ => false,
            })
            .map(|table| (table.schema.clone(), table.name.clone()))
            .collect();
        let twice = match (old.as_slice(), new.as_slice(), tables.as_slice()) {
            ([old], [new], []) if is_schema(old) => {
                renaming.schemas.insert(old.clone(), new.clone()).is_some()
            }
            ([old], _, [_, ..]) if is_schema(old) => {
                return Err(usage("the backup has both a schema and a table of this name"));
            }
            (_, [name], [table]) => {
                renaming.tables.insert(table.clone(), (table.0.clone(), name.clone())).is_some()
            }
            (_, [schema, name], [table]) => {
                renaming.tables.insert(table.clone(), (schema.clone(), name.clone())).is_some()
            }
            (_, _, [_, _, ..]) => return Err(usage("several tables have this name: name the schema too")),
            _ => return Err(usage("the backup has neither a schema nor a table of this name")),
        };
        if twice {
            return Err(usage("the same thing is renamed twice"));
        }
    }
    if !renaming.schemas.is_empty() && !renaming.tables.is_empty() || renaming.schemas.len() > 1 {
        return Err(Error::new(
            ErrorKind::Usage,
            "one schema or some tables can be renamed in one run".to_owned(),
        )
        .hint("restore them one after the other"));
    }
    Ok(Some(renaming))
}

/// The two sides of the first `=` outside of quotes.
fn apart(pair: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = pair.find(|character| {
        quoted ^= character == '"';
        character == '=' && !quoted
    })?;
    let (old, new) = (pair.get(..at)?, pair.get(at + 1..)?);
    (!old.is_empty() && !new.is_empty()).then_some((old, new))
}

impl Renaming {
    /// What is chosen by it.
    pub(super) fn selection(&self) -> RestoreSelection {
        RestoreSelection {
            tables: self
                .tables
                .keys()
                .map(|(schema, name)| format!("{}.{}", quote_identifier(schema), quote_identifier(name)))
                .collect(),
            schemas: self.schemas.keys().map(|schema| quote_identifier(schema)).collect(),
            exclude_tables: Vec::new(),
        }
    }

    /// What is renamed, for people.
    pub(super) fn in_words(&self) -> Vec<String> {
        let schemas = self
            .schemas
            .iter()
            .map(|(old, new)| format!("schema {} to {}", display_part(old), display_part(new)));
        let tables = self.tables.iter().map(|(old, new)| {
            format!("table {} to {}", display_name(&old.0, &old.1), display_name(&new.0, &new.1))
        });
        schemas.chain(tables).collect()
    }

    /// # Errors
    /// Refused: a new name is taken, a schema that a table is moved to is missing, or an extension is
    /// in the schema.
    pub(super) fn check(&self, target: &TargetState) -> Result<()> {
        let taken = |what: String| {
            Error::refused(format!("{what} is at {} already", target.target))
                .hint("choose another name, or rename or drop it first")
        };
        for (old, new) in &self.schemas {
            if target.schemas.contains_key(new) {
                return Err(taken(format!("schema {}", display_part(new))));
            }
            let extension = target.extensions.iter().find(|(_, (_, schema))| schema == old);
            if let (Some((extension, _)), true) = (extension, target.schemas.contains_key(old)) {
                return Err(Error::refused(format!(
                    "extension {extension} is in schema {}: the copy could not use it",
                    display_part(old)
                ))
                .hint("rename tables of the schema instead"));
            }
        }
        for (schema, name) in self.tables.values() {
            let is_taken = target.inventory.items.iter().any(|item| {
                item.kind.shares_names() && name_parts(&item.name) == [schema.as_str(), name.as_str()]
            });
            if is_taken || target.tables.contains_key(&(schema.clone(), name.clone())) {
                return Err(taken(display_name(schema, name)));
            }
            if !target.schemas.contains_key(schema) {
                return Err(Error::refused(format!(
                    "{} has no schema {}",
                    target.target,
                    display_part(schema)
                ))
                .hint(format!("CREATE SCHEMA {};", quote_identifier(schema))));
            }
        }
        Ok(())
    }

    /// Lets the schemas in use step aside in what is known of the target.
    pub(super) fn hide(&mut self, target: &mut TargetState) {
        for schema in self.schemas.keys() {
            if target.schemas.remove(schema).is_none() {
                continue;
            }
            self.in_use.insert(schema.clone());
            let in_schema = |name: &str| name_parts(name).first() == Some(schema);
            target.inventory.items.retain(|item| {
                let is_it = item.kind == ObjectKind::Schema && name_parts(&item.name).concat() == *schema;
                !(is_it || item.kind.is_in_schema() && in_schema(&item.name))
            });
            target.inventory.privileges.retain(|held| !in_schema(&held.name));
            target.tables.retain(|(other, _), _| other != schema);
        }
    }

    /// Takes out of the backup what a copy does not get, and gives the tables the schema in which they
    /// are made. One remark for each thing left out.
    ///
    /// # Errors
    /// Refused: a function has the name of something that is renamed.
    pub(super) fn apply(
        &mut self,
        entries: &mut Vec<Entry>,
        manifest: &mut Manifest,
        catalog: &mut Catalog,
        carried: &mut Carried,
    ) -> Result<Vec<String>> {
        let Carried::Only(part) = carried else { return Ok(Vec::new()) };
        let remarks = leave_out_foreign(entries, part);
        self.make_schemas(entries, &catalog.inventory);
        if self.tables.is_empty() {
            return Ok(remarks);
        }
        self.name_partitions(part)?;
        let moved = self.moved(entries, part);
        check_functions(entries, &moved)?;
        let graph = Graph::new(entries);
        let parts: BTreeSet<i32> = selection::choose(&graph, &Carried::Only(part.clone()))
            .entries
            .into_iter()
            .map(|index| &graph.entries[index])
            .filter(|entry| part.names(entry) || belongs_to_table(&entry.kind))
            .filter(|entry| {
                entry.kind != "SEQUENCE" || moved.has(entry.schema.as_deref().unwrap_or_default(), &entry.tag)
            })
            .map(|entry| entry.id)
            .collect();
        for entry in entries.iter_mut().filter(|entry| parts.contains(&entry.id)) {
            entry.definition = moved.rewrite(&entry.definition);
            entry.drop_statement = moved.rewrite(&entry.drop_statement);
            if entry.schema.is_some() {
                entry.schema = Some(self.aside.clone());
            }
        }
        self.move_manifest(manifest, &moved);
        move_inventory(&mut catalog.inventory, &moved);
        part.relations = part.relations.iter().map(|(_, name)| (self.aside.clone(), name.clone())).collect();
        Ok(remarks)
    }

    /// An archive may have no entry for the schema `public`, which is there in every new database.
    fn make_schemas(&self, entries: &mut Vec<Entry>, inventory: &Inventory) {
        for schema in self.schemas.keys() {
            if entries.iter().any(|entry| entry.kind == "SCHEMA" && entry.tag == *schema) {
                continue;
            }
            let is_it = |name: &str| name_parts(name).concat() == *schema;
            let item =
                inventory.items.iter().find(|item| item.kind == ObjectKind::Schema && is_it(&item.name));
            let name = quote_identifier(schema);
            let last = entries.iter().map(|entry| entry.id).max().unwrap_or_default();
            entries.insert(
                0,
                Entry {
                    id: last.saturating_add(1),
                    kind: "SCHEMA".to_owned(),
                    catalog_oid: 0,
                    oid: 0,
                    tag: schema.clone(),
                    schema: None,
                    owner: item.and_then(|item| item.owner.clone()),
                    tablespace: None,
                    access_method: None,
                    relation_kind: None,
                    definition: format!("CREATE SCHEMA {name};\n"),
                    drop_statement: format!("DROP SCHEMA {name};\n"),
                    dependencies: Vec::new(),
                    section: Section::PreData,
                },
            );
        }
    }

    /// Partitions come with their table, and get names made of its new one.
    fn name_partitions(&mut self, part: &Part) -> Result<()> {
        let partitions: Vec<&TableName> =
            part.relations.iter().filter(|name| !self.tables.contains_key(*name)).collect();
        let names: BTreeSet<&String> = part.relations.iter().map(|(_, name)| name).collect();
        if names.len() < part.relations.len() || !partitions.is_empty() && self.tables.len() > 1 {
            return Err(Error::new(
                ErrorKind::Usage,
                "these tables cannot be renamed in one run: some are partitioned, or have the same name"
                    .to_owned(),
            )
            .hint("rename one after the other"));
        }
        let Some((old, new)) = self.tables.iter().next().map(|(old, new)| (old.clone(), new.clone())) else {
            return Ok(());
        };
        for name in partitions {
            let new_name = free_name(&name.1, &old.1, &new.1, &BTreeSet::from([name.1.clone()]));
            self.tables.insert(name.clone(), (new.0.clone(), new_name));
        }
        Ok(())
    }

    /// Everything that gets the schema of its own: tables, and what of theirs has a name in a schema.
    fn moved(&self, entries: &[Entry], part: &Part) -> Moved {
        let graph = Graph::new(entries);
        let owned = super::standing::owned_sequences(&graph);
        let chosen = selection::choose(&graph, &Carried::Only(part.clone())).entries;
        let mut names = part.relations.clone();
        for index in chosen {
            let entry = &graph.entries[index];
            let Some(schema) = entry.schema.clone() else { continue };
            match entry.kind.as_str() {
                "INDEX" | "STATISTICS" => {
                    names.insert((schema, entry.tag.clone()));
                }
                "SEQUENCE" if owned.contains(&index) => {
                    names.insert((schema, entry.tag.clone()));
                }
                "CONSTRAINT" => {
                    let tables = part.relations.iter().filter(|(other, _)| *other == schema);
                    let name = tables
                        .filter_map(|(_, table)| entry.tag.strip_prefix(table.as_str())?.strip_prefix(' '));
                    names.extend(name.map(|name| (schema.clone(), name.to_owned())));
                }
                _ => {}
            }
        }
        Moved { names, schema: self.aside.clone() }
    }

    fn move_manifest(&self, manifest: &mut Manifest, moved: &Moved) {
        for table in &mut manifest.tables {
            table.schema.clone_from(&self.aside);
            if let Some((schema, _)) = &mut table.load_through {
                schema.clone_from(&self.aside);
            }
        }
        for sequence in &mut manifest.sequences {
            if moved.has(&sequence.schema, &sequence.name) {
                sequence.schema.clone_from(&self.aside);
            }
        }
    }

    /// Begins, in the restore's transaction.
    ///
    /// # Errors
    /// The server's.
    pub(super) fn begin(&self, session: &mut Session) -> Result<()> {
        if !self.tables.is_empty() {
            let create = format!("CREATE SCHEMA {}", quote_identifier(&self.aside));
            session.unit(&create).map_err(|error| self.refused(&error))?;
        }
        for schema in &self.in_use {
            let (schema, aside) = (quote_identifier(schema), quote_identifier(&self.aside));
            session
                .unit(&format!("ALTER SCHEMA {schema} RENAME TO {aside}"))
                .map_err(|error| self.refused(&error))?;
        }
        Ok(())
    }

    /// Gives everything its new name, in the restore's transaction, after it was compared.
    ///
    /// # Errors
    /// The server's.
    pub(super) fn end(&self, session: &mut Session) -> Result<()> {
        let mut statements: Vec<String> = self
            .schemas
            .iter()
            .map(|(old, new)| {
                format!("ALTER SCHEMA {} RENAME TO {}", quote_identifier(old), quote_identifier(new))
            })
            .collect();
        let aside = quote_identifier(&self.aside);
        statements.extend(
            self.in_use.iter().map(|old| format!("ALTER SCHEMA {aside} RENAME TO {}", quote_identifier(old))),
        );
        if !self.tables.is_empty() {
            statements.extend(self.moves(session)?);
            statements.push(format!("DROP SCHEMA {aside}"));
        }
        for statement in statements {
            session.unit(&statement).map_err(|error| self.refused(&error))?;
        }
        Ok(())
    }

    fn refused(&self, error: &crate::postgres::QueryError) -> Error {
        Error::failed(format!("{} could not be renamed", self.in_words().join(", "))).why(describe(error))
    }

    /// The statements that rename what was made and move it where it belongs.
    fn moves(&self, session: &mut Session) -> Result<Vec<String>> {
        let made = named_in(session, &self.aside)?;
        let mut statements = Vec::new();
        let by_old: BTreeMap<&str, &TableName> =
            self.tables.iter().map(|((_, old), new)| (old.as_str(), new)).collect();
        let mut taken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (schema, name) in self.tables.values() {
            if !taken.contains_key(schema) {
                let names = named_in(session, schema)?.into_iter().map(|object| object.name).collect();
                taken.insert(schema.clone(), names);
            }
            taken.entry(schema.clone()).or_default().insert(name.clone());
        }
        let mut tables = Vec::new();
        for Named { kind, name, table } in made {
            let Some((schema, new_table)) = by_old.get(table.as_str()) else { continue };
            let names = taken.entry(schema.clone()).or_default();
            let new = if name == table && kind == "TABLE" {
                new_table.clone()
            } else {
                free_name(&name, &table, new_table, names)
            };
            names.insert(new.clone());
            if new != name {
                let from = quote_qualified(&self.aside, &name);
                statements.push(format!("ALTER {kind} {from} RENAME TO {}", quote_identifier(&new)));
            }
            if kind == "TABLE" || kind == "STATISTICS" {
                let from = quote_qualified(&self.aside, &new);
                tables.push(format!("ALTER {kind} {from} SET SCHEMA {}", quote_identifier(schema)));
            }
        }
        statements.extend(tables);
        Ok(statements)
    }

    /// The name that a table has in the end.
    fn at_last(&self, name: &TableName) -> TableName {
        let table = self.tables.iter().find(|((_, old), _)| name.0 == self.aside && name.1 == *old);
        match (table, self.schemas.get(&name.0)) {
            (Some((_, new)), _) => new.clone(),
            (None, Some(schema)) => (schema.clone(), name.1.clone()),
            (None, None) => name.clone(),
        }
    }

    /// The plan with the names that things have in the end.
    pub(super) fn tell(&self, plan: &mut RestorePlan) {
        plan.renamed = self.in_words();
        plan.chosen.clear();
        for texts in [&mut plan.remarks, &mut plan.notes, &mut plan.along, &mut plan.stays] {
            texts.iter_mut().for_each(|text| *text = self.told(text));
        }
    }

    /// A text with the names that things have in the end.
    pub(super) fn told(&self, text: &str) -> String {
        let tables = self.tables.iter().fold(text.to_owned(), |text, ((_, old), new)| {
            text.replace(&display_name(&self.aside, old), &display_name(&new.0, &new.1))
        });
        let schema = self.tables.values().next().map(|(schema, _)| format!("{}.", display_part(schema)));
        let tables =
            schema.map_or(tables.clone(), |schema| tables.replace(&format!("{}.", self.aside), &schema));
        self.schemas.iter().fold(tables, |text, (old, new)| {
            let rows = format!("rows of {}.", display_part(old));
            match text.strip_prefix(&rows) {
                Some(rest) => format!("rows of {}.{rest}", display_part(new)),
                None => text,
            }
        })
    }
}

impl Planned<'_> {
    /// The tables by the names that they have in the end.
    pub(super) fn at_last(&self, tables: Vec<TableName>) -> Vec<TableName> {
        match &self.renaming {
            Some(renaming) => tables.iter().map(|name| renaming.at_last(name)).collect(),
            None => tables,
        }
    }
}

/// Functions whose bodies name a schema that gets another name: they are text.
pub(super) fn bodies_note(renaming: &Renaming, graph: &Graph<'_>, chosen: &Chosen) -> Option<String> {
    let entries = chosen.entries.iter().map(|&index| &graph.entries[index]);
    let routines = entries.filter(|entry| matches!(entry.kind.as_str(), "FUNCTION" | "PROCEDURE"));
    let named = routines
        .filter(|entry| renaming.schemas.keys().any(|schema| rewriting::mentions(&entry.definition, schema)));
    let names: Vec<String> = named.map(entry::name).collect();
    let schemas: Vec<String> = renaming.schemas.keys().map(|schema| display_part(schema)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "what these call {} in their bodies stays as it is, since it is text: {}",
            schemas.join(", "),
            names.join(", ")
        )
    })
}

/// Foreign keys from a copy to something in use would hold its rows, and a copy is published nowhere.
fn leave_out_foreign(entries: &mut Vec<Entry>, part: &Part) -> Vec<String> {
    let mut remarks = Vec::new();
    let all: BTreeSet<i32> = entries.iter().map(|entry| entry.id).collect();
    let tables: BTreeMap<i32, bool> = entries
        .iter()
        .filter(|entry| entry.kind == "TABLE")
        .map(|entry| (entry.id, part.names(entry)))
        .collect();
    entries.retain(|entry| {
        let of =
            |chosen: bool| entry.dependencies.iter().filter(|id| tables.get(id) == Some(&chosen)).count();
        // What is not in the list any more is the platform's.
        let platforms = entry.dependencies.iter().filter(|id| !all.contains(id)).count();
        let (own, others) = (of(true), of(false) + platforms);
        match entry.kind.as_str() {
            "PUBLICATION TABLE" => false,
            "FK CONSTRAINT" if others > 0 => {
                let is_own = part.relations.iter().any(|(schema, table)| {
                    entry.schema.as_ref() == Some(schema)
                        && entry.tag.strip_prefix(table.as_str()).is_some_and(|rest| rest.starts_with(' '))
                });
                if own > 0 && is_own {
                    remarks.push(format!(
                        "{} is left out: through it the copy would hold rows of a table that is in use",
                        entry::name(entry)
                    ));
                }
                false
            }
            _ => true,
        }
    });
    remarks
}

/// A function's name and a table's cannot be told apart where the function is called.
fn check_functions(entries: &[Entry], moved: &Moved) -> Result<()> {
    let same = entries.iter().find(|entry| {
        let name = entry.tag.split('(').next().unwrap_or_default();
        matches!(entry.kind.as_str(), "FUNCTION" | "PROCEDURE" | "AGGREGATE")
            && moved.has(entry.schema.as_deref().unwrap_or_default(), name)
    });
    same.map_or(Ok(()), |entry| {
        Err(Error::refused(format!("{} has the name of something that would be renamed", entry::name(entry)))
            .hint("restore into another database, and rename there"))
    })
}

fn move_inventory(inventory: &mut Inventory, moved: &Moved) {
    for item in &mut inventory.items {
        let name = moved.rewrite(&item.name);
        if name != item.name {
            item.name = name_as_printed(name, moved);
            // What a comment or a label says is text.
            if !matches!(item.kind, ObjectKind::Comment | ObjectKind::SecurityLabel) {
                item.definition = name_as_printed(moved.rewrite(&item.definition), moved);
            }
        }
    }
    inventory.items.sort_unstable_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    for held in &mut inventory.privileges {
        held.name = name_as_printed(moved.rewrite(&held.name), moved);
    }
    inventory.privileges.sort();
}

/// The server quotes names only where it must, and this schema's needs no quotes.
fn name_as_printed(text: String, moved: &Moved) -> String {
    text.replace(&format!("{}.", quote_identifier(&moved.schema)), &format!("{}.", moved.schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_apart_outside_of_quotes() {
        assert_eq!(apart("a=b"), Some(("a", "b")));
        assert_eq!(apart("\"a=b\".c=d"), Some(("\"a=b\".c", "d")));
        for text in ["a", "=b", "a=", "\"a=b\""] {
            assert_eq!(apart(text), None, "{text}");
        }
    }
}

//! What an export writes, entry by entry. Pure: the schema archive's entries, with data, positions and
//! large objects where pg_dump would have put them.

use std::collections::{BTreeMap, BTreeSet};

use super::choose::{self, Chosen};
use super::{ExportOptions, large_object_entries, order};
use crate::archive::write::{Data, Head, Item};
use crate::archive::{Entry, Section};
use crate::error::{Error, ErrorKind, Result};
use crate::inventory::Privilege;
use crate::pattern::Patterns;
use crate::postgres::identifier::{display_name, quote_identifier, quote_literal, quote_qualified};
use crate::repository::format::manifest::{CopyFormat, Manifest, Sections, Sequence, Table, TableData};
use crate::restore::entry;
use crate::restore::selection::{Carried, Graph, TableName};

/// What an export writes.
#[derive(Debug)]
pub(super) struct ExportPlan {
    pub(super) head: Head,
    /// In the order of the table of contents.
    pub(super) items: Vec<Item>,
    /// Tables of the manifest by the id of the entry that has their rows.
    pub(super) tables: BTreeMap<i32, usize>,
    /// The chosen tables; `None` when all are meant.
    pub(super) chosen: Option<BTreeSet<TableName>>,
    /// What should be in the file and cannot be.
    pub(super) skipped: Vec<String>,
    /// What is left out on purpose.
    pub(super) notes: Vec<String>,
}

/// What the plan is made of.
pub(super) struct Input<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) privileges: &'a [Privilege],
    /// Of the schema archive; none where the backup holds rows only.
    pub(super) entries: Vec<Entry>,
    pub(super) dump_version: String,
    /// What the backup carries.
    pub(super) carried: Carried,
    pub(super) options: &'a ExportOptions,
}

/// Definitions and rows, as the backup holds them and as asked.
pub(super) fn parts(held: Sections, asked: Sections) -> Result<(bool, bool)> {
    let definitions = held != Sections::DataOnly && asked != Sections::DataOnly;
    let rows = held != Sections::SchemaOnly && asked != Sections::SchemaOnly;
    if definitions || rows {
        return Ok((definitions, rows));
    }
    let (has, option) = match held {
        Sections::DataOnly => ("rows only", "--schema-only"),
        _ => ("definitions only", "--data-only"),
    };
    Err(Error::new(ErrorKind::Usage, format!("the backup holds {has}, so {option} would export nothing"))
        .hint("choose a backup that holds both, or leave the option out"))
}

/// Plans.
///
/// # Errors
/// Usage: a pattern that matches nothing, sections that the backup does not hold.
pub(super) fn make(input: Input<'_>) -> Result<ExportPlan> {
    let Input { manifest, privileges, mut entries, dump_version, carried, options } = input;
    let (definitions, rows) = parts(manifest.selection.sections, options.sections)?;
    let wanted = Patterns::parse(&options.tables, &[], &[])?.with_schemas(&options.schemas)?;
    entries.iter_mut().for_each(as_in_version_14);
    order::grants(&mut entries);
    order::keys_of_partitions(&mut entries);
    order::drops_of_attached(&mut entries);
    let graph = Graph::new(&entries);
    let chosen = choose::choose(&graph, manifest, &carried, &wanted)?;
    let everything = carried == Carried::Everything && !wanted.is_limited();
    let mut maker = Maker {
        manifest,
        graph: &graph,
        chosen: &chosen,
        everything,
        definitions,
        next_id: entries.iter().map(|entry| entry.id).max().unwrap_or_default(),
        ids: BTreeMap::new(),
        tables: BTreeMap::new(),
        skipped: Vec::new(),
        notes: chosen.notes.clone(),
    };
    let items = maker.items(privileges, rows, !wanted.is_limited(), options);
    let source = &manifest.source;
    Ok(ExportPlan {
        head: Head {
            taken_at: manifest.snapshot.taken_at,
            database: source.database.clone(),
            server_version: source.server_version.clone(),
            dump_version,
        },
        items,
        tables: maker.tables,
        chosen: chosen.tables.clone(),
        skipped: maker.skipped,
        notes: maker.notes,
    })
}

/// Says what a later version of the format has a field for with a statement.
fn as_in_version_14(entry: &mut Entry) {
    if entry.relation_kind.take() != Some('p') {
        return;
    }
    if let (Some(method), Some(schema)) = (entry.access_method.take(), &entry.schema) {
        let table = quote_qualified(schema, &entry.tag);
        entry
            .definition
            .push_str(&format!("\nALTER TABLE {table} SET ACCESS METHOD {};\n", quote_identifier(&method)));
    }
}

struct Maker<'a> {
    manifest: &'a Manifest,
    graph: &'a Graph<'a>,
    chosen: &'a Chosen,
    /// Nothing was left out, by the backup or by this export.
    everything: bool,
    definitions: bool,
    next_id: i32,
    /// Tables, sequences and materialized views that are in the archive, by kind and name.
    ids: BTreeMap<(&'a str, TableName), &'a Entry>,
    tables: BTreeMap<i32, usize>,
    skipped: Vec<String>,
    notes: Vec<String>,
}

impl<'a> Maker<'a> {
    fn items(
        &mut self,
        privileges: &[Privilege],
        rows: bool,
        whole: bool,
        options: &ExportOptions,
    ) -> Vec<Item> {
        let chosen: Vec<&Entry> =
            self.chosen.entries.iter().map(|&index| &self.graph.entries[index]).collect();
        for entry in &chosen {
            let kind = match entry.kind.as_str() {
                kind @ ("TABLE" | "SEQUENCE" | "MATERIALIZED VIEW" | "EXTENSION") => kind,
                _ => continue,
            };
            let name = (entry.schema.clone().unwrap_or_default(), entry.tag.clone());
            self.ids.insert((kind, name), entry);
        }
        let is_setting =
            |entry: &&&Entry| matches!(entry.kind.as_str(), "ENCODING" | "STDSTRINGS" | "SEARCHPATH");
        let mut entries: Vec<Entry> = if self.definitions {
            chosen.iter().map(|entry| (*entry).clone()).collect()
        } else {
            chosen.iter().filter(is_setting).map(|entry| (*entry).clone()).collect()
        };
        if entries.iter().all(|entry| entry.kind != "ENCODING") {
            entries.splice(0..0, self.settings());
        }
        let after =
            entries.iter().position(|entry| entry.section == Section::PostData).unwrap_or(entries.len());
        let post_data = entries.split_off(after);
        let mut items: Vec<Item> = entries.into_iter().map(Item::of).collect();
        if rows {
            if whole {
                items.extend(large_object_entries::definitions(self.manifest, privileges, &mut self.next_id));
            }
            self.rows(&mut items);
            items.extend(self.positions());
            if whole {
                items.extend(large_object_entries::data(&items, &mut self.next_id));
            }
        }
        items.extend(post_data.into_iter().map(Item::of));
        if rows && self.definitions {
            items.extend(self.refreshes());
        }
        items.retain(|item| !options.no_privileges || !is_privilege(&item.entry.kind));
        if options.no_owner {
            items.iter_mut().for_each(|item| item.entry.owner = None);
        }
        items
    }

    fn id(&mut self) -> i32 {
        self.next_id = self.next_id.saturating_add(1);
        self.next_id
    }

    /// What every archive begins with.
    fn settings(&mut self) -> Vec<Entry> {
        let encoding = if self.manifest.source.encoding == "SQL_ASCII" { "SQL_ASCII" } else { "UTF8" };
        let settings = [
            ("ENCODING", format!("SET client_encoding = '{encoding}';\n")),
            ("STDSTRINGS", "SET standard_conforming_strings = 'on';\n".to_owned()),
            ("SEARCHPATH", "SELECT pg_catalog.set_config('search_path', '', false);\n".to_owned()),
        ];
        let entries = settings.map(|(kind, definition)| Entry {
            id: self.id(),
            tag: kind.to_owned(),
            definition,
            section: Section::PreData,
            ..plain(kind)
        });
        entries.to_vec()
    }

    fn rows(&mut self, items: &mut Vec<Item>) {
        let mut data = Vec::new();
        for (index, table) in self.manifest.tables.iter().enumerate() {
            let name = (table.schema.clone(), table.name.clone());
            if self.chosen.tables.as_ref().is_none_or(|tables| tables.contains(&name))
                && let Some(item) = self.table_data(table)
            {
                self.tables.insert(item.entry.id, index);
                data.push((name, item));
            }
        }
        order::by_keys(self.graph, !self.definitions, &mut data);
        items.extend(data.into_iter().map(|(_, item)| item));
    }

    /// The rows of a table; `None` where there are none to write, with a remark if that is no choice.
    fn table_data(&mut self, table: &Table) -> Option<Item> {
        let name = (table.schema.clone(), table.name.clone());
        let shown = display_name(&table.schema, &table.name);
        let own = self.ids.get(&("TABLE", name.clone())).copied();
        let owner = own.and_then(|entry| entry.owner.clone());
        let extension = match &table.data {
            TableData::Carried => None,
            TableData::Configuration { extension, .. } => Some(extension.clone()),
            TableData::Excluded => {
                self.notes
                    .push(format!("rows of table {shown} are not in the backup: it was made without them"));
                return None;
            }
            TableData::Unreadable => {
                self.skipped
                    .push(format!("rows of table {shown} are not in the backup: they could not be read"));
                return None;
            }
            TableData::None => {
                if self.chosen.tables.is_some() && self.graph.entries.is_empty() {
                    self.skipped.push(format!(
                        "table {shown} is partitioned, and the backup has no definitions that name its partitions; \
                         choose them too"
                    ));
                }
                return None;
            }
        };
        if table.chunks.iter().any(|chunk| chunk.format == CopyFormat::Binary) {
            self.skipped.push(format!(
                "rows of table {shown} are left out: one is too long for COPY's text format; pgstow restore brings them back"
            ));
            return None;
        }
        let mut dependencies: Vec<i32> = own.iter().map(|entry| entry.id).collect();
        if let Some(extension) = extension {
            let entry = self.ids.get(&("EXTENSION", (String::new(), extension)));
            dependencies.extend(entry.map(|entry| entry.id));
        } else if self.definitions && own.is_none() {
            self.skipped
                .push(format!("rows of table {shown} are left out: the archive does not define the table"));
            return None;
        }
        let root = table.load_through.clone();
        let root = root.filter(|root| !self.definitions || self.ids.contains_key(&("TABLE", root.clone())));
        let mut definition = String::new();
        if let Some(root) = &root {
            let shown = quote_qualified(&root.0, &root.1).replace(['\n', '\r'], " ");
            definition = format!("-- load via partition root {shown}");
            dependencies.extend(self.ids.get(&("TABLE", root.clone())).map(|entry| entry.id));
        }
        let into = root.as_ref().unwrap_or(&name);
        let columns: Vec<String> =
            table.columns.iter().map(|column| quote_identifier(&column.name)).collect();
        let columns = if columns.is_empty() { String::new() } else { format!("({})", columns.join(", ")) };
        let copy_statement = format!("COPY {} {columns} FROM stdin;\n", quote_qualified(&into.0, &into.1));
        let entry = Entry {
            id: self.id(),
            oid: table.oid,
            tag: table.name.clone(),
            schema: Some(table.schema.clone()),
            owner,
            definition,
            dependencies,
            section: Section::Data,
            ..plain("TABLE DATA")
        };
        Some(Item { entry, copy_statement: Some(copy_statement), data: Data::Rows(table.bytes) })
    }

    fn positions(&mut self) -> Vec<Item> {
        let sequences = self.manifest.sequences.iter();
        sequences.filter_map(|sequence| self.position(sequence)).map(Item::of).collect()
    }

    /// Sequences that the archive does not define are those of extensions.
    fn position(&mut self, sequence: &Sequence) -> Option<Entry> {
        let name = (sequence.schema.clone(), sequence.name.clone());
        let own = self.ids.get(&("SEQUENCE", name)).copied();
        if own.is_none() && !self.everything {
            return None;
        }
        let qualified = quote_qualified(&sequence.schema, &sequence.name);
        Some(Entry {
            id: self.id(),
            tag: sequence.name.clone(),
            schema: Some(sequence.schema.clone()),
            owner: own.and_then(|entry| entry.owner.clone()),
            definition: format!(
                "SELECT pg_catalog.setval({}, {}, {});\n",
                quote_literal(&qualified).trim_start(),
                sequence.last_value,
                sequence.is_called
            ),
            dependencies: own.iter().map(|entry| entry.id).collect(),
            section: Section::Data,
            ..plain("SEQUENCE SET")
        })
    }

    /// Materialized views that hold rows, each after those that it reads.
    fn refreshes(&mut self) -> Vec<Item> {
        let views = self.manifest.materialized_views.iter();
        let populated: BTreeSet<TableName> = views
            .filter(|view| view.populated)
            .map(|view| (view.schema.clone(), view.name.clone()))
            .collect();
        let mut refreshed: BTreeMap<usize, i32> = BTreeMap::new();
        let mut empty: BTreeSet<usize> = BTreeSet::new();
        let mut items = Vec::new();
        for &index in &self.chosen.entries {
            let entry = &self.graph.entries[index];
            if entry.kind != "MATERIALIZED VIEW" {
                continue;
            }
            let name = (entry.schema.clone().unwrap_or_default(), entry.tag.clone());
            let needs = self.graph.needs(index);
            if !populated.contains(&name) {
                empty.insert(index);
                continue;
            }
            if needs.iter().any(|need| empty.contains(need)) {
                let shown = display_name(&name.0, &name.1);
                self.skipped.push(format!(
                    "materialized view {shown} will be empty: it reads one that was not populated at the source"
                ));
                empty.insert(index);
                continue;
            }
            let mut dependencies = vec![entry.id];
            dependencies.extend(needs.iter().filter_map(|need| refreshed.get(need)));
            let id = self.id();
            refreshed.insert(index, id);
            items.push(Item::of(Entry {
                id,
                oid: entry.oid,
                tag: entry.tag.clone(),
                schema: entry.schema.clone(),
                owner: entry.owner.clone(),
                definition: format!("REFRESH MATERIALIZED VIEW {};\n", quote_qualified(&name.0, &name.1)),
                dependencies,
                section: Section::PostData,
                ..plain("MATERIALIZED VIEW DATA")
            }));
        }
        items
    }
}

fn is_privilege(kind: &str) -> bool {
    matches!(kind, "ACL" | "DEFAULT ACL")
}

/// An entry of which only the kind is known.
pub(super) fn plain(kind: &str) -> Entry {
    Entry {
        id: 0,
        kind: kind.to_owned(),
        catalog_oid: 0,
        oid: 0,
        tag: String::new(),
        schema: None,
        owner: None,
        tablespace: None,
        access_method: None,
        relation_kind: None,
        definition: String::new(),
        drop_statement: String::new(),
        dependencies: Vec::new(),
        section: Section::None,
    }
}

/// When the statements of a script come: privileges after all else, and last what would act on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pass {
    Main,
    Privileges,
    Last,
}

/// The pass of an entry, as pg_restore has it.
pub(super) fn pass(item: &Entry) -> Pass {
    match item.kind.as_str() {
        kind if is_privilege(kind) => Pass::Privileges,
        "EVENT TRIGGER" | "MATERIALIZED VIEW DATA" => Pass::Last,
        "COMMENT" | "SECURITY LABEL" if item.tag.starts_with("EVENT TRIGGER ") => Pass::Last,
        _ => Pass::Main,
    }
}

/// Whether the entry is of the database itself, which a script leaves alone.
pub(super) fn is_of_database(item: &Entry) -> bool {
    matches!(item.kind.as_str(), "DATABASE" | "DATABASE PROPERTIES")
        || matches!(item.kind.as_str(), "ACL" | "COMMENT" | "SECURITY LABEL")
            && item.schema.is_none()
            && item.tag.starts_with("DATABASE ")
}

/// The statement that gives an entry's object to its owner.
pub(super) fn owner_statement(item: &Entry) -> Option<String> {
    let owner = item.owner.as_deref()?;
    if item.kind == "BLOB" {
        return Some(format!("ALTER LARGE OBJECT {} OWNER TO {};", item.tag, quote_identifier(owner)));
    }
    entry::owner_statement(item, owner)
}

//! Takes out of a backup what the place of a drill cannot have or must not do, so that the rest can be
//! restored and compared as if the backup held nothing else. Pure. Every thing taken out is named.
//!
//! What is taken out of the archive takes all with it that needs it, by the archive's own dependencies.
//! Where an object of the inventory is not recognised as one of those, it stays expected, and the
//! comparison tells that it is missing: an error here never makes a drill pass.

use std::collections::{BTreeMap, BTreeSet};

use super::entry;
use super::hosted::executed;
use super::selection::{Graph, TableName};
use super::target::TargetState;
use crate::archive::Entry;
use crate::inventory::catalog::Catalog;
use crate::inventory::name_parts;
use crate::inventory::{Item, ObjectKind};
use crate::platform::{Hosting, Keeper};
use crate::postgres::identifier::{display_name, display_part, quote_identifier};
use crate::repository::format::manifest::{Manifest, TableData};
use crate::repository::format::receipt::Exception;

/// What a drill leaves out beyond what every drill does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reduction {
    /// Extensions that are left out with all that needs them, each with the reason.
    pub extensions: BTreeMap<String, String>,
}

/// Names of what needs an extension, by the archive's dependencies: `table public.plans`.
pub fn needing(entries: &[Entry], extension: &str) -> Vec<String> {
    let graph = Graph::new(entries);
    let roots = (0..entries.len()).filter(|&index| is_extension(&entries[index], extension));
    let gone = closure(&graph, roots.map(|index| (index, String::new())).collect());
    let others = gone.keys().map(|&index| &entries[index]).filter(|entry| !is_extension(entry, extension));
    others.filter(|entry| is_told(entry)).map(entry::name).collect()
}

/// Takes out of the backup what a drill at `target` leaves out.
pub(super) fn project(
    manifest: &mut Manifest,
    catalog: &mut Catalog,
    entries: &mut Vec<Entry>,
    target: &TargetState,
    reduction: &Reduction,
) -> Vec<Exception> {
    let mut exceptions = Vec::new();
    let gone = gone(manifest, catalog, entries, reduction);
    for (&index, reason) in gone.iter().filter(|(index, _)| is_told(&entries[**index])) {
        exceptions.push(exception(called(&entries[index]), reason));
    }
    let names = Names::of(gone.keys().map(|&index| &entries[index]));
    take_out(manifest, catalog, &names, reduction);
    let mut index = 0;
    entries.retain(|_| {
        index += 1;
        !gone.contains_key(&(index - 1))
    });
    leave_unfilled(manifest, catalog, entries, &mut exceptions);
    use_what_is_there(catalog, entries, target, &mut exceptions);
    leave_out_services(catalog, &mut exceptions);
    exceptions
}

fn exception(what: impl Into<String>, reason: impl Into<String>) -> Exception {
    Exception { what: what.into(), reason: reason.into() }
}

/// What people call it.
fn called(entry: &Entry) -> String {
    match entry.tag.strip_prefix("USER MAPPING ") {
        Some(mapping) if entry.kind == "USER MAPPING" => {
            format!("user mapping {}", entry::visible(mapping).replacen(" SERVER ", " on server ", 1))
        }
        _ => entry::name(entry),
    }
}

fn is_extension(entry: &Entry, name: &str) -> bool {
    entry.kind == "EXTENSION" && entry.tag == name
}

/// Whether people would look for it by itself.
fn is_told(entry: &Entry) -> bool {
    !matches!(
        entry.kind.as_str(),
        "COMMENT"
            | "SECURITY LABEL"
            | "ACL"
            | "TABLE DATA"
            | "SEQUENCE SET"
            | "SEQUENCE OWNED BY"
            | "MATERIALIZED VIEW DATA"
            | "STATISTICS DATA"
            | "ROW SECURITY"
            | "INDEX ATTACH"
            | "TABLE ATTACH"
    )
}

/// Entries that are taken out, each with the reason.
fn gone(
    manifest: &Manifest,
    catalog: &Catalog,
    entries: &[Entry],
    reduction: &Reduction,
) -> BTreeMap<usize, String> {
    let graph = Graph::new(entries);
    let without_rows: BTreeSet<TableName> = manifest
        .tables
        .iter()
        .filter(|table| matches!(table.data, TableData::Excluded | TableData::Unreadable))
        .map(|table| (table.schema.clone(), table.name.clone()))
        .collect();
    let reason = |index: usize| -> Option<String> {
        let entry = &entries[index];
        match entry.kind.as_str() {
            "EXTENSION" => reduction.extensions.get(&entry.tag).cloned(),
            "USER MAPPING" => Some("a drill takes along nothing to log in elsewhere with".to_owned()),
            "SUBSCRIPTION" | "SUBSCRIPTION TABLE" => {
                Some("a subscription would start to copy from its publisher".to_owned())
            }
            "FK CONSTRAINT" if dangles(&graph, index, &without_rows) => {
                Some("the backup does not carry the rows it refers to".to_owned())
            }
            "TRIGGER" => calls_platform(entry, &catalog.hosting),
            _ => None,
        }
    };
    let roots = (0..entries.len()).filter_map(|index| Some((index, reason(index)?)));
    let mut gone = closure(&graph, roots.collect());
    let names = Names::of(gone.keys().map(|&index| &entries[index]));
    let sequences: BTreeSet<String> = catalog
        .inventory
        .items
        .iter()
        .filter(|item| names.owns_sequence(item))
        .map(|item| item.name.clone())
        .collect();
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.kind == "SEQUENCE") {
        let name = entry.schema.as_deref().map(|schema| display_name(schema, &entry.tag));
        if name.is_some_and(|name| sequences.contains(&name)) {
            gone.entry(index).or_insert_with(|| "its table is left out".to_owned());
        }
    }
    closure(&graph, gone)
}

/// The entries, and all that depend on them.
fn closure(graph: &Graph<'_>, mut gone: BTreeMap<usize, String>) -> BTreeMap<usize, String> {
    loop {
        let before = gone.len();
        for index in 0..graph.entries.len() {
            if gone.contains_key(&index) {
                continue;
            }
            let cause = graph.dependencies(index).find(|dependency| gone.contains_key(dependency));
            if let Some(cause) = cause {
                gone.insert(index, format!("it needs {}", entry::name(&graph.entries[cause])));
            }
        }
        if gone.len() == before {
            return gone;
        }
    }
}

/// Whether a foreign key refers to a table whose rows the backup lacks, and its own table has rows.
fn dangles(graph: &Graph<'_>, index: usize, without_rows: &BTreeSet<TableName>) -> bool {
    let key = &graph.entries[index];
    let tables = graph.dependencies(index).map(|other| &graph.entries[other]);
    let mut without = tables
        .filter(|table| table.kind == "TABLE")
        .filter(|table| {
            let name = table.schema.clone().map(|schema| (schema, table.tag.clone()));
            name.is_some_and(|name| without_rows.contains(&name))
        })
        .map(|table| {
            table.schema == key.schema
                && key.tag.strip_prefix(table.tag.as_str()).is_some_and(|rest| rest.starts_with(' '))
        })
        .peekable();
    without.peek().is_some() && !without.any(|is_own| is_own)
}

/// Why a trigger cannot be made: its function is the platform's.
fn calls_platform(entry: &Entry, source: &Hosting) -> Option<String> {
    let function = name_parts(executed(&entry.definition)?);
    let schema = function.first().filter(|_| function.len() > 1)?;
    (source.keeper(schema) == Keeper::Internal)
        .then(|| format!("it calls a function of schema {schema}, which only {} has", source.platform))
}

/// Names of entries that are taken out, to recognise what the inventory and the manifest say of them.
#[derive(Default)]
struct Names {
    /// Schema and name; the name of a function has its arguments, that of a table's part the table
    /// before it, as in pg_dump's tags.
    in_schemas: BTreeSet<(String, String)>,
    /// Kind and name of the others.
    others: BTreeSet<(String, String)>,
}

impl Names {
    fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut names = Self::default();
        for entry in entries.filter(|entry| is_told(entry)) {
            match &entry.schema {
                Some(schema) => names.in_schemas.insert((schema.clone(), entry.tag.clone())),
                None => names.others.insert((entry.kind.clone(), entry.tag.clone())),
            };
        }
        names
    }

    fn has(&self, schema: &str, name: &str) -> bool {
        self.in_schemas.contains(&(schema.to_owned(), name.to_owned()))
    }

    /// Whether an SQL identity (`public.t`, `public.t.column`, `public.f(integer)`) is that of one, or of
    /// a part of one.
    fn covers(&self, identity: &str) -> bool {
        let open = unquoted(identity, '(');
        let (name, arguments) = identity.split_at(open.unwrap_or(identity.len()));
        let parts = name_parts(name);
        let Some((schema, rest)) = parts.split_first() else { return false };
        let mut tag = String::new();
        rest.iter().enumerate().any(|(number, part)| {
            if number > 0 {
                tag.push(' ');
            }
            tag.push_str(part);
            self.has(schema, &tag) || self.has(schema, &format!("{tag}{arguments}"))
        })
    }

    fn covers_item(&self, item: &Item) -> bool {
        match item.kind {
            ObjectKind::UserMapping => true,
            ObjectKind::Comment | ObjectKind::SecurityLabel => {
                item.name.match_indices(' ').any(|(at, _)| self.covers(item.name.get(at + 1..).unwrap_or("")))
            }
            ObjectKind::Sequence => self.covers(&item.name) || self.owns_sequence(item),
            kind if kind.is_in_schema() => self.covers(&item.name),
            kind => {
                let kind = kind.singular().to_uppercase();
                let kind = if kind == "FOREIGN SERVER" { "SERVER" } else { kind.as_str() };
                self.others.contains(&(kind.to_owned(), name_parts(&item.name).concat()))
            }
        }
    }

    /// Whether the sequence belongs to a column of a table that is taken out.
    fn owns_sequence(&self, item: &Item) -> bool {
        let column = |line: &str| {
            let rest = line.strip_prefix("identity of ").or_else(|| line.strip_prefix("owned by "));
            rest.is_some_and(|column| self.covers(column))
        };
        item.kind == ObjectKind::Sequence && item.definition.lines().any(column)
    }
}

/// Where a character stands outside of quotes.
fn unquoted(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.find(|character| {
        quoted ^= character == '"';
        character == wanted && !quoted
    })
}

fn take_out(manifest: &mut Manifest, catalog: &mut Catalog, names: &Names, reduction: &Reduction) {
    let is_gone = |extension: &str| reduction.extensions.contains_key(extension);
    let schemas: BTreeSet<String> = catalog
        .extensions
        .iter()
        .filter(|extension| is_gone(&extension.name))
        .map(|extension| extension.schema.clone())
        .collect();
    let inventory = &mut catalog.inventory;
    inventory.items.retain(|item| !names.covers_item(item));
    let own: BTreeSet<&str> = inventory.items.iter().map(|item| item.name.as_str()).collect();
    inventory.privileges.retain(|held| {
        // Of members of extensions only the privileges are recorded, not whose members they are.
        let schema = name_parts(&held.name).into_iter().next().unwrap_or_default();
        let is_member = !own.contains(held.name.as_str()) && schemas.contains(&schema);
        !(is_member || names.covers(&held.name))
    });
    catalog.extensions.retain(|extension| !is_gone(&extension.name));
    manifest.tables.retain(|table| {
        let of_extension =
            matches!(&table.data, TableData::Configuration { extension, .. } if is_gone(extension));
        !of_extension && !names.has(&table.schema, &table.name)
    });
    let all: BTreeSet<String> = inventory
        .items
        .iter()
        .filter(|item| item.kind == ObjectKind::Sequence)
        .map(|item| item.name.clone())
        .collect();
    manifest.sequences.retain(|sequence| {
        !names.has(&sequence.schema, &sequence.name)
            && (names.in_schemas.is_empty() || all.contains(&display_name(&sequence.schema, &sequence.name)))
    });
    manifest.materialized_views.retain(|view| !names.has(&view.schema, &view.name));
}

/// Leaves materialized views empty that read foreign tables, through other views too.
fn leave_unfilled(
    manifest: &mut Manifest,
    catalog: &mut Catalog,
    entries: &[Entry],
    exceptions: &mut Vec<Exception>,
) {
    let graph = Graph::new(entries);
    let is = |index: usize, kinds: &[&str]| kinds.contains(&entries[index].kind.as_str());
    let mut outward: BTreeSet<usize> =
        (0..entries.len()).filter(|&index| is(index, &["FOREIGN TABLE"])).collect();
    // Who reads a partitioned table reads its partitions.
    let parents: Vec<usize> = (0..entries.len())
        .filter(|&index| is(index, &["FOREIGN TABLE"]) || is(index, &["TABLE ATTACH"]))
        .filter(|&index| {
            is(index, &["FOREIGN TABLE"]) || graph.dependencies(index).any(|other| outward.contains(&other))
        })
        .flat_map(|index| {
            graph.dependencies(index).filter(|&other| is(other, &["TABLE"])).collect::<Vec<_>>()
        })
        .collect();
    outward.extend(parents);
    loop {
        let before = outward.len();
        for index in 0..entries.len() {
            if is(index, &["VIEW", "MATERIALIZED VIEW", "RULE"])
                && graph.dependencies(index).any(|other| outward.contains(&other))
            {
                outward.insert(index);
            }
        }
        if outward.len() == before {
            break;
        }
    }
    for &index in outward.iter().filter(|&&index| is(index, &["MATERIALIZED VIEW"])) {
        let entry = &entries[index];
        let schema = entry.schema.as_deref().unwrap_or_default();
        let mut views = manifest.materialized_views.iter_mut();
        let view = views.find(|view| view.schema == schema && view.name == entry.tag && view.populated);
        let Some(view) = view else { continue };
        view.populated = false;
        let name = display_name(schema, &entry.tag);
        let mut items = catalog.inventory.items.iter_mut();
        if let Some(item) = items.find(|item| item.kind == ObjectKind::MaterializedView && item.name == name)
        {
            item.definition = format!("not populated\n{}", item.definition);
        }
        exceptions.push(exception(
            format!("rows of {}", entry::name(entry)),
            "it reads a foreign table: a drill does not refresh it",
        ));
    }
}

/// Tablespaces and versions of extensions belong to a server, not to a backup.
fn use_what_is_there(
    catalog: &mut Catalog,
    entries: &mut [Entry],
    target: &TargetState,
    exceptions: &mut Vec<Exception>,
) {
    let mut missing: BTreeSet<String> = BTreeSet::new();
    for entry in entries.iter_mut() {
        if let Some(space) =
            entry.tablespace.take_if(|space| !space.is_empty() && !target.tablespaces.contains(space))
        {
            missing.insert(space);
        }
    }
    for space in missing {
        let line = format!("tablespace {}", quote_identifier(&space));
        let plain = format!("tablespace {}", display_part(&space));
        for item in &mut catalog.inventory.items {
            if item.definition.lines().any(|found| found == line || found == plain) {
                let kept = item.definition.lines().filter(|found| *found != line && *found != plain);
                item.definition = kept.collect::<Vec<_>>().join("\n");
            }
        }
        exceptions.push(exception(plain, "the default one is used here"));
    }
    for extension in &mut catalog.extensions {
        let name = &extension.name;
        let installed = target.extensions.get(name).map(|(version, _)| version);
        let version = installed.or_else(|| target.available.get(name));
        if let Some(version) = version.filter(|version| **version != extension.version) {
            exceptions.push(exception(
                format!("version {} of extension {name}", extension.version),
                format!("version {version} is installed here"),
            ));
            extension.version.clone_from(version);
        }
    }
}

/// What a platform's services would act on.
fn leave_out_services(catalog: &mut Catalog, exceptions: &mut Vec<Exception>) {
    for policy in std::mem::take(&mut catalog.policies) {
        let table = display_name(&policy.schema, &policy.table);
        let what = format!("policy {} on {table}", display_part(&policy.name));
        exceptions.push(exception(what, format!("{} makes that table", catalog.hosting.platform)));
    }
    let counted = |count: usize, one: &str, many: &str| {
        if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
    };
    let jobs = std::mem::take(&mut catalog.cron_jobs).len();
    if jobs > 0 {
        let what = counted(jobs, "job of pg_cron", "jobs of pg_cron");
        exceptions.push(exception(what, "a drill runs no jobs"));
    }
    let secrets = std::mem::take(&mut catalog.secrets).len();
    if secrets > 0 {
        let what = counted(secrets, "secret of the vault", "secrets of the vault");
        exceptions.push(exception(what, "a drill has no vault to put it into"));
    }
}

#[cfg(test)]
mod tests;

//! The plan of a restore. Pure: backup and target state in, steps out.

use std::collections::{BTreeMap, BTreeSet};

use super::clear::Cover;
use super::entry::{self, Phase, Treatment};
use super::guards::has_rows;
use super::identity::{self, Identity};
use super::owners::Owners;
use super::part::{self, Part};
use super::roles::{MissingRole, Roles};
use super::selection::{Carried, Chosen, Graph, TableName};
use super::standing;
use super::target::TargetState;
use super::{ExistingRows, Parts, rows};
use crate::archive::Entry;
use crate::inventory::ObjectKind;
use crate::inventory::catalog::Catalog;
use crate::postgres::identifier::{display_name, display_part};
use crate::repository::format::manifest::Manifest;

/// What a restore would do.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct RestorePlan {
    /// The backup.
    pub backup: String,
    /// `host:port/database`.
    pub target: String,
    /// Such as `PostgreSQL 17.4`.
    pub target_server: String,
    /// Everything happens in one transaction.
    pub atomic: bool,
    /// Something that is there would be dropped, emptied or replaced.
    pub destructive: bool,
    /// A safety backup of the target comes first, so that what was there can be put back; of an empty
    /// target too, where a failure leaves something behind.
    pub safety_backup: bool,
    /// Why it is not one transaction although the target is not empty.
    pub not_atomic_because: Option<String>,
    /// Sessions that work at once.
    pub sessions: usize,
    /// Objects that would be dropped, by kind.
    pub drop: BTreeMap<ObjectKind, usize>,
    /// Rows (estimated) that would be dropped with them.
    pub drop_rows: u64,
    /// Every object that would be dropped by a statement of its own, such as `table public.orders`.
    pub dropped: Vec<String>,
    /// Tables that would be emptied before rows are loaded.
    pub emptied: Vec<String>,
    /// Rows are added to those that are in the tables.
    pub appends: bool,
    /// Schemas of the target that the backup does not cover: nothing in them is touched.
    pub left_alone: Vec<String>,
    /// What was chosen of the backup, such as `table public.orders`; empty for all of it.
    pub chosen: Vec<String>,
    /// What gets another name, such as `table public.orders to public.orders_old`.
    pub renamed: Vec<String>,
    /// What comes besides: what the chosen objects need, and what depends at the target on what is
    /// replaced and is brought back.
    pub along: Vec<String>,
    /// What the chosen objects need and the target has: it stays.
    pub stays: Vec<String>,
    /// Objects that would be created, by kind.
    pub create: BTreeMap<ObjectKind, usize>,
    /// Tables whose rows would be loaded.
    pub load_tables: usize,
    /// Rows that would be loaded.
    pub load_rows: u64,
    /// COPY bytes that would be loaded.
    pub load_bytes: u64,
    /// What happens, in order, in a few words each.
    pub steps: Vec<String>,
    /// What will not be as in the backup, each in words (owner mapped, role missing …).
    pub remarks: Vec<String>,
    /// Roles that would be created.
    pub create_roles: Vec<String>,
    /// The role of the target for each role of the backup that is mapped.
    pub map_roles: BTreeMap<String, String>,
    /// Roles of the backup that the target lacks.
    pub missing_roles: Vec<MissingRole>,
    /// What to know, although nothing differs for it.
    pub notes: Vec<String>,
    /// Roles that get what an application needs, beyond the backup's privileges.
    pub grant_to: Vec<String>,
    /// Objects whose privileges are made equal to the backup's, beside the owners' by role of the target.
    pub privileges: BTreeMap<String, usize>,
    /// What would make the result more like the backup.
    pub hints: Vec<String>,
}

/// Entries of the archive by the time they are replayed, each list in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Phases {
    pub(super) before: Vec<usize>,
    pub(super) after: Vec<usize>,
    pub(super) late: Vec<usize>,
}

/// What a restore does, as decided: everything `apply` needs besides the backup itself.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    pub(super) parts: Parts,
    /// One transaction on one session.
    pub(super) atomic: bool,
    pub(super) sessions: usize,
    /// What is cleared first, and in what.
    pub(super) cover: Option<Cover>,
    /// Objects that this restore makes, where it does not make all of the backup's.
    pub(super) made: BTreeSet<Identity>,
    /// What becomes of rows that are in the tables.
    pub(super) existing_rows: ExistingRows,
    pub(super) carried: Carried,
    /// What the login may not make: kind, schema, pg_dump's tag.
    pub(super) forbidden: Vec<(String, String, String)>,
    pub(super) phases: Phases,
    pub(super) owners: Owners,
    pub(super) roles: Roles,
    /// Tables that COPY loads, in the order in which a session without the right to silence
    /// foreign keys must load them.
    pub(super) tables: Vec<TableName>,
}

/// What a plan is made from.
pub(super) struct Input<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) catalog: &'a Catalog,
    pub(super) graph: &'a Graph<'a>,
    pub(super) chosen: &'a Chosen,
    pub(super) target: &'a TargetState,
    pub(super) parts: Parts,
    pub(super) sessions: usize,
    pub(super) cover: Option<Cover>,
    pub(super) existing_rows: ExistingRows,
    pub(super) carried: Carried,
    pub(super) tables: Vec<TableName>,
    pub(super) roles: Roles,
    /// Several sessions were asked for, whatever the target holds.
    pub(super) in_parallel: bool,
    /// A safety backup comes first where something could be lost.
    pub(super) safety_backup: bool,
}

/// More rows than this are not loaded in one transaction, where a safety backup stands behind it. It would
/// hold its locks for the better part of an hour, keep vacuum from its work on the whole server for as long,
/// and need room for the old data and the new.
const ATOMIC_LIMIT_BYTES: u64 = 64 << 30;

/// Decides everything.
pub(super) fn make(input: Input<'_>) -> (RestorePlan, Steps) {
    let Input { manifest, catalog, graph, chosen, target, parts, .. } = &input;
    let chosen_entries: Vec<&Entry> = chosen.entries.iter().map(|&index| &graph.entries[index]).collect();
    let (owners, owned) = resolve_owners(&chosen_entries, manifest, *parts, target, &input.roles);
    let mut remarks = owners.remarks(&owned);
    remarks.extend(chosen.remarks.iter().cloned());
    if parts.definitions {
        remarks.extend(extension_remarks(catalog, target));
        remarks.extend(storage_remarks(&chosen_entries, target));
    }
    let phases = if parts.definitions { phases(graph, chosen) } else { Phases::default() };
    let loaded: Vec<_> = if parts.rows {
        manifest.tables.iter().filter(|table| has_rows(table)).collect()
    } else {
        Vec::new()
    };
    let (chosen_names, along) = match &input.carried {
        Carried::Only(part) if part.by_request => {
            let tables = manifest.tables.iter().map(|table| (table.schema.clone(), table.name.clone()));
            let tables: Vec<TableName> = tables.collect();
            let names = chosen_names(&chosen_entries, tables.iter(), part, *parts);
            (names, standing::along(graph, chosen, part))
        }
        _ => (Vec::new(), Vec::new()),
    };
    let load_bytes: u64 = loaded.iter().map(|table| table.bytes).sum();
    let not_atomic_because = why_not_atomic(&input, load_bytes);
    let atomic = (input.cover.is_some() || !parts.definitions) && not_atomic_because.is_none();
    let mut plan = RestorePlan {
        chosen: chosen_names,
        along,
        backup: manifest.backup.to_string(),
        target: target.target.clone(),
        target_server: target.server(),
        atomic,
        sessions: if atomic { 1 } else { input.sessions },
        emptied: emptied(manifest, input.existing_rows),
        appends: input.existing_rows == ExistingRows::Append,
        left_alone: left_alone(input.cover.as_ref(), target),
        create: if parts.definitions { created(&input, &chosen_entries) } else { BTreeMap::new() },
        load_tables: loaded.len(),
        load_rows: loaded.iter().map(|table| table.rows).sum(),
        load_bytes,
        not_atomic_because,
        steps: steps_in_words(&input, &phases, loaded.len(), atomic),
        remarks,
        ..RestorePlan::default()
    };
    input.roles.announce(&mut plan);
    let made = made(graph, &phases);
    let steps = Steps {
        parts: *parts,
        atomic,
        sessions: plan.sessions,
        cover: input.cover,
        made,
        existing_rows: input.existing_rows,
        carried: input.carried,
        forbidden: input.chosen.forbidden.clone(),
        phases,
        owners,
        roles: input.roles,
        tables: input.tables,
    };
    (plan, steps)
}

fn made(graph: &Graph<'_>, phases: &Phases) -> BTreeSet<Identity> {
    let all = phases.before.iter().chain(&phases.after).chain(&phases.late);
    all.filter_map(|&index| identity::of_entry(graph, index)).collect()
}

/// Why a target that is not empty is restored into on several sessions all the same.
fn why_not_atomic(input: &Input<'_>, load_bytes: u64) -> Option<String> {
    if input.cover.is_none() || !input.parts.definitions || input.sessions < 2 {
        return None;
    }
    if input.in_parallel {
        return Some("as asked for".to_owned());
    }
    let limit = ATOMIC_LIMIT_BYTES >> 30;
    (input.safety_backup && load_bytes > ATOMIC_LIMIT_BYTES)
        .then(|| format!("more than {limit} GiB to load are too much for one transaction"))
}

/// When each chosen entry is replayed. What has no section of its own (comments, labels) follows
/// the latest of what it depends on.
pub(super) fn phases(graph: &Graph<'_>, chosen: &Chosen) -> Phases {
    let mut by_index: BTreeMap<usize, (Phase, bool)> = BTreeMap::new();
    for &index in &chosen.entries {
        let entry = &graph.entries[index];
        let Treatment::Replayed(mut phase) = entry::treatment(entry) else { continue };
        let is_chosen = |other: &usize| chosen.entries.binary_search(other).is_ok();
        if entry.kind == "TABLE ATTACH" && !graph.dependencies(index).all(|other| is_chosen(&other)) {
            // To a table that is in use: with rows and indexes, which become the other's partitions.
            phase = Phase::Late;
        }
        let mut reacts = entry.kind == "EVENT TRIGGER";
        for dependency in graph.dependencies(index) {
            if let Some((earlier, earlier_reacts)) = by_index.get(&dependency) {
                phase = phase.max(*earlier);
                reacts |= *earlier_reacts;
            }
        }
        by_index.insert(index, (phase, reacts));
    }
    let list = |wanted: Phase, wanted_reacts: Option<bool>| {
        by_index
            .iter()
            .filter(move |(_, (phase, reacts))| {
                *phase == wanted && wanted_reacts.is_none_or(|wanted| wanted == *reacts)
            })
            .map(|(&index, _)| index)
            .collect::<Vec<usize>>()
    };
    let mut late = list(Phase::Late, Some(false));
    late.extend(list(Phase::Late, Some(true)));
    Phases { before: list(Phase::PreData, None), after: list(Phase::PostData, None), late }
}

fn resolve_owners(
    entries: &[&Entry],
    manifest: &Manifest,
    parts: Parts,
    target: &TargetState,
    roles: &Roles,
) -> (Owners, BTreeMap<String, usize>) {
    let mut owned: BTreeMap<String, usize> = BTreeMap::new();
    if parts.definitions {
        for owner in entries.iter().filter_map(|entry| entry::owner(entry)) {
            *owned.entry(owner.to_owned()).or_default() += 1;
        }
    }
    if parts.rows {
        for object in &manifest.large_objects.list {
            *owned.entry(object.owner.clone()).or_default() += 1;
        }
    }
    let owners = owned.keys().map(String::as_str);
    (Owners::new(&target.login, owners, &target.roles, &roles.renamed), owned)
}

fn extension_remarks(catalog: &Catalog, target: &TargetState) -> Vec<String> {
    let mut remarks = Vec::new();
    for extension in &catalog.extensions {
        let name = &extension.name;
        let installed = target.extensions.get(name);
        let version = installed.map(|(version, _)| version).or_else(|| target.available.get(name));
        if let Some(version) = version.filter(|version| **version != extension.version) {
            remarks.push(format!(
                "extension {name} will have version {version}; the backup was made with {}",
                extension.version
            ));
        }
        if let Some((_, schema)) = installed.filter(|(_, schema)| *schema != extension.schema) {
            remarks.push(format!(
                "extension {name} stays in schema {schema}; in the backup it is in {}",
                extension.schema
            ));
        }
    }
    remarks
}

fn storage_remarks(entries: &[&Entry], target: &TargetState) -> Vec<String> {
    let mut tablespaces: BTreeMap<&str, usize> = BTreeMap::new();
    let mut methods: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries {
        if let Some(space) = entry.tablespace.as_deref().filter(|space| !space.is_empty())
            && !target.tablespaces.contains(space)
        {
            *tablespaces.entry(space).or_default() += 1;
        }
        if let Some(method) = entry.access_method.as_deref()
            && !target.access_methods.contains(method)
            && !entries.iter().any(|other| other.kind == "ACCESS METHOD" && other.tag == method)
        {
            *methods.entry(method).or_default() += 1;
        }
    }
    let spaces = tablespaces.into_iter().map(|(space, count)| {
        format!(
            "{count} objects of tablespace {space} go to the default one: the target has no such tablespace"
        )
    });
    let methods = methods.into_iter().map(|(method, count)| {
        format!("{count} tables of access method {method} become heap tables: the target has no such method")
    });
    spaces.chain(methods).collect()
}

fn emptied(manifest: &Manifest, existing: ExistingRows) -> Vec<String> {
    let tables = if existing == ExistingRows::Truncate { rows::emptied(manifest) } else { BTreeSet::new() };
    tables.iter().map(|(schema, name)| display_name(schema, name)).collect()
}

fn left_alone(cover: Option<&Cover>, target: &TargetState) -> Vec<String> {
    let Some(cover) = cover else { return Vec::new() };
    target.schemas.keys().filter(|schema| !cover.touches(schema)).cloned().collect()
}

fn created(input: &Input<'_>, entries: &[&Entry]) -> BTreeMap<ObjectKind, usize> {
    let mut counts = if input.carried == Carried::Everything {
        let mut counts = input.catalog.inventory.counts();
        for kind in [ObjectKind::Column, ObjectKind::Comment, ObjectKind::LargeObject] {
            counts.remove(&kind);
        }
        counts
    } else {
        let mut counts = BTreeMap::new();
        for kind in entries.iter().filter_map(|entry| kind_of(&entry.kind)) {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    };
    if input.parts.rows && !input.manifest.large_objects.list.is_empty() {
        counts.insert(ObjectKind::LargeObject, input.manifest.large_objects.list.len());
    }
    counts
}

/// The kind of object that an entry of an archive makes.
pub(super) fn kind_of(kind: &str) -> Option<ObjectKind> {
    Some(match kind {
        "SCHEMA" => ObjectKind::Schema,
        "EXTENSION" => ObjectKind::Extension,
        "TABLE" => ObjectKind::Table,
        "VIEW" => ObjectKind::View,
        "MATERIALIZED VIEW" => ObjectKind::MaterializedView,
        "SEQUENCE" => ObjectKind::Sequence,
        "FOREIGN TABLE" => ObjectKind::ForeignTable,
        "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" => ObjectKind::Constraint,
        "INDEX" => ObjectKind::Index,
        "TRIGGER" => ObjectKind::Trigger,
        "RULE" => ObjectKind::Rule,
        "POLICY" => ObjectKind::Policy,
        "FUNCTION" => ObjectKind::Function,
        "PROCEDURE" => ObjectKind::Procedure,
        "AGGREGATE" => ObjectKind::Aggregate,
        "TYPE" => ObjectKind::Type,
        "DOMAIN" => ObjectKind::Domain,
        "STATISTICS" => ObjectKind::Statistics,
        "PUBLICATION" => ObjectKind::Publication,
        "EVENT TRIGGER" => ObjectKind::EventTrigger,
        _ => return None,
    })
}

fn steps_in_words(input: &Input<'_>, phases: &Phases, tables: usize, atomic: bool) -> Vec<String> {
    let mut steps = Vec::new();
    if input.cover.as_ref().is_some_and(|cover| !cover.is_empty()) {
        steps.push("drop what the backup brings back".to_owned());
    }
    if input.parts.definitions {
        steps.push(format!("replay {} definitions that come before the rows", phases.before.len()));
    }
    match input.existing_rows {
        ExistingRows::Truncate => steps.push("empty the tables".to_owned()),
        ExistingRows::Append => steps.push("keep others from writing into the tables".to_owned()),
        ExistingRows::Refuse => {}
    }
    if input.parts.rows {
        steps.push(format!("load the rows of {tables} tables"));
        if !input.manifest.large_objects.list.is_empty() {
            steps.push(format!("load {} large objects", input.manifest.large_objects.list.len()));
        }
    }
    if input.parts.definitions {
        steps.push(format!("build {} indexes, constraints, triggers and the like", phases.after.len()));
    }
    if input.parts.rows {
        if !atomic {
            steps.push("analyze".to_owned());
        }
        steps.push(format!("set the positions of {} sequences", input.manifest.sequences.len()));
    }
    if input.parts.definitions {
        steps.push("make privileges equal to the backup's".to_owned());
    }
    if input.parts.rows {
        let populated = input.manifest.materialized_views.iter().filter(|view| view.populated).count();
        steps.push(format!("refresh {populated} materialized views"));
    }
    if !phases.late.is_empty() {
        steps.push(format!(
            "replay {} default privileges, publications and event triggers",
            phases.late.len()
        ));
    }
    if input.parts.rows && atomic {
        steps.push("analyze".to_owned());
    }
    steps.push("compare with the backup".to_owned());
    steps
}

/// What was chosen by name, for people.
pub(super) fn chosen_names<'t>(
    entries: &[&Entry],
    tables: impl Iterator<Item = &'t TableName>,
    part: &Part,
    parts: Parts,
) -> Vec<String> {
    let schemas = part.schemas.iter().map(|schema| format!("schema {}", display_part(schema)));
    let named = |schema: &str| !part.schemas.contains(schema);
    if !parts.definitions {
        let tables = tables.filter(|(schema, _)| named(schema));
        let tables = tables.map(|(schema, name)| format!("table {}", display_name(schema, name)));
        return schemas.chain(tables).collect();
    }
    let relations = entries.iter().filter(|entry| {
        entry.schema.as_deref().is_some_and(|schema| named(schema) && part.has_relation(schema, &entry.tag))
            && part::is_relation(&entry.kind)
            && !part.brought_back.contains(&entry.id)
    });
    schemas.chain(relations.map(|entry| entry::name(entry))).collect()
}

/// `3 tables`, `1 index`.
pub(super) fn counted(kind: ObjectKind, count: usize) -> String {
    format!("{count} {}", if count == 1 { kind.singular() } else { kind.plural() })
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::sample;
    use super::super::selection::choose;
    use super::*;

    #[test]
    fn comments_follow_what_they_describe_and_event_triggers_come_last() {
        let entries = vec![
            sample(1, "TABLE", "t", &[]),
            sample(2, "COMMENT", "TABLE t", &[1]),
            sample(3, "EVENT TRIGGER", "e", &[]),
            sample(4, "COMMENT", "EVENT TRIGGER e", &[3]),
            sample(5, "INDEX", "i", &[1]),
            sample(6, "COMMENT", "INDEX i", &[5]),
            sample(7, "PUBLICATION", "p", &[]),
            sample(8, "COMMENT", "PUBLICATION p", &[7]),
            sample(9, "ACL", "TABLE t", &[1]),
            sample(10, "DEFAULT ACL", "DEFAULT PRIVILEGES FOR TABLES", &[]),
        ];
        let graph = Graph::new(&entries);
        let found = phases(&graph, &choose(&graph, &Carried::Everything));
        let ids = |list: &[usize]| list.iter().map(|&index| entries[index].id).collect::<Vec<_>>();
        assert_eq!(ids(&found.before), [1, 2]);
        assert_eq!(ids(&found.after), [5, 6]);
        assert_eq!(ids(&found.late), [7, 8, 10, 3, 4]);
    }
}

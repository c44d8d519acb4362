//! What must hold before anything is changed at the target. Pure: each refusal names what stands
//! in the way and what to do.

use std::collections::{BTreeMap, BTreeSet};

use super::column_types::{Fit, fit};
use super::hosted::{self, Managed};
use super::selection::TableName;
use super::target::{TargetState, TargetTable};
use super::{DanglingKeys, Parts, plan};
use crate::archive::Entry;
use crate::error::{Error, ErrorKind, Result, and_more};
use crate::inventory::{Inventory, Item, ObjectKind, name_parts};
use crate::platform::Platform;
use crate::postgres::identifier::{display_name, quote_qualified};
use crate::repository::format::manifest::{CopyFormat, Manifest, Sections, Table, TableData};

/// How many names a refusal lists before it only counts.
const NAMED: usize = 5;

/// Which parts are restored, given what the backup holds and what was asked for.
///
/// # Errors
/// Usage: the backup does not hold what was asked for.
pub(super) fn parts(held: Sections, asked: Sections) -> Result<Parts> {
    let definitions = held != Sections::DataOnly && asked != Sections::DataOnly;
    let rows = held != Sections::SchemaOnly && asked != Sections::SchemaOnly;
    if definitions || rows {
        return Ok(Parts { definitions, rows });
    }
    let (has, option) = match held {
        Sections::DataOnly => ("rows only", "--schema-only"),
        _ => ("definitions only", "--data-only"),
    };
    Err(Error::new(ErrorKind::Usage, format!("the backup holds {has}, so {option} would restore nothing"))
        .hint("choose a backup that holds both, or leave the option out"))
}

/// Whether the server can hold the backup at all.
///
/// # Errors
/// Refused, with the reason.
pub(super) fn check_server(manifest: &Manifest, target: &TargetState) -> Result<()> {
    let source = Origin {
        major: manifest.source.server_version_num / 10_000,
        version: &manifest.source.server_version,
        encoding: &manifest.source.encoding,
    };
    check_origin(&source, "backup's", target)
}

/// Where what is restored comes from.
pub(super) struct Origin<'a> {
    /// Major version of the server; 0 when it is not known.
    pub(super) major: u32,
    pub(super) version: &'a str,
    /// Encoding of its text.
    pub(super) encoding: &'a str,
}

/// Whether the server can hold what comes from there; `whose` says what that is.
///
/// # Errors
/// Refused, with the reason.
pub(super) fn check_origin(source: &Origin<'_>, whose: &str, target: &TargetState) -> Result<()> {
    let what = &target.target;
    if target.in_recovery {
        return Err(Error::refused(format!("{what} is a standby: nothing can be written there"))
            .hint("restore into the primary server"));
    }
    if target.read_only {
        return Err(Error::refused(format!("{what} is read-only for role {}", target.login))
            .why("default_transaction_read_only is on")
            .hint("turn it off for this role or database, or choose another target"));
    }
    if target.major() < source.major {
        return Err(Error::refused(format!(
            "{what} runs {}, older than the {whose} PostgreSQL {}",
            target.server(),
            source.version
        ))
        .why("an older server does not understand all definitions of a newer one")
        .hint(format!("restore into PostgreSQL {} or newer", source.major)));
    }
    check_encoding(source.encoding, target)
}

fn check_encoding(source: &str, target: &TargetState) -> Result<()> {
    let fits = source == target.encoding || (target.encoding == "UTF8" && source != "SQL_ASCII");
    if fits {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{} has encoding {}, which may not hold all text of a backup in {source}",
        target.target, target.encoding
    ))
    .hint(format!("create the target with: CREATE DATABASE … ENCODING '{source}' TEMPLATE template0")))
}

/// Whether every extension of the backup is installed or can be.
///
/// # Errors
/// Refused, naming all that are missing.
pub(super) fn check_extensions<'a>(
    needed: impl Iterator<Item = &'a str>,
    target: &TargetState,
) -> Result<()> {
    let missing: Vec<&str> = needed
        .filter(|name| !target.extensions.contains_key(*name) && !target.available.contains_key(*name))
        .collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let names = missing.join(", ");
    let (noun, verb) = if missing.len() == 1 { ("extension", "is") } else { ("extensions", "are") };
    Err(Error::refused(format!("{noun} {names} {verb} not available at {}", target.target))
        .why("the server's extension directory does not hold what CREATE EXTENSION would need")
        .hint(format!(
            "install it on the server's host (on Debian, `apt search postgresql-{} {first}` names the package; \
             managed hosts list theirs in their console)",
            target.major()
        )))
}

/// Whether the login may create what the backup needs.
///
/// # Errors
/// Refused, naming the missing right and the statement that gives it.
pub(super) fn check_rights(new_schemas: &[&str], used_schemas: &[&str], target: &TargetState) -> Result<()> {
    if let Some(schema) = new_schemas.first()
        && !target.may_create_schemas
    {
        let database = crate::postgres::identifier::quote_identifier(&target.database);
        return Err(Error::refused(format!(
            "role {} may not create schema {schema} at {}",
            target.login, target.target
        ))
        .hint(format!("GRANT CREATE ON DATABASE {database} TO {};", target.login)));
    }
    for schema in used_schemas {
        if target.schemas.get(*schema) == Some(&false) {
            let quoted = crate::postgres::identifier::quote_identifier(schema);
            return Err(Error::refused(format!(
                "role {} may not create objects in schema {schema} at {}",
                target.login, target.target
            ))
            .hint(format!("GRANT CREATE, USAGE ON SCHEMA {quoted} TO {};", target.login)));
        }
    }
    Ok(())
}

/// Foreign keys to rows of the platform that the backup does not carry: made, made without a check, or
/// left out, as asked; one remark for each that is not as in the backup.
///
/// # Errors
/// Refused, naming them and the choices, when nothing was chosen.
pub(super) fn settle_dangling_keys(
    entries: &mut Vec<Entry>,
    managed: &Managed,
    choice: DanglingKeys,
    target: &TargetState,
) -> Result<Vec<String>> {
    let names: BTreeMap<i32, &str> = managed.dangling.iter().map(|(id, name)| (*id, name.as_str())).collect();
    let Some((_, first)) = managed.dangling.first() else { return Ok(Vec::new()) };
    let remarks = |what: &str| names.values().map(|name| format!("{name} {what}")).collect();
    match choice {
        DanglingKeys::Validate => Ok(Vec::new()),
        DanglingKeys::NotValid => {
            for entry in entries.iter_mut().filter(|entry| names.contains_key(&entry.id)) {
                let statement = entry.definition.trim_end().trim_end_matches(';');
                if !statement.ends_with(" NOT VALID") {
                    entry.definition = format!("{statement} NOT VALID;\n");
                }
            }
            Ok(remarks("is not validated: the backup does not carry the rows it refers to"))
        }
        DanglingKeys::LeaveOut => {
            entries.retain(|entry| !names.contains_key(&entry.id));
            Ok(remarks("is left out: the backup does not carry the rows it refers to"))
        }
        DanglingKeys::Refuse => {
            let more = and_more(names.len() - 1);
            Err(Error::refused(format!(
                "{first}{more}: the backup does not carry the rows of the platform that it refers to, and {} \
                 may lack them",
                target.target
            ))
            .hint("--dangling-keys validate    the target holds these rows (it is the same project, say)")
            .hint("--dangling-keys not-valid   make the keys without checking the rows that are there")
            .hint("--dangling-keys leave-out   leave the keys out")
            .hint("or make a backup that carries them: auth_users = \"metadata\" or \"full\""))
        }
    }
}

/// Objects that make a target non-empty: everything but what a fresh database holds, extensions
/// with the schemas made for them, and what only describes other objects.
pub(super) fn contents<'a>(
    inventory: &'a Inventory,
    target: &'a TargetState,
) -> impl Iterator<Item = &'a Item> {
    let is_for_extension = |name: &str| {
        let schema = name_parts(name).concat();
        target.extensions.values().any(|(_, found)| *found == schema)
    };
    let stays = hosted::stays(target).publications;
    inventory.items.iter().filter(move |item| match item.kind {
        _ if target.equal.contains(&(item.kind, item.name.clone())) => false,
        ObjectKind::Publication => !stays.contains(&name_parts(&item.name).concat()),
        ObjectKind::Extension
        | ObjectKind::Comment
        | ObjectKind::SecurityLabel
        | ObjectKind::DefaultPrivileges
        | ObjectKind::Column => false,
        ObjectKind::Schema => item.name != "public" && !is_for_extension(&item.name),
        _ => true,
    })
}

/// # Errors
/// Refused when the target holds anything; counts by kind and names some.
pub(super) fn check_empty(target: &TargetState) -> Result<()> {
    let found: Vec<&Item> = contents(&target.inventory, target).collect();
    if found.is_empty() {
        return Ok(());
    }
    let mut counts = std::collections::BTreeMap::<ObjectKind, usize>::new();
    for item in &found {
        *counts.entry(item.kind).or_default() += 1;
    }
    let counted: Vec<String> = counts.iter().map(|(kind, count)| plan::counted(*kind, *count)).collect();
    let named: Vec<String> = found
        .iter()
        .take(NAMED)
        .map(|item| format!("{} {}", item.kind.singular(), super::entry::visible(&item.name)))
        .collect();
    let more = if found.len() > NAMED { ", …" } else { "" };
    Err(Error::refused(format!("{} is not empty: it holds {}", target.target, counted.join(", ")))
        .why(format!("among them {}{more}", named.join(", ")))
        .hint("--clean replaces what is there, in one transaction")
        .hint("--data-only loads rows into tables that exist")
        .hint(match target.hosting.platform {
            Platform::Supabase => "or restore into a new project",
            _ => "or restore into a new database (createdb)",
        }))
}

/// Whether the rows of a backup fit into the tables that exist.
///
/// # Errors
/// Refused, listing every table and column that does not match.
pub(super) fn check_existing(manifest: &Manifest, target: &TargetState) -> Result<()> {
    let mut mismatches = Vec::new();
    for table in manifest.tables.iter().filter(|table| has_rows(table)) {
        let (schema, name) = load_target(table);
        let shown = display_name(&schema, &name);
        match target.tables.get(&(schema, name)) {
            None => mismatches.push(format!("table {shown} does not exist")),
            Some(found) => mismatches.extend(column_mismatches(&shown, table, found)),
        }
    }
    if mismatches.is_empty() {
        return Ok(());
    }
    let count = mismatches.len();
    let mut error = Error::refused(format!(
        "{} does not match the backup's rows in {count} {}",
        target.target,
        if count == 1 { "place" } else { "places" }
    ));
    error = error.why(mismatches.join("; "));
    Err(error.hint("bring the target's schema to the backup's, or restore without --data-only"))
}

fn column_mismatches(shown: &str, table: &Table, found: &TargetTable) -> Vec<String> {
    let mut mismatches = Vec::new();
    for column in &table.columns {
        match found.columns.get(&column.name) {
            None => mismatches.push(format!("column {} of table {shown} does not exist", column.name)),
            Some(there) if there.generated => {
                mismatches.push(format!("column {} of table {shown} is generated there", column.name));
            }
            Some(there) if fits(table, &column.type_name, &there.type_name) == Fit::Never => {
                mismatches.push(format!(
                    "column {} of table {shown} is of type {} there and {} in the backup",
                    column.name, there.type_name, column.type_name
                ));
            }
            Some(_) => {}
        }
    }
    for (name, column) in &found.columns {
        if column.required && !table.columns.iter().any(|carried| carried.name == *name) {
            mismatches.push(format!(
                "column {name} of table {shown} needs a value there, and the backup has none for it"
            ));
        }
    }
    mismatches
}

/// Values in COPY's binary format are of their type alone.
fn fits(table: &Table, from: &str, to: &str) -> Fit {
    let is_binary = table.chunks.iter().any(|chunk| chunk.format == CopyFormat::Binary);
    if is_binary && from != to { Fit::Never } else { fit(from, to) }
}

/// Columns of another type at the target, whose values may not all fit.
pub(super) fn doubtful_columns(manifest: &Manifest, target: &TargetState) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    for table in manifest.tables.iter().filter(|table| has_rows(table)) {
        let (schema, name) = load_target(table);
        let shown = display_name(&schema, &name);
        let Some(found) = target.tables.get(&(schema, name)) else { continue };
        for column in &table.columns {
            let there = found.columns.get(&column.name);
            let there =
                there.filter(|there| fits(table, &column.type_name, &there.type_name) == Fit::Perhaps);
            notes.extend(there.map(|there| {
                format!(
                    "column {} of table {shown} is of type {} there and {} in the backup: if a value does not fit, \
                     nothing is loaded",
                    column.name, there.type_name, column.type_name
                )
            }));
        }
    }
    notes
}

/// Whether the tables can be emptied: TRUNCATE takes no table that another one refers to.
///
/// # Errors
/// Refused, naming the tables that refer to them and would not be emptied.
pub(super) fn check_truncation(emptied: &BTreeSet<TableName>, target: &TargetState) -> Result<()> {
    let shown = |(schema, name): &TableName| display_name(schema, name);
    let mut outside: Vec<String> = Vec::new();
    for (name, table) in target.tables.iter().filter(|(name, _)| !emptied.contains(*name)) {
        let referred = table.all_references.iter().filter(|other| emptied.contains(*other));
        outside.extend(referred.map(|other| format!("table {} refers to {}", shown(name), shown(other))));
    }
    let Some(first) = outside.first() else { return Ok(()) };
    let more = and_more(outside.len() - 1);
    let mut error = Error::refused(format!("the tables cannot be emptied: {first}{more}"))
        .why("a table that another one refers to is emptied with that one, or not at all");
    for other in outside.iter().skip(1).take(NAMED) {
        error = error.hint(format!("also in the way: {other}"));
    }
    Err(error.hint("choose the tables that refer to them too"))
}

/// Whether rows can be loaded into tables with foreign keys and triggers in place; gives the
/// order of the tables when the login cannot silence them.
///
/// # Errors
/// Refused, naming the triggers that would fire or the tables whose keys go in a circle.
pub(super) fn loading_order(manifest: &Manifest, target: &TargetState) -> Result<Vec<TableName>> {
    let wanted: Vec<TableName> =
        manifest.tables.iter().filter(|table| has_rows(table)).map(load_target).collect();
    if target.may_replicate {
        return Ok(wanted);
    }
    let hint = "restore as a role that may set session_replication_role (from PostgreSQL 15 on: GRANT SET ON \
                PARAMETER session_replication_role TO …)";
    for name in &wanted {
        if let Some(trigger) = target.tables.get(name).and_then(|table| table.triggers.first()) {
            let shown = display_name(&name.0, &name.1);
            return Err(Error::refused(format!(
                "trigger {trigger} of table {shown} would fire for every row"
            ))
            .why(format!("role {} may not silence triggers at {}", target.login, target.target))
            .hint(hint));
        }
    }
    order_by_keys(&wanted, target).map_err(|circle| {
        Error::refused(format!("the foreign keys of tables {} go in a circle", circle.join(", ")))
            .why(format!("no order satisfies them, and role {} may not silence them", target.login))
            .hint(hint)
    })
}

/// The tables such that each comes after those it refers to; the tables left when that is
/// impossible.
pub(super) fn order_by_keys(
    wanted: &[TableName],
    target: &TargetState,
) -> std::result::Result<Vec<TableName>, Vec<String>> {
    let mut left: Vec<&TableName> = wanted.iter().collect();
    left.sort();
    left.dedup();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let (ready, waiting): (Vec<&TableName>, Vec<&TableName>) = left.iter().copied().partition(|name| {
            target.tables.get(*name).is_none_or(|table| {
                table.references.iter().all(|other| other == *name || left.binary_search(&other).is_err())
            })
        });
        if ready.is_empty() {
            return Err(waiting.iter().map(|(schema, name)| display_name(schema, name)).collect());
        }
        ordered.extend(ready.into_iter().cloned());
        left = waiting;
    }
    Ok(ordered)
}

/// Whether the backup has rows for the table.
pub(super) fn has_rows(table: &Table) -> bool {
    matches!(table.data, TableData::Carried | TableData::Configuration { .. })
}

/// The table that COPY loads: the table itself or the root of its partition tree.
pub(super) fn load_target(table: &Table) -> TableName {
    table.load_through.clone().unwrap_or_else(|| (table.schema.clone(), table.name.clone()))
}

/// `"schema"."name"` of the table that COPY loads.
pub(super) fn quoted_load_target(table: &Table) -> String {
    let (schema, name) = load_target(table);
    quote_qualified(&schema, &name)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::repository::format::id::BackupId;
    use crate::repository::format::manifest::{Column, LargeObjects, Selection, Snapshot, Source};

    pub(in crate::restore) fn manifest(version: u32, encoding: &str) -> Manifest {
        Manifest {
            format_version: 1,
            backup: BackupId::new("test_2026-11-21T09-12-04Z").expect("a valid id"),
            source: Source {
                endpoint: String::new(),
                database: String::new(),
                database_oid: 1,
                database_xmin: None,
                server_version_num: version,
                server_version: format!("{}.{}", version / 10_000, version % 100),
                system_identifier: None,
                timeline: None,
                postmaster_started_us: 0,
                in_recovery: false,
                encoding: encoding.into(),
                collate: "C".into(),
                ctype: "C".into(),
                role: String::new(),
            },
            snapshot: Snapshot { id: String::new(), xmin: 3, taken_at: jiff::Timestamp::UNIX_EPOCH },
            selection: Selection::default(),
            tables: Vec::new(),
            sequences: Vec::new(),
            materialized_views: Vec::new(),
            large_objects: LargeObjects::default(),
            encryption: None,
            object_key: None,
            objects: Vec::new(),
            files: Vec::new(),
            not_carried: Vec::new(),
            proof: None,
        }
    }

    fn target(version: u32, encoding: &str) -> TargetState {
        TargetState {
            target: "db:5432/shop".into(),
            version,
            version_text: (version / 10_000).to_string(),
            encoding: encoding.into(),
            login: "me".into(),
            ..TargetState::default()
        }
    }

    fn carried(name: &str, references: &[&str], target: &mut TargetState, manifest: &mut Manifest) {
        let column = Column { name: "id".into(), type_name: "integer".into() };
        manifest.tables.push(Table {
            schema: "public".into(),
            name: name.into(),
            oid: 1,
            filenode: 1,
            kind: 'r',
            persistence: 'p',
            columns: vec![column],
            data: TableData::Carried,
            load_through: None,
            rows: 1,
            bytes: 1,
            chunks: Vec::new(),
            proof: None,
        });
        let references: BTreeSet<TableName> =
            references.iter().map(|name| ("public".to_owned(), (*name).to_owned())).collect();
        let table = TargetTable { references, ..TargetTable::default() };
        target.tables.insert(("public".into(), name.into()), table);
    }

    #[test]
    fn an_older_server_is_refused_and_a_newer_one_is_not() {
        let error = check_server(&manifest(160_004, "UTF8"), &target(150_018, "UTF8")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.message().contains("older than the backup's PostgreSQL 16.4"), "{error}");
        assert!(check_server(&manifest(160_004, "UTF8"), &target(160_001, "UTF8")).is_ok());
        assert!(check_server(&manifest(160_004, "UTF8"), &target(180_000, "UTF8")).is_ok());
    }

    #[test]
    fn a_standby_and_a_read_only_database_are_refused() {
        let standby = TargetState { in_recovery: true, ..target(160_000, "UTF8") };
        let read_only = TargetState { read_only: true, ..target(160_000, "UTF8") };
        for state in [standby, read_only] {
            let error = check_server(&manifest(160_000, "UTF8"), &state).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused);
        }
    }

    #[test]
    fn an_encoding_that_may_not_hold_the_text_is_refused() {
        for (source, there, fits) in [
            ("UTF8", "UTF8", true),
            ("LATIN1", "UTF8", true),
            ("UTF8", "LATIN1", false),
            ("UTF8", "SQL_ASCII", false),
            ("SQL_ASCII", "UTF8", false),
            ("SQL_ASCII", "SQL_ASCII", true),
        ] {
            let checked = check_server(&manifest(160_000, source), &target(160_000, there));
            assert_eq!(checked.is_ok(), fits, "{source} into {there}");
        }
    }

    #[test]
    fn missing_extensions_are_all_named_with_what_to_do() {
        let mut state = target(160_000, "UTF8");
        state.available.insert("hstore".into(), "1.8".into());
        state.extensions.insert("postgis".into(), ("3".into(), "public".into()));
        assert!(check_extensions(["hstore", "postgis"].into_iter(), &state).is_ok());
        let error = check_extensions(["vector", "hstore", "timescaledb"].into_iter(), &state).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.message().contains("vector, timescaledb"), "{error}");
        assert!(!error.hints().is_empty());
    }

    #[test]
    fn tables_are_ordered_by_their_keys_and_circles_refused() {
        let (mut manifest, mut state) = (manifest(160_000, "UTF8"), target(160_000, "UTF8"));
        carried("a", &["b", "a", "elsewhere"], &mut state, &mut manifest);
        carried("b", &["c"], &mut state, &mut manifest);
        carried("c", &[], &mut state, &mut manifest);
        let names = |order: Vec<TableName>| order.into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(names(loading_order(&manifest, &state).expect("an order")), ["c", "b", "a"]);
        carried("c", &["a"], &mut state, &mut manifest);
        let error = loading_order(&manifest, &state).unwrap_err();
        assert!(error.message().contains("public.a, public.b, public.c"), "{error}");
        state.may_replicate = true;
        assert!(loading_order(&manifest, &state).is_ok());
    }
}

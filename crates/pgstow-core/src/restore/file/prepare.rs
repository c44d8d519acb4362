//! Looks at file and target, asks the guards, plans. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::part::{self, Asked, FilePart};
use super::roles::FileRoles;
use super::step::Source;
use super::survey::{Loaded, Survey};
use super::{FileFacts, FileOptions, PreparedFile};
use crate::archive::{Entry, Section};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::inventory::{Inventory, ObjectKind};
use crate::monitor::{Event, Monitor};
use crate::platform::Keeper;
use crate::postgres::Connection;
use crate::postgres::identifier::{display_name, quote_literal, quote_qualified};
use crate::repository::format::manifest::Sections;
use crate::restore::clear::{self, Cover};
use crate::restore::guards::Origin;
use crate::restore::hosted::DashboardMade;
use crate::restore::plan::RestorePlan;
use crate::restore::prepare::grant_to;
use crate::restore::selection::{Carried, Graph, TableName, choose};
use crate::restore::session::Session;
use crate::restore::target::{self, TargetState};
use crate::restore::{Parts, filled, guards, platform};

/// Names that a refusal lists before it only counts.
const NAMED: usize = 5;
/// Texts decoded, and tables asked about, in one statement.
const BATCH: usize = 200;

/// What a part of a file cannot do and a part of a backup can.
const DEPENDENTS: &str = "pgstow import makes a backup of the file: --table of a backup brings back what depends on the table, too";

/// # Errors
/// As [`super::prepare`].
pub(super) fn prepare(
    options: &FileOptions,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<PreparedFile> {
    interrupt.check()?;
    let mut source = Source::open(&options.path)?;
    let facts = source.facts()?;
    if let Source::Plain(_) = source {
        part::check_whole(&options.selection, &facts.file)?;
    }
    let mut session = Session::open(&options.connection, interrupt)?;
    let mut target = target::read(&mut session.connection).map_err(Error::from)?;
    // A file has no inventory to compare them with: they stay.
    target.keep(DashboardMade::find(&target, &Inventory::default()));
    session.login.clone_from(&target.login);
    monitor.event(Event::Connected { endpoint: &target.target, server: &target.server() });
    if let Source::Archive(archive) = &mut source {
        archive.decode(&mut |encoding, texts| decode(&mut session.connection, encoding, texts))?;
        check_origin(&facts, &archive.encoding(), &target)?;
        let forbidden = archive.leave_out(&mut session.connection, &target)?;
        target.called = platform::called_functions(&mut session.connection, &forbidden)?;
    }
    let part = narrow(&mut source, &facts, &target, &mut session.connection, options)?;
    let survey = Survey::of(&source, &target, monitor, interrupt)?;
    if let Source::Plain(_) = source {
        check_origin(&facts, survey.encoding.as_deref().unwrap_or("UTF8"), &target)?;
        check_platform(&survey, &target)?;
    }
    let parts = parts(&survey, options.sections)?;
    let roles = FileRoles::decide(&survey.uses, &options.role_map, options.create_roles, &target)?;
    let cover = if parts.definitions {
        check_definitions(&source, &survey, &target, options, part.as_ref())?
    } else {
        check_rows(&mut session.connection, &survey, &target, options.clean)?
    };
    let doomed = match &cover {
        Some(cover) => {
            let doomed = clear::survey(&mut session.connection, cover).map_err(Error::from)?;
            check_staying(&doomed, &session.login)?;
            doomed.check().map_err(|error| if part.is_some() { error.hint(DEPENDENTS) } else { error })?;
            doomed
        }
        None => clear::Survey::default(),
    };
    let mut plan = plan(&facts, &survey, &target, &roles, parts, options);
    if let Some(part) = &part {
        plan.chosen.clone_from(&part.chosen);
        plan.along.clone_from(&part.along);
        plan.stays.clone_from(&part.stays);
        plan.notes.extend(part::note(part));
    }
    if parts.definitions {
        let (there, missing) = grant_to(&options.grant_to, &target);
        plan.grant_to = there;
        plan.remarks.extend(missing);
    }
    let is_limited = part.as_ref().is_some_and(|part| part.is_limited);
    plan.left_alone = match &cover {
        Some(cover) if parts.definitions && !is_limited => {
            target.schemas.keys().filter(|schema| !cover.schemas.contains(*schema)).cloned().collect()
        }
        _ => Vec::new(),
    };
    plan.drop = doomed.counts();
    plan.drop_rows = doomed.rows;
    plan.dropped = doomed.doomed.into_iter().map(|doomed| doomed.name).collect();
    plan.destructive = !plan.dropped.is_empty() || !plan.emptied.is_empty();
    plan.safety_backup = plan.destructive && options.safety_backup;
    let (lock_timeout, source) = (options.lock_timeout, Arc::new(source));
    let is_part = part.is_some();
    Ok(PreparedFile {
        source,
        facts,
        survey,
        session,
        target,
        parts,
        cover,
        roles,
        lock_timeout,
        is_part,
        plan,
    })
}

/// Takes out of an archive what was not asked for.
///
/// # Errors
/// As [`part::choose_part`].
fn narrow(
    source: &mut Source,
    facts: &FileFacts,
    target: &TargetState,
    connection: &mut Connection,
    options: &FileOptions,
) -> Result<Option<FilePart>> {
    let Source::Archive(archive) = source else { return Ok(None) };
    let entries: Vec<Entry> = archive.entries().cloned().collect();
    let parts = Parts {
        definitions: options.sections != Sections::DataOnly
            && entries.iter().any(|entry| entry.section == Section::PreData),
        rows: options.sections != Sections::SchemaOnly,
    };
    let (selection, clean) = (&options.selection, options.clean);
    let asked = Asked { selection, target, clean, parts, file: facts.file.clone() };
    let part = part::choose_part(&entries, &asked, connection)?;
    if let Some(part) = &part {
        archive.narrow(part);
    }
    Ok(part)
}

/// What is in the way of a file's objects cannot be told from the rest, so all of it must go.
///
/// # Errors
/// Refused when the login may not drop something.
fn check_staying(doomed: &clear::Survey, login: &str) -> Result<()> {
    if doomed.staying.is_empty() {
        return Ok(());
    }
    let count = doomed.staying.len();
    let objects = if count == 1 { "1 object".to_owned() } else { format!("{count} objects") };
    let refused = Error::refused(format!("{login} may not drop {objects} of the target"));
    let told = doomed.staying.iter().take(NAMED).map(|staying| clear::remark(staying, login));
    Err(told.fold(refused, Error::hint))
}

/// Text of an archive in UTF-8: the server knows all encodings.
fn decode(connection: &mut Connection, encoding: &str, texts: &[&[u8]]) -> Result<Vec<String>> {
    let mut decoded = Vec::with_capacity(texts.len());
    for batch in texts.chunks(BATCH) {
        let values: Vec<String> = batch
            .iter()
            .enumerate()
            .map(|(number, text)| {
                let hex: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("({number}, '\\x{hex}'::pg_catalog.bytea)")
            })
            .collect();
        let question = format!(
            "SELECT pg_catalog.convert_from(text, {}) FROM (VALUES {}) AS given(number, text) ORDER BY number",
            quote_literal(encoding),
            values.join(", ")
        );
        let rows = connection.query(&question).map_err(|error| {
            Error::failed(format!("the file's text in {encoding} cannot be read")).source(error)
        })?;
        for row in rows.iter() {
            decoded.push(row.get(0).map_err(Error::from)?);
        }
    }
    Ok(decoded)
}

fn check_origin(facts: &FileFacts, encoding: &str, target: &TargetState) -> Result<()> {
    let version = facts.server_version.as_deref().unwrap_or_default();
    let encoding = if encoding == "UNICODE" { "UTF8" } else { encoding };
    let origin = Origin { major: facts.major().unwrap_or_default(), version, encoding };
    guards::check_origin(&origin, "file's", target)
}

/// A script cannot be told apart by entries, so what is the platform's cannot be left out of it.
fn check_platform(survey: &Survey, target: &TargetState) -> Result<()> {
    let made = survey.made.iter().filter_map(|entry| entry.schema.as_deref());
    let filled = survey.tables.keys().map(|(schema, _)| schema.as_str());
    let platforms = made.chain(filled).find(|schema| target.hosting.keeper(schema) != Keeper::User);
    let Some(schema) = platforms else { return Ok(()) };
    Err(Error::refused(format!(
        "the file holds objects of schema {schema}, which {} makes",
        target.hosting.platform
    ))
    .why("from plain SQL they cannot be told apart from the rest")
    .hint("dump in custom format (-Fc), or the user's schemas alone (--schema=public)"))
}

/// What of the file is restored.
///
/// # Errors
/// Usage: the file does not hold what was asked for.
fn parts(survey: &Survey, asked: Sections) -> Result<Parts> {
    let holds_definitions = survey.definitions > 0;
    let holds_rows = !survey.tables.is_empty() || !survey.large_objects.is_empty() || survey.positions > 0;
    let parts = Parts {
        definitions: holds_definitions && asked != Sections::DataOnly,
        rows: holds_rows && asked != Sections::SchemaOnly,
    };
    if parts.definitions || parts.rows {
        return Ok(parts);
    }
    let message = match (holds_definitions, holds_rows) {
        (true, _) => "the file holds definitions only, so --data-only would restore nothing",
        (_, true) => "the file holds rows only, so --schema-only would restore nothing",
        _ => "the file holds nothing to restore",
    };
    Err(Error::new(ErrorKind::Usage, message))
}

/// Guards of a restore that creates objects; what is to be cleared, if anything.
fn check_definitions(
    source: &Source,
    survey: &Survey,
    target: &TargetState,
    options: &FileOptions,
    part: Option<&FilePart>,
) -> Result<Option<Cover>> {
    guards::check_extensions(survey.names("EXTENSION"), target)?;
    let is_empty = guards::contents(&target.inventory, target).next().is_none();
    let limited = part.filter(|part| part.is_limited);
    if !is_empty && !options.clean && limited.is_none() {
        guards::check_empty(target)?;
    }
    // Triggers and policies, such as the user's on the platform's tables, need no right on a schema.
    let made = survey.made.iter().filter(|entry| !matches!(entry.kind.as_str(), "TRIGGER" | "POLICY"));
    let schemas: BTreeSet<&str> = made.filter_map(|entry| entry.schema.as_deref()).collect();
    let new: Vec<&str> =
        survey.names("SCHEMA").filter(|schema| !target.schemas.contains_key(*schema)).collect();
    guards::check_rights(&new, &schemas.iter().copied().collect::<Vec<_>>(), target)?;
    if is_empty {
        return Ok(None);
    }
    if let Some(part) = limited {
        return Ok(part.cover.clone());
    }
    let rows = options.sections != Sections::SchemaOnly;
    let large_objects = if rows { survey.large_objects.clone() } else { BTreeSet::new() };
    let of_archive = source.entries();
    let entries = if of_archive.is_empty() { survey.made.as_slice() } else { of_archive.as_slice() };
    let graph = Graph::new(entries);
    let chosen = choose(&graph, &Carried::Everything);
    let cover = Cover::new(&graph, &chosen, large_objects, target);
    let spared = part.map(|part| part.spared.clone()).unwrap_or_default();
    Ok(Some(Cover { spared, ..cover }))
}

/// Guards of a restore that only loads rows; what is cleared.
fn check_rows(
    connection: &mut Connection,
    survey: &Survey,
    target: &TargetState,
    clean: bool,
) -> Result<Option<Cover>> {
    let mismatches: Vec<String> =
        survey.tables.iter().flat_map(|(name, loaded)| mismatches(name, loaded, target)).collect();
    if let Some(first) = mismatches.first() {
        let count = mismatches.len();
        let places = if count == 1 { "1 place".to_owned() } else { format!("{count} places") };
        let mut error =
            Error::refused(format!("{} does not match the file's rows in {places}: {first}", target.target));
        if count > 1 {
            error = error.why(mismatches.join("; "));
        }
        return Err(error.hint("bring the target's schema to the file's, or restore without --data-only"));
    }
    let taken: BTreeSet<u32> = survey.large_objects.intersection(&target.large_objects).copied().collect();
    if clean {
        guards::check_truncation(&survey.tables.keys().cloned().collect(), target)?;
        return Ok((!taken.is_empty()).then(|| Cover { large_objects: taken, ..Cover::default() }));
    }
    let filled = filled_tables(connection, survey, target)?;
    if let Some(refusal) = filled::refusal(&filled, target) {
        return Err(refusal.hint("--clean empties the tables first, in the same transaction"));
    }
    match taken.first() {
        None => Ok(None),
        Some(oid) => Err(Error::refused(format!("large object {oid} exists at {}", target.target))
            .hint("--clean replaces it, in the same transaction")),
    }
}

/// What of a table does not fit.
fn mismatches(name: &TableName, loaded: &Loaded, target: &TargetState) -> Vec<String> {
    let shown = display_name(&name.0, &name.1);
    let Some(table) = target.tables.get(name) else { return vec![format!("table {shown} does not exist")] };
    let columns = loaded.columns.iter().filter_map(|column| match table.columns.get(column) {
        None => Some(format!("column {column} of table {shown} does not exist")),
        Some(there) if there.generated => Some(format!("column {column} of table {shown} is generated")),
        Some(_) => None,
    });
    let required = table.columns.iter().filter(|(column, there)| {
        there.required && !loaded.columns.is_empty() && !loaded.columns.contains(*column)
    });
    let required = required.map(|(column, _)| {
        format!("column {column} of table {shown} needs a value, and the file has none for it")
    });
    columns.chain(required).collect()
}

/// Tables that would be loaded and hold rows.
fn filled_tables(connection: &mut Connection, survey: &Survey, target: &TargetState) -> Result<Vec<String>> {
    let is_member = |name: &TableName| target.tables.get(name).is_some_and(|table| table.is_member);
    let names = survey.tables.keys().filter(|name| !is_member(name));
    let tables: Vec<_> =
        names.map(|name| (name, format!("FROM {}", quote_qualified(&name.0, &name.1)))).collect();
    filled::filled(connection, &tables)
}

fn plan(
    facts: &FileFacts,
    survey: &Survey,
    target: &TargetState,
    roles: &FileRoles,
    parts: Parts,
    options: &FileOptions,
) -> RestorePlan {
    let loaded: Vec<&Loaded> = if parts.rows { survey.tables.values().collect() } else { Vec::new() };
    let emptied = if parts.definitions || !options.clean {
        Vec::new()
    } else {
        survey.tables.keys().map(|(schema, name)| display_name(schema, name)).collect()
    };
    RestorePlan {
        backup: facts.file.clone(),
        target: target.target.clone(),
        target_server: target.server(),
        atomic: true,
        sessions: 1,
        emptied,
        create: if parts.definitions { created(survey, parts) } else { BTreeMap::new() },
        load_tables: loaded.len(),
        load_rows: loaded.iter().map(|table| table.rows).sum(),
        load_bytes: loaded.iter().map(|table| table.bytes).sum(),
        steps: steps(survey, parts, options.clean),
        remarks: roles.remarks().into_iter().chain(left_out(survey)).collect(),
        create_roles: roles.created.clone(),
        map_roles: roles.renamed.clone(),
        missing_roles: roles.missing.clone(),
        notes: notes(facts, survey, target, parts),
        hints: hints(roles),
        ..RestorePlan::default()
    }
}

fn created(survey: &Survey, parts: Parts) -> BTreeMap<ObjectKind, usize> {
    let mut counts = survey.counts();
    if parts.rows && !survey.large_objects.is_empty() {
        counts.insert(ObjectKind::LargeObject, survey.large_objects.len());
    }
    counts
}

fn left_out(survey: &Survey) -> impl Iterator<Item = String> {
    survey.left_out.keys().cloned()
}

fn notes(facts: &FileFacts, survey: &Survey, target: &TargetState, parts: Parts) -> Vec<String> {
    let mut notes: Vec<String> = survey.notes.iter().cloned().collect();
    if facts.server_version.is_none() {
        notes.push("the file does not say which server it was made of: it cannot be told whether this one is too old".to_owned());
    }
    let firing: Vec<String> = survey
        .tables
        .keys()
        .filter(|name| target.tables.get(*name).is_some_and(|table| !table.triggers.is_empty()))
        .map(|(schema, name)| display_name(schema, name))
        .collect();
    if !parts.definitions && !target.may_replicate && !firing.is_empty() {
        let more = if firing.len() > NAMED { ", …" } else { "" };
        let named: Vec<String> = firing.into_iter().take(NAMED).collect();
        notes.push(format!("triggers fire while rows are loaded, on {}{more}", named.join(", ")));
    }
    notes
}

fn hints(roles: &FileRoles) -> Vec<String> {
    if roles.missing.is_empty() {
        return Vec::new();
    }
    vec!["--create-roles makes them, --map-role OLD=NEW gives what is theirs to another".to_owned()]
}

fn steps(survey: &Survey, parts: Parts, clean: bool) -> Vec<String> {
    let mut steps = Vec::new();
    if clean {
        steps.push("clear what the file brings back".to_owned());
    }
    if parts.definitions {
        steps.push(format!("run {} definitions", survey.definitions));
    }
    if parts.rows {
        steps.push(format!("load the rows of {} tables", survey.tables.len()));
        if !survey.large_objects.is_empty() {
            steps.push(format!("load {} large objects", survey.large_objects.len()));
        }
        steps.push(format!("set the positions of {} sequences", survey.positions));
        steps.push(format!("refresh {} materialized views", survey.refreshes));
    }
    if parts.definitions {
        steps.push(format!("run {} statements of privileges", survey.privileges));
    }
    steps.push("count rows and objects and compare them with the file".to_owned());
    steps
}

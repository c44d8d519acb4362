//! Reads the backup, looks at the target, asks the guards, plans. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::clear::{self, Cover, Survey};
use super::dependents::bring_back;
use super::hosted::DashboardMade;
use super::identity::Identity;
use super::owners::Owners;
use super::part::{self, Part};
use super::plan::{self, Input};
use super::rename::{self, Renaming};
use super::selection::{self, Carried, Chosen, Graph, TableName};
use super::session::Session;
use super::standing::{self, Doomed};
use super::target::{self, TargetState};
use super::{
    ExistingRows, Planned, Prepared, RestoreOptions, filled, finish, guards, hosted, managed, platform,
    reduced, roles, rows, untouched,
};
use crate::archive::{self, Entry};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::inventory::catalog::Catalog;
use crate::platform::{Hosting, Platform, supabase};
use crate::postgres::Connection;
use crate::postgres::identifier::display_name;
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::layout::SCHEMA_ARCHIVE;
use crate::repository::format::manifest::{Manifest, Sections, TableData};

/// # Errors
/// As [`super::prepare`].
pub(super) fn prepare<'r>(
    repository: &'r Repository,
    header: &Header,
    options: &RestoreOptions,
    interrupt: &Interrupt,
) -> Result<Prepared<'r>> {
    interrupt.check()?;
    let mut manifest = repository.manifest(header)?;
    let mut catalog = repository.catalog(&manifest)?;
    let parts = guards::parts(manifest.selection.sections, options.sections)?;
    let mut entries = if parts.definitions {
        archive::read(&repository.file(&manifest, SCHEMA_ARCHIVE)?)
            .map_err(|error| error.context(&manifest.backup))?
    } else {
        Vec::new()
    };
    check_renaming(options, parts.definitions)?;
    let mut renaming = rename::asked(&options.rename, &manifest, &catalog)?;
    let selection = renaming.as_ref().map(Renaming::selection);
    let selection = selection.as_ref().unwrap_or(&options.selection);
    let narrowed = part::narrow(&mut manifest, &catalog, &entries, selection)?;
    if parts.rows {
        check_objects(repository, &manifest, interrupt)?;
    }
    let mut session = Session::open(&options.connection, interrupt)?;
    let mut target = target::read(&mut session.connection).map_err(Error::from)?;
    session.login.clone_from(&target.login);
    guards::check_server(&manifest, &target)?;
    let mut exceptions = Vec::new();
    if let Some(reduction) = &options.drill {
        // Roles with the names of a platform's do not make one.
        target.hosting = Hosting::default();
        exceptions = reduced::project(&mut manifest, &mut catalog, &mut entries, &target, reduction);
    }
    let managed = hosted::project(&mut manifest, &mut catalog, &mut entries, &target.hosting);
    if parts.definitions {
        target.keep(DashboardMade::find(&target, &catalog.inventory));
        hosted::leave_out_equal(&mut entries, &target.equal);
    }
    let untouched = if options.exactly && parts.definitions {
        let untouched = untouched::find(&mut session.connection, &catalog, &target).map_err(Error::from)?;
        untouched::leave_out(&mut entries, &mut manifest, &untouched);
        untouched
    } else {
        BTreeSet::new()
    };
    if parts.rows {
        managed::check(&managed, &catalog.filled, &target)?;
    }
    let keys_left_out = if parts.definitions {
        guards::settle_dangling_keys(&mut entries, &managed, options.dangling_keys, &target)?
    } else {
        Vec::new()
    };

    if let Some(renaming) = &mut renaming {
        renaming.check(&target)?;
        renaming.hide(&mut target);
    }
    let mut carried = part::carried(&manifest, narrowed.as_ref(), &target, options.clean);
    let mut spared = narrowed.map(|narrowed| narrowed.spared).unwrap_or_default();
    if options.clean && !spared.is_empty() {
        spared.extend(finish::sequences_of(&mut session.connection, &spared).map_err(Error::from)?);
    }
    let same_major = manifest.source.server_version_num / 10_000 == target.major();
    if let (Carried::Only(part), true) = (&mut carried, parts.definitions && options.clean && same_major) {
        let cover = |part: &Part| Cover::of_part(part, &spared, &target);
        let inventories = (&catalog, &target.inventory);
        bring_back(&mut session.connection, &Graph::new(&entries), part, cover, inventories)?;
    }
    let foreign = match &mut renaming {
        Some(renaming) => {
            let remarks = renaming.apply(&mut entries, &mut manifest, &mut catalog, &mut carried)?;
            renaming.check(&target)?;
            remarks
        }
        None => Vec::new(),
    };
    let backup = roles::Backup { manifest: &manifest, catalog: &catalog, carried: &carried, parts };
    let asked = roles::Asked { create: options.create_roles, map: &options.role_map };
    let roles = roles::resolve(&mut entries, &backup, asked, &mut target)?;
    let graph = Graph::new(&entries);
    let mut chosen = selection::choose(&graph, &carried);
    chosen.remarks.extend(keys_left_out);
    chosen.remarks.extend(foreign);
    chosen.remarks.extend(hosted::lost_policies(&catalog, &target.hosting));
    leave_out_platform_extensions(&graph, &mut chosen, &catalog, &target);
    platform::leave_out_forbidden(&mut session.connection, &graph, &mut chosen, &catalog.inventory, &target)?;
    platform::leave_out_reserved(&mut session.connection, &graph, &mut chosen, &catalog.inventory, &target)?;
    target.called = platform::called_functions(&mut session.connection, &chosen.forbidden)?;
    roles.leave_out(&graph, &mut chosen);
    leave_out_default_privileges(&graph, &mut chosen, &target);
    let mut stays = Vec::new();
    if let (Carried::Only(part), true) = (&carried, parts.definitions) {
        let sequences = if options.clean {
            finish::sequences_of(&mut session.connection, &part.relations).map_err(Error::from)?
        } else {
            BTreeSet::new()
        };
        let doomed = Doomed { clean: options.clean, sequences, spared: &spared };
        let sources = (&catalog.inventory, &target);
        stays = standing::settle(&graph, &mut chosen, part, &doomed, sources, same_major)
            .map_err(|error| error.hint("--rename OLD=NEW puts it beside what is there"))?;
    }
    let existing = match (parts.definitions, options.clean) {
        (true, _) => ExistingRows::Refuse,
        (false, true) => ExistingRows::Truncate,
        (false, false) => options.existing_rows,
    };
    let (mut cover, tables) = if parts.definitions {
        (check_definitions(&graph, &chosen, &carried, &manifest, &target, options, &spared)?, Vec::new())
    } else {
        check_rows(&mut session.connection, &manifest, &target, existing)?
    };
    let survey = match &mut cover {
        Some(cover) => {
            if options.exactly {
                cover.widen(&target, &catalog, &chosen.forbidden);
            }
            look(&mut session, cover, &catalog, &untouched)?
        }
        None => Survey::default(),
    };
    let (as_they_were, staying): (Vec<_>, Vec<_>) = survey
        .staying
        .iter()
        .partition(|staying| staying.identity().is_some_and(|own| untouched.contains(&own)));
    chosen.remarks.extend(staying.into_iter().map(|staying| clear::remark(staying, &target.login)));
    let (grant_to, missing) = grant_to(&options.grant_to, &target);
    chosen.remarks.extend(missing);
    let (mut plan, steps) = plan::make(Input {
        manifest: &manifest,
        catalog: &catalog,
        graph: &graph,
        chosen: &chosen,
        target: &target,
        parts,
        sessions: options.jobs.clamp(1, 64),
        cover,
        existing_rows: existing,
        carried,
        tables,
        roles,
        in_parallel: options.in_parallel,
        safety_backup: options.safety_backup,
    });
    plan.load_tables += managed.tables.len();
    plan.load_rows += managed.tables.iter().map(|table| table.rows).sum::<u64>();
    plan.load_bytes += managed.tables.iter().map(|table| table.bytes).sum::<u64>();
    plan.stays = stays;
    if let Some(renaming) = &renaming {
        plan.notes.extend(rename::bodies_note(renaming, &graph, &chosen));
        renaming.tell(&mut plan);
    }
    plan.notes.extend(as_they_were.into_iter().map(|staying| clear::unchanged(staying, &target.login)));
    if !parts.definitions {
        plan.notes.extend(guards::doubtful_columns(&manifest, &target));
    }
    plan.notes.extend(database_settings_note(&catalog, &target));
    plan.drop = survey.counts();
    plan.drop_rows = survey.rows;
    plan.dropped = survey.doomed.into_iter().map(|doomed| doomed.name).collect();
    plan.destructive = !plan.dropped.is_empty() || !plan.emptied.is_empty() || plan.appends;
    plan.safety_backup = options.safety_backup && (plan.destructive || !plan.atomic);
    if parts.definitions {
        plan.grant_to.clone_from(&grant_to);
        plan.privileges = privileges_by_role(&catalog, &steps.owners);
    }
    let planned = Planned {
        repository,
        manifest,
        catalog,
        entries,
        managed,
        target,
        checksums: options.checksums,
        activate_jobs: options.activate_jobs,
        lock_timeout: options.lock_timeout,
        connection: options.connection.clone(),
        grant_to,
        renaming,
        plan,
        steps,
        exceptions,
    };
    Ok(Prepared { planned, session, protection: None })
}

/// What a clearing would do; refused when it may not be done.
fn look(
    session: &mut Session,
    cover: &mut Cover,
    catalog: &Catalog,
    untouched: &BTreeSet<Identity>,
) -> Result<Survey> {
    let survey = clear::survey(&mut session.connection, cover).map_err(Error::from)?;
    clear::check_in_the_way(&survey.staying, catalog, untouched, &session.login)?;
    survey.check()?;
    cover.staying_in = survey.staying.iter().filter_map(|staying| staying.schema.clone()).collect();
    Ok(survey)
}

/// The roles of `grant_to` that are there, and remarks on the others.
pub(super) fn grant_to(wanted: &[String], target: &TargetState) -> (Vec<String>, Vec<String>) {
    let (there, missing): (Vec<String>, Vec<String>) =
        wanted.iter().cloned().partition(|role| target.roles.contains_key(role));
    let remark = |role: &String| format!("role {role} of grant_to is not there and gets nothing");
    (there, missing.iter().map(remark).collect())
}

/// How many privileges of the backup each role of the target will hold; owners' own are not counted.
fn privileges_by_role(catalog: &Catalog, owners: &Owners) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let privileges = catalog.inventory.privileges.iter();
    for held in privileges.filter(|held| held.target != "DATABASE") {
        match &held.grantee {
            Some(role) if *role == held.owner => {}
            Some(role) => *counts.entry(owners.renamed(role).to_owned()).or_default() += 1,
            None => *counts.entry("PUBLIC".to_owned()).or_default() += 1,
        }
    }
    counts
}

/// Settings of a whole database belong to the place; only a platform's project gets them.
fn database_settings_note(catalog: &Catalog, target: &TargetState) -> Option<String> {
    if target.hosting.platform != Platform::Plain {
        return None;
    }
    let settings = catalog.database_settings.iter().filter(|kept| kept.role.is_none());
    let names: Vec<&str> = settings.filter_map(|kept| kept.setting.split('=').next()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "settings of the database itself are not restored (ALTER DATABASE … SET): {}",
            names.join(", ")
        )
    })
}

/// # Errors
/// Usage: a new name together with what would choose something else, or without definitions.
fn check_renaming(options: &RestoreOptions, definitions: bool) -> Result<()> {
    if options.rename.is_empty() {
        return Ok(());
    }
    let other = if !options.selection.is_everything() {
        "--table, --schema and --exclude-table"
    } else if options.clean {
        "--clean"
    } else if !definitions {
        "--data-only"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Usage, format!("--rename cannot be combined with {other}"))
        .hint("--rename alone restores what it names, beside what is there"))
}

fn check_objects(repository: &Repository, manifest: &Manifest, interrupt: &Interrupt) -> Result<()> {
    let mut used: BTreeMap<usize, String> = BTreeMap::new();
    let tables = manifest.tables.iter();
    let chunks = tables
        .flat_map(|table| table.chunks.iter().map(|chunk| (chunk, display_name(&table.schema, &table.name))));
    let objects = manifest.large_objects.chunks.iter().map(|chunk| (chunk, "large objects".to_owned()));
    for (chunk, whose) in chunks.chain(objects) {
        let index = usize::try_from(chunk.object).unwrap_or(usize::MAX);
        used.entry(index).or_insert(whose);
    }
    for (index, whose) in used {
        interrupt.check()?;
        let object = manifest.objects.get(index);
        object
            .ok_or_else(|| Error::failed(format!("the manifest has no object {index}")))
            .and_then(|object| repository.check_object(manifest, object))
            .map_err(|error| {
                error
                    .context(format!("rows of {whose}"))
                    .hint("nothing was changed; `pgstow verify` lists all damage of this backup")
            })?;
    }
    Ok(())
}

/// Default privileges of roles that the login cannot act as would only fail.
fn leave_out_default_privileges(graph: &Graph<'_>, chosen: &mut Chosen, target: &TargetState) {
    let mut lost: BTreeMap<String, usize> = BTreeMap::new();
    chosen.entries.retain(|&index| {
        let entry = &graph.entries[index];
        let role = entry.owner.as_deref().unwrap_or_default();
        let kept = entry.kind != "DEFAULT ACL" || target.roles.get(role) == Some(&true);
        if !kept {
            *lost.entry(role.to_owned()).or_default() += 1;
        }
        kept
    });
    for (role, count) in lost {
        let reason = if target.roles.contains_key(&role) {
            format!("{} may not act as it", target.login)
        } else {
            "the target has no such role".to_owned()
        };
        let noun = if count == 1 { "default privilege" } else { "default privileges" };
        chosen.remarks.push(format!("{count} {noun} of role {role} cannot be restored: {reason}"));
    }
}

/// A platform's own extensions, where the target is another place that does not have them.
fn leave_out_platform_extensions(
    graph: &Graph<'_>,
    chosen: &mut Chosen,
    catalog: &Catalog,
    target: &TargetState,
) {
    let is_platforms = |name: &str| {
        catalog.hosting.platform == Platform::Supabase && supabase::OWN_EXTENSIONS.contains(&name)
    };
    let mut remarks = Vec::new();
    chosen.entries.retain(|&index| {
        let entry = &graph.entries[index];
        let name = match entry.kind.as_str() {
            "EXTENSION" => Some(entry.tag.as_str()),
            "COMMENT" => entry.tag.strip_prefix("EXTENSION "),
            _ => None,
        };
        let is_there =
            |name: &str| target.extensions.contains_key(name) || target.available.contains_key(name);
        let kept = name.is_none_or(|name| is_there(name) || !is_platforms(name));
        if !kept && entry.kind == "EXTENSION" {
            let platform = catalog.hosting.platform;
            remarks.push(format!(
                "extension {} is not restored: it is {platform}'s own, and {} does not have it",
                entry.tag, target.target
            ));
        }
        kept
    });
    chosen.remarks.extend(remarks);
}

/// Guards of a restore that creates objects; what is to be cleared, if anything.
fn check_definitions(
    graph: &Graph<'_>,
    chosen: &Chosen,
    carried: &Carried,
    manifest: &Manifest,
    target: &TargetState,
    options: &RestoreOptions,
    spared: &BTreeSet<TableName>,
) -> Result<Option<Cover>> {
    let entries: Vec<&Entry> = chosen.entries.iter().map(|&index| &graph.entries[index]).collect();
    let of_kind = |kind: &'static str| entries.iter().filter(move |entry| entry.kind == kind);
    guards::check_extensions(of_kind("EXTENSION").map(|entry| entry.tag.as_str()), target)?;
    let is_empty = guards::contents(&target.inventory, target).next().is_none();
    let part = match carried {
        Carried::Only(part) => Some(part),
        _ => None,
    };
    if !is_empty && !options.clean && part.is_none_or(|part| !part.by_request) {
        guards::check_empty(target)?;
    }
    let new_schemas: Vec<&str> = of_kind("SCHEMA")
        .map(|entry| entry.tag.as_str())
        .filter(|schema| !target.schemas.contains_key(*schema))
        .collect();
    let used: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| matches!(entry.kind.as_str(), "TABLE" | "VIEW" | "FUNCTION" | "TYPE" | "SEQUENCE"))
        .filter_map(|entry| entry.schema.as_deref())
        .collect();
    guards::check_rights(&new_schemas, &used.into_iter().collect::<Vec<_>>(), target)?;
    if is_empty && !options.exactly && options.rename.is_empty() {
        return Ok(None);
    }
    if let Some(part) = part {
        let nothing = Cover { stays: hosted::stays(target), ..Cover::default() };
        return Ok(Some(if options.clean { Cover::of_part(part, spared, target) } else { nothing }));
    }
    let large_objects = if options.sections == Sections::SchemaOnly {
        BTreeSet::new()
    } else {
        manifest.large_objects.list.iter().map(|object| object.oid).collect()
    };
    let cover = Cover::new(graph, chosen, large_objects, target);
    Ok(Some(Cover { spared: spared.clone(), ..cover }))
}

/// Guards of a restore that only loads rows; what is cleared, and in which order tables are loaded.
fn check_rows(
    connection: &mut Connection,
    manifest: &Manifest,
    target: &TargetState,
    existing: ExistingRows,
) -> Result<(Option<Cover>, Vec<TableName>)> {
    guards::check_existing(manifest, target)?;
    let order = guards::loading_order(manifest, target)?;
    let filled = match existing {
        ExistingRows::Refuse => filled_tables(connection, manifest)?,
        ExistingRows::Truncate => {
            guards::check_truncation(&rows::emptied(manifest), target)
                .map_err(|error| error.hint("--append keeps the rows that are there"))?;
            Vec::new()
        }
        ExistingRows::Append => Vec::new(),
    };
    let taken: BTreeSet<u32> = manifest
        .large_objects
        .list
        .iter()
        .map(|object| object.oid)
        .filter(|oid| target.large_objects.contains(oid))
        .collect();
    if let Some(refusal) = filled::refusal(&filled, target) {
        return Err(refusal
            .hint("--truncate empties the tables first, in the same transaction")
            .hint("--append adds to the rows that are there"));
    }
    if existing != ExistingRows::Truncate
        && let Some(oid) = taken.first()
    {
        return Err(Error::refused(format!("large object {oid} exists at {}", target.target))
            .hint("--truncate replaces it, in the same transaction"));
    }
    let cover = (!taken.is_empty()).then(|| Cover { large_objects: taken, ..Cover::default() });
    Ok((cover, order))
}

/// Tables that would be loaded and hold rows.
fn filled_tables(connection: &mut Connection, manifest: &Manifest) -> Result<Vec<String>> {
    let groups = super::contents::groups(manifest.tables.iter().filter(|table| guards::has_rows(table)));
    let ordinary =
        groups.iter().filter(|group| group.tables.iter().all(|table| table.data == TableData::Carried));
    let ordinary: Vec<_> = ordinary.map(|group| (&group.name, group.from())).collect();
    filled::filled(connection, &ordinary)
}

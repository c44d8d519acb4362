//! `pgstow restore`: plan, confirmation, restore, verification, receipt.

pub(super) mod ask;
mod file;
pub(super) mod guard;
mod missing;
mod order;
mod present;
mod safety;
mod summary;

use std::collections::BTreeMap;

use clap::Args;
use pgstow_core::restore::{DanglingKeys, ExistingRows, RestoreOptions};
use pgstow_core::{Error, ErrorKind, Result};

use super::backup::parse_jobs;
use crate::app::{App, Database};
use crate::arguments::{PartArguments, SectionArguments};
use crate::exit::{Exit, Failure};
pub(super) use order::{Order, carry_out};
pub(super) use safety::undo_command;
pub(super) use summary::{TABLES_BY_NAME, verification};

/// The server does nearly all the work, and each session may build an index in memory.
const SESSIONS_PER_PROCESSOR: usize = 1;

/// Arguments of `pgstow restore`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("target").required(true).args(["to", "url"])))]
pub(crate) struct Arguments {
    /// Backup: latest, ENV@latest, ENV@LABEL, an id or its unique beginning; or a file of pg_dump
    #[arg(value_name = "BACKUP|FILE")]
    backup: String,

    /// Environment to restore into
    #[arg(long, value_name = "ENV")]
    to: Option<String>,

    /// Restore into the database of this URL; '$NAME' takes it from a variable
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// With --to: another database of that server, with the environment's login and protection
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    database: Option<String>,

    /// Print what would be done and stop
    #[arg(long)]
    dry_run: bool,

    /// Clear a target that is not empty first, in the same transaction
    #[arg(long)]
    clean: bool,

    /// Do not back the target up before it is cleared: nothing can be undone then
    #[arg(long)]
    no_safety_backup: bool,

    #[command(flatten)]
    sections: SectionArguments,

    /// With --data-only: empty the tables first, in the same transaction; so does --clean
    #[arg(long, requires = "data_only", conflicts_with = "append")]
    truncate: bool,

    /// With --data-only: add to the rows that are there; nobody else can write into the tables meanwhile
    #[arg(long, requires = "data_only", conflicts_with_all = ["clean", "checksums"])]
    append: bool,

    #[command(flatten)]
    part: PartArguments,

    /// Restore only table or schema OLD, and call it NEW, beside the one that is there: app=app_old,
    /// public.orders=public.orders_old; may be given several times for tables
    #[arg(long, value_name = "OLD=NEW", conflicts_with_all = ["table", "schema", "exclude_table", "clean", "data_only"])]
    rename: Vec<String>,
    /// Only put back the rows that are gone: those whose primary key the table does not have. What is
    /// there is not touched; needs --table or --schema
    #[arg(long, conflicts_with_all = ["clean", "schema_only", "data_only", "dangling_keys", "activate_jobs", "create_roles", "map_role", "checksums", "jobs"])]
    only_missing: bool,

    /// With --only-missing: tell rows apart by the columns of this unique index instead of the primary
    /// key
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', requires = "only_missing")]
    key: Vec<String>,

    /// With --only-missing: let triggers fire for the rows that are put back
    #[arg(long, requires = "only_missing")]
    fire_triggers: bool,

    /// Foreign keys to rows of the platform (its users, say) that the backup does not carry: validate
    /// makes them, not-valid makes them unchecked, leave-out does not [default: refuse to begin]
    #[arg(long, value_name = "CHOICE")]
    dangling_keys: Option<DanglingChoice>,

    /// Let jobs of pg_cron run at the target that were active at the source [default: all are inactive]
    #[arg(long)]
    activate_jobs: bool,

    /// Create roles that the target lacks: without passwords, never superusers
    #[arg(long)]
    create_roles: bool,

    /// Give what belongs to role OLD of the backup to role NEW of the target; may be given several
    /// times
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_role_pair)]
    map_role: Vec<(String, String)>,

    /// Compare the contents of every table too, not only its rows' number
    #[arg(long)]
    checksums: bool,

    /// Parallel sessions, 1 to 64 [default: one per processor, at most 8]; with more than one, --clean is
    /// not one transaction, and a failure puts the safety backup back
    #[arg(long, short, value_name = "N", value_parser = parse_jobs)]
    jobs: Option<usize>,

    /// Do not ask; a protected environment needs its name: --yes=NAME
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    yes: Option<String>,
}

/// Values of `--dangling-keys`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum DanglingChoice {
    Validate,
    NotValid,
    LeaveOut,
}

impl From<DanglingChoice> for DanglingKeys {
    fn from(choice: DanglingChoice) -> Self {
        match choice {
            DanglingChoice::Validate => Self::Validate,
            DanglingChoice::NotValid => Self::NotValid,
            DanglingChoice::LeaveOut => Self::LeaveOut,
        }
    }
}

impl Arguments {
    /// Whether nothing will be done.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let nothing_changed = |error| Failure::closing("nothing was changed")(error);
    if let Some(path) = file::named(app, &arguments.backup).map_err(nothing_changed)? {
        return file::run(app, arguments, &path);
    }
    let repository = app.repository()?;
    let header = repository.resolve(&arguments.backup)?;
    app.facts.backup(&header.id);
    let target = app.database(arguments.to.as_deref(), arguments.url.as_deref())?;
    let target = target.of_server(arguments.database.as_deref());
    app.facts.target(&target.endpoint());
    if arguments.only_missing {
        return missing::run(app, arguments, &repository, &header, &target);
    }
    let defaults = RestoreOptions::new(target.connection.clone());
    let options = RestoreOptions {
        clean: arguments.clean,
        jobs: app.jobs(arguments.jobs, target.environment, SESSIONS_PER_PROCESSOR),
        checksums: arguments.checksums,
        lock_timeout: target.lock_timeout().unwrap_or(defaults.lock_timeout),
        sections: arguments.sections.sections(),
        selection: arguments.part.selection(),
        rename: arguments.rename.clone(),
        existing_rows: match (arguments.truncate, arguments.append) {
            (true, _) => ExistingRows::Truncate,
            (_, true) => ExistingRows::Append,
            _ => ExistingRows::Refuse,
        },
        activate_jobs: arguments.activate_jobs,
        dangling_keys: arguments.dangling_keys.map_or(DanglingKeys::Refuse, DanglingKeys::from),
        create_roles: arguments.create_roles,
        role_map: role_map(&arguments.map_role, &target)?,
        // Many sessions are fast and one transaction is safe: only who asks for them gets them.
        in_parallel: arguments.jobs.is_some_and(|jobs| jobs > 1),
        safety_backup: !arguments.no_safety_backup,
        grant_to: target.environment.map(|environment| environment.grant_to.clone()).unwrap_or_default(),
        ..defaults
    };
    let order = Order {
        header: &header,
        target: &target,
        options,
        dry_run: arguments.dry_run,
        yes: arguments.yes.as_deref(),
        undo_command: undo_command(app, &target, arguments.url.as_deref()),
        undoes: None,
    };
    carry_out(app, &repository, &order)
}

/// `OLD=NEW`: names as they are, without quotes; the first `=` parts them.
fn parse_role_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("expected OLD=NEW, two names of roles".to_owned()),
    }
}

/// The target's own map, and what the command line adds to it or changes in it.
///
/// # Errors
/// Usage: one role mapped to two.
fn role_map(given: &[(String, String)], target: &Database<'_>) -> Result<BTreeMap<String, String>> {
    let mut map = target.environment.map(|environment| environment.role_map.clone()).unwrap_or_default();
    let mut seen = BTreeMap::new();
    for (old, new) in given {
        if let Some(other) = seen.insert(old, new).filter(|other| *other != new) {
            let twice = format!("role {old} is mapped to {other} and to {new}");
            return Err(Error::new(ErrorKind::Usage, twice).hint("give --map-role once for each OLD"));
        }
        map.insert(old.clone(), new.clone());
    }
    Ok(map)
}

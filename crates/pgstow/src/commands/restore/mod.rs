//! `pgstow restore`: plan, confirmation, restore, verification, receipt.

pub(super) mod guard;
mod present;

use std::collections::BTreeMap;

use clap::Args;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::Sections;
use pgstow_core::repository::format::receipt::Outcome;
use pgstow_core::restore::{self, DanglingKeys, Prepared, RestoreOptions, RestorePlan, RestoreReport};
use pgstow_core::{Error, ErrorKind, Result};

use super::backup::parse_jobs;
use crate::app::{App, Database};
use crate::arguments::{PartArguments, SectionArguments};
use crate::exit::{Exit, Failure};
use crate::ui::{progress, prompt};
use guard::{Decision, Request};
pub(super) use present::present;

/// The server does nearly all the work, and each session may build an index in memory.
const SESSIONS_PER_PROCESSOR: usize = 1;

/// Arguments of `pgstow restore`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("target").required(true).args(["to", "url"])))]
pub(crate) struct Arguments {
    /// Backup: latest, ENV@latest, ENV@LABEL, an id or its unique beginning
    #[arg(value_name = "BACKUP")]
    backup: String,

    /// Environment to restore into
    #[arg(long, value_name = "ENV")]
    to: Option<String>,

    /// Restore into the database of this URL; '$NAME' takes it from a variable
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Print what would be done and stop
    #[arg(long)]
    dry_run: bool,

    /// Clear a target that is not empty first, in the same transaction
    #[arg(long)]
    clean: bool,

    #[command(flatten)]
    sections: SectionArguments,

    #[command(flatten)]
    part: PartArguments,

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

    /// Parallel sessions, 1 to 64 [default: one per processor, at most 8]
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
    let repository = app.repository()?;
    let header = repository.resolve(&arguments.backup)?;
    app.facts.backup(&header.id);
    let target = app.database(arguments.to.as_deref(), arguments.url.as_deref())?;
    app.facts.target(&target.endpoint());
    let defaults = RestoreOptions::new(target.connection.clone());
    let options = RestoreOptions {
        clean: arguments.clean,
        jobs: app.jobs(arguments.jobs, target.environment, SESSIONS_PER_PROCESSOR),
        checksums: arguments.checksums,
        lock_timeout: target
            .environment
            .and_then(|environment| environment.lock_timeout)
            .unwrap_or(defaults.lock_timeout),
        sections: arguments.sections.sections(),
        selection: arguments.part.selection(),
        activate_jobs: arguments.activate_jobs,
        dangling_keys: arguments.dangling_keys.map_or(DanglingKeys::Refuse, DanglingKeys::from),
        create_roles: arguments.create_roles,
        role_map: role_map(&arguments.map_role, &target)?,
        ..defaults
    };
    repository.unlock().map_err(nothing_changed)?;
    let prepared = prepare(app, &repository, &header, &options).map_err(nothing_changed)?;
    if arguments.dry_run {
        present::dry_run(app, prepared.plan(), &header, &target.title())?;
        return Ok(Exit::Done);
    }
    app.output.note(&present::plan(app, prepared.plan(), &header, &target.title()));
    let confirmed = confirm(app, arguments, &target, prepared.plan(), options.sections);
    confirmed.map_err(nothing_changed)?;
    let report = apply(app, prepared, &target.title())?;
    present(app, &report, &target.title())?;
    Ok(exit_of(&report))
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

/// Connects to the target and plans.
pub(super) fn prepare<'r>(
    app: &App<'_>,
    repository: &'r Repository,
    header: &Header,
    options: &RestoreOptions,
) -> Result<Prepared<'r>> {
    restore::prepare(repository, header, options, &app.interrupt)
}

/// Restores, showing progress.
pub(super) fn apply(app: &App<'_>, prepared: Prepared<'_>, title: &str) -> Result<RestoreReport> {
    let monitor = progress::monitor(app.output, title);
    prepared.apply(monitor.as_ref(), &app.interrupt)
}

/// How the program ends after this restore.
pub(super) fn exit_of(report: &RestoreReport) -> Exit {
    match report.receipt.outcome {
        Outcome::Equal => Exit::Done,
        Outcome::Differs => Exit::Differs,
        Outcome::Failed => Exit::Failed,
    }
}

/// Asks for what has to be confirmed.
///
/// # Errors
/// Refused, or interrupted at the question.
fn confirm(
    app: &App<'_>,
    arguments: &Arguments,
    target: &Database<'_>,
    plan: &RestorePlan,
    sections: Sections,
) -> Result<()> {
    // The same database may be reached by another name: what is protected stays protected.
    let named = target.environment.filter(|environment| environment.protected);
    let protected =
        named.or_else(|| app.protected_at(&target.connection)).map(|environment| &environment.name);
    let title = target.title();
    // Rows are loaded into empty tables only, unless `--clean` empties them.
    let only_rows = sections == Sections::DataOnly;
    let request = Request {
        destructive: !plan.drop.is_empty() || plan.drop_rows > 0 || only_rows && arguments.clean,
        target: &title,
        protected: protected.map(|name| name.as_str()),
        yes: arguments.yes.as_deref(),
        interactive: app.output.terminal().interactive,
    };
    let decision = guard::decide(&request);
    let effect = if only_rows { "replaces the rows of" } else { "replaces what is in" };
    let question = match &decision {
        Decision::Go => return Ok(()),
        Decision::Refuse(message, hint) => return Err(guard::refusal(message.clone(), hint.clone())),
        Decision::Confirm => format!("This {effect} {}. Go on? [y/N] ", plan.target),
        Decision::TypeName(name) => {
            format!("{name} is protected. This {effect} {}. Type {name} to go on: ", plan.target)
        }
    };
    let answer = prompt::ask(&question, &app.interrupt)?;
    if guard::agrees(&decision, &answer) {
        return Ok(());
    }
    Err(guard::refusal("not confirmed".to_owned(), "--dry-run shows the plan without asking".to_owned()))
}

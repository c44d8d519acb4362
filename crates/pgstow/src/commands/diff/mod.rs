//! `pgstow diff`: what differs between two backups, or between a backup and a live database.

mod present;

use std::time::Duration;

use clap::Args;
use pgstow_core::diff::{self, DiffOptions, RowOptions, State};
use pgstow_core::repository::Repository;
use pgstow_core::{Error, ErrorKind, Result};

use crate::app::App;
use crate::exit::{Exit, Failure};
use crate::ui::progress;

/// What a live database's name begins with.
const LIVE: &str = "live:";
/// Rows shown of each kind of difference.
const LIMIT: usize = 20;

/// Arguments of `pgstow diff`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Backup before: latest, ENV@latest, ENV@LABEL, an id or its unique beginning
    #[arg(value_name = "BACKUP")]
    before: String,

    /// State after: a backup, or live:ENV for a database as it is now [default: the live database of
    /// the backup's environment]
    #[arg(value_name = "BACKUP|live:ENV")]
    after: Option<String>,

    /// Compare with the database of this URL; '$NAME' takes it from a variable
    #[arg(long, value_name = "URL", conflicts_with = "after")]
    url: Option<String>,

    /// Only tables that match, with what belongs to them; may be given several times
    #[arg(long, value_name = "PATTERN")]
    table: Vec<String>,

    /// Compare the rows of these tables too, by primary key
    #[arg(long, requires = "table")]
    rows: bool,

    /// Tell rows apart by these columns instead of the primary key
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', requires = "rows")]
    key: Vec<String>,

    /// Rows shown of each kind of difference, at most 100000 [default: 20]; all are counted
    #[arg(long, value_name = "N", requires = "rows", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    limit: Option<u32>,

    /// Read every row, also what the live database proves not to have changed
    #[arg(long, requires = "rows")]
    full: bool,

    /// Do not count the rows of the live database
    #[arg(long, conflicts_with = "rows")]
    no_counts: bool,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let repository = app.repository()?;
    let header = repository.resolve(&arguments.before)?;
    let After { state: after, trusted_for } =
        after(app, arguments, &repository, header.environment.as_str())?;
    repository.unlock()?;
    let subject = header.id.to_string();
    let limit = arguments.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LIMIT);
    let options = DiffOptions {
        before: State::Backup(Box::new(header)),
        after,
        tables: arguments.table.clone(),
        counts: !arguments.no_counts,
        rows: arguments.rows.then(|| RowOptions {
            key: arguments.key.clone(),
            limit,
            trusted_for: trusted_for.filter(|_| !arguments.full),
            spool: app.process.temporary_folder(),
        }),
    };
    let report = {
        let monitor = progress::monitor(app.output, &subject);
        diff::run(&repository, &options, monitor.as_ref(), &app.interrupt)?
    };
    present::present(app, &report)?;
    Ok(if report.is_equal() { Exit::Done } else { Exit::Differs })
}

/// The state after.
struct After {
    state: State,
    /// Of a live database: for how long what a backup read of it is trusted.
    trusted_for: Option<Duration>,
}

fn after(app: &App<'_>, arguments: &Arguments, repository: &Repository, environment: &str) -> Result<After> {
    if arguments.before.starts_with(LIVE) {
        return Err(Error::new(ErrorKind::Usage, "the first state must be a backup")
            .hint("pgstow diff BACKUP live:ENV"));
    }
    let live = |environment: Option<&str>| -> Result<After> {
        let database = app.database(environment, arguments.url.as_deref())?;
        let trusted_for = Some(database.full_every());
        Ok(After { state: State::Live(Box::new(database.connection)), trusted_for })
    };
    match arguments.after.as_deref() {
        Some(other) => match other.strip_prefix(LIVE) {
            Some(environment) => live(Some(environment)),
            None => {
                Ok(After { state: State::Backup(Box::new(repository.resolve(other)?)), trusted_for: None })
            }
        },
        None if arguments.url.is_some() => live(None),
        None => live(Some(environment)).map_err(|error| {
            error
                .hint("another database: pgstow diff BACKUP live:ENV, or --url URL")
                .hint("another backup: pgstow diff BACKUP BACKUP")
        }),
    }
}

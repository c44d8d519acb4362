//! `pgstow undo`: puts the safety backup of the last restore back.

use clap::Args;
use jiff::Timestamp;
use pgstow_core::Result;
use pgstow_core::restore::{self, RestoreOptions};

use super::restore::{Order, carry_out, undo_command};
use crate::app::App;
use crate::exit::{Exit, Failure};
use crate::ui::format;

/// Arguments of `pgstow undo`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("target").required(true).args(["environment", "url"])))]
pub(crate) struct Arguments {
    /// Environment whose last restore is undone
    #[arg(value_name = "ENV")]
    environment: Option<String>,

    /// Undo the last restore into the database of this URL; '$NAME' takes it from a variable
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// With ENV: another database of that server
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    database: Option<String>,

    /// Print what would be done and stop
    #[arg(long)]
    dry_run: bool,

    /// Compare the contents of every table too, not only its rows' number
    #[arg(long)]
    checksums: bool,

    /// Do not back the database up first: this undo cannot be undone
    #[arg(long)]
    no_safety_backup: bool,

    /// Do not ask; a protected environment needs its name: --yes=NAME
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    yes: Option<String>,
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
    let target = app.database(arguments.environment.as_deref(), arguments.url.as_deref())?;
    let target = target.of_server(arguments.database.as_deref());
    app.facts.target(&target.endpoint());
    repository.unlock().map_err(nothing_changed)?;
    // Backups of one-off databases have one name for all of them, and those of other databases of a server
    // that of its environment: the place tells them apart.
    let is_environments = target.environment.is_some() && target.other_database().is_none();
    let places = if is_environments { Vec::new() } else { target.places() };
    let way = restore::way_back(&repository, &target.name()?, &places).map_err(nothing_changed)?;
    app.facts.backup(&way.backup.id);
    let what = if way.again { "again, since its undo did not come to its end: " } else { "" };
    app.note(&format!(
        "{what}{} is put back, taken {} before {} was restored",
        way.backup.id,
        format::ago(way.backup.snapshot_at, Timestamp::now()),
        way.safety.before
    ));
    let defaults = RestoreOptions::to_undo(target.connection.clone());
    let order = Order {
        header: &way.backup,
        target: &target,
        options: RestoreOptions {
            checksums: arguments.checksums,
            lock_timeout: target.lock_timeout().unwrap_or(defaults.lock_timeout),
            safety_backup: !arguments.no_safety_backup,
            ..defaults
        },
        dry_run: arguments.dry_run,
        yes: arguments.yes.as_deref(),
        undo_command: undo_command(app, &target, arguments.url.as_deref()),
        undoes: Some(&way.safety.target),
    };
    carry_out(app, &repository, &order)
}

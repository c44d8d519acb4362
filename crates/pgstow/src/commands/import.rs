//! `pgstow import`: a file of pg_dump becomes a backup. It is restored into a throw-away server, or into
//! an empty database on a server that the user names, and backed up from there.

use std::path::{Path, PathBuf};

use clap::Args;
use pgstow_core::backup::BackupOptions;
use pgstow_core::postgres::Connection;
use pgstow_core::postgres::server::{
    DisposableServer, Folder, Purpose, ServerBinaries, ServerOptions, remove_leftovers,
};
use pgstow_core::postgres::settings::ConnectionSettings;
use pgstow_core::repository::format::id::{EnvironmentName, Label};
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::restore::file::{self, FileFacts, FileOptions};
use pgstow_core::{Error, Result};

use super::backup::{self, ReadingArguments};
use crate::app::App;
use crate::exit::{Exit, Failure};
use crate::ui::progress;

/// Database of the throw-away server that the file goes into, unless it names its own.
const DATABASE: &str = "imported";

/// Arguments of `pgstow import`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// File of pg_dump, or folder of a dump in directory format
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Environment that the backup belongs to; it need not be configured
    #[arg(long, value_name = "ENV", value_parser = |text: &str| EnvironmentName::new(text))]
    env: EnvironmentName,

    /// Short tag that becomes part of the backup's id
    #[arg(long, value_name = "LABEL", value_parser = |text: &str| Label::new(text))]
    label: Option<Label>,

    /// Free text to keep with the backup; where it comes from is noted in any case
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    /// Import through the empty database of this URL instead of a throw-away server; '$NAME' takes it
    /// from a variable. What is restored there stays there
    #[arg(long, value_name = "URL", conflicts_with = "server_binaries")]
    via: Option<String>,

    /// Programs of the throw-away server: the folder with initdb, pg_ctl and postgres [default: the newest
    /// that are installed]
    #[arg(long, value_name = "FOLDER")]
    server_binaries: Option<PathBuf>,

    #[command(flatten)]
    reading: ReadingArguments,
}

/// Where the file goes on its way.
struct Place {
    connection: ConnectionSettings,
    server: Option<ThrowAway>,
}

/// A running server. Dropping it stops the server and removes its folder.
struct ThrowAway {
    // In this order: the server lies in the folder.
    server: DisposableServer,
    _folder: Folder,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let nothing_written = |error| Failure::closing("nothing was written")(error);
    let path = app.current_folder().join(&arguments.file);
    let facts = file::facts(&path).map_err(nothing_written)?;
    let place = place(app, arguments, &facts).map_err(nothing_written)?;
    app.facts.environment(arguments.env.as_str());
    let complete = fill(app, &path, &place).map_err(nothing_written)?;
    let (repository, new) = app.repository_or_new().map_err(nothing_written)?;
    let options = options(app, arguments, &facts, &place);
    let title = format!("import of {}", arguments.file.display());
    let report = backup::make(app, &repository, &options, &title).map_err(|error| {
        new.take_back();
        nothing_written(error)
    })?;
    app.facts.backup(&report.header.id);
    backup::present(app, &report, &Selection::default(), None)?;
    Ok(if complete && report.is_complete() { Exit::Done } else { Exit::Differs })
}

/// A server that is new enough for the file.
fn place(app: &App<'_>, arguments: &Arguments, facts: &FileFacts) -> Result<Place> {
    if let Some(url) = &arguments.via {
        let connection = app.database(None, Some(url))?.connection;
        return Ok(Place { connection, server: None });
    }
    let search_path = app.process.search_path();
    let via = "--via URL imports through an empty database on another server";
    let binaries = ServerBinaries::find(arguments.server_binaries.as_deref(), search_path.as_deref())
        .map_err(|error| error.hint(via))?;
    if let Some(major) = facts.major().filter(|major| *major > binaries.major()) {
        let found = format!("the newest server on this machine is PostgreSQL {}", binaries.major());
        return Err(Error::refused(format!("{} was made of PostgreSQL {major}", facts.file))
            .why(found)
            .hint(format!("install one: apt-get install postgresql-{major}"))
            .hint(via));
    }
    app.interrupt.check()?;
    let server = throw_away(app, &binaries)?;
    let mut connection = Connection::open(&server.server.settings("postgres"), &app.interrupt)?;
    connection.execute(&format!("CREATE DATABASE {DATABASE} TEMPLATE template0"))?;
    Ok(Place { connection: server.server.settings(DATABASE), server: Some(server) })
}

/// Starts a server in the folder for temporary files, after removing those that killed imports left there.
fn throw_away(app: &App<'_>, binaries: &ServerBinaries) -> Result<ThrowAway> {
    let parent = app.current_folder().join(app.process.temporary_folder());
    for path in remove_leftovers(&parent, Purpose::Import) {
        app.note(&format!("removed {}, left by an import that was killed", path.display()));
    }
    app.note(&format!("a throw-away PostgreSQL {} server", binaries.major()));
    let folder = Folder::make(&parent, Purpose::Import)?;
    let server = DisposableServer::start(&ServerOptions {
        binaries: Some(binaries.directory().to_owned()),
        search_path: app.process.search_path(),
        parent_directory: folder.path().to_owned(),
        configuration: vec!["wal_level = logical".to_owned()],
        ..ServerOptions::default()
    })
    .map_err(|error| error.hint("TMPDIR names another place for it"))?;
    Ok(ThrowAway { server, _folder: folder })
}

/// Restores the file there. On the throw-away server the file's roles are made; elsewhere those that are
/// there are used. Whether all of the file arrived.
fn fill(app: &App<'_>, path: &Path, place: &Place) -> Result<bool> {
    let options = FileOptions {
        create_roles: place.server.is_some(),
        ..FileOptions::new(path.to_owned(), place.connection.clone())
    };
    let monitor = progress::monitor(app.output, "import");
    let prepared =
        file::prepare(&options, monitor.as_ref(), &app.interrupt).map_err(|error| match place.server {
            Some(_) if error.message().starts_with("extension") => {
                error.hint("--via URL imports through an empty database on a server that has it")
            }
            _ => error,
        })?;
    let report = prepared.apply(monitor.as_ref(), &app.interrupt)?;
    drop(monitor);
    report.remarks.iter().for_each(|remark| app.output.warn(remark));
    Ok(report.is_complete())
}

fn options(app: &App<'_>, arguments: &Arguments, facts: &FileFacts, place: &Place) -> BackupOptions {
    let from = format!("imported from {} ({}; {})", arguments.file.display(), facts.format, facts.origin());
    let note = arguments.note.as_ref().map_or_else(|| from.clone(), |note| format!("{note}; {from}"));
    let defaults = BackupOptions::new(arguments.env.clone(), place.connection.clone());
    BackupOptions {
        label: arguments.label.clone(),
        note: Some(note),
        // Nothing of the environment's own backups can be the same rows.
        full: true,
        jobs: app.jobs(arguments.reading.jobs, None, 1),
        pg_dump: arguments.reading.pg_dump.clone(),
        search_path: app.process.search_path(),
        lock_timeout: arguments.reading.lock_timeout.unwrap_or(defaults.lock_timeout),
        ..defaults
    }
}

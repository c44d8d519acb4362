//! The commands, one file per verb.

mod audit;
mod backup;
mod check;
mod copy;
mod demo;
mod diff;
mod dump;
mod export;
mod import;
mod init;
mod key;
mod list;
mod pin;
mod prune;
mod restore;
mod show;
mod undo;
mod verify;

use clap::Subcommand;

use crate::app::{App, PATIENCE};
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};
use crate::record;
use crate::signals;
use crate::ui::Output;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write pgstow.toml and create the repository
    Init(init::Arguments),
    /// Say whether a backup would work, and why not
    Check(check::Arguments),
    /// Back up a database
    Backup(backup::Arguments),
    /// List backups
    List(list::Arguments),
    /// Show what a backup holds
    Show(show::Arguments),
    /// Compare two backups, or a backup and a live database
    Diff(diff::Arguments),
    /// Check that a backup is whole
    Verify(verify::Arguments),
    /// Delete the backups that retention does not keep, and what nobody needs any more
    Prune(prune::Arguments),
    /// Keep a backup whatever retention says
    Pin(pin::PinArguments),
    /// Let retention decide about a backup again
    Unpin(pin::UnpinArguments),
    /// Restore a backup into a database
    Restore(restore::Arguments),
    /// Put back what a database was before the last restore
    Undo(undo::Arguments),
    /// Write a backup as a file for pg_restore, psql or a spreadsheet
    Export(export::Arguments),
    /// Write a database as such a file, without a repository
    Dump(dump::Arguments),
    /// Make a backup of a file of pg_dump
    Import(import::Arguments),
    /// Make keys for an encrypted repository
    Key(key::Arguments),
    /// Copy backups to another repository
    Copy(copy::Arguments),
    /// Show who ran what
    Audit(audit::Arguments),
    /// Try backup and restore on a throw-away server with sample data
    Demo(demo::Arguments),
}

/// Runs the command.
///
/// # Errors
/// Whatever kept it from doing its work.
pub(crate) fn run(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    let app = App::start(&arguments, output)?;
    // What has a server of its own stops and removes it.
    let patience = match &arguments.command {
        Command::Demo(_) => demo::PATIENCE,
        Command::Verify(verify) if verify.is_drill() => demo::PATIENCE,
        _ => PATIENCE,
    };
    signals::install(&app.interrupt, patience)?;
    dispatch(&app, arguments.command)
}

/// Runs a command, and records it if it is one that changes something.
fn dispatch(app: &App<'_>, command: Command) -> Result<Exit, Failure> {
    record::recorded(app, recorded_as(&command), || {
        perform(app, command).map_err(|failure| {
            if app.interrupt.is_triggered() { failure.in_interrupted_run() } else { failure }
        })
    })
}

/// What the audit log calls a command; `None` for those that change nothing.
fn recorded_as(command: &Command) -> Option<&'static str> {
    match command {
        Command::Backup(_) => Some("backup"),
        Command::Restore(arguments) if !arguments.is_dry_run() => Some("restore"),
        Command::Undo(arguments) if !arguments.is_dry_run() => Some("undo"),
        Command::Prune(arguments) if !arguments.is_dry_run() => Some("prune"),
        Command::Pin(_) => Some("pin"),
        Command::Unpin(_) => Some("unpin"),
        Command::Copy(_) => Some("copy"),
        Command::Verify(arguments) if arguments.is_drill() => Some("drill"),
        Command::Import(_) => Some("import"),
        Command::Init(_)
        | Command::Check(_)
        | Command::List(_)
        | Command::Show(_)
        | Command::Diff(_)
        | Command::Verify(_)
        | Command::Restore(_)
        | Command::Undo(_)
        | Command::Export(_)
        | Command::Dump(_)
        | Command::Prune(_)
        | Command::Key(_)
        | Command::Audit(_)
        | Command::Demo(_) => None,
    }
}

fn perform(app: &App<'_>, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(arguments) => init::run(app, &arguments),
        Command::Check(arguments) => check::run(app, &arguments),
        Command::Backup(arguments) => backup::run(app, arguments),
        Command::List(arguments) => list::run(app, &arguments),
        Command::Show(arguments) => show::run(app, &arguments),
        Command::Diff(arguments) => diff::run(app, &arguments),
        Command::Verify(arguments) => verify::run(app, &arguments),
        Command::Prune(arguments) => prune::run(app, &arguments),
        Command::Pin(arguments) => pin::pin(app, &arguments),
        Command::Unpin(arguments) => pin::unpin(app, &arguments),
        Command::Restore(arguments) => restore::run(app, &arguments),
        Command::Undo(arguments) => undo::run(app, &arguments),
        Command::Export(arguments) => export::run(app, &arguments),
        Command::Dump(arguments) => dump::run(app, &arguments),
        Command::Import(arguments) => import::run(app, &arguments),
        Command::Key(arguments) => key::run(app, &arguments),
        Command::Copy(arguments) => copy::run(app, &arguments),
        Command::Audit(arguments) => audit::run(app, &arguments),
        Command::Demo(arguments) => demo::run(app, &arguments),
    }
}

//! `pgstow demo`: backup and restore on a throw-away server with sample data. It runs the very
//! commands it shows.

mod shop;

use std::path::Path;
use std::time::Duration;

use clap::Args;
use pgstow_core::postgres::Connection;
use pgstow_core::postgres::server::{DisposableServer, ServerOptions};
use pgstow_core::{Error, Result};
use serde::Serialize;
use tempfile::TempDir;

use super::backup::parse_jobs;
use crate::app::{App, shell_word};
use crate::arguments::Arguments as CommandLine;
use crate::config::FILE_NAME;
use crate::exit::{Exit, Failure};
use crate::ui::Tone;

/// How long the demo may take to remove itself after Ctrl-C.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `pgstow demo`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Size of the sample data: 1 is about a million rows
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = parse_scale)]
    scale: f64,

    /// Leave server, databases and repository in place
    #[arg(long)]
    keep: bool,

    /// Parallel sessions of backup and restore, 1 to 64 [default: theirs]
    #[arg(long, short, value_name = "N", value_parser = parse_jobs)]
    jobs: Option<usize>,
}

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.001..=100.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 0.001 to 100 is needed".to_owned()),
    }
}

/// The last JSON object; one for every command run comes before it.
#[derive(Serialize)]
struct JsonDemo<'r> {
    demo: &'static str,
    exit_code: u8,
    kept: Option<JsonKept<'r>>,
}

#[derive(Serialize)]
struct JsonKept<'r> {
    folder: &'r Path,
    socket: &'r Path,
    stop_command: &'r str,
}

/// Server, databases and repository of one demo; gone when dropped.
struct Stage {
    server: DisposableServer,
    folder: TempDir,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    // By then the stage is gone, also with --keep: there would be nothing to look at.
    let removed =
        |failure| Failure { closing: Some("everything of the demo was removed".to_owned()), ..failure };
    perform(app, arguments).map_err(removed)
}

fn perform(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let stage = prepare(app, arguments)?;
    let jobs = arguments.jobs.map(|jobs| format!("--jobs={jobs}"));
    let here = app.within(stage.folder.path())?;
    let commands: [&[&str]; 5] = [
        &["check", "shop"],
        &with_jobs(&["backup", "shop", "--label", "demo", "--note", "the first backup"], jobs.as_deref()),
        &["verify", "latest", "--read-data"],
        &with_jobs(&["restore", "latest", "--to", "copy", "--checksums"], jobs.as_deref()),
        &["list"],
    ];
    let mut exit = Exit::Done;
    for command in commands {
        exit = step(&here, command)?;
        if exit != Exit::Done {
            break;
        }
    }
    finish(app, stage, arguments.keep, exit)?;
    Ok(exit)
}

fn with_jobs<'w>(words: &[&'w str], jobs: Option<&'w str>) -> Vec<&'w str> {
    words.iter().copied().chain(jobs).collect()
}

fn prepare(app: &App<'_>, arguments: &Arguments) -> Result<Stage> {
    app.interrupt.check()?;
    app.note("a throw-away PostgreSQL server");
    let options = ServerOptions {
        search_path: app.process.search_path(),
        configuration: vec!["wal_level = logical".to_owned()],
        ..ServerOptions::default()
    };
    let server = DisposableServer::start(&options)?;
    app.interrupt.check()?;
    let folder = tempfile::Builder::new()
        .prefix("pgstow-demo-")
        .tempdir()
        .map_err(|error| Error::failed("cannot make a folder for the demo").source(error))?;
    let stage = Stage { server, folder };
    let mut connection = open(app, &stage.server, "postgres")?;
    connection.execute("CREATE DATABASE shop")?;
    connection.execute("CREATE DATABASE shop_copy")?;
    drop(connection);
    write_config(&stage)?;
    app.note(&format!("sample data in database shop, about {} rows", rows(arguments.scale)));
    let mut connection = open(app, &stage.server, "shop")?;
    shop::fill(&mut connection, arguments.scale, &|part| app.note(&format!("  {part}")))?;
    Ok(stage)
}

fn rows(scale: f64) -> String {
    // At most 100 million.
    crate::ui::format::number((1_000_000.0 * scale) as u64)
}

fn open(app: &App<'_>, server: &DisposableServer, database: &str) -> Result<Connection> {
    Ok(Connection::open(&server.settings(database), &app.interrupt)?)
}

/// A configuration for the two databases, as a user would write it.
fn write_config(stage: &Stage) -> Result<()> {
    let host = toml::Value::from(stage.server.socket_directory().display().to_string());
    let port = stage.server.socket_port();
    let environment = |name: &str, database: &str| {
        format!(
            "[env.{name}]\nhost = {host}\nport = {port}\nuser = \"postgres\"\ndatabase = \"{database}\"\n"
        )
    };
    let content = format!(
        "[repository]\nurl = \"backups\"\n\n{}\n{}",
        environment("shop", "shop"),
        environment("copy", "shop_copy")
    );
    let path = stage.folder.path().join(FILE_NAME);
    std::fs::write(&path, content)
        .map_err(|error| Error::failed(format!("cannot write {}", path.display())).source(error))
}

/// Shows a command line and runs it.
fn step(here: &App<'_>, command: &[&str]) -> Result<Exit, Failure> {
    let words: Vec<String> = command.iter().map(|word| shell_word(word)).collect();
    if !here.output.is_quiet() && !here.output.is_json() {
        let mut text = here.output.text();
        text.end();
        text.put(Tone::Strong, &format!("$ pgstow {}", words.join(" "))).end();
        here.output.print(&text)?;
    }
    let line = CommandLine::parse_words(command)?;
    super::dispatch(here, line.command)
}

/// Says how it went and where everything is, and leaves or removes it.
fn finish(app: &App<'_>, stage: Stage, keep: bool, exit: Exit) -> Result<()> {
    let output = app.output;
    let mut text = output.text();
    let (tone, mark) = output.mark(exit == Exit::Done);
    text.end();
    text.put(tone, mark).line(match exit {
        Exit::Done => " the copy is equal to the original, object by object and row by row",
        _ => " the demo did not go as it should; see above",
    });
    let socket = stage.server.socket_directory().to_owned();
    let mut kept = None;
    if keep {
        let folder = stage.folder.keep();
        let stop = stage.server.keep();
        let removal = format!("rm -rf {} {}", shell_word(&folder.display().to_string()), socket.display());
        let config = shell_word(&folder.join(FILE_NAME).display().to_string());
        text.fields(&[
            ("look around", format!("psql -h {} -U postgres shop_copy", socket.display())),
            ("go on", format!("pgstow --config {config} show latest")),
            ("backups", folder.join("backups").display().to_string()),
            ("stop", stop.clone()),
            ("remove", removal),
        ]);
        kept = Some((folder, stop));
    } else {
        let folder = stage.folder.path().display().to_string();
        drop(stage);
        let removed = format!("{} and {folder}; --keep leaves them in place", socket.display());
        text.fields(&[("removed", removed)]);
    }
    if output.is_json() {
        let kept =
            kept.as_ref().map(|(folder, stop)| JsonKept { folder, socket: &socket, stop_command: stop });
        return output.print_json(&JsonDemo { demo: "finished", exit_code: exit.code(), kept });
    }
    if output.is_quiet() && exit == Exit::Done && !keep {
        return Ok(());
    }
    output.print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_bounded() {
        assert_eq!(parse_scale("0.01"), Ok(0.01));
        for text in ["0", "-1", "NaN", "inf", "101", "much"] {
            assert!(parse_scale(text).is_err(), "{text}");
        }
    }
}

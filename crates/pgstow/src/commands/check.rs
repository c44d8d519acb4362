//! `pgstow check`: connects and says whether a backup would work, and why not.

use std::path::PathBuf;

use clap::Args;
use pgstow_core::backup::{self, Ability, CheckLine, CheckReport, Serves};
use pgstow_core::repository::Repository;
use pgstow_core::{Error, ErrorKind, Result};
use serde::Serialize;

use super::backup::{ReadingArguments, options};
use crate::app::App;
use crate::exit::{Exit, Failure};
use crate::ui::{Text, Tone};

/// Arguments of `pgstow check`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Environment to check [default: the default environment]
    #[arg(value_name = "ENV")]
    environment: Option<String>,

    /// Check the database of this URL instead; '$NAME' takes it from a variable
    #[arg(long, value_name = "URL", conflicts_with = "environment")]
    url: Option<String>,

    /// pg_dump to use: the program, or the folder it is in
    #[arg(long, value_name = "PATH")]
    pg_dump: Option<PathBuf>,
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonReport<'r> {
    database: &'r str,
    passed: bool,
    #[serde(flatten)]
    report: &'r CheckReport,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let database = app.database(arguments.environment.as_deref(), arguments.url.as_deref())?;
    let reading = ReadingArguments { pg_dump: arguments.pg_dump.clone(), ..ReadingArguments::default() };
    let options = options(app, &database, &reading)?;
    let mut report = backup::check(&options, &app.interrupt)?;
    report.lines.push(repository_line(app));
    let passed = report.lines.iter().all(|line| line.passed);
    let exit = if passed { Exit::Done } else { Exit::Failed };
    let endpoint = database.endpoint();
    if app.output.is_json() {
        app.output.print_json(&JsonReport { database: &endpoint, passed, report: &report })?;
        return Ok(exit);
    }
    let mut text = app.output.text();
    if !app.output.is_quiet() {
        text.put(Tone::Strong, &database.title()).plain("  ").line(&endpoint);
    }
    for line in report.lines.iter().filter(|line| !line.passed || !app.output.is_quiet()) {
        let (tone, mark) = app.output.mark(line.passed);
        text.put(tone, mark).plain(" ").put(Tone::Strong, &line.what).plain("  ").line(&line.found);
        let hints: Vec<(&str, String)> = line.hints.iter().map(|hint| ("try", hint.clone())).collect();
        text.fields(&hints);
    }
    if !app.output.is_quiet() {
        say_abilities(app, &report, &mut text);
    }
    let failed = report.lines.iter().filter(|line| !line.passed).count();
    if failed > 0 {
        text.put(Tone::Bad, &format!("a backup of {} would not work", database.title())).end();
    } else if !app.output.is_quiet() {
        text.put(Tone::Good, &format!("a backup of {} would work", database.title())).end();
    }
    app.output.print(&text)?;
    Ok(exit)
}

/// What the role may do there beyond what every backup needs; a lack is told and no failure.
fn say_abilities(app: &App<'_>, report: &CheckReport, text: &mut Text) {
    for (serves, title) in
        [(Serves::Backup, "for a backup, this role"), (Serves::Restore, "for a restore into it")]
    {
        let abilities: Vec<&Ability> =
            report.abilities.iter().filter(|ability| ability.serves == serves).collect();
        if abilities.is_empty() {
            continue;
        }
        text.put(Tone::Strong, title).end();
        for ability in abilities {
            let (tone, mark) = match ability.able {
                Some(true) => app.output.mark(true),
                _ => (Tone::Warn, "-"),
            };
            text.put(tone, mark).plain(" ").line(&ability.found);
            let hints: Vec<(&str, String)> =
                ability.hints.iter().map(|hint| ("with", hint.clone())).collect();
            text.fields(&hints);
        }
    }
}

/// Whether the repository can be used, or will be made.
fn repository_line(app: &App<'_>) -> CheckLine {
    let line =
        |passed, found: String, hints| CheckLine { what: "repository".to_owned(), passed, found, hints };
    let failed = |error: &Error| {
        let why = error.reason().map(|why| format!(" ({why})")).unwrap_or_default();
        line(false, format!("{}{why}", error.message()), error.hints().to_vec())
    };
    match app.repository() {
        Ok(repository) => line(true, repository.location(), Vec::new()),
        Err(error) if error.kind() == ErrorKind::NotFound => match free_place(app) {
            Ok(location) => {
                line(true, format!("{location} holds nothing yet; the first backup makes it"), Vec::new())
            }
            Err(error) => failed(&error),
        },
        Err(error) => failed(&error),
    }
}

/// The repository's place, if one can be made there.
fn free_place(app: &App<'_>) -> Result<String> {
    let store = app.store()?;
    Repository::check_free(store.as_ref())?;
    Ok(store.location())
}

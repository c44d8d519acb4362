//! `pgstow pin` and `pgstow unpin`: keep a backup whatever retention says.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::app::App;
use crate::exit::{Exit, Failure};

/// Arguments of `pgstow pin`.
#[derive(Debug, Args)]
pub(crate) struct PinArguments {
    /// Backup: latest, ENV@latest, ENV@LABEL, an id or its unique beginning
    #[arg(value_name = "BACKUP")]
    backup: String,

    /// Why, to be shown later
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Arguments of `pgstow unpin`.
#[derive(Debug, Args)]
pub(crate) struct UnpinArguments {
    /// Backup: latest, ENV@latest, ENV@LABEL, an id or its unique beginning
    #[arg(value_name = "BACKUP")]
    backup: String,
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonPin<'r> {
    backup: &'r str,
    pinned: bool,
    changed: bool,
}

pub(super) fn pin(app: &App<'_>, arguments: &PinArguments) -> Result<Exit, Failure> {
    let repository = app.repository()?;
    let header = repository.resolve(&arguments.backup)?;
    app.facts.backup(&header.id);
    let changed = repository.pin_of(&header.id)?.is_none();
    let who = app.process.user_name();
    let mut text = format!("{who}, {}", Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC"));
    if let Some(note) = &arguments.note {
        text.push_str(&format!(": {note}"));
    }
    repository.pin(&header.id, &format!("{text}\n"))?;
    say(app, header.id.as_str(), true, changed, "is pinned: no prune deletes it")
}

pub(super) fn unpin(app: &App<'_>, arguments: &UnpinArguments) -> Result<Exit, Failure> {
    let repository = app.repository()?;
    let header = repository.resolve(&arguments.backup)?;
    app.facts.backup(&header.id);
    let changed = repository.unpin(&header.id)?;
    let said = if changed { "is no longer pinned" } else { "was not pinned" };
    say(app, header.id.as_str(), false, changed, said)
}

fn say(app: &App<'_>, backup: &str, pinned: bool, changed: bool, said: &str) -> Result<Exit, Failure> {
    if app.output.is_json() {
        app.output.print_json(&JsonPin { backup, pinned, changed })?;
    } else if !app.output.is_quiet() {
        let mut text = app.output.text();
        text.line(&format!("{backup} {said}"));
        app.output.print(&text)?;
    }
    Ok(Exit::Done)
}

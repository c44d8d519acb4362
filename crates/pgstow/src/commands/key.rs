//! `pgstow key`: makes private keys and tells their public ones.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use pgstow_core::repository::encryption::{Asking, KeySource, PrivateKey, protect};
use pgstow_core::{Error, Result};
use serde::Serialize;

use crate::app::{App, shell_word};
use crate::config::identity_file;
use crate::exit::{Exit, Failure};
use crate::ui::Tone;

/// Arguments of `pgstow key`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key: an identity file of age
    New {
        /// Where to write it; never overwrites [default: standard output]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,

        /// Protect it with a passphrase
        #[arg(long, requires = "output")]
        passphrase: bool,
    },
    /// Tell the public key of an identity file
    Show {
        /// An identity file of age, or a private key of SSH
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonKey {
    public_keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.action {
        Action::New { output, passphrase } => new(app, output.as_deref(), *passphrase)?,
        Action::Show { file } => show(app, file)?,
    }
    Ok(Exit::Done)
}

fn new(app: &App<'_>, output: Option<&Path>, passphrase: bool) -> Result<()> {
    let key = PrivateKey::generate();
    let public = key.public()?;
    let text = key
        .to_identity_file(Timestamp::now())
        .ok_or_else(|| Error::failed("a new key has no identity file"))?;
    let Some(path) = output else {
        if app.output.is_json() {
            let identity = Some(text.as_str().to_owned());
            return app.output.print_json(&JsonKey {
                public_keys: vec![public],
                identity_file: None,
                identity,
            });
        }
        let mut shown = app.output.text();
        text.lines().for_each(|line| shown.line(line));
        app.output.print(&shown)?;
        app.note("keep this in a place that is not the database's nor the repository's");
        return Ok(());
    };
    let content =
        if passphrase { protect(&text, app.keys().new_passphrase()?)? } else { text.as_bytes().to_vec() };
    write_new(path, &content)?;
    let shown_path = path.display().to_string();
    if app.output.is_json() {
        let identity_file = Some(shown_path);
        return app.output.print_json(&JsonKey { public_keys: vec![public], identity_file, identity: None });
    }
    let mut shown = app.output.text();
    if app.output.is_quiet() {
        shown.line(&public);
        return app.output.print(&shown);
    }
    let (tone, mark) = app.output.mark(true);
    shown.put(tone, mark).plain(" wrote ").put(Tone::Strong, &shown_path).end();
    shown.fields(&[
        ("public key", public.clone()),
        ("new project", format!("pgstow init --encrypt-to {public}")),
        ("or", format!("in pgstow.toml, below [repository]: encrypt_to = [\"{public}\"]")),
        ("to read", format!("pgstow restore BACKUP --to ENV --identity {}", shell_word(&shown_path))),
        (
            "mind",
            "whoever loses this file loses the backups: keep a copy apart from database and repository"
                .to_owned(),
        ),
    ]);
    app.output.print(&shown)
}

fn show(app: &App<'_>, path: &Path) -> Result<()> {
    let keys = app.keys();
    let file = identity_file(path)?;
    let found = PrivateKey::read(&file, |what| keys.passphrase(what, Asking::Allowed))?;
    if found.is_empty() {
        return Err(Error::new(
            pgstow_core::ErrorKind::Key,
            format!("{} is protected, and there is no passphrase", path.display()),
        )
        .hint("run this on a terminal, or set PGSTOW_PASSPHRASE"));
    }
    let public_keys = found.iter().map(PrivateKey::public).collect::<Result<Vec<_>>>()?;
    if app.output.is_json() {
        return app.output.print_json(&JsonKey { public_keys, identity_file: None, identity: None });
    }
    let mut text = app.output.text();
    public_keys.iter().for_each(|public| text.line(public));
    app.output.print(&text)
}

/// Writes a file that only its owner can read, and that was not there.
fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::refused(format!("{} exists already", path.display()))
            .why("a key is never overwritten: backups may need it"),
        _ => Error::failed(format!("cannot write {}", path.display())).source(error),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)
}

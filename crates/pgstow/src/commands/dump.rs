//! `pgstow dump`: a database as a file that stock tools restore, without a repository.
//!
//! It is a backup into a temporary repository beside the file, and an export of it. The repository is
//! encrypted for a key that exists in memory alone: what an interruption leaves of it nobody can read.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use pgstow_core::backup::{BackupOptions, BackupReport};
use pgstow_core::export::ExportOptions;
use pgstow_core::platform::AuthUsers;
use pgstow_core::repository::Repository;
use pgstow_core::repository::encryption::{
    Access, Asking, IdentityFile, KeySource, PrivateKey, Recipients, SecretString,
};
use pgstow_core::repository::format::manifest::Selection;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::{Error, Result};
use tempfile::TempDir;

use super::backup::{self, ReadingArguments};
use super::export::{self, ContentArguments};
use crate::app::App;
use crate::exit::{Exit, Failure};

/// Stored for a moment only: speed counts more than size.
const COMPRESSION_LEVEL: i32 = 1;

/// Arguments of `pgstow dump`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Environment to dump [default: the default environment]
    #[arg(value_name = "ENV")]
    environment: Option<String>,

    /// Dump the database of this URL instead; '$NAME' takes it from a variable
    #[arg(long, value_name = "URL", conflicts_with = "environment")]
    url: Option<String>,

    /// File to write, or folder (directory; csv with / at the end); - is standard output
    #[arg(long, value_name = "FILE")]
    to: String,

    #[command(flatten)]
    content: ContentArguments,

    #[command(flatten)]
    reading: ReadingArguments,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let nothing_written = |error| Failure::closing("nothing was written")(error);
    let options = arguments.content.options(&arguments.to).map_err(nothing_written)?;
    export::check_output(app, &arguments.to, &options).map_err(nothing_written)?;
    let database = app.database(arguments.environment.as_deref(), arguments.url.as_deref());
    let database = database.map_err(nothing_written)?;
    let configured = backup::options(app, &database, &arguments.reading).map_err(nothing_written)?;
    let reading = BackupOptions {
        selection: Selection {
            sections: options.sections,
            // What else belongs to a schema is chosen from the definitions of everything.
            tables: if options.schemas.is_empty() { options.tables.clone() } else { Vec::new() },
            ..Selection::default()
        },
        rows_of: rows_of(&options),
        // The file is plaintext.
        auth_users: configured.auth_users.or(Some(AuthUsers::Metadata)),
        ..configured
    };
    let place = place(app, &arguments.to).map_err(nothing_written)?;
    let repository = repository(place.path()).map_err(nothing_written)?;
    let taken = backup::make(app, &repository, &reading, &database.title()).map_err(nothing_written)?;
    let mut report = export::write(app, &repository, &taken.header, &options, &arguments.to)?;
    report.skipped.extend(missing(&taken));
    taken.remarks.iter().for_each(|remark| app.output.warn(remark));
    export::present(app, &report, &arguments.to)
}

/// Patterns of the tables whose rows the file holds; none: of all.
fn rows_of(options: &ExportOptions) -> Vec<String> {
    let of_schemas = options.schemas.iter().map(|schema| format!("{schema}.*"));
    options.tables.iter().cloned().chain(of_schemas).collect()
}

/// What the database holds and the file should, and does not.
fn missing(taken: &BackupReport) -> impl Iterator<Item = String> {
    let missing = taken.not_carried.iter().filter(|item| !item.expected);
    missing.map(|item| format!("not carried: {}: {}", item.what, item.reason))
}

/// A folder for the repository: where the file goes, since there must be room for that too.
fn place(app: &App<'_>, to: &str) -> Result<TempDir> {
    let beside = |path: &Path| path.parent().map(Path::to_owned);
    let path: PathBuf = app.current_folder().join(to).components().collect();
    let folder = if to == "-" { Some(app.process.temporary_folder()) } else { beside(&path) };
    let folder = folder.unwrap_or_else(|| app.current_folder().to_owned());
    tempfile::Builder::new().prefix(".pgstow-dump-").tempdir_in(&folder).map_err(|error| {
        Error::failed(format!("nothing can be written in {}", folder.display())).source(error)
    })
}

/// An empty repository that only this process can read.
fn repository(folder: &Path) -> Result<Repository> {
    let key = PrivateKey::generate();
    let recipients = Recipients::parse([key.public()?.as_str()])?;
    let access = Access { recipients: Some(recipients), keys: Some(Box::new(OwnKey(key))), cache: None };
    let store = Box::new(LocalStore::new(folder));
    Ok(Repository::init_with(store, access, Timestamp::now())?.with_compression_level(COMPRESSION_LEVEL))
}

/// The key of the temporary repository.
struct OwnKey(PrivateKey);

impl KeySource for OwnKey {
    fn identities(&self) -> Result<Vec<IdentityFile>> {
        let identity = self.0.to_identity_file(Timestamp::now());
        let identity = identity.map(|text| IdentityFile::new("the dump's own key", text.as_bytes().to_vec()));
        Ok(identity.into_iter().collect())
    }

    fn passphrase(&self, _what: &str, _asking: Asking) -> Result<Option<SecretString>> {
        Ok(None)
    }
}

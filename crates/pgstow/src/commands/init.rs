//! `pgstow init`: writes `pgstow.toml` and creates the repository.

use std::fs::File;
use std::io::{ErrorKind as IoKind, Write};
use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use pgstow_core::repository::encryption::{Access, PrivateKey, Recipients, protect};
use pgstow_core::repository::store::cloud::Place;
use pgstow_core::repository::{Capabilities, Repository};
use pgstow_core::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::app::App;
use crate::config::{DEFAULT_REPOSITORY, FILE_NAME, RepositoryPlace, environment_of_variable, recipients_of};
use crate::exit::{Exit, Failure};
use crate::new_repository::{NewRepository, open_store};
use crate::ui::Tone;

/// Arguments of `pgstow init`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Encrypt backups to this public key, or to those in a file; may be given several times
    #[arg(long, value_name = "KEY")]
    encrypt_to: Vec<String>,

    /// Encrypt backups with a passphrase: only reading them asks for it
    #[arg(long, conflicts_with = "encrypt_to")]
    passphrase: bool,
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonInit<'r> {
    config: &'r str,
    repository: String,
    environments: Vec<&'r str>,
    capabilities: Option<Capabilities>,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let path = app.config_path();
    if path.exists() {
        return Err(exists(&path).into());
    }
    let found: Vec<(String, &str)> = app
        .config
        .variables
        .names()
        .filter_map(|variable| Some((environment_of_variable(variable)?.to_string(), variable)))
        .collect();
    let (place, settings) = repository(app, path.parent().unwrap_or(&path))?;
    let is_bucket = matches!(place, RepositoryPlace::Bucket(_));
    let encryption = NewEncryption::of(app, arguments)?;
    let content = content(&settings, &encryption.encrypt_to, &found);
    let (repository, is_new) =
        encryption.create(app, place).map_err(Failure::closing("nothing was written"))?;
    write_new(&path, &content)?;
    let shown = path.display().to_string();
    if app.output.is_json() {
        let environments = found.iter().map(|(name, _)| name.as_str()).collect();
        let result = JsonInit {
            config: &shown,
            repository: repository.location(),
            environments,
            capabilities: repository.capabilities(),
        };
        app.output.print_json(&result)?;
        return Ok(Exit::Done);
    }
    let mut text = app.output.text();
    if !app.output.is_quiet() {
        let (tone, mark) = app.output.mark(true);
        text.put(tone, mark).plain(" wrote ").put(Tone::Strong, &shown).end();
        let was_there = if is_new { "" } else { " was there already" };
        let location = repository.location();
        text.put(tone, mark).plain(" repository ").put(Tone::Strong, &location).plain(was_there).end();
        if let Some(capabilities) = repository.capabilities().filter(|_| is_bucket) {
            text.fields(&[("store", found_in_store(capabilities))]);
        }
        text.fields(&next_steps(&found));
    }
    app.output.print(&text)?;
    Ok(Exit::Done)
}

/// Whom the new repository is encrypted to, if to anybody.
struct NewEncryption {
    /// As the configuration will have it.
    encrypt_to: Vec<String>,
    /// A private key protected by a passphrase, and its public key.
    stored_key: Option<(String, Vec<u8>)>,
}

impl NewEncryption {
    fn of(app: &App<'_>, arguments: &Arguments) -> Result<Self> {
        if !arguments.passphrase {
            return Ok(Self { encrypt_to: arguments.encrypt_to.clone(), stored_key: None });
        }
        let key = PrivateKey::generate();
        let text = key.to_identity_file(Timestamp::now());
        let text = text.ok_or_else(|| Error::failed("a new key has no identity file"))?;
        let public = key.public()?;
        let protected = protect(&text, app.keys().new_passphrase()?)?;
        Ok(Self { encrypt_to: vec![public.clone()], stored_key: Some((public, protected)) })
    }

    /// Opens or creates the repository; whether it is new.
    fn create(&self, app: &App<'_>, place: RepositoryPlace) -> Result<(Repository, bool)> {
        let Some((public, protected)) = &self.stored_key else {
            let (repository, new) = NewRepository::open_or_make(place, || self.access(app))?;
            // One that was there may not be encrypted.
            repository.encrypts_to().map_err(|error| match error.kind() {
                ErrorKind::Key => error.hint("or say it here: pgstow init --encrypt-to KEY"),
                _ => error,
            })?;
            return Ok((repository, new.is_new()));
        };
        // The passphrase is that of a new repository: one that is there has keys of its own.
        let repository = Repository::init_with(open_store(&place)?, self.access(app)?, Timestamp::now())?;
        repository.store_key(public, protected)?;
        Ok((repository, true))
    }

    fn access(&self, app: &App<'_>) -> Result<Access> {
        let mut access = app.access()?;
        if !self.encrypt_to.is_empty() {
            let folder = app.config_path();
            let folder = folder.parent().unwrap_or(&folder);
            let keys = self.encrypt_to.iter().map(|entry| recipients_of(entry, folder));
            let keys = keys.collect::<Result<Vec<_>>>()?.concat();
            access.recipients = Some(Recipients::parse(keys.iter().map(String::as_str))?);
        }
        Ok(access)
    }
}

/// What was found when the store was tried out, and what of it matters.
fn found_in_store(capabilities: Capabilities) -> String {
    let deletes = if capabilities.deletes {
        "files can be removed with these credentials"
    } else {
        "files cannot be removed with these credentials; prune needs others"
    };
    let refuses = if capabilities.refuses_another {
        "it refuses to write a file twice"
    } else {
        "it does not refuse to write a file twice; nothing here rests on that"
    };
    format!("{deletes}\n{refuses}")
}

fn next_steps(found: &[(String, &str)]) -> Vec<(&'static str, String)> {
    let Some((name, _)) = found.first() else {
        return vec![
            ("next", format!("say in {FILE_NAME} where your database is: an [env.NAME] with its url")),
            ("then", "pgstow check NAME".to_owned()),
        ];
    };
    let list: Vec<String> = found.iter().map(|(name, variable)| format!("{name} from {variable}")).collect();
    vec![
        ("found", list.join(", ")),
        ("next", format!("pgstow check {name}")),
        ("then", format!("pgstow backup {name}")),
    ]
}

/// Where the new repository is, and the lines of `[repository]` that say so in a file in `folder`.
fn repository(app: &App<'_>, folder: &Path) -> Result<(RepositoryPlace, String)> {
    let url = |url: &str| format!("url = {}\n", toml::Value::from(url));
    let Some(given) = app.repository_argument() else {
        let place = RepositoryPlace::Folder(folder.join(DEFAULT_REPOSITORY));
        return Ok((place, url(DEFAULT_REPOSITORY)));
    };
    let place = app.repository_place()?;
    let settings = match &place {
        RepositoryPlace::Folder(path) if folder != app.current_folder() => url(&path.display().to_string()),
        RepositoryPlace::Folder(_) => url(given),
        RepositoryPlace::Bucket(settings) => url(&settings.url()) + &bucket_settings(&settings.place),
    };
    Ok((place, settings))
}

/// What was found in variables and profiles, so that the file says it from now on; but no secrets.
fn bucket_settings(place: &Place) -> String {
    let mut lines = String::new();
    let mut add = |key: &str, value: Option<toml::Value>| {
        if let Some(value) = value {
            lines.push_str(&format!("{key} = {value}\n"));
        }
    };
    let text = |value: &Option<String>| value.as_deref().map(toml::Value::from);
    let credentials = match place {
        Place::S3(s3) => {
            add("region", text(&s3.region));
            add("endpoint", text(&s3.endpoint));
            add("path_style", s3.path_style.map(toml::Value::from));
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the AWS profile, or the machine's role"
        }
        Place::Azure(azure) => {
            add("account", Some(toml::Value::from(azure.account.as_str())));
            add("endpoint", text(&azure.endpoint));
            "AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or the machine's identity"
        }
        Place::Google(google) => {
            add("endpoint", text(&google.endpoint));
            "the file that GOOGLE_APPLICATION_CREDENTIALS names, or the machine's account"
        }
    };
    lines.push_str(&format!(
        "# It is opened with {credentials};\n# docs/stores.md says how to give keys here.\n"
    ));
    lines
}

/// The file: what is known filled in, the rest as comments. Refers to variables, holds no secrets.
fn content(repository: &str, encrypt_to: &[String], environments: &[(String, &str)]) -> String {
    let mut content = format!(
        "# pgstow: what to back up, and where to. docs/cli.md describes every key.\n\
         # ${{NAME}} refers to a variable of the environment or of .env beside this file.\n\n\
         [repository]\n{repository}",
    );
    if !encrypt_to.is_empty() {
        content.push_str(&format!("encrypt_to = {}\n", toml::Value::from(encrypt_to.to_vec())));
    }
    for (name, variable) in environments {
        // A production database is asked about by name before anything in it is replaced.
        let protected = if name.starts_with("prod") { "protected = true\n" } else { "" };
        let key = toml::Value::from(name.as_str());
        let key = if name.contains('.') { key.to_string() } else { name.clone() };
        content.push_str(&format!("\n[env.{key}]\nurl = \"${{{variable}}}\"\n{protected}"));
    }
    if environments.is_empty() {
        content.push_str("\n# [env.prod]\n# url = \"${DATABASE_URL_PROD}\"\n# protected = true\n");
    }
    content.push_str(EXAMPLES);
    content
}

const EXAMPLES: &str = "
# Other ways to say where a database is:
# [env.staging]
# env_file = \".env.staging\"          # DATABASE_URL, or DB_HOST, DB_PORT, DB_USER, DB_PASSWORD, DB_NAME;
#                                     # for Supabase DB_PROJECT_REF and DB_PASSWORD are enough
# [env.dev]
# host = \"localhost\"
# port = 5432
# user = \"postgres\"
# database = \"app\"
# password_file = \"/run/secrets/db\"   # the password and nothing else
# password_command = \"pass show app\"  # or a command that prints it
# [env.reports]
# service = \"reports\"                 # a section of ~/.pg_service.conf
#
# More keys of an environment:
# protected = true                    # its name must be typed before anything in it is replaced
# jobs = 4                            # parallel sessions
# lock_timeout = \"30s\"                # how long a backup waits for a lock
# full_every = \"7d\"                   # how long data may be taken over before all is read again
# auth_users = \"metadata\"             # Supabase: \"none\", \"metadata\" or \"full\" (with password hashes)
# pg_dump = \"/usr/lib/postgresql/17/bin\"
";

fn exists(path: &Path) -> Error {
    Error::refused(format!("{} exists already", path.display()))
        .why("init never overwrites a configuration")
        .hint("pgstow check says whether it works")
}

fn write_new(path: &Path, content: &str) -> Result<()> {
    let failed = |error| Error::failed(format!("cannot write {}", path.display())).source(error);
    let mut file = File::create_new(path).map_err(|error| match error.kind() {
        IoKind::AlreadyExists => exists(path),
        _ => failed(error),
    })?;
    file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_refers_to_variables_and_reads_back() {
        let environments = [("prod".to_owned(), "DATABASE_URL_PROD"), ("a.b".to_owned(), "DATABASE_URL_A.B")];
        let content = content("url = \"backups\"\n", &[], &environments);
        let table: toml::Table = content.parse().unwrap();
        assert_eq!(table["repository"]["url"].as_str(), Some("backups"));
        assert_eq!(table["env"]["prod"]["url"].as_str(), Some("${DATABASE_URL_PROD}"));
        assert_eq!(table["env"]["prod"]["protected"].as_bool(), Some(true));
        assert!(table["env"]["a.b"].get("protected").is_none());
    }

    #[test]
    fn the_commented_examples_are_valid_when_uncommented() {
        let uncommented: String = EXAMPLES
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.contains('=') || line.starts_with('['))
            .map(|line| format!("{line}\n"))
            .collect();
        let table: toml::Table = uncommented.parse().unwrap();
        // All of them end up in the last section.
        let keys = &table["env"]["reports"];
        assert_eq!(keys["jobs"].as_integer(), Some(4));
        assert_eq!(keys["full_every"].as_str(), Some("7d"));
        assert_eq!(keys["auth_users"].as_str(), Some("metadata"));
    }
}

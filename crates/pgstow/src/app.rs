//! What every command needs: configuration, repository, output, the interrupt flag.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pgstow_core::backup;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::conninfo::{self, Surroundings};
use pgstow_core::postgres::settings::{ConnectionSettings, Host};
use pgstow_core::repository::Repository;
use pgstow_core::repository::encryption::Access;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::repository::store::Store;
use pgstow_core::{Error, ErrorKind, Result};

use crate::arguments::Arguments;
use crate::commands::Command;
use crate::config::{Config, ConfiguredKeys, Environment, FILE_NAME, RepositoryPlace, is_variable_name};
use crate::new_repository::{NewRepository, open_store};
use crate::process::Process;
use crate::record::Facts;
use crate::ui::{Output, Text};

/// Environment part of the ids of backups made with `--url`.
const ONE_OFF: &str = "one-off";
/// More parallel sessions than this need to be asked for.
const DEFAULT_JOBS_LIMIT: usize = 8;
/// How long a run may take to end by itself after Ctrl-C.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1800);

/// One run of the program.
pub(crate) struct App<'o> {
    /// What it was configured with.
    pub(crate) config: Config,
    /// What it was started with.
    pub(crate) process: Process,
    /// How it speaks.
    pub(crate) output: &'o Output,
    /// What the command is about, for the audit log.
    pub(crate) facts: Facts,
    /// Raised by Ctrl-C and SIGTERM.
    pub(crate) interrupt: Interrupt,
    current: PathBuf,
    /// `--repository`.
    repository: Option<String>,
    /// `--identity`.
    identity: Option<PathBuf>,
    /// `--config`, for command lines that are shown.
    config_argument: Option<PathBuf>,
}

/// A database that a command works on.
pub(crate) struct Database<'a> {
    /// The environment, unless `--url` was given.
    pub(crate) environment: Option<&'a Environment>,
    /// How to connect.
    pub(crate) connection: ConnectionSettings,
    /// Another database of the environment's server.
    other_database: bool,
}

impl<'o> App<'o> {
    /// Reads the configuration and begins to listen for Ctrl-C.
    ///
    /// # Errors
    /// Wrong configuration.
    pub(crate) fn start(arguments: &Arguments, output: &'o Output) -> Result<Self> {
        let process = Process::current();
        let current = std::env::current_dir()
            .map_err(|error| Error::failed("cannot find the current folder").source(error))?;
        // `init` writes the file that `--config` names.
        let to_be_written = matches!(arguments.command, Command::Init(_));
        let explicit =
            arguments.config.as_deref().filter(|path| !to_be_written || current.join(path).exists());
        let config = Config::load(explicit, &current, &process)?;
        Ok(Self {
            config,
            process,
            output,
            facts: Facts::default(),
            interrupt: Interrupt::new(),
            repository: arguments.repository.clone(),
            identity: arguments.identity.as_ref().map(|path| current.join(path)),
            current,
            config_argument: arguments.config.clone(),
        })
    }

    /// The same run in another folder, with the configuration there and no variables.
    ///
    /// # Errors
    /// Wrong configuration.
    pub(crate) fn within(&self, folder: &Path) -> Result<Self> {
        let process = self.process.isolated();
        Ok(Self {
            config: Config::load(None, folder, &process)?,
            process,
            output: self.output,
            facts: Facts::default(),
            interrupt: self.interrupt.clone(),
            current: folder.to_owned(),
            repository: None,
            identity: None,
            config_argument: None,
        })
    }

    /// The same run with the repository that backups are copied to: the name of a `[copy.NAME]`, a URL or
    /// a folder.
    ///
    /// # Errors
    /// Not found, or wrong configuration.
    pub(crate) fn of_copy(&self, to: &str) -> Result<Self> {
        Ok(Self {
            config: self.config.of_copy(to, &self.current)?,
            process: self.process.clone(),
            output: self.output,
            facts: Facts::default(),
            interrupt: self.interrupt.clone(),
            current: self.current.clone(),
            repository: None,
            identity: None,
            config_argument: None,
        })
    }

    /// Where the repository is.
    ///
    /// # Errors
    /// Usage: what says where it is, or who opens it, is wrong.
    pub(crate) fn repository_place(&self) -> Result<RepositoryPlace> {
        self.config.repository(self.repository.as_deref(), &self.current, &self.process, &self.interrupt)
    }

    /// Whether `--repository` was given.
    pub(crate) fn repository_argument(&self) -> Option<&str> {
        self.repository.as_deref()
    }

    /// Where the configuration is, or would be.
    pub(crate) fn config_path(&self) -> PathBuf {
        let name = self.config_argument.clone().unwrap_or_else(|| PathBuf::from(FILE_NAME));
        self.current.join(name)
    }

    /// The folder that the process was started in.
    pub(crate) fn current_folder(&self) -> &Path {
        &self.current
    }

    /// The store of the repository.
    ///
    /// # Errors
    /// As [`App::repository_place`].
    pub(crate) fn store(&self) -> Result<Box<dyn Store>> {
        open_store(&self.repository_place()?)
    }

    /// The repository, which must exist.
    ///
    /// # Errors
    /// Not found, damaged or of a newer format.
    pub(crate) fn repository(&self) -> Result<Repository> {
        Repository::open_with(self.store()?, self.access()?)
    }

    /// What an encrypted repository needs.
    ///
    /// # Errors
    /// Usage: `encrypt_to` names what is no public key.
    pub(crate) fn access(&self) -> Result<Access> {
        let keys = self.keys();
        Ok(Access {
            recipients: self.config.recipients()?,
            keys: Some(Box::new(keys)),
            cache: self.process.cache(),
        })
    }

    /// Where private keys and passphrases come from.
    pub(crate) fn keys(&self) -> ConfiguredKeys {
        self.config.keys(self.identity.clone(), &self.interrupt, self.output.terminal().interactive)
    }

    /// The repository, made if nothing is there, and how to take that back.
    ///
    /// # Errors
    /// As [`App::repository`], or it cannot be made.
    pub(crate) fn repository_or_new(&self) -> Result<(Repository, NewRepository)> {
        let place = self.repository_place()?;
        let (repository, new) = NewRepository::open_or_make(place, || self.access())?;
        if new.is_new() {
            self.note(&format!("new repository {}", repository.location()));
        }
        Ok((repository, new))
    }

    /// The database of an environment (the default one when none is named) or of `--url`.
    ///
    /// # Errors
    /// Not found or usage, naming what is wrong.
    pub(crate) fn database(&self, environment: Option<&str>, url: Option<&str>) -> Result<Database<'_>> {
        let database = match url {
            Some(url) => {
                let connection = self.connection_of_url(url)?;
                Database { environment: None, connection, other_database: false }
            }
            None => {
                let environment = self.config.environment(environment)?;
                let connection = environment.connection_with_password(
                    &self.config.variables,
                    &self.process,
                    &self.interrupt,
                )?;
                Database { environment: Some(environment), connection, other_database: false }
            }
        };
        self.facts.environment(database.name()?.as_str());
        for note in &database.connection.notes {
            self.note(&format!("note: {note}"));
        }
        Ok(database)
    }

    /// How to connect to the database of a URL; `'$NAME'` takes it from a variable.
    ///
    /// # Errors
    /// Usage, naming `option`.
    pub(crate) fn connection_of_option(&self, option: &str, url: &str) -> Result<ConnectionSettings> {
        self.connection_of_url(url).map_err(|error| error.context(option))
    }

    fn connection_of_url(&self, url: &str) -> Result<ConnectionSettings> {
        let name = url.strip_prefix('$').map(|name| name.trim_start_matches('{').trim_end_matches('}'));
        if let Some(name) = name.filter(|name| is_variable_name(name)) {
            let url = self.config.variables.expand(&format!("${{{name}}}"), "--url")?;
            return conninfo::parse(&url, &self.process).map_err(|error| error.context(name));
        }
        if conninfo::parse(url, &NoSurroundings).is_ok_and(|settings| settings.password.is_some()) {
            self.output.warn(
                "a password on the command line can be seen by every user of this machine; \
                 put the URL into a variable and write --url '$VARIABLE'",
            );
        }
        conninfo::parse(url, &self.process).map_err(|error| error.context("--url"))
    }

    /// The protected environment whose database `settings` reach, whatever name was used for it.
    pub(crate) fn protected_at(&self, settings: &ConnectionSettings) -> Option<&Environment> {
        self.config.environments().filter(|environment| environment.protected).find(|environment| {
            // An environment that is not configured in full is not the one that was reached.
            let other = environment.connection(&self.config.variables, &self.process);
            other.is_ok_and(|other| {
                other.database == settings.database
                    && other.hosts.iter().any(|host| settings.hosts.contains(host))
            })
        })
    }

    /// An environment whose database `settings` may reach. Names of this machine count as one name, so
    /// that an environment is rather found than missed.
    pub(crate) fn environment_at(&self, settings: &ConnectionSettings) -> Option<&Environment> {
        self.config.environments().find(|environment| {
            // An environment that is not configured in full is not the one that was reached.
            let other = environment.connection(&self.config.variables, &self.process);
            other.is_ok_and(|other| {
                let same = |host: &Host| settings.hosts.iter().any(|own| is_same_place(own, host));
                other.database == settings.database && other.hosts.iter().any(same)
            })
        })
    }

    /// The number of parallel sessions: as asked, as configured, or so many per processor up to 8.
    pub(crate) fn jobs(
        &self,
        asked: Option<usize>,
        environment: Option<&Environment>,
        per_processor: usize,
    ) -> usize {
        let configured = environment.and_then(|environment| environment.jobs);
        let processors = || std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        asked.or(configured).unwrap_or_else(|| (processors() * per_processor).min(DEFAULT_JOBS_LIMIT))
    }

    /// Tells something on the way.
    pub(crate) fn note(&self, line: &str) {
        let mut text = Text::new(None);
        text.line(line);
        self.output.note(&text);
    }

    /// A command line as the user would type it to work with the same configuration.
    pub(crate) fn command_line(&self, command: &str) -> String {
        let mut line = format!("pgstow {command}");
        if let Some(config) = &self.config_argument {
            line.push_str(&format!(" --config {}", shell_word(&config.display().to_string())));
        }
        if let Some(repository) = &self.repository {
            line.push_str(&format!(" --repository {}", shell_word(repository)));
        }
        if let Some(identity) = &self.identity {
            line.push_str(&format!(" --identity {}", shell_word(&identity.display().to_string())));
        }
        line
    }
}

impl Database<'_> {
    /// The name that goes into the ids of its backups.
    ///
    /// # Errors
    /// Never for the names at hand; the type demands it.
    pub(crate) fn name(&self) -> Result<EnvironmentName> {
        match self.environment {
            Some(environment) => Ok(environment.name.clone()),
            None => {
                EnvironmentName::new(ONE_OFF).map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))
            }
        }
    }

    /// How long the environment waits for locks, if it says so.
    pub(crate) fn lock_timeout(&self) -> Option<Duration> {
        self.environment.and_then(|environment| environment.lock_timeout)
    }

    /// For how long what a backup of it read is trusted when it is proven unchanged.
    pub(crate) fn full_every(&self) -> Duration {
        self.environment.and_then(|environment| environment.full_every).unwrap_or(backup::FULL_EVERY)
    }

    /// `host:port/database` of every host that it may be reached at.
    pub(crate) fn places(&self) -> Vec<String> {
        let hosts = self.connection.hosts.iter();
        hosts.map(|host| format!("{host}/{}", self.connection.database)).collect()
    }

    /// `host:port/database`, without secrets.
    pub(crate) fn endpoint(&self) -> String {
        let hosts: Vec<String> = self.connection.hosts.iter().map(ToString::to_string).collect();
        format!("{}/{}", hosts.join(","), self.connection.database)
    }

    /// What people call it: the environment's name, with that of another database of its server, or the
    /// endpoint.
    pub(crate) fn title(&self) -> String {
        match self.environment {
            Some(environment) if self.other_database => {
                format!("{} (database {})", environment.name, self.connection.database)
            }
            Some(environment) => environment.name.to_string(),
            None => self.endpoint(),
        }
    }

    /// The other database of the environment's server that is meant, if it is not the environment's own.
    pub(crate) fn other_database(&self) -> Option<&str> {
        self.other_database.then_some(self.connection.database.as_str())
    }

    /// Another database of the same server, if one is named.
    pub(crate) fn of_server(mut self, name: Option<&str>) -> Self {
        if let Some(name) = name.filter(|name| *name != self.connection.database) {
            name.clone_into(&mut self.connection.database);
            self.other_database = true;
        }
        self
    }
}

/// Whether two ways to a server may lead to the same one.
fn is_same_place(one: &Host, other: &Host) -> bool {
    let parts = |host: &Host| match host {
        Host::Socket { port, .. } => (String::new(), *port),
        Host::Tcp { host, port, .. } => {
            let is_here = |name: &str| name == "localhost" || name == "::1" || name.starts_with("127.");
            let name = host.to_lowercase();
            (if is_here(&name) { String::new() } else { name }, *port)
        }
    };
    one == other || parts(one) == parts(other)
}

/// `text` as one word of a shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Nothing but the connection string.
struct NoSurroundings;

impl Surroundings for NoSurroundings {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
    fn user(&self) -> Option<String> {
        Some("nobody".to_owned())
    }
    fn home(&self) -> Option<PathBuf> {
        None
    }
    fn read(&self, _path: &Path) -> std::io::Result<Option<String>> {
        Ok(None)
    }
    fn mode(&self, _path: &Path) -> Option<u32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_words_survive_the_shell() {
        let cases = [
            ("prod_2026-11-21T09-12-04Z", "prod_2026-11-21T09-12-04Z"),
            ("/srv/my backups", "'/srv/my backups'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
            ("$HOME", "'$HOME'"),
        ];
        for (text, word) in cases {
            assert_eq!(shell_word(text), word);
        }
    }
}

//! Configuration: `pgstow.toml` in the current folder (or the file named by `--config`), or else
//! the variables `DATABASE_URL` and `DATABASE_URL_<ENV>`.
//!
//! Parent folders are not searched: a backup tool must not pick up a stranger's file.

mod checks;
mod command;
mod dotenv;
mod encryption;
mod env_file;
mod environment;
mod file;
mod password;
mod repository;
mod retention;
mod suggest;
mod variables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use encryption::{ConfiguredKeys, identity_file, recipients_of};
pub(crate) use environment::{Environment, parse_duration, parse_interval};
use file::RepositorySection;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::repository::encryption::Recipients;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::{Error, ErrorKind, Result};
pub(crate) use repository::RepositoryPlace;
pub(crate) use variables::{Variables, is_variable_name};

use self::encryption::EncryptionKeys;
use crate::process::Process;

/// Name of the configuration file.
pub(crate) const FILE_NAME: &str = "pgstow.toml";
/// Where backups go when nothing is configured.
pub(crate) const DEFAULT_REPOSITORY: &str = "backups";

/// The configuration of one run.
pub(crate) struct Config {
    /// Variables that values refer to.
    pub(crate) variables: Variables,
    folder: PathBuf,
    repository: RepositorySection,
    encryption: EncryptionKeys,
    /// Other repositories that backups are copied to, by name.
    copies: BTreeMap<String, RepositorySection>,
    default_env: Option<String>,
    environments: BTreeMap<String, Environment>,
}

impl Config {
    /// Reads `explicit`, or `pgstow.toml` in `folder`, or the variables alone.
    ///
    /// # Errors
    /// Usage: a named file that does not exist, anything in it that is wrong.
    pub(crate) fn load(explicit: Option<&Path>, folder: &Path, process: &Process) -> Result<Self> {
        let path = explicit.map_or_else(|| folder.join(FILE_NAME), |path| folder.join(path));
        let name = explicit.map_or_else(|| FILE_NAME.to_owned(), |path| path.display().to_string());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && explicit.is_none() => None,
            Err(error) => {
                return Err(Error::new(ErrorKind::Usage, format!("cannot read {name}")).source(error));
            }
        };
        let folder = if explicit.is_some() { path.parent().unwrap_or(folder) } else { folder };
        let variables = Variables::load(process, folder)?;
        let section = text.as_deref().map(|text| file::parse(text, &name)).transpose()?.unwrap_or_default();
        let encryption = EncryptionKeys::of(&section.repository);
        let mut environments = BTreeMap::new();
        for (name, section) in section.env {
            let checked = environment_name(&name)?;
            environments.insert(name, Environment::from_section(checked, section, folder)?);
        }
        if environments.is_empty() {
            environments = environments_of(&variables);
        }
        let config = Self {
            variables,
            folder: folder.to_owned(),
            repository: section.repository,
            encryption,
            copies: section.copy,
            default_env: section.default_env,
            environments,
        };
        match &config.default_env {
            Some(name) if !config.environments.contains_key(name) => Err(Error::new(
                ErrorKind::Usage,
                format!("default_env names {name:?}, which is no environment"),
            )
            .hint(config.known_environments())),
            _ => Ok(config),
        }
    }

    /// The configuration of another repository alone: that of `[copy.NAME]`, or of a URL or folder, about
    /// which nothing more is known.
    ///
    /// # Errors
    /// Not found, with near names; usage: a section without `url`.
    pub(crate) fn of_copy(&self, to: &str, current: &Path) -> Result<Self> {
        let (section, folder) = match self.copies.get(to) {
            Some(section) if section.url.is_some() => (section.clone(), self.folder.clone()),
            Some(_) => {
                return Err(Error::new(ErrorKind::Usage, format!("[copy.{to}] has no url"))
                    .hint("say where the other repository is: url = \"…\""));
            }
            None if to.contains('/') || to.starts_with('.') => {
                let url = Some(to.replace("${", "$${"));
                (RepositorySection { url, ..RepositorySection::default() }, current.to_owned())
            }
            None => return Err(self.unknown_copy(to)),
        };
        Ok(Self {
            variables: self.variables.clone(),
            folder,
            encryption: EncryptionKeys::of(&section),
            repository: section,
            copies: BTreeMap::new(),
            default_env: None,
            environments: BTreeMap::new(),
        })
    }

    fn unknown_copy(&self, to: &str) -> Error {
        let error = Error::new(ErrorKind::NotFound, format!("there is no [copy.{to}] in the configuration"));
        let names: Vec<&str> = self.copies.keys().map(String::as_str).collect();
        let error = suggest_names(error, to, &names);
        if names.is_empty() {
            return error
                .hint("name a folder or URL, such as ./cold; or write a section [copy.NAME] with a url");
        }
        error.hint(format!("the copies are {}; or name a folder or URL, such as ./cold", names.join(", ")))
    }

    /// All environments, by name.
    pub(crate) fn environments(&self) -> impl Iterator<Item = &Environment> {
        self.environments.values()
    }

    /// The environment of this name, or the default one.
    ///
    /// # Errors
    /// Not found, with near names; usage when no name is given and none is the default.
    pub(crate) fn environment(&self, name: Option<&str>) -> Result<&Environment> {
        match name {
            Some(name) => self.environments.get(name).ok_or_else(|| self.unknown(name)),
            None => self.default_environment(),
        }
    }

    /// `default_env`; the only one; `staging`; `default`.
    fn default_environment(&self) -> Result<&Environment> {
        if let Some(environment) = self.default_env.as_ref().and_then(|name| self.environments.get(name)) {
            return Ok(environment);
        }
        if let (1, Some(only)) = (self.environments.len(), self.environments.values().next()) {
            return Ok(only);
        }
        let usual = ["staging", "default"].iter().find_map(|name| self.environments.get(*name));
        usual.ok_or_else(|| {
            if self.environments.is_empty() {
                return Error::new(ErrorKind::Usage, "no environment is configured")
                    .hint("set DATABASE_URL, or DATABASE_URL_PROD and the like, here or in .env")
                    .hint("or name a database once: --url '$VARIABLE'")
                    .hint("or write a pgstow.toml: pgstow init");
            }
            Error::new(ErrorKind::Usage, "several environments are configured and none is the default")
                .hint(format!("name one; {}", self.known_environments()))
                .hint("or set default_env in pgstow.toml")
        })
    }

    fn unknown(&self, name: &str) -> Error {
        let error = Error::new(ErrorKind::NotFound, format!("there is no environment {name:?}"));
        let names: Vec<&str> = self.environments.keys().map(String::as_str).collect();
        suggest_names(error, name, &names).hint(self.known_environments())
    }

    fn known_environments(&self) -> String {
        if self.environments.is_empty() {
            return "no environment is configured: set DATABASE_URL, or run pgstow init".to_owned();
        }
        let names: Vec<&str> = self.environments.keys().map(String::as_str).collect();
        format!("the environments are {}", names.join(", "))
    }

    /// Whom new backups are encrypted to; `None` without `encrypt_to`.
    ///
    /// # Errors
    /// Usage: what is no public key.
    pub(crate) fn recipients(&self) -> Result<Option<Recipients>> {
        self.encryption.recipients(&self.variables, &self.folder)
    }

    /// Where private keys and passphrases come from. `identity` is `--identity`.
    pub(crate) fn keys(
        &self,
        identity: Option<PathBuf>,
        interrupt: &Interrupt,
        interactive: bool,
    ) -> ConfiguredKeys {
        ConfiguredKeys {
            keys: self.encryption.clone(),
            variables: self.variables.clone(),
            folder: self.folder.clone(),
            identity,
            interrupt: interrupt.clone(),
            interactive,
        }
    }

    /// Where the repository is. `given` is `--repository`, relative to the current folder.
    ///
    /// # Errors
    /// Usage: what says where it is, or who opens it, is wrong.
    pub(crate) fn repository(
        &self,
        given: Option<&str>,
        current: &Path,
        process: &Process,
        interrupt: &Interrupt,
    ) -> Result<RepositoryPlace> {
        let sources = repository::Sources {
            section: &self.repository,
            folder: &self.folder,
            variables: &self.variables,
            process,
            interrupt,
        };
        match given {
            Some(given) => sources.given(given, current),
            None => sources.configured(),
        }
    }
}

/// Adds a hint with the names near to `name`, if there are any.
pub(crate) fn suggest_names(error: Error, name: &str, names: &[&str]) -> Error {
    match suggest::hint(name, names.iter().copied()) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn environment_name(name: &str) -> Result<EnvironmentName> {
    EnvironmentName::new(name).map_err(|error| {
        let suggestion = name.replace(['_', ' '], "-");
        let refused = Error::new(ErrorKind::Usage, format!("[env.{name}]: {error}"));
        match EnvironmentName::new(suggestion) {
            Ok(suggestion) => refused.hint(format!("call it {suggestion}")),
            Err(_) => refused,
        }
    })
}

/// `default` from `DATABASE_URL`, `prod` from `DATABASE_URL_PROD` and so on.
fn environments_of(variables: &Variables) -> BTreeMap<String, Environment> {
    let named = variables.names().filter_map(|variable| Some((variable, environment_of_variable(variable)?)));
    named.map(|(variable, name)| (name.to_string(), Environment::from_variable(name, variable))).collect()
}

/// The environment that a variable stands for, if it is one of those.
pub(crate) fn environment_of_variable(variable: &str) -> Option<EnvironmentName> {
    let name = match variable.strip_prefix("DATABASE_URL")? {
        "" => "default".to_owned(),
        suffix => suffix.strip_prefix('_')?.to_lowercase().replace('_', "-"),
    };
    EnvironmentName::new(name).ok()
}

#[cfg(test)]
mod tests;

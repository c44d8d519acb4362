//! An environment: a named database, and how to reach it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgstow_core::drill::Check;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::platform::AuthUsers;
use pgstow_core::postgres::ConnectionSettings;
use pgstow_core::postgres::conninfo::{self, Surroundings};
use pgstow_core::postgres::settings::Secret;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::retention::EnvironmentRules;
use pgstow_core::{Error, ErrorKind, Result};

use super::checks;
use super::env_file::EnvFile;
use super::file::EnvironmentSection;
use super::password;
use super::variables::Variables;
use crate::process::Process;

/// A named database to back up or restore into.
#[derive(Clone)]
pub(crate) struct Environment {
    /// Its name.
    pub(crate) name: EnvironmentName,
    /// Its name must be typed before anything destructive.
    pub(crate) protected: bool,
    /// Parallel sessions, 1 to 64.
    pub(crate) jobs: Option<usize>,
    /// How long to wait for a lock.
    pub(crate) lock_timeout: Option<Duration>,
    /// How long data may be taken over before all is read again; zero: not at all.
    pub(crate) full_every: Option<Duration>,
    /// How much of the users of a managed authentication service is carried.
    pub(crate) auth_users: Option<AuthUsers>,
    /// Roles of this database that get what roles of a backup have, by the backup's names.
    pub(crate) role_map: BTreeMap<String, String>,
    /// Roles of this database that get what an application needs after a restore.
    pub(crate) grant_to: Vec<String>,
    /// Which of its backups are kept; `None`: all.
    pub(crate) retention: Option<EnvironmentRules>,
    /// What a drill asks the restored database.
    pub(crate) checks: Vec<Check>,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// The variable of this name holds the URL.
    Variable(String),
    /// A section of `pgstow.toml` in this folder.
    Section(Box<EnvironmentSection>, PathBuf),
}

impl Environment {
    /// The environment whose URL is in a variable.
    pub(crate) fn from_variable(name: EnvironmentName, variable: &str) -> Self {
        let origin = Origin::Variable(variable.to_owned());
        Self {
            name,
            protected: false,
            jobs: None,
            lock_timeout: None,
            full_every: None,
            auth_users: None,
            role_map: BTreeMap::new(),
            grant_to: Vec::new(),
            retention: None,
            checks: Vec::new(),
            origin,
        }
    }

    /// The environment of a section; `folder` is where relative paths begin.
    ///
    /// # Errors
    /// Usage: values out of range, none or several ways to reach the database.
    pub(crate) fn from_section(
        name: EnvironmentName,
        section: EnvironmentSection,
        folder: &Path,
    ) -> Result<Self> {
        let usage = |message: String| Error::new(ErrorKind::Usage, format!("env.{name}: {message}"));
        let parts = [&section.host, &section.database, &section.user, &section.service];
        let parts = parts.iter().any(|part| part.is_some()) || section.port.is_some();
        let ways = [section.url.is_some(), section.env_file.is_some(), parts];
        match ways.iter().filter(|given| **given).count() {
            0 => return Err(usage("nothing says where the database is".into()).hint(WAYS)),
            1 => {}
            _ => return Err(usage("several keys say where the database is".into()).hint(WAYS)),
        }
        if let (Some(_), Some(key)) = (&section.url, encryption_key(&section)) {
            return Err(usage(format!("{key} does not go with url")).hint("put it into the URL"));
        }
        if section.password_file.is_some() && section.password_command.is_some() {
            return Err(usage("password_file and password_command both give the password".into())
                .hint("keep one of them"));
        }
        if section.jobs.is_some_and(|jobs| !(1..=64).contains(&jobs)) {
            return Err(usage("jobs must be from 1 to 64".into()));
        }
        let lock_timeout = section.lock_timeout.as_deref().map(parse_duration).transpose();
        let lock_timeout = lock_timeout.map_err(|why| usage(format!("lock_timeout {why}")))?;
        let retention = section.retention.as_ref().map(|retention| retention.rules(&name)).transpose()?;
        let checks = checks::checks(&section.check, &name)?;
        Ok(Self {
            retention,
            checks,
            protected: section.protected,
            jobs: section.jobs,
            lock_timeout,
            full_every: section.full_every,
            auth_users: section.auth_users,
            role_map: section.role_map.clone(),
            grant_to: section.grant_to.clone(),
            origin: Origin::Section(Box::new(section), folder.to_owned()),
            name,
        })
    }

    /// Where the configuration says to look for pg_dump.
    ///
    /// # Errors
    /// Usage: a variable that is not set.
    pub(crate) fn pg_dump(&self, variables: &Variables) -> Result<Option<PathBuf>> {
        let Origin::Section(section, folder) = &self.origin else { return Ok(None) };
        let Some(pg_dump) = &section.pg_dump else { return Ok(None) };
        Ok(Some(folder.join(variables.expand(pg_dump, &self.key("pg_dump"))?)))
    }

    /// How to connect; `password_command` is run for it.
    ///
    /// # Errors
    /// As [`Environment::connection`]; a command that fails or takes too long; interrupted.
    pub(crate) fn connection_with_password(
        &self,
        variables: &Variables,
        process: &Process,
        interrupt: &Interrupt,
    ) -> Result<ConnectionSettings> {
        let mut settings = self.connection(variables, process)?;
        if let Origin::Section(section, folder) = &self.origin
            && let Some(command) = &section.password_command
        {
            let password = password::from_command(command, folder, variables, interrupt);
            settings.password = Some(password.map_err(|error| error.context(self.key("password_command")))?);
        }
        Ok(settings)
    }

    /// How to connect, as far as it can be said without running anything.
    ///
    /// # Errors
    /// Usage: an unset variable, an unreadable file, a wrong connection string.
    pub(crate) fn connection(&self, variables: &Variables, process: &Process) -> Result<ConnectionSettings> {
        match &self.origin {
            Origin::Variable(variable) => {
                let url = variables.get(variable).unwrap_or_default();
                conninfo::parse(url, process)
                    .map_err(|error| error.context(format!("{} ({variable})", self.name)))
            }
            Origin::Section(section, folder) => self.section_connection(section, folder, variables, process),
        }
    }

    fn key(&self, key: &str) -> String {
        format!("env.{}.{key}", self.name)
    }

    fn section_connection(
        &self,
        section: &EnvironmentSection,
        folder: &Path,
        variables: &Variables,
        process: &Process,
    ) -> Result<ConnectionSettings> {
        let expand = |text: &str, key: &str| variables.expand(text, &self.key(key));
        let named = |error: Error| error.context(&self.name);
        let mut settings = if let Some(url) = &section.url {
            conninfo::parse(&expand(url, "url")?, process).map_err(named)?
        } else {
            let (mut parts, password) = match &section.env_file {
                Some(file) => {
                    self.parts_of_file(&folder.join(expand(file, "env_file")?), section, process)?
                }
                None => (Parts::default(), None),
            };
            self.add_parts(section, folder, variables, &mut parts)?;
            let settings = conninfo::parse(&parts.0, process).map_err(named)?;
            ConnectionSettings { password: password.or(settings.password), ..settings }
        };
        if let Some(file) = &section.password_file {
            let path = folder.join(expand(file, "password_file")?);
            let password = password::from_file(&path, &mut settings.notes);
            settings.password = Some(password.map_err(|error| error.context(self.key("password_file")))?);
        }
        Ok(settings)
    }

    fn parts_of_file(
        &self,
        path: &Path,
        section: &EnvironmentSection,
        process: &Process,
    ) -> Result<(Parts, Option<Secret>)> {
        let named = |error: Error| error.context(self.key("env_file"));
        let file = EnvFile::read(path).map_err(named)?;
        match (file.url(self.name.as_str()), encryption_key(section)) {
            (Some(_), Some(key)) => {
                Err(named(file.refusal(format!("it holds a URL, and {key} is no part of it")))
                    .hint(format!("put {key} into the URL")))
            }
            (Some(url), None) => Ok((Parts(url.to_owned()), None)),
            (None, _) => {
                let has_mode = section.sslmode.is_some() || process.variable("PGSSLMODE").is_some();
                file.parts(has_mode).map_err(named)
            }
        }
    }

    fn add_parts(
        &self,
        section: &EnvironmentSection,
        folder: &Path,
        variables: &Variables,
        parts: &mut Parts,
    ) -> Result<()> {
        let port = section.port.map(|port| port.to_string());
        let sources = [
            ("service", "service", section.service.as_deref()),
            ("host", "host", section.host.as_deref()),
            ("port", "port", port.as_deref()),
            ("user", "user", section.user.as_deref()),
            ("dbname", "database", section.database.as_deref()),
            ("sslmode", "sslmode", section.sslmode.as_deref()),
            ("channel_binding", "channel_binding", section.channel_binding.as_deref()),
        ];
        for (parameter, key, value) in sources {
            if let Some(value) = value {
                parts.add(parameter, &variables.expand(value, &self.key(key))?);
            }
        }
        let files = [
            ("sslrootcert", section.sslrootcert.as_deref()),
            ("sslcert", section.sslcert.as_deref()),
            ("sslkey", section.sslkey.as_deref()),
        ];
        for (key, value) in files {
            let Some(value) = value else { continue };
            let value = variables.expand(value, &self.key(key))?;
            let is_name = key == "sslrootcert" && value == SYSTEM_ROOTS;
            let path = if is_name { value } else { folder.join(value).to_string_lossy().into_owned() };
            parts.add(key, &path);
        }
        Ok(())
    }
}

/// Stands for the system's trusted roots, not for a file.
const SYSTEM_ROOTS: &str = "system";

/// The first key of a section that belongs into a URL where there is one.
fn encryption_key(section: &EnvironmentSection) -> Option<&'static str> {
    let keys = [
        ("sslmode", &section.sslmode),
        ("sslrootcert", &section.sslrootcert),
        ("sslcert", &section.sslcert),
        ("sslkey", &section.sslkey),
        ("channel_binding", &section.channel_binding),
    ];
    keys.iter().find(|(_, value)| value.is_some()).map(|(key, _)| *key)
}

const WAYS: &str = "give one of: url; env_file; host with port, user and database; service";

/// A `key=value` connection string in the making.
#[derive(Default)]
pub(super) struct Parts(String);

impl Parts {
    pub(super) fn add(&mut self, parameter: &str, value: &str) {
        let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
        self.0.push_str(&format!("{parameter}='{quoted}' "));
    }
}

/// A duration such as `30s` or `2m`.
///
/// # Errors
/// What is wrong, to be put after the name of the option.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 30s or 2m");
    let duration: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from(duration).map_err(|_| wrong())?;
    if duration.is_zero() || duration > Duration::from_secs(86_400) {
        return Err(format!("{text:?} must be more than 0 and at most 24h"));
    }
    Ok(duration)
}

/// A length of time such as `12h`, `7d` or `2w`, where a day has 24 hours; may be zero. `None` for
/// anything else: a negative one, or one with months, whose length nobody knows.
pub(crate) fn parse_interval(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length).ok()
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;

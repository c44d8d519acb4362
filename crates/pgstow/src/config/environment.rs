//! An environment: a named database, and how to reach it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgstow_core::postgres::ConnectionSettings;
use pgstow_core::postgres::conninfo;
use pgstow_core::postgres::settings::Secret;
use pgstow_core::repository::format::id::EnvironmentName;
use pgstow_core::{Error, ErrorKind, Result};

use super::file::EnvironmentSection;
use super::variables::{Variables, read_dotenv};
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
        Self { name, protected: false, jobs: None, lock_timeout: None, full_every: None, origin }
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
        let parts = section.host.is_some() || section.database.is_some() || section.user.is_some();
        let ways = [section.url.is_some(), section.env_file.is_some(), parts || section.port.is_some()];
        match ways.iter().filter(|given| **given).count() {
            0 => return Err(usage("nothing says where the database is".into()).hint(WAYS)),
            1 => {}
            _ => return Err(usage("several keys say where the database is".into()).hint(WAYS)),
        }
        let whole = section.url.is_some() || section.env_file.is_some();
        if whole && (section.sslmode.is_some() || section.sslrootcert.is_some()) {
            return Err(usage("sslmode and sslrootcert go with host".into()).hint("put them into the URL"));
        }
        if section.jobs.is_some_and(|jobs| !(1..=64).contains(&jobs)) {
            return Err(usage("jobs must be from 1 to 64".into()));
        }
        let lock_timeout = section.lock_timeout.as_deref().map(parse_duration).transpose();
        let lock_timeout = lock_timeout.map_err(|why| usage(format!("lock_timeout {why}")))?;
        Ok(Self {
            protected: section.protected,
            jobs: section.jobs,
            lock_timeout,
            full_every: section.full_every,
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

    /// How to connect.
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
        } else if let Some(file) = &section.env_file {
            let path = folder.join(expand(file, "env_file")?);
            self.read_env_file(&path, process)?
        } else {
            let mut parts = Parts::default();
            let port = section.port.map(|port| port.to_string());
            let sources = [
                ("host", "host", section.host.as_deref()),
                ("port", "port", port.as_deref()),
                ("user", "user", section.user.as_deref()),
                ("dbname", "database", section.database.as_deref()),
                ("sslmode", "sslmode", section.sslmode.as_deref()),
                ("sslrootcert", "sslrootcert", section.sslrootcert.as_deref()),
            ];
            for (parameter, key, value) in sources {
                if let Some(value) = value {
                    parts.add(parameter, &expand(value, key)?);
                }
            }
            conninfo::parse(&parts.0, process).map_err(named)?
        };
        if let Some(file) = &section.password_file {
            let path = folder.join(expand(file, "password_file")?);
            settings.password = Some(self.read_password(&path, &mut settings.notes)?);
        }
        Ok(settings)
    }

    /// `DATABASE_URL_<ENV>`, else `DATABASE_URL`, else the keys `DB_HOST` and so on.
    fn read_env_file(&self, path: &Path, process: &Process) -> Result<ConnectionSettings> {
        let usage = |message: String| Error::new(ErrorKind::Usage, message).context(self.key("env_file"));
        let values = read_dotenv(path)
            .map_err(|error| error.context(self.key("env_file")))?
            .ok_or_else(|| usage(format!("{} does not exist", path.display())))?;
        let get = |name: &str| values.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let own = format!("DATABASE_URL_{}", self.name.as_str().to_uppercase().replace(['-', '.'], "_"));
        if let Some(url) = get(&own).or_else(|| get("DATABASE_URL")) {
            return conninfo::parse(url, process).map_err(|error| error.context(&self.name));
        }
        let Some(host) = get("DB_HOST") else {
            let error = usage(format!("{} says nothing of where the database is", path.display()));
            return Err(match get("DB_PROJECT_REF") {
                Some(_) => error
                    .why("DB_PROJECT_REF alone is not supported by this version")
                    .hint("add DB_HOST, DB_PORT, DB_USER and DB_NAME to the file"),
                None => error
                    .hint("put DATABASE_URL, or DB_HOST, DB_USER, DB_PASSWORD and DB_NAME, into the file"),
            });
        };
        let mut parts = Parts::default();
        parts.add("host", host);
        for (parameter, name) in [("port", "DB_PORT"), ("user", "DB_USER"), ("dbname", "DB_NAME")] {
            if let Some(value) = get(name) {
                parts.add(parameter, value);
            }
        }
        let mut settings = conninfo::parse(&parts.0, process).map_err(|error| error.context(&self.name))?;
        if let Some(password) = get("DB_PASSWORD") {
            settings.password = Some(Secret::new(password));
        }
        Ok(settings)
    }

    fn read_password(&self, path: &Path, notes: &mut Vec<String>) -> Result<Secret> {
        let failed = || Error::new(ErrorKind::Usage, format!("cannot read {}", path.display()));
        let failed = || failed().context(self.key("password_file"));
        let content = std::fs::read_to_string(path).map_err(|error| failed().source(error))?;
        let mode = std::fs::metadata(path).map_err(|error| failed().source(error))?.permissions().mode();
        if mode & 0o077 != 0 {
            // Container platforms mount secrets like this, so it cannot be an error.
            notes.push(format!("{} can be read by others; chmod 600 protects it", path.display()));
        }
        let password = content.strip_suffix('\n').unwrap_or(&content);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() || password.contains('\n') {
            return Err(failed().why("it must hold the password in one line and nothing else"));
        }
        Ok(Secret::new(password))
    }
}

const WAYS: &str = "give one of: url; env_file; host with port, user and database";

/// A `key=value` connection string in the making.
#[derive(Default)]
struct Parts(String);

impl Parts {
    fn add(&mut self, parameter: &str, value: &str) {
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
pub(super) fn parse_interval(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length).ok()
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;

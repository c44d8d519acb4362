//! Reads connection strings the way libpq does (URLs and `key=value`), and forgives what libpq
//! rejects: raw special characters in passwords, parameters of other programs.
//!
//! Pure but for the files a [`Surroundings`] gives access to. No error holds a value that could be
//! a password or a part of one: a misread string can put it anywhere.
//! Rules: PostgreSQL manual, libpq, "Connection Strings", "Environment Variables".

mod encryption;
mod key_value;
mod parameters;
mod service;
mod settle;
mod url;

use std::path::{Path, PathBuf};

use super::settings::ConnectionSettings;
use crate::error::{Error, ErrorKind, Result};

/// What libpq would look up outside the connection string. The command line fills it from the
/// process environment; tests fill it by hand.
pub trait Surroundings {
    /// An environment variable such as `PGHOST`.
    fn variable(&self, name: &str) -> Option<String>;
    /// Name of the operating system's user.
    fn user(&self) -> Option<String>;
    /// Home directory.
    fn home(&self) -> Option<PathBuf>;
    /// Content of a text file; `None` when it does not exist.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    fn read(&self, path: &Path) -> std::io::Result<Option<String>>;
    /// Type and permission bits of a file or directory, as in `st_mode` (on Unix
    /// `std::os::unix::fs::MetadataExt::mode`, links followed); `None` when it does not exist.
    fn mode(&self, path: &Path) -> Option<u32>;
}

/// Reads a URL (`postgres://`, `postgresql://`) or `key=value` string, fills the rest from
/// `surroundings` (service file, PG* variables, `.pgpass`) and libpq's defaults. An empty string means:
/// everything from the surroundings.
///
/// In a URL, every valid `%XX` is decoded, in the password too: a password that holds the three
/// characters `%41` must be written `%2541`. Everything else may stand there raw.
///
/// # Errors
/// Usage errors that name the parameter, never its secret value.
pub fn parse(conninfo: &str, surroundings: &dyn Surroundings) -> Result<ConnectionSettings> {
    let conninfo = conninfo.trim_ascii();
    let given = if let Some(rest) = url::without_scheme(conninfo) {
        url::read(rest)?
    } else if conninfo.contains("://") && !conninfo.contains('=') || conninfo.starts_with("jdbc:") {
        return Err(usage("this is not a PostgreSQL URL")
            .hint("write postgres://user:password@host:5432/database (without jdbc: or another scheme)"));
    } else {
        key_value::read(conninfo)?
    };
    settle::settle(given, surroundings)
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests;

//! Finds the right `pg_dump` and runs it without exposing secrets.
//!
//! pg_dump must be at least of the server's major version. Debian's `/usr/bin/pg_dump` is a
//! wrapper that may choose an old one, so every place is looked at and asked for its version.

mod libpq;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use super::connection::Connection;
use super::identifier::{quote_identifier, quote_qualified};
use super::settings::ConnectionSettings;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Largest schema archive that is taken from pg_dump.
const ARCHIVE_LIMIT_BYTES: u64 = 1 << 30;
/// How much of pg_dump's own words an error repeats.
const COMPLAINT_LIMIT_BYTES: usize = 2000;

/// What to do when the server's lock table is full. Every table needs a lock for the backup and one
/// for pg_dump, and a server gives `max_locks_per_transaction` × `max_connections` to all sessions.
pub const MORE_LOCKS: &str = "raise max_locks_per_transaction on the server (it takes a restart): \
     tables × 3 / max_connections is enough";

/// A `pg_dump` that can read the server at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgDump {
    /// The program.
    pub program: PathBuf,
    /// Its major version.
    pub major: u32,
    /// Its version in full, such as `15.18`.
    pub version: String,
}

/// Where to look for client programs.
#[derive(Debug, Clone, Default)]
pub struct ToolPlaces {
    /// The configured program or folder; when given, nothing else is looked at.
    pub configured: Option<PathBuf>,
    /// The process's `PATH`.
    pub search_path: Option<OsString>,
}

/// What one run of pg_dump should read.
#[derive(Debug, Clone, Default)]
pub struct SchemaDump<'a> {
    /// The exported snapshot.
    pub snapshot: &'a str,
    /// `UTF8` or `SQL_ASCII`.
    pub encoding: &'a str,
    /// Tables whose definitions are left out (schema, name): those the role may not read.
    pub exclude: &'a [(String, String)],
    /// Schemas that are left out with all they hold.
    pub exclude_schemas: &'a [String],
    /// Limit for waiting on a lock, so that a queued DDL statement cannot deadlock with us.
    pub lock_timeout_ms: u64,
}

/// Major version of the server behind a connection, such as 15.
pub fn server_major(connection: &Connection) -> u32 {
    connection.server_version_num() / 10_000
}

impl PgDump {
    /// Finds the pg_dump that fits a server best: of the same major version, or else the next
    /// newer one.
    ///
    /// # Errors
    /// When there is none or all are too old, with how to install one.
    pub fn find(places: &ToolPlaces, server_major: u32) -> Result<Self> {
        let found: Vec<Self> = candidates(places).iter().filter_map(|program| Self::at(program)).collect();
        let fitting = found.iter().filter(|tool| tool.major >= server_major).min_by_key(|tool| tool.major);
        fitting.cloned().ok_or_else(|| not_found(places, server_major, &found))
    }

    fn at(program: &Path) -> Option<Self> {
        let mut command = Command::new(program);
        command.arg("--version").env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        let output = command.stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = parse_version(&text)?;
        let digits = version.find(|character: char| !character.is_ascii_digit()).unwrap_or(version.len());
        let major = version.get(..digits)?.parse().ok()?;
        Some(Self { program: program.to_owned(), major, version: version.to_owned() })
    }

    /// Reads the definitions of the connection's database as a custom-format archive.
    ///
    /// The password travels in a file that only this user can read, everything else in such files
    /// and a cleared environment; arguments hold table names at most.
    ///
    /// # Errors
    /// With pg_dump's own words when it fails; interrupted.
    pub fn schema_archive(
        &self,
        connection: &ConnectionSettings,
        dump: &SchemaDump<'_>,
        interrupt: &Interrupt,
    ) -> Result<Vec<u8>> {
        let folder = tempfile::Builder::new()
            .prefix("pgstow-")
            .tempdir()
            .map_err(|error| Error::failed("cannot make a temporary folder for pg_dump").source(error))?;
        let mut command = Command::new(&self.program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let environment = libpq::environment(connection, self.major, folder.path())
            .map_err(|error| Error::failed("cannot write the settings for pg_dump").source(error))?;
        command.args(arguments(self.major, dump)).envs(environment);
        let child = command.spawn().map_err(|error| {
            Error::failed(format!("cannot start {}", self.program.display())).source(error)
        })?;
        self.collect(child, interrupt)
    }

    fn collect(&self, mut child: Child, interrupt: &Interrupt) -> Result<Vec<u8>> {
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let child = Arc::new(Mutex::new(child));
        let to_kill = Arc::clone(&child);
        let registration = interrupt.register(move || {
            // A child that has ended already cannot be killed, and need not be.
            let _ = to_kill.lock().unwrap_or_else(PoisonError::into_inner).kill();
        });
        let complaint = std::thread::spawn(move || stderr.map(read_complaint).unwrap_or_default());
        let mut archive = Vec::new();
        let read = match stdout {
            Some(stdout) => stdout.take(ARCHIVE_LIMIT_BYTES + 1).read_to_end(&mut archive),
            None => Ok(0),
        };
        let too_long = archive.len() as u64 > ARCHIVE_LIMIT_BYTES;
        let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
        if too_long || read.is_err() || interrupt.is_triggered() {
            // It may have ended by itself; waiting below collects it either way.
            let _ = child.kill();
        }
        let status = child.wait();
        drop(child);
        drop(registration);
        let complaint = complaint.join().unwrap_or_default();
        interrupt.check()?;
        if too_long {
            return Err(Error::failed("the schema archive is larger than 1 GiB"));
        }
        match (read, status) {
            (Ok(_), Ok(status)) if status.success() => Ok(archive),
            (Err(error), _) | (_, Err(error)) => {
                Err(Error::failed("pg_dump's output could not be read").source(error))
            }
            (Ok(_), Ok(status)) => {
                let message = format!("pg_dump {} could not read the definitions ({status})", self.version);
                // The setting's name is the same in every language.
                let full = complaint.contains("max_locks_per_transaction");
                let error = Error::failed(message).why(complaint);
                Err(if full { error.hint(MORE_LOCKS) } else { error })
            }
        }
    }
}

fn arguments(pg_dump_major: u32, dump: &SchemaDump<'_>) -> Vec<OsString> {
    let fixed = ["--format=custom", "--schema-only", "--compress=0", "--no-password", "--no-subscriptions"];
    let mut arguments: Vec<OsString> = fixed.map(OsString::from).to_vec();
    if pg_dump_major >= 18 {
        arguments.push("--no-statistics".into());
    }
    arguments.push(format!("--snapshot={}", dump.snapshot).into());
    arguments.push(format!("--encoding={}", dump.encoding).into());
    arguments.push(format!("--lock-wait-timeout={}", dump.lock_timeout_ms).into());
    // Inside double quotes nothing in a pattern is special: each matches one table, or one schema.
    let schemas = dump.exclude_schemas.iter().map(|schema| quote_identifier(schema));
    arguments.extend(schemas.map(|pattern| format!("--exclude-schema={pattern}").into()));
    let excluded = dump.exclude.iter().map(|(schema, name)| quote_qualified(schema, name));
    arguments.extend(excluded.map(|pattern| format!("--exclude-table={pattern}").into()));
    arguments
}

fn read_complaint(stderr: impl Read) -> String {
    let mut bytes = Vec::new();
    // What could be read before an error is still worth showing.
    let _ = stderr.take(1 << 20).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    let mut start = text.len().saturating_sub(COMPLAINT_LIMIT_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default().to_owned()
}

fn candidates(places: &ToolPlaces) -> Vec<PathBuf> {
    if let Some(configured) = &places.configured {
        let program = if configured.is_dir() { configured.join("pg_dump") } else { configured.clone() };
        return vec![program];
    }
    let mut folders = folders_of(places.search_path.as_deref());
    folders.extend(versioned_folders(Path::new("/usr/lib/postgresql")));
    folders.extend(configured_folder(places.search_path.as_deref()));
    let mut seen = BTreeSet::new();
    let programs = folders.iter().map(|folder| folder.join("pg_dump"));
    programs.filter(|program| program.is_file() && seen.insert(program.clone())).collect()
}

fn folders_of(search_path: Option<&OsStr>) -> Vec<PathBuf> {
    search_path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default()
}

/// `…/<major>/bin` below Debian's folder of all installed versions.
fn versioned_folders(base: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders
}

fn configured_folder(search_path: Option<&OsStr>) -> Option<PathBuf> {
    let programs = folders_of(search_path).into_iter().map(|folder| folder.join("pg_config"));
    let program = programs.into_iter().find(|program| program.is_file())?;
    let output = Command::new(program).arg("--bindir").stdin(Stdio::null()).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    (!folder.trim().is_empty()).then(|| PathBuf::from(folder.trim()))
}

/// `15.18` out of `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_version(text: &str) -> Option<&str> {
    let rest = text.split_once("(PostgreSQL)")?.1.trim_start();
    let version = rest.split_whitespace().next()?;
    version.starts_with(|first: char| first.is_ascii_digit()).then_some(version)
}

fn not_found(places: &ToolPlaces, server_major: u32, found: &[PgDump]) -> Error {
    let why = match (found.iter().max_by_key(|tool| tool.major), &places.configured) {
        (Some(newest), _) => format!(
            "the server runs PostgreSQL {server_major}; {} is version {}, and a pg_dump cannot read a newer server",
            newest.program.display(),
            newest.version
        ),
        (None, Some(configured)) => format!("{} is no pg_dump", configured.display()),
        (None, None) => {
            "it is not on PATH, not in /usr/lib/postgresql/*/bin, and pg_config names no folder with it"
                .to_owned()
        }
    };
    Error::failed(format!("no pg_dump of version {server_major} or newer was found"))
        .why(why)
        .hint(format!(
            "apt-get install postgresql-client-{server_major}  (Debian, Ubuntu; other versions: apt.postgresql.org)"
        ))
        .hint("or name the program: --pg-dump PATH, or pg_dump = \"PATH\" in pgstow.toml")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn versions_are_read_from_every_packagers_wording() {
        for (text, expected) in [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some("15.18")),
            ("pg_dump (PostgreSQL) 18.4\n", Some("18.4")),
            ("pg_dump (PostgreSQL) 19devel\n", Some("19devel")),
            ("something else 1.0\n", None),
            ("pg_dump (PostgreSQL) \n", None),
        ] {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_excluded_is_named_exactly() {
        let exclude = [("auth".to_owned(), "schema_migrations".to_owned())];
        let exclude_schemas = ["cron".to_owned(), "od\"d*.?".to_owned()];
        let dump =
            SchemaDump { exclude: &exclude, exclude_schemas: &exclude_schemas, ..SchemaDump::default() };
        let arguments = arguments(15, &dump);
        for expected in [
            "--exclude-schema=\"cron\"",
            "--exclude-schema=\"od\"\"d*.?\"",
            "--exclude-table=\"auth\".\"schema_migrations\"",
        ] {
            assert!(arguments.iter().any(|argument| argument == expected), "{expected}: {arguments:?}");
        }
    }

    #[test]
    fn an_old_pg_dump_is_refused_with_what_to_install() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("pg_dump");
        fs::write(&program, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.1'\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let places = ToolPlaces { configured: Some(program), search_path: None };
        let error = PgDump::find(&places, 17).unwrap_err();
        assert!(error.reason().unwrap_or_default().contains("12.1"), "{error:?}");
        assert!(error.hints().iter().any(|hint| hint.contains("postgresql-client-17")), "{error:?}");
        assert_eq!(PgDump::find(&places, 12).unwrap().version, "12.1");
    }
}

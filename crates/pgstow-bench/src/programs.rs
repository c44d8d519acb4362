//! The programs that are measured, and their versions.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgstow_core::{Error, Result};

use crate::measure;

const HINT: &str = "scripts/set-up-bench installs what is needed; --only leaves competitors out";

/// Where programs are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The pgstow to measure.
    pub(crate) pgstow: PathBuf,
    /// Folder of PostgreSQL's programs.
    pub(crate) postgres: PathBuf,
}

impl Programs {
    /// Finds pgstow and makes sure that it and PostgreSQL's programs are there.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn find(pgstow: Option<&Path>, postgres: &Path) -> Result<Self> {
        let pgstow = match pgstow {
            Some(path) => path.to_owned(),
            None => beside_this_program("pgstow")?,
        };
        if !pgstow.is_file() {
            return Err(Error::failed(format!("there is no program {}", pgstow.display()))
                .hint("build it: cargo build --release -p pgstow"));
        }
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| Error::failed("no current folder").source(error))
        };
        let programs = Self { pgstow: absolute(&pgstow)?, postgres: absolute(postgres)? };
        for name in ["postgres", "psql", "pg_dump", "pg_restore"] {
            programs.version_of(name, "--version")?;
        }
        Ok(programs)
    }

    /// The first line a program says of its version.
    ///
    /// # Errors
    /// A program that is missing or does not run.
    pub(crate) fn version_of(&self, name: &str, argument: &str) -> Result<String> {
        let said = measure::run(self.command(name).arg(argument)).map_err(|error| error.hint(HINT))?;
        // zstd puts its line between asterisks, which Markdown would take for something else.
        Ok(said.lines().next().unwrap_or_default().replace('*', "").trim().to_owned())
    }

    /// A program in an environment of its own.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.path_of(name));
        command.env_clear().env("PATH", self.search_path()).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command
    }

    /// Where a program is, or its name if that is to be found on the `PATH`.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        let of_postgres = self.postgres.join(name);
        match name {
            "pgstow" => self.pgstow.clone(),
            _ if of_postgres.is_file() => of_postgres,
            _ => PathBuf::from(name),
        }
    }

    fn search_path(&self) -> OsString {
        let mut path = self.postgres.clone().into_os_string();
        path.push(":/usr/local/bin:/usr/bin:/bin");
        path
    }
}

fn beside_this_program(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()
        .map_err(|error| Error::failed("cannot tell where this program is").source(error))?;
    Ok(this.with_file_name(name))
}

//! Finds a PostgreSQL server's programs on this machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::folders;
use crate::error::{Error, Result};

/// All that a server needs; all three lie in one folder.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];
/// Where distributions put them: one folder a version. The star stands for the version.
const INSTALLED: [(&str, &str, &str); 2] = [("/usr/lib/postgresql", "", "bin"), ("/usr", "pgsql-", "bin")];

/// The folder of a server's programs, and their version.
#[derive(Debug, Clone)]
pub struct ServerBinaries {
    directory: PathBuf,
    major: u32,
}

impl ServerBinaries {
    /// Looks in `given`, or else for the newest installed version, in the folders of `search_path`,
    /// and where `pg_config` says.
    ///
    /// # Errors
    /// When the programs are not in `given`, or nowhere; names the package to install.
    pub fn find(given: Option<&Path>, search_path: Option<&OsStr>) -> Result<Self> {
        if let Some(directory) = given {
            return Self::in_directory(directory).ok_or_else(|| {
                Error::failed(format!("no PostgreSQL server in {}", directory.display()))
                    .why("initdb, pg_ctl and postgres must be there and run")
            });
        }
        installed()
            .into_iter()
            .chain(folders(search_path))
            .find_map(|directory| Self::in_directory(&directory))
            .or_else(|| named_by_pg_config(search_path))
            .ok_or_else(|| {
                Error::failed("no PostgreSQL server is installed on this machine")
                    .why("initdb, pg_ctl and postgres are neither in /usr/lib/postgresql nor on PATH")
                    .hint("install one: apt-get install postgresql-15")
            })
    }

    /// The programs for a server that is to hold what a server of version `major` held: of that version
    /// if it is installed, or else of the next newer one.
    ///
    /// # Errors
    /// Refused when none is installed that is new enough; names the package to install.
    pub fn at_least(major: u32, search_path: Option<&OsStr>) -> Result<Self> {
        // What is on PATH was chosen by somebody.
        let folders = folders(search_path).into_iter().chain(installed());
        let mut found: Vec<Self> = folders.filter_map(|folder| Self::in_directory(&folder)).collect();
        found.extend(named_by_pg_config(search_path));
        let newest = found.iter().map(|binaries| binaries.major).max();
        let suitable = found.into_iter().filter(|binaries| binaries.major >= major);
        suitable.min_by_key(|binaries| binaries.major).ok_or_else(|| {
            let error = Error::refused(format!(
                "no PostgreSQL server of version {major} or newer is installed on this machine"
            ));
            match newest {
                Some(newest) => error.why(format!("the newest is of version {newest}")),
                None => {
                    error.why("initdb, pg_ctl and postgres are neither in /usr/lib/postgresql nor on PATH")
                }
            }
            .hint(format!("install one: apt-get install postgresql-{major}"))
        })
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Major version, such as 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn in_directory(directory: &Path) -> Option<Self> {
        if !PROGRAMS.iter().all(|program| directory.join(program).is_file()) {
            return None;
        }
        let version = output_of(&directory.join("postgres"), "--version")?;
        Some(Self { directory: directory.to_owned(), major: major_of(&version)? })
    }
}

/// Folders of installed versions, newest first.
fn installed() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (root, prefix, folder) in INSTALLED {
        let Ok(entries) = std::fs::read_dir(root) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse().ok());
            if let Some(version) = version {
                found.push((version, entry.path().join(folder)));
            }
        }
    }
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, directory)| directory).collect()
}

fn named_by_pg_config(search_path: Option<&OsStr>) -> Option<ServerBinaries> {
    folders(search_path)
        .iter()
        .map(|folder| folder.join("pg_config"))
        .filter(|program| program.is_file())
        .filter_map(|program| output_of(&program, "--bindir"))
        .find_map(|directory| ServerBinaries::in_directory(Path::new(directory.trim())))
}

fn output_of(program: &Path, argument: &str) -> Option<String> {
    let mut command = Command::new(program);
    // Without our environment: connection strings may stand in it.
    command.arg(argument).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` → 15.
fn major_of(version: &str) -> Option<u32> {
    let number =
        version.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let digits = number.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_releases_and_betas() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of("postgres (PostgreSQL)"), None);
    }

    /// A folder with programs that say they are of a version.
    fn fake(root: &Path, major: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let folder = root.join(major.to_string());
        std::fs::create_dir(&folder).unwrap();
        for program in PROGRAMS {
            let path = folder.join(program);
            std::fs::write(&path, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {major}.1'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        folder
    }

    #[test]
    fn the_same_version_is_preferred_then_the_next_newer_one() {
        // Versions that nobody has installed.
        let root = tempfile::tempdir().unwrap();
        let folders = [903, 901, 902].map(|major| fake(root.path(), major));
        let path = std::env::join_paths(folders).unwrap();
        for (needed, expected) in [(901, 901), (902, 902), (900, 901)] {
            assert_eq!(ServerBinaries::at_least(needed, Some(&path)).unwrap().major(), expected);
        }
        let error = ServerBinaries::at_least(904, Some(&path)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Refused);
        assert_eq!(error.reason().unwrap(), "the newest is of version 903");
        assert_eq!(error.hints(), ["install one: apt-get install postgresql-904"]);
    }

    #[test]
    fn a_folder_without_a_server_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = ServerBinaries::find(Some(folder.path()), None).unwrap_err();
        assert!(error.message().contains(&folder.path().display().to_string()), "{error}");
    }
}

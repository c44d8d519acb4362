//! What the process was started with: environment variables, user, home. Taken once, at the start,
//! so that everything below is a function of its arguments.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pgstow_core::postgres::conninfo::Surroundings;

/// The process's variables and user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Process {
    variables: BTreeMap<String, String>,
    search_path: Option<OsString>,
    user: Option<String>,
}

impl Process {
    /// Of the running process. Variables that are not UTF-8 are left out.
    pub(crate) fn current() -> Self {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let user = user_name(rustix::process::geteuid().as_raw())
            .or_else(|| variables.get("USER").or_else(|| variables.get("LOGNAME")).cloned());
        Self { variables, search_path: std::env::var_os("PATH"), user }
    }

    /// The same without any variable, so that no `PGHOST` leads elsewhere.
    pub(crate) fn isolated(&self) -> Self {
        Self { variables: BTreeMap::new(), search_path: self.search_path.clone(), user: self.user.clone() }
    }

    /// A made-up one.
    #[cfg(test)]
    pub(crate) fn with_variables(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Self { variables, search_path: None, user: Some("tester".into()) }
    }

    /// All variables by name.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Who runs the process.
    pub(crate) fn user_name(&self) -> String {
        self.user.clone().unwrap_or_else(|| rustix::process::geteuid().as_raw().to_string())
    }

    /// Where files may lie that are needed for a moment and can be large.
    pub(crate) fn temporary_folder(&self) -> PathBuf {
        // `/tmp` is memory on many machines.
        let usual = || PathBuf::from(if Path::new("/var/tmp").is_dir() { "/var/tmp" } else { "/tmp" });
        let named = self.variables.get("TMPDIR").filter(|folder| !folder.is_empty());
        named.map_or_else(usual, PathBuf::from)
    }

    /// Where copies are kept that can be lost: `$XDG_CACHE_HOME/pgstow`, or the one in the home folder.
    pub(crate) fn cache(&self) -> Option<PathBuf> {
        let given = self.variables.get("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = given.filter(|path| path.is_absolute()).or_else(|| Some(self.home()?.join(".cache")));
        cache.map(|cache| cache.join("pgstow"))
    }

    /// `PATH`.
    pub(crate) fn search_path(&self) -> Option<OsString> {
        self.search_path.clone()
    }
}

/// Name of a user id in `/etc/passwd`, where libpq finds it too.
fn user_name(id: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn user(&self) -> Option<String> {
        self.user.clone()
    }

    fn home(&self) -> Option<PathBuf> {
        self.variables.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
    }

    fn read(&self, path: &Path) -> std::io::Result<Option<String>> {
        match std::fs::read_to_string(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        std::fs::metadata(path).ok().map(|metadata| metadata.permissions().mode())
    }
}

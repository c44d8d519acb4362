//! The account a server runs as: `initdb` and `postgres` refuse root.

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Accounts to run as when we are root, in order of preference.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// An account other than root.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: &'static str,
    pub(super) user_id: u32,
    pub(super) group_id: u32,
}

impl Account {
    /// The account to switch to: `None` unless we are root.
    ///
    /// # Errors
    /// When we are root and none of the candidates exists.
    pub(super) fn for_server() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        CANDIDATES.into_iter().find_map(Self::named).map(Some).ok_or_else(|| {
            Error::failed("no account to run a PostgreSQL server as")
                .why("a server refuses to run as root, and neither postgres nor nobody exists")
                .hint("run as an ordinary user, or add the account: useradd --system postgres")
        })
    }

    /// Asks the system's `id`, which knows accounts from every source, not only `/etc/passwd`.
    fn named(name: &'static str) -> Option<Self> {
        let number = |flag: &str| -> Option<u32> {
            let mut command = Command::new("id");
            command.args([flag, name]).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
            let output = command.output().ok()?;
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()
        };
        Some(Self { name, user_id: number("-u")?, group_id: number("-g")? })
    }

    /// Gives `path` to the account.
    pub(super) fn own(&self, path: &Path) -> std::io::Result<()> {
        chown(path, Some(self.user_id), Some(self.group_id))
    }
}

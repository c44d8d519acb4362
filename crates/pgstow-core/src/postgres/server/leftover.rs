//! The folder around a disposable server, and folders that a killed program left behind.
//!
//! A live program holds a lock on a file in its folder, and the system takes the lock away when the
//! program ends, however it ends. So a lock that can be had proves that the folder's program is dead. Its
//! server is ended only if the process that `postmaster.pid` names works in that very data directory.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use tempfile::TempDir;

use crate::error::{Error, Result};

/// What a folder is made for. Each kind is cleared by those that make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A drill.
    Drill,
    /// The import of a file.
    Import,
}

impl Purpose {
    /// How names of such folders begin.
    fn prefix(self) -> &'static str {
        match self {
            Self::Drill => "pgstow-drill-",
            Self::Import => "pgstow-import-",
        }
    }
}

/// The file that a live program holds a lock on.
const LOCK: &str = "lock";

/// A private folder that is gone when dropped; whoever finds it later knows whether its program lives.
pub struct Folder {
    // Removed before the lock is let go.
    directory: TempDir,
    _lock: File,
}

impl Folder {
    /// Makes a folder in `parent`.
    ///
    /// # Errors
    /// The system's.
    pub fn make(parent: &Path, purpose: Purpose) -> Result<Self> {
        let make = || -> io::Result<Self> {
            // Under root the server runs as another account and has a folder of its own in here.
            let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
            let private = fs::Permissions::from_mode(mode);
            let mut builder = tempfile::Builder::new();
            let directory = builder.prefix(purpose.prefix()).permissions(private).tempdir_in(parent)?;
            let lock = File::create_new(directory.path().join(LOCK))?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Ok(Self { directory, _lock: lock })
        };
        make().map_err(|error| {
            Error::failed(format!("cannot make a private folder in {}", parent.display())).source(error)
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Ends and removes what killed programs left in `parent`; the folders removed. What is not surely dead,
/// or not ours, stays.
pub fn remove_leftovers(parent: &Path, purpose: Purpose) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let is_named = |name: std::ffi::OsString| name.to_string_lossy().starts_with(purpose.prefix());
    let named = entries.flatten().filter(|entry| is_named(entry.file_name()));
    let mut removed: Vec<PathBuf> =
        named.map(|entry| entry.path()).filter(|path| remove_dead(path).unwrap_or(false)).collect();
    removed.sort();
    removed
}

/// Removes the folder if its program is dead.
fn remove_dead(folder: &Path) -> io::Result<bool> {
    let us = rustix::process::geteuid().as_raw();
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != us {
        return Ok(false);
    }
    let path = folder.join(LOCK);
    let lock = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let lock = File::from(lock);
    if lock.metadata()?.uid() != us || flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(false);
    }
    // Another program may have removed it meanwhile, and a third made one of that name.
    if fs::metadata(&path)?.ino() != lock.metadata()?.ino() {
        return Ok(false);
    }
    for server in fs::read_dir(folder)?.flatten() {
        if !process::end(&server.path().join("data"))? {
            return Ok(false);
        }
    }
    fs::remove_dir_all(folder)?;
    Ok(true)
}

#[cfg(target_os = "linux")]
mod process {
    use std::fs;
    use std::io;
    use std::path::Path;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    /// How long a server may take to end at once, in seconds.
    const PATIENCE_SECONDS: i64 = 20;

    /// Ends the server of a data directory; whether none runs there any more.
    pub(super) fn end(data: &Path) -> io::Result<bool> {
        let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return Ok(true) };
        // While the cluster is made, a process that is no server stands there with a minus.
        let id: Option<i32> = text.lines().next().and_then(|line| line.trim().parse().ok());
        let Some(id) = id.and_then(i32::checked_abs).and_then(Pid::from_raw) else { return Ok(true) };
        let handle = match pidfd_open(id, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        // The handle is of one process for good. That process may be another that got the number since.
        match fs::read_link(format!("/proc/{}/cwd", id.as_raw_nonzero())) {
            Ok(place) if place == data.canonicalize()? => {}
            Ok(_) => return Ok(true),
            Err(error) => return Ok(error.kind() == io::ErrorKind::NotFound),
        }
        pidfd_send_signal(&handle, Signal::QUIT)?;
        let limit = Timespec { tv_sec: PATIENCE_SECONDS, tv_nsec: 0 };
        Ok(poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit))? > 0)
    }
}

#[cfg(not(target_os = "linux"))]
mod process {
    use std::io;
    use std::path::Path;

    /// A folder with a server in it stays: nothing tells whose process it is.
    pub(super) fn end(data: &Path) -> io::Result<bool> {
        Ok(!data.join("postmaster.pid").exists())
    }
}

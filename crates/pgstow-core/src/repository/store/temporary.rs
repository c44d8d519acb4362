//! Temporary files of a local repository: written in `tmp/`, moved to their place when whole.
//!
//! Each is held under an exclusive `flock` by the run that writes it. So a file whose lock is free
//! belongs to a dead run, whatever the process ids say (containers have their own), and may be
//! removed. Where locks may not reach (another host), only files a day old are.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, OFlags, RenameFlags};

/// The folder within the repository.
pub(super) const FOLDER: &str = "tmp";
const SUFFIX: &str = ".part";
const ABANDONED_AFTER: Duration = Duration::from_hours(24);
const UNKNOWN_HOST: &str = "00000000";

/// Makes names that no other run uses: host, process, number.
#[derive(Debug)]
pub(super) struct Names {
    host: String,
    next: AtomicU64,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { host: host_tag(), next: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}-{}-{number}{SUFFIX}", self.host, std::process::id())
    }
}

/// Eight hex digits that differ between hosts, and between boots of one.
fn host_tag() -> String {
    match fs::read("/proc/sys/kernel/random/boot_id") {
        Ok(boot) => blake3::hash(&boot).to_hex().chars().take(UNKNOWN_HOST.len()).collect(),
        Err(_) => UNKNOWN_HOST.to_owned(),
    }
}

/// Creates and locks a temporary file in `folder`, readable by its owner alone.
pub(super) fn create(folder: &Path, names: &Names) -> io::Result<(File, PathBuf)> {
    loop {
        let path = folder.join(names.next());
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        // Without locks on this file system, the age alone tells whether a file is abandoned.
        let _ = rustix::fs::flock(&file, FlockOperation::LockExclusive);
        // Between creation and lock, another run may have taken it for abandoned.
        if file.metadata()?.nlink() > 0 {
            return Ok((file, path));
        }
    }
}

/// Moves a temporary file to `target` unless something is there: `false` then, and it stays.
pub(super) fn move_to(temporary: &Path, target: &Path) -> io::Result<bool> {
    use rustix::io::Errno;
    let moved = rustix::fs::renameat_with(
        rustix::fs::CWD,
        temporary,
        rustix::fs::CWD,
        target,
        RenameFlags::NOREPLACE,
    );
    match moved {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link_to(temporary, target),
        Err(error) => Err(error.into()),
    }
}

/// As [`move_to`], for file systems that cannot rename without replacing.
fn link_to(temporary: &Path, target: &Path) -> io::Result<bool> {
    match fs::hard_link(temporary, target) {
        Ok(()) => {
            // Left over, it would be taken for abandoned later and removed then.
            let _ = fs::remove_file(temporary);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the temporary files of dead runs in `folder`.
pub(super) fn remove_abandoned(folder: &Path, names: &Names) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(host) = name.to_str().and_then(host_in_name) else { continue };
        if !entry.file_type()?.is_file() {
            continue;
        }
        let same_host = host == names.host && host != UNKNOWN_HOST;
        match remove_if_abandoned(&entry.path(), same_host) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The host part of a name that [`Names`] makes; `None` for any other name.
fn host_in_name(name: &str) -> Option<&str> {
    let mut parts = name.strip_suffix(SUFFIX)?.split('-');
    let (host, process, number) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = host.len() == UNKNOWN_HOST.len() && host.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_host && is_number(process) && is_number(number) && parts.next().is_none()).then_some(host)
}

fn remove_if_abandoned(path: &Path, same_host: bool) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let lock = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
    let written = file.metadata()?.modified()?;
    let is_old = SystemTime::now().duration_since(written).is_ok_and(|age| age > ABANDONED_AFTER);
    let is_abandoned = match lock {
        Ok(()) => same_host || is_old,
        Err(rustix::io::Errno::WOULDBLOCK) => false,
        Err(_) => is_old,
    };
    if is_abandoned { fs::remove_file(path) } else { Ok(()) }
}

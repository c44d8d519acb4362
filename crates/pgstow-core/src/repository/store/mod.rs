//! The store: the code that reads and writes a repository's files.
//!
//! Paths are relative, `/`-separated and made only of names checked in `format::id`; a store
//! refuses any other. Files are write-once: they appear whole or not at all.

pub mod cloud;
mod local;
mod temporary;

use std::io::{self, Read, Write};
use std::time::SystemTime;

pub use cloud::{CloudCase, CloudError, CloudStore};
pub use local::LocalStore;

use crate::error::Error;

/// A failure of the store. `path` is for people: it begins with the repository's location.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such file.
    #[error("{path} does not exist")]
    NotFound {
        /// The file.
        path: String,
    },
    /// A file of that name exists already.
    #[error("{path} exists already")]
    Exists {
        /// The file.
        path: String,
    },
    /// No space is left.
    #[error("no space left while writing {path}")]
    Full {
        /// The file.
        path: String,
    },
    /// A store in the cloud did not do it.
    #[error(transparent)]
    Cloud(#[from] Box<CloudError>),
    /// Anything else.
    #[error("cannot {action} {path}")]
    Io {
        /// `read`, `write`, `list` …
        action: &'static str,
        /// The file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Sorts an error of the system by what the caller can do about it.
    fn of(action: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { action, path, source },
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::NotFound { .. } | StoreError::Exists { .. } => Self::failed(message),
            StoreError::Full { .. } => {
                Self::failed(message).why("the disk or quota that holds the repository is full").hint(
                    "free some space there and run this again; backups already in the repository are intact",
                )
            }
            StoreError::Cloud(error) => Self::from(*error),
            StoreError::Io { source, .. } => {
                let hint = hint_for(&source);
                let error = Self::failed(message).source(source);
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
        }
    }
}

fn hint_for(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Some("check owner and mode of the repository's folder, or run this as the user who owns it")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("the file system is mounted read-only: remount it, or choose another folder")
        }
        io::ErrorKind::FileTooLarge => Some("raise the limit on the size of files (`ulimit -f`)"),
        _ => None,
    }
}

/// A file that is being written; invisible until [`PendingFile::commit`]. Dropping it removes it.
///
/// Its `io::Error`s carry the [`StoreError`].
pub trait PendingFile: Write + Send {
    /// Makes the file durable and visible at `path`, unless a file is there already (then this
    /// one is dropped and `false` returned: content-named files are equal).
    ///
    /// # Errors
    /// When it could not be made durable. Then it is either invisible or visible and whole, but
    /// might not outlast a power failure.
    fn commit(self: Box<Self>, path: &str) -> Result<bool, StoreError>;
}

/// A file found by [`Store::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Path within the repository.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// When it was written, by the clock of the store, which need not be this machine's: to be
    /// compared with other files of the store only. `None` where the store does not know.
    pub modified: Option<SystemTime>,
}

/// Whether `path` is relative, `/`-separated and without any part that could lead elsewhere.
fn is_store_path(path: &str) -> bool {
    path.split('/')
        .all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']))
}

/// Reads and writes a repository's files.
pub trait Store: Send + Sync {
    /// Where this is, for people: an absolute path or a URL without credentials.
    fn location(&self) -> String;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] or the system's error.
    fn read(&self, path: &str) -> Result<Box<dyn Read + Send>, StoreError>;

    /// Reads a whole file of at most `limit_bytes`.
    ///
    /// # Errors
    /// As [`Store::read`]; a longer file is an error too.
    fn read_all(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError>;

    /// Length of a file; `None` when it does not exist.
    ///
    /// # Errors
    /// The system's error.
    fn size(&self, path: &str) -> Result<Option<u64>, StoreError>;

    /// Starts a new file.
    ///
    /// # Errors
    /// The system's error.
    fn create(&self) -> Result<Box<dyn PendingFile>, StoreError>;

    /// Lengths of many files, in their order; as [`Store::size`] for each, but side by side where
    /// each question takes a round trip.
    ///
    /// # Errors
    /// As [`Store::size`], of the first that fails.
    fn sizes(&self, paths: &[String]) -> Result<Vec<Option<u64>>, StoreError> {
        paths.iter().map(|path| self.size(path)).collect()
    }

    /// Writes a small file whole, in the place of one of that name. For marks of running work
    /// alone; all else is write-once.
    ///
    /// # Errors
    /// The system's error. Then either the old content is there, or the new.
    fn replace(&self, path: &str, content: &[u8]) -> Result<(), StoreError>;

    /// All files below a folder, in no order; a folder that does not exist is empty. Files whose
    /// names cannot be the repository's are left out.
    ///
    /// # Errors
    /// The system's error; never a partial list.
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError>;

    /// Names of the folders directly below a folder, sorted.
    ///
    /// # Errors
    /// As [`Store::list`].
    fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError>;

    /// Names of all that lies directly in the repository's place, whoever put it there, sorted;
    /// none when the place does not exist.
    ///
    /// # Errors
    /// The system's error.
    fn names(&self) -> Result<Vec<String>, StoreError>;

    /// Creates a folder for one owner alone: `false` when it exists already.
    ///
    /// # Errors
    /// The system's error.
    fn create_folder(&self, folder: &str) -> Result<bool, StoreError>;

    /// Removes a folder if nothing is in it; a missing one is no error.
    ///
    /// # Errors
    /// The system's error, or something is in it.
    fn remove_folder(&self, folder: &str) -> Result<(), StoreError>;

    /// Removes a file that no committed backup refers to.
    ///
    /// # Errors
    /// The system's error; a missing file is none.
    fn remove(&self, path: &str) -> Result<(), StoreError>;

    /// Removes files that dead runs began and never committed, and nothing else.
    ///
    /// # Errors
    /// The system's error.
    fn remove_abandoned(&self) -> Result<(), StoreError>;

    /// Whether the store itself refuses to write a file where one is, without anybody looking
    /// first. To find out it is tried, so the file at `path` may be another afterwards.
    ///
    /// # Errors
    /// The system's error.
    fn refuses_another(&self, path: &str) -> Result<bool, StoreError> {
        Ok(!self.create()?.commit(path)?)
    }
}

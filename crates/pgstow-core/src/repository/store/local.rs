//! A repository in a local directory.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;

use super::{Listed, PendingFile, Store, StoreError, is_store_path, temporary};

/// A directory as a store: temporary file, fsync, rename, fsync of the directory.
///
/// Folders are created with mode 0700, files with 0600. Symbolic links below the root are never
/// followed when listing; the root itself may be one.
#[derive(Debug)]
pub struct LocalStore(Arc<Directory>);

#[derive(Debug)]
struct Directory {
    root: PathBuf,
    names: temporary::Names,
    /// Folders that this process knows to be durable.
    durable: Mutex<HashSet<PathBuf>>,
}

impl LocalStore {
    /// A store rooted at `root`, which need not exist yet.
    pub fn new(root: &Path) -> Self {
        // Without a current directory there is no absolute path; each operation will say so.
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        Self(Arc::new(Directory {
            root,
            names: temporary::Names::new(),
            durable: Mutex::new(HashSet::new()),
        }))
    }

    fn open(&self, path: &str) -> Result<(File, u64), StoreError> {
        let full = self.0.resolve(path)?;
        let failed = |error| StoreError::of("read", full.display().to_string(), error);
        // Not to hang on a pipe of that name.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(&full).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
        }
        Ok((file, metadata.len()))
    }
}

impl Directory {
    /// The file's path in the file system.
    fn resolve(&self, path: &str) -> Result<PathBuf, StoreError> {
        if is_store_path(path) {
            return Ok(self.root.join(path));
        }
        Err(StoreError::Io {
            action: "use",
            path: format!("{path:?} in {}", self.root.display()),
            source: io::Error::new(io::ErrorKind::InvalidInput, "it is not a path of a repository"),
        })
    }

    /// Makes sure that `folder` (absolute, at or below the root) exists and outlasts a power failure.
    fn ensure_folder(&self, folder: &Path) -> io::Result<()> {
        if self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(folder) {
            return Ok(());
        }
        let parent = folder.parent().filter(|_| folder != self.root);
        match parent {
            Some(parent) => {
                self.ensure_folder(parent)?;
                create_private_folder(folder)?;
                // Also when it was there: whoever made it may not have got this far yet.
                sync_folder(parent)?;
            }
            None => create_root(folder)?,
        }
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
        Ok(())
    }
}

/// Creates the root and what is missing above it.
fn create_root(root: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = root.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    for folder in missing.into_iter().rev() {
        create_private_folder(folder)?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent)?;
        }
    }
    Ok(())
}

/// `false` when it exists already.
fn create_private_folder(folder: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder, and need not.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        result => result,
    }
}

impl Store for LocalStore {
    fn location(&self) -> String {
        self.0.root.display().to_string()
    }

    fn read(&self, path: &str) -> Result<Box<dyn Read + Send>, StoreError> {
        let (file, _) = self.open(path)?;
        Ok(Box::new(file))
    }

    fn read_all(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let (file, bytes) = self.open(path)?;
        let failed = |error| StoreError::of("read", self.0.root.join(path).display().to_string(), error);
        let too_long = || failed(io::Error::other(format!("it is longer than {limit_bytes} bytes")));
        if bytes > limit_bytes {
            return Err(too_long());
        }
        let mut content = Vec::with_capacity(usize::try_from(bytes).map_err(|_| too_long())?);
        file.take(limit_bytes.saturating_add(1)).read_to_end(&mut content).map_err(failed)?;
        if u64::try_from(content.len()).is_ok_and(|length| length <= limit_bytes) {
            Ok(content)
        } else {
            Err(too_long())
        }
    }

    fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        let full = self.0.resolve(path)?;
        let failed = |error| StoreError::of("look at", full.display().to_string(), error);
        match fs::metadata(&full) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn create(&self) -> Result<Box<dyn PendingFile>, StoreError> {
        Ok(Box::new(self.pending()?))
    }

    fn replace(&self, path: &str, content: &[u8]) -> Result<(), StoreError> {
        let target = self.0.resolve(path)?;
        let failed = |error| StoreError::of("write", target.display().to_string(), error);
        let folder = target.parent().unwrap_or(&self.0.root);
        self.0.ensure_folder(folder).map_err(failed)?;
        let mut file = self.pending()?;
        file.file.write_all(content).and_then(|()| file.file.sync_all()).map_err(failed)?;
        fs::rename(&file.temporary, &target).map_err(failed)?;
        file.moved = true;
        sync_folder(folder).map_err(failed)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let mut found = Vec::new();
        let mut pending = vec![folder.to_owned()];
        while let Some(folder) = pending.pop() {
            for (name, entry) in self.entries(&folder)? {
                let path = format!("{folder}/{name}");
                let failed = |error| StoreError::of("list", entry.path().display().to_string(), error);
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    pending.push(path);
                } else if kind.is_file() {
                    match entry.metadata() {
                        Ok(metadata) => {
                            let modified = metadata.modified().ok();
                            found.push(Listed { path, bytes: metadata.len(), modified });
                        }
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(failed(error)),
                    }
                }
            }
        }
        Ok(found)
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for (name, entry) in self.entries(folder)? {
            let kind = entry
                .file_type()
                .map_err(|error| StoreError::of("list", entry.path().display().to_string(), error))?;
            if kind.is_dir() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut names: Vec<String> = read_folder(&self.0.root)?
            .iter()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn create_folder(&self, folder: &str) -> Result<bool, StoreError> {
        let full = self.0.resolve(folder)?;
        let failed = |error| StoreError::of("create", full.display().to_string(), error);
        let parent = full.parent().unwrap_or(&self.0.root);
        self.0.ensure_folder(parent).map_err(failed)?;
        let created = create_private_folder(&full).map_err(failed)?;
        if created {
            sync_folder(parent).map_err(failed)?;
        }
        Ok(created)
    }

    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        let full = self.0.resolve(folder)?;
        ignore_missing(fs::remove_dir(&full))
            .map_err(|error| StoreError::of("remove", full.display().to_string(), error))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        let full = self.0.resolve(path)?;
        ignore_missing(fs::remove_file(&full))
            .map_err(|error| StoreError::of("remove", full.display().to_string(), error))
    }

    fn remove_abandoned(&self) -> Result<(), StoreError> {
        let folder = self.0.root.join(temporary::FOLDER);
        temporary::remove_abandoned(&folder, &self.0.names)
            .map_err(|error| StoreError::of("clean", folder.display().to_string(), error))
    }
}

impl LocalStore {
    fn pending(&self) -> Result<LocalFile, StoreError> {
        let folder = self.0.root.join(temporary::FOLDER);
        let failed = |error| StoreError::of("write into", folder.display().to_string(), error);
        self.0.ensure_folder(&folder).map_err(failed)?;
        let (file, temporary) = temporary::create(&folder, &self.0.names).map_err(failed)?;
        Ok(LocalFile { directory: Arc::clone(&self.0), file, temporary, moved: false })
    }

    /// What lies directly in a folder, names that cannot be ours left out.
    fn entries(&self, folder: &str) -> Result<Vec<(String, fs::DirEntry)>, StoreError> {
        let entries = read_folder(&self.0.resolve(folder)?)?;
        let named = entries.into_iter().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            is_store_path(&name).then_some((name, entry))
        });
        Ok(named.collect())
    }
}

/// A folder's entries; none when it does not exist.
fn read_folder(folder: &Path) -> Result<Vec<fs::DirEntry>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    entries.map_err(|error| StoreError::of("list", folder.display().to_string(), error))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// A file that is being written in `tmp/`.
struct LocalFile {
    directory: Arc<Directory>,
    file: File,
    temporary: PathBuf,
    moved: bool,
}

impl Write for LocalFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer).map_err(|error| {
            let kind = error.kind();
            let path = self.temporary.display().to_string();
            io::Error::new(kind, StoreError::of("write", path, error))
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PendingFile for LocalFile {
    fn commit(mut self: Box<Self>, path: &str) -> Result<bool, StoreError> {
        let target = self.directory.resolve(path)?;
        let failed = |error| StoreError::of("write", target.display().to_string(), error);
        self.file.sync_all().map_err(failed)?;
        let folder = target.parent().unwrap_or(&self.directory.root);
        self.directory.ensure_folder(folder).map_err(failed)?;
        self.moved = temporary::move_to(&self.temporary, &target).map_err(failed)?;
        // Also when another run put it there: it may not have got this far yet.
        sync_folder(folder).map_err(failed)?;
        Ok(self.moved)
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if !self.moved {
            // If it cannot be removed now, a later run does it.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

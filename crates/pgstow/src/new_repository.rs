//! A repository that the first backup made: when that backup fails, nothing shall be left of it.

use std::fs;
use std::path::{Path, PathBuf};

/// The file that makes a directory a repository (`docs/format.md`).
const IDENTITY_FILE: &str = "pgstow.json";

/// A repository's directory, and whether this run made it.
pub(crate) struct NewRepository {
    directory: PathBuf,
    new: bool,
}

impl NewRepository {
    /// To be asked before the repository is made.
    pub(crate) fn before(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), new: !directory.exists() }
    }

    /// Whether this run makes it.
    pub(crate) fn is_new(&self) -> bool {
        self.new
    }

    /// Removes a repository that this run made and that holds nothing yet. One that holds
    /// anything stays: the next backup can use it.
    pub(crate) fn take_back(&self) {
        if !self.new {
            return;
        }
        remove_empty_folders(&self.directory);
        let names: Vec<_> = fs::read_dir(&self.directory)
            .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect())
            .unwrap_or_default();
        if names == [IDENTITY_FILE] {
            // What cannot be removed is an empty repository, which does no harm.
            let _ = fs::remove_file(self.directory.join(IDENTITY_FILE));
            let _ = fs::remove_dir(&self.directory);
        }
    }
}

/// Removes folders below `directory` that hold no file; the system refuses to remove others.
fn remove_empty_folders(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_folders(&entry.path());
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("backups");
        let new = NewRepository::before(&directory);
        fs::create_dir_all(directory.join("objects/ab")).unwrap();
        for file in files {
            fs::write(directory.join(file), "").unwrap();
        }
        new.take_back();
        (parent, directory)
    }

    #[test]
    fn an_empty_new_repository_is_taken_back() {
        let (_parent, directory) = made(&[IDENTITY_FILE]);
        assert!(!directory.exists());
    }

    #[test]
    fn a_new_repository_that_holds_something_stays() {
        let (_parent, directory) = made(&[IDENTITY_FILE, "objects/ab/object"]);
        assert!(directory.join(IDENTITY_FILE).exists() && directory.join("objects/ab/object").exists());
        let (_parent, directory) = made(&[IDENTITY_FILE, "notes.txt"]);
        assert!(directory.join(IDENTITY_FILE).exists());
    }

    #[test]
    fn a_repository_that_was_there_before_stays() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join(IDENTITY_FILE), "").unwrap();
        NewRepository::before(parent.path()).take_back();
        assert!(parent.path().join(IDENTITY_FILE).exists());
    }
}

//! Opening a repository, and making it where none is. When the first backup fails, nothing shall
//! be left of a repository that was made for it.

use std::fs;

use jiff::Timestamp;
use pgstow_core::repository::Repository;
use pgstow_core::repository::encryption::Access;
use pgstow_core::repository::store::cloud::CloudStore;
use pgstow_core::repository::store::{LocalStore, Store};
use pgstow_core::{ErrorKind, Result};

use crate::config::RepositoryPlace;

/// The file that makes a place a repository (`docs/format.md`).
const IDENTITY_FILE: &str = "pgstow.json";
/// More than the file holds.
const IDENTITY_LIMIT_BYTES: u64 = 64 * 1024;

/// The store at a place. Nothing is read yet.
///
/// # Errors
/// Settings that cannot be used.
pub(crate) fn open_store(place: &RepositoryPlace) -> Result<Box<dyn Store>> {
    Ok(match place {
        RepositoryPlace::Folder(path) => Box::new(LocalStore::new(path)),
        RepositoryPlace::Bucket(settings) => Box::new(CloudStore::open(settings)?),
    })
}

/// Whether this run made the repository, and where.
pub(crate) struct NewRepository {
    made: Option<Made>,
}

struct Made {
    place: RepositoryPlace,
    /// Whether the folder, if it is one, was there before.
    had_folder: bool,
}

impl NewRepository {
    /// Opens the repository at a place, or makes it where nothing is. `access` is what encryption
    /// needs.
    ///
    /// # Errors
    /// It is damaged, of a newer format, cannot be reached or cannot be made.
    pub(crate) fn open_or_make(
        place: RepositoryPlace,
        access: impl Fn() -> Result<Access>,
    ) -> Result<(Repository, Self)> {
        match Repository::open_with(open_store(&place)?, access()?) {
            Err(error) if error.kind() == ErrorKind::NotFound => Self::make(place, access()?),
            opened => Ok((opened?, Self { made: None })),
        }
    }

    fn make(place: RepositoryPlace, access: Access) -> Result<(Repository, Self)> {
        let had_folder = matches!(&place, RepositoryPlace::Folder(path) if path.exists());
        let repository = Repository::open_or_init_with(open_store(&place)?, access, Timestamp::now())?;
        Ok((repository, Self { made: Some(Made { place, had_folder }) }))
    }

    /// Whether this run made it.
    pub(crate) fn is_new(&self) -> bool {
        self.made.is_some()
    }

    /// Removes a repository that this run made and that holds nothing yet. One that holds
    /// anything stays: the next backup can use it.
    pub(crate) fn take_back(&self) {
        let Some(made) = &self.made else { return };
        // What cannot be removed is an empty repository, which does no harm.
        let Ok(store) = open_store(&made.place) else { return };
        let removed = take_back(store.as_ref());
        if let (true, false, RepositoryPlace::Folder(path)) = (removed, made.had_folder, &made.place) {
            let _ = fs::remove_dir(path);
        }
    }
}

/// `false` when something is in it, or it cannot be removed.
fn take_back(store: &dyn Store) -> bool {
    remove_empty_folders(store);
    let Ok(identity) = store.read_all(IDENTITY_FILE, IDENTITY_LIMIT_BYTES) else { return false };
    if !is_all_there_is(store, &[IDENTITY_FILE]) || store.remove(IDENTITY_FILE).is_err() {
        return false;
    }
    let is_empty = is_all_there_is(store, &[]);
    if !is_empty {
        // Another run began to use it between the look and the removal. If this fails, that run
        // says which file is missing.
        let _ = store.replace(IDENTITY_FILE, &identity);
    }
    is_empty
}

fn is_all_there_is(store: &dyn Store, names: &[&str]) -> bool {
    store.names().is_ok_and(|found| found == names)
}

/// Removes folders that hold no file; the store refuses to remove others.
fn remove_empty_folders(store: &dyn Store) {
    let names = store.names().unwrap_or_default();
    names.iter().filter(|name| *name != IDENTITY_FILE).for_each(|name| remove_if_empty(store, name));
}

fn remove_if_empty(store: &dyn Store, folder: &str) {
    for name in store.folders(folder).unwrap_or_default() {
        remove_if_empty(store, &format!("{folder}/{name}"));
    }
    let _ = store.remove_folder(folder);
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn made_at(directory: &Path) -> NewRepository {
        NewRepository::open_or_make(RepositoryPlace::Folder(directory.to_owned()), || Ok(Access::default()))
            .ok()
            .unwrap()
            .1
    }

    fn taken_back(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("backups");
        let new = made_at(&directory);
        assert!(new.is_new());
        fs::create_dir_all(directory.join("objects/ab")).unwrap();
        for file in files {
            fs::write(directory.join(file), "").unwrap();
        }
        new.take_back();
        (parent, directory)
    }

    #[test]
    fn an_empty_new_repository_is_taken_back() {
        let (_parent, directory) = taken_back(&[]);
        assert!(!directory.exists());
    }

    #[test]
    fn a_new_repository_that_holds_something_stays() {
        for file in ["objects/ab/object", "notes.txt"] {
            let (_parent, directory) = taken_back(&[file]);
            assert!(directory.join(IDENTITY_FILE).exists() && directory.join(file).exists());
        }
    }

    #[test]
    fn a_folder_that_was_there_before_stays() {
        let parent = tempfile::tempdir().unwrap();
        made_at(parent.path()).take_back();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_repository_that_was_there_before_stays() {
        let parent = tempfile::tempdir().unwrap();
        made_at(parent.path());
        let again = made_at(parent.path());
        assert!(!again.is_new());
        again.take_back();
        assert!(parent.path().join(IDENTITY_FILE).exists());
    }
}

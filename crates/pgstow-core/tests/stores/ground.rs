//! Where the conformance suite runs: a store of each kind, every test in a place of its own.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgstow_core::repository::store::{CloudStore, LocalStore, Store, StoreError};
use tempfile::TempDir;

use crate::servers::{self, Kind, ObjectServer};

/// An empty place, and what keeps it alive.
pub(crate) struct Ground {
    place: Place,
    /// Whether the store itself refuses to write a file where one is.
    pub(crate) refuses_another: bool,
    /// Whether it does so even when two come at once. s3s-fs looks first and writes then.
    pub(crate) is_exclusive: bool,
    /// Whether a file that is replaced is either the old one or the new one. Ceph is; its gateway over
    /// SQLite, which the tests use, mixes the length of one with the content of the other.
    pub(crate) replaces_at_once: bool,
    /// Whether files come back that were written in parts. That gateway takes them, lists them, and
    /// never ends when it reads them.
    pub(crate) reads_parts: bool,
    /// How many files a page of a listing holds.
    pub(crate) page: usize,
}

enum Place {
    Folder(TempDir),
    Bucket { server: Arc<ObjectServer>, prefix: String },
}

impl Ground {
    pub(crate) fn local_disk() -> Self {
        Self {
            place: Place::Folder(tempfile::tempdir().unwrap()),
            refuses_another: true,
            is_exclusive: true,
            replaces_at_once: true,
            reads_parts: true,
            page: 1_000,
        }
    }

    pub(crate) fn radosgw() -> Self {
        Self::bucket(Kind::Radosgw)
    }

    pub(crate) fn s3s_fs() -> Self {
        Self::bucket(Kind::S3sFs)
    }

    pub(crate) fn azurite() -> Self {
        Self::bucket(Kind::Azurite)
    }

    fn bucket(kind: Kind) -> Self {
        let server = servers::shared(kind);
        Self {
            place: Place::Bucket { server, prefix: own_prefix() },
            refuses_another: kind != Kind::Radosgw,
            is_exclusive: kind == Kind::Azurite,
            replaces_at_once: kind != Kind::Radosgw,
            reads_parts: kind != Kind::Radosgw,
            page: if kind == Kind::Azurite { 5_000 } else { 1_000 },
        }
    }

    /// A store there, as another process would open it.
    pub(crate) fn store(&self) -> Box<dyn Store> {
        match &self.place {
            Place::Folder(folder) => Box::new(LocalStore::new(folder.path())),
            Place::Bucket { server, prefix } => Box::new(CloudStore::open(&server.settings(prefix)).unwrap()),
        }
    }
}

/// A prefix that no other test uses; one of them goes on where another ends.
pub(crate) fn own_prefix() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("team/run-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Writes a file: `false` when there is one already.
pub(crate) fn put(store: &dyn Store, path: &str, content: &[u8]) -> Result<bool, StoreError> {
    let mut file = store.create()?;
    file.write_all(content).unwrap();
    file.commit(path)
}

/// Content that no part of is like another.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(bytes);
    content
}

pub(crate) fn read(store: &dyn Store, path: &str) -> Result<Vec<u8>, StoreError> {
    let mut content = Vec::new();
    match store.read(path)?.read_to_end(&mut content) {
        Ok(_) => Ok(content),
        Err(error) => Err(error.downcast::<StoreError>().unwrap()),
    }
}

/// Paths of a listing, sorted.
pub(crate) fn paths(store: &dyn Store, folder: &str) -> Vec<String> {
    let mut paths: Vec<String> = store.list(folder).unwrap().into_iter().map(|file| file.path).collect();
    paths.sort_unstable();
    paths
}

//! A local store whose operations are counted, and one of which goes wrong.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use pgstow_core::repository::store::{Listed, LocalStore, PendingFile, Store, StoreError};
use tempfile::{TempDir, tempdir, tempdir_in};

/// What happens at the operation that fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Nothing: all of them work.
    None,
    /// It fails once; the next ones work.
    Once,
    /// It is done, but says once that it failed; the next ones work.
    OnceAfter,
    /// It and all that follow fail, as if the machine had died before it.
    DiesBefore,
    /// It is done, but says that it failed; all that follow fail.
    DiesAfter,
}

/// Counts operations and lets one fail, or something else happen before one.
#[derive(Clone)]
pub(crate) struct Plan {
    fault: Fault,
    at: usize,
    pause: Arc<Mutex<Option<Pause>>>,
    operations: Arc<AtomicUsize>,
}

/// What others do before which operation.
struct Pause {
    at: usize,
    meanwhile: Box<dyn FnOnce() + Send>,
}

impl Plan {
    pub(crate) fn new(fault: Fault, at: usize) -> Self {
        Self { fault, at, pause: Arc::default(), operations: Arc::new(AtomicUsize::new(0)) }
    }

    /// No operation fails.
    pub(crate) fn harmless() -> Self {
        Self::new(Fault::None, usize::MAX)
    }

    /// Others do `meanwhile` after so many operations from now.
    pub(crate) fn pause_after(&self, operations: usize, meanwhile: impl FnOnce() + Send + 'static) {
        let pause = Pause { at: self.operations() + operations, meanwhile: Box::new(meanwhile) };
        *self.pause.lock().unwrap() = Some(pause);
    }

    /// Whether that has happened.
    pub(crate) fn has_paused(&self) -> bool {
        self.pause.lock().unwrap().is_none()
    }

    /// How many there were.
    pub(crate) fn operations(&self) -> usize {
        self.operations.load(Ordering::SeqCst)
    }

    fn run<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let pause = self.pause.lock().unwrap().take_if(|pause| pause.at == number);
        if let Some(pause) = pause {
            (pause.meanwhile)();
        }
        let fails = match self.fault {
            Fault::None => false,
            Fault::Once | Fault::OnceAfter => number == self.at,
            Fault::DiesBefore | Fault::DiesAfter => number >= self.at,
        };
        if !fails {
            return work();
        }
        if matches!(self.fault, Fault::DiesAfter | Fault::OnceAfter) && number == self.at {
            let _ = work();
        }
        Err(StoreError::Io {
            action: "use",
            path: format!("operation {number}"),
            source: io::ErrorKind::Other.into(),
        })
    }
}

/// A local store under such a plan.
pub(crate) struct Faulty {
    inner: LocalStore,
    plan: Plan,
    clock: Clock,
    denied: Denied,
    hidden: Hidden,
    /// As in a bucket: a folder is there as soon as anybody writes into it.
    folders_for_all: bool,
}

/// Whether the store forbids an action (`remove`, `write`) on a path.
pub(crate) type Denied = fn(&str, &str) -> bool;

/// Whether a listing leaves a path out.
pub(crate) type Hidden = fn(&str) -> bool;

/// What the store says of the time of a file.
pub(crate) type Clock = fn(SystemTime) -> Option<SystemTime>;

impl Faulty {
    pub(crate) fn new(root: &Path, plan: &Plan) -> Self {
        Self {
            inner: LocalStore::new(root),
            plan: plan.clone(),
            clock: Some,
            denied: |_, _| false,
            hidden: |_| false,
            folders_for_all: false,
        }
    }

    pub(crate) fn denying(self, denied: Denied) -> Self {
        Self { denied, ..self }
    }

    pub(crate) fn hiding(self, hidden: Hidden) -> Self {
        Self { hidden, ..self }
    }

    pub(crate) fn with_folders_for_all(self) -> Self {
        Self { folders_for_all: true, ..self }
    }

    pub(crate) fn with_clock(root: &Path, clock: Clock) -> Self {
        Self { clock, ..Self::new(root, &Plan::harmless()) }
    }
}

fn permit(denied: Denied, action: &'static str, path: &str) -> Result<(), StoreError> {
    if !denied(action, path) {
        return Ok(());
    }
    let source = io::ErrorKind::PermissionDenied.into();
    Err(StoreError::Io { action, path: path.to_owned(), source })
}

struct FaultyFile {
    inner: Option<Box<dyn PendingFile>>,
    plan: Plan,
    denied: Denied,
}

impl Write for FaultyFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut written = Ok(0);
        self.plan
            .run(|| {
                written = self.inner.as_mut().unwrap().write(buffer);
                Ok(())
            })
            .map_err(io::Error::other)?;
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PendingFile for FaultyFile {
    fn commit(mut self: Box<Self>, path: &str) -> Result<bool, StoreError> {
        permit(self.denied, "write", path)?;
        let inner = self.inner.take().unwrap();
        self.plan.clone().run(|| inner.commit(path))
    }
}

impl Store for Faulty {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn read(&self, path: &str) -> Result<Box<dyn Read + Send>, StoreError> {
        self.plan.run(|| self.inner.read(path))
    }
    fn read_all(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        self.plan.run(|| self.inner.read_all(path, limit_bytes))
    }
    fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.plan.run(|| self.inner.size(path))
    }
    fn create(&self) -> Result<Box<dyn PendingFile>, StoreError> {
        // As in a store that knows no folders, a file brings its folder with it, even one that
        // was there before and was removed.
        let inner = self.plan.run(|| LocalStore::new(Path::new(&self.inner.location())).create())?;
        Ok(Box::new(FaultyFile { inner: Some(inner), plan: self.plan.clone(), denied: self.denied }))
    }
    fn replace(&self, path: &str, content: &[u8]) -> Result<(), StoreError> {
        self.plan.run(|| self.inner.replace(path, content))
    }
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let mut listed = self.plan.run(|| self.inner.list(folder))?;
        listed.retain(|file| !(self.hidden)(&file.path));
        for file in &mut listed {
            file.modified = file.modified.and_then(self.clock);
        }
        Ok(listed)
    }
    fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let mut folders = self.plan.run(|| self.inner.folders(folder))?;
        folders.retain(|name| !(self.hidden)(&format!("{folder}/{name}")));
        Ok(folders)
    }
    fn names(&self) -> Result<Vec<String>, StoreError> {
        self.plan.run(|| self.inner.names())
    }
    fn create_folder(&self, folder: &str) -> Result<bool, StoreError> {
        let new = self.plan.run(|| self.inner.create_folder(folder))?;
        Ok(new || self.folders_for_all)
    }
    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        self.plan.run(|| self.inner.remove_folder(folder))
    }
    fn remove(&self, path: &str) -> Result<(), StoreError> {
        permit(self.denied, "remove", path)?;
        self.plan.run(|| self.inner.remove(path))
    }
    fn remove_abandoned(&self) -> Result<(), StoreError> {
        self.plan.run(|| self.inner.remove_abandoned())
    }
}

/// In memory where there is such a place: hundreds of backups need not wait for a disk.
pub(crate) fn fast_folder() -> TempDir {
    tempdir_in("/dev/shm").or_else(|_| tempdir()).unwrap()
}

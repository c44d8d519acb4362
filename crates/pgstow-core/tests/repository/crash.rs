//! A store that fails at the n-th operation, for every n: earlier backups stay good, the new one
//! is whole or absent, and the next run succeeds.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::store::{Listed, LocalStore, PendingFile, Store, StoreError};
use pgstow_core::verify::verify;
use tempfile::{TempDir, tempdir, tempdir_in};

use crate::sample::*;

/// What happens at the operation that fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// It fails once; the next ones work.
    Once,
    /// It is done, but says once that it failed; the next ones work.
    OnceAfter,
    /// It and all that follow fail, as if the machine had died before it.
    DiesBefore,
    /// It is done, but says that it failed; all that follow fail.
    DiesAfter,
}

/// Counts operations and lets one fail.
#[derive(Clone)]
struct Plan {
    fault: Fault,
    at: usize,
    operations: Arc<AtomicUsize>,
}

impl Plan {
    fn new(fault: Fault, at: usize) -> Self {
        Self { fault, at, operations: Arc::new(AtomicUsize::new(0)) }
    }

    fn run<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let fails = match self.fault {
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
struct Faulty {
    inner: LocalStore,
    plan: Plan,
}

struct FaultyFile {
    inner: Option<Box<dyn PendingFile>>,
    plan: Plan,
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
        let inner = self.plan.run(|| self.inner.create())?;
        Ok(Box::new(FaultyFile { inner: Some(inner), plan: self.plan.clone() }))
    }
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        self.plan.run(|| self.inner.list(folder))
    }
    fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.plan.run(|| self.inner.folders(folder))
    }
    fn names(&self) -> Result<Vec<String>, StoreError> {
        self.plan.run(|| self.inner.names())
    }
    fn create_folder(&self, folder: &str) -> Result<bool, StoreError> {
        self.plan.run(|| self.inner.create_folder(folder))
    }
    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        self.plan.run(|| self.inner.remove_folder(folder))
    }
    fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.plan.run(|| self.inner.remove(path))
    }
    fn remove_abandoned(&self) -> Result<(), StoreError> {
        self.plan.run(|| self.inner.remove_abandoned())
    }
}

/// In memory where there is such a place: hundreds of backups need not wait for a disk.
fn fast_folder() -> TempDir {
    tempdir_in("/dev/shm").or_else(|_| tempdir()).unwrap()
}

const SECOND_RUN: &str = "2026-12-01T00:00:00Z";

/// Opens (or creates) the repository under the plan and stores one more backup.
fn one_more(root: &Path, plan: &Plan) -> pgstow_core::Result<Header> {
    let store = Box::new(Faulty { inner: LocalStore::new(root), plan: plan.clone() });
    let repository = Repository::open_or_init(store, time(SECOND_RUN))?;
    store_backup(&repository, &environment("prod"), None, time(SECOND_RUN), 20)
}

fn all_good(root: &Path) -> Vec<Header> {
    let repository = open(root);
    let listing = repository.list().unwrap();
    assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
    for header in &listing.backups {
        let report = verify(&repository, header, true, &Silent, &Interrupt::new()).unwrap();
        assert!(report.is_good(), "{report:?}");
    }
    listing.backups
}

/// Fails at each operation in turn; `check` looks at the repository after each failure.
fn fail_at_each(fault: Fault, prepare: impl Fn(&Path), check: impl Fn(&Path, usize)) {
    for at in 0.. {
        let place = fast_folder();
        prepare(place.path());
        let plan = Plan::new(fault, at);
        let outcome = one_more(place.path(), &plan);
        if plan.operations.load(Ordering::SeqCst) <= at {
            outcome.unwrap();
            assert!(at > 15, "only {at} operations were seen");
            return;
        }
        check(place.path(), at);
        one_more(place.path(), &Plan::new(Fault::Once, usize::MAX)).unwrap();
        all_good(place.path());
    }
}

fn one_backup(root: &Path) {
    store_backup(&init(root), &environment("prod"), None, time("2026-11-01T00:00:00Z"), 10).unwrap();
}

#[test]
fn a_single_failure_leaves_earlier_backups_good_and_no_trace_of_the_new_one() {
    fail_at_each(Fault::Once, one_backup, |root, at| {
        let backups = all_good(root);
        assert!(matches!(backups.len(), 1 | 2), "operation {at}");
        assert!(files(&root.join("tmp")).is_empty(), "operation {at}: {:?}", files(&root.join("tmp")));
    });
}

#[test]
fn a_single_failure_that_is_reported_leaves_no_new_backup() {
    for fault in [Fault::Once, Fault::OnceAfter] {
        for at in 0.. {
            let place = fast_folder();
            one_backup(place.path());
            let plan = Plan::new(fault, at);
            let failed = one_more(place.path(), &plan).is_err();
            assert_eq!(all_good(place.path()).len(), if failed { 1 } else { 2 }, "{fault:?} at {at}");
            let unfinished = open(place.path()).list().unwrap().unfinished;
            // A folder that was created without our knowing is left, empty.
            assert!(unfinished.is_empty() || fault == Fault::OnceAfter, "{fault:?} at {at}: {unfinished:?}");
            if plan.operations.load(Ordering::SeqCst) <= at {
                break;
            }
        }
    }
}

#[test]
fn a_death_before_any_operation_leaves_earlier_backups_good_and_the_new_one_absent() {
    fail_at_each(Fault::DiesBefore, one_backup, |root, at| {
        assert_eq!(all_good(root).len(), 1, "operation {at}");
    });
}

#[test]
fn a_death_after_any_operation_leaves_earlier_backups_good_and_the_new_one_whole_or_absent() {
    fail_at_each(Fault::DiesAfter, one_backup, |root, at| {
        assert!(matches!(all_good(root).len(), 1 | 2), "operation {at}");
    });
}

#[test]
fn a_death_while_the_repository_is_created_does_not_stand_in_the_way_of_the_next_run() {
    for fault in [Fault::DiesBefore, Fault::DiesAfter] {
        fail_at_each(fault, |_| (), |_, _| ());
    }
}

//! A repository in a bucket: S3 and what speaks it, Azure Blob Storage, Google Cloud Storage.
//!
//! The library below is asynchronous, and this is the only place that is: each store has a runtime
//! of its own, and every operation blocks the thread that calls it.
//!
//! A bucket has no folders. A folder exists while something lies below its prefix, so none is
//! created or removed; and nothing is ever half there, so nothing is abandoned in `tmp/`.

mod advice;
mod client;
mod credentials;
mod download;
mod exchange;
mod failure;
mod settings;
mod upload;

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

pub use client::Patience;
pub use failure::{CloudCase, CloudError};
pub use settings::{
    AccessKeys, AzureCredentials, AzureSettings, CloudSettings, CredentialSource, GoogleSettings, Place,
    S3Credentials, S3Settings,
};

use super::{Listed, PendingFile, Store, StoreError, is_store_path};
use crate::error::{Error, ErrorKind};
use failure::{Failure, store_error};

/// Questions about files that are asked side by side.
const SIDE_BY_SIDE: usize = 32;
/// Longer than all repetitions of a request take: something hangs that no other limit sees.
const OPERATION_LIMIT: Duration = Duration::from_mins(15);

/// A bucket as a store.
///
/// Files are written with a condition, that nothing is there yet, where the store knows conditions.
/// No more than economy rests on that: files of one name have one content, or are written by one
/// run alone.
#[derive(Debug)]
pub struct CloudStore(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    runtime: Option<Runtime>,
    /// For the time before the store has answered, and for the time after.
    clients: [Arc<dyn ObjectStore>; 2],
    answered: AtomicBool,
    /// Whether the store has shown that it knows no conditions.
    lacks_conditions: AtomicBool,
    /// Room for parts of large files in memory, of all files that are on their way, in MiB.
    room_for_parts: Semaphore,
    prefix: String,
    location: String,
    spool: PathBuf,
    patience: Patience,
}

impl CloudStore {
    /// A store in a bucket; no request is made yet.
    ///
    /// # Errors
    /// Settings that no store can be reached with.
    pub fn open(settings: &CloudSettings) -> crate::error::Result<Self> {
        Self::open_with(settings, Patience::default())
    }

    /// As [`CloudStore::open`], with other limits of time.
    ///
    /// # Errors
    /// As [`CloudStore::open`].
    pub fn open_with(settings: &CloudSettings, patience: Patience) -> crate::error::Result<Self> {
        if !settings.prefix.is_empty() && !is_store_path(&settings.prefix) {
            return Err(Error::new(ErrorKind::Usage, format!("{} cannot hold a repository", settings.url()))
                .why("its path has an empty part, `.` or `..`"));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| Error::failed("cannot start threads for the store").source(error))?;
        let build = |retries| client::build(settings, &patience, retries);
        let clients = [build(patience.first_retries)?, build(patience.later_retries)?];
        Ok(Self(Arc::new(Bucket {
            runtime: Some(runtime),
            clients,
            answered: AtomicBool::new(false),
            lacks_conditions: AtomicBool::new(false),
            room_for_parts: Semaphore::new(upload::ROOM_FOR_PARTS_MEBIBYTES as usize),
            prefix: settings.prefix.clone(),
            location: settings.url(),
            spool: settings.spool.clone(),
            patience,
        })))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A look-up of a name that hangs holds nobody up.
            runtime.shutdown_background();
        }
    }
}

impl Bucket {
    fn client(&self) -> &dyn ObjectStore {
        let [before, after] = &self.clients;
        if self.answered.load(Ordering::Relaxed) { after.as_ref() } else { before.as_ref() }
    }

    /// Waits for `work`, on the thread of the caller.
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("the runtime lives as long as the bucket").block_on(work)
    }

    /// One operation, its failure with what the store said.
    async fn ask<T>(&self, work: impl Future<Output = object_store::Result<T>>) -> Result<T, Failure> {
        let result = exchange::noting(work).await;
        let heard = match &result {
            Ok(_) => true,
            Err((_, exchange)) => exchange.as_ref().is_some_and(|exchange| exchange.answer.is_some()),
        };
        if heard {
            self.answered.store(true, Ordering::Relaxed);
        }
        result
    }

    /// As [`Bucket::ask`], for what sends next to nothing and so cannot take long.
    async fn ask_soon<T>(&self, work: impl Future<Output = object_store::Result<T>>) -> Result<T, Failure> {
        let limited = async {
            tokio::time::timeout(OPERATION_LIMIT, work).await.unwrap_or_else(|elapsed| {
                Err(object_store::Error::Generic { store: "cloud", source: Box::new(elapsed) })
            })
        };
        self.ask(limited).await
    }

    /// A path for people.
    fn display(&self, path: &str) -> String {
        if path.is_empty() { self.location.clone() } else { format!("{}/{path}", self.location) }
    }

    fn failed(&self, action: &'static str, path: &str) -> impl FnOnce(Failure) -> StoreError {
        let path = self.display(path);
        move |failure| store_error(action, path, failure)
    }

    /// The name of a file or folder in the bucket.
    fn key(&self, path: &str) -> Result<Key, StoreError> {
        let invalid = |why: String| StoreError::Io {
            action: "use",
            path: format!("{path:?} in {}", self.location),
            source: io::Error::new(io::ErrorKind::InvalidInput, why),
        };
        if !is_store_path(path) {
            return Err(invalid("it is not a path of a repository".to_owned()));
        }
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        Key::parse(format!("{}{slash}{path}", self.prefix)).map_err(|error| invalid(error.to_string()))
    }

    /// The path of a file of the repository; `None` for whatever cannot be one.
    fn path<'k>(&self, key: &'k Key) -> Option<&'k str> {
        let key: &str = key.as_ref();
        let path = match self.prefix.as_str() {
            "" => key,
            prefix => key.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        is_store_path(path).then_some(path)
    }

    /// Length and time of a file.
    async fn look(&self, path: &str) -> Result<Option<ObjectMeta>, StoreError> {
        let key = self.key(path)?;
        let failure = match self.ask_soon(self.client().head(&key)).await {
            Ok(found) => return Ok(Some(found)),
            Err(failure) => failure,
        };
        let failure = if is_mute(&failure) {
            // Answers to HEAD have no body; those to GET say why.
            match self.ask_soon(self.client().get(&key)).await {
                Ok(found) => return Ok(Some(found.meta)),
                Err(failure) => failure,
            }
        } else {
            failure
        };
        match self.failed("look at", path)(failure) {
            StoreError::NotFound { .. } => Ok(None),
            error => Err(error),
        }
    }
}

/// Whether an answer gave no message, and is more than a missing file.
fn is_mute((error, exchange): &Failure) -> bool {
    let answer = exchange.as_ref().and_then(|exchange| exchange.answer.as_ref());
    !matches!(error, object_store::Error::NotFound { .. })
        && answer.is_some_and(|answer| answer.message.is_empty() && answer.status < 500)
}

impl Store for CloudStore {
    fn location(&self) -> String {
        self.0.location.clone()
    }

    fn read(&self, path: &str) -> Result<Box<dyn Read + Send>, StoreError> {
        Ok(Box::new(download::Reader::open(&self.0, path)?))
    }

    fn read_all(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let reader = download::Reader::open(&self.0, path)?;
        let failed = |source| StoreError::Io { action: "read", path: self.0.display(path), source };
        let too_long = || failed(io::Error::other(format!("it is longer than {limit_bytes} bytes")));
        let length = reader.length();
        if length > limit_bytes {
            return Err(too_long());
        }
        let mut content = Vec::with_capacity(usize::try_from(length).map_err(|_| too_long())?);
        match reader.take(length).read_to_end(&mut content) {
            Ok(_) => Ok(content),
            Err(error) => Err(error.downcast::<StoreError>().unwrap_or_else(failed)),
        }
    }

    fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.0.wait(self.0.look(path))?.map(|found| found.size))
    }

    fn sizes(&self, paths: &[String]) -> Result<Vec<Option<u64>>, StoreError> {
        let questions = futures_util::stream::iter(paths).map(|path| self.0.look(path));
        let answers = questions.buffered(SIDE_BY_SIDE).map_ok(|found| found.map(|found| found.size));
        self.0.wait(answers.try_collect())
    }

    fn create(&self) -> Result<Box<dyn PendingFile>, StoreError> {
        Ok(Box::new(upload::CloudFile::new(Arc::clone(&self.0))))
    }

    fn replace(&self, path: &str, content: &[u8]) -> Result<(), StoreError> {
        let key = self.0.key(path)?;
        let put = self.0.client().put(&key, PutPayload::from(content.to_vec()));
        self.0.wait(self.0.ask(put)).map(|_| ()).map_err(self.0.failed("write", path))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let bucket = &self.0;
        let key = bucket.key(folder)?;
        bucket.wait(async {
            let mut pages = bucket.client().list(Some(&key));
            let mut found = Vec::new();
            loop {
                let next = bucket.ask_soon(async { pages.try_next().await });
                let Some(file) = next.await.map_err(bucket.failed("list", folder))? else {
                    return Ok(found);
                };
                if let Some(path) = bucket.path(&file.location) {
                    let modified = Some(file.last_modified.into());
                    found.push(Listed { path: path.to_owned(), bytes: file.size, modified });
                }
            }
        })
    }

    /// From the names of all files below. A store can list folders alone, but some that are in use
    /// leave out, without a word, what lies beyond the first page of such a listing.
    fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let files = self.list(folder)?;
        let below = files.iter().filter_map(|file| file.path.strip_prefix(folder)?.strip_prefix('/'));
        let names: BTreeSet<&str> = below.filter_map(|path| Some(path.split_once('/')?.0)).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        // A bucket shown as folders has an empty file of the folder's own name.
        let own = Key::parse(&self.0.prefix).unwrap_or_default();
        let listing = self.0.client().list_with_delimiter(Some(&own));
        let children = self.0.wait(self.0.ask_soon(listing)).map_err(self.0.failed("list", ""))?;
        let files = children.objects.iter().map(|file| &file.location);
        Ok(names(children.common_prefixes.iter().chain(files.filter(|&file| *file != own))))
    }

    /// As in every bucket, no more than a look: two that look at once both find the place free.
    fn create_folder(&self, folder: &str) -> Result<bool, StoreError> {
        let bucket = &self.0;
        let key = bucket.key(folder)?;
        let first = async { bucket.client().list(Some(&key)).try_next().await };
        let found = bucket.wait(bucket.ask_soon(first)).map_err(bucket.failed("list", folder))?;
        Ok(found.is_none())
    }

    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        if self.create_folder(folder)? {
            return Ok(());
        }
        let source = io::ErrorKind::DirectoryNotEmpty.into();
        Err(StoreError::Io { action: "remove", path: self.0.display(folder), source })
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        let key = self.0.key(path)?;
        let removed = self.0.wait(self.0.ask_soon(self.0.client().delete(&key)));
        match removed.map_err(self.0.failed("remove", path)) {
            Err(StoreError::NotFound { .. }) => Ok(()),
            result => result,
        }
    }

    /// Nothing to do: a file is not there until it is whole. Parts of large files that a killed run
    /// left can be neither seen nor removed through this library; a rule of the bucket that ends
    /// incomplete uploads after some days does it.
    fn remove_abandoned(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn refuses_another(&self, path: &str) -> Result<bool, StoreError> {
        let key = self.0.key(path)?;
        let put = self.0.client().put_opts(&key, "another".into(), PutMode::Create.into());
        match self.0.wait(self.0.ask(put)) {
            Ok(_) => Ok(false),
            Err((object_store::Error::AlreadyExists { .. }, _)) => Ok(true),
            Err(failure) if upload::lacks_conditions(&failure) => Ok(false),
            Err(failure) => Err(self.0.failed("write", path)(failure)),
        }
    }
}

/// The last parts of keys, sorted.
fn names<'k>(keys: impl Iterator<Item = &'k Key>) -> Vec<String> {
    let mut names: Vec<String> = keys.filter_map(Key::filename).map(str::to_owned).collect();
    names.sort_unstable();
    names
}

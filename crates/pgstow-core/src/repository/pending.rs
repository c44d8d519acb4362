//! The pending mark of a run: it says that the run lives, what it builds on, and which condemned
//! lists it knows. A thread of its own writes it anew now and then.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::claims::Claims;
use super::condemned;
use super::format::FORMAT_VERSION;
use super::format::id::{BackupId, RunTag};
use super::format::layout;
use super::format::pending::PendingMark;
use super::open::write;
use super::store::Store;
use crate::error::{Error, Result};
use crate::random;

/// After a failure the mark is written again after this part of the usual time.
const RETRY_PART: u32 = 6;

/// A run's pending mark. Dropping it ends the heartbeat; the mark stays.
#[derive(Debug)]
pub(super) struct Pending {
    shared: Arc<Shared>,
    heart: Option<(Sender<()>, JoinHandle<()>)>,
}

struct Shared {
    store: Arc<dyn Store>,
    claims: Arc<Claims>,
    path: String,
    mark: Mutex<PendingMark>,
    heard: Mutex<Heard>,
}

/// What the heartbeat has to tell.
#[derive(Debug, Default)]
struct Heard {
    /// Failures nobody was told of yet.
    troubles: Vec<String>,
    /// The mark was gone once.
    lost: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("path", &self.path).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pending {
    /// Writes the mark of a new run into the folder of `id`. It knows nothing yet.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn write(store: Arc<dyn Store>, claims: Arc<Claims>, id: &BackupId) -> Result<Self> {
        let tag = RunTag(random::bytes()?);
        let mark = PendingMark {
            format_version: FORMAT_VERSION,
            host: host(),
            process: std::process::id(),
            began_at: None,
            beat: 1,
            bases: Vec::new(),
            knows: Vec::new(),
        };
        let path = layout::backup_file(id, &layout::pending_file(&tag));
        match write(store.as_ref(), &path, &mark.to_file()) {
            Ok(true) => {}
            Ok(false) => return Err(Error::failed(format!("{}/{path} exists already", store.location()))),
            Err(error) => {
                // It may be visible although it could not be made durable.
                let _ = store.remove(&path);
                return Err(error);
            }
        }
        let (mark, heard) = (Mutex::new(mark), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { store, claims, path, mark, heard }), heart: None })
    }

    /// Path of the mark.
    pub(super) fn path(&self) -> &str {
        &self.shared.path
    }

    /// Notes when the store says that the run began.
    pub(super) fn began_at(&self, time: Option<SystemTime>) {
        locked(&self.shared.mark).began_at = time.and_then(|time| time.try_into().ok());
    }

    /// Reads all condemned lists and says so in the mark; from then on writes it anew each `every`.
    ///
    /// # Errors
    /// The store's; a damaged list.
    pub(super) fn listen(&mut self, every: Duration) -> Result<()> {
        condemned::learn(self.shared.store.as_ref(), &self.shared.claims)?;
        self.shared.beat(|_| ())?;
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::clone(&self.shared);
        let heart = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            let mut pause = every;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = if shared.live() { every } else { every / RETRY_PART };
            }
        });
        let heart = heart.map_err(|error| Error::failed("cannot start the heartbeat").source(error))?;
        self.heart = Some((stop, heart));
        Ok(())
    }

    /// Says in the mark what the run builds on.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn declare(&self, bases: &[BackupId]) -> Result<()> {
        self.shared.beat(|mark| mark.bases = bases.to_vec())
    }

    /// Failures of the heartbeat that were not told yet.
    pub(super) fn troubles(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.shared.heard).troubles)
    }

    /// Whether the mark was gone once: somebody took the run for dead.
    pub(super) fn is_lost(&self) -> bool {
        locked(&self.shared.heard).lost
    }

    /// Ends the heartbeat.
    pub(super) fn stop(&mut self) {
        if let Some((stop, heart)) = self.heart.take() {
            drop(stop);
            // It tells its failures itself.
            let _ = heart.join();
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// One beat of the heart; false when it has to be tried again soon.
    fn live(&self) -> bool {
        match self.look_and_beat() {
            Ok(()) => true,
            Err(error) => {
                let trouble = format!("the sign of life of this backup is late: {}", error.in_one_line());
                let mut heard = locked(&self.heard);
                if heard.troubles.last() != Some(&trouble) {
                    heard.troubles.push(trouble);
                }
                false
            }
        }
    }

    fn look_and_beat(&self) -> Result<()> {
        if locked(&self.heard).lost {
            return Ok(());
        }
        if self.store.size(&self.path)?.is_none() {
            // Never written anew: the run must not look alive to those who took its folder.
            let mut heard = locked(&self.heard);
            heard.lost = true;
            heard.troubles.push(format!("{} is gone: another run took this backup for dead", self.path));
            return Ok(());
        }
        let learned = condemned::learn(self.store.as_ref(), &self.claims);
        self.beat(|_| ())?;
        learned
    }

    fn beat(&self, change: impl FnOnce(&mut PendingMark)) -> Result<()> {
        let mut mark = locked(&self.mark);
        change(&mut mark);
        mark.beat += 1;
        mark.knows = self.claims.known();
        Ok(self.store.replace(&self.path, &mark.to_file())?)
    }
}

/// The machine's name, for people.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

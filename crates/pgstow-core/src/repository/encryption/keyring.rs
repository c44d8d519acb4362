//! The private keys at hand, read when the first is needed and kept until the end of the run.

use std::sync::{Arc, Mutex, PoisonError};

use super::private_key::{PrivateKey, unprotect};
use super::{Asking, IdentityFile, KeySource};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::format::layout;
use crate::repository::store::Store;

/// No key file of the repository is longer.
const KEY_FILE_LIMIT_BYTES: u64 = 64 << 10;
/// Key files of the repository that are tried, at most: each costs a second.
const KEY_FILES: usize = 8;

/// The private keys at hand.
pub(super) struct Keyring {
    source: Option<Box<dyn KeySource>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// All that can be had.
    all: Option<Arc<[PrivateKey]>>,
    /// Those that were had without asking anybody.
    unasked: Option<Arc<[PrivateKey]>>,
}

impl Keyring {
    pub(super) fn new(source: Option<Box<dyn KeySource>>) -> Self {
        Self { source, known: Mutex::default() }
    }

    /// The keys; none where there are none at hand.
    ///
    /// # Errors
    /// Key: what is configured cannot be used, or the passphrase is wrong.
    pub(super) fn keys(&self, store: &dyn Store, asking: Asking) -> Result<Arc<[PrivateKey]>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let unasked = known.unasked.as_ref().filter(|_| asking == Asking::Unwanted);
        if let Some(keys) = known.all.as_ref().or(unasked) {
            return Ok(Arc::clone(keys));
        }
        let read = self.read(store, asking);
        if asking == Asking::Unwanted && read.is_err() {
            // Not tried for each file anew.
            known.unasked = Some(Arc::new([]));
        }
        let (keys, complete) = read?;
        let keys: Arc<[PrivateKey]> = keys.into();
        if complete || asking == Asking::Allowed {
            known.all = Some(Arc::clone(&keys));
        } else {
            known.unasked = Some(Arc::clone(&keys));
        }
        Ok(keys)
    }

    /// The keys, and whether these are all: a protected one needs its passphrase.
    fn read(&self, store: &dyn Store, asking: Asking) -> Result<(Vec<PrivateKey>, bool)> {
        let Some(source) = &self.source else { return Ok((Vec::new(), true)) };
        let files = source.identities()?;
        if files.is_empty() {
            let keys = stored_keys(source.as_ref(), store, asking)?;
            let complete = !keys.is_empty();
            return Ok((keys, complete));
        }
        let (mut keys, mut complete) = (Vec::new(), true);
        for file in &files {
            keys.extend(PrivateKey::read(file, |what| {
                let passphrase = source.passphrase(what, asking)?;
                complete &= passphrase.is_some();
                Ok(passphrase)
            })?);
        }
        Ok((keys, complete))
    }
}

/// Keys that lie in the repository itself, protected by a passphrase.
fn stored_keys(source: &dyn KeySource, store: &dyn Store, asking: Asking) -> Result<Vec<PrivateKey>> {
    let files = store.list(layout::KEYS)?;
    let files: Vec<(&str, &str)> =
        files.iter().filter_map(|file| Some((file.path.as_str(), layout::public_of(&file.path)?))).collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let Some(passphrase) = source.passphrase(&format!("the key in {}", store.location()), asking)? else {
        return Ok(Vec::new());
    };
    let mut keys = Vec::new();
    let mut refused = None;
    for (path, public) in files.into_iter().take(KEY_FILES) {
        let name = format!("{}/{path}", store.location());
        let opened = store
            .read_all(path, KEY_FILE_LIMIT_BYTES)
            .map_err(Error::from)
            .and_then(|file| unprotect(&file, &passphrase, &name))
            .and_then(|opened| {
                let file = IdentityFile { name: name.clone(), content: opened.to_vec().into() };
                PrivateKey::read(&file, |_| Ok(None))
            })
            .and_then(|opened| require_public(opened, public, &name));
        match opened {
            Ok(opened) => keys.extend(opened),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match refused {
        Some(error) if keys.is_empty() => Err(error),
        _ => Ok(keys),
    }
}

/// Somebody may have put another key there.
fn require_public(keys: Vec<PrivateKey>, public: &str, name: &str) -> Result<Vec<PrivateKey>> {
    match keys.as_slice() {
        [key] if key.public()? == public => Ok(keys),
        _ => Err(Error::new(ErrorKind::Key, format!("{name} does not hold the key that its name says"))),
    }
}

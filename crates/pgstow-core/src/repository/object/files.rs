//! The files of objects: their paths, opening them, and whether one that is there can be used.

use std::io::{BufReader, Read};
use std::sync::Arc;

use super::sink::{Counted, Sink};
use super::{ObjectReader, PIECE_BYTES, Written, store_failure};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::claims::Claims;
use crate::repository::encryption::{Asking, Cipher, ContentLength, Place};
use crate::repository::format::encryption::{ObjectKey, object_hasher};
use crate::repository::format::layout;
use crate::repository::format::manifest::Object;
use crate::repository::store::{PendingFile, Store};

/// The files of a repository's objects, encrypted or not.
#[derive(Clone)]
pub(in crate::repository) struct ObjectFiles {
    store: Arc<dyn Store>,
    cipher: Option<Arc<Cipher>>,
    claims: Arc<Claims>,
}

/// What lies under the name of an object that is to be stored.
enum Existing {
    Absent,
    /// The same content, with the size that it has there.
    Whole(Object),
    /// Another length than the content should have, and no key to tell whether that is damage.
    Closed,
}

impl ObjectFiles {
    pub(in crate::repository) fn new(
        store: Arc<dyn Store>,
        cipher: Option<Arc<Cipher>>,
        claims: Arc<Claims>,
    ) -> Self {
        Self { store, cipher, claims }
    }

    pub(super) fn location(&self) -> String {
        self.store.location()
    }

    /// Where an object lies.
    pub(in crate::repository) fn path(&self, object: &Object) -> String {
        layout::object(&object.name(), self.cipher.is_some())
    }

    /// Begins a file.
    pub(super) fn create(&self) -> Result<Sink> {
        let Some(cipher) = &self.cipher else { return Ok(Sink::Plain(Counted::new(self.store.create()?))) };
        let encryptor = cipher.recipients()?.encryptor()?;
        let file = Counted::new(self.store.create()?);
        let failed =
            |error| store_failure(error, || format!("cannot write an object into {}", self.location()));
        Ok(Sink::Encrypted(Box::new(encryptor.wrap_output(file).map_err(failed)?)))
    }

    /// The file of an object as it is stored, and its path for people.
    pub(super) fn open(&self, object: &Object) -> Result<(String, Box<dyn Read + Send>)> {
        let path = self.path(object);
        Ok((format!("{}/{path}", self.location()), self.store.read(&path)?))
    }

    /// Makes a whole file visible as the smallest copy whose name is not dead, or drops it where the
    /// same is there already. `compressed_bytes` is the length of what it holds, before it was
    /// encrypted. What lies there and cannot be judged without a key stays, and the next copy is taken.
    ///
    /// # Errors
    /// The store's; damage of what is there, named: it is left as it is.
    pub(super) fn commit(
        &self,
        file: Box<dyn PendingFile>,
        mut written: Object,
        compressed_bytes: u64,
        key: Option<&ObjectKey>,
    ) -> Result<Written> {
        let mut name = self.claims.claim_new(written.id);
        loop {
            written.copy = name.copy;
            match self.existing(&written, compressed_bytes, key)? {
                Existing::Absent => break,
                Existing::Whole(object) => return Ok(Written { object, new: false }),
                Existing::Closed => name = self.claims.claim_instead(name),
            }
        }
        if file.commit(&self.path(&written))? {
            return Ok(Written { object: written, new: true });
        }
        // Another run stored it a moment ago.
        match self.existing(&written, compressed_bytes, key)? {
            Existing::Whole(object) => Ok(Written { object, new: false }),
            Existing::Absent | Existing::Closed => {
                let path = self.path(&written);
                Err(Error::failed(format!("{}/{path} changed while it was used", self.location()))
                    .hint("run this again"))
            }
        }
    }

    /// Begins to read an object whose id has this key, or none.
    pub(in crate::repository) fn read(
        &self,
        object: &Object,
        key: Option<&ObjectKey>,
    ) -> Result<ObjectReader> {
        let (shown, file) = self.open(object)?;
        let content: Box<dyn Read + Send> = match &self.cipher {
            None => file,
            Some(cipher) => {
                let place = Place { path: &shown, to: None, proven: true, limit_bytes: u64::MAX };
                let file = BufReader::with_capacity(PIECE_BYTES, file);
                Box::new(cipher.open(self.store.as_ref(), file, &place, Asking::Allowed)?)
            }
        };
        ObjectReader::new(shown, content, object, object_hasher(key))
    }

    /// Makes sure that an object of `bytes` stored bytes is there. One of another size is read
    /// through, as the same content may have been stored anew.
    pub(in crate::repository) fn check(&self, object: &Object, key: Option<&ObjectKey>) -> Result<()> {
        self.judge(object, self.store.size(&self.path(object))?, key)
    }

    /// As [`ObjectFiles::check`], of a file that was found to have `found_bytes`, or not found.
    pub(in crate::repository) fn judge(
        &self,
        object: &Object,
        found_bytes: Option<u64>,
        key: Option<&ObjectKey>,
    ) -> Result<()> {
        match found_bytes {
            Some(bytes) if bytes == object.stored_bytes => Ok(()),
            Some(_) => self.read(object, key)?.read_through().map(|_| ()),
            None => {
                let path = self.path(object);
                Err(Error::failed(format!("object {}/{path} is missing", self.location())))
            }
        }
    }

    /// Looks whether a stored object of the same name can stand for `written`.
    ///
    /// The same content compresses to the same size unless level or library differ. So an equal size
    /// of what is compressed is taken for whole, as files appear whole or not at all; any other is
    /// read through, where there is a key.
    ///
    /// # Errors
    /// The store's; damage, named: it is left as it is.
    fn existing(&self, written: &Object, compressed_bytes: u64, key: Option<&ObjectKey>) -> Result<Existing> {
        let path = self.path(written);
        let Some(stored_bytes) = self.store.size(&path)? else { return Ok(Existing::Absent) };
        let object = Object { stored_bytes, ..written.clone() };
        let found_bytes = match &self.cipher {
            None => Some(stored_bytes),
            Some(_) => self.content_bytes(&path, stored_bytes)?,
        };
        if found_bytes == Some(compressed_bytes) {
            return Ok(Existing::Whole(object));
        }
        match self.read(&object, key).and_then(ObjectReader::read_through) {
            Ok(_) => Ok(Existing::Whole(object)),
            Err(error) if error.kind() == ErrorKind::Key => Ok(Existing::Closed),
            Err(error) => Err(error),
        }
    }

    fn content_bytes(&self, path: &str, stored_bytes: u64) -> Result<Option<u64>> {
        let file = BufReader::new(self.store.read(path)?);
        ContentLength::of(file, stored_bytes)
            .map_err(|error| store_failure(error, || format!("cannot read {}/{path}", self.location())))
    }
}

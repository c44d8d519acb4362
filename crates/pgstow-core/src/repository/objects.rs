//! Objects of an open repository: reading, checking, taking over and writing them.

use super::format::encryption::ObjectKey;
use super::format::id::ObjectName;
use super::format::manifest::{Manifest, Object};
use super::object::{ObjectReader, ObjectWriter};
use super::open::Repository;
use crate::error::{Error, Result};
use crate::random;

impl Repository {
    /// Reads the content of an object of this manifest.
    ///
    /// # Errors
    /// Missing or empty object, named; no key that opens it. Other damage shows while reading.
    pub fn read_object(&self, manifest: &Manifest, object: &Object) -> Result<ObjectReader> {
        self.read_object_of(manifest.object_key.as_ref(), object)
    }

    /// As [`Repository::read_object`], by the key of the object's manifest.
    ///
    /// # Errors
    /// As there.
    pub fn read_object_of(&self, key: Option<&ObjectKey>, object: &Object) -> Result<ObjectReader> {
        self.object_files().read(object, key)
    }

    /// Reads an object to its end and returns its length: whole and right, or an error.
    ///
    /// # Errors
    /// Missing or damaged object, named.
    pub fn verify_object(&self, manifest: &Manifest, object: &Object) -> Result<u64> {
        self.read_object(manifest, object)?.read_through()
    }

    /// Checks that an object is there with its stored size. One of another size is read through,
    /// as the same content may have been stored otherwise; in an encrypted repository that needs a
    /// key.
    ///
    /// # Errors
    /// Missing or damaged object, named.
    pub fn check_object(&self, manifest: &Manifest, object: &Object) -> Result<()> {
        self.check_object_of(manifest.object_key.as_ref(), object)
    }

    /// As [`Repository::check_object`], by the key of the object's manifest.
    ///
    /// # Errors
    /// As there.
    pub fn check_object_of(&self, key: Option<&ObjectKey>, object: &Object) -> Result<()> {
        self.object_files().check(object, key)
    }

    /// Checks many objects of a manifest as [`Repository::check_object`] does.
    ///
    /// # Errors
    /// The first that is missing or damaged, named.
    pub(super) fn check_objects(&self, manifest: &Manifest) -> Result<()> {
        let files = self.object_files();
        let names: Vec<ObjectName> = manifest.objects.iter().map(Object::name).collect();
        let sizes = self.object_sizes(&names)?;
        let mut found = manifest.objects.iter().zip(sizes);
        found.try_for_each(|(object, bytes)| files.judge(object, bytes, manifest.object_key.as_ref()))
    }

    /// Takes a stored object into use for the backup that is being made: false when its name was
    /// condemned, so that it may go at any moment, or when it is not there as it should be.
    pub fn take_over(&self, key: Option<&ObjectKey>, object: &Object) -> bool {
        self.claims().claim(object.name()) && self.check_object_of(key, object).is_ok()
    }

    /// Starts a new object. `key` is that of the manifest it will be in.
    ///
    /// # Errors
    /// The store's; key: an encrypted repository without recipients.
    pub fn write_object(&self, key: Option<&ObjectKey>) -> Result<ObjectWriter> {
        if key.is_some() != self.is_encrypted() {
            return Err(Error::failed("the key of objects does not go with the repository"));
        }
        ObjectWriter::new(self.object_files(), key.cloned(), self.level())
    }

    /// A new key of objects; `None` without encryption.
    ///
    /// # Errors
    /// No random bytes can be had.
    pub fn new_object_key(&self) -> Result<Option<ObjectKey>> {
        self.is_encrypted().then(|| random::bytes().map(ObjectKey::new)).transpose()
    }
}

//! What of the source's content the destination is known to have, under which name.
//!
//! Without encryption names are equal. Otherwise the same content has another name there, which
//! nobody can tell from here; but a backup that is in both has its objects in the same order, so
//! its two manifests tell. The one in the destination comes from this host's cache, or is read with
//! a key that is at hand.

use std::collections::{BTreeSet, HashMap};

use crate::error::Result;
use crate::repository::format::encryption::ObjectKey;
use crate::repository::format::header::Header;
use crate::repository::format::id::{BackupId, ObjectName};
use crate::repository::format::manifest::{Manifest, Object};
use crate::repository::open::Repository;

/// So many sizes are asked for in one go.
const LOOKED_AT_ONCE: usize = 1000;

/// What the destination has.
pub(super) struct Known {
    backups: HashMap<BackupId, Header>,
    object_key: Option<ObjectKey>,
    /// Neither is encrypted.
    same_names: bool,
    names: HashMap<ObjectName, Object>,
}

impl Known {
    /// Looks at what is in both, as far as that can be read without asking for a key.
    ///
    /// # Errors
    /// A repository cannot be listed; no random bytes for a new key.
    pub(super) fn find(source: &Repository, destination: &Repository, wanted: &[&Header]) -> Result<Self> {
        let listing = destination.list()?;
        let same_names = !source.is_encrypted() && !destination.is_encrypted();
        let mut known = Self { backups: HashMap::new(), object_key: None, same_names, names: HashMap::new() };
        if !same_names {
            let environments: BTreeSet<&str> =
                wanted.iter().map(|header| header.environment.as_str()).collect();
            known.read(source, destination, &listing.backups, &environments)?;
        }
        known.backups = listing.backups.into_iter().map(|header| (header.id.clone(), header)).collect();
        Ok(known)
    }

    /// Reads the newest manifest of each environment that is in both.
    fn read(
        &mut self,
        source: &Repository,
        destination: &Repository,
        backups: &[Header],
        environments: &BTreeSet<&str>,
    ) -> Result<()> {
        let to = destination.encrypts_to()?;
        let mut missing = environments.clone();
        for header in backups.iter().rev().filter(|header| header.encryption == to) {
            if !missing.contains(header.environment.as_str()) {
                continue;
            }
            let Ok(there) = destination.manifest_of_base(header) else { continue };
            missing.remove(header.environment.as_str());
            if self.object_key.is_none() {
                self.object_key.clone_from(&there.object_key);
            }
            if self.object_key == there.object_key {
                self.compare(source, &header.id, &there);
            }
        }
        if destination.is_encrypted() && self.object_key.is_none() {
            self.object_key = destination.new_object_key()?;
        }
        Ok(())
    }

    /// Learns from the two manifests of one backup.
    fn compare(&mut self, source: &Repository, id: &BackupId, there: &Manifest) {
        // One that is not in the source tells nothing.
        let Ok(here) = source.header(id).and_then(|header| source.manifest_of_base(&header)) else { return };
        let sizes = |manifest: &Manifest| -> Vec<u64> {
            manifest.objects.iter().map(|object| object.bytes).collect()
        };
        if sizes(&here) == sizes(there) {
            self.learn(here.objects.iter().map(Object::name).zip(there.objects.iter().cloned()));
        }
    }

    /// Notes under which names objects of the source are in the destination.
    pub(super) fn learn(&mut self, objects: impl Iterator<Item = (ObjectName, Object)>) {
        if !self.same_names {
            self.names.extend(objects);
        }
    }

    /// The header of a backup that the destination has.
    pub(super) fn in_destination(&self, id: &BackupId) -> Option<&Header> {
        self.backups.get(id)
    }

    /// The key of the ids of new objects.
    pub(super) fn object_key(&self) -> Option<&ObjectKey> {
        self.object_key.as_ref()
    }

    /// Takes into use which of the source's objects are in the destination; each as it is there, in
    /// their order. A condemned one does not count, nor does a file of another size than expected:
    /// who stores it again looks into it.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn there(&self, destination: &Repository, objects: &[Object]) -> Result<Vec<Option<Object>>> {
        let mut found: Vec<Option<Object>> = objects
            .iter()
            .map(|object| {
                let same = self.same_names.then(|| Object { copy: 0, ..object.clone() });
                same.or_else(|| self.names.get(&object.name()).cloned())
            })
            .collect();
        for part in found.chunks_mut(LOOKED_AT_ONCE) {
            let names: Vec<ObjectName> = part.iter().flatten().map(Object::name).collect();
            let mut sizes = destination.object_sizes(&names)?.into_iter();
            for place in part.iter_mut().filter(|place| place.is_some()) {
                let size = sizes.next().flatten();
                place.take_if(|object| {
                    size != Some(object.stored_bytes) || !destination.claims().claim(object.name())
                });
            }
        }
        Ok(found)
    }
}

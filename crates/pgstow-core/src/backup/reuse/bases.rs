//! Which earlier backups a new one is compared with.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::doubt::Doubt;
use crate::error::{ErrorKind, Result};
use crate::inventory::ObjectKind;
use crate::repository::Repository;
use crate::repository::format::encryption::{EncryptedTo, ObjectKey};
use crate::repository::format::header::Header;
use crate::repository::format::id::{BackupId, EnvironmentName};
use crate::repository::format::manifest::{Manifest, Sections};

/// Interrupted backups that are looked at, at most.
const UNFINISHED: usize = 2;

/// Earlier backups of the same environment.
#[derive(Debug, Default)]
pub(in crate::backup) struct Bases {
    /// Those that hold rows, newest snapshot first.
    pub(in crate::backup) rows: Vec<Arc<Manifest>>,
    /// The newest that says what its definitions rest on.
    pub(in crate::backup) definitions: Option<DefinitionsBase>,
    /// The key of objects' ids that all of them have and the new backup goes on with; a new one where
    /// there is none. `None` without encryption.
    pub(in crate::backup) object_key: Option<ObjectKey>,
    /// Why earlier backups are not among them, where encryption is the reason.
    pub(in crate::backup) closed: Option<Doubt>,
    /// Those of `rows` that were interrupted.
    interrupted: Vec<BackupId>,
    /// The newest backup is encrypted to other public keys.
    pub(in crate::backup) recipients_changed: bool,
}

/// A backup whose definitions may be taken over.
#[derive(Debug)]
pub(in crate::backup) struct DefinitionsBase {
    pub(in crate::backup) manifest: Arc<Manifest>,
    /// Number of objects of each kind.
    pub(in crate::backup) counts: BTreeMap<ObjectKind, usize>,
}

impl Bases {
    /// Reads the manifests of the newest backup that holds rows and, when that holds only a part of
    /// the database, of the newest that holds all; before them those of interrupted backups that
    /// are newer. And of the newest backup with the same sections whose definitions can be compared
    /// with. One that cannot be read is passed over: what it holds is read from the source again.
    ///
    /// # Errors
    /// The store's, when it cannot be listed.
    pub(in crate::backup) fn read(
        repository: &Repository,
        environment: &EnvironmentName,
        database: &str,
        sections: Sections,
    ) -> Result<Self> {
        let mut bases = Self::default();
        let recipients = repository.encrypts_to()?;
        let listing = repository.list()?;
        let newest_first = listing.backups.iter().rev();
        // Safety backups of another database of the server have the environment's name too.
        let is_of_it = |header: &&Header| header.environment == *environment && header.database == database;
        let mut newest_first = newest_first.filter(is_of_it).peekable();
        bases.recipients_changed =
            newest_first.peek().is_some_and(|newest| newest.encryption.as_ref() != recipients.as_ref());
        for header in newest_first {
            if bases.has_whole() && bases.definitions.is_some() {
                break;
            }
            bases.look_at(repository, header, sections, recipients.as_ref());
        }
        let finished_at = bases.rows.first().map(|manifest| manifest.snapshot.taken_at);
        let newer = |manifest: &Manifest| Some(manifest.snapshot.taken_at) > finished_at;
        let mut unfinished: Vec<Manifest> = repository.unfinished(environment)?;
        unfinished.retain(|manifest| newer(manifest) && manifest.encryption == recipients);
        // All of one backup's objects have one key.
        if bases.object_key.is_none() {
            bases.object_key = unfinished.first().and_then(|manifest| manifest.object_key.clone());
        }
        unfinished.retain(|manifest| manifest.object_key == bases.object_key);
        bases.rows.splice(0..0, unfinished.into_iter().take(UNFINISHED).map(Arc::new));
        if bases.object_key.is_none() {
            bases.object_key = repository.new_object_key()?;
        }
        let finished: Vec<&BackupId> = listing.backups.iter().map(|header| &header.id).collect();
        let ids = bases.rows.iter().map(|manifest| &manifest.backup);
        bases.interrupted = ids.filter(|id| !finished.contains(id)).cloned().collect();
        Ok(bases)
    }

    /// The finished backups among them, each once.
    pub(in crate::backup) fn finished(&self) -> Vec<BackupId> {
        let definitions = self.definitions.iter().map(|base| &base.manifest);
        let mut ids: Vec<BackupId> =
            self.rows.iter().chain(definitions).map(|manifest| manifest.backup.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !self.interrupted.contains(id));
        ids
    }

    /// Forgets the finished ones that are not among `usable`.
    pub(in crate::backup) fn retain(&mut self, usable: &[BackupId]) {
        let interrupted = &self.interrupted;
        self.rows
            .retain(|manifest| usable.contains(&manifest.backup) || interrupted.contains(&manifest.backup));
        self.definitions.take_if(|base| !usable.contains(&base.manifest.backup));
    }

    fn has_whole(&self) -> bool {
        self.rows.iter().any(|manifest| manifest.selection.is_unlimited())
    }

    /// Whether what it holds can be part of the new backup.
    fn has_key_of(&self, manifest: &Manifest) -> bool {
        self.object_key.is_none() || self.object_key == manifest.object_key
    }

    fn look_at(
        &mut self,
        repository: &Repository,
        header: &Header,
        sections: Sections,
        recipients: Option<&EncryptedTo>,
    ) {
        let for_rows = header.sections != Sections::SchemaOnly && !self.has_whole();
        let for_definitions = header.sections == sections && self.definitions.is_none();
        if !for_rows && !for_definitions {
            return;
        }
        // Whoever was removed from the public keys must not be able to read the new backup.
        if header.encryption.as_ref() != recipients {
            self.closed.get_or_insert(Doubt::Recipients);
            return;
        }
        let manifest = match repository.manifest_of_base(header) {
            Ok(manifest) => Arc::new(manifest),
            Err(error) => {
                if error.kind() == ErrorKind::Key {
                    self.closed.get_or_insert(Doubt::NoCopy);
                }
                return;
            }
        };
        if !self.has_key_of(&manifest) {
            return;
        }
        self.object_key.clone_from(&manifest.object_key);
        if for_rows && (self.rows.is_empty() || manifest.selection.is_unlimited()) {
            self.rows.push(Arc::clone(&manifest));
        }
        if for_definitions && manifest.proof.as_ref().is_some_and(|proof| proof.definitions.is_some()) {
            self.definitions = Some(DefinitionsBase { manifest, counts: header.counts.clone() });
        }
    }
}

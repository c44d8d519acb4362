//! A backup that is being made.

use std::sync::Arc;

use jiff::ToSpan;

use super::cache::Kind;
use super::condemned;
use super::format::header::Header;
use super::format::id::{BackupId, EnvironmentName, Label, ObjectId, ObjectName};
use super::format::manifest::{File, Manifest, Object};
use super::format::{FORMAT_VERSION, compressed, layout};
use super::open::{Repository, write};
use super::pending::Pending;
use super::unfinished;
use crate::error::{Error, ErrorKind, Result};
use crate::inventory::catalog::Catalog;
use crate::random;

/// How far the time in an id may be moved to find a free second.
const SECONDS_TO_TRY: usize = 3600;

/// Runs that want the same second go on to different ones, up to so many later.
const STEPS: u8 = 8;

/// A backup that is being made; invisible until [`BackupDraft::commit`]. Dropping it removes the
/// files of its folder and the folder; where progress was written, that stays, for the next backup.
pub struct BackupDraft<'r> {
    repository: &'r Repository,
    id: BackupId,
    /// The mark that keeps the folder and what it uses.
    pending: Option<Pending>,
    files: Vec<File>,
    /// Paths that this draft wrote or may have written, in order.
    written: Vec<String>,
    /// Paths of progress files that lie there, in order: one, or the older one too for a moment.
    progress: Vec<String>,
    /// Paths of progress files to be removed, which may lie there or not.
    superseded: Vec<String>,
    next_progress: u32,
    committed: bool,
}

/// A file of an earlier backup's folder, its hash checked, byte for byte as it is stored.
pub struct StoredFile {
    name: String,
    content: Vec<u8>,
}

impl StoredFile {
    pub(super) fn new(name: &str, content: Vec<u8>) -> Self {
        Self { name: name.to_owned(), content }
    }
}

impl<'r> BackupDraft<'r> {
    pub(super) fn begin(
        repository: &'r Repository,
        environment: &EnvironmentName,
        label: Option<&Label>,
        now: jiff::Timestamp,
    ) -> Result<Self> {
        let mut time = now;
        for _ in 0..SECONDS_TO_TRY {
            let id = BackupId::compose(environment, time, label);
            let mut step = 1;
            if repository.store().create_folder(&layout::backup_folder(&id))? {
                let mut draft = Self::new(repository, id);
                if draft.take_folder()? {
                    return Ok(draft);
                }
                // The other run withdraws too, and should not come to the same second again.
                let [random] = random::bytes()?;
                step = 1 + i64::from(random % STEPS);
            }
            time = time.saturating_add(step.seconds()).unwrap_or(time);
        }
        Err(Error::failed(format!("no free backup id for {environment} within an hour after {now}"))
            .hint("is this machine's clock right?"))
    }

    /// A draft under an id that is given, for the copy of a backup.
    ///
    /// # Errors
    /// Locked: a manifest is there. A damaged header is. The store's.
    pub(super) fn begin_as(repository: &'r Repository, id: &BackupId) -> Result<Self> {
        let (store, folder) = (repository.store(), layout::backup_folder(id));
        // A store that knows no folders makes any, also one that holds something.
        let is_new = store.create_folder(&folder)? && store.list(&folder)?.is_empty();
        if is_new || (unfinished::clear(store, id)? && store.create_folder(&folder)?) {
            let mut draft = Self::new(repository, id.clone());
            if draft.take_folder()? {
                return Ok(draft);
            }
        }
        let shown = repository.display(&folder);
        if repository.has_header(id)? {
            return Err(Error::failed(format!("{shown} has a header that cannot be read"))
                .hint("pgstow verify --all  on that repository tells what is wrong"));
        }
        Err(Error::new(ErrorKind::Locked, format!("{shown} is being written by another run"))
            .why("it holds a manifest and no header yet")
            .hint(format!("if no other copy is running, remove {shown} and run this again")))
    }

    fn new(repository: &'r Repository, id: BackupId) -> Self {
        repository.claims().enter();
        Self {
            repository,
            id,
            pending: None,
            files: Vec::new(),
            written: Vec::new(),
            progress: Vec::new(),
            superseded: Vec::new(),
            next_progress: 1,
            committed: false,
        }
    }

    /// Makes the new folder this run's own: false when another run has it, since not every store
    /// makes a folder for one alone. Whoever finds another mark beside its own withdraws.
    fn take_folder(&mut self) -> Result<bool> {
        let repository = self.repository;
        let (store, claims) = (repository.shared_store(), Arc::clone(repository.claims()));
        let pending = Pending::write(store, claims, &self.id)?;
        let path = pending.path().to_owned();
        // What is written may be visible already when writing fails: from here on it is removed again.
        let found = repository.store().list(&layout::backup_folder(&self.id));
        let alone = found.as_ref().is_ok_and(|files| files.iter().all(|file| file.path == path));
        let written = found.iter().flatten().find(|file| file.path == path).and_then(|file| file.modified);
        pending.began_at(written);
        let pending = self.pending.insert(pending);
        found?;
        if alone {
            pending.listen(repository.timing().heartbeat)?;
        }
        Ok(alone)
    }

    /// Tells other runs which earlier backups this one builds on, so that no prune removes them, and
    /// says which of them may be used: one that a prune was about to remove already may not.
    ///
    /// # Errors
    /// The store's.
    pub fn build_on(&mut self, bases: &[BackupId]) -> Result<Vec<BackupId>> {
        if let Some(pending) = &self.pending {
            pending.declare(bases)?;
        }
        // The mark first, the look after: a prune marks the backup first and looks for marks after.
        let store = self.repository.store();
        let mut usable = Vec::new();
        for base in bases {
            let pruned = store.size(&layout::backup_file(base, layout::PRUNED_FILE))?.is_some();
            if !pruned && store.size(&layout::backup_file(base, layout::HEADER_FILE))?.is_some() {
                usable.push(base.clone());
            }
        }
        Ok(usable)
    }

    /// What went wrong with the signs of life since the last call, for people. The backup goes on; it
    /// may be taken for dead if this lasts for long.
    pub fn troubles(&self) -> Vec<String> {
        self.pending.as_ref().map(Pending::troubles).unwrap_or_default()
    }

    /// The reserved id.
    pub fn id(&self) -> &BackupId {
        &self.id
    }

    /// Writes a file into the backup's folder and notes it for the manifest's `files`.
    ///
    /// # Errors
    /// The store's; a name that is not plain, or was written already; more than 1 GiB.
    pub fn write_file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        if !layout::is_file_name(name) {
            return Err(Error::failed(format!("{name:?} is not a plain file name")));
        }
        let bytes = length(content);
        if bytes > layout::FILE_LIMIT_BYTES {
            return Err(Error::failed(format!(
                "{name} of {} has {bytes} bytes, more than the {} that a file of a backup may have",
                self.id,
                layout::FILE_LIMIT_BYTES
            )));
        }
        let encrypted = self.repository.is_encrypted() && layout::is_encrypted_file(name);
        let stored = if encrypted { self.repository.sealed(content.to_vec())? } else { content.to_vec() };
        self.write_stored(&layout::stored_name(name, encrypted), &stored)
    }

    /// Writes a file as it is to be stored, and notes it.
    fn write_stored(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.write_new(name, content)?;
        self.files.push(File { name: name.to_owned(), bytes: length(content), hash: ObjectId::of(content) });
        Ok(())
    }

    /// Writes a file of an earlier backup under the same name, noted as [`BackupDraft::write_file`]
    /// does.
    ///
    /// # Errors
    /// As [`BackupDraft::write_file`].
    pub fn adopt_file(&mut self, file: &StoredFile) -> Result<()> {
        self.write_stored(&file.name, &file.content)
    }

    /// Writes `catalog.json.zst`, noted as [`BackupDraft::write_file`] does.
    ///
    /// # Errors
    /// The store's.
    pub fn write_catalog(&mut self, catalog: &Catalog) -> Result<()> {
        let file = compressed::to_file(catalog)
            .map_err(|error| Error::failed("cannot compress the catalog").source(error))?;
        self.write_file(layout::CATALOG_FILE, &file)
    }

    /// Writes down what is finished: `manifest` with the chunks so far, naming stored objects only.
    /// Fills in what [`BackupDraft::commit`] does. It takes the place of what was written before,
    /// and serves the next backup if this one is interrupted ([`Repository::unfinished`]).
    ///
    /// A run that is silent for a day is taken for dead by other runs, and its folder with it.
    ///
    /// # Errors
    /// An inconsistent manifest; the store's. Then the earlier progress stays, and the backup can go
    /// on. Also when another run took the folder: then nothing can be committed any more.
    pub fn write_progress(&mut self, manifest: &Manifest) -> Result<()> {
        let manifest = self.complete(manifest.clone(), Vec::new())?;
        let file = self.repository.sealed(to_file(&manifest)?)?;
        if length(&file) > layout::FILE_LIMIT_BYTES {
            return Err(Error::failed(format!("the progress of {} is too long to be written", self.id)));
        }
        let hash = ObjectId::of(&file);
        let name = layout::progress_file(self.next_progress, &hash, self.repository.is_encrypted());
        let path = layout::backup_file(&self.id, &name);
        // A name is never used twice, so a doubtful file stands in nobody's way.
        self.next_progress = self.next_progress.saturating_add(1);
        match write(self.repository.store(), &path, &file) {
            Ok(true) => self.progress.push(path),
            Ok(false) => {
                return Err(Error::failed(format!("{} exists already", self.repository.display(&path))));
            }
            Err(error) => {
                // It may be visible although it could not be made durable.
                self.superseded.push(path);
                self.remove_superseded();
                return Err(error);
            }
        }
        if let Some(cache) = self.repository.cache() {
            cache.keep(Kind::Progress, &manifest, &hash);
        }
        self.require_own_folder()?;
        let older = self.progress.len().saturating_sub(1);
        self.superseded.extend(self.progress.drain(..older));
        self.remove_superseded();
        Ok(())
    }

    /// Writes `objects.list` and the manifest; makes sure that the folder is still this run's own, that
    /// nothing it uses is being deleted, and that every object is there; writes, last, the header.
    /// Afterwards removes what interrupted backups of the environment left, this one's progress and
    /// its pending mark too, as far as that can be done.
    ///
    /// Fills in of the manifest: `format_version`, `backup`, `files`, `encryption`; of the header:
    /// `format_version`, `id`, `environment`, `label`, `finished_at` (`now`), `limited`, `rows`,
    /// `content_bytes`, `stored_bytes`, `not_carried`, `encryption`, the hash of `objects.list`, the
    /// manifest's length and hash, `checksum`.
    /// `new_bytes` must come with the stored bytes of the new objects; the folder's files are added.
    ///
    /// # Errors
    /// An inconsistent manifest; a missing object, named; a folder that another run took; an object
    /// that was condemned and is being deleted; the store's. The backup does not exist then.
    pub fn commit(mut self, manifest: Manifest, mut header: Header, now: jiff::Timestamp) -> Result<Header> {
        let mut names: Vec<ObjectName> = manifest.objects.iter().map(Object::name).collect();
        names.sort_unstable();
        let list = layout::objects_list(names.iter().copied());
        header.objects_list_hash = Some(ObjectId::of(&list));
        self.write_file(layout::OBJECTS_LIST, &list)?;
        let manifest = self.complete(manifest, self.files.clone())?;
        let manifest_file = self.repository.sealed(to_file(&manifest)?)?;
        let manifest_name = layout::stored_name(layout::MANIFEST_FILE, self.repository.is_encrypted());
        self.write_new(&manifest_name, &manifest_file)?;
        // Whoever clears folders or deletes objects from here on sees the manifest first, and leaves
        // all of it alone. What was done before shows now.
        self.require_own_folder()?;
        condemned::require_unswept(self.repository.store(), self.repository.claims(), &names)?;
        self.repository.check_objects(&manifest)?;
        self.repository.require_identity()?;
        self.fill(&mut header, &manifest, &manifest_file)?;
        header.encryption.clone_from(&manifest.encryption);
        header.finished_at = now;
        let (header, header_file) = header.into_file();
        if length(&header_file) > layout::HEADER_LIMIT_BYTES {
            return Err(
                Error::failed(format!("the header of {} is too long", self.id)).hint("shorten the note")
            );
        }
        self.write_new(layout::HEADER_FILE, &header_file)?;
        self.committed = true;
        if let Some(cache) = self.repository.cache() {
            cache.keep(Kind::Finished, &manifest, &header.manifest_hash);
        }
        self.superseded.append(&mut self.progress);
        self.remove_superseded();
        self.end_signs_of_life();
        unfinished::clean(self.repository.store(), &self.id, self.repository.timing().lease);
        Ok(header)
    }

    /// The manifest with what only this draft knows, and consistent.
    fn complete(&self, mut manifest: Manifest, files: Vec<File>) -> Result<Manifest> {
        manifest.format_version = FORMAT_VERSION;
        manifest.backup = self.id.clone();
        manifest.files = files;
        manifest.encryption = self.repository.encrypts_to()?;
        if manifest.object_key.is_some() != self.repository.is_encrypted() {
            return Err(Error::failed(format!(
                "the key of objects of {} does not go with the repository",
                self.id
            )));
        }
        manifest.validate().map_err(|invalid| {
            Error::failed(format!("the manifest of {} is inconsistent", self.id)).source(invalid)
        })?;
        Ok(manifest)
    }

    /// Makes sure that no other run took this one for dead ([`unfinished::clean`]).
    fn require_own_folder(&self) -> Result<()> {
        let files = self.files.iter().map(|file| layout::backup_file(&self.id, &file.name));
        let mark = self.pending.iter().map(|pending| pending.path().to_owned());
        let expected = mark.chain(files).chain(self.progress.iter().cloned());
        let lost = self.pending.as_ref().is_some_and(Pending::is_lost);
        let lost = lost.then(|| "its pending mark was removed".to_owned());
        let taken = unfinished::taken(self.repository.store(), &self.id, expected)?;
        let Some(why) = lost.or(taken) else { return Ok(()) };
        Err(Error::failed(format!("another run took {} for dead and cleared its folder", self.id))
            .why(why)
            .hint("run the backup again: what this one stored is not stored anew"))
    }

    /// Ends the heartbeat and removes the mark. Where that is not allowed it stays, and means nothing
    /// beside a header, or beside the mark `ended`.
    fn end_signs_of_life(&mut self) {
        if let Some(mut pending) = self.pending.take() {
            pending.stop();
            let _ = self.repository.store().remove(pending.path());
        }
    }

    /// Removes old progress; what cannot be removed is tried again, and harmless.
    fn remove_superseded(&mut self) {
        let store = self.repository.store();
        self.superseded.retain(|path| store.remove(path).is_err());
    }

    fn fill(&self, header: &mut Header, manifest: &Manifest, manifest_file: &[u8]) -> Result<()> {
        let invalid_name = |error| Error::failed(format!("{} is no id of a backup", self.id)).source(error);
        header.format_version = FORMAT_VERSION;
        header.id = self.id.clone();
        header.environment = EnvironmentName::new(self.id.environment()).map_err(invalid_name)?;
        header.label = self.id.label().map(Label::new).transpose().map_err(invalid_name)?;
        header.limited = manifest.selection.is_limited();
        header.rows = manifest.rows();
        header.content_bytes = manifest.content_bytes();
        header.stored_bytes = manifest.stored_bytes();
        header.not_carried = manifest.not_carried.iter().filter(|item| !item.expected).count();
        header.manifest_bytes = length(manifest_file);
        header.manifest_hash = ObjectId::of(manifest_file);
        let folder_bytes =
            self.files.iter().map(|file| file.bytes).fold(header.manifest_bytes, u64::saturating_add);
        header.new_bytes = header.new_bytes.saturating_add(folder_bytes);
        Ok(())
    }

    /// Removes what was written, progress excepted.
    fn take_back(&mut self) {
        // What cannot be removed stays invisible, as the header goes first; a header that stays
        // keeps its files.
        let store = self.repository.store();
        let header = layout::backup_file(&self.id, layout::HEADER_FILE);
        for path in self.written.iter().rev() {
            if store.remove(path).is_err() && *path == header {
                return;
            }
        }
        self.remove_superseded();
        if !self.progress.is_empty() {
            // Without it the next runs wait a day before they clear the folder.
            let _ = unfinished::mark_ended(store, &self.id, unfinished::INTERRUPTED);
        }
        self.end_signs_of_life();
        if self.progress.is_empty() {
            let _ = self.repository.store().remove_folder(&layout::backup_folder(&self.id));
        }
    }

    /// Writes a file that must not be there yet.
    fn write_new(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let path = layout::backup_file(&self.id, name);
        match write(self.repository.store(), &path, content) {
            Ok(true) => {
                self.written.push(path);
                Ok(())
            }
            Ok(false) => Err(Error::failed(format!("{} exists already", self.repository.display(&path)))),
            Err(error) => {
                // It may be visible although it could not be made durable.
                self.written.push(path);
                Err(error)
            }
        }
    }
}

fn to_file(manifest: &Manifest) -> Result<Vec<u8>> {
    compressed::to_file(manifest).map_err(|error| Error::failed("cannot compress the manifest").source(error))
}

fn length(content: &[u8]) -> u64 {
    u64::try_from(content.len()).expect("a usize has at most 64 bits")
}

impl Drop for BackupDraft<'_> {
    fn drop(&mut self) {
        self.repository.claims().leave();
        if !self.committed {
            self.take_back();
        }
    }
}

//! Looks at the whole repository, and stops where what it sees is not surely all there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::Amount;
use crate::error::{Error, Result, and_more};
use crate::random;
use crate::repository::condemned::{self, Condemned};
use crate::repository::format::header::Header;
use crate::repository::format::id::{BackupId, ObjectId, ObjectName, RunTag};
use crate::repository::format::layout;
use crate::repository::format::pending::PendingMark;
use crate::repository::open::{Repository, write};
use crate::repository::store::{Listed, Store, StoreError};
use crate::repository::unfinished::name_in;
use crate::repository::{StoredObject, StoredObjects};

/// The manifest of a backup, encrypted or not.
const MANIFESTS: [&str; 2] = [layout::MANIFEST_FILE, layout::ENCRYPTED_MANIFEST_FILE];

/// Missing objects that are named in a message.
const NAMED: usize = 3;

/// All that lies in the repository.
#[derive(Debug)]
pub(super) struct Survey {
    /// When it was taken, by the store's clock; unknown where the store tells no times.
    pub(super) now: Option<SystemTime>,
    pub(super) folders: Folders,
    pub(super) objects: StoredObjects,
    pub(super) condemned: Condemned,
    /// The names on each condemned list, sorted.
    pub(super) lists: BTreeMap<String, Vec<ObjectName>>,
}

/// Folders of backups, by id.
#[derive(Debug, Default)]
pub(super) struct Folders {
    pub(super) by_id: BTreeMap<BackupId, Folder>,
    /// Paths of files below `backups/` that belong to no backup, sorted.
    pub(super) foreign: Vec<String>,
}

/// The folder of a backup.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    /// Its files, as listed.
    pub(super) files: Vec<Listed>,
    pub(super) header: Option<HeaderFile>,
    /// What the backup uses; absent where there is neither header nor manifest.
    pub(super) objects: Option<Arc<Vec<ObjectName>>>,
    /// Marks of runs; not looked at beside a header.
    pub(super) pending: Vec<Pending>,
    pub(super) has_manifest: bool,
    pub(super) is_pruned: bool,
    pub(super) is_pinned: bool,
    /// No run works here any more, unless there is a manifest.
    pub(super) is_ended: bool,
}

/// A header, read.
#[derive(Debug, Clone)]
pub(super) enum HeaderFile {
    Good(Box<Header>),
    Damaged(String),
}

/// A pending mark.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) written: Option<SystemTime>,
    /// `None` when it cannot be read.
    pub(super) mark: Option<PendingMark>,
}

impl Survey {
    /// Looks at everything.
    pub(super) fn take(repository: &Repository) -> Result<Self> {
        let store = repository.store();
        let condemned = Condemned::list(store)?;
        let now = store_time(store)?;
        remove_old_clocks(repository, &condemned, now);
        let first = Folders::read(repository, None)?;
        let objects = repository.stored_objects()?;
        require_all_objects(repository, &first, &objects)?;
        // Backups that were committed meanwhile count too.
        let folders = Folders::read(repository, Some(&first))?;
        folders.require_no_fewer(repository, &first)?;
        folders.require_some(repository)?;
        let lists = read_lists(store, &condemned)?;
        Ok(Self { now, folders, objects, condemned, lists })
    }

    /// Adds a list that was made just now; what it names that is stored.
    pub(super) fn add_list(&mut self, list: Option<(String, Vec<ObjectName>)>) -> Amount {
        let Some((name, names)) = list else { return Amount::default() };
        let amount = self.amount(&names);
        self.lists.insert(name, names);
        amount
    }

    /// How much of these objects is stored.
    pub(super) fn amount(&self, names: &[ObjectName]) -> Amount {
        let mut amount = Amount::default();
        names.iter().filter_map(|name| self.objects.get(name)).for_each(|object| amount.add(object.bytes));
        amount
    }

    /// The folders as they are now.
    pub(super) fn look_again(&self, repository: &Repository) -> Result<Folders> {
        let folders = Folders::read(repository, Some(&self.folders))?;
        folders.require_no_fewer(repository, &self.folders)?;
        folders.require_some(repository)?;
        Ok(folders)
    }

    /// How long ago a file was written, by the store's clock.
    pub(super) fn age(&self, written: Option<SystemTime>) -> Option<Duration> {
        Some(self.now?.duration_since(written?).unwrap_or_default())
    }
}

fn read_lists(store: &dyn Store, found: &Condemned) -> Result<BTreeMap<String, Vec<ObjectName>>> {
    let mut lists = BTreeMap::new();
    for (name, _) in found.lists.iter().filter(|(_, list)| list.is_there) {
        if let Some(names) = condemned::read(store, name)? {
            lists.insert(name.clone(), names);
        }
    }
    Ok(lists)
}

/// What the store's clock says now.
fn store_time(store: &dyn Store) -> Result<Option<SystemTime>> {
    let path = layout::clock_file(&RunTag(random::bytes()?));
    write(store, &path, b"")?;
    let listed = store.list(layout::CONDEMNED);
    // What stays is removed by a later prune.
    let _ = store.remove(&path);
    Ok(listed?.into_iter().find(|file| file.path == path).and_then(|file| file.modified))
}

fn remove_old_clocks(repository: &Repository, condemned: &Condemned, now: Option<SystemTime>) {
    for (path, written) in &condemned.clocks {
        let age = now.zip(*written).and_then(|(now, written)| now.duration_since(written).ok());
        if age.is_some_and(|age| age > repository.timing().lease) {
            let _ = repository.store().remove(path);
        }
    }
}

impl Folders {
    /// Lists all folders and reads what is not in `known` yet: files never change once a header or a
    /// manifest is there.
    fn read(repository: &Repository, known: Option<&Self>) -> Result<Self> {
        let mut files: BTreeMap<BackupId, Vec<Listed>> = BTreeMap::new();
        let mut foreign = Vec::new();
        for listed in repository.store().list(layout::BACKUPS)? {
            match folder_of(&listed.path) {
                Some(id) => files.entry(id).or_default().push(listed),
                None => foreign.push(listed.path),
            }
        }
        require_listed(repository, &files)?;
        foreign.sort_unstable();
        let mut by_id = BTreeMap::new();
        for (id, files) in files {
            let known = known.and_then(|known| known.by_id.get(&id));
            by_id.insert(id.clone(), Folder::read(repository, &id, files, known)?);
        }
        Ok(Self { by_id, foreign })
    }

    /// Every object that a backup uses, or a folder that may become one or was one.
    pub(super) fn named(&self) -> BTreeSet<ObjectName> {
        self.by_id
            .values()
            .filter_map(|folder| folder.objects.as_ref())
            .flat_map(|names| names.iter())
            .copied()
            .collect()
    }

    /// Marks of runs that may still commit, with the backup that each makes. Dead is who was silent for
    /// longer than the lease, by the store's clock, or whose folder is marked as ended.
    pub(super) fn live<'f>(
        &'f self,
        survey: &'f Survey,
        lease: Duration,
    ) -> impl Iterator<Item = (&'f BackupId, &'f Pending)> {
        let folders = self.by_id.iter().filter(|(_, folder)| !folder.is_ended || folder.has_manifest);
        let marks = folders.flat_map(|(id, folder)| folder.pending.iter().map(move |pending| (id, pending)));
        marks.filter(move |(_, pending)| survey.age(pending.written).is_none_or(|age| age <= lease))
    }

    /// A repository without any backup is one whose backups are not seen, as far as anybody knows.
    fn require_some(&self, repository: &Repository) -> Result<()> {
        if self.by_id.values().any(|folder| folder.objects.is_some()) {
            return Ok(());
        }
        Err(Error::failed(format!("no backup was found in {}", repository.location()))
            .why("nothing is deleted where no backup says what it needs")
            .hint("if there should be some, look at the folder backups/ there"))
    }

    /// Whoever was seen before is seen again, or is really gone.
    fn require_no_fewer(&self, repository: &Repository, before: &Self) -> Result<()> {
        for (id, folder) in &before.by_id {
            let now = self.by_id.get(id);
            if folder.objects.is_some() && now.is_none_or(|folder| folder.objects.is_none()) {
                require_absent(repository, id)?;
            }
        }
        Ok(())
    }
}

impl Folder {
    fn read(
        repository: &Repository,
        id: &BackupId,
        files: Vec<Listed>,
        known: Option<&Self>,
    ) -> Result<Self> {
        let folder = layout::backup_folder(id);
        let has = |name: &str| files.iter().any(|file| name_in(&file.path, &folder) == Some(name));
        let has_header = has(layout::HEADER_FILE);
        let has_manifest = MANIFESTS.into_iter().any(has);
        let header = match known.and_then(|known| known.header.clone()) {
            Some(header) if has_header => Some(header),
            _ if has_header => read_header(repository, id)?,
            _ => None,
        };
        let objects = match known.and_then(|known| known.objects.clone()) {
            _ if !has_header && !has_manifest => None,
            Some(objects) => Some(objects),
            None => read_objects(repository, id, header.as_ref())?.map(Arc::new),
        };
        let pending = if has_header { Vec::new() } else { read_marks(repository, &folder, &files)? };
        Ok(Self {
            header,
            objects,
            pending,
            has_manifest,
            is_pruned: has(layout::PRUNED_FILE),
            is_pinned: has(layout::PINNED_FILE),
            is_ended: has(layout::ENDED_FILE),
            files,
        })
    }

    /// The header, when it is readable.
    pub(super) fn good_header(&self) -> Option<&Header> {
        match &self.header {
            Some(HeaderFile::Good(header)) => Some(header),
            _ => None,
        }
    }
}

fn folder_of(path: &str) -> Option<BackupId> {
    let (folder, _) = name_in(path, layout::BACKUPS)?.split_once('/')?;
    BackupId::new(folder).ok()
}

/// A listing of folders must not know more than that of files.
fn require_listed(repository: &Repository, files: &BTreeMap<BackupId, Vec<Listed>>) -> Result<()> {
    for folder in repository.store().folders(layout::BACKUPS)? {
        let Ok(id) = BackupId::new(folder) else { continue };
        if !files.contains_key(&id) {
            require_absent(repository, &id)?;
        }
    }
    Ok(())
}

/// A backup that is in one listing and not in another must be gone, or made only now.
fn require_absent(repository: &Repository, id: &BackupId) -> Result<()> {
    for name in layout::PROOFS {
        let path = layout::backup_file(id, name);
        if repository.store().size(&path)?.is_some() {
            return Err(Error::failed(format!("a listing of {} was not whole", repository.location()))
                .why(format!("{path} is there and was not listed"))
                .hint("run this again; nothing was deleted"));
        }
    }
    Ok(())
}

/// `None` when it went away after it was listed.
fn read_header(repository: &Repository, id: &BackupId) -> Result<Option<HeaderFile>> {
    let path = layout::backup_file(id, layout::HEADER_FILE);
    match repository.store().read_all(&path, layout::HEADER_LIMIT_BYTES) {
        Ok(file) => Ok(Some(match Header::from_file(&file, id) {
            Ok(header) => HeaderFile::Good(Box::new(header)),
            Err(error) => HeaderFile::Damaged(error.to_string()),
        })),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the backup uses; `None` when it went away after it was listed.
fn read_objects(
    repository: &Repository,
    id: &BackupId,
    header: Option<&HeaderFile>,
) -> Result<Option<Vec<ObjectName>>> {
    let path = layout::backup_file(id, layout::OBJECTS_LIST);
    let doubt = |why: String| {
        Error::failed(format!("{} cannot be relied on", repository.display(&path)))
            .why(why)
            .hint(format!("look at the backup: pgstow verify {id}"))
            .hint("nothing is deleted before it is known what each backup needs")
    };
    let file = match repository.store().read_all(&path, layout::FILE_LIMIT_BYTES) {
        Ok(file) => file,
        Err(StoreError::NotFound { .. }) => {
            if is_gone(repository, id)? {
                return Ok(None);
            }
            return Err(doubt("it is missing".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let names = layout::parse_objects_list(&file)
        .ok_or_else(|| doubt("it is not a sorted list of names of objects, one a line".to_owned()))?;
    if let Some(HeaderFile::Good(header)) = header {
        if header.objects_list_hash.is_some_and(|hash| hash != ObjectId::of(&file)) {
            return Err(doubt("its content does not match its hash in the header".to_owned()));
        }
        if names.is_empty() && header.content_bytes > 0 {
            return Err(doubt("it is empty, and the backup is not".to_owned()));
        }
    }
    Ok(Some(names))
}

fn read_marks(repository: &Repository, folder: &str, files: &[Listed]) -> Result<Vec<Pending>> {
    let mut marks = Vec::new();
    let pending =
        files.iter().filter(|file| name_in(&file.path, folder).is_some_and(layout::is_pending_file));
    for file in pending {
        let mark = match repository.store().read_all(&file.path, layout::PENDING_LIMIT_BYTES) {
            Ok(content) => PendingMark::from_file(&content).ok(),
            // Its run ended meanwhile.
            Err(StoreError::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        marks.push(Pending { written: file.modified, mark });
    }
    Ok(marks)
}

/// Every object that a backup names is in the listing, or else the listing is not whole, or the object
/// is missing. Neither is a moment to delete anything. A run that was killed before its header proves
/// nothing of the kind.
fn require_all_objects(repository: &Repository, folders: &Folders, objects: &StoredObjects) -> Result<()> {
    for (id, folder) in folders.by_id.iter().filter(|(_, folder)| folder.header.is_some()) {
        let names = folder.objects.iter().flat_map(|names| names.iter());
        let missing: Vec<ObjectName> = names.filter(|name| objects.get(name).is_none()).copied().collect();
        let Some(first) = missing.first() else { continue };
        if repository.store().size(&layout::object(first, repository.is_encrypted()))?.is_some() {
            return Err(Error::failed(format!("a listing of {} was not whole", repository.location()))
                .why(format!(
                    "{} is there and was not listed",
                    layout::object(first, repository.is_encrypted())
                ))
                .hint("run this again; nothing was deleted"));
        }
        if is_gone(repository, id)? {
            continue;
        }
        return Err(missing_objects(id, &missing));
    }
    Ok(())
}

fn is_gone(repository: &Repository, id: &BackupId) -> Result<bool> {
    for name in layout::PROOFS {
        if repository.store().size(&layout::backup_file(id, name))?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn missing_objects(id: &BackupId, missing: &[ObjectName]) -> Error {
    let named: Vec<String> = missing.iter().take(NAMED).map(ObjectName::to_string).collect();
    let more = and_more(missing.len().saturating_sub(NAMED));
    Error::failed(format!("objects of {id} are missing"))
        .why(format!("{}{more}", named.join(", ")))
        .hint("find out which backups are touched: pgstow verify --all")
        .hint("nothing is deleted as long as objects are missing")
}

/// When a run began, by the store's clock.
pub(super) fn began_at(pending: &Pending) -> Option<SystemTime> {
    let time: Timestamp = pending.mark.as_ref()?.began_at?;
    Some(time.into())
}

/// Whether an object was written long enough before.
pub(super) fn is_older(object: &StoredObject, than: SystemTime) -> bool {
    object.modified.is_some_and(|modified| modified < than)
}

//! Opening a repository, and reading what lies in it.

use std::sync::Arc;

use super::draft::{BackupDraft, StoredFile};
use super::format::header::Header;
use super::format::id::{BackupId, EnvironmentName, Label, ObjectId};
use super::format::identity::Identity;
use super::format::manifest::{Manifest, Object};
use super::format::receipt::Receipt;
use super::format::{compressed, layout};
use super::listing::Listing;
use super::object::{ObjectReader, ObjectWriter};
use super::receipts::{self, Receipts};
use super::select::{self, Selected};
use super::store::{Store, StoreError};
use super::unfinished;
use crate::error::{Error, ErrorKind, Result};
use crate::inventory::catalog::Catalog;

const DEFAULT_LEVEL: i32 = 1;

/// Names that may lie in the place of a new repository: an interrupted `init` leaves `tmp`, and a
/// freshly made file system holds `lost+found`.
const HARMLESS: [&str; 2] = ["lost+found", "tmp"];

/// An open repository. Shared by reference between threads.
pub struct Repository {
    store: Arc<dyn Store>,
    level: i32,
    identity: Identity,
}

impl Repository {
    /// Creates `pgstow.json` in an empty or absent place.
    ///
    /// # Errors
    /// Refused when the place holds a repository or other files already.
    pub fn init(store: Box<dyn Store>, now: jiff::Timestamp) -> Result<Self> {
        let store: Arc<dyn Store> = Arc::from(store);
        let location = store.location();
        let exists =
            || Error::refused(format!("{location} is a repository already")).why("nothing was changed");
        let names = store.names()?;
        if names.iter().any(|name| name == layout::REPOSITORY_FILE) {
            return Err(exists());
        }
        refuse_foreign(&location, &names)?;
        if create(store.as_ref(), now)? { Self::open_shared(store) } else { Err(exists()) }
    }

    /// Opens a repository.
    ///
    /// # Errors
    /// Not found; a newer format version; a damaged `pgstow.json`.
    pub fn open(store: Box<dyn Store>) -> Result<Self> {
        Self::open_shared(Arc::from(store))
    }

    /// Opens a repository, or creates it where nothing is.
    ///
    /// # Errors
    /// As [`Repository::open`] and [`Repository::init`].
    pub fn open_or_init(store: Box<dyn Store>, now: jiff::Timestamp) -> Result<Self> {
        let store: Arc<dyn Store> = Arc::from(store);
        match Self::open_shared(Arc::clone(&store)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let names = store.names()?;
                // When another run was first, before this look or after it, its repository is opened.
                if !names.iter().any(|name| name == layout::REPOSITORY_FILE) {
                    refuse_foreign(&store.location(), &names)?;
                    create(store.as_ref(), now)?;
                }
                Self::open_shared(store)
            }
            opened => opened,
        }
    }

    fn open_shared(store: Arc<dyn Store>) -> Result<Self> {
        let file = match store.read_all(layout::REPOSITORY_FILE, layout::HEADER_LIMIT_BYTES) {
            Ok(file) => file,
            Err(StoreError::NotFound { .. }) => return Err(no_repository(store.as_ref())?),
            Err(error) => return Err(error.into()),
        };
        let path = format!("{}/{}", store.location(), layout::REPOSITORY_FILE);
        let identity = Identity::from_file(&file).map_err(|error| error.into_error(&path))?;
        Ok(Self { store, level: DEFAULT_LEVEL, identity })
    }

    /// Sets the zstd level of new objects, 1 (the default) to 19; others count as the nearest.
    #[must_use]
    pub fn with_compression_level(mut self, level: i32) -> Self {
        self.level = level.clamp(1, 19);
        self
    }

    /// Where it is, for people.
    pub fn location(&self) -> String {
        self.store.location()
    }

    /// Its id: 32 hex digits, the same wherever it is moved.
    pub fn id(&self) -> &str {
        &self.identity.repository
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// A path for people.
    pub(crate) fn display(&self, path: &str) -> String {
        format!("{}/{path}", self.store.location())
    }

    /// Headers of all backups, oldest first, the folders whose header is damaged, and those that
    /// have none.
    ///
    /// # Errors
    /// The store's.
    pub fn list(&self) -> Result<Listing> {
        Listing::read(self.store())
    }

    /// Finds the one backup that `selector` means: `latest` (newest snapshot of all environments),
    /// `ENV@latest`, `ENV@LABEL` (newest with that label), a full id or a unique prefix. Backups
    /// of definitions or rows only count like any other.
    ///
    /// # Errors
    /// Not found (with near names), ambiguous prefix (usage, with the candidates), damaged header.
    pub fn resolve(&self, selector: &str) -> Result<Header> {
        let (folder, instead) = match select::resolve(&self.list()?, selector)? {
            Selected::Backup(header) => return Ok(*header),
            Selected::Damaged { folder, instead } => (folder, instead),
        };
        let id = BackupId::new(folder)
            .map_err(|error| Error::failed(format!("cannot use {selector:?}")).source(error))?;
        self.header(&id).map_err(|error| match instead {
            Some(instead) => error.hint(format!("the newest backup with a good header is {instead}")),
            None => error,
        })
    }

    /// Reads and checks a backup's header anew.
    ///
    /// # Errors
    /// Missing or damaged file, named.
    pub fn header(&self, id: &BackupId) -> Result<Header> {
        let path = layout::backup_file(id, layout::HEADER_FILE);
        let file = self.store.read_all(&path, layout::HEADER_LIMIT_BYTES)?;
        Header::from_file(&file, id).map_err(|error| error.into_error(&self.display(&path)))
    }

    /// Reads and checks a backup's manifest.
    ///
    /// # Errors
    /// Missing or damaged file, named.
    pub fn manifest(&self, header: &Header) -> Result<Manifest> {
        let path = layout::backup_file(&header.id, layout::MANIFEST_FILE);
        let file = self.checked_file(&path, header.manifest_bytes, header.manifest_hash)?;
        Manifest::from_file(&file, &header.id).map_err(|error| error.into_error(&self.display(&path)))
    }

    /// Reads and checks a backup's catalog.
    ///
    /// # Errors
    /// Missing or damaged file, named.
    pub fn catalog(&self, manifest: &Manifest) -> Result<Catalog> {
        let file = self.file(manifest, layout::CATALOG_FILE)?;
        let path = layout::backup_file(&manifest.backup, layout::CATALOG_FILE);
        compressed::from_file(&file, layout::FILE_LIMIT_BYTES)
            .map_err(|error| error.into_error(&self.display(&path)))
    }

    /// Reads and checks one small file of a backup's folder, such as `schema.dump`.
    ///
    /// # Errors
    /// Missing, damaged or too long, named.
    pub fn file(&self, manifest: &Manifest, name: &str) -> Result<Vec<u8>> {
        let file = manifest.files.iter().find(|file| file.name == name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("{} has no file {name:?}", manifest.backup))
        })?;
        if !layout::is_file_name(&file.name) {
            return Err(Error::failed(format!("{:?} is not the name of a file of a backup", file.name)));
        }
        self.checked_file(&layout::backup_file(&manifest.backup, &file.name), file.bytes, file.hash)
    }

    /// Reads and checks one small file of a backup's folder as it lies there, for another backup to
    /// adopt.
    ///
    /// # Errors
    /// Missing, damaged or too long, named.
    pub fn stored_file(&self, manifest: &Manifest, name: &str) -> Result<StoredFile> {
        Ok(StoredFile::new(name, self.file(manifest, name)?))
    }

    fn checked_file(&self, path: &str, bytes: u64, hash: ObjectId) -> Result<Vec<u8>> {
        let damaged = |why: String| Error::failed(format!("{} is damaged", self.display(path))).why(why);
        let found = self
            .store
            .size(path)?
            .ok_or_else(|| Error::failed(format!("{} is missing", self.display(path))))?;
        if found != bytes {
            return Err(damaged(format!("it has {found} bytes instead of {bytes}")));
        }
        let content = self.store.read_all(path, bytes.min(layout::FILE_LIMIT_BYTES))?;
        if ObjectId::of(&content) == hash {
            Ok(content)
        } else {
            Err(damaged("its content does not match its hash".to_owned()))
        }
    }

    /// Reads an object's content.
    ///
    /// # Errors
    /// Missing or empty object, named. Other damage shows while reading.
    pub fn read_object(&self, object: &Object) -> Result<ObjectReader> {
        ObjectReader::new(self.store(), object)
    }

    /// Reads an object to its end and returns its length: whole and right, or an error.
    ///
    /// # Errors
    /// Missing or damaged object, named.
    pub fn verify_object(&self, object: &Object) -> Result<u64> {
        self.read_object(object)?.read_through()
    }

    /// Checks that an object is there with its stored size. One of another size is read through,
    /// as the same content may have been compressed otherwise.
    ///
    /// # Errors
    /// Missing or damaged object, named.
    pub fn check_object(&self, object: &Object) -> Result<()> {
        let path = layout::object(&object.name());
        match self.store.size(&path)? {
            Some(bytes) if bytes == object.stored_bytes => Ok(()),
            Some(_) => self.verify_object(object).map(|_| ()),
            None => Err(Error::failed(format!("object {} is missing", self.display(&path)))),
        }
    }

    /// Starts a new object.
    ///
    /// # Errors
    /// The store's.
    pub fn write_object(&self) -> Result<ObjectWriter> {
        ObjectWriter::new(Arc::clone(&self.store), self.level)
    }

    /// Begins a backup: reserves its id. `now` is the time in the id; when the second is taken
    /// already, the next free one is used. Also clears what dead runs left of files they never
    /// finished.
    ///
    /// # Errors
    /// The store's.
    pub fn begin_backup(
        &self,
        environment: &EnvironmentName,
        label: Option<&Label>,
        now: jiff::Timestamp,
    ) -> Result<BackupDraft<'_>> {
        self.store.remove_abandoned()?;
        BackupDraft::begin(self, environment, label, now)
    }

    /// What backups of `environment` that have no header had finished when they were interrupted,
    /// or have so far: the newest readable partial manifest of each, newest snapshot first. They
    /// name only objects that were stored; whether these are still there is for the reader to check.
    ///
    /// Damaged ones are passed over: they are worth nothing, and nobody depends on them.
    ///
    /// # Errors
    /// The store's, when folders cannot be listed.
    pub fn unfinished(&self, environment: &EnvironmentName) -> Result<Vec<Manifest>> {
        unfinished::manifests(self.store(), environment)
    }

    /// Stores a receipt and returns its path within the repository.
    ///
    /// # Errors
    /// The store's.
    pub fn store_receipt(&self, receipt: &Receipt) -> Result<String> {
        receipts::store(self.store(), receipt)
    }

    /// Receipts of one backup, oldest first, and the damaged ones.
    ///
    /// # Errors
    /// The store's.
    pub fn receipts(&self, backup: &BackupId) -> Result<Receipts> {
        receipts::read(self.store(), backup)
    }
}

/// Writes `pgstow.json`: `false` when there is one already.
fn create(store: &dyn Store, now: jiff::Timestamp) -> Result<bool> {
    let identity = Identity::new(random()?, now);
    write(store, layout::REPOSITORY_FILE, &identity.to_file())
}

/// Writes a whole file: `false` when there is one already.
pub(super) fn write(store: &dyn Store, path: &str, content: &[u8]) -> Result<bool> {
    let mut file = store.create()?;
    file.write_all(content)
        .map_err(|error| super::object::store_failure(error, || format!("cannot write {path}")))?;
    Ok(file.commit(path)?)
}

fn random() -> Result<[u8; 16]> {
    let mut random = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| std::io::Read::read_exact(&mut source, &mut random))
        .map_err(|error| Error::failed("cannot read random bytes from /dev/urandom").source(error))?;
    Ok(random)
}

fn refuse_foreign(location: &str, names: &[String]) -> Result<()> {
    let foreign: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !HARMLESS.contains(name)).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let shown = foreign.iter().take(5).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let more = match foreign.len().saturating_sub(5) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(Error::refused(format!("{location} is not empty and no repository"))
        .why(format!("it holds {shown}{more}"))
        .hint("choose an empty or new folder"))
}

/// What to say where there is no `pgstow.json`.
fn no_repository(store: &dyn Store) -> Result<Error> {
    let location = store.location();
    let names = store.names()?;
    let has_content = names.iter().any(|name| name == layout::BACKUPS || name == layout::OBJECTS);
    Ok(if has_content {
        Error::failed(format!("{location}/{} is missing", layout::REPOSITORY_FILE))
            .why("backups or objects lie beside it, so this was a repository")
            .hint("put the file back from a copy of the repository")
            .hint("or run `pgstow init` for a new folder and move backups, objects and receipts into it")
    } else {
        Error::new(ErrorKind::NotFound, format!("there is no repository at {location}"))
            .hint("create one: pgstow init")
    })
}

//! Opening a repository, and reading what lies in it.

use std::sync::Arc;

use super::cache::Cache;
use super::capabilities;
use super::claims::Claims;
use super::draft::{BackupDraft, StoredFile};
use super::encryption::{Access, Asking, Cipher, Place};
use super::format::encryption::EncryptedTo;
use super::format::header::Header;
use super::format::id::{BackupId, EnvironmentName, Label, ObjectId};
use super::format::identity::{Capabilities, Identity};
use super::format::manifest::{File, Manifest};
use super::format::receipt::Receipt;
use super::format::{compressed, layout};
use super::listing::Listing;
use super::object::ObjectFiles;
use super::receipts::{self, ReceiptIndex, Receipts, UnreadableReceipts};
use super::select::{self, Selected};
use super::store::{Store, StoreError};
use super::timing::Timing;
use super::unfinished;
use crate::error::{Error, ErrorKind, Result, and_more};
use crate::inventory::catalog::Catalog;
use crate::random;

const DEFAULT_LEVEL: i32 = 1;

/// Names that may lie in the place of a new repository: an interrupted `init` leaves `tmp`, and a
/// freshly made file system holds `lost+found`.
const HARMLESS: [&str; 2] = ["lost+found", "tmp"];

/// An open repository. Shared by reference between threads.
pub struct Repository {
    store: Arc<dyn Store>,
    level: i32,
    identity: Identity,
    /// In an encrypted repository.
    cipher: Option<Arc<Cipher>>,
    cache: Option<Cache>,
    /// Public keys are configured, although the repository is not encrypted.
    unexpectedly_plain: bool,
    timing: Timing,
    claims: Arc<Claims>,
}

impl Repository {
    /// Creates `pgstow.json` of a repository without encryption in an empty or absent place.
    ///
    /// # Errors
    /// Refused when the place holds a repository or other files already.
    pub fn init(store: Box<dyn Store>, now: jiff::Timestamp) -> Result<Self> {
        Self::init_with(store, Access::default(), now)
    }

    /// Creates `pgstow.json` in an empty or absent place. The repository is encrypted when `access`
    /// has recipients, for as long as it is there.
    ///
    /// # Errors
    /// As [`Repository::init`].
    pub fn init_with(store: Box<dyn Store>, access: Access, now: jiff::Timestamp) -> Result<Self> {
        let store: Arc<dyn Store> = Arc::from(store);
        let location = store.location();
        let exists =
            || Error::refused(format!("{location} is a repository already")).why("nothing was changed");
        let names = store.names()?;
        if names.iter().any(|name| name == layout::REPOSITORY_FILE) {
            return Err(exists());
        }
        refuse_foreign(&location, &names)?;
        if create(store.as_ref(), &access, now)? { Self::open_shared(store, access) } else { Err(exists()) }
    }

    /// Opens a repository. Of an encrypted one only headers can be read.
    ///
    /// # Errors
    /// Not found; a newer format version; a damaged `pgstow.json`.
    pub fn open(store: Box<dyn Store>) -> Result<Self> {
        Self::open_with(store, Access::default())
    }

    /// Opens a repository, with what encryption needs. Private keys are asked for later, when they
    /// are needed.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn open_with(store: Box<dyn Store>, access: Access) -> Result<Self> {
        Self::open_shared(Arc::from(store), access)
    }

    /// Opens a repository, or creates one without encryption where nothing is.
    ///
    /// # Errors
    /// As [`Repository::open`] and [`Repository::init`].
    pub fn open_or_init(store: Box<dyn Store>, now: jiff::Timestamp) -> Result<Self> {
        Self::open_or_init_with(store, Access::default(), now)
    }

    /// Checks that nothing is in the way of a new repository.
    ///
    /// # Errors
    /// Refused when files of others are there; the store's.
    pub fn check_free(store: &dyn Store) -> Result<()> {
        refuse_foreign(&store.location(), &store.names()?)
    }

    /// Opens a repository, or creates it where nothing is.
    ///
    /// # Errors
    /// As [`Repository::open_with`] and [`Repository::init_with`].
    pub fn open_or_init_with(store: Box<dyn Store>, access: Access, now: jiff::Timestamp) -> Result<Self> {
        let store: Arc<dyn Store> = Arc::from(store);
        if !holds_repository(store.as_ref())? {
            let names = store.names()?;
            // When another run was first, before this look or after it, its repository is opened.
            if !names.iter().any(|name| name == layout::REPOSITORY_FILE) {
                refuse_foreign(&store.location(), &names)?;
                create(store.as_ref(), &access, now)?;
            }
        }
        Self::open_shared(store, access)
    }

    fn open_shared(store: Arc<dyn Store>, mut access: Access) -> Result<Self> {
        let file = match store.read_all(layout::REPOSITORY_FILE, layout::HEADER_LIMIT_BYTES) {
            Ok(file) => file,
            Err(StoreError::NotFound { .. }) => return Err(no_repository(store.as_ref())?),
            Err(error) => return Err(error.into()),
        };
        let path = format!("{}/{}", store.location(), layout::REPOSITORY_FILE);
        let identity = Identity::from_file(&file).map_err(|error| error.into_error(&path))?;
        let cache = access.cache.take().filter(|_| identity.encryption.is_some());
        let cache = cache.map(|folder| Cache::new(folder.join(&identity.repository)));
        let unexpectedly_plain = identity.encryption.is_none() && access.recipients.is_some();
        let cipher = identity.encryption.map(|_| Arc::new(Cipher::new(access)));
        let (timing, claims) = (Timing::default(), Arc::default());
        Ok(Self { store, level: DEFAULT_LEVEL, identity, cipher, cache, unexpectedly_plain, timing, claims })
    }

    /// Sets the zstd level of new objects, 1 (the default) to 19; others count as the nearest.
    #[must_use]
    pub fn with_compression_level(mut self, level: i32) -> Self {
        self.level = level.clamp(1, 19);
        self
    }

    /// Sets how long runs wait for each other. All that share the repository should agree.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
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

    /// What its place could do when it was created; `None` if nobody looked.
    pub fn capabilities(&self) -> Option<Capabilities> {
        self.identity.capabilities
    }

    /// Whether its backups are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.cipher.is_some()
    }

    /// Whom new backups are encrypted to; `None` without encryption.
    ///
    /// # Errors
    /// Key: the repository is encrypted, and nobody is named. Refused: somebody is named, and it is
    /// not.
    pub fn encrypts_to(&self) -> Result<Option<EncryptedTo>> {
        if self.unexpectedly_plain {
            return Err(Error::refused(format!(
                "{} is not encrypted, and encrypt_to is configured",
                self.location()
            ))
            .why("whether a repository is encrypted is decided when it is created")
            .hint("create an encrypted one: name a new place as the repository, and run pgstow backup")
            .hint("pgstow copy  takes the backups of this one there")
            .hint("or remove encrypt_to to go on without encryption"));
        }
        self.cipher.as_ref().map(|cipher| Ok(cipher.recipients()?.encrypted_to())).transpose()
    }

    /// Reads the private keys of an encrypted repository now rather than when the first file is read,
    /// before something else needs the terminal.
    ///
    /// # Errors
    /// Key: what is configured cannot be used, or the passphrase is wrong.
    pub fn unlock(&self) -> Result<()> {
        self.has_key().map(|_| ())
    }

    /// Whether a private key is at hand, the right one or not.
    ///
    /// # Errors
    /// As [`Repository::unlock`].
    pub fn has_key(&self) -> Result<bool> {
        self.cipher.as_ref().map_or(Ok(false), |cipher| cipher.unlock(self.store()))
    }

    /// Stores a private key that is protected by a passphrase, under its public key.
    ///
    /// # Errors
    /// The store's; there is one already.
    pub fn store_key(&self, public: &str, protected: &[u8]) -> Result<()> {
        let path = layout::key_file(public);
        if write(self.store(), &path, protected)? {
            Ok(())
        } else {
            Err(Error::failed(format!("{} exists already", self.display(&path))))
        }
    }

    /// What went wrong with the copies of manifests on this host since the last call; the next backup
    /// may have to read everything.
    pub fn take_cache_fault(&self) -> Option<String> {
        self.cache.as_ref()?.take_fault()
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    pub(super) fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// A small file as it is stored.
    pub(super) fn sealed(&self, content: Vec<u8>) -> Result<Vec<u8>> {
        match &self.cipher {
            None => Ok(content),
            Some(cipher) => cipher.encrypt(&content),
        }
    }

    /// A small file as it is stored by whoever can read.
    pub(super) fn for_readers(&self, content: Vec<u8>) -> Result<Vec<u8>> {
        match &self.cipher {
            None => Ok(content),
            Some(cipher) => cipher.encrypt_for_readers(self.store(), &content),
        }
    }

    /// What a small file holds, as far as that can be told without asking for a key.
    pub(super) fn opened(&self, file: Vec<u8>, path: &str) -> Result<Vec<u8>> {
        let Some(cipher) = &self.cipher else { return Ok(file) };
        let path = self.display(path);
        let place = Place { path: &path, to: None, proven: false, limit_bytes: layout::FILE_LIMIT_BYTES };
        cipher.decrypt(self.store(), &file, &place, Asking::Unwanted)
    }

    /// Makes sure that `pgstow.json` is there: another first run may have taken its new repository
    /// back meanwhile.
    pub(super) fn require_identity(&self) -> Result<()> {
        match self.store.size(layout::REPOSITORY_FILE)? {
            Some(_) => Ok(()),
            None => Err(Error::failed(format!("{} is gone", self.display(layout::REPOSITORY_FILE)))
                .why("the repository was removed while this ran")
                .hint("run this again")),
        }
    }

    pub(super) fn object_files(&self) -> ObjectFiles {
        ObjectFiles::new(Arc::clone(&self.store), self.cipher.clone(), Arc::clone(&self.claims))
    }

    pub(super) fn level(&self) -> i32 {
        self.level
    }

    pub(super) fn shared_store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    pub(super) fn timing(&self) -> Timing {
        self.timing
    }

    pub(super) fn claims(&self) -> &Arc<Claims> {
        &self.claims
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
    /// Missing or damaged file, named; key: it cannot be decrypted.
    pub fn manifest(&self, header: &Header) -> Result<Manifest> {
        self.read_manifest(header, Asking::Allowed)
    }

    /// The manifest of a backup that another one is to be compared with, as far as it can be had
    /// without asking for a key: from this host's cache, or with a key at hand.
    ///
    /// # Errors
    /// As [`Repository::manifest`].
    pub fn manifest_of_base(&self, header: &Header) -> Result<Manifest> {
        match self.cache.as_ref().and_then(|cache| cache.manifest(&header.id, &header.manifest_hash)) {
            Some(manifest) => Ok(manifest),
            None => self.read_manifest(header, Asking::Unwanted),
        }
    }

    fn read_manifest(&self, header: &Header, asking: Asking) -> Result<Manifest> {
        let name = layout::stored_name(layout::MANIFEST_FILE, self.is_encrypted());
        let path = layout::backup_file(&header.id, &name);
        let shown = self.display(&path);
        if header.encryption.is_some() != self.is_encrypted() {
            return Err(Error::failed(format!("the header of {} is not of this repository", header.id)).why(
                if self.is_encrypted() {
                    "the repository is encrypted, and the header does not say to whom"
                } else {
                    "the header says that the backup is encrypted, and the repository is not"
                },
            ));
        }
        let mut file = self.checked_file(&path, header.manifest_bytes, header.manifest_hash)?;
        if let Some(cipher) = &self.cipher {
            let to = header.encryption.as_ref();
            let place = Place { path: &shown, to, proven: false, limit_bytes: layout::FILE_LIMIT_BYTES };
            file = cipher.decrypt(self.store(), &file, &place, asking)?;
        }
        let manifest = Manifest::from_file(&file, &header.id).map_err(|error| error.into_error(&shown))?;
        if manifest.object_key.is_some() == self.is_encrypted() && manifest.encryption == header.encryption {
            Ok(manifest)
        } else {
            Err(Error::failed(format!("{shown} is damaged"))
                .why("it does not say of its encryption what the header says"))
        }
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

    /// Reads and checks one small file of a backup's folder, such as `schema.dump`, and decrypts it.
    ///
    /// # Errors
    /// Missing, damaged or too long, named.
    pub fn file(&self, manifest: &Manifest, name: &str) -> Result<Vec<u8>> {
        let encrypted = self.is_encrypted() && layout::is_encrypted_file(name);
        let file = listed_file(manifest, &layout::stored_name(name, encrypted))?;
        let content = self.check_file(manifest, file)?;
        let Some(cipher) = self.cipher.as_ref().filter(|_| encrypted) else { return Ok(content) };
        let path = self.display(&layout::backup_file(&manifest.backup, &file.name));
        let place = Place { path: &path, to: None, proven: true, limit_bytes: layout::FILE_LIMIT_BYTES };
        cipher.decrypt(self.store(), &content, &place, Asking::Allowed)
    }

    /// Reads and checks one file that the manifest lists, as it is stored.
    ///
    /// # Errors
    /// Missing, damaged or too long, named.
    pub fn check_file(&self, manifest: &Manifest, file: &File) -> Result<Vec<u8>> {
        if !layout::is_file_name(&file.name) {
            return Err(Error::failed(format!("{:?} is not the name of a file of a backup", file.name)));
        }
        self.checked_file(&layout::backup_file(&manifest.backup, &file.name), file.bytes, file.hash)
    }

    /// Reads and checks one small file of a backup's folder as it lies there, for another backup to
    /// adopt. No key is needed.
    ///
    /// # Errors
    /// Missing, damaged or too long, named.
    pub fn stored_file(&self, manifest: &Manifest, name: &str) -> Result<StoredFile> {
        let file = listed_file(manifest, &layout::stored_name(name, self.is_encrypted()))?;
        Ok(StoredFile::new(&file.name, self.check_file(manifest, file)?))
    }

    pub(super) fn checked_file(&self, path: &str, bytes: u64, hash: ObjectId) -> Result<Vec<u8>> {
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

    /// Begins a backup: reserves its id. `now` is the time in the id; when the second is taken
    /// already, the next free one is used. From now on a thread gives signs of life. Also clears what
    /// dead runs left of files they never finished.
    ///
    /// # Errors
    /// The store's; a condemned list that cannot be read.
    pub fn begin_backup(
        &self,
        environment: &EnvironmentName,
        label: Option<&Label>,
        now: jiff::Timestamp,
    ) -> Result<BackupDraft<'_>> {
        self.encrypts_to()?;
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
        unfinished::manifests(self.store(), environment, |progress| {
            let Some(cipher) = &self.cipher else {
                return Manifest::from_file(progress.file, progress.backup).ok();
            };
            let cached =
                self.cache.as_ref().and_then(|cache| cache.manifest(progress.backup, &progress.hash));
            cached.or_else(|| {
                let limit_bytes = layout::FILE_LIMIT_BYTES;
                let place = Place { path: progress.path, to: None, proven: false, limit_bytes };
                let file = cipher.decrypt(self.store(), progress.file, &place, Asking::Unwanted).ok()?;
                Manifest::from_file(&file, progress.backup).ok()
            })
        })
    }

    /// Stores a receipt and returns its path within the repository.
    ///
    /// # Errors
    /// The store's.
    pub fn store_receipt(&self, receipt: &Receipt) -> Result<String> {
        receipts::store(self, receipt)
    }

    /// Receipts of one backup, oldest first, and the damaged ones.
    ///
    /// # Errors
    /// The store's.
    pub fn receipts(&self, backup: &BackupId) -> Result<Receipts> {
        receipts::read(self, backup)
    }

    /// All receipts by name; reads none of them.
    ///
    /// # Errors
    /// The store's, when they cannot be listed.
    pub fn receipt_index(&self) -> Result<ReceiptIndex<'_>> {
        receipts::index(self)
    }

    /// Reads the receipts of all backups, and tells which cannot be read.
    ///
    /// # Errors
    /// The store's, when they cannot be listed.
    pub fn unreadable_receipts(&self) -> Result<UnreadableReceipts> {
        receipts::unreadable(self)
    }
}

/// Writes `pgstow.json`: `false` when there is one already.
fn create(store: &dyn Store, access: &Access, now: jiff::Timestamp) -> Result<bool> {
    let capabilities = capabilities::probe(store, random::bytes()?)?;
    let identity = Identity::new(random::bytes()?, access.recipients.is_some(), now, capabilities);
    write(store, layout::REPOSITORY_FILE, &identity.to_file())
}

/// Writes a whole file: `false` when there is one already.
pub(super) fn write(store: &dyn Store, path: &str, content: &[u8]) -> Result<bool> {
    let mut file = store.create()?;
    file.write_all(content)
        .map_err(|error| super::object::store_failure(error, || format!("cannot write {path}")))?;
    Ok(file.commit(path)?)
}

fn holds_repository(store: &dyn Store) -> Result<bool> {
    match store.read_all(layout::REPOSITORY_FILE, layout::HEADER_LIMIT_BYTES) {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound { .. }) => match no_repository(store)? {
            error if error.kind() == ErrorKind::NotFound => Ok(false),
            error => Err(error),
        },
        Err(error) => Err(error.into()),
    }
}

fn listed_file<'m>(manifest: &'m Manifest, name: &str) -> Result<&'m File> {
    manifest
        .files
        .iter()
        .find(|file| file.name == name)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{} has no file {name:?}", manifest.backup)))
}

fn refuse_foreign(location: &str, names: &[String]) -> Result<()> {
    let foreign: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !HARMLESS.contains(name)).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let shown = foreign.iter().take(5).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let more = and_more(foreign.len().saturating_sub(5));
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

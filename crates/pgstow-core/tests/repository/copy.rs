//! Copies of backups in another repository, with other keys or none.

use std::fs;
use std::path::{Path, PathBuf};

use pgstow_core::ErrorKind;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::{Event, Monitor, Silent};
use pgstow_core::repository::encryption::{
    Access, Asking, IdentityFile, KeySource, PrivateKey, Recipients, SecretString,
};
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::id::BackupId;
use pgstow_core::repository::format::manifest::Manifest;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::repository::{CopyReport, Repository, copy};
use pgstow_core::verify::{Reading, verify_all};
use tempfile::TempDir;

use crate::faulty::{Fault, Faulty, Plan, fast_folder};
use crate::sample::*;

/// A key of the destination alone.
struct OtherKey(String);

impl KeySource for OtherKey {
    fn identities(&self) -> pgstow_core::Result<Vec<IdentityFile>> {
        Ok(vec![IdentityFile::new("the other key", self.0.clone().into_bytes())])
    }

    fn passphrase(&self, _what: &str, _asking: Asking) -> pgstow_core::Result<Option<SecretString>> {
        Ok(None)
    }
}

/// Where copies go.
struct Destination {
    folder: TempDir,
    cache: TempDir,
    key: Option<String>,
}

impl Destination {
    fn new(protection: Protection) -> Self {
        let key = PrivateKey::generate().to_identity_file(time("2026-01-01T00:00:00Z")).unwrap();
        let key = (protection == Protection::Encrypted).then(|| key.to_string());
        let destination = Self { folder: fast_folder(), cache: fast_folder(), key };
        let store = Box::new(LocalStore::new(destination.root()));
        Repository::init_with(store, destination.public_access(), time("2026-01-01T00:00:00Z")).unwrap();
        destination
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn folder(&self, id: &BackupId) -> PathBuf {
        self.root().join("backups").join(id.as_str())
    }

    /// Copies that died after their manifest and before their header: nobody can tell that they are
    /// dead.
    fn held(&self, wanted: &[Header]) -> Vec<BackupId> {
        let has = |id: &BackupId, name: &str| self.folder(id).join(name).exists();
        let ids = wanted.iter().map(|header| &header.id);
        ids.filter(|id| has(id, "manifest.json.zst.age") && !has(id, "backup.json")).cloned().collect()
    }

    /// What the host that copies has: the public key and its cache.
    fn public_access(&self) -> Access {
        let recipients = self.key.as_ref().map(|key| {
            let file = IdentityFile::new("key", key.clone().into_bytes());
            let public = PrivateKey::read(&file, |_| Ok(None)).unwrap()[0].public().unwrap();
            Recipients::parse([public.as_str()]).unwrap()
        });
        Access { recipients, keys: None, cache: Some(self.cache.path().to_owned()) }
    }

    /// As the host that copies opens it.
    fn open(&self) -> Repository {
        Repository::open_with(Box::new(LocalStore::new(self.root())), self.public_access()).unwrap()
    }

    /// As whoever restores opens it.
    fn open_with_key(&self) -> Repository {
        let keys = self.key.clone().map(|key| Box::new(OtherKey(key)) as Box<dyn KeySource>);
        let access = Access { recipients: None, keys, cache: None };
        Repository::open_with(Box::new(LocalStore::new(self.root())), access).unwrap()
    }

    /// Everything there is whole and readable with its own key.
    fn assert_good(&self) {
        let report = verify_all(&self.open_with_key(), &Reading::All, &Silent, &Interrupt::new()).unwrap();
        assert!(report.is_complete() && report.unfinished.is_empty(), "{report:#?}");
    }

    fn ids(&self) -> Vec<String> {
        self.open().list().unwrap().backups.iter().map(|header| header.id.to_string()).collect()
    }
}

/// Where copies come from: the three backups of the sample.
struct Source {
    folder: TempDir,
    repository: Repository,
    headers: Vec<Header>,
}

impl Source {
    fn new(protection: Protection) -> Self {
        let folder = fast_folder();
        let repository = protection.init(folder.path());
        let headers = store_all_in(&repository);
        Self { folder, repository, headers }
    }

    fn copy_to(&self, destination: &Repository, backups: &[Header]) -> CopyReport {
        copy(&self.repository, destination, backups, &Silent, &Interrupt::new()).unwrap()
    }
}

const ALL: [(Protection, Protection); 4] = [
    (Protection::Plain, Protection::Plain),
    (Protection::Plain, Protection::Encrypted),
    (Protection::Encrypted, Protection::Plain),
    (Protection::Encrypted, Protection::Encrypted),
];

/// The content of every chunk of every table, and of the files.
fn contents(repository: &Repository, header: &Header) -> (Manifest, Vec<Vec<u8>>) {
    let manifest = repository.manifest(header).unwrap();
    let chunks = manifest.tables.iter().flat_map(|table| &table.chunks);
    let mut found = Vec::new();
    for chunk in chunks.chain(&manifest.large_objects.chunks) {
        let object = &manifest.objects[chunk.object as usize];
        let mut content = Vec::new();
        let reader = repository.read_object(&manifest, object).unwrap();
        let read = reader.read_range(chunk.offset, chunk.bytes, |piece| {
            content.extend_from_slice(piece);
            Ok(())
        });
        read.unwrap();
        found.push(content);
    }
    found.push(repository.file(&manifest, "schema.sql").unwrap());
    found.push(serde_json::to_vec(&repository.catalog(&manifest).unwrap()).unwrap());
    (manifest, found)
}

#[test]
fn a_copy_holds_the_same_under_the_same_id_whatever_keys_the_two_have() {
    for (from, to) in ALL {
        let (source, destination) = (Source::new(from), Destination::new(to));
        let report = source.copy_to(&destination.open(), &source.headers);
        assert_eq!(report.copied.len(), 3, "{report:?}");
        assert!(
            report.failed.is_empty() && report.present.is_empty() && report.remarks.is_empty(),
            "{report:?}"
        );
        // The first chunk and the picture are shared by all three.
        let sent: usize = report.copied.iter().map(|copied| copied.new_objects).sum();
        assert_eq!(sent, 8, "{from:?} to {to:?}");
        destination.assert_good();
        let there = destination.open_with_key();
        for header in &source.headers {
            let (mut original, content) = contents(&source.repository, header);
            let copied = there.header(&header.id).unwrap();
            let (copy, copied_content) = contents(&there, &copied);
            assert!(content == copied_content, "{from:?} to {to:?}: {}", header.id);
            // All but names and sizes of files is the same.
            original.objects.clone_from(&copy.objects);
            original.files.clone_from(&copy.files);
            original.object_key.clone_from(&copy.object_key);
            original.encryption.clone_from(&copy.encryption);
            assert_eq!(original, copy);
            let facts =
                |header: &Header| (header.finished_at, header.snapshot_at, header.note.clone(), header.rows);
            assert_eq!(facts(header), facts(&copied));
        }
        let receipts = there.receipts(&source.headers[0].id).unwrap().receipts;
        assert_eq!((receipts.len(), report.receipts), (1, 1));
    }
}

#[test]
fn without_encryption_objects_and_files_are_the_same_byte_for_byte() {
    let (source, destination) = (Source::new(Protection::Plain), Destination::new(Protection::Plain));
    let _ = source.copy_to(&destination.open(), &source.headers);
    let of_interest = |root: &Path| -> Vec<_> {
        let mut found = files(root);
        found.retain(|file| !file.ends_with("pgstow.json") && !file.ends_with("backup.json"));
        found
    };
    let files = of_interest(source.folder.path());
    assert_eq!(files, of_interest(destination.root()));
    for file in files {
        let read = |root: &Path| fs::read(root.join(&file)).unwrap();
        assert!(read(source.folder.path()) == read(destination.root()), "{}", file.display());
    }
}

#[test]
fn a_second_copy_sends_nothing_and_changes_nothing() {
    for (from, to) in ALL {
        let (source, destination) = (Source::new(from), Destination::new(to));
        let _ = source.copy_to(&destination.open(), &source.headers);
        let before = files(destination.root());
        let report = source.copy_to(&destination.open(), &source.headers);
        assert!(report.copied.is_empty() && report.failed.is_empty(), "{report:?}");
        assert_eq!((report.present.len(), report.receipts), (3, 0), "{from:?} to {to:?}");
        assert_eq!(before, files(destination.root()));
    }
}

#[test]
fn a_later_copy_sends_only_what_is_missing_with_the_public_key_alone() {
    for (from, to) in ALL {
        let (source, destination) = (Source::new(from), Destination::new(to));
        let first = source.copy_to(&destination.open(), &source.headers[..1]);
        assert_eq!(first.copied[0].new_objects, 4);
        // Another run, which knows what the first one sent from its cache.
        let second = source.copy_to(&destination.open(), &source.headers[..2]);
        assert_eq!(second.present, [source.headers[0].id.clone()]);
        assert_eq!((second.copied[0].objects, second.copied[0].new_objects), (4, 2), "{from:?} to {to:?}");
        destination.assert_good();
    }
}

#[test]
fn an_object_that_vanished_from_the_destination_is_sent_again() {
    for (from, to) in ALL {
        let (source, destination) = (Source::new(from), Destination::new(to));
        let _ = source.copy_to(&destination.open(), &source.headers[..1]);
        fs::remove_dir_all(destination.root().join("objects")).unwrap();
        let report = source.copy_to(&destination.open(), &source.headers[..2]);
        assert_eq!(report.copied[0].new_objects, 4, "{from:?} to {to:?}");
    }
}

#[test]
fn a_damaged_backup_is_named_and_not_copied_and_the_others_are() {
    for (from, to) in ALL {
        let (source, destination) = (Source::new(from), Destination::new(to));
        let manifest = source.repository.manifest(&source.headers[1]).unwrap();
        let name = manifest.objects[1].name().to_string();
        let file =
            files(source.folder.path()).into_iter().find(|file| file.to_string_lossy().contains(&name));
        let file = source.folder.path().join(file.unwrap());
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for content in [Some(&flipped[..]), Some(&whole[..whole.len() - 1]), Some(&[]), None] {
            match content {
                Some(content) => fs::write(&file, content).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let report = source.copy_to(&destination.open(), &source.headers);
            let [(failed, error)] = report.failed.as_slice() else { panic!("{report:?}") };
            assert_eq!(*failed, source.headers[1].id);
            assert!(error.to_string().contains(&name), "{error}");
            assert_eq!(report.copied.len() + report.present.len(), 2, "{report:?}");
            destination.assert_good();
        }
        fs::write(&file, whole).unwrap();
        let report = source.copy_to(&destination.open(), &source.headers);
        assert!(report.failed.is_empty() && report.copied.len() == 1, "{report:?}");
        destination.assert_good();
        assert_eq!(destination.ids().len(), 3);
    }
}

#[test]
fn a_damaged_file_or_manifest_is_named_and_the_backup_is_not_copied() {
    let (source, destination) = (Source::new(Protection::Plain), Destination::new(Protection::Encrypted));
    let folder = source.folder.path().join("backups").join(source.headers[0].id.as_str());
    for name in ["schema.sql", "catalog.json.zst", "manifest.json.zst"] {
        let file = folder.join(name);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[1..]).unwrap();
        let report = source.copy_to(&destination.open(), &source.headers[..1]);
        let [(_, error)] = report.failed.as_slice() else { panic!("{report:?}") };
        assert!(error.to_string().contains(name), "{error}");
        assert!(destination.ids().is_empty());
        fs::write(&file, whole).unwrap();
    }
    let report = source.copy_to(&destination.open(), &source.headers[..1]);
    assert_eq!(report.copied.len(), 1);
    destination.assert_good();
}

#[test]
fn a_failure_at_any_operation_of_either_store_leaves_the_destination_good_and_the_next_copy_works() {
    for fault in [Fault::Once, Fault::OnceAfter, Fault::DiesBefore, Fault::DiesAfter] {
        for of_destination in [true, false] {
            for at in 0.. {
                let source = Source::new(Protection::Plain);
                let destination = Destination::new(Protection::Encrypted);
                let plan = Plan::new(fault, at);
                let (from, to) = if of_destination {
                    (LocalStore::new(source.folder.path()), Faulty::new(destination.root(), &plan))
                } else {
                    (LocalStore::new(destination.root()), Faulty::new(source.folder.path(), &plan))
                };
                let outcome = run(&destination, of_destination, from, to, &source.headers[..2]);
                if plan.operations() <= at {
                    assert!(at > 15, "only {at} operations were seen");
                    assert!(outcome.unwrap().failed.is_empty());
                    break;
                }
                let listing = destination.open().list().unwrap();
                assert!(listing.damaged.is_empty(), "{fault:?} at {at}: {listing:?}");
                let good =
                    verify_all(&destination.open_with_key(), &Reading::All, &Silent, &Interrupt::new());
                let good = good.unwrap();
                let lost =
                    |fault: &pgstow_core::verify::Fault| fault.found.contains("is missing, and a manifest");
                assert!(good.faults.iter().all(lost), "{fault:?} at {at}: {good:#?}");
                let held = destination.held(&source.headers[..2]);
                let report = source.copy_to(&destination.open(), &source.headers[..2]);
                let refused: Vec<&BackupId> = report.failed.iter().map(|(id, _)| id).collect();
                assert_eq!(refused, held.iter().collect::<Vec<_>>(), "{fault:?} at {at}: {report:?}");
                assert!(report.failed.iter().all(|(_, error)| error.kind() == ErrorKind::Locked));
                // As the error says.
                held.iter().for_each(|id| fs::remove_dir_all(destination.folder(id)).unwrap());
                let report = source.copy_to(&destination.open(), &source.headers[..2]);
                assert!(report.failed.is_empty(), "{fault:?} at {at}: {report:?}");
                destination.assert_good();
                assert_eq!(destination.ids().len(), 2);
            }
        }
    }
}

/// Copies between two stores of which one fails.
fn run(
    destination: &Destination,
    fails_there: bool,
    sound: LocalStore,
    faulty: Faulty,
    backups: &[Header],
) -> pgstow_core::Result<CopyReport> {
    let access = destination.public_access();
    let (from, to) = if fails_there {
        (Repository::open(Box::new(sound))?, Repository::open_with(Box::new(faulty), access)?)
    } else {
        (Repository::open(Box::new(faulty))?, Repository::open_with(Box::new(sound), access)?)
    };
    copy(&from, &to, backups, &Silent, &Interrupt::new())
}

#[test]
fn an_interrupted_copy_leaves_nothing_visible_and_helps_the_next() {
    struct InterruptAfter(Interrupt, usize);
    impl Monitor for InterruptAfter {
        fn event(&self, event: Event<'_>) {
            if matches!(event, Event::Steps { done, .. } if done == self.1) {
                self.0.trigger();
            }
        }
    }
    for (from, to) in ALL {
        let (source, destination) = (Source::new(from), Destination::new(to));
        let interrupt = Interrupt::new();
        let monitor = InterruptAfter(interrupt.clone(), 4);
        let outcome =
            copy(&source.repository, &destination.open(), &source.headers[..1], &monitor, &interrupt);
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Interrupted);
        assert!(destination.ids().is_empty());
        assert!(destination.open().list().unwrap().unfinished.is_empty());
        let report = source.copy_to(&destination.open(), &source.headers[..1]);
        if to == Protection::Plain {
            assert_eq!(report.copied[0].new_objects, 0, "all were sent before");
        }
        destination.assert_good();
    }
}

#[test]
fn a_repository_is_not_copied_to_itself_nor_over_another_backup_of_that_id() {
    let source = Source::new(Protection::Plain);
    let same = open(source.folder.path());
    let error = copy(&source.repository, &same, &source.headers, &Silent, &Interrupt::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let header = &source.headers[0];
    let elsewhere = fast_folder();
    let destination = init(elsewhere.path());
    let mut draft =
        destination.begin_backup(&environment("prod"), None, time("2026-11-20T02:00:00Z")).unwrap();
    draft.write_catalog(&catalog()).unwrap();
    let mut manifest = source.repository.manifest(header).unwrap();
    manifest.tables.clear();
    manifest.objects.clear();
    manifest.large_objects.chunks.clear();
    draft.commit(manifest, header.clone(), time("2026-11-20T02:00:00Z")).unwrap();
    let report = source.copy_to(&destination, &source.headers[..1]);
    assert!(report.failed[0].1.to_string().contains("another backup"), "{report:?}");
}

#[test]
fn an_encrypted_destination_needs_a_public_key_and_an_encrypted_source_a_private_one() {
    let source = Source::new(Protection::Plain);
    let destination = Destination::new(Protection::Encrypted);
    let keyless = Repository::open(Box::new(LocalStore::new(destination.root()))).unwrap();
    let outcome = copy(&source.repository, &keyless, &source.headers, &Silent, &Interrupt::new());
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Key);
    let source = Source::new(Protection::Encrypted);
    let closed = open(source.folder.path());
    let report = copy(&closed, &destination.open(), &source.headers, &Silent, &Interrupt::new()).unwrap();
    assert!(report.failed.iter().all(|(_, error)| error.kind() == ErrorKind::Key), "{report:?}");
    assert_eq!((report.failed.len(), destination.ids().len()), (3, 0));
}

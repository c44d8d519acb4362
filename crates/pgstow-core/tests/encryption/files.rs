//! Encrypted repositories: what a host without a private key can do, and what is never accepted.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgstow_core::repository::Repository;
use pgstow_core::repository::encryption::{
    Access, Asking, IdentityFile, KeySource, PrivateKey, Recipients, SecretString, protect,
};
use pgstow_core::repository::format::encryption::EncryptedTo;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::{Error, ErrorKind, Result};
use tempfile::tempdir;

use crate::sample::*;

const PASSPHRASE: &str = "a passphrase";

/// Where keys come from, and how often they were asked for.
#[derive(Clone, Default)]
struct Keys {
    identities: Vec<String>,
    passphrase: Option<&'static str>,
    asked: Arc<AtomicUsize>,
    asked_for_passphrase: Arc<AtomicUsize>,
}

impl KeySource for Keys {
    fn identities(&self) -> Result<Vec<IdentityFile>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let files = self.identities.iter();
        Ok(files.map(|text| IdentityFile::new("a key", text.clone().into_bytes())).collect())
    }

    fn passphrase(&self, _what: &str, _asking: Asking) -> Result<Option<SecretString>> {
        self.asked_for_passphrase.fetch_add(1, Ordering::SeqCst);
        Ok(self.passphrase.map(|passphrase| passphrase.to_owned().into()))
    }
}

/// A private key: its identity file and its public key.
fn key() -> (String, String) {
    let key = PrivateKey::generate();
    let file = key.to_identity_file(time("2026-01-01T00:00:00Z")).unwrap();
    (file.to_string(), key.public().unwrap())
}

fn to(publics: &[&str]) -> Recipients {
    Recipients::parse(publics.iter().copied()).unwrap()
}

fn store(root: &Path) -> Box<LocalStore> {
    Box::new(LocalStore::new(root))
}

/// As a host that has public keys alone opens it.
fn host(root: &Path, publics: &[&str], cache: Option<&Path>) -> Repository {
    let cache = cache.map(Path::to_owned);
    let access = Access { recipients: Some(to(publics)), keys: Some(Box::new(Keys::default())), cache };
    Repository::open_or_init_with(store(root), access, time("2026-01-01T00:00:00Z")).unwrap()
}

/// As somebody opens it who has a private key and no configuration.
fn reader(root: &Path, identity: &str) -> Repository {
    let keys = Keys { identities: vec![identity.to_owned()], ..Keys::default() };
    Repository::open_with(store(root), Access { keys: Some(Box::new(keys)), ..Access::default() }).unwrap()
}

fn back_up(repository: &Repository, at: &str, seed: u64) -> Header {
    store_backup(repository, &environment("prod"), None, time(at), seed).unwrap()
}

fn rewrite_header(root: &Path, header: &Header, change: impl FnOnce(&mut serde_json::Value)) -> Header {
    let path = root.join("backups").join(header.id.as_str()).join("backup.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    let mut changed: Header = serde_json::from_value(json).unwrap();
    changed.checksum = header.checksum;
    changed
}

#[test]
fn a_host_reads_its_copies_of_manifests_and_nothing_else() {
    let (place, cache) = (tempdir().unwrap(), tempdir().unwrap());
    let (identity, public) = key();
    let header = back_up(&host(place.path(), &[&public], Some(cache.path())), "2026-11-20T02:00:00Z", 1);

    let again = host(place.path(), &[&public], Some(cache.path()));
    let manifest = again.manifest_of_base(&header).unwrap();
    assert_eq!(manifest, reader(place.path(), &identity).manifest(&header).unwrap());
    assert_eq!(again.manifest(&header).unwrap_err().kind(), ErrorKind::Key);
    assert_eq!(again.catalog(&manifest).unwrap_err().kind(), ErrorKind::Key);
    assert_eq!(again.read_object(&manifest, &manifest.objects[0]).err().unwrap().kind(), ErrorKind::Key);
    // Files are adopted, and checked, as they are stored.
    for file in &manifest.files {
        again.check_file(&manifest, file).unwrap();
    }
    again.stored_file(&manifest, "schema.sql").unwrap();
    manifest.objects.iter().for_each(|object| again.check_object(&manifest, object).unwrap());

    // The copy stands for that stored manifest alone.
    let other = rewrite_header(place.path(), &header, |json| json["manifest_hash"] = "0".repeat(64).into());
    assert!(again.manifest_of_base(&other).is_err());
    let elsewhere = tempdir().unwrap();
    let without = host(place.path(), &[&public], Some(elsewhere.path()));
    assert_eq!(without.manifest_of_base(&header).unwrap_err().kind(), ErrorKind::Key);
}

#[test]
fn a_host_without_a_key_goes_on_from_its_interrupted_backup() {
    let (place, cache) = (tempdir().unwrap(), tempdir().unwrap());
    let (identity, public) = key();
    let interrupt = || {
        let repository = host(place.path(), &[&public], Some(cache.path()));
        let at = time("2026-11-20T02:00:00Z");
        drop(begin_with_progress(&repository, &environment("prod"), at, 1).unwrap());
    };
    interrupt();
    let unfinished = |repository: &Repository| repository.unfinished(&environment("prod")).unwrap();
    let found = unfinished(&host(place.path(), &[&public], Some(cache.path())));
    assert_eq!(found.len(), 1);
    assert_eq!(found, unfinished(&reader(place.path(), &identity)));
    // Whom it is encrypted to stands in it: another backup may be for others.
    let expected = EncryptedTo { recipients: vec![public.clone()], ..found[0].encryption.clone().unwrap() };
    assert_eq!(found[0].encryption, Some(expected));
    let empty = tempdir().unwrap();
    assert_eq!(unfinished(&host(place.path(), &[&public], Some(empty.path()))), []);
    // The next backup clears away what it made superfluous, on both sides.
    back_up(&host(place.path(), &[&public], Some(cache.path())), "2026-11-21T02:00:00Z", 1);
    assert_eq!(unfinished(&reader(place.path(), &identity)), []);
    assert_eq!(files(cache.path()).len(), 1, "{:?}", files(cache.path()));
}

#[test]
fn a_header_that_tells_otherwise_of_encryption_is_not_believed() {
    let place = tempdir().unwrap();
    let (identity, public) = key();
    let (_, other) = key();
    let header = back_up(&host(place.path(), &[&public], None), "2026-11-20T02:00:00Z", 1);
    let reading = reader(place.path(), &identity);
    let plain = rewrite_header(place.path(), &header, |json| {
        json.as_object_mut().unwrap().remove("encryption");
    });
    let why = |header: &Header| reading.manifest(header).unwrap_err().reason().unwrap();
    assert!(why(&plain).contains("does not say to whom"), "{}", why(&plain));
    let more = rewrite_header(place.path(), &header, |json| {
        json["encryption"]["recipients"] = vec![public.clone(), other.clone()].into();
    });
    assert!(why(&more).contains("does not say of its encryption what the header says"), "{}", why(&more));
}

#[test]
fn objects_of_another_repository_are_not_taken_for_its_own() {
    let (place, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let (identity, public) = key();
    let header = back_up(&host(place.path(), &[&public], None), "2026-11-20T02:00:00Z", 1);
    back_up(&host(elsewhere.path(), &[&public], None), "2026-11-20T02:00:00Z", 2);
    let reading = reader(place.path(), &identity);
    let manifest = reading.manifest(&header).unwrap();
    let object = &manifest.objects[1];
    let name = format!("objects/{}/{}.zst.age", &object.id.to_string()[..2], object.id);
    let foreign = files(elsewhere.path()).into_iter().filter(|file| file.starts_with("objects"));
    for file in foreign.filter(|file| !place.path().join(file).exists()) {
        fs::copy(elsewhere.path().join(file), place.path().join(&name)).unwrap();
        let error = reading.verify_object(&manifest, object).unwrap_err();
        assert!(error.message().contains(&object.id.to_string()), "{error}");
    }
}

#[test]
fn an_object_that_was_compressed_otherwise_is_used_by_who_can_read_it_and_stored_anew_by_others() {
    let place = tempdir().unwrap();
    let (identity, public) = key();
    let content = rows(7, 5000);
    let write = |repository: &Repository| {
        let key = serde_json::from_value(serde_json::json!("5a".repeat(32))).unwrap();
        let mut writer = repository.write_object(Some(&key)).unwrap();
        std::io::Write::write_all(&mut writer, content.as_bytes()).unwrap();
        writer.finish()
    };
    assert!(write(&host(place.path(), &[&public], None).with_compression_level(19)).unwrap().new);
    // The noise in the header is no difference.
    for _ in 0..5 {
        let again = write(&host(place.path(), &[&public], None).with_compression_level(19)).unwrap();
        assert!(!again.new);
    }
    // Damage would look the same to who has no key.
    let anew = write(&host(place.path(), &[&public], None)).unwrap();
    assert!(anew.new);
    assert_eq!(anew.object.copy, 1);
    let keys = Keys { identities: vec![identity], ..Keys::default() };
    let access = Access { recipients: Some(to(&[&public])), keys: Some(Box::new(keys)), cache: None };
    assert!(!write(&Repository::open_with(store(place.path()), access).unwrap()).unwrap().new);
}

#[test]
fn keys_are_asked_for_once_and_only_when_something_has_to_be_read() {
    let place = tempdir().unwrap();
    let (identity, public) = key();
    let header = back_up(&host(place.path(), &[&public], None), "2026-11-20T02:00:00Z", 1);
    let protected = protect(&identity, PASSPHRASE.to_owned().into()).unwrap();
    host(place.path(), &[&public], None).store_key(&public, &protected).unwrap();
    let keys = Keys { passphrase: Some(PASSPHRASE), ..Keys::default() };
    let access = Access { keys: Some(Box::new(keys.clone())), ..Access::default() };
    let repository = Repository::open_with(store(place.path()), access).unwrap();
    repository.list().unwrap();
    repository.header(&header.id).unwrap();
    assert_eq!(keys.asked_for_passphrase.load(Ordering::SeqCst), 0);
    let manifest = repository.manifest(&header).unwrap();
    repository.catalog(&manifest).unwrap();
    for object in &manifest.objects {
        repository.verify_object(&manifest, object).unwrap();
    }
    assert_eq!(keys.asked_for_passphrase.load(Ordering::SeqCst), 1);
    assert_eq!(keys.asked.load(Ordering::SeqCst), 1);
    // Who restores may have no public key configured: the receipt is for whoever can read the backup.
    repository.store_receipt(&receipt(&header.id, time("2026-11-22T00:00:00Z"))).unwrap();
    let receipts = reader(place.path(), &identity).receipts(&header.id).unwrap();
    assert_eq!((receipts.receipts.len(), receipts.closed.len()), (1, 0));
    let closed = host(place.path(), &[&public], None).receipts(&header.id).unwrap();
    assert_eq!((closed.receipts.len(), closed.closed.len(), closed.damaged.len()), (0, 1, 0));
}

#[test]
fn another_key_in_the_place_of_a_stored_one_is_refused() {
    let place = tempdir().unwrap();
    let ((_, public), (other, _)) = (key(), key());
    let header = back_up(&host(place.path(), &[&public], None), "2026-11-20T02:00:00Z", 1);
    let protected = protect(&other, PASSPHRASE.to_owned().into()).unwrap();
    host(place.path(), &[&public], None).store_key(&public, &protected).unwrap();
    let error = |passphrase: &'static str| -> Error {
        let keys = Keys { passphrase: Some(passphrase), ..Keys::default() };
        let access = Access { keys: Some(Box::new(keys)), ..Access::default() };
        Repository::open_with(store(place.path()), access).unwrap().manifest(&header).unwrap_err()
    };
    let foreign = error(PASSPHRASE);
    assert_eq!(foreign.kind(), ErrorKind::Key);
    assert!(foreign.message().contains("does not hold the key that its name says"), "{foreign}");
    let wrong = error("another");
    assert_eq!(wrong.kind(), ErrorKind::Key);
    assert!(wrong.message().contains("wrong passphrase"), "{wrong}");
}

#[test]
fn no_error_and_no_formatter_shows_a_private_key() {
    let (identity, _) = key();
    let secret = identity.lines().last().unwrap();
    for file in
        [secret[..60].to_owned(), format!("{secret}X"), format!("x {secret}"), secret.replace('1', "2")]
    {
        let read = PrivateKey::read(&IdentityFile::new("key.txt", file.into_bytes()), |_| Ok(None));
        let error = read.err().unwrap();
        let said = format!("{error} {:?} {:?} {error:?}", error.reason(), error.hints());
        assert!(!said.to_uppercase().contains(&secret[16..40]), "{said}");
    }
    let error = Recipients::parse([secret]).unwrap_err();
    assert!(!format!("{error} {:?} {error:?}", error.hints()).contains(secret));
}

//! Damage as action × place: each file of a repository, plain and encrypted, each way to spoil it. It
//! is always detected and the file named, never accepted, never a panic.
//!
//! Exceptions, each for a reason:
//! - A receipt that is removed: nothing depends on it and nothing lists it.
//! - Two receipts of one backup that are swapped: each still tells its own times.
//! - A bit of an object's zstd frame that decoders must ignore, or that only asks for a larger
//!   window: the content that is read is proven by its hash, so it is the same. Encrypted objects
//!   have no such bits.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::monitor::Silent;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::id::BackupId;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::verify::{Reading, verify, verify_all};
use tempfile::{TempDir, tempdir};

use crate::sample::{Protection, files, store_all_in};

/// Byte positions tried in each file.
const POSITIONS: usize = 40;

struct Damaged {
    protection: Protection,
    place: TempDir,
    backups: Vec<BackupId>,
}

impl Damaged {
    fn new(protection: Protection) -> Self {
        let place = tempdir().unwrap();
        let headers = store_all_in(&protection.init(place.path()));
        let backups = headers.into_iter().map(|header| header.id).collect();
        Self { protection, place, backups }
    }

    fn root(&self) -> &Path {
        self.place.path()
    }

    fn files(&self) -> Vec<PathBuf> {
        files(self.root())
    }

    fn read(&self, file: &Path) -> Vec<u8> {
        fs::read(self.root().join(file)).unwrap()
    }

    fn write(&self, file: &Path, content: &[u8]) {
        fs::write(self.root().join(file), content).unwrap();
    }

    /// Everything that opening, listing, resolving, reading and verifying complain about.
    fn complaints(&self) -> String {
        let repository =
            match Repository::open_with(Box::new(LocalStore::new(self.root())), self.protection.access()) {
                Ok(repository) => repository,
                Err(error) => return format!("{error} {:?}", error.reason()),
            };
        let listing = repository.list().unwrap();
        let mut complaints = vec![format!("{:?} {:?}", listing.damaged, listing.unfinished)];
        if listing.damaged.is_empty() && listing.unfinished.is_empty() {
            complaints.clear();
        }
        for id in &self.backups {
            let header = match repository.resolve(id.as_str()) {
                Ok(header) => header,
                Err(error) => {
                    complaints.push(format!("{error} {:?}", error.reason()));
                    continue;
                }
            };
            if let Err(error) = repository.manifest(&header) {
                complaints.push(format!("{error} {:?}", error.reason()));
            }
            match verify(&repository, &header, &Reading::All, &Silent, &Interrupt::new()) {
                Ok(report) => {
                    let failed = report.lines.iter().filter(|line| line.has_failed());
                    complaints.extend(failed.map(|line| format!("{}: {}", line.what, line.found)));
                }
                Err(error) => complaints.push(format!("{error} {:?}", error.reason())),
            }
            let receipts = repository.receipts(id).unwrap();
            complaints.extend(receipts.damaged.iter().map(|(name, why)| format!("{name}: {why}")));
            complaints.extend(receipts.closed);
        }
        complaints.join("\n")
    }

    /// The faults that a walk through the whole repository finds.
    fn faults(&self) -> String {
        let repository =
            match Repository::open_with(Box::new(LocalStore::new(self.root())), self.protection.access()) {
                Ok(repository) => repository,
                Err(error) => return format!("{error} {:?}", error.reason()),
            };
        let report = verify_all(&repository, &Reading::All, &Silent, &Interrupt::new()).unwrap();
        let faults =
            report.faults.iter().map(|fault| format!("{}: {} {:?}", fault.what, fault.found, fault.touches));
        faults.chain(report.open.iter().cloned()).collect::<Vec<_>>().join("\n")
    }

    /// The complaints, and the faults of the whole, must name the file: by its name, or by the folder
    /// whose header it is.
    fn expect_named(&self, file: &Path, action: &str) {
        self.expect_named_in(&self.complaints(), file, action);
        self.expect_named_in(&self.faults(), file, &format!("verify --all: {action}"));
    }

    fn expect_named_in(&self, complaints: &str, file: &Path, action: &str) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let folder = file.parent().unwrap().file_name().map(|folder| folder.to_str().unwrap());
        let is_named = complaints.contains(name)
            && folder.is_none_or(|folder| {
                // Objects and receipts are named by themselves; other files belong to a backup.
                !file.starts_with("backups") || complaints.contains(folder)
            });
        assert!(is_named, "{action} {}: {complaints:?}", file.display());
    }
}

#[test]
fn an_undamaged_repository_has_no_complaints() {
    for protection in Protection::ALL {
        assert_eq!(Damaged::new(protection).complaints(), "");
        assert_eq!(Damaged::new(protection).faults(), "");
    }
}

#[test]
fn every_flipped_byte_is_detected_and_the_file_named() {
    flip_every_byte(Protection::Plain);
}

#[test]
fn every_flipped_byte_of_an_encrypted_repository_is_detected_and_the_file_named() {
    flip_every_byte(Protection::Encrypted);
}

fn flip_every_byte(protection: Protection) {
    let damaged = Damaged::new(protection);
    let (mut tried, mut ignored) = (0, 0);
    for file in damaged.files() {
        let whole = damaged.read(&file);
        let stride = whole.len().div_ceil(POSITIONS);
        // The ends are where the formats have their marks.
        let ends = (0..whole.len().min(16)).chain(whole.len().saturating_sub(16)..whole.len());
        for at in ends.chain((0..whole.len()).step_by(stride)) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            damaged.write(&file, &changed);
            tried += 1;
            if protection == Protection::Plain
                && file.starts_with("objects")
                && damaged.complaints().is_empty()
            {
                assert_eq!(damaged.faults(), "");
                assert_content_unchanged(&changed, &whole, &file, at);
                ignored += 1;
            } else {
                damaged.expect_named(&file, &format!("byte {at} flipped in"));
            }
        }
        damaged.write(&file, &whole);
    }
    // Compressed data has few bits that nothing depends on.
    assert!(ignored * 50 < tried, "{ignored} of {tried} flipped bits change nothing");
}

fn assert_content_unchanged(changed: &[u8], whole: &[u8], file: &Path, at: usize) {
    let unpacked = |bytes: &[u8]| zstd::decode_all(bytes).unwrap();
    assert!(unpacked(changed) == unpacked(whole), "byte {at} flipped in {}", file.display());
}

#[test]
fn every_truncated_emptied_or_lengthened_file_is_detected_and_named() {
    cut_and_lengthen_every_file(Protection::Plain);
}

#[test]
fn every_truncated_emptied_or_lengthened_file_of_an_encrypted_repository_is_detected_and_named() {
    cut_and_lengthen_every_file(Protection::Encrypted);
}

fn cut_and_lengthen_every_file(protection: Protection) {
    let damaged = Damaged::new(protection);
    for file in damaged.files() {
        let whole = damaged.read(&file);
        let longer = [whole.as_slice(), b"\n"].concat();
        let cases = [
            ("emptied", &whole[..0]),
            ("cut in half", &whole[..whole.len() / 2]),
            ("cut by one byte", &whole[..whole.len() - 1]),
            ("lengthened", &longer),
        ];
        for (action, bytes) in cases {
            damaged.write(&file, bytes);
            damaged.expect_named(&file, action);
        }
        damaged.write(&file, &whole);
    }
}

#[test]
fn every_removed_file_is_detected_and_named() {
    remove_every_file(Protection::Plain);
}

#[test]
fn every_removed_file_of_an_encrypted_repository_is_detected_and_named() {
    remove_every_file(Protection::Encrypted);
}

fn remove_every_file(protection: Protection) {
    let damaged = Damaged::new(protection);
    for file in damaged.files().iter().filter(|file| !file.starts_with("receipts")) {
        let whole = damaged.read(file);
        fs::remove_file(damaged.root().join(file)).unwrap();
        if file.ends_with("backup.json") {
            let folder = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
            assert!(damaged.complaints().contains(folder), "removed {}", file.display());
            assert!(damaged.faults().contains(folder), "verify --all: removed {}", file.display());
        } else {
            damaged.expect_named(file, "removed");
        }
        damaged.write(file, &whole);
    }
}

#[test]
fn every_two_swapped_files_are_detected_and_named() {
    swap_every_two_files(Protection::Plain);
}

#[test]
fn every_two_swapped_files_of_an_encrypted_repository_are_detected_and_named() {
    swap_every_two_files(Protection::Encrypted);
}

fn swap_every_two_files(protection: Protection) {
    let damaged = Damaged::new(protection);
    let files = damaged.files();
    for (index, one) in files.iter().enumerate() {
        // With its neighbour, whatever that is, and with every later file of the same kind.
        let later = files[index + 1..].iter().enumerate();
        let others = later.filter(|(distance, other)| *distance == 0 || kind(other) == kind(one));
        for (_, other) in others {
            let (content, other_content) = (damaged.read(one), damaged.read(other));
            if content == other_content {
                continue;
            }
            damaged.write(one, &other_content);
            damaged.write(other, &content);
            for complaints in [damaged.complaints(), damaged.faults()] {
                assert!(
                    named(&complaints, one, other),
                    "{} swapped with {}: {complaints}",
                    one.display(),
                    other.display()
                );
            }
            damaged.write(one, &content);
            damaged.write(other, &other_content);
        }
    }
}

/// Files of the same kind have the same format.
fn kind(file: &Path) -> &str {
    let name = file.file_name().unwrap().to_str().unwrap();
    if file.starts_with("objects") { "object" } else { name }
}

/// Whether other files are looked at only when this one is good, and how early.
fn rank(file: &Path) -> u8 {
    match file.file_name().unwrap().to_str().unwrap() {
        "pgstow.json" => 0,
        "backup.json" => 1,
        "manifest.json.zst" | "manifest.json.zst.age" => 2,
        _ => 3,
    }
}

/// Both must be named; but what only a damaged header or manifest leads to is not looked at.
fn named(complaints: &str, one: &Path, other: &Path) -> bool {
    let is_named = |file: &Path| complaints.contains(file.file_name().unwrap().to_str().unwrap());
    match rank(one).cmp(&rank(other)) {
        Ordering::Less => is_named(one),
        Ordering::Greater => is_named(other),
        Ordering::Equal => is_named(one) && is_named(other),
    }
}

//! Shows that a backup in the repository is good: header, manifest, files, objects.
//!
//! What is wrong becomes a line of the report that names it; only an interrupt ends it early.

mod content;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::archive;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::layout::{CATALOG_FILE, OBJECTS_LIST, objects_list, stored_name};
use crate::repository::format::manifest::{Manifest, Object, Sections};

const SCHEMA_ARCHIVE: &str = "schema.dump";
const SHOWN: usize = 20;

/// What a verification found.
#[derive(Debug, Clone, serde::Serialize)]
#[must_use]
pub struct VerifyReport {
    /// The backup.
    pub backup: String,
    /// The checklist, in order.
    pub lines: Vec<VerifyLine>,
    /// Bytes of content that were read and hashed.
    pub read_bytes: u64,
}

/// One line of the checklist.
#[derive(Debug, Clone, serde::Serialize)]
pub struct VerifyLine {
    /// What was checked, such as `manifest` or `objects`.
    pub what: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was found, naming damaged or missing files.
    pub found: String,
}

impl VerifyReport {
    /// Whether every line passed.
    pub fn is_good(&self) -> bool {
        self.lines.iter().all(|line| line.passed)
    }

    fn add(&mut self, what: &str, outcome: std::result::Result<String, String>) {
        let passed = outcome.is_ok();
        let found = outcome.unwrap_or_else(|fault| fault);
        self.lines.push(VerifyLine { what: what.to_owned(), passed, found });
    }
}

/// Checks one backup: header, manifest, files of its folder, archive readable, every object
/// present with its size; with `read_data`, every byte of every object and the rows of its chunks.
///
/// Lines, in order: `header`, `manifest`, `files`, `object list`, `schema archive`, `catalog`,
/// `objects`, and with `read_data` `rows`. Without a readable manifest the list ends there.
///
/// # Errors
/// Interrupted, or no key opens the manifest: damage, and a store that cannot be read, are lines of
/// the report.
pub fn verify(
    repository: &Repository,
    header: &Header,
    read_data: bool,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<VerifyReport> {
    let mut report = VerifyReport { backup: header.id.to_string(), lines: Vec::new(), read_bytes: 0 };
    monitor.event(Event::Phase { name: "header and manifest" });
    report.add("header", check_header(repository, header));
    let manifest = match repository.manifest(header) {
        Ok(manifest) => manifest,
        // Nothing is known to be wrong.
        Err(error) if error.kind() == ErrorKind::Key => return Err(error),
        Err(error) => {
            let fault = format!("{}; without it nothing more can be checked", in_words(&error));
            report.add("manifest", Err(fault));
            return Ok(report);
        }
    };
    report.add("manifest", compare_with_header(&manifest, header));
    monitor.event(Event::Phase { name: "files" });
    report.add("files", check_files(repository, &manifest, interrupt)?);
    report.add("object list", check_object_list(repository, &manifest));
    report.add("schema archive", check_archive(repository, &manifest));
    report.add("catalog", check_catalog(repository, &manifest));
    monitor.event(Event::Phase { name: "objects" });
    if read_data {
        let found = content::read_all(repository, &manifest, monitor, interrupt)?;
        report.read_bytes = found.read_bytes;
        report.add("objects", found.objects);
        report.add("rows", found.rows);
    } else {
        report.add("objects", content::look_at_all(repository, &manifest, monitor, interrupt)?);
    }
    Ok(report)
}

fn check_header(repository: &Repository, header: &Header) -> std::result::Result<String, String> {
    let stored = repository.header(&header.id).map_err(|error| in_words(&error))?;
    if stored == *header {
        Ok(format!("format version {}, checksum right", header.format_version))
    } else {
        Err("it changed since it was read".to_owned())
    }
}

fn compare_with_header(manifest: &Manifest, header: &Header) -> std::result::Result<String, String> {
    let pairs = [
        ("rows", header.rows, manifest.rows()),
        ("bytes of content", header.content_bytes, manifest.content_bytes()),
        ("stored bytes", header.stored_bytes, manifest.stored_bytes()),
    ];
    match pairs.iter().find(|(_, header, manifest)| header != manifest) {
        Some((what, header, manifest)) => {
            Err(format!("the header says {header} {what}, the manifest {manifest}"))
        }
        None => Ok(format!("{} tables, {} rows", manifest.tables.len(), manifest.rows())),
    }
}

fn check_files(
    repository: &Repository,
    manifest: &Manifest,
    interrupt: &Interrupt,
) -> Result<std::result::Result<String, String>> {
    let mut faults = Vec::new();
    for file in &manifest.files {
        interrupt.check()?;
        if let Err(error) = repository.check_file(manifest, file) {
            faults.push(in_words(&error));
        }
    }
    Ok(if faults.is_empty() {
        Ok(format!("{} files, every hash right", manifest.files.len()))
    } else {
        Err(joined(&faults))
    })
}

fn check_object_list(repository: &Repository, manifest: &Manifest) -> std::result::Result<String, String> {
    let list = repository.file(manifest, OBJECTS_LIST).map_err(|error| in_words(&error))?;
    if list == objects_list(manifest.objects.iter().map(Object::name)) {
        Ok(format!("{} objects", manifest.objects.len()))
    } else {
        Err(format!("{OBJECTS_LIST} does not list the manifest's objects"))
    }
}

fn check_archive(repository: &Repository, manifest: &Manifest) -> std::result::Result<String, String> {
    if manifest.selection.sections == Sections::DataOnly && !has_file(manifest, SCHEMA_ARCHIVE) {
        return Ok("none, as the backup holds rows only".to_owned());
    }
    let archive = repository.file(manifest, SCHEMA_ARCHIVE).map_err(|error| in_words(&error))?;
    match archive::read(&archive) {
        Ok(entries) if entries.is_empty() => Err(format!("{SCHEMA_ARCHIVE} has no entries")),
        Ok(entries) => Ok(format!("{} entries", entries.len())),
        Err(error) => Err(format!("{SCHEMA_ARCHIVE} cannot be read: {}", in_words(&error))),
    }
}

fn check_catalog(repository: &Repository, manifest: &Manifest) -> std::result::Result<String, String> {
    if manifest.selection.sections == Sections::DataOnly && !has_file(manifest, CATALOG_FILE) {
        return Ok("none, as the backup holds rows only".to_owned());
    }
    let catalog = repository.catalog(manifest).map_err(|error| in_words(&error))?;
    let inventory = &catalog.inventory;
    Ok(format!("{} objects, {} privileges", inventory.items.len(), inventory.privileges.len()))
}

fn has_file(manifest: &Manifest, name: &str) -> bool {
    manifest.files.iter().any(|file| file.name == name || file.name == stored_name(name, true))
}

/// Which tables have chunks in each object, by the object's index.
fn users_of_objects(manifest: &Manifest) -> BTreeMap<u32, BTreeSet<String>> {
    let mut users: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for table in &manifest.tables {
        for chunk in &table.chunks {
            users.entry(chunk.object).or_default().insert(table.display_name());
        }
    }
    for chunk in &manifest.large_objects.chunks {
        users.entry(chunk.object).or_default().insert("large objects".to_owned());
    }
    users
}

/// Message and reason in one line.
fn in_words(error: &Error) -> String {
    match error.reason() {
        Some(reason) => format!("{}: {reason}", error.message()),
        None => error.message().to_owned(),
    }
}

/// The first of many, and how many more.
fn joined(items: &[String]) -> String {
    let mut text = items.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    if items.len() > SHOWN {
        let _ = write!(text, "; and {} more", items.len() - SHOWN);
    }
    text
}

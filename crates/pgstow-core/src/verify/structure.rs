//! The small files of one backup: header, manifest, and what the manifest proves.

use super::{Outcome, VerifyLine, joined};
use crate::archive;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::parallel;
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::layout::{
    CATALOG_FILE, OBJECTS_LIST, SCHEMA_ARCHIVE, objects_list, stored_name,
};
use crate::repository::format::manifest::{File, Manifest, Object, Sections};

/// Files up to this size are read side by side, so that memory stays bounded.
const SMALL_BYTES: u64 = 8 << 20;

/// Whether the header is there, good, and the one that is meant.
pub(super) fn check_header(repository: &Repository, header: &Header) -> Outcome {
    let stored = repository.header(&header.id).map_err(|error| error.in_one_line())?;
    if stored == *header {
        Ok(format!("format version {}, checksum right", header.format_version))
    } else {
        Err("it changed since it was read".to_owned())
    }
}

/// Whether the sums of a manifest are those of its header.
pub(super) fn compare_with_header(manifest: &Manifest, header: &Header) -> Outcome {
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

/// The lines `files`, `object list`, `schema archive` and `catalog`.
///
/// # Errors
/// Only when interrupted.
pub(super) fn check_files(
    repository: &Repository,
    manifest: &Manifest,
    interrupt: &Interrupt,
) -> Result<Vec<VerifyLine>> {
    Ok(vec![
        VerifyLine::of("files", check_hashes(repository, manifest, interrupt)?),
        VerifyLine::of("object list", check_object_list(repository, manifest)),
        VerifyLine::of("schema archive", check_archive(repository, manifest)),
        VerifyLine::of("catalog", check_catalog(repository, manifest)),
    ])
}

fn check_hashes(repository: &Repository, manifest: &Manifest, interrupt: &Interrupt) -> Result<Outcome> {
    let check = |file: &&File| repository.check_file(manifest, file).err().map(|error| error.in_one_line());
    let (small, large): (Vec<&File>, Vec<&File>) =
        manifest.files.iter().partition(|file| file.bytes <= SMALL_BYTES);
    let mut faults = parallel::for_each(&small, interrupt, check)?;
    for file in &large {
        interrupt.check()?;
        faults.push(check(file));
    }
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    Ok(if faults.is_empty() {
        Ok(format!("{} files, every hash right", manifest.files.len()))
    } else {
        Err(joined(&faults))
    })
}

fn check_object_list(repository: &Repository, manifest: &Manifest) -> Outcome {
    let list = repository.file(manifest, OBJECTS_LIST).map_err(|error| error.in_one_line())?;
    if list == objects_list(manifest.objects.iter().map(Object::name)) {
        Ok(format!("{} objects", manifest.objects.len()))
    } else {
        Err(format!("{OBJECTS_LIST} does not list the manifest's objects"))
    }
}

fn check_archive(repository: &Repository, manifest: &Manifest) -> Outcome {
    if manifest.selection.sections == Sections::DataOnly && !has_file(manifest, SCHEMA_ARCHIVE) {
        return Ok("none, as the backup holds rows only".to_owned());
    }
    let archive = repository.file(manifest, SCHEMA_ARCHIVE).map_err(|error| error.in_one_line())?;
    match archive::read(&archive) {
        Ok(entries) if entries.is_empty() => Err(format!("{SCHEMA_ARCHIVE} has no entries")),
        Ok(entries) => Ok(format!("can be listed, {} entries", entries.len())),
        Err(error) => Err(format!("{SCHEMA_ARCHIVE} cannot be read: {}", error.in_one_line())),
    }
}

fn check_catalog(repository: &Repository, manifest: &Manifest) -> Outcome {
    if manifest.selection.sections == Sections::DataOnly && !has_file(manifest, CATALOG_FILE) {
        return Ok("none, as the backup holds rows only".to_owned());
    }
    let catalog = repository.catalog(manifest).map_err(|error| error.in_one_line())?;
    let inventory = &catalog.inventory;
    Ok(format!("{} objects, {} privileges", inventory.items.len(), inventory.privileges.len()))
}

fn has_file(manifest: &Manifest, name: &str) -> bool {
    manifest.files.iter().any(|file| file.name == name || file.name == stored_name(name, true))
}

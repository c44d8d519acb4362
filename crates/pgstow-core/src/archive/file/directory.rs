//! Dumps in directory format (`pg_backup_directory.c`): `toc.dat`, a file for the rows of each table,
//! lists of large objects and a file for each of those; any of them compressed by itself.
//!
//! A name in the table of contents is used only if it is one that pg_dump gives: a dump leads to no
//! file outside of it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::{Block, Part, Seen, Visit, cannot_read, decoded, drain, number_in};
use crate::archive::compressed::Compression;
use crate::archive::damaged;
use crate::archive::toc::{LIMIT_BYTES, Toc, unreadable};
use crate::error::Result;

/// What pg_dump adds to the names of compressed files.
const ENDINGS: [&str; 4] = ["", ".gz", ".lz4", ".zst"];

/// The file of that name, or the one that it was compressed to.
pub(super) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    ENDINGS.iter().map(|ending| folder.join(format!("{name}{ending}"))).find(|path| path.is_file())
}

/// # Errors
/// It cannot be read or is damaged.
pub(super) fn toc(folder: &Path) -> Result<Toc> {
    Toc::read(&mut open(folder, "toc.dat")?)
}

/// Reads all data, in the order of the entries.
///
/// # Errors
/// It is damaged or a file is missing; those of `visit`.
pub(super) fn blocks(folder: &Path, seen: &mut Seen<'_>, visit: &mut Visit<'_>) -> Result<()> {
    let toc = seen.toc;
    for (entry, raw) in toc.entries.iter().enumerate().filter(|(_, raw)| raw.has_data) {
        match raw.kind() {
            "TABLE DATA" => {
                if number_in(&raw.file, "", ".dat").is_none() {
                    return Err(damaged(format!("{:?} is not how pg_dump names a file of rows", raw.file)));
                }
                one(folder, &raw.file, entry, Part::Rows, visit)?;
            }
            "BLOBS" => large_objects(folder, &raw.file, entry, visit)?,
            _ => continue,
        }
        seen.note(entry)?;
    }
    Ok(())
}

fn large_objects(folder: &Path, list: &str, entry: usize, visit: &mut Visit<'_>) -> Result<()> {
    // Before 12, pg_dump named a file of rows here that it never wrote.
    let list = if number_in(list, "", ".dat").is_some() { "blobs.toc" } else { list };
    if list != "blobs.toc" && number_in(list, "blobs_", ".toc").is_none() {
        return Err(damaged(format!("{list:?} is not how pg_dump names a list of large objects")));
    }
    let mut text = String::new();
    open(folder, list)?.take(LIMIT_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    for line in text.lines() {
        let read = line.split_once(' ').and_then(|(oid, name)| Some((oid.parse().ok()?, name)));
        match read {
            Some((oid, name)) if number_in(name, "blob_", ".dat") == Some(oid) => {
                one(folder, name, entry, Part::LargeObject(oid), visit)?;
            }
            _ => return Err(damaged(format!("{list} holds a line that names no large object: {line:?}"))),
        }
    }
    Ok(())
}

fn one(folder: &Path, name: &str, entry: usize, part: Part, visit: &mut Visit<'_>) -> Result<()> {
    let mut data = open(folder, name)?;
    visit(Block { entry, part, data: &mut data })?;
    drain(&mut data).map_err(|error| error.context(name))
}

fn open(folder: &Path, name: &str) -> Result<Box<dyn Read>> {
    let Some(path) = find(folder, name) else {
        return Err(damaged(format!("its file {name} is not there")));
    };
    let compression = match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Compression::Gzip,
        Some("lz4") => Compression::Lz4,
        Some("zst") => Compression::Zstd,
        _ => Compression::None,
    };
    let file = File::open(&path).map_err(|error| cannot_read(&path, error))?;
    let content = decoded(file, compression).map_err(|error| cannot_read(&path, error))?;
    Ok(Box::new(BufReader::new(content)))
}

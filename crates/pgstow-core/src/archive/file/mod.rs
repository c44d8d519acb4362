//! A file of pg_dump: which of its formats it has, and its data block by block, read forward only.
//!
//! Custom archives, directories and tar files give their rows and large objects as streams
//! ([`Block`]); plain SQL is read by [`super::sql`]. Any of them but a directory may be compressed as a
//! whole. Files are recognised by what they hold, never by their names.

mod custom;
mod directory;
mod tar;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::compressed::Compression;
use super::input::Input;
use super::toc::Toc;
use crate::error::{Error, Result};

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Custom,
    Directory,
    Tar,
    Plain,
}

/// A file of pg_dump.
#[derive(Debug, Clone)]
pub(crate) struct DumpFile {
    path: PathBuf,
    pub(crate) format: Format,
    /// Of the file as a whole.
    pub(crate) compression: Compression,
}

/// What a block of data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All rows of an entry.
    Rows,
    /// The bytes of a large object.
    LargeObject(u32),
}

/// Data of one entry.
pub(crate) struct Block<'b> {
    /// Index of the entry in the table of contents.
    pub(crate) entry: usize,
    pub(crate) part: Part,
    pub(crate) data: &'b mut dyn Read,
}

/// Takes blocks in the order of the file; what it leaves of one is passed over.
pub(crate) type Visit<'v> = dyn FnMut(Block<'_>) -> Result<()> + 'v;

impl DumpFile {
    /// Looks at what the file holds.
    ///
    /// # Errors
    /// It is not there or cannot be read, or is none of the formats.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|error| cannot_read(path, error))?;
        if metadata.is_dir() {
            if directory::find(path, "toc.dat").is_none() {
                return Err(Error::failed(format!("{} is no dump of pg_dump", path.display()))
                    .why("a dump in directory format holds a file toc.dat"));
            }
            let format = Format::Directory;
            return Ok(Self { path: path.to_owned(), format, compression: Compression::None });
        }
        let mut file = Self { path: path.to_owned(), format: Format::Plain, compression: Compression::None };
        file.compression = Compression::of(&file.first_bytes()?);
        let first = file.first_bytes()?;
        file.format = recognise(&first).map_err(|why| {
            Error::failed(format!("{} is no dump of pg_dump", path.display()))
                .why(why)
                .hint("what pg_dump writes is read: custom (-Fc), directory (-Fd), tar (-Ft) and plain SQL")
        })?;
        Ok(file)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn first_bytes(&self) -> Result<Vec<u8>> {
        let mut first = Vec::new();
        let mut content = self.content()?;
        content
            .by_ref()
            .take(4096)
            .read_to_end(&mut first)
            .map_err(|error| cannot_read(&self.path, error))?;
        Ok(first)
    }

    /// The file's content, from its beginning.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn content(&self) -> Result<Box<dyn Read>> {
        let file = File::open(&self.path).map_err(|error| cannot_read(&self.path, error))?;
        self.compression.decoder(file).map_err(|error| cannot_read(&self.path, error))
    }

    /// The same with a look ahead.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn input(&self) -> Result<Input<'static>> {
        Ok(Input::new(self.content()?))
    }

    /// The table of contents of an archive.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    pub(crate) fn toc(&self) -> Result<Toc> {
        let toc = match self.format {
            Format::Directory => directory::toc(&self.path),
            Format::Tar => tar::Tar::new(self.content()?).toc(),
            Format::Custom | Format::Plain => Toc::read(&mut BufReader::new(self.content()?)),
        };
        toc.map_err(|error| error.context(self.path.display()))
    }

    /// Passes all data of an archive on; `toc` is its table of contents.
    ///
    /// # Errors
    /// It is damaged or incomplete; those of `visit`.
    pub(crate) fn blocks(&self, toc: &Toc, visit: &mut Visit<'_>) -> Result<()> {
        let mut seen = Seen { toc, ids: vec![false; toc.entries.len()] };
        let read = match self.format {
            Format::Directory => directory::blocks(&self.path, &mut seen, visit),
            Format::Tar => tar::Tar::new(self.content()?).blocks(&mut seen, visit),
            Format::Custom | Format::Plain => {
                custom::blocks(&mut BufReader::new(self.content()?), &mut seen, visit)
            }
        };
        read.and_then(|()| seen.check()).map_err(|error| error.context(self.path.display()))
    }
}

/// Which entries have shown their data.
struct Seen<'t> {
    toc: &'t Toc,
    ids: Vec<bool>,
}

impl Seen<'_> {
    /// Notes that data of the entry is there. Large objects come in several blocks.
    fn note(&mut self, entry: usize) -> Result<()> {
        match self.ids.get_mut(entry) {
            Some(seen) if !*seen => {
                *seen = true;
                Ok(())
            }
            _ => Err(super::damaged("it holds the data of one entry twice")),
        }
    }

    fn check(&self) -> Result<()> {
        let missing = self.toc.entries.iter().zip(&self.ids).find(|(entry, seen)| {
            entry.has_data && !**seen && matches!(entry.kind(), "TABLE DATA" | "BLOBS")
        });
        match missing {
            None => Ok(()),
            Some((entry, _)) => Err(super::damaged(format!(
                "the data of entry {} ({}) is not there: the dump is cut off",
                entry.id(),
                entry.kind()
            ))),
        }
    }
}

/// Reads the rest of a block, so that damage in it shows and the next one is found.
fn drain(data: &mut dyn Read) -> Result<()> {
    std::io::copy(data, &mut std::io::sink()).map(drop).map_err(super::toc::unreadable)
}

/// A compressed stream that may hold nothing at all, not even an empty frame.
fn decoded<'r>(source: impl Read + 'r, compression: Compression) -> std::io::Result<Box<dyn Read + 'r>> {
    let mut source = BufReader::new(source);
    if std::io::BufRead::fill_buf(&mut source)?.is_empty() {
        return Ok(Box::new(std::io::empty()));
    }
    compression.decoder(source)
}

fn recognise(first: &[u8]) -> Result<Format, String> {
    if first.starts_with(b"PGDMP") {
        return Ok(Format::Custom);
    }
    if first.get(257..262) == Some(b"ustar") || first.starts_with(b"toc.dat\0") {
        return Ok(Format::Tar);
    }
    if first.is_empty() {
        return Err("it is empty".to_owned());
    }
    if first.starts_with(&[0xff, 0xfe]) || first.starts_with(&[0xfe, 0xff]) {
        return Err("it is in UTF-16: write it anew in UTF-8".to_owned());
    }
    if Compression::of(first) != Compression::None {
        return Err("it is compressed twice".to_owned());
    }
    if first.contains(&0) {
        return Err("it is neither an archive nor text".to_owned());
    }
    Ok(Format::Plain)
}

fn cannot_read(path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => crate::error::ErrorKind::NotFound,
        _ => crate::error::ErrorKind::Failed,
    };
    Error::new(kind, format!("cannot read {}", path.display())).source(error)
}

/// The number in a name such as `blob_16385.dat`.
fn number_in(name: &str, before: &str, after: &str) -> Option<u32> {
    let digits = name.strip_prefix(before)?.strip_suffix(after)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_recognised_by_what_they_hold() {
        let mut tar = vec![b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(recognise(b"PGDMP\x01"), Ok(Format::Custom));
        assert_eq!(recognise(&tar), Ok(Format::Tar));
        assert_eq!(recognise(b"--\n-- PostgreSQL"), Ok(Format::Plain));
        for other in [b"".as_slice(), b"a\0b", b"\xff\xfeS\0", b"\x1f\x8b\x08"] {
            assert!(recognise(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn only_names_that_pg_dump_gives_are_names_of_data() {
        assert_eq!(number_in("blob_16385.dat", "blob_", ".dat"), Some(16_385));
        for name in ["blob_.dat", "blob_../x.dat", "blob_1", "../blob_1.dat", "blob_+1.dat"] {
            assert_eq!(number_in(name, "blob_", ".dat"), None, "{name}");
        }
    }
}

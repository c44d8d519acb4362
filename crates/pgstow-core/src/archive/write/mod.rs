//! Writing archives of pg_dump, as a stream: nothing but the table of contents is held in memory.
//!
//! The version is 1.14, which every `pg_restore` since PostgreSQL 12 reads, whatever version of pg_dump the
//! definitions came from. What later versions added is either a choice of compression or said in another
//! way here. Where bytes go is the caller's business: these modules know formats alone.

pub mod custom;
pub mod directory;
pub mod tar;

mod toc;

use std::io::{self, Write};

use super::Entry;

/// What ends the rows of a table, as pg_dump writes it.
pub const END_OF_ROWS: &[u8] = b"\\.\n\n\n";
/// Compressed bytes that are gathered before they become a block of an archive.
const BLOCK_BYTES: usize = 64 * 1024;

/// How data is packed in the formats that pack it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// zlib's default level, as pg_dump's.
    #[default]
    Gzip,
    /// Not at all.
    None,
}

/// The facts at the beginning of an archive.
#[derive(Debug, Clone)]
pub struct Head {
    /// When the data was as it is in the archive.
    pub taken_at: jiff::Timestamp,
    /// Name of the database.
    pub database: String,
    /// Version of the server it was read from.
    pub server_version: String,
    /// Version of the pg_dump that wrote the definitions.
    pub dump_version: String,
}

/// An entry of the table of contents, with what only archives with data have.
#[derive(Debug, Clone)]
pub struct Item {
    /// The entry.
    pub entry: Entry,
    /// `COPY … FROM stdin;` of a table's rows.
    pub copy_statement: Option<String>,
    /// What follows the table of contents for this entry.
    pub data: Data,
}

/// What an entry has beside its statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    None,
    /// The rows of a table: so many bytes of COPY text, without the end mark.
    Rows(u64),
    /// All large objects; the length of their list in a separate file.
    LargeObjects,
}

impl Item {
    /// An entry that is its statements alone.
    pub fn of(entry: Entry) -> Self {
        Self { entry, copy_statement: None, data: Data::None }
    }

    /// File with the data, in the formats that are several files.
    fn file_name(&self) -> Option<String> {
        match self.data {
            Data::None => None,
            Data::Rows(_) => Some(format!("{}.dat", self.entry.id)),
            Data::LargeObjects => Some(LARGE_OBJECT_LIST.to_owned()),
        }
    }
}

/// The list of large objects, in the formats that are several files.
const LARGE_OBJECT_LIST: &str = "blobs.toc";

fn large_object_file(oid: u32) -> String {
    format!("blob_{oid}.dat")
}

/// Takes the items of an archive one after the other, in the order of its table of contents. The data
/// of an item is one run of [`ArchiveWriter::data`] for rows, and one for each large object.
pub trait ArchiveWriter {
    /// Begins the data of an item.
    ///
    /// # Errors
    /// The output's, as in all methods.
    fn begin(&mut self, item: &Item) -> io::Result<()>;

    /// Begins a large object of so many bytes.
    ///
    /// # Errors
    /// As above.
    fn begin_large_object(&mut self, oid: u32, bytes: u64) -> io::Result<()>;

    /// More of what was begun last.
    ///
    /// # Errors
    /// As above.
    fn data(&mut self, piece: &[u8]) -> io::Result<()>;

    /// Ends a large object.
    ///
    /// # Errors
    /// As above.
    fn end_large_object(&mut self) -> io::Result<()>;

    /// Ends the data of an item.
    ///
    /// # Errors
    /// As above.
    fn end(&mut self, item: &Item) -> io::Result<()>;
}

/// A writer that counts.
pub struct Counting<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Counting<W> {
    /// Nothing counted yet.
    pub fn new(inner: W) -> Self {
        Self { inner, bytes: 0 }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it writes to.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.bytes += u64::try_from(written).expect("a usize has at most 64 bits");
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

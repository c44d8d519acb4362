//! The head and the table of contents of an archive of pg_dump, from a stream.
//!
//! Layout (`pg_backup_archiver.c`, `ReadHead` and `ReadToc`): `PGDMP`, version (3 bytes), size of
//! integers, size of offsets, format, compression (one byte from 1.15 on, an integer before),
//! 7 integers of time, 3 strings, the number of entries, the entries. An integer is a sign byte and
//! the magnitude, least significant byte first; a string is its length, -1 for none, and its bytes.
//! No number is believed: memory grows with the bytes that are really there.

use std::io::Read;

use super::compressed::Compression;
use super::{Entry, Section, damaged};
use crate::error::{Error, Result};

/// Longest table of contents. A definition of ten thousand tables takes about 50 MB.
pub(super) const LIMIT_BYTES: u64 = 1 << 30;

/// How an archive is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Custom,
    /// A tar file, or a directory: their tables of contents are the same.
    Files,
}

/// What an archive says of itself, and its entries as they are written: in its own encoding.
#[derive(Debug, Clone)]
pub(crate) struct Toc {
    /// Minor version: 12 to 16.
    pub(crate) version: u8,
    /// Of the blocks of a custom archive.
    pub(crate) compression: Compression,
    /// When it was made, in the local time of that place: `2026-11-20 02:00:00`.
    pub(crate) created: String,
    pub(crate) database: String,
    /// Of the server: `15.18 (Debian 15.18-0+deb12u1)`.
    pub(crate) server_version: String,
    /// Of pg_dump.
    pub(crate) dump_version: String,
    pub(crate) entries: Vec<RawEntry>,
}

/// An entry with its strings as bytes.
#[derive(Debug, Clone)]
pub(crate) struct RawEntry {
    entry: Entry,
    /// Tag, schema, owner, tablespace, access method, definition, drop statement, COPY statement.
    texts: [Option<Vec<u8>>; 8],
    /// Whether a block or file of data belongs to it.
    pub(crate) has_data: bool,
    /// Name of its file, in archives made of files.
    pub(crate) file: String,
}

impl RawEntry {
    pub(crate) fn id(&self) -> i32 {
        self.entry.id
    }

    pub(crate) fn kind(&self) -> &str {
        &self.entry.kind
    }

    /// The COPY statement of its rows, as it is written; empty where they are INSERTs.
    pub(crate) fn copy_statement(&self) -> &[u8] {
        self.texts[7].as_deref().unwrap_or_default()
    }
}

/// Turns text of the archive's encoding into UTF-8, many at once.
pub(crate) type Decode<'d> = dyn FnMut(&str, &[&[u8]]) -> Result<Vec<String>> + 'd;

impl Toc {
    /// The encoding of all text in the archive, as its first entries say.
    pub(crate) fn encoding(&self) -> String {
        let entry = self.entries.iter().find(|entry| entry.entry.kind == "ENCODING");
        let definition = entry.and_then(|entry| entry.texts[5].as_deref()).unwrap_or_default();
        let mut quoted = definition.split(|byte| *byte == b'\'');
        let name = quoted.nth(1).map(String::from_utf8_lossy);
        name.map_or_else(|| "UTF8".to_owned(), |name| name.into_owned())
    }

    /// The entries in UTF-8, and the COPY statement of each. `decode` is asked about what is neither ASCII
    /// nor in UTF-8 anyway.
    ///
    /// # Errors
    /// Text that is not of its encoding.
    pub(crate) fn entries(&self, decode: &mut Decode<'_>) -> Result<Vec<(Entry, String)>> {
        let encoding = self.encoding();
        let is_utf8 = matches!(encoding.as_str(), "UTF8" | "UNICODE" | "SQL_ASCII");
        let foreign: Vec<&[u8]> = self
            .entries
            .iter()
            .flat_map(|entry| entry.texts.iter().flatten().map(Vec::as_slice))
            .filter(|text| !is_utf8 && !text.is_ascii())
            .collect();
        let decoded = if foreign.is_empty() { Vec::new() } else { decode(&encoding, &foreign)? };
        let mut decoded = decoded.into_iter();
        self.entries
            .iter()
            .map(|raw| {
                let mut texts = raw.texts.iter().map(|text| match text {
                    None => Ok(None),
                    Some(text) if is_utf8 || text.is_ascii() => {
                        String::from_utf8(text.clone()).map(Some).map_err(|_| {
                            damaged(format!("entry {} holds text that is not {encoding}", raw.id()))
                        })
                    }
                    Some(_) => Ok(decoded.next()),
                });
                let mut next = || texts.next().unwrap_or(Ok(None));
                let some = |text: Option<String>| text.filter(|text| !text.is_empty());
                let entry = Entry {
                    tag: next()?.unwrap_or_default(),
                    schema: some(next()?),
                    owner: some(next()?),
                    tablespace: next()?,
                    access_method: some(next()?),
                    definition: next()?.unwrap_or_default(),
                    drop_statement: next()?.unwrap_or_default(),
                    ..raw.entry.clone()
                };
                Ok((entry, next()?.unwrap_or_default()))
            })
            .collect()
    }

    /// Reads head and table of contents, and leaves the reader behind them.
    ///
    /// # Errors
    /// When it is no archive of a known version, or is damaged.
    pub(crate) fn read(source: &mut dyn Read) -> Result<Self> {
        let mut bytes = Bytes { source: source.take(LIMIT_BYTES), integer_bytes: 4, offset_bytes: 8 };
        if bytes.array::<5>()? != *b"PGDMP" {
            return Err(damaged("it does not begin as an archive of pg_dump does"));
        }
        let [major, version, _] = bytes.array::<3>()?;
        if major != 1 || !(12..=16).contains(&version) {
            return Err(Error::failed(format!("archive version {major}.{version} is not one of 1.12 to 1.16"))
                .hint("it is older than PostgreSQL 9.6 or newer than 18: restore it with the pg_restore of that version"));
        }
        let [integer_bytes, offset_bytes, format] = bytes.array::<3>()?;
        if integer_bytes != 4 || !matches!(offset_bytes, 4 | 8) {
            return Err(damaged("its integers are not of 4 bytes, or its offsets neither of 4 nor 8"));
        }
        bytes.offset_bytes = usize::from(offset_bytes);
        let layout = match format {
            1 => Layout::Custom,
            3 | 5 => Layout::Files,
            other => return Err(damaged(format!("its format is {other}, which is unknown"))),
        };
        let compression = if version >= 15 {
            match bytes.array::<1>()? {
                [0] => Compression::None,
                [1] => Compression::Zlib,
                [2] => Compression::Lz4,
                [3] => Compression::Zstd,
                [other] => return Err(damaged(format!("its compression is {other}, which is unknown"))),
            }
        } else if bytes.integer()? == 0 {
            Compression::None
        } else {
            Compression::Zlib
        };
        let mut time = [0; 7];
        for part in &mut time {
            *part = bytes.integer()?;
        }
        let [second, minute, hour, day, month, year, _] = time.map(i64::from);
        let mut line = || -> Result<String> {
            Ok(String::from_utf8_lossy(&bytes.string()?.unwrap_or_default()).into_owned())
        };
        let (database, server_version, dump_version) = (line()?, line()?, line()?);
        let count = bytes.integer()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(bytes.entry(version, layout)?);
        }
        check_ids(&entries)?;
        Ok(Self {
            version,
            compression,
            created: format!(
                "{:04}-{:02}-{day:02} {hour:02}:{minute:02}:{second:02}",
                year + 1900,
                month + 1
            ),
            database,
            server_version,
            dump_version,
            entries,
        })
    }
}

fn check_ids(entries: &[RawEntry]) -> Result<()> {
    let mut ids: Vec<i32> = entries.iter().map(RawEntry::id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(damaged("two entries have the same id"));
    }
    Ok(())
}

struct Bytes<'s> {
    source: std::io::Take<&'s mut dyn Read>,
    integer_bytes: usize,
    offset_bytes: usize,
}

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        self.source.read_exact(&mut array).map_err(unreadable)?;
        Ok(array)
    }

    fn integer(&mut self) -> Result<i32> {
        let [sign] = self.array::<1>()?;
        let mut magnitude = 0_i64;
        for place in 0..self.integer_bytes {
            let [byte] = self.array::<1>()?;
            magnitude |= i64::from(byte) << (8 * place);
        }
        let value = if sign == 0 { magnitude } else { -magnitude };
        i32::try_from(value).map_err(|_| damaged(format!("it holds the number {value}")))
    }

    fn string(&mut self) -> Result<Option<Vec<u8>>> {
        let Ok(length) = u64::try_from(self.integer()?) else { return Ok(None) };
        let mut text = Vec::new();
        // Grows with what is there, not with what is claimed.
        let read = (&mut self.source).take(length).read_to_end(&mut text).map_err(unreadable)?;
        if read as u64 != length {
            return Err(damaged("it ends within its table of contents"));
        }
        Ok(Some(text))
    }

    fn word(&mut self) -> Result<String> {
        String::from_utf8(self.string()?.unwrap_or_default()).map_err(|_| damaged("a word of it is no text"))
    }

    fn number(&mut self, id: i32) -> Result<u32> {
        self.word()?.parse().map_err(|_| damaged(format!("entry {id} has an OID that is no number")))
    }

    /// One entry; `pg_backup_archiver.c`, `ReadToc`.
    fn entry(&mut self, version: u8, layout: Layout) -> Result<RawEntry> {
        let id = self.integer()?;
        let had_dumper = self.integer()? != 0;
        let (catalog_oid, oid) = (self.number(id)?, self.number(id)?);
        let tag = self.string()?;
        let kind = self.word()?;
        let section = match self.integer()? {
            2 => Section::PreData,
            3 => Section::Data,
            4 => Section::PostData,
            _ => Section::None,
        };
        let (definition, drop_statement, copy_statement) = (self.string()?, self.string()?, self.string()?);
        let (schema, tablespace) = (self.string()?, self.string()?);
        let access_method = if version >= 14 { self.string()? } else { None };
        let relation_kind =
            if version >= 16 { u32::try_from(self.integer()?).ok().and_then(char::from_u32) } else { None };
        let owner = self.string()?;
        let with_oids = self.word()?;
        if with_oids == "true" {
            let name = String::from_utf8_lossy(tag.as_deref().unwrap_or_default()).into_owned();
            return Err(Error::refused(format!("table {name:?} is one WITH OIDS"))
                .why("PostgreSQL 12 and newer have no such tables")
                .hint("ALTER TABLE … SET WITHOUT OIDS at the source, and dump it again"));
        }
        let mut dependencies = Vec::new();
        while let Some(text) = self.string()? {
            let text = String::from_utf8_lossy(&text).into_owned();
            let other =
                text.parse().map_err(|_| damaged(format!("entry {id} depends on {text:?}, no number")))?;
            dependencies.push(other);
        }
        let (has_data, file) = self.place(layout, had_dumper)?;
        Ok(RawEntry {
            entry: Entry {
                id,
                kind,
                catalog_oid,
                oid,
                tag: String::new(),
                schema: None,
                owner: None,
                tablespace: None,
                access_method: None,
                relation_kind: relation_kind.filter(|kind| *kind != '\0'),
                definition: String::new(),
                drop_statement: String::new(),
                dependencies,
                section,
            },
            texts: [
                tag,
                schema,
                owner,
                tablespace,
                access_method,
                definition,
                drop_statement,
                copy_statement,
            ],
            has_data,
            file,
        })
    }

    /// Whether an entry has data, and the name of its file.
    fn place(&mut self, layout: Layout, had_dumper: bool) -> Result<(bool, String)> {
        if layout == Layout::Files {
            let file = self.word()?;
            return Ok((!file.is_empty(), file));
        }
        let [state] = self.array::<1>()?;
        for _ in 0..self.offset_bytes {
            self.array::<1>()?;
        }
        match state {
            1 | 2 => Ok((had_dumper, String::new())),
            3 => Ok((false, String::new())),
            other => Err(damaged(format!("an entry's data is in state {other}, which is unknown"))),
        }
    }
}

/// What a failed read of an archive means.
pub(super) fn unreadable(error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => damaged("it ends too early"),
        _ => Error::from_io(error, "the archive cannot be read"),
    }
}

//! Archives of pg_dump: reading their table of contents.
//!
//! Only definitions are taken from archives; rows travel as chunks. Archives come out of the
//! repository checked against their hash, and still nothing in them is trusted to be well formed:
//! counts are compared with the archive's length before anything is allocated.

mod preamble;

use std::io::Cursor;

use libpgdump::CustomReader;

use crate::error::{Error, Result};

/// Longest archive that is read. A definition of ten thousand tables takes about 50 MB.
const LIMIT_BYTES: usize = 1 << 30;

/// One entry of a table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// pg_dump's id, unique in the archive.
    pub id: i32,
    /// Kind in capitals, such as `TABLE`, `FK CONSTRAINT`.
    pub kind: String,
    /// OID of the catalog the object is in (`pg_class` is 1259).
    pub catalog_oid: u32,
    /// OID of the object.
    pub oid: u32,
    /// Name as pg_dump tags it.
    pub tag: String,
    /// Schema.
    pub schema: Option<String>,
    /// Owner.
    pub owner: Option<String>,
    /// Tablespace; empty means the default.
    pub tablespace: Option<String>,
    /// Table access method.
    pub access_method: Option<String>,
    /// `pg_class.relkind` of tables, from archive version 1.16 on.
    pub relation_kind: Option<char>,
    /// Statements that create the object.
    pub definition: String,
    /// Statement that drops it.
    pub drop_statement: String,
    /// Ids of entries that must come first.
    pub dependencies: Vec<i32>,
    /// Whether it comes before the data, is data, or comes after.
    pub section: Section,
}

/// pg_dump's sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are pg_dump's own")]
pub enum Section {
    None,
    PreData,
    Data,
    PostData,
}

/// Reads the table of contents of a custom-format archive (versions 1.12 to 1.16), in archive
/// order.
///
/// # Errors
/// When it is no such archive or is damaged.
pub fn read(archive: &[u8]) -> Result<Vec<Entry>> {
    if archive.len() > LIMIT_BYTES {
        return Err(damaged(format!("it is longer than {LIMIT_BYTES} bytes")));
    }
    preamble::check(archive).map_err(damaged)?;
    let reader = CustomReader::open(Cursor::new(archive))
        .map_err(|error| Error::failed("the schema archive cannot be read").source(error))?;
    let entries: Vec<Entry> = reader.entries().iter().map(entry).collect::<Result<_>>()?;
    let mut ids: Vec<i32> = entries.iter().map(|entry| entry.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(damaged("two entries have the same id"));
    }
    Ok(entries)
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::failed("the schema archive is damaged").why(reason)
}

fn entry(read: &libpgdump::Entry) -> Result<Entry> {
    let kind = read.desc.as_str().to_owned();
    let oid = |text: &str| {
        text.parse()
            .map_err(|_| damaged(format!("entry {} ({kind}) has an OID that is no number", read.dump_id)))
    };
    Ok(Entry {
        id: read.dump_id,
        catalog_oid: oid(&read.table_oid)?,
        oid: oid(&read.oid)?,
        tag: read.tag.clone().unwrap_or_default(),
        schema: read.namespace.clone().filter(|schema| !schema.is_empty()),
        owner: read.owner.clone().filter(|owner| !owner.is_empty()),
        tablespace: read.tablespace.clone(),
        access_method: read.tableam.clone().filter(|method| !method.is_empty()),
        relation_kind: read.relkind,
        definition: read.defn.clone().unwrap_or_default(),
        drop_statement: read.drop_stmt.clone().unwrap_or_default(),
        dependencies: read.dependencies.clone(),
        section: match read.section {
            libpgdump::Section::None => Section::None,
            libpgdump::Section::PreData => Section::PreData,
            libpgdump::Section::Data => Section::Data,
            libpgdump::Section::PostData => Section::PostData,
        },
        kind,
    })
}

//! What pg_dump writes: archives of definitions, as backups hold them, files that users have, and writing whole ones.
//!
//! A backup takes only definitions from an archive; its rows travel as chunks. Files (`file`) bring
//! rows along, and may be plain SQL (`sql`). Nothing in either is trusted to be well formed: no
//! number is believed before the bytes are there.

pub(crate) mod compressed;
pub(crate) mod file;
pub(crate) mod input;
pub(crate) mod sql;
pub(crate) mod toc;
pub mod write;

use crate::error::{Error, Result};
use toc::Toc;

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

/// Reads the table of contents of the schema archive of a backup (custom format, versions 1.12 to
/// 1.16), in archive order.
///
/// # Errors
/// When it is no such archive or is damaged.
pub fn read(archive: &[u8]) -> Result<Vec<Entry>> {
    read_with_version(archive).map(|(entries, _)| entries)
}

/// As [`read`], with the version of the pg_dump that wrote the archive.
///
/// # Errors
/// As there.
pub fn read_with_version(archive: &[u8]) -> Result<(Vec<Entry>, String)> {
    let in_backup = |error: Error| error.context("the schema archive of the backup");
    let toc = Toc::read(&mut &*archive).map_err(in_backup)?;
    let mut other = |encoding: &str, _: &[&[u8]]| Err(damaged(format!("its text is in {encoding}")));
    let entries = toc.entries(&mut other).map_err(in_backup)?;
    Ok((entries.into_iter().map(|(entry, _)| entry).collect(), toc.dump_version))
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::failed("the archive is damaged").why(reason)
}

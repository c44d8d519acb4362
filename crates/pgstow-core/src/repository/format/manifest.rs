//! The manifest: every table, chunk, sequence and count of one backup.
//!
//! It records facts of the source that the restore and the proof of unchanged data rest on; names
//! and numbers are PostgreSQL's. Unknown fields are ignored, so later versions may add some.

use serde::{Deserialize, Serialize};

use super::encryption::{EncryptedTo, ObjectKey};
use super::id::{BackupId, ObjectId, ObjectName};
use super::layout::FILE_LIMIT_BYTES;
use super::proof::{Proof, TableProof};
use super::{FormatError, compressed};

/// Everything one backup holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format version ([`super::FORMAT_VERSION`]).
    pub format_version: u32,
    /// The backup this manifest belongs to.
    pub backup: BackupId,
    /// The server and database as they were.
    pub source: Source,
    /// The snapshot everything was read in.
    pub snapshot: Snapshot,
    /// What was asked for.
    pub selection: Selection,
    /// Tables in the order of schema and name.
    pub tables: Vec<Table>,
    /// Sequences with their positions.
    pub sequences: Vec<Sequence>,
    /// Materialized views and whether they held rows.
    pub materialized_views: Vec<MaterializedView>,
    /// Large objects.
    pub large_objects: LargeObjects,
    /// Whom the backup is encrypted to, in an encrypted repository; as in the header, which anybody
    /// could have changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptedTo>,
    /// The key of the objects' ids, in an encrypted repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_key: Option<ObjectKey>,
    /// Objects that this backup uses; chunks refer to them by index.
    pub objects: Vec<Object>,
    /// Files of the backup's folder, the header and this manifest excepted.
    pub files: Vec<File>,
    /// What was left out although it exists, each with the reason.
    pub not_carried: Vec<NotCarried>,
    /// What lets a later backup prove that something has not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// The server and database that were backed up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `host:port` or socket path as connected to; never a password.
    pub endpoint: String,
    /// Database name.
    pub database: String,
    /// Database OID.
    pub database_oid: u32,
    /// `xmin` of its row in `pg_database`: another one when it was created anew, even with the
    /// same OID from a copy of itself, or altered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_xmin: Option<u32>,
    /// Such as `150018`.
    pub server_version_num: u32,
    /// Such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub server_version: String,
    /// `pg_control_system().system_identifier`, where the role may call it.
    pub system_identifier: Option<String>,
    /// `pg_control_checkpoint().timeline_id`, where the role may call it.
    pub timeline: Option<u32>,
    /// `pg_postmaster_start_time()`, microseconds since the Unix epoch.
    pub postmaster_started_us: i64,
    /// The server was a standby.
    pub in_recovery: bool,
    /// Database encoding, such as `UTF8`.
    pub encoding: String,
    /// `datcollate`.
    pub collate: String,
    /// `datctype`.
    pub ctype: String,
    /// Role that read the data.
    pub role: String,
}

/// The exported snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// PostgreSQL's name of it, such as `00000003-0000001B-1`.
    pub id: String,
    /// `pg_snapshot_xmin`, a 64-bit transaction id.
    pub xmin: u64,
    /// When it was taken (the server's clock).
    pub taken_at: jiff::Timestamp,
}

/// Which part of the database a backup holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sections {
    /// Definitions and rows.
    #[default]
    All,
    /// Definitions only.
    SchemaOnly,
    /// Rows only.
    DataOnly,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Definitions, rows or both.
    pub sections: Sections,
    /// `--table` patterns; empty means all.
    pub tables: Vec<String>,
    /// `--exclude-table` patterns.
    pub exclude_tables: Vec<String>,
    /// `--exclude-data` patterns.
    pub exclude_data: Vec<String>,
}

impl Selection {
    /// Whether every table is meant, with its rows.
    pub fn is_unlimited(&self) -> bool {
        self.sections != Sections::SchemaOnly && !self.is_limited()
    }

    /// Whether only chosen tables are meant, or not the rows of all of them.
    pub fn is_limited(&self) -> bool {
        [&self.tables, &self.exclude_tables, &self.exclude_data].iter().any(|patterns| !patterns.is_empty())
    }
}

/// How a table's rows are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableData {
    /// All rows, in the chunks.
    Carried,
    /// Only rows that meet an extension's condition (`pg_extension.extcondition`, may be empty):
    /// the configuration table of the named extension.
    Configuration {
        /// Name of the extension.
        extension: String,
        /// `WHERE …` or empty.
        condition: String,
    },
    /// No rows, by request (`--exclude-data`, `--schema-only`).
    Excluded,
    /// No rows, because they could not be read (unlogged on a standby).
    Unreadable,
    /// Holds no rows of its own (the root of a partition tree).
    None,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// OID at the source.
    pub oid: u32,
    /// `pg_class.relfilenode` in the snapshot; 0 for partitioned tables.
    pub filenode: u32,
    /// `pg_class.relkind`: `r` or `p`.
    pub kind: char,
    /// `pg_class.relpersistence`: `p` or `u`.
    pub persistence: char,
    /// Columns that COPY moves (no generated, no dropped ones), in order.
    pub columns: Vec<Column>,
    /// How its rows are kept.
    pub data: TableData,
    /// Restored by COPY into this table instead (schema, name): the root of its partition tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_through: Option<(String, String)>,
    /// Rows in the snapshot (0 where `data` is `Excluded`, `Unreadable` or `None`).
    pub rows: u64,
    /// COPY bytes.
    pub bytes: u64,
    /// Its rows, in the order of pages.
    pub chunks: Vec<Chunk>,
    /// What lets a later backup prove that chunks have not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<TableProof>,
}

/// A column that COPY moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name, unquoted.
    pub name: String,
    /// `format_type()`.
    pub type_name: String,
}

/// Format of COPY data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyFormat {
    /// COPY's text format, UTF-8 (raw bytes where the database is SQL_ASCII).
    #[default]
    Text,
    /// COPY's binary format with its header and trailer, one COPY a chunk. Taken for every chunk
    /// of a table as soon as one of its rows is too long for text.
    Binary,
}

/// The rows of one table in one range of heap pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Index into [`Manifest::objects`].
    pub object: u32,
    /// Where the chunk begins in the object's uncompressed content; not 0 in bundles.
    pub offset: u64,
    /// Length in the object's uncompressed content.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
    /// Text or binary.
    #[serde(default)]
    pub format: CopyFormat,
    /// First heap page.
    pub first_page: u32,
    /// Page after the last; `None` means to the end of the table.
    pub end_page: Option<u32>,
}

/// A sequence's position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// `last_value`.
    pub last_value: i64,
    /// `is_called`.
    pub is_called: bool,
}

/// A materialized view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaterializedView {
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// `relispopulated`.
    pub populated: bool,
}

/// The database's large objects; their bytes travel as COPY rows `(loid, position, data)`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjects {
    /// Each with its owner and privileges.
    pub list: Vec<LargeObject>,
    /// Rows `(loid oid, position int8, data bytea)`; a position is a byte offset.
    pub chunks: Vec<Chunk>,
}

/// One large object. Its privileges and comment are in the catalog's inventory, as
/// target `LARGE OBJECT` and kind `comment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObject {
    /// `pg_largeobject_metadata.oid`.
    pub oid: u32,
    /// Length.
    pub bytes: u64,
    /// Owner.
    pub owner: String,
    /// Its comment, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// An object this backup uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// BLAKE3 of the uncompressed content, with the manifest's key if it has one.
    pub id: ObjectId,
    /// Which copy of the content its file is ([`ObjectName`]).
    #[serde(default, skip_serializing_if = "is_first")]
    pub copy: u32,
    /// Uncompressed length.
    pub bytes: u64,
    /// Length of the stored file.
    pub stored_bytes: u64,
}

/// A file of the backup's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Name as stored, such as `schema.dump` or `schema.dump.age`.
    pub name: String,
    /// Length as stored.
    pub bytes: u64,
    /// BLAKE3 of the file as stored, 64 hex digits.
    pub hash: ObjectId,
}

/// Something that exists at the source and is not in the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCarried {
    /// Kind and name, such as `foreign table public.remote`.
    pub what: String,
    /// Why, and what would carry it.
    pub reason: String,
    /// True when the user asked for it or it never is backup material, so that the backup counts
    /// as complete (exit code 0).
    pub expected: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_first(copy: &u32) -> bool {
    *copy == 0
}

impl Object {
    /// What its file is called.
    pub fn name(&self) -> ObjectName {
        ObjectName { id: self.id, copy: self.copy }
    }
}

impl Manifest {
    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).fold(0, u64::saturating_add)
    }

    /// Uncompressed bytes of all objects.
    pub fn content_bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).fold(0, u64::saturating_add)
    }

    /// Bytes of all objects as stored.
    pub fn stored_bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.stored_bytes).fold(0, u64::saturating_add)
    }

    /// Reads the manifest of `backup`.
    ///
    /// # Errors
    /// Newer, damaged, inconsistent, or another backup's.
    pub(crate) fn from_file(file: &[u8], backup: &BackupId) -> Result<Self, FormatError> {
        let manifest: Self = compressed::from_versioned_file(file, FILE_LIMIT_BYTES)?;
        if manifest.backup != *backup {
            return Err(FormatError::Damaged(format!("it is the manifest of {}", manifest.backup)));
        }
        manifest.validate().map_err(|invalid| FormatError::Damaged(invalid.to_string()))?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testdata::{self, FORMAT_1_BACKUPS};
    use super::*;

    #[test]
    fn a_manifest_of_format_1_is_still_written_byte_for_byte() {
        for backup in FORMAT_1_BACKUPS {
            let file = testdata::read(&format!("backups/{backup}/manifest.json.zst"));
            let manifest = Manifest::from_file(&file, &BackupId::new(backup).unwrap()).unwrap();
            // How zstd packs may change with its version; what it packs may not.
            let unpacked = |file: &[u8]| String::from_utf8(zstd::decode_all(file).unwrap()).unwrap();
            assert_eq!(unpacked(&compressed::to_file(&manifest).unwrap()), unpacked(&file));
        }
    }

    #[test]
    fn a_manifest_of_another_backup_is_damage() {
        let [one, other, _] = FORMAT_1_BACKUPS;
        let file = testdata::read(&format!("backups/{one}/manifest.json.zst"));
        let error = Manifest::from_file(&file, &BackupId::new(other).unwrap()).unwrap_err();
        assert!(error.to_string().contains(one), "{error}");
    }

    #[test]
    fn fields_of_later_versions_are_passed_over() {
        let [backup, ..] = FORMAT_1_BACKUPS;
        let id = BackupId::new(backup).unwrap();
        let file = testdata::read(&format!("backups/{backup}/manifest.json.zst"));
        let manifest = Manifest::from_file(&file, &id).unwrap();
        let mut json: serde_json::Value = serde_json::to_value(&manifest).unwrap();
        json["tables"][0]["not_known_yet"] = serde_json::json!({"deep": [1, 2, 3]});
        let file = compressed::to_file(&json).unwrap();
        assert_eq!(Manifest::from_file(&file, &id), Ok(manifest));
    }
}

//! The header: the small plaintext file that makes a backup exist. Written last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::encryption::EncryptedTo;
use super::id::{BackupId, EnvironmentName, Label, ObjectId};
use super::manifest::Sections;
use super::{FormatError, sealed};
use crate::inventory::ObjectKind;

/// The label of every safety backup. No other backup gets it.
pub const SAFETY_LABEL: &str = "safety";

/// What makes a backup a safety backup: taken of a database just before it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Safety {
    /// `host:port/database` that it was taken of.
    pub target: String,
    /// What was about to be restored there: the id of a backup, or the name of a file.
    pub before: String,
}

/// `backup.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Format version; read first, before any other field is trusted.
    pub format_version: u32,
    /// The backup's id, equal to its folder's name.
    pub id: BackupId,
    /// Which environment was backed up.
    pub environment: EnvironmentName,
    /// The label in the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Of a safety backup: what it is there for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<Safety>,
    /// What wrote it, such as `pgstow 0.1.0`.
    pub written_by: String,
    /// When the run began.
    pub started_at: jiff::Timestamp,
    /// When the snapshot was taken: the moment the backup shows.
    pub snapshot_at: jiff::Timestamp,
    /// When the header was written.
    pub finished_at: jiff::Timestamp,
    /// Server version, such as `15.18`.
    pub server_version: String,
    /// Database name.
    pub database: String,
    /// Definitions, rows or both.
    pub sections: Sections,
    /// Only chosen tables, or not the rows of all of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub limited: bool,
    /// Number of objects of each kind at the source.
    pub counts: BTreeMap<ObjectKind, usize>,
    /// Rows of all tables.
    pub rows: u64,
    /// Uncompressed bytes of all objects.
    pub content_bytes: u64,
    /// Bytes of all objects as stored, whoever wrote them.
    pub stored_bytes: u64,
    /// Bytes this backup added to the repository: new objects and its folder's files, this header
    /// excepted.
    pub new_bytes: u64,
    /// How many things exist at the source and are not carried although nobody asked for that.
    pub not_carried: usize,
    /// Whom the backup is encrypted to, in an encrypted repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptedTo>,
    /// Length of the manifest's file.
    /// BLAKE3 of `objects.list`, for those who have no key to the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects_list_hash: Option<ObjectId>,
    /// Length of `manifest.json.zst`.
    pub manifest_bytes: u64,
    /// BLAKE3 of the manifest's file.
    pub manifest_hash: ObjectId,
    /// BLAKE3 of the file's bytes with these 64 digits replaced by zeros (`docs/format.md`,
    /// "Sealed files"). The last field, always.
    pub checksum: ObjectId,
}

impl Header {
    /// The file, and the header with its checksum filled in.
    pub(crate) fn into_file(mut self) -> (Self, Vec<u8>) {
        self.checksum = ObjectId::ZERO;
        let file = sealed::seal_last_field(&self);
        self.checksum = sealed::checksum(&file).expect("a sealed file ends with its checksum");
        (self, file)
    }

    /// Reads the header that lies in the folder `folder`.
    ///
    /// # Errors
    /// Newer, damaged, or another backup's.
    pub(crate) fn from_file(file: &[u8], folder: &BackupId) -> Result<Self, FormatError> {
        let header: Self = sealed::open(file)?;
        let damaged = |what: String| Err(FormatError::Damaged(what));
        if header.id != *folder {
            return damaged(format!("it is the header of {}", header.id));
        }
        if header.environment.as_str() != header.id.environment() {
            return damaged(format!("its environment {} is not that of its id", header.environment));
        }
        if header.label.as_ref().map(Label::as_str) != header.id.label() {
            return damaged("its label is not that of its id".to_owned());
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testdata::{self, FORMAT_1_BACKUPS};
    use super::*;

    #[test]
    fn a_header_of_format_1_is_still_written_byte_for_byte() {
        for backup in FORMAT_1_BACKUPS {
            let file = testdata::read(&format!("backups/{backup}/backup.json"));
            let header = Header::from_file(&file, &BackupId::new(backup).unwrap()).unwrap();
            let (rewritten, bytes) = header.clone().into_file();
            assert_eq!(String::from_utf8(bytes).unwrap(), String::from_utf8(file).unwrap());
            assert_eq!(rewritten, header);
        }
    }

    #[test]
    fn a_header_of_another_backup_is_damage() {
        let [one, other, _] = FORMAT_1_BACKUPS;
        let file = testdata::read(&format!("backups/{one}/backup.json"));
        let error = Header::from_file(&file, &BackupId::new(other).unwrap()).unwrap_err();
        assert!(error.to_string().contains(one), "{error}");
    }

    #[test]
    fn a_header_whose_names_contradict_its_id_is_damage() {
        let backup = BackupId::new(FORMAT_1_BACKUPS[0]).unwrap();
        let file = testdata::read(&format!("backups/{backup}/backup.json"));
        let header = Header::from_file(&file, &backup).unwrap();
        let environment = EnvironmentName::new("another").unwrap();
        let (_, file) = Header { environment, ..header.clone() }.into_file();
        assert!(Header::from_file(&file, &backup).unwrap_err().to_string().contains("another"));
        let label = Some(Label::new("another").unwrap());
        let (_, file) = Header { label, ..header }.into_file();
        assert!(Header::from_file(&file, &backup).unwrap_err().to_string().contains("label"));
    }
}

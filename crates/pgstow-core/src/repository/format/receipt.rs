//! The receipt: the record of what a restore did and found.

use serde::{Deserialize, Serialize};

use super::id::BackupId;
use super::{FormatError, sealed};

/// `receipts/<time>_<backup>.json`, its checksum excepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Format version.
    pub format_version: u32,
    /// What was restored.
    pub backup: BackupId,
    /// `host:port/database` restored into.
    pub target: String,
    /// When it began.
    pub started_at: jiff::Timestamp,
    /// When it ended.
    pub finished_at: jiff::Timestamp,
    /// The safety backup that was taken of the target just before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_backup: Option<BackupId>,
    /// The target is as it was before: a failure was rolled back, or the safety backup was put back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchanged: bool,
    /// Whether everything is as in the backup.
    pub outcome: Outcome,
    /// Whether contents were compared too.
    pub checksums: bool,
    /// The verification, line by line.
    pub lines: Vec<Line>,
    /// Everything that was skipped, mapped or differs, in words.
    pub remarks: Vec<String>,
}

impl Receipt {
    /// The file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        sealed::seal(self)
    }

    /// Reads a receipt whose name says that it is of `backup`.
    ///
    /// # Errors
    /// Newer, damaged, or another backup's.
    pub(crate) fn from_file(file: &[u8], backup: &BackupId) -> Result<Self, FormatError> {
        let receipt: Self = sealed::open(file)?;
        if receipt.backup == *backup {
            Ok(receipt)
        } else {
            Err(FormatError::Damaged(format!("it is a receipt of {}", receipt.backup)))
        }
    }
}

/// How a restore ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All as in the backup.
    Equal,
    /// Done, but something was skipped or differs.
    Differs,
    /// It failed.
    Failed,
}

/// One line of the verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// A kind of object (`indexes`) or the rows of a table (`rows of public.orders`).
    pub what: String,
    /// In the backup.
    pub expected: u64,
    /// In the target.
    pub found: u64,
    /// Equal in number and in every respect compared.
    pub equal: bool,
}

#[cfg(test)]
mod tests {
    use super::super::testdata;
    use super::*;

    #[test]
    fn a_receipt_of_format_1_is_still_written_byte_for_byte() {
        let backup = BackupId::new("prod_2026-11-20T02-00-00Z").unwrap();
        let file = testdata::read(&format!("receipts/2026-11-22T00-00-00Z_{backup}.json"));
        let receipt = Receipt::from_file(&file, &backup).unwrap();
        assert_eq!(String::from_utf8(receipt.to_file()).unwrap(), String::from_utf8(file).unwrap());
    }
}

//! The receipt: the record of what a restore or a drill did and found.

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
    /// What of the backup was restored, in words; empty for all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub part: Vec<String>,
    /// The verification, line by line.
    pub lines: Vec<Line>,
    /// Everything that was skipped, mapped or differs, in words.
    pub remarks: Vec<String>,
    /// What only a drill has to say; `None` for a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drill>,
}

/// What a drill adds to a receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drill {
    /// Such as `15.18`: the server that was restored into.
    pub server_version: String,
    /// The server was made for the drill, and shut off from the network; otherwise it was given.
    pub own_server: bool,
    /// Seconds from the first definition to the last row and index, the comparison excepted.
    pub restore_seconds: f64,
    /// Seconds in all, the server's start and the checks included.
    pub total_seconds: f64,
    /// Rows that were restored.
    pub rows: u64,
    /// What this place could not have or must not do, so that it was left out before the restore began.
    pub exceptions: Vec<Exception>,
    /// The user's own checks.
    pub checks: Vec<CheckResult>,
}

/// Something of the backup that a drill leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// Such as `extension hypopg` or `table public.plans`.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// What came of one of the user's checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Its name.
    pub name: String,
    /// Whether it found what was expected.
    pub passed: bool,
    /// What was expected, in words.
    pub expected: String,
    /// What was found, or why it could not be run.
    pub found: String,
    /// How long it took.
    pub seconds: f64,
}

/// What a receipt says of its backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Restored, contents compared, all equal but for what was left out beforehand (so many things).
    Proven {
        /// How many things were left out.
        exceptions: usize,
    },
    /// A drill that did not show it.
    Failed,
    /// A restore that says nothing of the backup: contents were not compared, or the target's own ways
    /// made the difference.
    Nothing,
}

impl Receipt {
    /// What it says of its backup; the restore of a part says nothing of the whole.
    pub fn verdict(&self) -> Verdict {
        match (&self.drill, self.outcome, self.checksums) {
            (drill, Outcome::Equal, true) if self.part.is_empty() => {
                Verdict::Proven { exceptions: drill.as_ref().map_or(0, |drill| drill.exceptions.len()) }
            }
            (Some(_), _, _) => Verdict::Failed,
            (None, _, _) => Verdict::Nothing,
        }
    }

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

//! The pending mark: what a run that makes a backup tells the others about itself.

use serde::{Deserialize, Serialize};

use super::id::BackupId;
use super::{FormatError, sealed};

/// `pending-<16 hex>.json`, its checksum excepted. Written over and over as a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingMark {
    /// Format version.
    pub(crate) format_version: u32,
    /// The machine, for people.
    pub(crate) host: String,
    /// The process on it, for people.
    pub(crate) process: u32,
    /// When the run began, by the store's clock; absent until the run knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) began_at: Option<jiff::Timestamp>,
    /// Counts how often it was written.
    pub(crate) beat: u64,
    /// Backups that this one builds on.
    pub(crate) bases: Vec<BackupId>,
    /// Condemned lists whose names this run never uses.
    pub(crate) knows: Vec<String>,
}

impl PendingMark {
    /// The file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        sealed::seal(self)
    }

    /// Reads a mark.
    ///
    /// # Errors
    /// Newer or damaged.
    pub(crate) fn from_file(file: &[u8]) -> Result<Self, FormatError> {
        sealed::open(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_a_changed_one_is_not() {
        let mark = PendingMark {
            format_version: 1,
            host: "db1".into(),
            process: 7,
            began_at: Some("2026-11-21T09:12:04.5Z".parse().unwrap()),
            beat: 3,
            bases: vec![BackupId::new("prod_2026-11-20T02-00-00Z").unwrap()],
            knows: vec!["2026-11-20T02-00-00Z-0123456789abcdef".into()],
        };
        let file = mark.to_file();
        assert_eq!(PendingMark::from_file(&file), Ok(mark));
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(PendingMark::from_file(&changed).is_err(), "byte {at}");
            assert!(PendingMark::from_file(&file[..at]).is_err(), "cut at {at}");
        }
    }
}

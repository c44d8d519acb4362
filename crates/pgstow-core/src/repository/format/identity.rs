//! `pgstow.json`: what makes a folder a repository.

use serde::{Deserialize, Serialize};

use super::encryption::{Encryption, Method};
use super::{FORMAT_VERSION, FormatError, sealed};

/// `pgstow.json`, its checksum excepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Format version; no file of the repository has a newer one.
    pub(crate) format_version: u32,
    /// 128 random bits as 32 hex digits: tells repositories apart, wherever they are moved.
    pub(crate) repository: String,
    /// When it was created.
    pub(crate) created_at: jiff::Timestamp,
    /// What created it, such as `pgstow 0.1.0`.
    pub(crate) written_by: String,
    /// What its place could do then; absent in repositories that were created without a look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<Capabilities>,
    /// Whether its backups are encrypted; decided when it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<Encryption>,
}

/// What a repository's place can do. No committed backup is in danger where one is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// A listing shows what was written just before.
    pub lists_at_once: bool,
    /// A file can be replaced.
    pub overwrites: bool,
    /// The store itself refuses to write a file where one is.
    pub refuses_another: bool,
    /// Files may be removed.
    pub deletes: bool,
}

impl Identity {
    /// A new repository's, with `random` as its id.
    pub(crate) fn new(
        random: [u8; 16],
        encrypted: bool,
        now: jiff::Timestamp,
        capabilities: Capabilities,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            repository: format!("{:032x}", u128::from_be_bytes(random)),
            created_at: now,
            written_by: format!("pgstow {}", env!("CARGO_PKG_VERSION")),
            capabilities: Some(capabilities),
            encryption: encrypted.then_some(Encryption { method: Method::Age }),
        }
    }

    /// The file.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        sealed::seal(self)
    }

    /// # Errors
    /// Newer or damaged.
    pub(crate) fn from_file(file: &[u8]) -> Result<Self, FormatError> {
        let identity: Self = sealed::open(file)?;
        let is_id = identity.repository.len() == 32
            && identity.repository.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if is_id {
            Ok(identity)
        } else {
            Err(FormatError::Damaged("its repository id is not 32 hex digits".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testdata;
    use super::*;

    #[test]
    fn pgstow_json_of_format_1_is_still_written_byte_for_byte() {
        let file = testdata::read("pgstow.json");
        let identity = Identity::from_file(&file).unwrap();
        assert_eq!(String::from_utf8(identity.to_file()).unwrap(), String::from_utf8(file).unwrap());
    }

    #[test]
    fn a_repository_id_keeps_its_leading_zeros_and_nothing_else_is_one() {
        let capabilities =
            Capabilities { lists_at_once: true, overwrites: true, refuses_another: false, deletes: true };
        let identity = Identity::new([0; 16], true, jiff::Timestamp::UNIX_EPOCH, capabilities);
        assert_eq!(identity.repository, "0".repeat(32));
        assert_eq!(Identity::from_file(&identity.to_file()), Ok(identity.clone()));
        for wrong in ["", "0", "../../../../../../etc/passwd/xxx", "ABCDEF00000000000000000000000000"] {
            let file = Identity { repository: wrong.to_owned(), ..identity.clone() }.to_file();
            assert!(Identity::from_file(&file).is_err(), "{wrong:?}");
        }
    }
}

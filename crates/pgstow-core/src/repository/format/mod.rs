//! The repository's files as bytes and types, version 1 (`docs/format.md`). Pure: no I/O.

pub mod audit;
pub(crate) mod compressed;
pub(crate) mod condemned;
pub mod encryption;
pub mod header;
pub mod id;
pub(crate) mod identity;
pub(crate) mod layout;
pub mod manifest;
pub(crate) mod pending;
pub mod proof;
pub mod receipt;
mod sealed;
#[cfg(test)]
pub(super) mod testdata;
mod validate;

pub use validate::InvalidManifest;

use serde::Deserialize;

use crate::error::Error;

/// The format version this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Why the bytes of a file are not what the format says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Written by a later version of the format.
    #[error(
        "has format version {found}, and this pgstow reads versions up to {FORMAT_VERSION}: upgrade pgstow"
    )]
    Newer {
        /// The version in the file.
        found: u64,
    },
    /// Not what was written.
    #[error("is damaged: {0}")]
    Damaged(String),
}

impl FormatError {
    /// The error for people: names `path` and the next step.
    pub(crate) fn into_error(self, path: &str) -> Error {
        match self {
            Self::Newer { found } => Error::failed(format!("{path} has format version {found}"))
                .why(format!(
                    "this is pgstow {}, which reads format versions up to {FORMAT_VERSION}",
                    env!("CARGO_PKG_VERSION")
                ))
                .hint("upgrade pgstow and run this again"),
            Self::Damaged(why) => Error::failed(format!("{path} is damaged")).why(why),
        }
    }

    fn parse(error: &serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Looks at `format_version` alone, before any other field is interpreted.
fn check_version(json: &[u8]) -> Result<(), FormatError> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u64,
    }
    let version: Version = serde_json::from_slice(json).map_err(|error| FormatError::parse(&error))?;
    match version.format_version {
        0 => Err(FormatError::Damaged("format version 0 does not exist".to_owned())),
        found if found > u64::from(FORMAT_VERSION) => Err(FormatError::Newer { found }),
        _ => Ok(()),
    }
}

//! What a backup records so that a later one can prove that data has not changed since.
//!
//! Nothing here is needed to restore. Where a part is missing, nothing can be proven, and the later
//! backup reads again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::from_hex;

/// Facts about the whole backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The server's `fsync` was on.
    pub fsync: bool,
    /// The server had flushed its log as far as the snapshot reaches: no crash can take back what
    /// this backup saw.
    pub durable: bool,
    /// Every chunk was last read at this time or later (time of a snapshot): a backup that reads
    /// everything sets it to its own.
    pub read_in_full_at: jiff::Timestamp,
    /// The system catalogs that the definitions come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definitions: Option<DefinitionsProof>,
    /// The catalog that holds the bytes of large objects, where the role may read it and there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub large_objects: Option<SystemCatalog>,
}

/// What the definitions rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionsProof {
    /// Of all that is not in a catalog's rows and decides what is written: versions of the server,
    /// of pg_dump and of this program, the role, what pg_dump leaves out, and the content of views
    /// that stand for catalogs this role may not read.
    pub circumstances: Fingerprint,
    /// Every catalog that was counted.
    pub catalogs: Vec<SystemCatalog>,
}

/// One system catalog as the snapshot showed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemCatalog {
    /// Name in `pg_catalog`.
    pub name: String,
    /// `pg_relation_filenode()`.
    pub filenode: u32,
    /// Rows visible in the snapshot.
    pub rows: u64,
}

/// Facts about one table. Present only when its chunks can be proven: a permanent heap, read
/// without a condition, whose columns are all of types whose text depends on the value alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableProof {
    /// Pages of the heap after the snapshot was taken: its visible rows lie below.
    pub pages: u32,
    /// For each column of the table's `columns`: all that turns its values into bytes.
    pub rendering: Vec<Fingerprint>,
}

/// The first 128 bits of a BLAKE3 hash over a canonical description. Written as 32 lowercase hex
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Of `parts`, each told from its neighbours by its length.
    pub fn of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let mut fingerprint = [0; 16];
        hasher.finalize_xof().fill(&mut fingerprint);
        Self(fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let invalid = || serde::de::Error::custom("expected a fingerprint of 32 lowercase hex digits");
        from_hex(&text).map(Self).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_where_one_part_ends_and_the_next_begins() {
        let of = |parts: &[&str]| Fingerprint::of(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), of(&["ab", ""]));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
    }

    #[test]
    fn a_fingerprint_is_32_digits_and_nothing_else() {
        let fingerprint = Fingerprint::of([b"x".as_slice()]);
        let text = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(text.len(), 34);
        assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), fingerprint);
        for wrong in ["\"\"", "\"0\"", &text.to_uppercase(), "1"] {
            assert!(serde_json::from_str::<Fingerprint>(wrong).is_err(), "{wrong}");
        }
    }
}

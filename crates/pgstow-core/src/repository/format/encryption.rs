//! What the files say of encryption: whether a repository is encrypted, whom a backup is encrypted
//! to, and the key of its objects' ids. Keys that open anything are never written.

use std::fmt;
use std::sync::Arc;

use age::secrecy::{ExposeSecret, SecretBox};
use serde::{Deserialize, Serialize};

use super::id::{ObjectId, from_hex};

/// How files are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Files of the age format, version 1.
    Age,
}

/// In `pgstow.json`: the repository is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// How.
    pub method: Method,
}

/// In a header: whom the backup is encrypted to. All of it is public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedTo {
    /// How.
    pub method: Method,
    /// Public keys, sorted.
    pub recipients: Vec<String>,
}

/// The key of the hashes that name the objects of an encrypted repository. Without it a name says
/// nothing of the content. Stands in the encrypted manifest; zeroed when dropped, printed by nothing.
#[derive(Clone)]
pub struct ObjectKey(Arc<SecretBox<[u8; 32]>>);

impl ObjectKey {
    /// The key of these random bytes.
    pub(crate) fn new(random: [u8; 32]) -> Self {
        Self(Arc::new(SecretBox::new(Box::new(random))))
    }

    fn bytes(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

/// What hashes the content of objects whose ids have this key, or none.
pub(crate) fn object_hasher(key: Option<&ObjectKey>) -> blake3::Hasher {
    key.map_or_else(blake3::Hasher::new, |key| blake3::Hasher::new_keyed(key.bytes()))
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ObjectKey(…)")
    }
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ObjectId(*self.bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes =
            from_hex(&text).ok_or_else(|| serde::de::Error::custom("expected 64 lowercase hex digits"))?;
        Ok(Self::new(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_formatter_prints_the_key_of_ids() {
        let key = ObjectKey::new([0xab; 32]);
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, format!("\"{}\"", "ab".repeat(32)));
        assert_eq!(serde_json::from_str::<ObjectKey>(&json).unwrap(), key);
        assert!(!format!("{key:?}").contains("ab"), "{key:?}");
        for wrong in ["", "ab", &"AB".repeat(32), &"ab".repeat(33)] {
            let error = serde_json::from_str::<ObjectKey>(&format!("\"{wrong}\"")).unwrap_err().to_string();
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_key_makes_other_ids() {
        let id = |key: Option<&ObjectKey>| *object_hasher(key).update(b"x").finalize().as_bytes();
        assert_eq!(ObjectId(id(None)), ObjectId::of(b"x"));
        assert_ne!(id(None), id(Some(&ObjectKey::new([0; 32]))));
        assert_ne!(id(Some(&ObjectKey::new([1; 32]))), id(Some(&ObjectKey::new([0; 32]))));
    }
}

//! Plaintext JSON files that carry their own checksum (`docs/format.md`, "Sealed files").
//!
//! The checksum is the last field. It is the BLAKE3 of the file's bytes with the checksum's 64
//! digits replaced by zeros, so it is checked on the raw bytes, before they are parsed.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::id::ObjectId;
use super::{FormatError, check_version};

const BEFORE_DIGITS: &[u8] = b"\n  \"checksum\": \"";
const AFTER_DIGITS: &[u8] = b"\"\n}\n";
const ZERO_DIGITS: [u8; 64] = [b'0'; 64];

/// Content to which [`seal`] adds the checksum field.
#[derive(Serialize)]
struct WithChecksum<'a, T> {
    #[serde(flatten)]
    content: &'a T,
    checksum: ObjectId,
}

/// The file of `content`, which must be a struct without a field `checksum`.
pub(super) fn seal(content: &impl Serialize) -> Vec<u8> {
    seal_last_field(&WithChecksum { content, checksum: ObjectId::ZERO })
}

/// The file of `content`, whose last field is `checksum` and holds zeros.
pub(super) fn seal_last_field(content: &impl Serialize) -> Vec<u8> {
    let mut file = serde_json::to_vec_pretty(content).expect("our own types serialise to JSON");
    file.push(b'\n');
    let checksum = ObjectId::of(&file).to_string();
    let digits_end = file.len() - AFTER_DIGITS.len();
    file.splice(digits_end - ZERO_DIGITS.len()..digits_end, checksum.into_bytes());
    file
}

/// Checks version, then checksum, then parses.
pub(super) fn open<T: DeserializeOwned>(file: &[u8]) -> Result<T, FormatError> {
    check_version(file)?;
    check(file)?;
    serde_json::from_slice(file).map_err(|error| FormatError::parse(&error))
}

/// The checksum that a file ends with.
pub(super) fn checksum(file: &[u8]) -> Option<ObjectId> {
    let (_, digits) = split(file)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What comes before the checksum's digits, and the digits.
fn split(file: &[u8]) -> Option<(&[u8], &[u8; 64])> {
    let (before, digits) = file.strip_suffix(AFTER_DIGITS)?.split_last_chunk::<64>()?;
    before.ends_with(BEFORE_DIGITS).then_some((before, digits))
}

fn check(file: &[u8]) -> Result<(), FormatError> {
    let (before, digits) =
        split(file).ok_or_else(|| FormatError::Damaged("it does not end with its checksum".to_owned()))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&ZERO_DIGITS).update(AFTER_DIGITS);
    let expected = ObjectId(hasher.finalize().into()).to_string();
    if expected.as_bytes() == digits {
        Ok(())
    } else {
        Err(FormatError::Damaged("its content does not match its checksum".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        format_version: u32,
        text: String,
    }

    fn sample() -> Sample {
        Sample { format_version: 1, text: "a \"checksum\": \"0000\"\n}\n😀".to_owned() }
    }

    #[test]
    fn a_sealed_file_opens_to_what_was_sealed() {
        assert_eq!(open::<Sample>(&seal(&sample())), Ok(sample()));
    }

    #[test]
    fn the_checksum_is_the_hash_of_the_file_with_its_digits_zeroed() {
        let file = seal(&sample());
        let text = String::from_utf8(file.clone()).unwrap();
        let digits = text.trim_end_matches("\"\n}\n").rsplit('"').next().unwrap().to_owned();
        let zeroed = text.replace(&digits, &"0".repeat(64));
        assert_eq!(blake3::hash(zeroed.as_bytes()).to_hex().as_str(), digits);
    }

    #[test]
    fn any_changed_removed_or_added_byte_is_noticed() {
        let file = seal(&sample());
        for at in 0..file.len() {
            for mask in [0x01, 0x20, 0x80] {
                let mut changed = file.clone();
                changed[at] ^= mask;
                assert!(open::<Sample>(&changed).is_err(), "byte {at} with mask {mask:#x}");
            }
            assert!(open::<Sample>(&file[..at]).is_err(), "cut at {at}");
        }
        let mut longer = file.clone();
        longer.push(b'\n');
        assert!(open::<Sample>(&longer).is_err());
    }

    #[test]
    fn a_newer_version_is_told_before_anything_else_is_looked_at() {
        let file = br#"{"format_version": 2, "text": {"of": ["another", "shape"]}}"#;
        assert_eq!(open::<Sample>(file), Err(FormatError::Newer { found: 2 }));
        let file = br#"{"format_version": 18446744073709551615}"#;
        assert_eq!(open::<Sample>(file), Err(FormatError::Newer { found: u64::MAX }));
    }
}

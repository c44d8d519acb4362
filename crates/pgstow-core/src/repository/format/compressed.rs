//! Compressed JSON files: one zstd frame, bounded before it is unpacked.

use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FormatError, check_version};

/// Largest window a zstd frame may ask for, as a power of two: 8 MiB. Bounds a reader's memory.
pub(crate) const WINDOW_LOG_LIMIT: u32 = 23;

/// What a small file may always unpack to; beyond it the ratio counts.
const FREE_BYTES: u64 = 16 << 20;
/// No honest JSON packs better than this.
const RATIO_LIMIT: u64 = 1000;
const LEVEL: i32 = 3;

/// The file of `value`.
pub(crate) fn to_file(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
    serde_json::to_writer(&mut encoder, value)?;
    encoder.finish()
}

/// Unpacks and parses; at most `limit_bytes` of JSON.
pub(crate) fn from_file<T: DeserializeOwned>(file: &[u8], limit_bytes: u64) -> Result<T, FormatError> {
    parse(&unpack(file, limit_bytes)?)
}

/// As [`from_file`], for a file that tells its format version, which is looked at first.
pub(crate) fn from_versioned_file<T: DeserializeOwned>(
    file: &[u8],
    limit_bytes: u64,
) -> Result<T, FormatError> {
    let json = unpack(file, limit_bytes)?;
    check_version(&json)?;
    parse(&json)
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, FormatError> {
    serde_json::from_slice(json).map_err(|error| FormatError::parse(&error))
}

fn unpack(file: &[u8], limit_bytes: u64) -> Result<Vec<u8>, FormatError> {
    let stored_bytes = u64::try_from(file.len()).unwrap_or(u64::MAX);
    let limit = limit_bytes.min(FREE_BYTES.max(stored_bytes.saturating_mul(RATIO_LIMIT)));
    let damaged = |error: io::Error| FormatError::Damaged(error.to_string());
    let mut decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(damaged)?;
    decoder.window_log_max(WINDOW_LOG_LIMIT).map_err(damaged)?;
    let mut content = Vec::new();
    let length = decoder.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(damaged)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > limit {
        return Err(FormatError::Damaged(format!("it unpacks to more than {limit} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_and_every_cut_of_it_is_damage() {
        let value: Vec<String> = (0..500).map(|number| format!("entry {number}")).collect();
        let file = to_file(&value).unwrap();
        assert_eq!(from_file::<Vec<String>>(&file, 1 << 20), Ok(value));
        for length in 0..file.len() {
            assert!(from_file::<Vec<String>>(&file[..length], 1 << 20).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_file_that_unpacks_beyond_the_limit_or_out_of_proportion_is_refused() {
        let bomb = zstd::encode_all(io::repeat(b' ').take(64 << 20), 3).unwrap();
        assert!(u64::try_from(bomb.len()).unwrap() * RATIO_LIMIT < 64 << 20, "the sample is a bomb");
        let refused = |limit| from_file::<u32>(&bomb, limit).unwrap_err().to_string();
        assert!(refused(1 << 30).contains("more than 16777216 bytes"), "{}", refused(1 << 30));
        assert!(refused(1000).contains("more than 1000 bytes"), "{}", refused(1000));
    }

    #[test]
    fn a_frame_with_a_huge_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(WINDOW_LOG_LIMIT + 1).unwrap();
        io::copy(&mut io::repeat(b'1').take(100), &mut encoder).unwrap();
        let file = encoder.finish().unwrap();
        assert!(from_file::<serde_json::Value>(&file, 1 << 30).is_err());
    }

    #[test]
    fn deeply_nested_json_is_an_error_and_not_a_crash() {
        let file = zstd::encode_all("[".repeat(1_000_000).as_bytes(), 3).unwrap();
        assert!(from_file::<serde_json::Value>(&file, 1 << 30).is_err());
    }
}

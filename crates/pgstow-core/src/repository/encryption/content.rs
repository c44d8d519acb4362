//! The length of what an encrypted file holds, told without a key.
//!
//! An age file is a header of text, a nonce of 16 bytes, and the content in pieces of 64 KiB with 16
//! bytes more each. The header's length is random, because age adds a line of noise; all else
//! follows from the content's length.

use std::io::{self, BufRead};

const NONCE_BYTES: u64 = 16;
const TAG_BYTES: u64 = 16;
const PIECE_BYTES: u64 = 64 << 10;
/// No header is longer.
const HEADER_LIMIT_BYTES: u64 = 1 << 20;
/// Begins the last line of the header.
const LAST_LINE: &[u8] = b"--- ";

/// The length of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::repository) struct ContentLength;

impl ContentLength {
    /// Of a file of `stored_bytes`, whose header is read from `file`; `None` when it is no age file.
    pub(in crate::repository) fn of(file: impl BufRead, stored_bytes: u64) -> io::Result<Option<u64>> {
        Ok(header_bytes(file)?.and_then(|header| content_bytes(stored_bytes.checked_sub(header)?)))
    }
}

fn header_bytes(file: impl BufRead) -> io::Result<Option<u64>> {
    let mut file = file.take(HEADER_LIMIT_BYTES);
    let mut bytes = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = file.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok(None);
        }
        bytes += u64::try_from(read).expect("a usize has at most 64 bits");
        if line.starts_with(LAST_LINE) {
            return Ok(Some(bytes));
        }
    }
}

/// What follows the header is the nonce and at least one piece.
fn content_bytes(payload_bytes: u64) -> Option<u64> {
    let sealed = payload_bytes.checked_sub(NONCE_BYTES)?;
    let pieces = sealed.div_ceil(PIECE_BYTES + TAG_BYTES).max(1);
    sealed.checked_sub(pieces * TAG_BYTES)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_length_of_the_content_follows_from_that_of_the_file() {
        let key = age::x25519::Identity::generate().to_public();
        for bytes in [0, 1, 100, 65_535, 65_536, 65_537, 131_072, 131_073, 300_000] {
            // The noise differs each time.
            for _ in 0..5 {
                let encryptor =
                    age::Encryptor::with_recipients(std::iter::once(&key as &dyn age::Recipient)).unwrap();
                let mut file = Vec::new();
                let mut writer = encryptor.wrap_output(&mut file).unwrap();
                writer.write_all(&vec![7; bytes]).unwrap();
                writer.finish().unwrap();
                let length = ContentLength::of(file.as_slice(), file.len() as u64).unwrap();
                assert_eq!(length, Some(bytes as u64));
            }
        }
    }

    #[test]
    fn what_is_no_age_file_has_no_length() {
        for file in [b"".as_slice(), b"x", b"age-encryption.org/v1\n", b"--- x", b"--- x\nshort"] {
            assert_eq!(ContentLength::of(file, file.len() as u64).unwrap(), None, "{file:?}");
        }
    }
}

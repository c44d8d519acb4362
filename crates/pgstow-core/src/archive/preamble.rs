//! The fixed part of an archive, up to the number of entries: checked before the reader, which
//! allocates by that number, sees it.
//!
//! Layout (`pg_backup_archiver.c`, `ReadHead` and `ReadToc`): `PGDMP`, version (3 bytes), size of
//! integers, size of offsets, format, compression (one byte from 1.15 on, an integer before),
//! 7 integers of time, 3 strings, the number of entries. An integer is a sign byte and the
//! magnitude, least significant byte first; a string is its length, -1 for none, and its bytes.

/// No entry is shorter: 2 integers, 11 strings' lengths, an offset's state byte.
const SHORTEST_ENTRY_BYTES: usize = 60;

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn integer(&mut self) -> Result<i64, String> {
        let negative = self.byte()? != 0;
        let magnitude = self.take(4)?.iter().rev().fold(0_i64, |value, byte| (value << 8) | i64::from(*byte));
        Ok(if negative { -magnitude } else { magnitude })
    }

    fn skip_string(&mut self) -> Result<(), String> {
        if let Ok(length) = usize::try_from(self.integer()?) {
            self.take(length)?;
        }
        Ok(())
    }
}

/// Checks the fixed part.
///
/// # Errors
/// Why it is no archive, or not one that can be read.
pub(super) fn check(archive: &[u8]) -> Result<(), String> {
    let mut bytes = Bytes(archive);
    if bytes.take(5)? != b"PGDMP" {
        return Err("it does not begin as an archive of pg_dump does".into());
    }
    let (major, minor, _) = (bytes.byte()?, bytes.byte()?, bytes.byte()?);
    if major != 1 || !(12..=16).contains(&minor) {
        return Err(format!("archive version {major}.{minor} is not one of 1.12 to 1.16"));
    }
    let (integer_size, offset_size, format) = (bytes.byte()?, bytes.byte()?, bytes.byte()?);
    if integer_size != 4 || offset_size != 8 || format != 1 {
        return Err("it is not in pg_dump's custom format with 4-byte integers".into());
    }
    if minor >= 15 {
        bytes.byte()?;
    } else {
        bytes.integer()?;
    }
    for _ in 0..7 {
        bytes.integer()?;
    }
    for _ in 0..3 {
        bytes.skip_string()?;
    }
    let entries = bytes.integer()?;
    match usize::try_from(entries) {
        Ok(count) if count <= bytes.0.len() / SHORTEST_ENTRY_BYTES => Ok(()),
        _ => Err(format!("it claims to hold {entries} entries")),
    }
}

//! Data of custom archives (`pg_backup_custom.c`): after the table of contents come blocks, each a
//! type, the id of its entry, and pieces with their lengths; a length of 0 ends it.

use std::io::{self, Read};

use super::{Block, Part, Seen, Visit, decoded, drain};
use crate::archive::damaged;
use crate::archive::toc::{Toc, unreadable};
use crate::error::Result;

/// Block of rows.
const ROWS: u8 = 1;
/// Block of large objects.
const LARGE_OBJECTS: u8 = 3;

/// Reads the whole archive.
///
/// # Errors
/// It is damaged; those of `visit`.
pub(super) fn blocks(source: &mut dyn Read, seen: &mut Seen<'_>, visit: &mut Visit<'_>) -> Result<()> {
    // The same as the one at hand, which its caller has read and decoded.
    Toc::read(source)?;
    let compression = seen.toc.compression;
    while let Some(kind) = first_byte(source).map_err(unreadable)? {
        let id = integer(source).map_err(unreadable)?;
        let entry = seen.toc.entries.iter().position(|entry| entry.id() == id);
        let entry = entry.ok_or_else(|| damaged(format!("it holds data of entry {id}, which it lacks")))?;
        seen.note(entry)?;
        match kind {
            ROWS => {
                let mut pieces = Pieces::new(source);
                {
                    let mut data = decoded(&mut pieces, compression).map_err(unreadable)?;
                    visit(Block { entry, part: Part::Rows, data: &mut data })?;
                    drain(&mut data)?;
                }
                drain(&mut pieces)?;
            }
            LARGE_OBJECTS => loop {
                let oid = integer(source).map_err(unreadable)?;
                let oid = u32::from_ne_bytes(oid.to_ne_bytes());
                if oid == 0 {
                    break;
                }
                let mut pieces = Pieces::new(source);
                {
                    let mut data = decoded(&mut pieces, compression).map_err(unreadable)?;
                    visit(Block { entry, part: Part::LargeObject(oid), data: &mut data })?;
                    drain(&mut data)?;
                }
                drain(&mut pieces)?;
            },
            other => return Err(damaged(format!("it holds a block of type {other}, which is unknown"))),
        }
    }
    Ok(())
}

fn first_byte(source: &mut dyn Read) -> io::Result<Option<u8>> {
    let mut byte = Vec::with_capacity(1);
    source.take(1).read_to_end(&mut byte)?;
    Ok(byte.first().copied())
}

/// An integer of an archive as 32 bits: OIDs beyond 2³¹ come as negative numbers.
fn integer(source: &mut dyn Read) -> io::Result<i32> {
    let mut bytes = [0; 5];
    source.read_exact(&mut bytes)?;
    let [sign, rest @ ..] = bytes;
    let magnitude = i32::from_le_bytes(rest);
    Ok(if sign == 0 { magnitude } else { magnitude.wrapping_neg() })
}

/// The pieces of a block as one stream.
struct Pieces<'s> {
    source: &'s mut dyn Read,
    left: u64,
    ended: bool,
}

impl<'s> Pieces<'s> {
    fn new(source: &'s mut dyn Read) -> Self {
        Self { source, left: 0, ended: false }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            let length = integer(self.source)?;
            self.left = u64::try_from(length)
                .map_err(|_| io::Error::from(damaged(format!("a piece of data is {length} bytes long"))))?;
            self.ended = length == 0;
        }
        if self.ended || into.is_empty() {
            return Ok(0);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let read = self.source.read(into.get_mut(..wanted).unwrap_or_default())?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

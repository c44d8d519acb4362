//! Dumps in tar format (`pg_backup_tar.c`): the members of a directory dump in one file, `toc.dat`
//! first, never compressed by themselves, and a script that pg_restore does not read either.

use std::io::{self, BufReader, Read};

use super::{Block, Part, Seen, Visit, drain, number_in};
use crate::archive::damaged;
use crate::archive::toc::{Toc, unreadable};
use crate::error::Result;

/// Members begin at multiples of this.
const BLOCK_BYTES: usize = 512;

/// A tar file that is read forward.
pub(super) struct Tar<'r> {
    source: BufReader<Box<dyn Read + 'r>>,
}

struct Member {
    name: String,
    size: u64,
}

impl<'r> Tar<'r> {
    pub(super) fn new(source: Box<dyn Read + 'r>) -> Self {
        Self { source: BufReader::with_capacity(64 * 1024, source) }
    }

    /// The table of contents: the first member.
    ///
    /// # Errors
    /// It is damaged, or no tar file of pg_dump.
    pub(super) fn toc(&mut self) -> Result<Toc> {
        match self.next()? {
            Some(member) if member.name == "toc.dat" => {
                let mut content = (&mut self.source).take(member.size);
                let toc = Toc::read(&mut content)?;
                drain(&mut content)?;
                self.pad(member.size)?;
                Ok(toc)
            }
            other => {
                let name = other.map_or_else(|| "nothing".to_owned(), |member| format!("{:?}", member.name));
                Err(damaged(format!("a tar file of pg_dump begins with toc.dat, this one with {name}"))
                    .hint("a folder packed with tar is unpacked first, and restored as a folder"))
            }
        }
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// It is damaged; those of `visit`.
    pub(super) fn blocks(&mut self, seen: &mut Seen<'_>, visit: &mut Visit<'_>) -> Result<()> {
        self.toc()?;
        let entries = &seen.toc.entries;
        let blobs = entries.iter().position(|entry| entry.kind() == "BLOBS");
        while let Some(member) = self.next()? {
            let name = member.name.as_str();
            let rows = entries.iter().position(|entry| entry.kind() == "TABLE DATA" && entry.file == name);
            let list = match number_in(name, "blobs_", ".toc") {
                Some(id) => entries.iter().position(|entry| u32::try_from(entry.id()) == Ok(id)),
                None => blobs.filter(|_| name == "blobs.toc"),
            };
            let mut data = (&mut self.source).take(member.size);
            match (rows, list, number_in(name, "blob_", ".dat"), blobs) {
                (Some(entry), ..) => {
                    seen.note(entry)?;
                    visit(Block { entry, part: Part::Rows, data: &mut data })?;
                }
                // The list of large objects: their members say who they are.
                (_, Some(entry), ..) => seen.note(entry)?,
                (_, _, Some(oid), Some(entry)) => {
                    visit(Block { entry, part: Part::LargeObject(oid), data: &mut data })?;
                }
                _ if name == "restore.sql" => {}
                _ => return Err(damaged(format!("its member {name:?} belongs to no entry"))),
            }
            drain(&mut data)?;
            if data.limit() > 0 {
                return Err(damaged(format!("it ends within its member {name}")));
            }
            self.pad(member.size)?;
        }
        Ok(())
    }

    /// The next member's head; `None` at the end mark, a block of zeros.
    fn next(&mut self) -> Result<Option<Member>> {
        let mut head = [0; BLOCK_BYTES];
        self.source.read_exact(&mut head).map_err(unreadable)?;
        if head.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let field = |from: usize, to: usize| head.get(from..to).unwrap_or_default();
        let sum: u32 = head
            .iter()
            .enumerate()
            .map(|(place, byte)| if (148..156).contains(&place) { 32 } else { u32::from(*byte) })
            .sum();
        if number(field(148, 156)) != Some(u64::from(sum)) {
            return Err(damaged("the head of a member of the tar file has another checksum"));
        }
        let name: Vec<u8> = field(0, 100).iter().copied().take_while(|byte| *byte != 0).collect();
        let name = String::from_utf8_lossy(&name).into_owned();
        if !matches!(head.get(156), Some(b'0' | 0)) {
            return Err(damaged(format!("its member {name:?} is no ordinary file")));
        }
        let size =
            number(field(124, 136)).ok_or_else(|| damaged(format!("its member {name:?} has no length")))?;
        Ok(Some(Member { name, size }))
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        let beyond = size % BLOCK_BYTES as u64;
        let padding = if beyond == 0 { 0 } else { BLOCK_BYTES as u64 - beyond };
        let skipped = io::copy(&mut (&mut self.source).take(padding), &mut io::sink());
        match skipped.map_err(unreadable)? {
            skipped if skipped == padding => Ok(()),
            _ => Err(damaged("it ends too early")),
        }
    }
}

/// A number of a tar file: octal digits, or binary when the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0) {
        let mut value = u64::from(*first & 0x7f);
        for byte in rest {
            value = value.checked_mul(256)?.checked_add(u64::from(*byte))?;
        }
        return Some(value);
    }
    let digits = field.iter().filter(|byte| !matches!(byte, b' ' | 0));
    digits
        .map(|byte| char::from(*byte).to_digit(8))
        .try_fold(0_u64, |value, digit| value.checked_mul(8)?.checked_add(u64::from(digit?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_octal_or_binary() {
        assert_eq!(number(b"00000001750\0"), Some(1000));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), Some(1 << 33));
        assert_eq!(number(b"0000x\0"), None);
        assert_eq!(number(&[0xff; 12]), None);
    }
}

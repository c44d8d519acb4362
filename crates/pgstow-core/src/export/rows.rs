//! The rows of chunks, from the repository's objects: proven by their hash, and looked at once more for
//! what a reader of COPY text would take for something else.
//!
//! Where what was written cannot be taken back, a chunk is proven before its first byte is handed out.

use std::io::Read;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::repository::Repository;
use crate::repository::format::manifest::{Chunk, CopyFormat, Manifest, Object};

/// Objects up to this length are held as a whole: bundles, since many tables take from one, and all
/// where a chunk has to be proven first.
const HELD_OBJECT_BYTES: u64 = 32 << 20;
/// Held objects together.
const HELD_BYTES: u64 = 64 << 20;

/// Reads chunks.
pub(super) struct Rows<'a> {
    repository: &'a Repository,
    manifest: &'a Manifest,
    interrupt: &'a Interrupt,
    /// Nothing that was handed out can be taken back.
    final_at_once: bool,
    /// Contents of objects, the one used last at the end.
    held: Vec<(u32, Vec<u8>)>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        manifest: &'a Manifest,
        final_at_once: bool,
        interrupt: &'a Interrupt,
    ) -> Self {
        Self { repository, manifest, interrupt, final_at_once, held: Vec::new() }
    }

    fn object(&self, chunk: &Chunk) -> Result<&'a Object> {
        let index = usize::try_from(chunk.object).ok();
        index
            .and_then(|index| self.manifest.objects.get(index))
            .ok_or_else(|| Error::failed(format!("the manifest has no object {}", chunk.object)))
    }

    /// Hands the rows of a chunk to `sink` in pieces.
    ///
    /// # Errors
    /// Damage; rows that are no COPY text; `sink`'s; interrupted.
    pub(super) fn chunk(&mut self, chunk: &Chunk, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if chunk.format == CopyFormat::Binary {
            return Err(Error::failed("a chunk is in COPY's binary format, which is no text"));
        }
        let object = self.object(chunk)?;
        let interrupt = self.interrupt;
        let mut text = CopyText::default();
        let mut checked = |piece: &[u8]| {
            interrupt.check()?;
            text.check(piece)?;
            sink(piece)
        };
        let is_part = chunk.bytes < object.bytes;
        if object.bytes <= HELD_OBJECT_BYTES && (is_part || self.final_at_once) {
            let content = self.held(chunk.object, object)?;
            let from = usize::try_from(chunk.offset).unwrap_or(usize::MAX);
            let length = usize::try_from(chunk.bytes).unwrap_or(usize::MAX);
            let part = content.get(from..from.saturating_add(length));
            part.ok_or_else(|| Error::failed("a chunk reaches beyond its object"))?
                .chunks(128 * 1024)
                .try_for_each(&mut checked)?;
        } else {
            if self.final_at_once {
                self.repository.verify_object(self.manifest, object)?;
            }
            let reader = self.repository.read_object(self.manifest, object)?;
            reader.read_range(chunk.offset, chunk.bytes, &mut checked)?;
        }
        text.end(chunk.rows)
    }

    /// The content of an object, proven.
    fn held(&mut self, index: u32, object: &Object) -> Result<&[u8]> {
        match self.held.iter().position(|(held, _)| *held == index) {
            Some(at) => {
                let last = self.held.remove(at);
                self.held.push(last);
            }
            None => {
                let length = |held: &Vec<u8>| u64::try_from(held.len()).unwrap_or(u64::MAX);
                while !self.held.is_empty()
                    && self.held.iter().map(|(_, held)| length(held)).sum::<u64>() + object.bytes > HELD_BYTES
                {
                    self.held.remove(0);
                }
                let mut content = Vec::with_capacity(usize::try_from(object.bytes).unwrap_or_default());
                self.repository.read_object(self.manifest, object)?.read_range(0, object.bytes, |piece| {
                    content.extend_from_slice(piece);
                    self.interrupt.check()
                })?;
                self.held.push((index, content));
            }
        }
        Ok(self.held.last().map(|(_, content)| content.as_slice()).unwrap_or_default())
    }

    /// The first bytes of a chunk, not proven.
    ///
    /// # Errors
    /// Damage.
    pub(super) fn beginning(&self, chunk: &Chunk, bytes: u64) -> Result<Vec<u8>> {
        let mut reader = self.repository.read_object(self.manifest, self.object(chunk)?)?;
        let failed = |error| Error::from_io(error, "the rows of a chunk cannot be read");
        std::io::copy(&mut reader.by_ref().take(chunk.offset), &mut std::io::sink()).map_err(failed)?;
        let mut beginning = Vec::new();
        reader.take(bytes.min(chunk.bytes)).read_to_end(&mut beginning).map_err(failed)?;
        Ok(beginning)
    }
}

/// Looks at COPY text as it passes. A server never writes a line that begins with `\.`; a reader would
/// take it for the end of the rows, and psql what follows for statements.
#[derive(Default)]
struct CopyText {
    rows: u64,
    /// The last two bytes.
    last: [Option<u8>; 2],
}

impl CopyText {
    fn check(&mut self, piece: &[u8]) -> Result<()> {
        let begins_line = |before: Option<u8>| before.is_none_or(|byte| byte == b'\n');
        let hidden = |before: Option<u8>, pair: &[u8]| begins_line(before) && pair == b"\\.";
        let [earlier, last] = self.last;
        let across = match (last, piece) {
            (Some(b'\\'), [b'.', ..]) => begins_line(earlier),
            _ => false,
        };
        let at_start = piece.get(..2).is_some_and(|pair| hidden(last, pair));
        let within = piece.windows(3).any(|three| three == b"\n\\.");
        if across || at_start || within {
            return Err(Error::failed("a row looks like the end of rows").why(
                "no PostgreSQL server writes such a line; what stores this backup was given something else",
            ));
        }
        self.rows += u64::try_from(piece.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u64::MAX);
        match piece {
            [] => {}
            [only] => self.last = [last, Some(*only)],
            [.., before, end] => self.last = [Some(*before), Some(*end)],
        }
        Ok(())
    }

    fn end(&self, rows: u64) -> Result<()> {
        if self.last[1].is_some_and(|byte| byte != b'\n') {
            return Err(Error::failed("a chunk ends within a row"));
        }
        if self.rows != rows {
            let found = self.rows;
            return Err(Error::failed(format!("a chunk holds {found} rows instead of {rows}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(pieces: &[&[u8]], rows: u64) -> bool {
        let mut text = CopyText::default();
        pieces.iter().all(|piece| text.check(piece).is_ok()) && text.end(rows).is_ok()
    }

    #[test]
    fn an_end_mark_among_rows_is_found_however_the_pieces_are_cut() {
        let text = b"a\tb\n\\.\n\\! id\n";
        for first in 0..text.len() {
            for second in first..text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert!(!passes(&pieces, 3), "{first} {second}");
            }
        }
        assert!(!passes(&[b"\\.\n"], 1));
    }

    #[test]
    fn rows_are_counted_and_end_with_a_line_break() {
        assert!(passes(&[b"a\\\\.\n", b"\\\\.\n", b"b\\.c\n"], 3));
        assert!(passes(&[], 0));
        assert!(!passes(&[b"a\nb"], 1));
        assert!(!passes(&[b"a\nb\n"], 3));
    }
}

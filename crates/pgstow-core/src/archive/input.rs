//! Bytes from a reader with a look ahead, and the rows of a COPY among them: what archives and SQL
//! files are read through. Holds one buffer, whatever the length of lines and rows.

use std::io::{self, Read};

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// A reader with a look ahead.
pub(crate) struct Input<'r> {
    source: Box<dyn Read + 'r>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
}

/// What a COPY held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Rows.
    pub(crate) rows: u64,
    /// Bytes, the end mark excepted.
    pub(crate) bytes: u64,
    /// Lines read, the end mark's included.
    pub(crate) lines: u64,
    /// Whether the end mark was there.
    pub(crate) ended: bool,
}

impl<'r> Input<'r> {
    pub(crate) fn new(source: impl Read + 'r) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Self { source: Box::new(source), buffer, start: 0, end: 0, ended: false }
    }

    /// What lies ahead: at least `least` bytes (32 at most are asked for) unless the end is nearer.
    pub(crate) fn ahead(&mut self, least: usize) -> io::Result<&[u8]> {
        while self.end - self.start < least && !self.ended {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            match self.source.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => self.ended = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    /// Passes over bytes that [`Input::ahead`] has shown.
    pub(crate) fn pass(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// The next byte, not passed over.
    pub(crate) fn peek(&mut self) -> io::Result<Option<u8>> {
        if let Some(byte) = self.buffer.get(self.start).filter(|_| self.start < self.end) {
            return Ok(Some(*byte));
        }
        Ok(self.ahead(1)?.first().copied())
    }

    /// Passes rows in COPY's text format on, up to the end mark (`\.` on a line of its own) or the
    /// end. Pieces are not aligned to rows.
    ///
    /// # Errors
    /// The reader's, or the sink's.
    pub(crate) fn copy_rows(&mut self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<Copied> {
        let mut copied = Copied::default();
        let mut line_begins = true;
        loop {
            let ahead = self.ahead(4)?;
            if ahead.is_empty() {
                copied.rows += u64::from(!line_begins);
                return Ok(copied);
            }
            if line_begins && let Some(mark) = end_mark(ahead) {
                self.pass(mark);
                copied.lines += 1;
                copied.ended = true;
                return Ok(copied);
            }
            let length = rows_ahead(ahead, line_begins);
            let piece = ahead.get(..length).unwrap_or_default();
            let lines = piece.iter().filter(|byte| **byte == b'\n').count() as u64;
            line_begins = piece.last() == Some(&b'\n');
            sink(piece)?;
            self.pass(length);
            copied.rows += lines;
            copied.lines += lines;
            copied.bytes += length as u64;
        }
    }
}

/// Length of the end mark, where it comes next.
fn end_mark(ahead: &[u8]) -> Option<usize> {
    let rest = ahead.strip_prefix(b"\\.")?;
    match rest {
        [] => Some(2),
        [b'\n', ..] => Some(3),
        [b'\r'] | [b'\r', b'\n', ..] => Some(2 + rest.len().min(2)),
        _ => None,
    }
}

/// How much of what lies ahead surely is rows: up to the line that may be the end mark.
fn rows_ahead(ahead: &[u8], line_begins: bool) -> usize {
    let mut from = 0;
    let mut at_line = line_begins;
    while let Some(rest) = ahead.get(from..).filter(|rest| !rest.is_empty()) {
        if at_line && from > 0 && rest.first() == Some(&b'\\') {
            // Looked at again, with enough bytes ahead.
            let is_row = rest.get(1).is_some_and(|next| *next != b'.');
            if !is_row {
                return from;
            }
        }
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(place) => from += place + 1,
            None => return ahead.len(),
        }
        at_line = true;
    }
    ahead.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn copied(text: &[u8], step: usize) -> (Copied, Vec<u8>, Vec<u8>) {
        let mut input = Input::new(Slow(text, step));
        let mut rows = Vec::new();
        let copied = input.copy_rows(&mut |piece| {
            rows.extend_from_slice(piece);
            Ok(())
        });
        let mut rest = Vec::new();
        while let Some(byte) = input.peek().unwrap() {
            rest.push(byte);
            input.pass(1);
        }
        (copied.unwrap(), rows, rest)
    }

    #[test]
    fn rows_end_at_the_mark_alone_on_a_line() {
        for (text, rows, rest, ended) in [
            ("a\nb\n\\.\n\n\nSET", 2, "\n\nSET", true),
            ("\\.\n", 0, "", true),
            ("\\.x\n\\\\.\n\\.", 2, "", true),
            ("a\r\n\\.\r\nx", 1, "x", true),
            ("a\nb", 2, "", false),
            ("", 0, "", false),
            ("x\\.\n\\N\n", 2, "", false),
        ] {
            for step in [1, 2, 3, 100] {
                let (copied, _, left) = copied(text.as_bytes(), step);
                assert_eq!((copied.rows, copied.ended), (rows, ended), "{text:?} by {step}");
                assert_eq!(String::from_utf8_lossy(&left), rest, "{text:?} by {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_depend_on_how_the_reader_gives_them(
            text in "[a\\\\.\r\n]{0,60}", step in 1_usize..9,
        ) {
            prop_assert_eq!(copied(text.as_bytes(), step), copied(text.as_bytes(), 1000));
        }
    }
}

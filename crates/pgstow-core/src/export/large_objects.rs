//! The bytes of large objects, in the order of their numbers and without gaps, as every format wants them.

use super::rows::Rows;
use crate::error::{Error, Result};
use crate::repository::format::manifest::{Chunk, LargeObject, Manifest};

/// Longest row `(loid, position, data)`; pgstow writes 256 KiB of data as hexadecimal digits.
const ROW_LIMIT_BYTES: usize = 4 << 20;
/// More than a row's number and position take.
const BEGINNING_BYTES: u64 = 64;

/// Takes large objects one after the other.
pub(super) trait LargeObjectSink {
    fn begin(&mut self, oid: u32, bytes: u64) -> Result<()>;
    fn data(&mut self, piece: &[u8]) -> Result<()>;
    fn end(&mut self) -> Result<()>;
}

/// Hands all large objects of a backup to `sink`.
///
/// # Errors
/// Damage; bytes that are missing or not in order; `sink`'s.
pub(super) fn copy(manifest: &Manifest, rows: &mut Rows<'_>, sink: &mut dyn LargeObjectSink) -> Result<()> {
    // Several readers finished them in any order.
    let mut chunks: Vec<((u32, u64), &Chunk)> = Vec::new();
    for chunk in manifest.large_objects.chunks.iter().filter(|chunk| chunk.bytes > 0) {
        let beginning = rows.beginning(chunk, BEGINNING_BYTES)?;
        chunks.push((place(&beginning)?.0, chunk));
    }
    chunks.sort_by_key(|(place, _)| *place);
    let mut feed = Feed { list: &manifest.large_objects.list, next: 0, open: None, sink };
    for (_, chunk) in chunks {
        let mut lines = Lines::default();
        rows.chunk(chunk, &mut |piece| lines.take(piece, &mut |line| feed.row(line)))?;
    }
    feed.finish()
}

fn invalid(what: impl Into<String>) -> Error {
    Error::failed("the rows of large objects are not as they should be").why(what)
}

/// Number and position of a row, and the rest of it.
fn place(row: &[u8]) -> Result<((u32, u64), &[u8])> {
    let mut fields = row.splitn(3, |byte| *byte == b'\t');
    let mut text = || std::str::from_utf8(fields.next().unwrap_or_default()).unwrap_or_default();
    let (oid, position) = (text().parse(), text().parse());
    match (oid, position, fields.next()) {
        (Ok(oid), Ok(position), Some(rest)) => Ok(((oid, position), rest)),
        _ => Err(invalid("a row does not begin with a number and a position")),
    }
}

/// Puts pieces together to lines.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, piece: &[u8], each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if self.begun.is_empty() {
                each(line)?;
            } else {
                self.begun.extend_from_slice(line);
                each(&self.begun)?;
                self.begun.clear();
            }
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > ROW_LIMIT_BYTES {
            return Err(invalid("a row is too long"));
        }
        Ok(())
    }
}

/// Checks that rows follow each other.
struct Feed<'a> {
    list: &'a [LargeObject],
    /// The first of the list that was not begun.
    next: usize,
    /// What is begun, and how much of it was handed out.
    open: Option<(&'a LargeObject, u64)>,
    sink: &'a mut dyn LargeObjectSink,
}

impl Feed<'_> {
    fn row(&mut self, line: &[u8]) -> Result<()> {
        let ((oid, position), data) = place(line)?;
        while self.open.is_none_or(|(object, _)| object.oid != oid) {
            if !self.advance()? {
                return Err(invalid(format!("a row of large object {oid} is not where it belongs")));
            }
        }
        let Some((_, handed_out)) = &mut self.open else { return Ok(()) };
        if *handed_out != position {
            return Err(invalid(format!("bytes of large object {oid} are missing or not in order")));
        }
        let data = bytes(data).ok_or_else(|| invalid(format!("bytes of large object {oid} are no bytea")))?;
        *handed_out += u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.sink.data(&data)
    }

    /// Ends what is begun and begins the next of the list; whether there was one.
    fn advance(&mut self) -> Result<bool> {
        if let Some((object, handed_out)) = self.open.take() {
            if handed_out != object.bytes {
                let (oid, bytes) = (object.oid, object.bytes);
                return Err(invalid(format!("large object {oid} has {handed_out} bytes instead of {bytes}")));
            }
            self.sink.end()?;
        }
        let Some(object) = self.list.get(self.next) else { return Ok(false) };
        self.next += 1;
        self.sink.begin(object.oid, object.bytes)?;
        self.open = Some((object, 0));
        Ok(true)
    }

    fn finish(mut self) -> Result<()> {
        while self.advance()? {}
        Ok(())
    }
}

/// A `bytea` in COPY text: `\\x` and hexadecimal digits.
fn bytes(field: &[u8]) -> Option<Vec<u8>> {
    let digits = field.strip_prefix(b"\\\\x")?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if digits.len() % 2 != 0 {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Vec<String>);

    impl LargeObjectSink for Told {
        fn begin(&mut self, oid: u32, bytes: u64) -> Result<()> {
            self.0.push(format!("begin {oid} {bytes}"));
            Ok(())
        }
        fn data(&mut self, piece: &[u8]) -> Result<()> {
            self.0.push(format!("{piece:?}"));
            Ok(())
        }
        fn end(&mut self) -> Result<()> {
            self.0.push("end".to_owned());
            Ok(())
        }
    }

    fn fed(rows: &[&[u8]]) -> Result<Vec<String>> {
        let list: Vec<LargeObject> = [(1, 0), (2, 3), (4, 0)]
            .map(|(oid, bytes)| LargeObject { oid, bytes, owner: String::new(), comment: None })
            .to_vec();
        let mut told = Told::default();
        let mut feed = Feed { list: &list, next: 0, open: None, sink: &mut told };
        rows.iter().try_for_each(|row| feed.row(row))?;
        feed.finish()?;
        Ok(told.0)
    }

    #[test]
    fn large_objects_come_in_order_and_empty_ones_too() {
        let told = fed(&[b"2\t0\t\\\\x00ff", b"2\t2\t\\\\x5c"]).unwrap();
        assert_eq!(told, ["begin 1 0", "end", "begin 2 3", "[0, 255]", "[92]", "end", "begin 4 0", "end"]);
    }

    #[test]
    fn bytes_that_are_missing_or_elsewhere_are_errors() {
        let cases: [&[&[u8]]; 6] = [
            &[b"2\t0\t\\\\x00ff"],
            &[b"2\t1\t\\\\x00ff5c"],
            &[b"2\t0\t\\\\x00ff5c", b"1\t0\t\\\\x00"],
            &[b"3\t0\t\\\\x00"],
            &[b"2\t0\t\\\\x0"],
            &[b"x\t0\t\\\\x00"],
        ];
        for rows in cases {
            assert!(fed(rows).is_err(), "{rows:?}");
        }
    }

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        let text = b"ab\n\nc\n";
        for cut in 0..=text.len() {
            let mut lines = Vec::new();
            let mut puzzle = Lines::default();
            for piece in [&text[..cut], &text[cut..]] {
                puzzle
                    .take(piece, &mut |line| {
                        lines.push(line.to_vec());
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(lines, [b"ab".to_vec(), Vec::new(), b"c".to_vec()], "{cut}");
        }
    }
}

//! Sums rows up so that two tables can be compared whatever the order of their rows, in constant
//! memory whatever the length of a row. Pure.
//!
//! Each row of COPY data is hashed with BLAKE3; the first 128 bits of the hashes are added modulo
//! 2^128. Equal sums and counts mean equal contents, but for a chance nobody will live to see.

use std::io;

/// The rows seen so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RowSum {
    pub(super) rows: u64,
    sum: u128,
}

impl RowSum {
    /// Takes in another set of rows.
    pub(super) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    fn add(&mut self, hash: &blake3::Hash) {
        let mut bits = [0; 16];
        for (bit, byte) in bits.iter_mut().zip(hash.as_bytes()) {
            *bit = *byte;
        }
        self.merge(Self { rows: 1, sum: u128::from_le_bytes(bits) });
    }
}

/// Takes COPY data in pieces of any size and sums its rows up.
pub(super) struct RowSummer {
    total: RowSum,
    hasher: blake3::Hasher,
    /// Bytes of the row at hand have been hashed.
    begun: bool,
    format: Format,
}

enum Format {
    Text,
    Binary { state: Binary, taken: Vec<u8> },
}

/// What comes next in binary COPY data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    /// Signature (11 bytes), flags, length of the header's extension.
    Header,
    /// Bytes of the header's extension still to come.
    Extension(u32),
    /// Number of fields, or -1 at the end.
    Fields,
    /// Length of a field, with this and so many more fields to come.
    Length(u16),
    /// Bytes of a field, and fields after it.
    Field(u32, u16),
    /// Nothing.
    End,
}

impl RowSummer {
    /// Of COPY's text format: a row ends at a newline.
    pub(super) fn text() -> Self {
        Self { total: RowSum::default(), hasher: blake3::Hasher::new(), begun: false, format: Format::Text }
    }

    /// Of COPY's binary format, one COPY from header to trailer.
    pub(super) fn binary() -> Self {
        let format = Format::Binary { state: Binary::Header, taken: Vec::new() };
        Self { format, ..Self::text() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are no COPY data.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.format {
            Format::Text => {
                self.push_text(bytes);
                Ok(())
            }
            Format::Binary { .. } => self.push_binary(bytes),
        }
    }

    /// The sum of all rows.
    ///
    /// # Errors
    /// When the data ended within a row.
    pub(super) fn finish(self) -> io::Result<RowSum> {
        let whole = match self.format {
            Format::Text => !self.begun,
            Format::Binary { state, .. } => state == Binary::End,
        };
        if whole { Ok(self.total) } else { Err(malformed("the data ends within a row")) }
    }

    fn push_text(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (row, rest) = bytes.split_at(end + 1);
            if self.begun {
                self.hasher.update(row);
                self.row_ended();
            } else {
                self.total.add(&blake3::hash(row));
            }
            bytes = rest;
        }
        if !bytes.is_empty() {
            self.hasher.update(bytes);
            self.begun = true;
        }
    }

    fn row_ended(&mut self) {
        self.total.add(&self.hasher.finalize());
        self.hasher.reset();
        self.begun = false;
    }

    fn push_binary(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let Format::Binary { state, taken } = &mut self.format else { return Ok(()) };
            let wanted = match *state {
                Binary::Header => 19,
                Binary::Fields => 2,
                Binary::Length(_) => 4,
                Binary::Extension(left) | Binary::Field(left, _) => {
                    let here = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (passed, rest) = bytes.split_at(here);
                    let left = left - u32::try_from(here).unwrap_or(left);
                    let next = if let Binary::Field(_, fields) = *state {
                        self.hasher.update(passed);
                        if left > 0 { Binary::Field(left, fields) } else { after_field(fields) }
                    } else if left > 0 {
                        Binary::Extension(left)
                    } else {
                        Binary::Fields
                    };
                    *state = next;
                    bytes = rest;
                    if next == Binary::Fields && self.begun {
                        self.row_ended();
                    }
                    continue;
                }
                Binary::End => return Err(malformed("bytes follow the end of the data")),
            };
            let (part, rest) = bytes.split_at(bytes.len().min(wanted - taken.len()));
            taken.extend_from_slice(part);
            bytes = rest;
            if taken.len() == wanted {
                let word = std::mem::take(taken);
                self.binary_word(&word)?;
            }
        }
        Ok(())
    }

    /// Takes a header, a number of fields or a field's length.
    fn binary_word(&mut self, word: &[u8]) -> io::Result<()> {
        let Format::Binary { state, .. } = &mut self.format else { return Ok(()) };
        let next = match *state {
            Binary::Header => {
                if !word.starts_with(b"PGCOPY\n\xff\r\n\0") {
                    return Err(malformed("it does not begin as binary COPY data does"));
                }
                match number(word.get(15..).unwrap_or_default()) {
                    0 => Binary::Fields,
                    length => Binary::Extension(length),
                }
            }
            Binary::Fields => {
                let fields = u16::try_from(number(word)).unwrap_or(u16::MAX);
                if fields == u16::MAX {
                    *state = Binary::End;
                    return Ok(());
                }
                self.hasher.update(word);
                self.begun = true;
                after_field(fields)
            }
            Binary::Length(fields) => {
                self.hasher.update(word);
                match number(word) {
                    0 | u32::MAX => after_field(fields),
                    length => Binary::Field(length, fields),
                }
            }
            other => other,
        };
        *state = next;
        if next == Binary::Fields && self.begun {
            self.row_ended();
        }
        Ok(())
    }
}

/// What comes after a field (or a row's number of fields) with so many fields left.
fn after_field(fields: u16) -> Binary {
    fields.checked_sub(1).map_or(Binary::Fields, Binary::Length)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u32::from(*byte))
}

fn malformed(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_sum(pieces: &[&[u8]]) -> io::Result<RowSum> {
        let mut summer = RowSummer::text();
        pieces.iter().try_for_each(|piece| summer.push(piece))?;
        summer.finish()
    }

    fn binary(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
        let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x03ext".to_vec();
        for row in rows {
            data.extend(u16::try_from(row.len()).unwrap().to_be_bytes());
            for field in row {
                match field {
                    None => data.extend([0xff; 4]),
                    Some(value) => {
                        data.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                        data.extend(value);
                    }
                }
            }
        }
        data.extend([0xff, 0xff]);
        data
    }

    fn binary_sum(data: &[u8], piece: usize) -> io::Result<RowSum> {
        let mut summer = RowSummer::binary();
        data.chunks(piece).try_for_each(|piece| summer.push(piece))?;
        summer.finish()
    }

    #[test]
    fn the_order_of_rows_does_not_matter_and_their_number_does() {
        let one = text_sum(&[b"a\tb\nc\td\n"]).unwrap();
        assert_eq!(text_sum(&[b"c\td\na\tb\n"]).unwrap(), one);
        assert_ne!(text_sum(&[b"a\tb\n"]).unwrap(), one);
        assert_ne!(text_sum(&[b"a\td\nc\tb\n"]).unwrap(), one);
        assert_ne!(text_sum(&[b"a\tb\na\tb\n"]).unwrap(), text_sum(&[b"a\tb\n"]).unwrap());
    }

    #[test]
    fn data_that_ends_within_a_row_is_an_error() {
        assert!(text_sum(&[b"a\nb"]).is_err());
        let data = binary(&[vec![Some(b"x".to_vec())]]);
        for end in 0..data.len() {
            assert!(binary_sum(&data[..end], 4).is_err(), "{end}");
        }
        assert!(binary_sum(&[data.as_slice(), b"x"].concat(), 4).is_err());
        assert!(binary_sum(b"not at all binary COPY data", 5).is_err());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter_in_text(rows in prop::collection::vec("[a-z\t]{0,20}", 0..10), cut in 1_usize..9) {
            let data: String = rows.iter().map(|row| format!("{row}\n")).collect();
            let pieces: Vec<&[u8]> = data.as_bytes().chunks(cut).collect();
            let whole = text_sum(&[data.as_bytes()]).unwrap();
            prop_assert_eq!(whole.rows, rows.len() as u64);
            prop_assert_eq!(text_sum(&pieces).unwrap(), whole);
        }

        #[test]
        fn pieces_and_order_do_not_matter_in_binary(
            mut rows in prop::collection::vec(
                prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 0..4), 0..8),
            cut in 1_usize..9,
        ) {
            let whole = binary_sum(&binary(&rows), usize::MAX).unwrap();
            prop_assert_eq!(whole.rows, rows.len() as u64);
            rows.reverse();
            prop_assert_eq!(binary_sum(&binary(&rows), cut).unwrap(), whole);
        }

        #[test]
        fn any_bytes_end_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..80), cut in 1_usize..9) {
            let mut framed = binary(&[]);
            framed.truncate(framed.len() - 2);
            framed.extend(&data);
            let _ = binary_sum(&framed, cut);
            let _ = binary_sum(&data, cut);
        }
    }
}

//! COPY's text format, row by row and field by field, without holding a row: fields become hashes as
//! they come, and on request the beginning of their text.

use std::io;

use memchr::memchr2;

/// The key of one comparison's hashes.
pub(crate) type Secret = [u8; 32];
/// A hash cut to what tells rows apart: two of 2^32 rows are alike by chance once in 2^64.
pub(crate) type Digest = [u8; 16];

/// Bytes of a field that are kept to be shown.
const KEPT_BYTES: usize = 800;

/// Which fields of the data are taken, and what for.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// For each field of the data: the place of its column among those compared.
    places: Vec<Option<usize>>,
    /// Number of columns compared.
    columns: usize,
    /// Places of the key's columns; empty: the whole row is the key.
    key: Vec<usize>,
}

impl Layout {
    /// `fields` are the data's columns in order; `columns` those compared, `key` places among them.
    pub(crate) fn new(fields: &[String], columns: &[String], key: &[usize]) -> Self {
        let place = |field: &String| columns.iter().position(|column| column == field);
        Self { places: fields.iter().map(place).collect(), columns: columns.len(), key: key.to_vec() }
    }
}

/// One row.
pub(crate) struct Row<'r> {
    pub(crate) key: Digest,
    /// Of all columns compared.
    pub(crate) values: Digest,
    /// Of each column compared.
    pub(crate) fields: &'r [Digest],
    /// The beginning of each column's text, as COPY writes it; empty unless texts are kept.
    pub(crate) texts: &'r [Vec<u8>],
}

/// Takes COPY data in pieces of any size.
pub(crate) struct RowReader<'s> {
    secret: &'s Secret,
    layout: Layout,
    /// The field at hand.
    field: usize,
    hasher: blake3::Hasher,
    /// Bytes of the field at hand have been hashed.
    begun: bool,
    /// A row has begun.
    within: bool,
    fields: Vec<Digest>,
    texts: Vec<Vec<u8>>,
    keep: bool,
}

impl<'s> RowReader<'s> {
    /// `keep`: the texts are wanted too.
    pub(crate) fn new(secret: &'s Secret, layout: Layout, keep: bool) -> Self {
        let columns = layout.columns;
        Self {
            secret,
            layout,
            field: 0,
            hasher: blake3::Hasher::new_keyed(secret),
            begun: false,
            within: false,
            fields: vec![Digest::default(); columns],
            texts: vec![Vec::new(); columns],
            keep,
        }
    }

    /// Takes the next bytes and hands out each row that ends in them.
    ///
    /// # Errors
    /// `each`'s; data with another number of fields than columns.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        each: &mut dyn FnMut(&Row<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            self.within = true;
            // COPY escapes both within values.
            let Some(end) = memchr2(b'\t', b'\n', bytes) else {
                self.part(bytes);
                return Ok(());
            };
            let (part, rest) = bytes.split_at(end);
            self.field_ends(part);
            if rest.first() == Some(&b'\n') {
                self.row_ends(each)?;
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
        Ok(())
    }

    /// Makes sure that the data ended with a row.
    ///
    /// # Errors
    /// When it did not.
    pub(crate) fn finish(&self) -> io::Result<()> {
        if self.within { Err(malformed("the data ends within a row")) } else { Ok(()) }
    }

    fn place(&self) -> Option<usize> {
        self.layout.places.get(self.field).copied().flatten()
    }

    /// A part of a field that goes on.
    fn part(&mut self, part: &[u8]) {
        if let Some(place) = self.place() {
            self.hasher.update(part);
            self.begun = true;
            self.keep(place, part);
        }
    }

    fn keep(&mut self, place: usize, part: &[u8]) {
        if let Some(text) = self.texts.get_mut(place).filter(|_| self.keep) {
            let room = KEPT_BYTES.saturating_sub(text.len()).min(part.len());
            text.extend_from_slice(part.get(..room).unwrap_or_default());
        }
    }

    fn field_ends(&mut self, part: &[u8]) {
        if let Some(place) = self.place() {
            let hash = if self.begun {
                self.hasher.update(part);
                let hash = self.hasher.finalize();
                self.hasher.reset();
                self.begun = false;
                hash
            } else {
                blake3::keyed_hash(self.secret, part)
            };
            self.keep(place, part);
            if let Some(field) = self.fields.get_mut(place) {
                *field = cut(&hash);
            }
        }
        self.field += 1;
    }

    fn row_ends(&mut self, each: &mut dyn FnMut(&Row<'_>) -> io::Result<()>) -> io::Result<()> {
        // A row of a table without columns is one empty field.
        if self.field != self.layout.places.len().max(1) {
            return Err(malformed("a row has another number of fields than the table has columns"));
        }
        let values = cut(&blake3::keyed_hash(self.secret, self.fields.as_flattened()));
        let key = if self.layout.key.is_empty() {
            values
        } else {
            let mut hasher = blake3::Hasher::new_keyed(self.secret);
            hasher.update(b"key");
            for place in &self.layout.key {
                hasher.update(self.fields.get(*place).map_or(&[][..], |field| field.as_slice()));
            }
            cut(&hasher.finalize())
        };
        each(&Row { key, values, fields: &self.fields, texts: &self.texts })?;
        self.field = 0;
        self.within = false;
        self.texts.iter_mut().for_each(Vec::clear);
        Ok(())
    }
}

fn cut(hash: &blake3::Hash) -> Digest {
    let mut digest = Digest::default();
    digest.iter_mut().zip(hash.as_bytes()).for_each(|(byte, found)| *byte = *found);
    digest
}

fn malformed(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// What COPY's text of a field says: at most `limit` characters, then `…`; `None` is NULL.
pub(crate) fn shown(text: &[u8], limit: usize) -> Option<String> {
    if text == b"\\N" {
        return None;
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        // Servers write no other escapes.
        match bytes.next() {
            Some(b'b') => plain.push(0x08),
            Some(b'f') => plain.push(0x0c),
            Some(b'n') => plain.push(b'\n'),
            Some(b'r') => plain.push(b'\r'),
            Some(b't') => plain.push(b'\t'),
            Some(b'v') => plain.push(0x0b),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    let text = String::from_utf8_lossy(&plain);
    let mut shown: String = text.chars().take(limit).collect();
    if text.chars().nth(limit).is_some() {
        shown.push('…');
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: Secret = [7; 32];

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    fn read(
        fields: &[&str],
        columns: &[&str],
        key: &[usize],
        data: &str,
        cut: usize,
    ) -> Vec<(Digest, Digest, Vec<Vec<u8>>)> {
        let layout = Layout::new(&names(fields), &names(columns), key);
        let mut reader = RowReader::new(&SECRET, layout, true);
        let mut rows = Vec::new();
        for piece in data.as_bytes().chunks(cut) {
            reader
                .push(piece, &mut |row| {
                    rows.push((row.key, row.values, row.texts.to_vec()));
                    Ok(())
                })
                .unwrap();
        }
        reader.finish().unwrap();
        rows
    }

    #[test]
    fn columns_are_compared_by_name_whatever_their_order() {
        let one = read(&["a", "b", "c"], &["a", "b"], &[0], "1\tx\tleft out\n", 100);
        let other = read(&["b", "a"], &["a", "b"], &[0], "x\t1\n", 1);
        assert_eq!(one, other);
        let changed = read(&["b", "a"], &["a", "b"], &[0], "y\t1\n", 1);
        assert!(changed[0].0 == one[0].0 && changed[0].1 != one[0].1);
    }

    #[test]
    fn a_border_between_fields_is_part_of_a_row() {
        let one = read(&["a", "b"], &["a", "b"], &[], "1\t23\n", 9);
        assert_ne!(one[0].1, read(&["a", "b"], &["a", "b"], &[], "12\t3\n", 9)[0].1);
        assert_ne!(one[0].1, read(&["a", "b"], &["a", "b"], &[], "\t123\n", 9)[0].1);
    }

    #[test]
    fn data_of_another_shape_is_an_error() {
        let layout = Layout::new(&names(&["a"]), &names(&["a"]), &[0]);
        let mut reader = RowReader::new(&SECRET, layout.clone(), false);
        assert!(reader.push(b"1\t2\n", &mut |_| Ok(())).is_err());
        let mut reader = RowReader::new(&SECRET, layout, false);
        reader.push(b"1", &mut |_| Ok(())).unwrap();
        assert!(reader.finish().is_err());
        let mut none = RowReader::new(&SECRET, Layout::new(&[], &[], &[]), false);
        let mut rows = 0;
        none.push(b"\n\n", &mut |_| {
            rows += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(rows, 2);
    }

    #[test]
    fn values_are_shown_as_they_are_and_cut() {
        assert_eq!(shown(b"\\N", 9), None);
        assert_eq!(shown(b"", 9).as_deref(), Some(""));
        assert_eq!(shown(b"a\\tb\\\\N\\n", 9).as_deref(), Some("a\tb\\N\n"));
        assert_eq!(shown("größe".as_bytes(), 3).as_deref(), Some("grö…"));
        assert_eq!(shown(b"abc\\", 9).as_deref(), Some("abc"));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(rows in prop::collection::vec(("[a-z]{0,9}", "[a-z]{0,9}"), 0..8), cut in 1_usize..7) {
            let data: String = rows.iter().map(|(a, b)| format!("{a}\t{b}\n")).collect();
            let whole = read(&["a", "b"], &["a", "b"], &[1], &data, usize::MAX);
            prop_assert_eq!(whole.len(), rows.len());
            prop_assert_eq!(read(&["a", "b"], &["a", "b"], &[1], &data, cut), whole);
        }
    }
}

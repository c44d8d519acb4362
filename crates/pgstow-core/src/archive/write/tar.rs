//! The tar format: the files of the directory format, not packed, in one stream. All lengths are known
//! beforehand, so nothing has to be written twice.

use std::io::{self, Write};

use super::toc::{self, Places};
use super::{
    ArchiveWriter, Compression, Data, END_OF_ROWS, Head, Item, LARGE_OBJECT_LIST, large_object_file,
};

const BLOCK_BYTES: usize = 512;
/// Largest length that fits as octal digits.
const OCTAL_LIMIT: u64 = 1 << 33;

/// Writes an archive in the tar format.
pub struct TarWriter<W> {
    output: W,
    modified: u64,
    /// Bytes that the current file lacks, and its padding.
    missing: u64,
    padding: usize,
    /// Lines of the list of large objects.
    list: String,
}

impl<W: Write> TarWriter<W> {
    /// Writes the table of contents.
    ///
    /// # Errors
    /// The output's.
    pub fn new(output: W, head: &Head, items: &[Item]) -> io::Result<Self> {
        let modified = u64::try_from(head.taken_at.as_second()).unwrap_or_default();
        let mut writer = Self { output, modified, missing: 0, padding: 0, list: String::new() };
        let contents = toc::encode(toc::TAR, Compression::None, head, items, &Places::Files);
        writer.file("toc.dat", &contents)?;
        Ok(writer)
    }

    /// Writes the end mark; the output.
    ///
    /// # Errors
    /// The output's.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK_BYTES])?;
        Ok(self.output)
    }

    fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.open(name, content.len() as u64)?;
        self.data(content)?;
        self.close()
    }

    fn open(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        self.output.write_all(&header(name, bytes, self.modified))?;
        self.missing = bytes;
        self.padding =
            usize::try_from(bytes.next_multiple_of(BLOCK_BYTES as u64) - bytes).unwrap_or_default();
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        if self.missing > 0 {
            return Err(io::Error::other(format!(
                "{} bytes are missing in a file of the archive",
                self.missing
            )));
        }
        let padding = [0; BLOCK_BYTES];
        self.output.write_all(padding.get(..self.padding).unwrap_or_default())
    }
}

impl<W: Write> ArchiveWriter for TarWriter<W> {
    fn begin(&mut self, item: &Item) -> io::Result<()> {
        match (item.data, item.file_name()) {
            (Data::Rows(bytes), Some(name)) => self.open(&name, bytes + END_OF_ROWS.len() as u64),
            _ => Ok(()),
        }
    }

    fn begin_large_object(&mut self, oid: u32, bytes: u64) -> io::Result<()> {
        let name = large_object_file(oid);
        self.list.push_str(&format!("{oid} {name}\n"));
        self.open(&name, bytes)
    }

    fn data(&mut self, piece: &[u8]) -> io::Result<()> {
        self.missing = self
            .missing
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| io::Error::other("a file of the archive is longer than was said"))?;
        self.output.write_all(piece)
    }

    fn end_large_object(&mut self) -> io::Result<()> {
        self.close()
    }

    fn end(&mut self, item: &Item) -> io::Result<()> {
        match item.data {
            Data::None => Ok(()),
            Data::Rows(_) => {
                self.data(END_OF_ROWS)?;
                self.close()
            }
            // pg_restore looks for the large objects before their list.
            Data::LargeObjects => {
                let list = std::mem::take(&mut self.list);
                self.file(LARGE_OBJECT_LIST, list.as_bytes())
            }
        }
    }
}

/// The header of a file (POSIX ustar; lengths of 8 GiB and more in GNU's binary form, as pg_dump has it).
fn header(name: &str, bytes: u64, modified: u64) -> [u8; BLOCK_BYTES] {
    let mut header = [0; BLOCK_BYTES];
    let mut put = |at: usize, text: &[u8]| {
        if let Some(field) = header.get_mut(at..at + text.len()) {
            field.copy_from_slice(text);
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000600 ");
    put(108, b"0000000 ");
    put(116, b"0000000 ");
    if bytes < OCTAL_LIMIT {
        put(124, format!("{bytes:011o} ").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &bytes.to_be_bytes());
    }
    put(136, format!("{:011o} ", modified.min(OCTAL_LIMIT - 1)).as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(265, b"postgres");
    put(297, b"postgres");
    put(329, b"0000000 ");
    put(337, b"0000000 ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(field) = header.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_eight_gibibytes_have_another_form() {
        let small = header("1.dat", 7, 0);
        assert_eq!(&small[124..136], b"00000000007 ");
        let large = header("1.dat", OCTAL_LIMIT, 0);
        assert_eq!(&large[124..136], [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn a_file_that_is_not_as_long_as_was_said_is_an_error() {
        let head = Head {
            taken_at: jiff::Timestamp::UNIX_EPOCH,
            database: String::new(),
            server_version: String::new(),
            dump_version: String::new(),
        };
        let mut writer = TarWriter::new(Vec::new(), &head, &[]).unwrap();
        writer.open("1.dat", 3).unwrap();
        writer.data(b"ab").unwrap();
        assert!(writer.close().is_err());
        assert!(writer.data(b"cd").is_err());
    }
}

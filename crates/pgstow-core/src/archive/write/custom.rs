//! The custom format: one file, a table of contents and then blocks of data.

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::write::ZlibEncoder;

use super::toc::{self, Places};
use super::{ArchiveWriter, BLOCK_BYTES, Compression, Counting, Data, END_OF_ROWS, Head, Item};

/// Marks of blocks.
const ROWS_BLOCK: u8 = 1;
const LARGE_OBJECTS_BLOCK: u8 = 3;

/// Writes an archive in the custom format.
pub struct CustomWriter<W> {
    output: Counting<W>,
    compression: Compression,
    /// Packs what was begun last, unless that is not packed.
    encoder: Option<ZlibEncoder<Vec<u8>>>,
    offsets: HashMap<i32, u64>,
}

impl<W: Write> CustomWriter<W> {
    /// Writes the table of contents, without the places of data.
    ///
    /// # Errors
    /// The output's.
    pub fn new(output: W, compression: Compression, head: &Head, items: &[Item]) -> io::Result<Self> {
        let offsets = HashMap::new();
        let mut output = Counting::new(output);
        let places = Places::Offsets(&offsets);
        output.write_all(&toc::encode(toc::CUSTOM, compression, head, items, &places))?;
        Ok(Self { output, compression, encoder: None, offsets })
    }

    /// The output, and the table of contents with the places of data: it takes the place of what the
    /// archive begins with, where the output can do that. pg_restore needs it for several jobs.
    pub fn finish(self, head: &Head, items: &[Item]) -> (W, Vec<u8>) {
        let places = Places::Offsets(&self.offsets);
        let toc = toc::encode(toc::CUSTOM, self.compression, head, items, &places);
        (self.output.into_inner(), toc)
    }

    fn integer(&mut self, value: i32) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(5);
        toc::integer(&mut bytes, value);
        self.output.write_all(&bytes)
    }

    fn block(&mut self, content: &[u8]) -> io::Result<()> {
        // An empty block is the end.
        if content.is_empty() {
            return Ok(());
        }
        self.integer(i32::try_from(content.len()).map_err(io::Error::other)?)?;
        self.output.write_all(content)
    }

    fn begin_data(&mut self) {
        self.encoder = match self.compression {
            Compression::Gzip => Some(ZlibEncoder::new(Vec::new(), flate2::Compression::default())),
            Compression::None => None,
        };
    }

    fn end_data(&mut self) -> io::Result<()> {
        if let Some(encoder) = self.encoder.take() {
            let rest = encoder.finish()?;
            self.block(&rest)?;
        }
        self.integer(0)
    }
}

impl<W: Write> ArchiveWriter for CustomWriter<W> {
    fn begin(&mut self, item: &Item) -> io::Result<()> {
        let mark = match item.data {
            Data::None => return Ok(()),
            Data::Rows(_) => ROWS_BLOCK,
            Data::LargeObjects => LARGE_OBJECTS_BLOCK,
        };
        self.offsets.insert(item.entry.id, self.output.bytes());
        self.output.write_all(&[mark])?;
        self.integer(item.entry.id)?;
        if mark == ROWS_BLOCK {
            self.begin_data();
        }
        Ok(())
    }

    fn begin_large_object(&mut self, oid: u32, _bytes: u64) -> io::Result<()> {
        self.integer(oid.cast_signed())?;
        self.begin_data();
        Ok(())
    }

    fn data(&mut self, piece: &[u8]) -> io::Result<()> {
        let Some(encoder) = &mut self.encoder else {
            return piece.chunks(BLOCK_BYTES).try_for_each(|block| self.block(block));
        };
        encoder.write_all(piece)?;
        if encoder.get_ref().len() >= BLOCK_BYTES {
            let packed = std::mem::take(encoder.get_mut());
            self.block(&packed)?;
        }
        Ok(())
    }

    fn end_large_object(&mut self) -> io::Result<()> {
        self.end_data()
    }

    fn end(&mut self, item: &Item) -> io::Result<()> {
        match item.data {
            Data::None => Ok(()),
            Data::Rows(_) => {
                self.data(END_OF_ROWS)?;
                self.end_data()
            }
            Data::LargeObjects => self.integer(0),
        }
    }
}

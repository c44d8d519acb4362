//! The directory format: a folder with a file for the table of contents and one for each table and large
//! object.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use super::toc::{self, Places};
use super::{
    ArchiveWriter, Compression, Data, END_OF_ROWS, Head, Item, LARGE_OBJECT_LIST, large_object_file,
};

/// Opens a new file of the folder.
pub type Opener<'a> = Box<dyn FnMut(&str) -> io::Result<Box<dyn FileWriter>> + 'a>;

/// A file that is written.
pub trait FileWriter: Write {
    /// Makes sure that all is in the file.
    ///
    /// # Errors
    /// The system's.
    fn close(self: Box<Self>) -> io::Result<()>;
}

enum Content {
    Packed(Box<GzEncoder<Box<dyn FileWriter>>>),
    Plain(Box<dyn FileWriter>),
}

/// Writes an archive in the directory format.
pub struct DirectoryWriter<'a> {
    open: Opener<'a>,
    compression: Compression,
    current: Option<Content>,
    /// Lines of the list of large objects.
    list: String,
}

impl<'a> DirectoryWriter<'a> {
    /// Writes the table of contents.
    ///
    /// # Errors
    /// The opener's.
    pub fn new(
        mut open: Opener<'a>,
        compression: Compression,
        head: &Head,
        items: &[Item],
    ) -> io::Result<Self> {
        let mut contents = open("toc.dat")?;
        contents.write_all(&toc::encode(toc::TAR, compression, head, items, &Places::Files))?;
        contents.close()?;
        Ok(Self { open, compression, current: None, list: String::new() })
    }

    fn open_content(&mut self, name: &str) -> io::Result<()> {
        self.current = Some(match self.compression {
            Compression::Gzip => {
                let file = (self.open)(&format!("{name}.gz"))?;
                Content::Packed(Box::new(GzEncoder::new(file, flate2::Compression::default())))
            }
            Compression::None => Content::Plain((self.open)(name)?),
        });
        Ok(())
    }

    fn close_content(&mut self) -> io::Result<()> {
        match self.current.take() {
            Some(Content::Packed(encoder)) => encoder.finish()?.close(),
            Some(Content::Plain(file)) => file.close(),
            None => Ok(()),
        }
    }
}

impl ArchiveWriter for DirectoryWriter<'_> {
    fn begin(&mut self, item: &Item) -> io::Result<()> {
        match (item.data, item.file_name()) {
            (Data::Rows(_), Some(name)) => self.open_content(&name),
            _ => Ok(()),
        }
    }

    fn begin_large_object(&mut self, oid: u32, _bytes: u64) -> io::Result<()> {
        let name = large_object_file(oid);
        self.list.push_str(&format!("{oid} {name}\n"));
        self.open_content(&name)
    }

    fn data(&mut self, piece: &[u8]) -> io::Result<()> {
        match &mut self.current {
            Some(Content::Packed(encoder)) => encoder.write_all(piece),
            Some(Content::Plain(file)) => file.write_all(piece),
            None => Ok(()),
        }
    }

    fn end_large_object(&mut self) -> io::Result<()> {
        self.close_content()
    }

    fn end(&mut self, item: &Item) -> io::Result<()> {
        match item.data {
            Data::None => Ok(()),
            Data::Rows(_) => {
                self.data(END_OF_ROWS)?;
                self.close_content()
            }
            Data::LargeObjects => {
                let mut list = (self.open)(LARGE_OBJECT_LIST)?;
                list.write_all(self.list.as_bytes())?;
                list.close()
            }
        }
    }
}

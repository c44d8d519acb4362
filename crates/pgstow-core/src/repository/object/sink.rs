//! Where an object's compressed bytes go: a file of the store, encrypted on the way or not.

use std::io::{self, Write};

use age::stream::StreamWriter;

use crate::repository::store::PendingFile;

/// A file of the store, and how much was written to it.
pub(super) struct Counted {
    file: Box<dyn PendingFile>,
    bytes: u64,
}

/// Takes an object's compressed bytes.
pub(super) enum Sink {
    /// Stores them as they are.
    Plain(Counted),
    /// Encrypts them.
    Encrypted(Box<StreamWriter<Counted>>),
}

impl Counted {
    pub(super) fn new(file: Box<dyn PendingFile>) -> Self {
        Self { file, bytes: 0 }
    }
}

impl Sink {
    /// The whole file, and its length.
    pub(super) fn finish(self) -> io::Result<(Box<dyn PendingFile>, u64)> {
        let Counted { file, bytes } = match self {
            Self::Plain(file) => file,
            Self::Encrypted(writer) => writer.finish()?,
        };
        Ok((file, bytes))
    }
}

impl Write for Sink {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(buffer),
            Self::Encrypted(writer) => writer.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.bytes += u64::try_from(written).expect("a usize has at most 64 bits");
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

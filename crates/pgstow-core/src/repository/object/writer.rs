//! Writing an object: hash and compress what comes in, store it under its id.

use std::io::{self, Write};

use super::files::ObjectFiles;
use super::sink::Sink;
use super::store_failure;
use crate::error::{Error, Result};
use crate::repository::format::encryption::{ObjectKey, object_hasher};
use crate::repository::format::id::ObjectId;
use crate::repository::format::manifest::Object;

/// Content of a full frame. Each is compressed in one go: a stream's buffer wraps around, and the
/// compressor is a sixth slower where what it looks back at lies in two places. Smaller frames forget
/// more; larger ones leave the processor's cache.
const FRAME_BYTES: usize = 1 << 20;

/// Writes one object: hashes, compresses and, in an encrypted repository, encrypts what is written,
/// stores it on `finish`.
///
/// Memory is constant (about 3 MiB at level 1): content is gathered to frames of 1 MiB. Errors of
/// `write` carry an [`Error`]: take it out with [`Error::from_io`]. Dropping it leaves nothing
/// behind.
pub struct ObjectWriter {
    files: ObjectFiles,
    key: Option<ObjectKey>,
    sink: Sink,
    compressor: zstd::bulk::Compressor<'static>,
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
    /// A compressed frame.
    frame: Vec<u8>,
    bytes: u64,
    compressed_bytes: u64,
}

/// What finishing an object gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Id and sizes.
    pub object: Object,
    /// False when the repository held it already.
    pub new: bool,
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a usize has at most 64 bits")
}

impl ObjectWriter {
    pub(in crate::repository) fn new(files: ObjectFiles, key: Option<ObjectKey>, level: i32) -> Result<Self> {
        let sink = files.create()?;
        let compressor = zstd::bulk::Compressor::new(level)
            .map_err(|error| Error::failed("cannot set up compression").source(error))?;
        Ok(Self {
            files,
            sink,
            compressor,
            hasher: object_hasher(key.as_ref()),
            key,
            gathered: Vec::with_capacity(FRAME_BYTES),
            frame: Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME_BYTES)),
            bytes: 0,
            compressed_bytes: 0,
        })
    }

    /// Uncompressed bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Stores the object under its id, as the smallest copy whose name is not dead.
    ///
    /// # Errors
    /// The store's; nothing is left behind then. An object of that id that is stored already and
    /// damaged, named: it is left as it is.
    pub fn finish(mut self) -> Result<Written> {
        let location = self.files.location();
        let failed = |error| store_failure(error, || format!("cannot write an object into {location}"));
        // Without content there is a frame too: an empty file would be damage.
        if !self.gathered.is_empty() || self.bytes == 0 {
            self.write_frame().map_err(failed)?;
        }
        let id = ObjectId(self.hasher.finalize().into());
        let (file, stored_bytes) = self.sink.finish().map_err(failed)?;
        let written = Object { id, copy: 0, bytes: self.bytes, stored_bytes };
        self.files.commit(file, written, self.compressed_bytes, self.key.as_ref())
    }

    /// Hashes, compresses and writes what was gathered.
    fn write_frame(&mut self) -> io::Result<()> {
        self.hasher.update(&self.gathered);
        self.frame.clear();
        self.compressor.compress_to_buffer(&self.gathered, &mut self.frame)?;
        self.sink.write_all(&self.frame)?;
        self.compressed_bytes += length(self.frame.len());
        self.gathered.clear();
        Ok(())
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let room = FRAME_BYTES - self.gathered.len();
        let taken = buffer.get(..room).unwrap_or(buffer);
        self.gathered.extend_from_slice(taken);
        if self.gathered.len() == FRAME_BYTES {
            self.write_frame().map_err(|error| {
                let location = || format!("cannot write an object into {}", self.files.location());
                io::Error::from(store_failure(error, location))
            })?;
        }
        self.bytes += length(taken.len());
        Ok(taken.len())
    }

    /// Does nothing: content becomes durable with [`ObjectWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

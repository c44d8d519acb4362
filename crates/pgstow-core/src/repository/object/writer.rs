//! Writing an object: hash and compress what comes in, store it under its id.

use std::io::{self, Write};
use std::sync::Arc;

use super::{ObjectReader, store_failure};
use crate::error::{Error, Result};
use crate::repository::format::id::ObjectId;
use crate::repository::format::layout;
use crate::repository::format::manifest::Object;
use crate::repository::store::{PendingFile, Store};

/// Content of a full frame. Each is compressed in one go: a stream's buffer wraps around, and the
/// compressor is a sixth slower where what it looks back at lies in two places. Smaller frames forget
/// more; larger ones leave the processor's cache.
const FRAME_BYTES: usize = 1 << 20;

/// Writes one object: hashes and compresses what is written, stores it on `finish`.
///
/// Memory is constant (about 3 MiB at level 1): content is gathered to frames of 1 MiB. Errors of
/// `write` carry an [`Error`]: take it out with [`Error::from_io`]. Dropping it leaves nothing
/// behind.
pub struct ObjectWriter {
    store: Arc<dyn Store>,
    file: Box<dyn PendingFile>,
    compressor: zstd::bulk::Compressor<'static>,
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
    /// A compressed frame.
    frame: Vec<u8>,
    bytes: u64,
    stored_bytes: u64,
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
    pub(in crate::repository) fn new(store: Arc<dyn Store>, level: i32) -> Result<Self> {
        let file = store.create()?;
        let compressor = zstd::bulk::Compressor::new(level)
            .map_err(|error| Error::failed("cannot set up compression").source(error))?;
        Ok(Self {
            store,
            file,
            compressor,
            hasher: blake3::Hasher::new(),
            gathered: Vec::with_capacity(FRAME_BYTES),
            frame: Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME_BYTES)),
            bytes: 0,
            stored_bytes: 0,
        })
    }

    /// Uncompressed bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Stores the object under its id.
    ///
    /// # Errors
    /// The store's; nothing is left behind then. An object of that id that is stored already and
    /// damaged, named: it is left as it is.
    pub fn finish(mut self) -> Result<Written> {
        let location = self.store.location();
        let failed = |error| store_failure(error, || format!("cannot write an object into {location}"));
        // Without content there is a frame too: an empty file would be damage.
        if !self.gathered.is_empty() || self.bytes == 0 {
            self.write_frame().map_err(failed)?;
        }
        let id = ObjectId(self.hasher.finalize().into());
        let written = Object { id, copy: 0, bytes: self.bytes, stored_bytes: self.stored_bytes };
        if self.file.commit(&layout::object(&written.name()))? {
            return Ok(Written { object: written, new: true });
        }
        let object = check_existing(&self.store, written)?;
        Ok(Written { object, new: false })
    }

    /// Hashes, compresses and writes what was gathered.
    fn write_frame(&mut self) -> io::Result<()> {
        self.hasher.update(&self.gathered);
        self.frame.clear();
        self.compressor.compress_to_buffer(&self.gathered, &mut self.frame)?;
        self.file.write_all(&self.frame)?;
        self.stored_bytes += length(self.frame.len());
        self.gathered.clear();
        Ok(())
    }
}

/// Makes sure that a stored object of the same id can stand for `written`, and returns it with
/// its own stored size.
///
/// The same content compresses to the same size unless level or library differ. So an equal size
/// is taken for whole, as files appear whole or not at all; any other size is read through.
fn check_existing(store: &Arc<dyn Store>, written: Object) -> Result<Object> {
    let path = layout::object(&written.name());
    let stored_bytes = store
        .size(&path)?
        .ok_or_else(|| Error::failed(format!("{}/{path} vanished while it was used", store.location())))?;
    let object = Object { stored_bytes, ..written };
    if stored_bytes != written.stored_bytes {
        ObjectReader::new(store.as_ref(), &object)?.read_through()?;
    }
    Ok(object)
}

impl Write for ObjectWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let room = FRAME_BYTES - self.gathered.len();
        let taken = buffer.get(..room).unwrap_or(buffer);
        self.gathered.extend_from_slice(taken);
        if self.gathered.len() == FRAME_BYTES {
            self.write_frame().map_err(|error| {
                let location = || format!("cannot write an object into {}", self.store.location());
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

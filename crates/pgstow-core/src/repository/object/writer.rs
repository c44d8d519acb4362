//! Writing an object: hash and compress what comes in, store it under its id.

use std::io::{self, Write};
use std::sync::Arc;

use super::{ObjectReader, PIECE_BYTES, store_failure};
use crate::error::{Error, Result};
use crate::repository::format::id::ObjectId;
use crate::repository::format::layout;
use crate::repository::format::manifest::Object;
use crate::repository::store::{PendingFile, Store};

/// Writes one object: hashes and compresses what is written, stores it on `finish`.
///
/// Memory is constant (about 1 MiB at level 1). Small writes are gathered; large ones go through
/// uncopied. Errors of `write` carry an [`Error`]: take it out with [`Error::from_io`]. Dropping it
/// leaves nothing behind.
pub struct ObjectWriter {
    store: Arc<dyn Store>,
    encoder: zstd::stream::write::Encoder<'static, Counted>,
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
    bytes: u64,
}

/// What finishing an object gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Id and sizes.
    pub object: Object,
    /// False when the repository held it already.
    pub new: bool,
}

/// Counts what reaches the file.
struct Counted {
    file: Box<dyn PendingFile>,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.bytes += length(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a usize has at most 64 bits")
}

impl ObjectWriter {
    pub(in crate::repository) fn new(store: Arc<dyn Store>, level: i32) -> Result<Self> {
        let file = Counted { file: store.create()?, bytes: 0 };
        let encoder = zstd::stream::write::Encoder::new(file, level)
            .map_err(|error| Error::failed("cannot set up compression").source(error))?;
        let gathered = Vec::with_capacity(PIECE_BYTES);
        Ok(Self { store, encoder, hasher: blake3::Hasher::new(), gathered, bytes: 0 })
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
        self.pass_on().map_err(failed)?;
        let id = ObjectId(self.hasher.finalize().into());
        let stored = self.encoder.finish().map_err(failed)?;
        let written = Object { id, bytes: self.bytes, stored_bytes: stored.bytes };
        if stored.file.commit(&layout::object(&id))? {
            return Ok(Written { object: written, new: true });
        }
        let object = check_existing(&self.store, written)?;
        Ok(Written { object, new: false })
    }

    /// Hashes and compresses what was gathered.
    fn pass_on(&mut self) -> io::Result<()> {
        self.hasher.update(&self.gathered);
        self.encoder.write_all(&self.gathered)?;
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
    let path = layout::object(&written.id);
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
        let location = || format!("cannot write an object into {}", self.store.location());
        let carried = |error: io::Error| io::Error::from(store_failure(error, location));
        if self.gathered.len() + buffer.len() < PIECE_BYTES {
            self.gathered.extend_from_slice(buffer);
        } else {
            self.hasher.update(&self.gathered).update(buffer);
            self.encoder
                .write_all(&self.gathered)
                .and_then(|()| self.encoder.write_all(buffer))
                .map_err(carried)?;
            self.gathered.clear();
        }
        self.bytes += length(buffer.len());
        Ok(buffer.len())
    }

    /// Does nothing: content becomes durable with [`ObjectWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

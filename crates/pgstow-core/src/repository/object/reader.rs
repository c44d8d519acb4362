//! Reading an object: unpack, hash, and compare with its id before the last byte is handed out.

use std::io::{self, BufRead, BufReader, Read};

use super::{PIECE_BYTES, store_failure};
use crate::error::{Error, Result};
use crate::repository::format::compressed::WINDOW_LOG_LIMIT;
use crate::repository::format::id::ObjectId;
use crate::repository::format::manifest::Object;

type Decoder = zstd::stream::read::Decoder<'static, BufReader<Box<dyn Read + Send>>>;

/// Reads an object's uncompressed content and checks it against its id at the end.
///
/// The last bytes are handed out only after length and hash were found right and nothing follows
/// them in the file; else the read fails with an `io::Error` that carries an [`Error`]
/// ([`Error::from_io`] takes it out) and names the object. So whoever gets all bytes of the
/// manifest's length has proven content. A reader dropped earlier has proven nothing.
///
/// Never hands out more than the object's length; memory is at most the window of a zstd frame,
/// 8 MiB, and small buffers.
pub struct ObjectReader {
    object: Object,
    path: String,
    decoder: Decoder,
    hasher: blake3::Hasher,
    bytes: u64,
    state: State,
}

enum State {
    Reading,
    Proven,
    Failed,
}

impl ObjectReader {
    /// `content` is what the file holds, decrypted; `hasher` makes its id.
    pub(super) fn new(
        path: String,
        content: Box<dyn Read + Send>,
        object: &Object,
        hasher: blake3::Hasher,
    ) -> Result<Self> {
        let failed = |error: io::Error| store_failure(error, || format!("cannot read {path}"));
        let mut file = BufReader::with_capacity(PIECE_BYTES, content);
        let begins = file.fill_buf().map_err(|error| match error.kind() {
            // Of what was to be decrypted.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof if error.raw_os_error().is_none() => {
                damage(&path, &format!("it does not decrypt: {error}"))
            }
            _ => failed(error),
        })?;
        if begins.is_empty() {
            return Err(damage(&path, "the file is empty"));
        }
        let mut decoder = Decoder::with_buffer(file).map_err(failed)?;
        decoder.window_log_max(WINDOW_LOG_LIMIT).map_err(failed)?;
        Ok(Self { object: object.clone(), path, decoder, hasher, bytes: 0, state: State::Reading })
    }

    /// Reads to the end and drops the content; returns its length.
    ///
    /// # Errors
    /// Damage, or the store's error.
    pub fn read_through(self) -> Result<u64> {
        let bytes = self.object.bytes;
        self.for_each_range(&[], |_, _| Ok(())).map(|()| bytes)
    }

    /// Hands the content of each range `(offset, bytes)` to `sink` with the range's index, in
    /// pieces of at most 128 KiB, and reads to the end. An empty range gets no call.
    ///
    /// The content is proven only when this returns: until then whatever `sink` did must be
    /// possible to take back.
    ///
    /// # Errors
    /// Damage, named; the store's; `sink`'s, at once. Ranges that overlap, are not in order or
    /// reach beyond the content.
    pub fn for_each_range(
        mut self,
        ranges: &[(u64, u64)],
        mut sink: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut cutter = Cutter::new(ranges, self.object.bytes)?;
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let length = match self.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::from_io(error, format!("cannot read {}", self.path))),
            };
            cutter.cut(buffer.get(..length).unwrap_or_default(), &mut sink)?;
        }
    }

    /// [`ObjectReader::for_each_range`] for a single range.
    ///
    /// # Errors
    /// As there.
    pub fn read_range(
        self,
        offset: u64,
        bytes: u64,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.for_each_range(&[(offset, bytes)], |_, piece| sink(piece))
    }

    /// Reads once, at most to the object's length; proves all when that is reached.
    fn advance(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let remaining = self.object.bytes - self.bytes;
        let room = buffer.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
        let target = buffer.get_mut(..room).unwrap_or_default();
        let length = if target.is_empty() {
            0
        } else {
            self.decoder.read(target).map_err(|error| self.failure(error))?
        };
        if length == 0 && remaining > 0 {
            return Err(damage(
                &self.path,
                &format!("it holds {} bytes instead of {}", self.bytes, self.object.bytes),
            ));
        }
        self.hasher.update(target.get(..length).unwrap_or_default());
        self.bytes += u64::try_from(length).expect("a usize has at most 64 bits");
        if self.bytes == self.object.bytes {
            self.prove()?;
        }
        Ok(length)
    }

    fn prove(&mut self) -> Result<()> {
        if self.decoder.read(&mut [0]).map_err(|error| self.failure(error))? > 0 {
            let why = format!("it holds more than its {} bytes", self.object.bytes);
            return Err(damage(&self.path, &why));
        }
        if ObjectId(self.hasher.finalize().into()) != self.object.id {
            return Err(damage(&self.path, "its content does not match its id"));
        }
        self.state = State::Proven;
        Ok(())
    }

    /// The system's errors have a number; those of the decoder mean that the bytes are wrong.
    fn failure(&self, error: io::Error) -> Error {
        if error.raw_os_error().is_some() || error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            Error::from_io(error, format!("cannot read {}", self.path))
        } else {
            damage(&self.path, &format!("it does not unpack: {error}"))
        }
    }
}

/// Names the object by its path, whose last part is its id.
fn damage(path: &str, why: &str) -> Error {
    Error::failed(format!("object {path} is damaged"))
        .why(why)
        .hint("pgstow verify BACKUP --read-data  names every table that is affected")
        .hint(
            "move the damaged file away: the next backup stores that object again if the source still has it",
        )
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.state {
            State::Proven => Ok(0),
            State::Failed => Err(damage(&self.path, "an earlier read failed").into()),
            State::Reading => self.advance(buffer).map_err(|error| {
                self.state = State::Failed;
                error.into()
            }),
        }
    }
}

/// Cuts content that comes in pieces into ranges.
struct Cutter<'r> {
    ranges: &'r [(u64, u64)],
    /// Index of the first range that is not done.
    next: usize,
    position: u64,
}

impl<'r> Cutter<'r> {
    fn new(ranges: &'r [(u64, u64)], content_bytes: u64) -> Result<Self> {
        let mut previous_end = 0;
        for &(offset, bytes) in ranges {
            let end = offset.checked_add(bytes).filter(|&end| offset >= previous_end && end <= content_bytes);
            previous_end = end.ok_or_else(|| {
                Error::failed(format!(
                    "the range of {bytes} bytes at {offset} is out of order or beyond the object's end"
                ))
            })?;
        }
        Ok(Self { ranges, next: 0, position: 0 })
    }

    fn cut(&mut self, piece: &[u8], sink: &mut impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let piece_end = self.position + u64::try_from(piece.len()).expect("a usize has at most 64 bits");
        while let Some(&(offset, bytes)) = self.ranges.get(self.next) {
            if offset >= piece_end {
                break;
            }
            let end = offset + bytes;
            let part = self.part(piece, offset, end.min(piece_end));
            if !part.is_empty() {
                sink(self.next, part)?;
            }
            if end > piece_end {
                break;
            }
            self.next += 1;
        }
        self.position = piece_end;
        Ok(())
    }

    /// What of `piece` lies in the content's bytes `from..to`.
    fn part<'p>(&self, piece: &'p [u8], from: u64, to: u64) -> &'p [u8] {
        let within =
            |position: u64| usize::try_from(position.saturating_sub(self.position)).unwrap_or(usize::MAX);
        piece.get(within(from)..within(to)).unwrap_or_default()
    }
}

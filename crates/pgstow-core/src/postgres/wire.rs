//! Messages to and from the server over a [`Stream`]: one receive buffer, its own frame parser.
//!
//! COPY data is handed out from the receive buffer as it comes in: never a whole row, never a
//! copy of its own, and neighbouring messages joined into one large piece. Every other message is
//! held whole, within a limit. Every length the server sends is checked before it is used.
//! Format: PostgreSQL manual, "Message Formats".

use std::io::{self, ErrorKind};
use std::ops::Range;

use super::stream::Stream;

/// Size of the receive buffer, and of the largest piece of COPY data handed out.
pub(super) const BUFFER_BYTES: usize = 512 * 1024;
/// Type and length before every message.
const HEADER_BYTES: usize = 5;
/// No message other than COPY data may be longer: PostgreSQL itself has no longer values.
const MESSAGE_LIMIT_BYTES: usize = 1 << 30;
/// Type byte of COPY data.
const COPY_DATA: u8 = b'd';

/// A whole message in the receive buffer; valid until the next one is asked for.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Type of the message.
    pub(super) tag: u8,
    body: Range<usize>,
}

/// The next thing in the stream.
pub(super) enum Piece {
    /// COPY data, not aligned to messages.
    Data(Range<usize>),
    /// Any other message.
    Frame(Frame),
}

/// Where messages come from.
pub(super) trait Source {
    /// Reads at least one byte; 0 at the end.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Source for Stream {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }
}

/// Reads what is there without waiting.
pub(super) struct Eager<'s>(pub(super) &'s mut Stream);

impl Source for Eager<'_> {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_now(buffer)
    }
}

/// Cuts the byte stream into messages.
pub(super) struct FrameReader {
    /// `buffer[start..end]` holds what is received and not handed out.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the current COPY data message that are still to come.
    owed: usize,
    capacity: usize,
    limit: usize,
}

impl FrameReader {
    fn with_sizes(capacity: usize, limit: usize) -> Self {
        Self { buffer: vec![0; capacity], start: 0, end: 0, owed: 0, capacity, limit }
    }

    /// Limits the length of messages: a peer that has not logged us in has little to say.
    pub(super) fn limited_to(limit: usize) -> Self {
        Self::with_sizes(BUFFER_BYTES, limit)
    }

    /// Back to the ordinary limit.
    pub(super) fn lift_limit(&mut self) {
        self.limit = MESSAGE_LIMIT_BYTES;
    }

    /// The bytes of a piece.
    pub(super) fn data(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The body of a message, without type and length.
    pub(super) fn body(&self, frame: &Frame) -> &[u8] {
        &self.buffer[frame.body.clone()]
    }

    /// The next piece of COPY data or message.
    ///
    /// # Errors
    /// The source's, `UnexpectedEof` when it ends, `InvalidData` for a length no server sends.
    /// After an error of the source the call can be repeated.
    pub(super) fn next(&mut self, source: &mut dyn Source) -> io::Result<Piece> {
        loop {
            let piece = self.take_copy_data()?;
            if !piece.is_empty() {
                return Ok(Piece::Data(piece));
            }
            let mut missing = HEADER_BYTES;
            if let Some((tag, length)) = self.header()?
                && tag != COPY_DATA
            {
                missing = HEADER_BYTES + length;
                if self.end - self.start >= missing {
                    let body = self.start + HEADER_BYTES..self.start + missing;
                    self.start += missing;
                    return Ok(Piece::Frame(Frame { tag, body }));
                }
            }
            self.fill(source, missing)?;
        }
    }

    /// Type and body length of the message at the start, once both are there.
    fn header(&self) -> io::Result<Option<(u8, usize)>> {
        let Some(&[tag, a, b, c, d]) = self.buffer[self.start..self.end].first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length =
            usize::try_from(i32::from_be_bytes([a, b, c, d])).ok().and_then(|all| all.checked_sub(4));
        match length {
            Some(length) if tag == COPY_DATA || length <= self.limit => Ok(Some((tag, length))),
            _ => {
                Err(io::Error::new(ErrorKind::InvalidData, "the server sent a message of impossible length"))
            }
        }
    }

    /// Joins the COPY data that stands at the start of the buffer, moving payloads over the
    /// headers between them.
    fn take_copy_data(&mut self) -> io::Result<Range<usize>> {
        let from = if self.owed > 0 {
            self.start
        } else {
            match self.header()? {
                Some((COPY_DATA, length)) => {
                    self.start += HEADER_BYTES;
                    self.owed = length;
                    self.start
                }
                _ => return Ok(0..0),
            }
        };
        let mut to = from;
        loop {
            let count = self.owed.min(self.end - self.start);
            if to != self.start {
                self.buffer.copy_within(self.start..self.start + count, to);
            }
            to += count;
            self.start += count;
            self.owed -= count;
            match self.header() {
                Ok(Some((COPY_DATA, length))) if self.owed == 0 => {
                    self.start += HEADER_BYTES;
                    self.owed = length;
                }
                // A broken header is reported once the data before it is handed out.
                _ => return Ok(from..to),
            }
        }
    }

    /// Reads more, making room for a message of `needed` bytes little by little: memory follows
    /// what really arrives, not what a length promises.
    fn fill(&mut self, source: &mut dyn Source, needed: usize) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let larger = needed.min(self.buffer.len() * 2).max(self.capacity);
            self.buffer.resize(larger, 0);
        } else if self.buffer.len() > self.capacity && needed <= self.capacity && self.end <= self.capacity {
            self.buffer.truncate(self.capacity);
            self.buffer.shrink_to_fit();
        }
        match source.fill(&mut self.buffer[self.end..])? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives prepared bytes in pieces of prepared sizes.
    struct Script {
        bytes: Vec<u8>,
        given: usize,
        sizes: Vec<usize>,
        turn: usize,
    }

    impl Script {
        fn new(bytes: Vec<u8>, sizes: Vec<usize>) -> Self {
            Self { bytes, given: 0, sizes, turn: 0 }
        }
    }

    impl Source for Script {
        fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(!buffer.is_empty(), "asked to read into nothing");
            let size = self.sizes[self.turn % self.sizes.len()];
            self.turn += 1;
            if size == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = size.min(buffer.len()).min(self.bytes.len() - self.given);
            buffer[..count].copy_from_slice(&self.bytes[self.given..self.given + count]);
            self.given += count;
            Ok(count)
        }
    }

    fn encode(messages: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tag, body) in messages {
            bytes.push(*tag);
            bytes.extend_from_slice(&u32::try_from(body.len() + 4).expect("small").to_be_bytes());
            bytes.extend_from_slice(body);
        }
        bytes
    }

    /// Messages in order; neighbouring COPY data is one entry.
    fn joined(messages: &[(u8, Vec<u8>)]) -> Vec<(u8, Vec<u8>)> {
        let mut all: Vec<(u8, Vec<u8>)> = Vec::new();
        for (tag, body) in messages {
            match all.last_mut() {
                Some((COPY_DATA, last)) if *tag == COPY_DATA => last.extend_from_slice(body),
                _ if *tag == COPY_DATA && body.is_empty() => {}
                _ => all.push((*tag, body.clone())),
            }
        }
        all
    }

    fn read_all(reader: &mut FrameReader, source: &mut Script) -> Vec<(u8, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            match reader.next(source) {
                Ok(Piece::Data(range)) => {
                    assert!(range.len() <= reader.buffer.len());
                    found.push((COPY_DATA, reader.data(range).to_vec()));
                }
                Ok(Piece::Frame(frame)) => found.push((frame.tag, reader.body(&frame).to_vec())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                    return joined(&found);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_stream_is_read_the_same_however_it_is_cut(
            messages in prop::collection::vec(
                (prop_oneof![3 => Just(COPY_DATA), 1 => Just(b'D'), 1 => Just(b'N')],
                 prop::collection::vec(any::<u8>(), 0..60)),
                0..20,
            ),
            mut sizes in prop::collection::vec(0usize..40, 1..12),
            capacity in 5usize..100,
        ) {
            sizes.push(1);
            let mut reader = FrameReader::with_sizes(capacity, 1 << 20);
            let mut source = Script::new(encode(&messages), sizes);
            prop_assert_eq!(read_all(&mut reader, &mut source), joined(&messages));
        }

        #[test]
        fn no_bytes_make_the_reader_panic_or_swell(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = FrameReader::with_sizes(16, 1 << 30);
            let mut source = Script::new(bytes, vec![7]);
            while reader.next(&mut source).is_ok() {}
            prop_assert!(reader.buffer.len() <= 2 * 200 + 16);
        }
    }

    #[test]
    fn many_small_rows_are_handed_out_as_one_piece() {
        let messages: Vec<_> =
            (0..1000).map(|row| (COPY_DATA, format!("row {row}\n").into_bytes())).collect();
        let bytes = encode(&messages);
        let mut source = Script::new(bytes, vec![usize::MAX]);
        let mut reader = FrameReader::limited_to(100);
        let Ok(Piece::Data(range)) = reader.next(&mut source) else { panic!("no data") };
        assert_eq!(reader.data(range), joined(&messages)[0].1);
    }

    #[test]
    fn a_row_larger_than_the_buffer_passes_through_it() {
        let row = vec![7; 100_000];
        let mut source = Script::new(encode(&[(COPY_DATA, row.clone()), (b'Z', vec![b'I'])]), vec![300]);
        let mut reader = FrameReader::with_sizes(1024, 100);
        assert_eq!(read_all(&mut reader, &mut source), [(COPY_DATA, row), (b'Z', vec![b'I'])]);
        assert_eq!(reader.buffer.len(), 1024);
    }

    #[test]
    fn the_buffer_shrinks_again_after_a_long_message() {
        let long = vec![1; 50_000];
        let bytes = encode(&[(b'D', long.clone()), (b'C', vec![0]), (b'D', long), (b'C', vec![0])]);
        let mut reader = FrameReader::with_sizes(64, 1 << 20);
        let mut source = Script::new(bytes, vec![64]);
        assert_eq!(read_all(&mut reader, &mut source).len(), 4);
        assert_eq!(reader.buffer.len(), 64);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for length in [0i32, 3, -1, i32::MIN, 1 << 20, i32::MAX] {
            let mut bytes = vec![b'D'];
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&[0; 100]);
            let mut reader = FrameReader::with_sizes(64, 1000);
            let outcome = reader.next(&mut Script::new(bytes, vec![64]));
            assert!(matches!(outcome, Err(error) if error.kind() == ErrorKind::InvalidData), "{length}");
        }
        let mut reader = FrameReader::with_sizes(64, 1000);
        let outcome = reader.next(&mut Script::new(vec![COPY_DATA, 0xff, 0xff, 0xff, 0xff, 1], vec![64]));
        assert!(matches!(outcome, Err(error) if error.kind() == ErrorKind::InvalidData));
    }
}

//! Compressed streams, recognised by what they begin with. Decoders stream: what a small file blows
//! up to is never held.

use std::io::{self, BufReader, Read};

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use lz4_flex::frame::FrameDecoder;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    /// With gzip's header.
    Gzip,
    /// Without it, as in blocks of custom archives.
    Zlib,
    Lz4,
    Zstd,
}

impl Compression {
    /// By the first bytes of a file.
    pub(crate) fn of(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Lz4,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "not compressed",
            Self::Gzip | Self::Zlib => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The content of `source`.
    ///
    /// # Errors
    /// The decoder's.
    pub(crate) fn decoder<'r>(self, source: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Self::None => Box::new(source),
            Self::Gzip => Box::new(MultiGzDecoder::new(source)),
            Self::Zlib => Box::new(ZlibDecoder::new(source)),
            Self::Lz4 => Box::new(FrameDecoder::new(BufReader::new(source))),
            Self::Zstd => Box::new(zstd::Decoder::new(source)?),
        })
    }
}

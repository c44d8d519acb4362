//! Objects: immutable stored content, named by its hash.
//!
//! zstd frames of 1 MiB of content when written; any frames when read. The id is of the
//! uncompressed content, so it proves what a reader gets, whatever the compression.

mod files;
mod reader;
mod sink;
mod transfer;
mod writer;

pub(super) use files::ObjectFiles;
pub use reader::ObjectReader;
pub(super) use transfer::transfer;
pub use writer::{ObjectWriter, Written};

use std::io;

use crate::error::Error;
use crate::repository::store::StoreError;

/// Size of the pieces in which content is moved.
pub(super) const PIECE_BYTES: usize = 128 << 10;

/// The error in an `io::Error` of a store's file, or else one with `message`.
pub(super) fn store_failure(error: io::Error, message: impl FnOnce() -> String) -> Error {
    match error.downcast::<StoreError>() {
        Ok(error) => Error::from(error),
        Err(error) => Error::from_io(error, message()),
    }
}

//! Random bytes of the system.

use std::fs::File;
use std::io::Read;

use crate::error::{Error, Result};

/// So many random bytes.
///
/// # Errors
/// When the system has none to give.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut random = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|error| Error::failed("cannot read random bytes from /dev/urandom").source(error))?;
    Ok(random)
}

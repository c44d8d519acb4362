//! Copying an object's file byte for byte, proven on the way.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::files::ObjectFiles;
use super::sink::Sink;
use super::{ObjectReader, PIECE_BYTES, Written, store_failure};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::repository::format::encryption::object_hasher;
use crate::repository::format::manifest::Object;

/// Passes on what is read and keeps a copy of it.
struct Tee {
    source: Box<dyn Read + Send>,
    copy: Arc<Mutex<Sink>>,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        copy.write_all(buffer.get(..length).unwrap_or_default())?;
        Ok(length)
    }
}

/// Copies the file of an object between repositories of which neither is encrypted. It is stored
/// only when the content was read to its end and is right.
///
/// # Errors
/// Damage, named; the stores'; interrupted. Nothing is left behind then.
pub(in crate::repository) fn transfer(
    from: &ObjectFiles,
    to: &ObjectFiles,
    object: &Object,
    interrupt: &Interrupt,
) -> Result<Written> {
    let copy = Arc::new(Mutex::new(to.create()?));
    let (shown, source) = from.open(object)?;
    let tee = Tee { source, copy: Arc::clone(&copy) };
    let mut reader = ObjectReader::new(shown.clone(), Box::new(tee), object, object_hasher(None))?;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        interrupt.check()?;
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(Error::from_io(error, format!("cannot copy {shown}"))),
        }
    }
    drop(reader);
    let copy = Arc::into_inner(copy).expect("the reader held the only other one");
    let failed = |error| store_failure(error, || format!("cannot write an object into {}", to.location()));
    let (file, stored_bytes) =
        copy.into_inner().unwrap_or_else(PoisonError::into_inner).finish().map_err(failed)?;
    to.commit(file, Object { copy: 0, stored_bytes, ..object.clone() }, stored_bytes, None)
}

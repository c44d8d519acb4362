//! Reads one side's rows into the spool.

use super::fields::{Layout, Row, RowReader};
use super::spool::{Of, Record, Spool};
use super::streams::{Stream, unreadable};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::postgres::Connection;

/// How rows are read.
pub(crate) struct Reading<'r> {
    /// What of a stream with these columns is compared.
    pub(crate) layout: &'r dyn Fn(&[String]) -> Layout,
    pub(crate) interrupt: &'r Interrupt,
    /// Hears of bytes that were read.
    pub(crate) progress: &'r dyn Fn(u64),
}

/// Notes the rows of one side; how many they are.
///
/// # Errors
/// As [`Stream::read`]; the spool's.
pub(crate) fn fill(
    spool: &mut Spool,
    of: Of,
    streams: &[Stream<'_>],
    mut connection: Option<&mut Connection>,
    reading: &Reading<'_>,
) -> Result<u64> {
    let secret = spool.secret();
    let mut ordinal = 0_u64;
    for stream in streams {
        let mut reader = RowReader::new(&secret, (reading.layout)(&stream.columns), false);
        let mut take = |row: &Row<'_>| {
            let record = Record { key: row.key, values: row.values, ordinal, of };
            ordinal += 1;
            spool.push(&record)
        };
        stream.read(connection.as_deref_mut(), reading.interrupt, &mut |piece| {
            (reading.progress)(piece.len() as u64);
            reader.push(piece, &mut take)
        })?;
        reader.finish().map_err(unreadable)?;
    }
    Ok(ordinal)
}

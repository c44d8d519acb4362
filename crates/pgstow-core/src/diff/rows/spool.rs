//! The hashes of rows, in partitions, in one temporary file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::fields::{Digest, Secret};
use crate::error::{Error, Result};
use crate::random;

/// Rows in a partition, as planned: what is settled in memory at once.
const PARTITION_ROWS: u64 = 250_000;
/// Partitions at most, so that a thousand million rows still fit.
const PARTITIONS: u64 = 4096;
/// Records written at once.
const BLOCK_BYTES: usize = RECORD_BYTES * 200;
const RECORD_BYTES: usize = 40;

/// On which side a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Before,
    After,
}

/// A row as its hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Digest,
    pub(crate) values: Digest,
    /// The how-manieth row of its side it is.
    pub(crate) ordinal: u64,
    pub(crate) of: Of,
}

/// Writes records and gives them back by partition.
pub(crate) struct Spool {
    file: File,
    end: u64,
    partitions: Vec<Partition>,
    secret: Secret,
}

#[derive(Default)]
struct Partition {
    waiting: Vec<u8>,
    /// Where full blocks lie.
    blocks: Vec<u64>,
}

/// The bit of an ordinal that tells the side.
const AFTER: u64 = 1 << 63;

impl Spool {
    /// For about so many rows of both sides together.
    ///
    /// # Errors
    /// When no file can be made in `folder`.
    pub(crate) fn new(folder: &Path, rows: u64) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| {
            Error::failed(format!("cannot make a temporary file in {}", folder.display())).source(error)
        })?;
        let count = (rows / PARTITION_ROWS + 1).next_power_of_two().min(PARTITIONS);
        let partitions = (0..count).map(|_| Partition::default()).collect();
        Ok(Self { file, end: 0, partitions, secret: random::bytes()? })
    }

    /// The key of this comparison's hashes.
    pub(crate) fn secret(&self) -> Secret {
        self.secret
    }

    /// Number of partitions.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The file's: a full disk, say.
    pub(crate) fn push(&mut self, record: &Record) -> io::Result<()> {
        let [first, second, ..] = record.key;
        // A power of two, so that this is even.
        let place = usize::from(u16::from_le_bytes([first, second])) % self.partitions.len().max(1);
        let Some(partition) = self.partitions.get_mut(place) else { return Ok(()) };
        let side = if record.of == Of::After { AFTER } else { 0 };
        partition.waiting.extend_from_slice(&record.key);
        partition.waiting.extend_from_slice(&record.values);
        partition.waiting.extend_from_slice(&(record.ordinal | side).to_le_bytes());
        if partition.waiting.len() >= BLOCK_BYTES {
            self.file.write_all_at(&partition.waiting, self.end)?;
            partition.blocks.push(self.end);
            self.end += BLOCK_BYTES as u64;
            partition.waiting.clear();
        }
        Ok(())
    }

    /// Hands out the records of one partition, in the order in which they came.
    ///
    /// # Errors
    /// The file's.
    pub(crate) fn read(&self, partition: usize, each: &mut dyn FnMut(Record)) -> io::Result<()> {
        let Some(partition) = self.partitions.get(partition) else { return Ok(()) };
        let mut block = vec![0; BLOCK_BYTES];
        for offset in &partition.blocks {
            self.file.read_exact_at(&mut block, *offset)?;
            block.chunks_exact(RECORD_BYTES).filter_map(record).for_each(&mut *each);
        }
        partition.waiting.chunks_exact(RECORD_BYTES).filter_map(record).for_each(each);
        Ok(())
    }
}

fn record(bytes: &[u8]) -> Option<Record> {
    let (key, rest) = bytes.split_first_chunk()?;
    let (values, rest) = rest.split_first_chunk()?;
    let number = u64::from_le_bytes(rest.try_into().ok()?);
    let of = if number & AFTER == 0 { Of::Before } else { Of::After };
    Some(Record { key: *key, values: *values, ordinal: number & !AFTER, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_comes_back_from_the_partition_of_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path(), 1_000_000).unwrap();
        assert_eq!(spool.partitions(), 8);
        let record = |number: u32| {
            let mut key = Digest::default();
            key[..4].copy_from_slice(&number.to_le_bytes());
            let of = if number.is_multiple_of(3) { Of::After } else { Of::Before };
            Record { key, values: [9; 16], ordinal: u64::from(number), of }
        };
        (0..20_000).for_each(|number| spool.push(&record(number)).unwrap());
        let mut found = Vec::new();
        for partition in 0..spool.partitions() {
            spool.read(partition, &mut |record| found.push(record)).unwrap();
        }
        found.sort_by_key(|record| record.ordinal);
        assert_eq!(found, (0..20_000).map(record).collect::<Vec<_>>());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "the file has a name");
    }
}

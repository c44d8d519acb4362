//! Compares contents: the rows of every table, and the bytes of every large object, in the
//! target and in the backup's objects.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::{Mutex, PoisonError};

use super::data::{column_list, passes};
use super::guards::load_target;
use super::rowsum::{RowSum, RowSummer};
use super::selection::TableName;
use super::session::{Session, on_all};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::postgres::QueryError;
use crate::postgres::identifier::{display_name, quote_qualified};
use crate::repository::Repository;
use crate::repository::format::manifest::{Chunk, CopyFormat, Manifest, Table, TableData};

/// Bytes of a large object that are asked for at once.
const LARGE_OBJECT_STEP: u32 = 256 * 1024;

/// What is compared as one: a table, or a partition tree that is loaded through its root.
#[derive(Debug, Clone)]
pub(super) struct Group<'a> {
    pub(super) name: TableName,
    /// The tables of the backup whose rows are in it.
    pub(super) tables: Vec<&'a Table>,
    /// The rows are those of a whole tree.
    pub(super) through_root: bool,
}

impl Group<'_> {
    /// Rows in the backup.
    pub(super) fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// `FROM …` with the condition of a configuration table.
    pub(super) fn from(&self) -> String {
        let name = quote_qualified(&self.name.0, &self.name.1);
        let only = if self.through_root { "" } else { "ONLY " };
        let condition = match self.tables.first().map(|table| &table.data) {
            Some(TableData::Configuration { condition, .. }) => condition.as_str(),
            _ => "",
        };
        format!("FROM {only}{name} {condition}")
    }

    fn format(&self) -> CopyFormat {
        let mut chunks = self.tables.iter().flat_map(|table| &table.chunks);
        chunks.next().map_or(CopyFormat::Text, |chunk| chunk.format)
    }

    /// Whether one query can give the rows as the chunks have them: all in one format, and with
    /// the columns in one order.
    fn is_comparable(&self) -> bool {
        let format = self.format();
        let columns = self.tables.first().map(|table| column_list(table));
        self.tables.iter().all(|table| {
            Some(column_list(table)) == columns && table.chunks.iter().all(|chunk| chunk.format == format)
        })
    }
}

/// Groups the tables that have rows in the backup.
pub(super) fn groups<'a>(tables: impl Iterator<Item = &'a Table>) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<TableName, Group<'a>> = BTreeMap::new();
    for table in tables {
        let name = load_target(table);
        let through_root = table.load_through.is_some();
        let group = groups.entry(name.clone()).or_insert(Group { name, tables: Vec::new(), through_root });
        group.tables.push(table);
        group.through_root |= through_root;
    }
    groups.into_values().collect()
}

/// What a comparison of a group's contents found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    Equal,
    Differs,
    /// It could not be compared, and why.
    Unknown(String),
}

/// Compares all groups, on all sessions at once.
pub(super) struct Comparison<'a> {
    pub(super) repository: &'a Repository,
    pub(super) manifest: &'a Manifest,
    pub(super) groups: &'a [Group<'a>],
    pub(super) interrupt: &'a Interrupt,
}

enum Task<'a> {
    /// Read an object: its chunks, each with its group.
    Object(u32, Vec<(usize, &'a Chunk)>),
    /// Read a group from the target.
    Target(usize),
}

#[derive(Default)]
struct Sums {
    expected: HashMap<usize, RowSum>,
    actual: HashMap<usize, RowSum>,
    unknown: HashMap<usize, String>,
}

impl<'a> Comparison<'a> {
    /// One finding for each group, in order.
    ///
    /// # Errors
    /// When it was interrupted or a session was lost.
    pub(super) fn run(&self, sessions: &mut [Session]) -> Result<Vec<Finding>> {
        let sums = Mutex::new(Sums::default());
        let queue = Mutex::new(self.tasks(&sums));
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let work = |session: &mut Session| -> Result<()> {
            while let Some(task) = next() {
                self.interrupt.check()?;
                match task {
                    Task::Object(object, chunks) => self.sum_object(object, &chunks, &sums)?,
                    Task::Target(group) => self.sum_target(session, group, &sums)?,
                }
            }
            Ok(())
        };
        on_all(sessions, work)?;
        let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        let finding = |group: usize| match sums.unknown.get(&group) {
            Some(reason) => Finding::Unknown(reason.clone()),
            None if sums.expected.get(&group).copied().unwrap_or_default()
                == sums.actual.get(&group).copied().unwrap_or_default() =>
            {
                Finding::Equal
            }
            None => Finding::Differs,
        };
        Ok((0..self.groups.len()).map(finding).collect())
    }

    fn tasks(&self, sums: &Mutex<Sums>) -> VecDeque<Task<'a>> {
        let mut objects: BTreeMap<u32, Vec<(usize, &'a Chunk)>> = BTreeMap::new();
        let mut tasks = VecDeque::new();
        for (index, group) in self.groups.iter().enumerate() {
            if !group.is_comparable() {
                let reason = "its partitions have their columns in different orders".to_owned();
                sums.lock().unwrap_or_else(PoisonError::into_inner).unknown.insert(index, reason);
                continue;
            }
            tasks.push_back(Task::Target(index));
            for table in &group.tables {
                for chunk in &table.chunks {
                    objects.entry(chunk.object).or_default().push((index, chunk));
                }
            }
        }
        for (object, chunks) in objects {
            let passes = passes(chunks, |(_, chunk)| chunk);
            tasks.extend(passes.into_iter().map(|chunks| Task::Object(object, chunks)));
        }
        tasks
    }

    fn sum_object(&self, object: u32, chunks: &[(usize, &Chunk)], sums: &Mutex<Sums>) -> Result<()> {
        let mut summers: Vec<RowSummer> = chunks.iter().map(|(_, chunk)| summer(chunk.format)).collect();
        let ranges: Vec<(u64, u64)> = chunks.iter().map(|(_, chunk)| (chunk.offset, chunk.bytes)).collect();
        let stored = usize::try_from(object).ok().and_then(|index| self.manifest.objects.get(index));
        let read = stored
            .ok_or_else(|| Error::failed(format!("the manifest has no object {object}")))
            .and_then(|object| self.repository.read_object(self.manifest, object))
            .and_then(|reader| {
                reader.for_each_range(&ranges, |index, piece| {
                    self.interrupt.check()?;
                    let summer = summers.get_mut(index);
                    summer.map_or(Ok(()), |summer| summer.push(piece)).map_err(malformed)
                })
            });
        let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Err(error) if error.kind() == crate::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                for (group, _) in chunks {
                    sums.unknown.insert(*group, error.message().to_owned());
                }
            }
            Ok(()) => {
                for ((group, _), summer) in chunks.iter().zip(summers) {
                    match summer.finish() {
                        Ok(sum) => sums.expected.entry(*group).or_default().merge(sum),
                        Err(error) => {
                            sums.unknown.insert(*group, error.to_string());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn sum_target(&self, session: &mut Session, index: usize, sums: &Mutex<Sums>) -> Result<()> {
        let Some(group) = self.groups.get(index) else { return Ok(()) };
        let columns = group.tables.first().map(|table| column_list(table)).unwrap_or_default();
        let format = group.format();
        let options = if format == CopyFormat::Binary { " WITH (FORMAT binary)" } else { "" };
        let statement = format!("COPY (SELECT {columns} {}) TO STDOUT{options}", group.from());
        let summed = session.transaction(|connection| -> std::result::Result<RowSum, QueryError> {
            let mut summer = summer(format);
            connection.copy_out(&statement, &mut |piece| summer.push(piece))?;
            summer.finish().map_err(QueryError::Sink)
        });
        let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
        match summed {
            Ok(sum) => {
                sums.actual.insert(index, sum);
            }
            Err(error) if error.is_lost() => return Err(error.into()),
            Err(error) if session.atomic => {
                let shown = display_name(&group.name.0, &group.name.1);
                return Err(Error::failed(format!("contents of table {shown} could not be compared"))
                    .why(super::session::describe(&error)));
            }
            Err(error) => {
                sums.unknown.insert(index, super::session::describe(&error));
            }
        }
        Ok(())
    }
}

fn summer(format: CopyFormat) -> RowSummer {
    match format {
        CopyFormat::Text => RowSummer::text(),
        CopyFormat::Binary => RowSummer::binary(),
    }
}

fn malformed(error: io::Error) -> Error {
    Error::failed("the object holds no COPY data").source(error)
}

/// Hashes of large objects by OID, with their lengths.
type Digests = BTreeMap<u32, (u64, blake3::Hash)>;

/// OIDs of the large objects whose bytes differ from the backup's.
///
/// # Errors
/// A damaged object; the server's.
pub(super) fn different_large_objects(
    session: &mut Session,
    repository: &Repository,
    manifest: &Manifest,
) -> Result<Vec<u32>> {
    let large_objects = &manifest.large_objects;
    let mut expected = Digester::default();
    for chunk in &large_objects.chunks {
        session.interrupt.check()?;
        let object = usize::try_from(chunk.object).ok().and_then(|index| manifest.objects.get(index));
        let object = object.ok_or_else(|| Error::failed("the manifest lacks an object of large objects"))?;
        repository
            .read_object(manifest, object)?
            .read_range(chunk.offset, chunk.bytes, |piece| expected.push(piece).map_err(malformed))?;
    }
    let expected = expected.finish();
    let mut actual = Digester::default();
    for batch in large_objects.list.chunks(500) {
        session.interrupt.check()?;
        let values: Vec<String> = batch
            .iter()
            .map(|object| format!("({}::pg_catalog.oid, {}::int8)", object.oid, object.bytes))
            .collect();
        // One byte more than expected is asked for, so that a longer object differs.
        let statement = format!(
            "COPY (SELECT p.oid, g.at, pg_catalog.lo_get(p.oid, g.at, {LARGE_OBJECT_STEP}) \
             FROM (VALUES {}) p(oid, size) CROSS JOIN LATERAL \
             pg_catalog.generate_series(0, p.size, {LARGE_OBJECT_STEP}) g(at) ORDER BY p.oid, g.at) TO STDOUT",
            values.join(", ")
        );
        session.transaction(|connection| connection.copy_out(&statement, &mut |piece| actual.push(piece)))?;
    }
    let actual = actual.finish();
    let empty = (0, blake3::hash(b""));
    let differs = |oid: &u32| expected.get(oid).unwrap_or(&empty) != actual.get(oid).unwrap_or(&empty);
    Ok(large_objects.list.iter().map(|object| object.oid).filter(differs).collect())
}

/// Hashes large objects from COPY rows `(oid, position, bytes as hex)` in the order of positions,
/// however the bytes are divided into rows.
#[derive(Default)]
struct Digester {
    done: Digests,
    oid: u32,
    hasher: blake3::Hasher,
    digits: u64,
    field: u8,
    number: u32,
    /// Characters of `\\x` still to skip before the digits.
    prefix: u8,
}

impl Digester {
    fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match (self.field, byte) {
                (0, b'\t') => {
                    if self.number != self.oid {
                        self.close();
                        self.oid = self.number;
                    }
                    self.number = 0;
                    self.field = 1;
                }
                (0, b'0'..=b'9') => {
                    let digit = u32::from(byte - b'0');
                    let number = self.number.checked_mul(10).and_then(|number| number.checked_add(digit));
                    self.number = number.ok_or(io::ErrorKind::InvalidData)?;
                }
                (1, b'\t') => (self.field, self.prefix) = (2, 3),
                (1, b'0'..=b'9') => {}
                (2, b'\n') => self.field = 0,
                (2, _) if self.prefix > 0 => self.prefix -= 1,
                (2, _) => {
                    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
                    let (digits, rest) = bytes.split_at(end);
                    self.hasher.update(digits);
                    self.digits += digits.len() as u64;
                    bytes = rest;
                    continue;
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
            bytes = rest;
        }
        Ok(())
    }

    fn close(&mut self) {
        if self.digits > 0 {
            self.done.insert(self.oid, (self.digits, self.hasher.finalize()));
        }
        self.hasher.reset();
        self.digits = 0;
    }

    fn finish(mut self) -> Digests {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(data: &str, cut: usize) -> Digests {
        let mut digester = Digester::default();
        data.as_bytes().chunks(cut).try_for_each(|piece| digester.push(piece)).unwrap();
        digester.finish()
    }

    #[test]
    fn large_objects_are_hashed_alike_however_they_are_divided() {
        let whole = digests("7\t0\t\\\\x00ff10\n9\t0\t\\\\xaa\n", 1000);
        assert_eq!(whole.len(), 2);
        assert_eq!(digests("7\t0\t\\\\x00\n7\t1\t\\\\xff10\n9\t0\t\\\\xaa\n9\t1\t\\\\x\n", 3), whole);
        assert_ne!(digests("7\t0\t\\\\x00ff11\n9\t0\t\\\\xaa\n", 1), whole);
        assert_ne!(digests("7\t0\t\\\\x00ff10\n", 1), whole);
    }
}

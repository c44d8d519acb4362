//! Looks at, or reads, every object of a backup, several at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{in_words, joined, users_of_objects};
use crate::error::{ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::repository::Repository;
use crate::repository::format::manifest::{Chunk, CopyFormat, Manifest, Object};

const JOBS_LIMIT: usize = 8;

/// Outcome of a line: what was found, or the fault.
type Outcome = std::result::Result<String, String>;

/// What reading every object found.
pub(super) struct Content {
    pub(super) read_bytes: u64,
    pub(super) objects: Outcome,
    pub(super) rows: Outcome,
}

/// Checks that every object is there with its stored size.
pub(super) fn look_at_all(
    repository: &Repository,
    manifest: &Manifest,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<Outcome> {
    let looked_at =
        for_each_object(manifest, monitor, interrupt, |_, object| repository.check_object(manifest, object))?;
    Ok(judge(manifest, &looked_at, "present with their sizes; their content was not read"))
}

/// Reads every object to its end and counts the rows of the text chunks in it.
pub(super) fn read_all(
    repository: &Repository,
    manifest: &Manifest,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<Content> {
    let chunks = text_chunks(manifest);
    let read = for_each_object(manifest, monitor, interrupt, |index, object| {
        let chunks = chunks.get(&index).map(Vec::as_slice).unwrap_or_default();
        count_rows(repository, manifest, object, chunks, interrupt)
    })?;
    let good = || read.iter().filter_map(|(index, result)| Some((*index, result.as_ref().ok()?)));
    let read_bytes = good()
        .filter_map(|(index, _)| Some(manifest.objects.get(usize::try_from(index).ok()?)?.bytes))
        .fold(0, u64::saturating_add);
    let wrong: BTreeSet<String> = good().flat_map(|(_, wrong)| wrong.iter().cloned()).collect();
    let wrong: Vec<String> = wrong.into_iter().collect();
    let unread = read.iter().any(|(_, result)| result.is_err());
    let rows = match (wrong.is_empty(), unread) {
        (false, _) => Err(joined(&wrong)),
        (true, true) => Err("those in damaged or missing objects could not be counted".to_owned()),
        (true, false) => Ok(format!("{} rows, every chunk of text counted", manifest.rows())),
    };
    let objects = judge(manifest, &read, &format!("{read_bytes} bytes read, every hash right"));
    Ok(Content { read_bytes, objects, rows })
}

/// A chunk of rows as text, and whose rows they are.
struct TextChunk<'m> {
    table: String,
    chunk: &'m Chunk,
}

/// The chunks whose rows can be counted by their line ends, by object.
fn text_chunks(manifest: &Manifest) -> BTreeMap<u32, Vec<TextChunk<'_>>> {
    let of_tables = manifest
        .tables
        .iter()
        .flat_map(|table| table.chunks.iter().map(|chunk| TextChunk { table: table.display_name(), chunk }));
    let large_objects = &manifest.large_objects.chunks;
    let of_large_objects =
        large_objects.iter().map(|chunk| TextChunk { table: "large objects".to_owned(), chunk });
    let mut by_object: BTreeMap<u32, Vec<TextChunk<'_>>> = BTreeMap::new();
    for found in of_tables.chain(of_large_objects) {
        if found.chunk.format == CopyFormat::Text {
            by_object.entry(found.chunk.object).or_default().push(found);
        }
    }
    by_object
}

/// Reads an object and returns, in words, the chunks whose number of line ends is not their
/// number of rows. COPY's text format escapes line ends within values.
fn count_rows(
    repository: &Repository,
    manifest: &Manifest,
    object: &Object,
    chunks: &[TextChunk<'_>],
    interrupt: &Interrupt,
) -> Result<Vec<String>> {
    // Chunks of equal tables may share or overlap their bytes, so count between their borders.
    let mut borders: BTreeSet<u64> = [0, object.bytes].into();
    for TextChunk { chunk, .. } in chunks {
        borders.extend([chunk.offset, chunk.offset.saturating_add(chunk.bytes)]);
    }
    let borders: Vec<u64> = borders.into_iter().collect();
    let ranges: Vec<(u64, u64)> =
        borders.iter().zip(borders.iter().skip(1)).map(|(&from, &to)| (from, to - from)).collect();
    let mut line_ends = vec![0u64; ranges.len()];
    repository.read_object(manifest, object)?.for_each_range(&ranges, |index, piece| {
        interrupt.check()?;
        if let Some(count) = line_ends.get_mut(index) {
            *count += piece.iter().map(|&byte| u64::from(byte == b'\n')).sum::<u64>();
        }
        Ok(())
    })?;
    // Line ends before each border.
    let mut before = vec![0u64];
    before.extend(line_ends.iter().scan(0, |sum, count| {
        *sum += count;
        Some(*sum)
    }));
    let up_to = |position: u64| {
        let border = borders.binary_search(&position).ok();
        border.and_then(|index| before.get(index)).copied().unwrap_or_default()
    };
    let counted = |chunk: &Chunk| up_to(chunk.offset.saturating_add(chunk.bytes)) - up_to(chunk.offset);
    let wrong = chunks.iter().filter_map(|TextChunk { table, chunk }| {
        let found = counted(chunk);
        (found != chunk.rows)
            .then(|| format!("{table}: a chunk holds {found} rows instead of {}", chunk.rows))
    });
    Ok(wrong.collect())
}

/// What came of each object, by index.
type Results<T> = Vec<(u32, std::result::Result<T, String>)>;

/// Calls `work` for every object, several at a time; the results are in the manifest's order.
fn for_each_object<T: Send>(
    manifest: &Manifest,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
    work: impl Fn(u32, &Object) -> Result<T> + Sync,
) -> Result<Results<T>> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from).min(JOBS_LIMIT);
    let total = manifest.objects.len();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(total));
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(total) {
            scope.spawn(|| {
                while !interrupt.is_triggered() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(object) = manifest.objects.get(index) else { break };
                    let Ok(index) = u32::try_from(index) else { break };
                    let result = work(index, object);
                    let done = {
                        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                        results.push((index, result));
                        results.len()
                    };
                    monitor.event(Event::Steps { done, total, name: &object.id.to_string() });
                }
            });
        }
    });
    interrupt.check()?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    results
        .into_iter()
        .map(|(index, result)| match result {
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            result => Ok((index, result.map_err(|error| in_words(&error)))),
        })
        .collect()
}

/// The line about the objects: those at fault with the tables that use them, or `all_good`.
fn judge<T>(manifest: &Manifest, results: &Results<T>, all_good: &str) -> Outcome {
    let users = users_of_objects(manifest);
    let faults: Vec<String> = results
        .iter()
        .filter_map(|(index, result)| {
            let fault = result.as_ref().err()?;
            Some(match users.get(index) {
                Some(tables) => {
                    let tables: Vec<String> = tables.iter().cloned().collect();
                    format!("{fault} (used by {})", joined(&tables))
                }
                None => fault.clone(),
            })
        })
        .collect();
    if faults.is_empty() {
        Ok(format!("{} objects, {all_good}", results.len()))
    } else {
        Err(format!("{} of {} objects: {}", faults.len(), results.len(), joined(&faults)))
    }
}

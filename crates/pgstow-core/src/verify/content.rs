//! Looks at, or reads, every object of a backup, several at a time.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Outcome, Reading, joined};
use crate::error::{ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::parallel;
use crate::repository::Repository;
use crate::repository::format::id::ObjectName;
use crate::repository::format::manifest::{Chunk, CopyFormat, Manifest, Object, Table};

/// So many objects are looked at in one go.
const LOOKED_AT_ONCE: usize = 1000;

/// What was found of the objects.
pub(super) struct Content {
    pub(super) read_bytes: u64,
    pub(super) objects: Outcome,
    /// `None` when no object was to be read.
    pub(super) rows: Option<Outcome>,
}

/// What came of each object, by index: what is wrong with the rows in it, or the fault.
pub(super) type Results = Vec<(u32, std::result::Result<Vec<String>, String>)>;

/// Looks at all objects, reads those that `reading` means, and counts the rows of their text chunks.
pub(super) fn check(
    repository: &Repository,
    manifest: &Manifest,
    reading: &Reading,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<Content> {
    let chosen = chosen(manifest, reading);
    let (to_read, to_look_at): (Vec<Numbered<'_>>, Vec<Numbered<'_>>) =
        numbered(manifest).partition(|(_, object)| chosen.contains(&object.name()));
    let mut looked_at = Vec::new();
    for part in to_look_at.chunks(LOOKED_AT_ONCE) {
        interrupt.check()?;
        looked_at.extend(look_at(repository, manifest, part, interrupt)?);
        if let Some((_, object)) = part.last() {
            let name = object.name().to_string();
            monitor.event(Event::Steps { done: looked_at.len(), total: to_look_at.len(), name: &name });
        }
    }
    let done = AtomicUsize::new(0);
    let tell = |object: &Object| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        monitor.event(Event::Steps { done, total: to_read.len(), name: &object.name().to_string() });
    };
    let read = read(repository, manifest, &to_read, &tell, interrupt)?;
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
        (true, false) if matches!(reading, Reading::All) => {
            Ok(format!("{} rows, every chunk of text counted", manifest.rows()))
        }
        (true, false) => Ok("every chunk of text in the objects that were read counted".to_owned()),
    };
    let found = match reading {
        Reading::Sizes => "present with their sizes; their content was not read".to_owned(),
        Reading::All => format!("{read_bytes} bytes read, every hash right"),
        Reading::Sample(_) => format!(
            "present with their sizes; {} of them read, {read_bytes} of {} bytes, every hash right",
            read.len(),
            manifest.content_bytes()
        ),
    };
    let mut results = looked_at;
    results.extend(read);
    results.sort_unstable_by_key(|(index, _)| *index);
    let objects = judge(manifest, &results, &found);
    let rows = (*reading != Reading::Sizes).then_some(rows);
    Ok(Content { read_bytes, objects, rows })
}

/// An object and its index.
pub(super) type Numbered<'m> = (u32, &'m Object);

/// All objects of a manifest.
pub(super) fn numbered(manifest: &Manifest) -> impl Iterator<Item = Numbered<'_>> {
    // A manifest's chunks refer to objects by a number of this width.
    (0..=u32::MAX).zip(&manifest.objects)
}

fn chosen(manifest: &Manifest, reading: &Reading) -> HashSet<ObjectName> {
    let all = || manifest.objects.iter().map(|object| (object.name(), object.stored_bytes));
    match reading {
        Reading::Sizes => HashSet::new(),
        Reading::Sample(sample) => sample.choose(all()),
        Reading::All => all().map(|(name, _)| name).collect(),
    }
}

/// Checks that objects are there with their stored sizes.
fn look_at(
    repository: &Repository,
    manifest: &Manifest,
    objects: &[Numbered<'_>],
    interrupt: &Interrupt,
) -> Result<Results> {
    let names: Vec<ObjectName> = objects.iter().map(|(_, object)| object.name()).collect();
    // Where one of them cannot be looked at, each is asked for alone, to tell which.
    let sizes = repository.object_sizes(&names).unwrap_or_else(|_| vec![None; names.len()]);
    let sized: Vec<(Numbered<'_>, Option<u64>)> = objects.iter().copied().zip(sizes).collect();
    let outcomes = parallel::for_each(&sized, interrupt, |((_, object), size)| {
        if *size == Some(object.stored_bytes) { Ok(()) } else { repository.check_object(manifest, object) }
    })?;
    let results = objects.iter().zip(outcomes).map(|((index, _), outcome)| {
        let fault = outcome.map(|()| Vec::new()).map_err(|error| error.in_one_line());
        (*index, fault)
    });
    Ok(results.collect())
}

/// Reads objects to their ends; `tell` hears of each.
///
/// # Errors
/// Only when interrupted.
pub(super) fn read(
    repository: &Repository,
    manifest: &Manifest,
    objects: &[Numbered<'_>],
    tell: &(dyn Fn(&Object) + Sync),
    interrupt: &Interrupt,
) -> Result<Results> {
    let chunks = text_chunks(manifest);
    let outcomes = parallel::for_each(objects, interrupt, |(index, object)| {
        let chunks = chunks.get(index).map(Vec::as_slice).unwrap_or_default();
        let outcome = count_rows(repository, manifest, object, chunks, interrupt);
        tell(object);
        outcome
    })?;
    objects
        .iter()
        .zip(outcomes)
        .map(|((index, _), outcome)| match outcome {
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
            outcome => Ok((*index, outcome.map_err(|error| error.in_one_line()))),
        })
        .collect()
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

/// Which tables have chunks in each object, by the object's index.
fn users_of_objects(manifest: &Manifest) -> BTreeMap<u32, BTreeSet<String>> {
    let mut users: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for table in &manifest.tables {
        for chunk in &table.chunks {
            users.entry(chunk.object).or_default().insert(table.display_name());
        }
    }
    for chunk in &manifest.large_objects.chunks {
        users.entry(chunk.object).or_default().insert("large objects".to_owned());
    }
    users
}

/// Tables with chunks in the object of that index, sorted.
pub(super) fn users_of_object(manifest: &Manifest, index: u32) -> Vec<String> {
    let uses = |chunks: &[Chunk]| chunks.iter().any(|chunk| chunk.object == index);
    let tables = manifest.tables.iter().filter(|table| uses(&table.chunks)).map(Table::display_name);
    let large_objects = uses(&manifest.large_objects.chunks).then(|| "large objects".to_owned());
    tables.chain(large_objects).collect()
}

/// The line about the objects: those at fault with the tables that use them, or `all_good`.
fn judge(manifest: &Manifest, results: &Results, all_good: &str) -> Outcome {
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

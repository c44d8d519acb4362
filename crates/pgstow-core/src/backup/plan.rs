//! Plans the reading: which tables, in which chunks, in which order. Pure.
//!
//! A chunk is a range of heap pages, sized by all that belongs to the table: a small heap can
//! carry a large TOAST table. Small tables share objects (bundles), so that ten thousand of them
//! are not ten thousand files.

use std::ops::Range;

/// Size a chunk aims at, of heap and TOAST together.
pub(super) const CHUNK_BYTES: u64 = 16 << 20;
/// Tables up to this size travel in bundles.
pub(super) const SMALL_TABLE_BYTES: u64 = 1 << 20;
/// Size a bundle aims at.
pub(super) const BUNDLE_BYTES: u64 = 8 << 20;
/// Tables in one bundle at most: their locks are taken in one statement.
pub(super) const BUNDLE_TABLES: usize = 256;
/// Chunks of one table at most; a larger table has larger chunks.
const MOST_CHUNKS: u64 = 4096;

/// What the plan needs to know of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Index of the table in the caller's list.
    pub(super) table: usize,
    /// Heap pages.
    pub(super) pages: u32,
    /// Heap and TOAST.
    pub(super) bytes: u64,
    /// Whether a range of pages can be read: a heap on a server that scans by TID range (14+),
    /// without a condition of its own.
    pub(super) divisible: bool,
}

/// A range of heap pages; `end` is exclusive, `None` means to the end of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRange {
    pub(super) first: u32,
    pub(super) end: Option<u32>,
}

impl PageRange {
    /// The whole table.
    pub(super) const ALL: Self = Self { first: 0, end: None };
}

/// One piece of work for a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// One range of one table, an object of its own.
    Chunk { table: usize, pages: PageRange, bytes: u64 },
    /// Several small tables, one object.
    Bundle { tables: Vec<usize>, bytes: u64 },
    /// A range of the list of large objects' pieces, one object.
    LargeObjects { pieces: Range<usize>, bytes: u64 },
}

impl Task {
    /// Estimated size.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Chunk { bytes, .. } | Self::Bundle { bytes, .. } | Self::LargeObjects { bytes, .. } => {
                *bytes
            }
        }
    }
}

/// Divides the tables into tasks: chunks of the largest tables first, bundles last.
pub(super) fn tasks(extents: &[Extent]) -> Vec<Task> {
    let (mut small, mut large): (Vec<_>, Vec<_>) =
        extents.iter().copied().partition(|extent| extent.bytes <= SMALL_TABLE_BYTES);
    large.sort_by_key(|extent| std::cmp::Reverse(extent.bytes));
    small.sort_by_key(|extent| extent.table);
    let mut tasks: Vec<Task> = large.iter().flat_map(chunks).collect();
    tasks.extend(bundles(&small));
    tasks
}

fn chunks(extent: &Extent) -> Vec<Task> {
    let table = extent.table;
    let count = if extent.divisible { extent.bytes.div_ceil(chunk_bytes(extent.bytes)) } else { 1 };
    let count = u32::try_from(count).unwrap_or(u32::MAX).clamp(1, extent.pages.max(1));
    let bytes = extent.bytes / u64::from(count);
    let bound = |index: u32| {
        let page = u64::from(extent.pages) * u64::from(index) / u64::from(count);
        u32::try_from(page).unwrap_or(u32::MAX)
    };
    (0..count)
        .map(|index| {
            let end = (index + 1 < count).then(|| bound(index + 1));
            Task::Chunk { table, pages: PageRange { first: bound(index), end }, bytes }
        })
        .collect()
}

fn chunk_bytes(table_bytes: u64) -> u64 {
    CHUNK_BYTES.max(table_bytes.div_ceil(MOST_CHUNKS))
}

fn bundles(small: &[Extent]) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut tables = Vec::new();
    let mut bytes = 0;
    for extent in small {
        let full = tables.len() >= BUNDLE_TABLES || bytes + extent.bytes > BUNDLE_BYTES;
        if full && !tables.is_empty() {
            tasks.push(Task::Bundle { tables: std::mem::take(&mut tables), bytes });
            bytes = 0;
        }
        tables.push(extent.table);
        bytes += extent.bytes;
    }
    if !tables.is_empty() {
        tasks.push(Task::Bundle { tables, bytes });
    }
    tasks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_extents() -> impl Strategy<Value = Vec<Extent>> {
        let sizes = prop_oneof![0..SMALL_TABLE_BYTES, 0..(200 * CHUNK_BYTES), 0..(1_u64 << 45)];
        prop::collection::vec((any::<u32>(), sizes, any::<bool>()), 0..40).prop_map(|list| {
            list.into_iter()
                .enumerate()
                .map(|(table, (pages, bytes, divisible))| Extent { table, pages, bytes, divisible })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn every_page_of_every_table_is_read_exactly_once(extents in any_extents()) {
            let tasks = tasks(&extents);
            for extent in &extents {
                let mut next = Some(0);
                let mut times = 0;
                for task in &tasks {
                    match task {
                        Task::Chunk { table, pages, .. } if *table == extent.table => {
                            prop_assert_eq!(next, Some(pages.first));
                            prop_assert!(pages.end.is_none_or(|end| end > pages.first));
                            next = pages.end;
                            times = 1;
                        }
                        Task::Bundle { tables, .. } => {
                            let found = tables.iter().filter(|table| **table == extent.table).count();
                            times += found;
                            if found > 0 { next = None; }
                        }
                        Task::Chunk { .. } | Task::LargeObjects { .. } => {}
                    }
                }
                prop_assert_eq!(times, 1);
                prop_assert_eq!(next, None);
            }
        }

        #[test]
        fn chunks_and_bundles_stay_near_their_size(extents in any_extents()) {
            for task in tasks(&extents) {
                match task {
                    Task::Chunk { table, bytes, .. } => {
                        let extent = extents[table];
                        let fine = !extent.divisible
                            || bytes <= chunk_bytes(extent.bytes)
                            || u64::from(extent.pages) < extent.bytes / CHUNK_BYTES + 1;
                        prop_assert!(fine, "{bytes} of {extent:?}");
                    }
                    Task::LargeObjects { .. } => prop_assert!(false, "no large object was given"),
                    Task::Bundle { tables, bytes } => {
                        prop_assert!(tables.len() <= BUNDLE_TABLES);
                        prop_assert!(bytes <= BUNDLE_BYTES);
                    }
                }
            }
        }
    }

    #[test]
    fn a_small_heap_with_a_large_toast_is_divided_by_its_whole_size() {
        let extent = Extent { table: 0, pages: 128, bytes: 200 << 20, divisible: true };
        assert_eq!(tasks(&[extent]).len(), 13);
    }

    #[test]
    fn a_table_that_cannot_be_divided_is_one_chunk() {
        let extent = Extent { table: 0, pages: 1_000_000, bytes: 8 << 30, divisible: false };
        assert_eq!(tasks(&[extent]), [Task::Chunk { table: 0, pages: PageRange::ALL, bytes: 8 << 30 }]);
    }

    #[test]
    fn ten_thousand_small_tables_are_few_objects() {
        let extents: Vec<Extent> =
            (0..10_000).map(|table| Extent { table, pages: 1, bytes: 8192, divisible: true }).collect();
        assert_eq!(tasks(&extents).len(), 10_000_usize.div_ceil(BUNDLE_TABLES));
    }
}

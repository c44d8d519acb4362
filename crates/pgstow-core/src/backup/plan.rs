//! Plans the reading: which tables, in which chunks, in which order. Pure.
//!
//! A chunk is a range of heap pages, sized by all that belongs to the table: a small heap can
//! carry a large TOAST table. Small tables share objects (bundles), so that ten thousand of them
//! are not ten thousand files.
//!
//! Where an earlier backup read the same storage, its boundaries are kept, whether it can be trusted or
//! not: a chunk that is proven unchanged is taken over, and one that is read again and found equal is
//! not stored again.

use std::collections::HashMap;
use std::ops::Range;

use crate::repository::format::id::ObjectId;

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
/// Earlier boundaries are given up when there are so many times more chunks than a new plan would
/// have, or chunks so many times larger.
const WORN: u64 = 4;

/// What the plan needs to know of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Pages of the earlier chunks, in order and without overlap; there may be gaps. The last may
    /// be without an end.
    pub(super) known: Vec<PageRange>,
    /// Whether the server can be asked about the table's only earlier chunk.
    pub(super) provable: bool,
    /// Where that chunk lies: the object, the place in it, and how many chunks it held.
    pub(super) bundle: Option<(ObjectId, u64, usize)>,
}

impl Extent {
    /// Whether the table travels in bundles.
    pub(super) fn is_small(&self) -> bool {
        self.bytes <= SMALL_TABLE_BYTES
    }
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
    /// Small tables to ask about: those that are proven unchanged are taken over.
    Prove { tables: Vec<usize>, bytes: u64 },
    /// One range of one table, an object of its own; `known` is the index of the earlier chunk that
    /// holds the same pages.
    Chunk { table: usize, pages: PageRange, bytes: u64, known: Option<usize> },
    /// Several small tables, one object.
    Bundle { tables: Vec<usize>, bytes: u64 },
    /// A range of the list of large objects' pieces, one object.
    LargeObjects { pieces: Range<usize>, bytes: u64 },
}

impl Task {
    /// Estimated size.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Prove { bytes, .. }
            | Self::Chunk { bytes, .. }
            | Self::Bundle { bytes, .. }
            | Self::LargeObjects { bytes, .. } => *bytes,
        }
    }
}

/// Divides the tables into tasks: questions about small tables first, because others follow from
/// their answers, then the chunks of the largest tables, bundles last.
pub(super) fn tasks(extents: &[Extent]) -> Vec<Task> {
    let (small, mut large): (Vec<&Extent>, Vec<&Extent>) =
        extents.iter().partition(|extent| extent.is_small());
    large.sort_by_key(|extent| std::cmp::Reverse(extent.bytes));
    let (provable, mut unproven): (Vec<&Extent>, Vec<&Extent>) =
        small.into_iter().partition(|extent| extent.provable && extent.known.len() == 1);
    let mut tasks: Vec<Task> = provable.chunks(BUNDLE_TABLES).map(questions).collect();
    tasks.extend(large.into_iter().flat_map(chunks));
    tasks.extend(bundles(&mut unproven));
    tasks
}

fn questions(extents: &[&Extent]) -> Task {
    Task::Prove {
        tables: extents.iter().map(|extent| extent.table).collect(),
        bytes: extents.iter().map(|extent| extent.bytes).sum(),
    }
}

/// Chunks of one table: the earlier ones where they still fit, new ones for the rest.
fn chunks(extent: &Extent) -> Vec<Task> {
    let mut division = Division { extent, tasks: Vec::new() };
    let mut next = 0;
    for (index, range) in usable(extent).iter().enumerate() {
        if range.first > next {
            division.cut(next, Some(range.first));
        }
        let is_last = index + 1 == extent.known.len();
        match range.end {
            Some(end) if !is_last || division.has_long_tail(range.first, end) => {
                division.push(range.first, Some(end), Some(index));
                next = end;
            }
            None if division.bytes(range.first, None) > 2 * division.chunk_bytes() => {
                division.cut(range.first, None);
                return division.tasks;
            }
            _ => {
                division.push(range.first, None, Some(index));
                return division.tasks;
            }
        }
    }
    division.cut(next, None);
    division.tasks
}

/// The earlier boundaries, or none where they do not suit the table any more.
fn usable(extent: &Extent) -> &[PageRange] {
    let known = extent.known.as_slice();
    if !extent.divisible {
        return if matches!(known, [PageRange { first: 0, .. }]) { known } else { &[] };
    }
    let chunks = known.len() as u64;
    let size = chunk_bytes(extent.bytes);
    let too_many = chunks > WORN * extent.bytes.div_ceil(size) + 8;
    let too_large = chunks > 0 && extent.bytes / chunks > WORN * size;
    let is_covered = known.last().is_some_and(|last| last.end.is_none_or(|end| end >= extent.pages));
    if too_many || (too_large && is_covered) { &[] } else { known }
}

/// A table being divided.
struct Division<'e> {
    extent: &'e Extent,
    tasks: Vec<Task>,
}

impl Division<'_> {
    fn chunk_bytes(&self) -> u64 {
        chunk_bytes(self.extent.bytes)
    }

    /// Estimated size of a range.
    fn bytes(&self, first: u32, end: Option<u32>) -> u64 {
        let pages = u64::from(end.unwrap_or(self.extent.pages).saturating_sub(first));
        let all = u128::from(self.extent.pages.max(1));
        u64::try_from(u128::from(self.extent.bytes) * u128::from(pages) / all).unwrap_or(u64::MAX)
    }

    /// Whether what lies behind the last earlier chunk is too much to be read with it.
    fn has_long_tail(&self, first: u32, end: u32) -> bool {
        self.extent.divisible
            && end < self.extent.pages
            && self.bytes(first, None) > self.chunk_bytes() * 3 / 2
    }

    fn push(&mut self, first: u32, end: Option<u32>, known: Option<usize>) {
        let bytes = self.bytes(first, end);
        let pages = PageRange { first, end };
        self.tasks.push(Task::Chunk { table: self.extent.table, pages, bytes, known });
    }

    /// Divides a range into new chunks of about equal size.
    fn cut(&mut self, first: u32, end: Option<u32>) {
        let pages = end.unwrap_or(self.extent.pages).saturating_sub(first);
        let count =
            if self.extent.divisible { self.bytes(first, end).div_ceil(self.chunk_bytes()) } else { 1 };
        let count = u32::try_from(count).unwrap_or(u32::MAX).clamp(1, pages.max(1));
        let bound = |index: u32| {
            let page = u64::from(first) + u64::from(pages) * u64::from(index) / u64::from(count);
            u32::try_from(page).unwrap_or(u32::MAX)
        };
        for index in 0..count {
            let last = index + 1 == count;
            self.push(bound(index), if last { end } else { Some(bound(index + 1)) }, None);
        }
    }
}

fn chunk_bytes(table_bytes: u64) -> u64 {
    CHUNK_BYTES.max(table_bytes.div_ceil(MOST_CHUNKS))
}

/// Puts small tables into bundles: an earlier bundle that is read as a whole stays as it was, so
/// that it is not stored again if nothing changed; the others are filled up in order.
pub(super) fn bundles(small: &mut Vec<&Extent>) -> Vec<Task> {
    let mut groups: HashMap<ObjectId, Vec<&Extent>> = HashMap::new();
    for extent in small.iter() {
        if let Some((object, ..)) = extent.bundle {
            groups.entry(object).or_default().push(extent);
        }
    }
    groups.retain(|_, group| {
        let members = group.first().and_then(|extent| extent.bundle).map_or(0, |(_, _, members)| members);
        let bytes: u64 = group.iter().map(|extent| extent.bytes).sum();
        group.len() == members && members <= BUNDLE_TABLES && bytes <= 2 * BUNDLE_BYTES
    });
    small.retain(|extent| extent.bundle.is_none_or(|(object, ..)| !groups.contains_key(&object)));
    small.sort_by_key(|extent| extent.table);
    let mut kept: Vec<Vec<&Extent>> = groups.into_values().collect();
    for group in &mut kept {
        group.sort_by_key(|extent| (extent.bundle.map(|(_, offset, _)| offset), extent.table));
    }
    kept.sort_by_key(|group| group.first().map(|extent| extent.table));
    kept.iter().map(|group| bundle(group)).chain(filled(small)).collect()
}

fn bundle(extents: &[&Extent]) -> Task {
    Task::Bundle {
        tables: extents.iter().map(|extent| extent.table).collect(),
        bytes: extents.iter().map(|extent| extent.bytes).sum(),
    }
}

fn filled(small: &[&Extent]) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut first = 0;
    let mut bytes = 0;
    for (index, extent) in small.iter().enumerate() {
        let full = index - first >= BUNDLE_TABLES || bytes + extent.bytes > BUNDLE_BYTES;
        if full && index > first {
            tasks.extend(small.get(first..index).map(bundle));
            (first, bytes) = (index, 0);
        }
        bytes += extent.bytes;
    }
    tasks.extend(small.get(first..).filter(|rest| !rest.is_empty()).map(bundle));
    tasks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extent(table: usize, pages: u32, bytes: u64) -> Extent {
        Extent { table, pages, bytes, divisible: true, known: Vec::new(), provable: false, bundle: None }
    }

    /// Ranges in order, with gaps, the last one perhaps without an end.
    fn any_known() -> impl Strategy<Value = Vec<PageRange>> {
        (prop::collection::vec((0_u32..5000, 1_u32..5000), 0..12), any::<bool>()).prop_map(|(steps, open)| {
            let mut next = 0_u32;
            let mut known = Vec::new();
            for (gap, length) in steps {
                let first = next + if gap % 3 == 0 { gap } else { 0 };
                next = first + length;
                known.push(PageRange { first, end: Some(next) });
            }
            if open && let Some(last) = known.last_mut() {
                last.end = None;
            }
            known
        })
    }

    fn any_extents() -> impl Strategy<Value = Vec<Extent>> {
        let sizes = prop_oneof![0..SMALL_TABLE_BYTES, 0..(200 * CHUNK_BYTES), 0..(1_u64 << 45)];
        let pages = prop_oneof![any::<u32>(), 0_u32..30_000];
        let bundle = proptest::option::of((0_u8..3, any::<u64>(), 1_usize..4));
        let one = (pages, sizes, any::<bool>(), any_known(), any::<bool>(), bundle);
        prop::collection::vec(one, 0..40).prop_map(|list| {
            list.into_iter()
                .enumerate()
                .map(|(table, (pages, bytes, divisible, known, provable, bundle))| Extent {
                    table,
                    pages,
                    bytes,
                    divisible,
                    known,
                    provable,
                    bundle: bundle.map(|(object, offset, members)| (ObjectId([object; 32]), offset, members)),
                })
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
                        Task::Chunk { table, pages, known, .. } if *table == extent.table => {
                            prop_assert_eq!(next, Some(pages.first));
                            prop_assert!(pages.end.is_none_or(|end| end > pages.first));
                            if let Some(known) = known {
                                prop_assert_eq!(extent.known[*known].first, pages.first);
                            }
                            next = pages.end;
                            times = 1;
                        }
                        Task::Bundle { tables, .. } | Task::Prove { tables, .. } => {
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

        /// The last earlier chunk may only be asked about with an end that lies where the table
        /// ended then, or behind it.
        #[test]
        fn an_earlier_chunk_is_asked_about_with_its_own_pages(extents in any_extents()) {
            for task in tasks(&extents) {
                if let Task::Chunk { table, pages, known: Some(known), .. } = task {
                    let extent = &extents[table];
                    let is_last = known + 1 == extent.known.len();
                    prop_assert!(pages == extent.known[known] || (is_last && pages.end.is_none()));
                }
            }
        }

        #[test]
        fn new_chunks_and_bundles_stay_near_their_size(extents in any_extents()) {
            for task in tasks(&extents) {
                match task {
                    Task::Chunk { table, bytes, known, pages } => {
                        let extent = &extents[table];
                        let page = extent.bytes / u64::from(extent.pages.max(1));
                        let fine = !extent.divisible || known.is_some()
                            || bytes <= chunk_bytes(extent.bytes) + page + 1
                            || pages.end.is_some_and(|end| end == pages.first + 1)
                            || extent.pages <= pages.first + 1;
                        prop_assert!(fine, "{pages:?}, {bytes} of {extent:?}");
                    }
                    Task::LargeObjects { .. } => prop_assert!(false, "no large object was given"),
                    Task::Prove { tables, .. } => prop_assert!(tables.len() <= BUNDLE_TABLES),
                    Task::Bundle { tables, bytes } => {
                        prop_assert!(tables.len() <= BUNDLE_TABLES);
                        prop_assert!(bytes <= 2 * BUNDLE_BYTES);
                    }
                }
            }
        }
    }

    const PAGE: u64 = 8192;

    fn ranges(extent: &Extent) -> Vec<(u32, Option<u32>, Option<usize>)> {
        let tasks = tasks(std::slice::from_ref(extent));
        let range = |task: &Task| match task {
            Task::Chunk { pages, known, .. } => (pages.first, pages.end, *known),
            other => panic!("{other:?}"),
        };
        tasks.iter().map(range).collect()
    }

    fn known(ranges: &[(u32, u32)]) -> Vec<PageRange> {
        ranges.iter().map(|(first, end)| PageRange { first: *first, end: Some(*end) }).collect()
    }

    #[test]
    fn what_was_appended_beyond_a_full_chunk_is_a_chunk_of_its_own() {
        let mut grown = extent(0, 4096 + 1100, (4096 + 1100) * PAGE);
        grown.known = known(&[(0, 2048), (2048, 4096)]);
        assert_eq!(
            ranges(&grown),
            [(0, Some(2048), Some(0)), (2048, Some(4096), Some(1)), (4096, None, None)]
        );
    }

    #[test]
    fn a_short_tail_is_read_with_the_last_chunk() {
        let mut grown = extent(0, 4096 + 900, (4096 + 900) * PAGE);
        grown.known = known(&[(0, 2048), (2048, 4096)]);
        assert_eq!(ranges(&grown), [(0, Some(2048), Some(0)), (2048, None, Some(1))]);
    }

    #[test]
    fn what_an_interrupted_backup_did_not_reach_is_planned_anew() {
        let mut half = extent(0, 6144, 6144 * PAGE);
        half.known = known(&[(0, 2048), (4096, 6144)]);
        assert_eq!(
            ranges(&half),
            [(0, Some(2048), Some(0)), (2048, Some(4096), None), (4096, None, Some(1))]
        );
    }

    #[test]
    fn boundaries_that_do_not_suit_the_table_any_more_are_given_up() {
        let mut shrunk = extent(0, 300, 300 * PAGE);
        shrunk.known = known(&(0..40).map(|part| (part * 2048, (part + 1) * 2048)).collect::<Vec<_>>());
        assert_eq!(ranges(&shrunk), [(0, None, None)]);
    }

    #[test]
    fn an_earlier_bundle_that_is_read_as_a_whole_stays_together() {
        let object = ObjectId([7; 32]);
        let small = |table, place: Option<(u64, usize)>| Extent {
            bundle: place.map(|(offset, members)| (object, offset, members)),
            ..extent(table, 1, PAGE)
        };
        let whole = [small(0, Some((90, 2))), small(1, None), small(2, Some((0, 2)))];
        let bytes = 2 * PAGE;
        assert_eq!(
            tasks(&whole),
            [Task::Bundle { tables: vec![2, 0], bytes }, Task::Bundle { tables: vec![1], bytes: PAGE }]
        );
        let part = [small(0, Some((90, 3))), small(1, None), small(2, Some((0, 3)))];
        assert_eq!(tasks(&part), [Task::Bundle { tables: vec![0, 1, 2], bytes: 3 * PAGE }]);
    }

    #[test]
    fn a_small_heap_with_a_large_toast_is_divided_by_its_whole_size() {
        assert_eq!(tasks(&[extent(0, 128, 200 << 20)]).len(), 13);
    }

    #[test]
    fn a_table_that_cannot_be_divided_is_one_chunk() {
        let one = Extent { divisible: false, ..extent(0, 1_000_000, 8 << 30) };
        assert_eq!(ranges(&one), [(0, None, None)]);
        let again = Extent { known: known(&[(0, 900_000)]), ..one };
        assert_eq!(ranges(&again), [(0, None, Some(0))]);
    }

    #[test]
    fn ten_thousand_small_tables_are_few_objects_and_few_questions() {
        let mut extents: Vec<Extent> = (0..10_000).map(|table| extent(table, 1, PAGE)).collect();
        assert_eq!(tasks(&extents).len(), 10_000_usize.div_ceil(BUNDLE_TABLES));
        for extent in &mut extents {
            extent.provable = true;
            extent.known = known(&[(0, 1)]);
        }
        assert_eq!(tasks(&extents).len(), 10_000_usize.div_ceil(BUNDLE_TABLES));
    }
}

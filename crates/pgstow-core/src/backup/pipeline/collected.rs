//! What was read and taken over so far, as the manifest will hold it. Pure.

use std::collections::HashMap;

use super::super::plan::{Extent, PageRange, Task};
use super::super::progress::Progress;
use super::super::reader::{ReadChunk, ReadTable, Shared};
use super::super::reuse::{Doubt, Earlier, Origin, Tally};
use crate::error::{Error, Result};
use crate::repository::format::id::ObjectId;
use crate::repository::format::manifest::{Chunk, CopyFormat, Object};
use crate::repository::object::Written;

/// A taken-over object is given up when less than one part in so many of it would still be used.
const LEAST_SHARE: u64 = 2;

/// Everything that was read or taken over.
#[derive(Debug, Default, Clone)]
pub(in crate::backup) struct Collected {
    pub(in crate::backup) objects: Vec<Object>,
    /// Chunks by index of the table.
    pub(in crate::backup) tables: Vec<Vec<Held>>,
    pub(in crate::backup) large_objects: Vec<Held>,
    /// Stored bytes of objects that the repository did not hold before.
    pub(in crate::backup) new_bytes: u64,
    positions: HashMap<ObjectId, u32>,
    /// Why small tables are read, once the server has been asked.
    doubts: HashMap<usize, Doubt>,
    /// Why large objects are read.
    large_object_doubt: Doubt,
}

/// A chunk and where it comes from.
#[derive(Debug, Clone)]
pub(in crate::backup) struct Held {
    pub(in crate::backup) chunk: Chunk,
    pub(in crate::backup) origin: Origin,
}

impl Collected {
    /// For so many tables. `large_objects`: their chunks, if they are taken over, or why they are
    /// read.
    pub(super) fn new(tables: usize, large_objects: Result<&[Earlier], Doubt>) -> Result<Self> {
        let mut collected = Self { tables: vec![Vec::new(); tables], ..Self::default() };
        match large_objects {
            Ok(chunks) => {
                for earlier in chunks {
                    let object = collected.position(&earlier.object)?;
                    let chunk = Chunk { object, ..earlier.chunk.clone() };
                    let origin = Origin::Reused { base: earlier.base };
                    collected.large_objects.push(Held { chunk, origin });
                }
            }
            Err(doubt) => collected.large_object_doubt = doubt,
        }
        Ok(collected)
    }

    /// Notes why a small table is read.
    pub(super) fn doubt(&mut self, table: usize, doubt: Doubt) {
        self.doubts.insert(table, doubt);
    }

    /// Takes in what one task read.
    pub(super) fn add(
        &mut self,
        written: &Written,
        chunks: Vec<ReadChunk>,
        tables: &[ReadTable],
    ) -> Result<()> {
        if written.new {
            self.new_bytes += written.object.stored_bytes;
        }
        let position = self.position(&written.object)?;
        for ReadChunk { table, mut chunk, doubt } in chunks {
            chunk.object = position;
            let planned = || {
                let table = table?;
                let answered = self.doubts.get(&table).cloned();
                answered.or_else(|| tables.get(table).map(|table| table.doubt.clone()))
            };
            let origin =
                Origin::Read(doubt.or_else(planned).unwrap_or_else(|| self.large_object_doubt.clone()));
            let held = Held { chunk, origin };
            match table.and_then(|table| self.tables.get_mut(table)) {
                Some(chunks) => chunks.push(held),
                None => self.large_objects.push(held),
            }
        }
        Ok(())
    }

    /// Takes an earlier chunk over, for the pages that the server was asked about: an earlier end of
    /// the table may be a boundary now, and the other way round.
    pub(super) fn take_over(
        &mut self,
        table: usize,
        pages: PageRange,
        known: usize,
        tables: &[ReadTable],
    ) -> Result<()> {
        let earlier = tables.get(table).and_then(|table| table.earlier.get(known));
        let earlier = earlier.ok_or_else(|| Error::failed("a proven chunk is not in the list"))?;
        let position = self.position(&earlier.object)?;
        let (first_page, end_page) = (pages.first, pages.end);
        let chunk = Chunk { object: position, first_page, end_page, ..earlier.chunk.clone() };
        let held = Held { chunk, origin: Origin::Reused { base: earlier.base } };
        if let Some(chunks) = self.tables.get_mut(table) {
            chunks.push(held);
        }
        Ok(())
    }

    fn position(&mut self, object: &Object) -> Result<u32> {
        let next = u32::try_from(self.objects.len())
            .map_err(|_| Error::failed("too many objects for one backup"))?;
        let position = *self.positions.entry(object.id).or_insert(next);
        if position == next {
            self.objects.push(object.clone());
        }
        Ok(position)
    }

    /// Small tables whose earlier bundle is mostly outdated: they are read after all, so that
    /// old bundles do not live on for the sake of a few rows. Gives their indices.
    pub(super) fn take_back_sparse(&mut self, extents: &[Extent], progress: &Progress<'_>) -> Vec<usize> {
        let mut live: HashMap<u32, u64> = HashMap::new();
        for held in self.tables.iter().flatten() {
            *live.entry(held.chunk.object).or_default() += held.chunk.bytes;
        }
        let is_sparse = |held: &Held| {
            let whole = self.objects.get(held.chunk.object as usize).map_or(0, |object| object.bytes);
            let live = live.get(&held.chunk.object).copied().unwrap_or(0);
            matches!(held.origin, Origin::Reused { .. }) && live < whole / LEAST_SHARE
        };
        let mut back = Vec::new();
        for (table, chunks) in self.tables.iter().enumerate() {
            let is_small = extents.get(table).is_some_and(Extent::is_small);
            if is_small && chunks.iter().any(is_sparse) {
                back.push(table);
            }
        }
        for &table in &back {
            if let Some(chunks) = self.tables.get_mut(table) {
                chunks.clear();
            }
            self.doubts.insert(table, Doubt::Sparse);
            progress.chunk_again(table);
        }
        back
    }

    /// A table is in one format throughout: text chunks of a table that turned binary while they
    /// were read are read again. Ranges of a table that turned out to be indivisible are dropped:
    /// it is read as a whole. Their objects stay in the repository unreferenced.
    pub(super) fn take_back_mixed_tables(&mut self, shared: &Shared<'_>) -> Vec<Task> {
        let mut tasks = Vec::new();
        for (table, chunks) in self.tables.iter_mut().enumerate() {
            if shared.progress.is_whole(table) {
                chunks.retain(|held| held.chunk.first_page == 0 && held.chunk.end_page.is_none());
            }
            if shared.progress.format(table) == CopyFormat::Text {
                continue;
            }
            chunks.retain(|Held { chunk, .. }| {
                if chunk.format == CopyFormat::Text {
                    shared.progress.chunk_again(table);
                    let pages = PageRange { first: chunk.first_page, end: chunk.end_page };
                    tasks.push(Task::Chunk { table, pages, bytes: chunk.bytes, known: None });
                }
                chunk.format == CopyFormat::Binary
            });
        }
        tasks
    }

    /// Puts each table's chunks in the order of pages and drops objects that no chunk uses.
    pub(in crate::backup) fn arrange(&mut self) {
        for chunks in &mut self.tables {
            chunks.sort_by_key(|held| held.chunk.first_page);
        }
        let mut used = vec![false; self.objects.len()];
        let all = self.tables.iter().flatten().chain(&self.large_objects);
        for held in all {
            if let Some(used) = used.get_mut(held.chunk.object as usize) {
                *used = true;
            }
        }
        let mut place = 0;
        let places: Vec<u32> = used
            .iter()
            .map(|used| {
                let here = place;
                place += u32::from(*used);
                here
            })
            .collect();
        let mut keep = used.iter();
        self.objects.retain(|_| keep.next().copied().unwrap_or(true));
        let all = self.tables.iter_mut().flatten().chain(&mut self.large_objects);
        for held in all {
            if let Some(place) = places.get(held.chunk.object as usize) {
                held.chunk.object = *place;
            }
        }
    }

    /// How many chunks there are so far.
    pub(in crate::backup) fn chunks(&self) -> usize {
        self.tables.iter().map(Vec::len).sum::<usize>() + self.large_objects.len()
    }

    /// Counts where all chunks come from.
    pub(in crate::backup) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for held in self.tables.iter().flatten().chain(&self.large_objects) {
            tally.add(&held.origin, held.chunk.bytes);
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(id: u8, new: bool) -> Written {
        Written { object: Object { id: ObjectId([id; 32]), copy: 0, bytes: 10, stored_bytes: 5 }, new }
    }

    fn chunk(first_page: u32) -> Chunk {
        Chunk {
            object: 0,
            offset: 0,
            bytes: 10,
            rows: 1,
            format: CopyFormat::Text,
            first_page,
            end_page: None,
        }
    }

    #[test]
    fn equal_contents_share_one_object_and_unused_objects_are_dropped() {
        let mut collected = Collected::new(2, Err(Doubt::NoBase)).unwrap();
        let read = |table, page| {
            vec![ReadChunk { table: Some(table), chunk: chunk(page), doubt: Some(Doubt::Changed) }]
        };
        collected.add(&written(1, true), read(0, 8), &[]).unwrap();
        collected.add(&written(2, true), Vec::new(), &[]).unwrap();
        collected.add(&written(3, true), read(0, 0), &[]).unwrap();
        collected.add(&written(1, false), read(1, 0), &[]).unwrap();
        collected.arrange();
        let ids: Vec<u8> = collected.objects.iter().map(|object| object.id.0[0]).collect();
        assert_eq!(ids, [1, 3]);
        let objects =
            |table: usize| collected.tables[table].iter().map(|held| held.chunk.object).collect::<Vec<_>>();
        assert_eq!((objects(0), objects(1)), (vec![1, 0], vec![0]));
        assert_eq!(collected.new_bytes, 15);
    }
}

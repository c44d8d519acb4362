//! Which tables of two backups certainly hold the same rows. Pure: an object's id proves its
//! content, so equal lists of objects and ranges are equal contents. Different lists prove nothing.

use std::collections::BTreeMap;

use crate::repository::format::id::ObjectId;
use crate::repository::format::manifest::{Chunk, CopyFormat, Manifest};

/// The content of a chunk: which bytes of which object, and how they are to be read.
type Identity = (ObjectId, u64, u64, bool);

/// The chunks that two tables have in common.
pub(super) struct Shared {
    /// How often each content lies in both.
    counts: BTreeMap<Identity, usize>,
    /// All of it does.
    pub(super) all: bool,
    /// Rows in it.
    pub(super) rows: u64,
}

/// What both lists of chunks hold; nothing where the backups name their objects differently.
pub(super) fn shared(
    (before, chunks): (&Manifest, &[Chunk]),
    (after, others): (&Manifest, &[Chunk]),
) -> Shared {
    let nothing = || Shared { counts: BTreeMap::new(), all: false, rows: 0 };
    if before.object_key != after.object_key {
        return nothing();
    }
    let (Some(mine), Some(theirs)) = (counted(before, chunks), counted(after, others)) else {
        return nothing();
    };
    let mut counts = BTreeMap::new();
    let mut rows = 0_u64;
    for (identity, (count, chunk_rows)) in &mine {
        if let Some((other, _)) = theirs.get(identity) {
            let both = *count.min(other);
            counts.insert(*identity, both);
            rows = rows.saturating_add(chunk_rows.saturating_mul(both as u64));
        }
    }
    let number =
        |side: &BTreeMap<Identity, (usize, u64)>| side.values().map(|(count, _)| count).sum::<usize>();
    let common: usize = counts.values().sum();
    Shared { counts, all: common == number(&mine) && common == number(&theirs), rows }
}

impl Shared {
    /// The chunks that are not among the common ones.
    pub(super) fn others<'c>(&self, manifest: &Manifest, chunks: &'c [Chunk]) -> Vec<&'c Chunk> {
        let mut left = self.counts.clone();
        let mut others = Vec::new();
        for chunk in chunks {
            match identity(manifest, chunk).and_then(|identity| left.get_mut(&identity)) {
                Some(count) if *count > 0 => *count -= 1,
                _ => others.push(chunk),
            }
        }
        others
    }
}

/// How often each content is there, and its rows.
fn counted(manifest: &Manifest, chunks: &[Chunk]) -> Option<BTreeMap<Identity, (usize, u64)>> {
    let mut counts: BTreeMap<Identity, (usize, u64)> = BTreeMap::new();
    // A chunk without a byte holds nothing that could differ.
    for chunk in chunks.iter().filter(|chunk| chunk.bytes > 0) {
        counts.entry(identity(manifest, chunk)?).or_insert((0, chunk.rows)).0 += 1;
    }
    Some(counts)
}

fn identity(manifest: &Manifest, chunk: &Chunk) -> Option<Identity> {
    let object = manifest.objects.get(usize::try_from(chunk.object).ok()?)?;
    Some((object.id, chunk.offset, chunk.bytes, chunk.format == CopyFormat::Binary))
}

//! Same storage, same rendering: which earlier chunks a table has, and which of them the server can
//! be asked about. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::doubt::Doubt;
use super::history::{self, Present};
use super::large_objects::{self, LargeObjectRows};
use crate::backup::plan::PageRange;
use crate::repository::format::id::{BackupId, ObjectId};
use crate::repository::format::manifest::{
    Chunk, Column, CopyFormat, LargeObject, Manifest, Object, Table, TableData,
};
use crate::repository::format::proof::Fingerprint;

/// An earlier snapshot's `xmin`, a 64-bit transaction id: whatever has a lower one was finished
/// when that snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backup) struct Since(pub(in crate::backup) u64);

impl Since {
    /// The 32 bits that row versions carry.
    pub(super) fn as_transaction_id(self) -> u32 {
        let [.., a, b, c, d] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

/// A chunk of an earlier backup.
#[derive(Debug, Clone)]
pub(in crate::backup) struct Earlier {
    /// As the earlier manifest has it.
    pub(in crate::backup) chunk: Chunk,
    /// The object it lies in.
    pub(in crate::backup) object: Object,
    /// Its pages, up to the end that the table had then.
    pub(in crate::backup) pages: PageRange,
    /// Which of the bases holds it.
    pub(in crate::backup) base: usize,
    /// Chunks of its backup that lie in the same object.
    pub(in crate::backup) neighbours: usize,
    /// Whether the server can be asked about it: all guards but those of the question hold.
    pub(in crate::backup) trust: Result<Since, Doubt>,
}

/// A table as it is now.
#[derive(Debug, Clone, Copy)]
pub(in crate::backup) struct Now<'a> {
    /// Schema-qualified name, for people.
    pub(in crate::backup) shown: &'a str,
    pub(in crate::backup) oid: u32,
    pub(in crate::backup) filenode: u32,
    pub(in crate::backup) columns: &'a [Column],
    pub(in crate::backup) data: &'a TableData,
    /// The columns' fingerprints, or why there are none.
    pub(in crate::backup) rendering: Result<&'a [Fingerprint], &'a str>,
}

/// Earlier backups, each judged as a whole.
#[derive(Debug, Default)]
pub(in crate::backup) struct Judged {
    bases: Vec<Base>,
    /// Why nothing can be taken over where there is no base.
    doubt: Option<Doubt>,
}

#[derive(Debug)]
struct Base {
    manifest: Arc<Manifest>,
    trust: Result<Since, Doubt>,
    /// Place in the manifest's tables by OID.
    tables: HashMap<u32, usize>,
    neighbours: HashMap<u32, usize>,
}

impl Judged {
    /// `manifests`: newest snapshot first.
    /// `closed`: why earlier backups are not among them.
    pub(in crate::backup) fn new(
        manifests: Vec<Arc<Manifest>>,
        present: &Present<'_>,
        closed: Option<Doubt>,
    ) -> Self {
        let doubt = present.full.then_some(Doubt::Asked).or(closed);
        let bases = manifests.into_iter().map(|manifest| Base::new(manifest, present)).collect();
        Self { bases, doubt }
    }

    /// The newest backup that is compared with.
    pub(in crate::backup) fn newest(&self) -> Option<&BackupId> {
        self.bases.first().map(|base| &base.manifest.backup)
    }

    /// When everything was last read, as far as chunks of these bases go back.
    pub(in crate::backup) fn read_in_full_at(
        &self,
        used: impl IntoIterator<Item = usize>,
    ) -> Option<jiff::Timestamp> {
        let bases = used.into_iter().filter_map(|base| self.bases.get(base));
        bases.filter_map(|base| Some(base.manifest.proof.as_ref()?.read_in_full_at)).min()
    }

    /// The earlier snapshot that large objects are compared with: the newest trusted one that has
    /// any.
    pub(in crate::backup) fn large_objects_since(&self) -> Option<Since> {
        self.large_objects_base().and_then(|(_, base)| base.trust.clone().ok())
    }

    fn large_objects_base(&self) -> Option<(usize, &Base)> {
        let mut bases = self.bases.iter().enumerate();
        bases.find(|(_, base)| base.trust.is_ok() && !base.manifest.large_objects.chunks.is_empty())
    }

    /// The earlier chunks of all large objects, when these are proven unchanged.
    ///
    /// # Errors
    /// Why they are read.
    pub(in crate::backup) fn large_objects(
        &self,
        now: &[LargeObject],
        rows: Option<&LargeObjectRows>,
    ) -> Result<Vec<Earlier>, Doubt> {
        let Some((index, base)) = self.large_objects_base() else {
            return Err(self.untold(true));
        };
        large_objects::unchanged(&base.manifest, now, rows)?;
        let chunks = base.manifest.large_objects.chunks.iter();
        let earlier = chunks.map(|chunk| base.earlier(chunk, index, None, &base.trust));
        earlier.collect::<Option<_>>().ok_or(Doubt::Object)
    }

    /// Why something is read that no base holds; `known`: another part of it is held.
    fn untold(&self, known: bool) -> Doubt {
        match (self.bases.first().map(|base| &base.trust), known) {
            (None, _) => self.doubt.clone().unwrap_or(Doubt::NoBase),
            (Some(Err(why)), _) => why.clone(),
            (Some(Ok(_)), false) => Doubt::NewTable,
            (Some(Ok(_)), true) => Doubt::NewPages,
        }
    }

    /// The earlier chunks of a table, in the order of pages and without overlap, and why pages
    /// that none of them covers are read.
    pub(in crate::backup) fn of(&self, now: &Now<'_>) -> (Vec<Earlier>, Doubt) {
        let mut found: Vec<Earlier> = Vec::new();
        let mut doubt = None;
        for (index, base) in self.bases.iter().enumerate() {
            let Some(table) = base.table(now.oid) else { continue };
            if let Err(why) = same_storage(table, now) {
                doubt.get_or_insert(why);
                continue;
            }
            let trust = base.trust.clone().and_then(|since| same_rendering(table, now).map(|()| since));
            if let Err(why) = &trust {
                doubt.get_or_insert_with(|| why.clone());
            }
            let chunks = base.chunks(table, index, &trust);
            let free: Vec<Earlier> =
                chunks.filter(|chunk| !found.iter().any(|other| overlap(chunk.pages, other.pages))).collect();
            found.extend(free);
            found.sort_by_key(|earlier| earlier.pages.first);
        }
        let untold = || match (self.untold(!found.is_empty()), now.rendering) {
            // An extension's table that is read by a condition is in no list of carried tables.
            (Doubt::NewTable, Err(why)) => unprovable(now, why),
            (doubt, _) => doubt,
        };
        let doubt = doubt.unwrap_or_else(untold);
        (found, doubt)
    }
}

impl Base {
    fn new(manifest: Arc<Manifest>, present: &Present<'_>) -> Self {
        let trust = history::same(&manifest, present).map(|()| Since(manifest.snapshot.xmin));
        let tables = manifest.tables.iter().enumerate().map(|(place, table)| (table.oid, place)).collect();
        let mut neighbours = HashMap::new();
        for chunk in manifest.tables.iter().flat_map(|table| &table.chunks) {
            *neighbours.entry(chunk.object).or_default() += 1;
        }
        Self { manifest, trust, tables, neighbours }
    }

    fn table(&self, oid: u32) -> Option<&Table> {
        let table = self.manifest.tables.get(*self.tables.get(&oid)?)?;
        (table.data == TableData::Carried).then_some(table)
    }

    fn chunks(
        &self,
        table: &Table,
        base: usize,
        trust: &Result<Since, Doubt>,
    ) -> impl Iterator<Item = Earlier> {
        let end_then = table.proof.as_ref().map(|proof| proof.pages);
        table.chunks.iter().filter_map(move |chunk| self.earlier(chunk, base, end_then, trust))
    }

    /// `end_then`: where the table ended; nothing was visible behind it, whatever the chunk's own end.
    fn earlier(
        &self,
        chunk: &Chunk,
        base: usize,
        end_then: Option<u32>,
        trust: &Result<Since, Doubt>,
    ) -> Option<Earlier> {
        let object = self.manifest.objects.get(usize::try_from(chunk.object).ok()?)?;
        let end = chunk.end_page.or(end_then.map(|end| end.max(chunk.first_page.saturating_add(1))));
        Some(Earlier {
            chunk: chunk.clone(),
            object: object.clone(),
            pages: PageRange { first: chunk.first_page, end },
            base,
            neighbours: self.neighbours.get(&chunk.object).copied().unwrap_or(1),
            trust: trust.clone(),
        })
    }
}

fn overlap(one: PageRange, other: PageRange) -> bool {
    let before = |one: PageRange, other: PageRange| one.end.is_some_and(|end| end <= other.first);
    !before(one, other) && !before(other, one)
}

fn same_storage(then: &Table, now: &Now<'_>) -> Result<(), Doubt> {
    if then.filenode == now.filenode && then.filenode != 0 { Ok(()) } else { Err(Doubt::Rewritten) }
}

/// A permanent heap then and now, and the same bytes for the same values.
fn same_rendering(then: &Table, now: &Now<'_>) -> Result<(), Doubt> {
    let rendering = now.rendering.map_err(|why| unprovable(now, why))?;
    if *now.data != TableData::Carried {
        return Err(unprovable(now, "is read by a condition"));
    }
    let Some(proof) = &then.proof else { return Err(unprovable(now, "could not be proven last time")) };
    let altered = |column: &str| Doubt::Rendering { table: now.shown.to_owned(), column: column.to_owned() };
    for (place, column) in now.columns.iter().enumerate() {
        let same_name = then.columns.get(place).is_some_and(|then| then.name == column.name);
        let same_fingerprint =
            rendering.get(place).is_some_and(|now| proof.rendering.get(place) == Some(now));
        if !same_name || !same_fingerprint {
            return Err(altered(&column.name));
        }
    }
    match then.columns.get(now.columns.len()) {
        Some(gone) => Err(altered(&gone.name)),
        None => Ok(()),
    }
}

fn unprovable(now: &Now<'_>, why: &str) -> Doubt {
    Doubt::Unprovable { table: now.shown.to_owned(), why: why.to_owned() }
}

impl Earlier {
    /// Whether its rows were all that was visible in `pages` then: exactly its pages, or all that
    /// follow its first where it was the table's last chunk. Other chunks that lay behind it may be
    /// missing here, as in an interrupted backup.
    pub(in crate::backup) fn stands_for(&self, pages: PageRange) -> bool {
        let to_the_end = pages.end.is_none() && self.chunk.end_page.is_none();
        pages.first == self.pages.first && (pages.end == self.pages.end || to_the_end)
    }

    /// Whether the table was read in binary then.
    pub(in crate::backup) fn is_binary(&self) -> bool {
        self.chunk.format == CopyFormat::Binary
    }

    /// The bundle it lies in, its place there, and how many chunks that bundle holds.
    pub(in crate::backup) fn place(&self) -> (ObjectId, u64, usize) {
        (self.object.id, self.chunk.offset, self.neighbours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::format::proof::TableProof;

    const PAGES_THEN: u32 = 40;

    fn fingerprints() -> Vec<Fingerprint> {
        ["id", "note"].map(|name| Fingerprint::of([name.as_bytes()])).to_vec()
    }

    fn columns() -> Vec<Column> {
        ["id", "note"].map(|name| Column { name: name.into(), type_name: "text".into() }).to_vec()
    }

    fn table() -> Table {
        let chunk = |object, first_page, end_page| Chunk {
            object,
            offset: 0,
            bytes: 5,
            rows: 1,
            format: CopyFormat::Text,
            first_page,
            end_page,
        };
        Table {
            schema: "public".into(),
            name: "t".into(),
            oid: 16400,
            filenode: 16401,
            kind: 'r',
            persistence: 'p',
            columns: columns(),
            data: TableData::Carried,
            load_through: None,
            rows: 2,
            bytes: 10,
            chunks: vec![chunk(0, 0, Some(20)), chunk(1, 20, None)],
            proof: Some(TableProof { pages: PAGES_THEN, rendering: fingerprints() }),
        }
    }

    fn base(table: Table, trust: Result<Since, Doubt>) -> Base {
        let mut manifest = super::super::history::tests::base();
        manifest.objects =
            (0..2).map(|id| Object { id: ObjectId([id; 32]), copy: 0, bytes: 5, stored_bytes: 9 }).collect();
        manifest.tables = vec![table];
        let present_source = manifest.source.clone();
        let mut base = Base::new(Arc::new(manifest), &super::super::history::tests::present(&present_source));
        assert!(base.trust.is_ok());
        base.trust = trust;
        base
    }

    fn judged(bases: Vec<Base>) -> Judged {
        Judged { bases, doubt: None }
    }

    /// Pages and trust of what there is for the table as it is now, and the doubt for the rest.
    fn found(judged: &Judged, change: impl Fn(&mut Table)) -> (Vec<(PageRange, bool)>, String) {
        let mut now = table();
        change(&mut now);
        let rendering = now.proof.as_ref().map(|proof| proof.rendering.clone());
        let (earlier, doubt) = judged.of(&Now {
            shown: "public.t",
            oid: now.oid,
            filenode: now.filenode,
            columns: &now.columns,
            data: &now.data,
            rendering: rendering.as_deref().ok_or("has a regclass column (kind)"),
        });
        let ranges = earlier.iter().map(|earlier| (earlier.pages, earlier.trust.is_ok())).collect();
        (ranges, doubt.to_string())
    }

    fn range(first: u32, end: Option<u32>) -> PageRange {
        PageRange { first, end }
    }

    fn both(trusted: bool) -> Vec<(PageRange, bool)> {
        vec![(range(0, Some(20)), trusted), (range(20, Some(PAGES_THEN)), trusted)]
    }

    #[test]
    fn chunks_of_the_same_table_may_be_asked_about_up_to_where_it_ended_then() {
        let judged = judged(vec![base(table(), Ok(Since(9)))]);
        assert_eq!(found(&judged, |_| {}), (both(true), "appended".into()));
    }

    #[test]
    fn another_storage_has_no_earlier_chunks() {
        let judged = judged(vec![base(table(), Ok(Since(9)))]);
        assert_eq!(found(&judged, |now| now.filenode += 1), (Vec::new(), "in rewritten tables".into()));
        assert_eq!(found(&judged, |now| now.oid += 1), (Vec::new(), "in new tables".into()));
    }

    #[test]
    fn another_rendering_keeps_the_boundaries_and_loses_the_trust() {
        let judged = judged(vec![base(table(), Ok(Since(9)))]);
        let altered = |what: &str| (both(false), format!("public.t.{what} or its type was altered"));
        let fingerprint = Fingerprint::of([b"other".as_slice()]);
        let rendering = |now: &mut Table, place: usize| {
            if let Some(proof) = &mut now.proof {
                proof.rendering[place] = fingerprint;
            }
        };
        assert_eq!(found(&judged, |now| rendering(now, 1)), altered("note"));
        assert_eq!(found(&judged, |now| now.columns[0].name = "key".into()), altered("key"));
        assert_eq!(found(&judged, |now| drop(now.columns.pop())), altered("note"));
        assert_eq!(
            found(&judged, |now| now.proof = None),
            (both(false), "public.t has a regclass column (kind)".into())
        );
    }

    #[test]
    fn a_table_that_can_never_be_proven_is_not_called_new() {
        let judged = judged(vec![base(table(), Ok(Since(9)))]);
        let found = found(&judged, |now| {
            now.oid += 1;
            now.proof = None;
        });
        assert_eq!(found, (Vec::new(), "public.t has a regclass column (kind)".into()));
    }

    #[test]
    fn a_backup_of_another_history_is_not_trusted_and_says_why() {
        let why = Doubt::History("the server was restarted");
        let judged = judged(vec![base(table(), Err(why))]);
        assert_eq!(found(&judged, |_| {}), (both(false), "the server was restarted".into()));
        assert_eq!(found(&judged, |now| now.oid += 1).1, "the server was restarted");
    }

    #[test]
    fn an_interrupted_backup_goes_before_and_the_one_before_it_fills_the_gaps() {
        let mut half = table();
        half.chunks.remove(0);
        half.rows = 1;
        half.bytes = 5;
        let judged = judged(vec![base(half, Ok(Since(12))), base(table(), Ok(Since(9)))]);
        let now = table();
        let (earlier, _) = judged.of(&Now {
            shown: "public.t",
            oid: now.oid,
            filenode: now.filenode,
            columns: &now.columns,
            data: &now.data,
            rendering: Ok(&fingerprints()),
        });
        let since: Vec<_> =
            earlier.iter().map(|earlier| (earlier.pages.first, earlier.trust.clone())).collect();
        assert_eq!(since, [(0, Ok(Since(9))), (20, Ok(Since(12)))]);
    }
}

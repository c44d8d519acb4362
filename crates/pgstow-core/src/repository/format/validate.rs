//! Whether a manifest is consistent in itself. Pure: what lies in the store is not looked at.

use std::collections::HashSet;

use super::layout::is_file_name;
use super::manifest::{Chunk, Manifest, Object, Table, TableData};

/// What is wrong with a manifest, and with which of its entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry}: {fault}")]
pub struct InvalidManifest {
    entry: String,
    fault: String,
}

type Checked = Result<(), InvalidManifest>;

fn invalid(entry: impl Into<String>, fault: impl Into<String>) -> Checked {
    Err(InvalidManifest { entry: entry.into(), fault: fault.into() })
}

impl Manifest {
    /// Checks everything that a reader relies on: sizes that add up without overflow, chunks
    /// within their objects, rows that sum up, names that are plain and occur once.
    ///
    /// # Errors
    /// The first fault, naming the table, object or file.
    pub fn validate(&self) -> Result<(), InvalidManifest> {
        check_objects(&self.objects)?;
        check_files(self)?;
        let mut names = HashSet::new();
        for table in &self.tables {
            let entry = format!("table {}", table.display_name());
            if !names.insert((&table.schema, &table.name)) {
                return invalid(entry, "it is listed twice");
            }
            check_table(table, &entry, &self.objects)?;
        }
        if sum(self.tables.iter().map(|table| table.rows)).is_none() {
            return invalid("tables", "their rows overflow a 64-bit number");
        }
        check_large_objects(self)
    }
}

impl Table {
    /// Schema and name, unquoted, for people.
    pub fn display_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

fn sum(mut numbers: impl Iterator<Item = u64>) -> Option<u64> {
    numbers.try_fold(0u64, u64::checked_add)
}

fn check_objects(objects: &[Object]) -> Checked {
    let mut ids = HashSet::new();
    for object in objects {
        if !ids.insert(object.id) {
            return invalid(format!("object {}", object.id), "it is listed twice");
        }
    }
    let bytes = sum(objects.iter().map(|object| object.bytes));
    let stored_bytes = sum(objects.iter().map(|object| object.stored_bytes));
    if bytes.and(stored_bytes).is_none() {
        return invalid("objects", "their sizes overflow a 64-bit number");
    }
    Ok(())
}

fn check_files(manifest: &Manifest) -> Checked {
    let mut names = HashSet::new();
    for file in &manifest.files {
        let entry = format!("file {:?}", file.name);
        if !is_file_name(&file.name) {
            return invalid(entry, "it is not a plain file name");
        }
        if !names.insert(&file.name) {
            return invalid(entry, "it is listed twice");
        }
    }
    Ok(())
}

fn check_table(table: &Table, entry: &str, objects: &[Object]) -> Checked {
    if !matches!(table.kind, 'r' | 'p') {
        return invalid(entry, format!("unknown kind {:?}", table.kind));
    }
    if !matches!(table.persistence, 'p' | 'u') {
        return invalid(entry, format!("unknown persistence {:?}", table.persistence));
    }
    let has_rows = matches!(table.data, TableData::Carried | TableData::Configuration { .. });
    if !has_rows && (!table.chunks.is_empty() || table.rows != 0 || table.bytes != 0) {
        return invalid(entry, "it has rows although it says that it carries none");
    }
    check_chunks(&table.chunks, entry, objects)?;
    if sum(table.chunks.iter().map(|chunk| chunk.rows)) != Some(table.rows) {
        return invalid(entry, format!("its chunks do not sum up to its {} rows", table.rows));
    }
    if sum(table.chunks.iter().map(|chunk| chunk.bytes)) != Some(table.bytes) {
        return invalid(entry, format!("its chunks do not sum up to its {} bytes", table.bytes));
    }
    check_pages(&table.chunks, entry)
}

fn check_chunks(chunks: &[Chunk], entry: &str, objects: &[Object]) -> Checked {
    for chunk in chunks {
        let object = usize::try_from(chunk.object).ok().and_then(|index| objects.get(index));
        let Some(object) = object else {
            return invalid(
                entry,
                format!("a chunk is in object number {}, which is not listed", chunk.object),
            );
        };
        if chunk.offset.checked_add(chunk.bytes).is_none_or(|end| end > object.bytes) {
            return invalid(
                entry,
                format!(
                    "a chunk of {} bytes at {} reaches beyond object {} of {} bytes",
                    chunk.bytes, chunk.offset, object.id, object.bytes
                ),
            );
        }
    }
    Ok(())
}

fn check_pages(chunks: &[Chunk], entry: &str) -> Checked {
    let mut previous = 0;
    for chunk in chunks {
        if chunk.first_page < previous || chunk.end_page.is_some_and(|end| end < chunk.first_page) {
            return invalid(entry, "its chunks are not in the order of pages");
        }
        previous = chunk.first_page;
    }
    Ok(())
}

fn check_large_objects(manifest: &Manifest) -> Checked {
    let mut oids = HashSet::new();
    for large_object in &manifest.large_objects.list {
        if !oids.insert(large_object.oid) {
            return invalid(format!("large object {}", large_object.oid), "it is listed twice");
        }
    }
    check_chunks(&manifest.large_objects.chunks, "large objects", &manifest.objects)
}

#[cfg(test)]
mod tests {
    use super::super::compressed;
    use super::super::id::{BackupId, ObjectId};
    use super::super::manifest::{CopyFormat, File, LargeObject, LargeObjects};
    use super::super::testdata::{self, FORMAT_1_BACKUPS};
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        let [backup, ..] = FORMAT_1_BACKUPS;
        let file = testdata::read(&format!("backups/{backup}/manifest.json.zst"));
        Manifest::from_file(&file, &BackupId::new(backup).unwrap()).unwrap()
    }

    /// What `validate` says after `change`.
    fn fault(change: impl FnOnce(&mut Manifest)) -> String {
        let mut manifest = manifest();
        change(&mut manifest);
        manifest.validate().expect_err("the fault was not noticed").to_string()
    }

    type Change = fn(&mut Manifest);

    #[test]
    fn every_inconsistency_is_named_with_its_entry() {
        let cases: [(Change, &str); 20] = [
            (|m| m.tables[0].chunks[0].object = 4, "table public.events: a chunk is in object number 4"),
            (|m| m.tables[0].chunks[0].object = u32::MAX, "object number 4294967295"),
            (|m| m.tables[0].chunks[0].bytes += 1, "table public.events: a chunk of"),
            (|m| m.tables[2].chunks[0].offset += 1, "table public.orders: a chunk of"),
            (|m| m.tables[2].chunks[0].offset = u64::MAX, "reaches beyond object"),
            (|m| m.tables[2].rows = 6, "table public.orders: its chunks do not sum up to its 6 rows"),
            (|m| m.tables[2].bytes = 6, "table public.orders: its chunks do not sum up to its 6 bytes"),
            (|m| m.tables[0].chunks[0].rows = u64::MAX, "table public.events: its chunks do not sum up"),
            (|m| m.tables[0].chunks.swap(0, 1), "table public.events: its chunks are not in the order"),
            (|m| m.tables[0].chunks[1].end_page = Some(9), "table public.events: its chunks are not in"),
            (|m| m.tables[0].kind = 'v', "table public.events: unknown kind 'v'"),
            (|m| m.tables[0].persistence = 't', "table public.events: unknown persistence 't'"),
            (|m| m.tables[0].data = TableData::Excluded, "table public.events: it has rows although"),
            (|m| m.tables.push(m.tables[2].clone()), "table public.orders: it is listed twice"),
            (|m| m.objects.push(m.objects[0].clone()), "it is listed twice"),
            (|m| m.objects[0].stored_bytes = u64::MAX, "objects: their sizes overflow"),
            (|m| m.objects[0].bytes = u64::MAX, "objects: their sizes overflow"),
            (|m| m.files.push(m.files[0].clone()), "it is listed twice"),
            (|m| m.large_objects.chunks[0].bytes = u64::MAX, "large objects: a chunk of"),
            (
                |m| m.large_objects.list.push(m.large_objects.list[0].clone()),
                "large object 16500: it is listed twice",
            ),
        ];
        for (change, expected) in cases {
            let fault = fault(change);
            assert!(fault.contains(expected), "{fault:?} instead of {expected:?}");
        }
    }

    #[test]
    fn a_file_name_that_is_no_plain_name_is_refused() {
        for name in
            ["", ".", "..", "../x", "a/b", "/a", "a\\b", "a\0", ".a", "backup.json", "manifest.json.zst"]
        {
            let file = File { name: name.to_owned(), bytes: 0, hash: ObjectId::ZERO };
            let fault = fault(|manifest| manifest.files = vec![file]);
            assert!(fault.contains("not a plain file name"), "{name:?}: {fault}");
        }
    }

    #[test]
    fn rows_of_all_tables_may_not_overflow() {
        let fault = fault(|manifest| {
            for table in &mut manifest.tables[1..3] {
                table.rows = u64::MAX / 2 + 1;
                table.chunks[0].rows = table.rows;
            }
        });
        assert!(fault.contains("overflow"), "{fault}");
    }

    fn any_chunk() -> impl Strategy<Value = Chunk> {
        let numbers = (any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>());
        (numbers, any::<bool>(), any::<u32>(), any::<Option<u32>>()).prop_map(
            |((object, offset, bytes, rows), is_binary, first_page, end_page)| Chunk {
                object,
                offset,
                bytes,
                rows,
                format: if is_binary { CopyFormat::Binary } else { CopyFormat::Text },
                first_page,
                end_page,
            },
        )
    }

    fn any_table() -> impl Strategy<Value = Table> {
        let names = (".*", ".*", any::<char>(), any::<char>());
        let numbers = (any::<u32>(), any::<u64>(), any::<u64>());
        (names, numbers, proptest::collection::vec(any_chunk(), 0..4), any::<bool>()).prop_map(
            |((schema, name, kind, persistence), (oid, rows, bytes), chunks, is_configuration)| Table {
                data: if is_configuration {
                    TableData::Configuration { extension: name.clone(), condition: schema.clone() }
                } else {
                    TableData::Carried
                },
                load_through: is_configuration.then(|| (schema.clone(), name.clone())),
                columns: Vec::new(),
                filenode: oid,
                schema,
                name,
                oid,
                kind,
                persistence,
                rows,
                bytes,
                chunks,
                proof: None,
            },
        )
    }

    fn any_manifest() -> impl Strategy<Value = Manifest> {
        let object = (any::<[u8; 32]>(), any::<u64>(), any::<u64>())
            .prop_map(|(id, bytes, stored_bytes)| Object { id: ObjectId(id), copy: 0, bytes, stored_bytes });
        let file = (".*", any::<u64>()).prop_map(|(name, bytes)| File { name, bytes, hash: ObjectId::ZERO });
        let large_object = (any::<u32>(), any::<u64>(), ".*", any::<Option<u8>>()).prop_map(
            |(oid, bytes, owner, comment)| LargeObject {
                oid,
                bytes,
                owner,
                comment: comment.map(|byte| char::from(byte).to_string()),
            },
        );
        let large_objects =
            (proptest::collection::vec(large_object, 0..3), proptest::collection::vec(any_chunk(), 0..3))
                .prop_map(|(list, chunks)| LargeObjects { list, chunks });
        (
            proptest::collection::vec(any_table(), 0..4),
            proptest::collection::vec(object, 0..4),
            proptest::collection::vec(file, 0..3),
            large_objects,
        )
            .prop_map(|(tables, objects, files, large_objects)| Manifest {
                tables,
                objects,
                files,
                large_objects,
                ..manifest()
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_manifest_survives_its_file(manifest in any_manifest()) {
            let file = compressed::to_file(&manifest).unwrap();
            prop_assert_eq!(compressed::from_versioned_file::<Manifest>(&file, 1 << 30), Ok(manifest));
        }

        #[test]
        fn any_manifest_is_judged_without_a_panic(manifest in any_manifest()) {
            let _ = (manifest.validate(), manifest.rows(), manifest.content_bytes(), manifest.stored_bytes());
        }
    }
}

//! A small repository with everything in it that the format knows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::FileTimes;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use pgstow_core::Result;
use pgstow_core::inventory::catalog::{Catalog, Extension};
use pgstow_core::inventory::{Inventory, Item, ObjectKind};
use pgstow_core::repository::encryption::{
    Access, Asking, IdentityFile, KeySource, PrivateKey, Recipients, SecretString,
};
use pgstow_core::repository::format::FORMAT_VERSION;
use pgstow_core::repository::format::encryption::ObjectKey;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::id::{BackupId, EnvironmentName, Label, ObjectId};
use pgstow_core::repository::format::manifest::*;
use pgstow_core::repository::format::receipt::{Line, Outcome, Receipt};
use pgstow_core::repository::object::Written;
use pgstow_core::repository::store::LocalStore;
use pgstow_core::repository::{BackupDraft, Repository};

/// A name that would leave the repository or break a line if it became a path or a list.
pub(crate) const HOSTILE_NAME: &str = "../../\"Über\n'; DROP\\ 😀";

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn environment(name: &str) -> EnvironmentName {
    EnvironmentName::new(name).unwrap()
}

pub(crate) fn label(name: &str) -> Label {
    Label::new(name).unwrap()
}

pub(crate) fn init(root: &Path) -> Repository {
    Repository::init(Box::new(LocalStore::new(root)), time("2026-01-01T00:00:00Z")).unwrap()
}

pub(crate) fn open(root: &Path) -> Repository {
    Repository::open(Box::new(LocalStore::new(root))).unwrap()
}

/// The private key of the encrypted repositories of these tests.
const IDENTITY: &str = "AGE-SECRET-KEY-1K0UA4UG9T4J8924W2QGLHR5AG0HH36MTZM9GZFU43JKPA9FGDUHQN9UUMA";

/// Whether a repository is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    Plain,
    Encrypted,
}

impl Protection {
    pub(crate) const ALL: [Self; 2] = [Self::Plain, Self::Encrypted];

    pub(crate) fn init(self, root: &Path) -> Repository {
        let store = Box::new(LocalStore::new(root));
        Repository::init_with(store, self.access(), time("2026-01-01T00:00:00Z")).unwrap()
    }

    /// What reading and writing needs.
    pub(crate) fn access(self) -> Access {
        if self == Self::Plain {
            return Access::default();
        }
        let key = KnownKey.identities().unwrap().remove(0);
        let public = PrivateKey::read(&key, |_| Ok(None)).unwrap()[0].public().unwrap();
        let recipients = Some(Recipients::parse([public.as_str()]).unwrap());
        Access { recipients, keys: Some(Box::new(KnownKey)), cache: None }
    }
}

struct KnownKey;

impl KeySource for KnownKey {
    fn identities(&self) -> Result<Vec<IdentityFile>> {
        Ok(vec![IdentityFile::new("the key of the tests", IDENTITY.into())])
    }

    fn passphrase(&self, _what: &str, _asking: Asking) -> Result<Option<SecretString>> {
        Ok(None)
    }
}

/// So many rows as COPY text, different for each `seed`.
pub(crate) fn rows(seed: u64, count: u64) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let value = blake3_digits(seed, number);
        writeln!(text, "{number}\t{value}\t\\N\tline\\nend").unwrap();
        text
    })
}

fn blake3_digits(seed: u64, number: u64) -> String {
    ObjectId::of(format!("{seed} {number}").as_bytes()).to_string()
}

pub(crate) fn write_object(repository: &Repository, content: &[u8]) -> Result<Written> {
    write_object_of(repository, None, content)
}

fn write_object_of(repository: &Repository, key: Option<&ObjectKey>, content: &[u8]) -> Result<Written> {
    let mut writer = repository.write_object(key)?;
    writer
        .write_all(content)
        .map_err(|error| pgstow_core::Error::from_io(error, "cannot write an object"))?;
    writer.finish()
}

/// Reads an object without a key to its end.
pub(crate) fn read_through(repository: &Repository, object: &Object) -> Result<u64> {
    repository.read_object_of(None, object)?.read_through()
}

/// A COPY in binary format: one row with one column of four bytes.
const BINARY: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x04\n\n\n\n\xff\xff";

/// A backup with a chunked table, a bundle of two small ones, a binary one, a partition tree, an
/// extension's table, and a large object.
///
/// `seed` makes content: the first chunk is the same for all seeds, so backups share an object.
pub(crate) fn store_backup(
    repository: &Repository,
    environment: &EnvironmentName,
    label: Option<&Label>,
    now: Timestamp,
    seed: u64,
) -> Result<Header> {
    let draft = repository.begin_backup(environment, label, now)?;
    let stored = store_objects(repository, seed)?;
    finish(draft, now, &stored)
}

/// The objects of a backup, and what its manifest needs to know of them.
#[derive(Clone)]
pub(crate) struct Stored {
    key: Option<ObjectKey>,
    objects: Vec<Object>,
    new_bytes: u64,
    cut: u64,
}

/// One for all backups, so that they share objects.
fn known_object_key() -> ObjectKey {
    serde_json::from_value("5a".repeat(32).into()).unwrap()
}

impl Stored {
    /// What an earlier backup holds.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self {
            objects: manifest.objects.clone(),
            new_bytes: 0,
            cut: manifest.tables[1].bytes,
            key: manifest.object_key.clone(),
        }
    }
}

pub(crate) fn store_objects(repository: &Repository, seed: u64) -> Result<Stored> {
    let key = repository.is_encrypted().then(known_object_key);
    let bundle = format!("{}{}", rows(seed + 1, 3), rows(seed + 2, 5));
    let contents =
        [rows(0, 60).into_bytes(), rows(seed, 40).into_bytes(), bundle.into_bytes(), BINARY.to_vec()];
    let mut objects = Vec::new();
    let mut new_bytes = 0;
    for content in &contents {
        let written = write_object_of(repository, key.as_ref(), content)?;
        new_bytes += if written.new { written.object.stored_bytes } else { 0 };
        objects.push(written.object);
    }
    Ok(Stored { key, objects, new_bytes, cut: u64::try_from(rows(seed + 1, 3).len()).unwrap() })
}

/// Writes the files and commits.
pub(crate) fn finish(mut draft: BackupDraft<'_>, now: Timestamp, stored: &Stored) -> Result<Header> {
    draft.write_file("schema.sql", b"CREATE TABLE public.orders ();\n")?;
    draft.write_catalog(&catalog())?;
    let header = header(draft.id(), now, stored.new_bytes);
    let manifest = Manifest {
        object_key: stored.key.clone(),
        ..manifest(draft.id(), now, stored.objects.clone(), stored.cut)
    };
    draft.commit(manifest, header, now + jiff::Span::new().seconds(9))
}

/// A backup that is being made: its objects are stored, and progress of the first chunk and then of
/// the second is written.
pub(crate) fn begin_with_progress<'r>(
    repository: &'r Repository,
    environment: &EnvironmentName,
    now: Timestamp,
    seed: u64,
) -> Result<(BackupDraft<'r>, Stored)> {
    let mut draft = repository.begin_backup(environment, None, now)?;
    let stored = store_objects(repository, seed)?;
    for finished in 1..=2 {
        let progress = progress(draft.id(), now, &stored, finished);
        draft.write_progress(&progress)?;
    }
    Ok((draft, stored))
}

/// The partial manifest after so many objects.
pub(crate) fn progress(id: &BackupId, now: Timestamp, stored: &Stored, finished: usize) -> Manifest {
    let mut manifest = manifest(id, now, stored.objects.clone(), stored.cut);
    manifest.object_key.clone_from(&stored.key);
    manifest.objects.truncate(finished);
    let keep = |chunks: &mut Vec<Chunk>| chunks.retain(|chunk| (chunk.object as usize) < finished);
    for table in &mut manifest.tables {
        keep(&mut table.chunks);
        table.rows = table.chunks.iter().map(|chunk| chunk.rows).sum();
        table.bytes = table.chunks.iter().map(|chunk| chunk.bytes).sum();
    }
    keep(&mut manifest.large_objects.chunks);
    manifest
}

pub(crate) fn catalog() -> Catalog {
    Catalog {
        inventory: Inventory {
            items: vec![Item {
                kind: ObjectKind::Table,
                name: "public.orders".to_owned(),
                owner: Some("shop".to_owned()),
                definition: "id bigint".to_owned(),
            }],
            privileges: Vec::new(),
        },
        extensions: vec![Extension {
            name: "citext".to_owned(),
            version: "1.6".to_owned(),
            schema: "public".to_owned(),
        }],
        ..Catalog::default()
    }
}

pub(crate) fn header(id: &BackupId, now: Timestamp, new_bytes: u64) -> Header {
    Header {
        format_version: FORMAT_VERSION,
        id: id.clone(),
        environment: environment(id.environment()),
        label: id.label().map(label),
        note: Some("a \"note\" over\ntwo lines".to_owned()),
        safety: None,
        written_by: "pgstow 0.1.0".to_owned(),
        started_at: now,
        snapshot_at: now + jiff::Span::new().seconds(1),
        finished_at: now,
        server_version: "15.18".to_owned(),
        database: "shop".to_owned(),
        sections: Sections::DataOnly,
        limited: false,
        counts: BTreeMap::from([(ObjectKind::Table, 4)]),
        rows: 0,
        content_bytes: 0,
        stored_bytes: 0,
        new_bytes,
        not_carried: 0,
        encryption: None,
        objects_list_hash: None,
        manifest_bytes: 0,
        manifest_hash: ObjectId::ZERO,
        checksum: ObjectId::ZERO,
    }
}

fn table(schema: &str, name: &str, oid: u32, chunks: Vec<Chunk>) -> Table {
    Table {
        schema: schema.to_owned(),
        name: name.to_owned(),
        oid,
        filenode: oid,
        kind: 'r',
        persistence: 'p',
        columns: vec![Column { name: "id".to_owned(), type_name: "bigint".to_owned() }],
        data: TableData::Carried,
        load_through: None,
        rows: chunks.iter().map(|chunk| chunk.rows).sum(),
        bytes: chunks.iter().map(|chunk| chunk.bytes).sum(),
        chunks,
        proof: None,
    }
}

fn chunk(object: u32, offset: u64, bytes: u64, rows: u64, pages: (u32, Option<u32>)) -> Chunk {
    let format = CopyFormat::Text;
    Chunk { object, offset, bytes, rows, format, first_page: pages.0, end_page: pages.1 }
}

fn tables(objects: &[Object], cut: u64) -> Vec<Table> {
    let events =
        vec![chunk(0, 0, objects[0].bytes, 60, (0, Some(10))), chunk(1, 0, objects[1].bytes, 40, (10, None))];
    let small = objects[2].bytes - cut;
    let binary = Chunk { format: CopyFormat::Binary, ..chunk(3, 0, objects[3].bytes, 1, (0, None)) };
    let table = |name, oid, chunks| table("public", name, oid, chunks);
    vec![
        table("events", 16400, events),
        table(HOSTILE_NAME, 16401, vec![chunk(2, 0, cut, 3, (0, None))]),
        table("orders", 16402, vec![chunk(2, cut, small, 5, (0, None))]),
        table("pictures", 16403, vec![binary]),
        Table { kind: 'p', filenode: 0, data: TableData::None, ..table("readings", 16404, Vec::new()) },
        Table {
            persistence: 'u',
            data: TableData::Excluded,
            load_through: Some(("public".to_owned(), "readings".to_owned())),
            ..table("readings_1", 16405, Vec::new())
        },
        Table {
            data: TableData::Configuration {
                extension: "postgis".to_owned(),
                condition: "WHERE srid > 998999".to_owned(),
            },
            ..table("spatial_ref_sys", 16406, Vec::new())
        },
        Table { data: TableData::Unreadable, ..table("unreadable", 16407, Vec::new()) },
    ]
}

pub(crate) fn manifest(id: &BackupId, now: Timestamp, objects: Vec<Object>, cut: u64) -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        backup: id.clone(),
        source: Source {
            endpoint: "db.example.com:5432".to_owned(),
            database: "shop".to_owned(),
            database_oid: 16384,
            database_xmin: None,
            server_version_num: 150_018,
            server_version: "15.18".to_owned(),
            system_identifier: Some("7500000000000000001".to_owned()),
            timeline: Some(1),
            postmaster_started_us: 1_700_000_000_000_001,
            in_recovery: false,
            encoding: "UTF8".to_owned(),
            collate: "C.UTF-8".to_owned(),
            ctype: "C.UTF-8".to_owned(),
            role: "backup".to_owned(),
        },
        snapshot: Snapshot { id: "00000003-0000001B-1".to_owned(), xmin: 731, taken_at: now },
        selection: Selection { sections: Sections::DataOnly, ..Selection::default() },
        tables: tables(&objects, cut),
        sequences: vec![Sequence {
            schema: "public".to_owned(),
            name: "orders_id_seq".to_owned(),
            last_value: 42,
            is_called: true,
        }],
        materialized_views: vec![MaterializedView {
            schema: "public".to_owned(),
            name: "totals".to_owned(),
            populated: true,
        }],
        large_objects: LargeObjects {
            list: vec![LargeObject {
                oid: 16500,
                bytes: 3,
                owner: "shop".to_owned(),
                comment: Some("a \u{1f600}".to_owned()),
            }],
            chunks: vec![chunk(2, 0, cut, 3, (0, None))],
        },
        encryption: None,
        object_key: None,
        objects,
        files: Vec::new(),
        not_carried: vec![NotCarried {
            what: "foreign table public.remote".to_owned(),
            reason: "its rows are elsewhere".to_owned(),
            expected: true,
        }],
        proof: None,
    }
}

pub(crate) fn receipt(backup: &BackupId, finished_at: Timestamp) -> Receipt {
    Receipt {
        format_version: FORMAT_VERSION,
        backup: backup.clone(),
        target: "localhost:5432/shop_copy".to_owned(),
        started_at: finished_at,
        finished_at,
        safety_backup: None,
        unchanged: false,
        outcome: Outcome::Equal,
        checksums: true,
        part: Vec::new(),
        lines: vec![Line { what: "rows of public.orders".to_owned(), expected: 5, found: 5, equal: true }],
        remarks: vec!["owner shop mapped to admin".to_owned()],
        drill: None,
    }
}

/// Two backups of `prod`, one of `dev`, and a receipt.
pub(crate) fn store_all(root: &Path) -> Vec<Header> {
    store_all_in(&init(root))
}

/// The same in a repository that is there.
pub(crate) fn store_all_in(repository: &Repository) -> Vec<Header> {
    let store = |name, tag: Option<&str>, at, seed| {
        let tag = tag.map(label);
        store_backup(repository, &environment(name), tag.as_ref(), time(at), seed).unwrap()
    };
    let headers = vec![
        store("prod", None, "2026-11-20T02:00:00Z", 10),
        store("prod", Some("pre-upgrade"), "2026-11-21T09:12:04Z", 20),
        store("dev", None, "2026-11-19T00:00:00Z", 30),
    ];
    repository.store_receipt(&receipt(&headers[0].id, time("2026-11-22T00:00:00Z"))).unwrap();
    headers
}

/// All files below `root`, sorted, relative to it.
pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Makes a file look as if it had been written that long ago.
pub(crate) fn age(path: &Path, age: Duration) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(SystemTime::now() - age)).unwrap();
}

//! What happens to the bytes of one chunk: hashing, compressing, storing as an object, reading back.
//! The first two are the floor of the third. `cargo bench -p pgstow-core --bench content`

use std::fmt::Write as _;
use std::io::{Read, Write};

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::id::ObjectId;
use pgstow_core::repository::format::manifest::Object;
use pgstow_core::repository::store::LocalStore;
use tempfile::TempDir;

/// Size of a chunk.
const CONTENT_BYTES: usize = 16 * 1024 * 1024;
/// What a connection hands on at a time.
const PIECE_BYTES: usize = 128 * 1024;
const LEVEL: i32 = 1;

fn main() {
    divan::main();
}

/// Rows as COPY gives them: numbers that go up, numbers at random, times, and text of hashes.
fn content(seed: u64) -> Vec<u8> {
    let mut text = String::with_capacity(CONTENT_BYTES + 256);
    let mut row = 0_u64;
    while text.len() < CONTENT_BYTES {
        let hash = ObjectId::of(format!("{seed} {row}").as_bytes());
        let number = u64::from_le_bytes(hash.0[..8].try_into().expect("eight bytes of 32"));
        let (minute, second) = (row / 60 % 60, row % 60);
        writeln!(text, "{row}\t{number}\t2026-01-01 00:{minute:02}:{second:02}+00\t{hash}\t\\N")
            .expect("a String takes everything");
        row += 1;
    }
    text.into_bytes()
}

fn repository() -> (TempDir, Repository) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalStore::new(&folder.path().join("repository"));
    let repository = Repository::init(Box::new(store), jiff::Timestamp::now()).expect("a new repository");
    (folder, repository)
}

fn store(repository: &Repository, content: &[u8]) -> Object {
    let mut writer = repository.write_object(None).expect("a writer");
    content.chunks(PIECE_BYTES).for_each(|piece| writer.write_all(piece).expect("room on the disk"));
    writer.finish().expect("room on the disk").object
}

#[divan::bench]
fn hash(bencher: Bencher) {
    let content = content(0);
    bencher.counter(BytesCount::new(content.len())).bench_local(|| ObjectId::of(black_box(&content)));
}

#[divan::bench]
fn compress(bencher: Bencher) {
    let content = content(0);
    bencher.counter(BytesCount::new(content.len())).bench_local(|| {
        let mut encoder = zstd::stream::write::Encoder::new(std::io::sink(), LEVEL).expect("an encoder");
        content.chunks(PIECE_BYTES).for_each(|piece| encoder.write_all(piece).expect("a sink takes all"));
        encoder.finish().expect("a sink takes all")
    });
}

/// Hash, compress, write and sync an object that the repository does not hold yet.
#[divan::bench]
fn write_a_new_object(bencher: Bencher) {
    let (_folder, repository) = repository();
    let mut seed = 0;
    bencher
        .counter(BytesCount::new(CONTENT_BYTES))
        .with_inputs(|| {
            seed += 1;
            content(seed)
        })
        .bench_local_values(|content| store(&repository, &content));
}

/// The same for content that is stored already.
#[divan::bench]
fn write_an_object_that_is_there(bencher: Bencher) {
    let (_folder, repository) = repository();
    let content = content(0);
    store(&repository, &content);
    bencher.counter(BytesCount::new(content.len())).bench_local(|| store(&repository, &content));
}

#[divan::bench]
fn read_an_object(bencher: Bencher) {
    let (_folder, repository) = repository();
    let object = store(&repository, &content(0));
    let mut buffer = vec![0; PIECE_BYTES];
    bencher.counter(BytesCount::new(CONTENT_BYTES)).bench_local(|| {
        let mut reader = repository.read_object_of(None, &object).expect("a stored object");
        while reader.read(&mut buffer).expect("an undamaged object") > 0 {}
    });
}

//! Writing and reading objects.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use pgstow_core::Error;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::id::ObjectId;
use pgstow_core::repository::format::manifest::Object;
use tempfile::{TempDir, tempdir};

use crate::children;
use crate::sample::{init, read_through, rows, write_object};

fn path(place: &TempDir, id: &ObjectId) -> PathBuf {
    let id = id.to_string();
    place.path().join(format!("objects/{}/{id}.zst", &id[..2]))
}

fn read(repository: &Repository, object: &Object) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    repository
        .read_object_of(None, object)?
        .read_to_end(&mut content)
        .map(|_| content)
        .map_err(|error| Error::from_io(error, "not one of ours"))
}

/// Content that compresses to about a third and is longer than all buffers.
fn long_content() -> Vec<u8> {
    rows(7, 20_000).into_bytes()
}

#[test]
fn an_object_reads_back_and_unpacks_with_plain_zstd() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    for content in [Vec::new(), b"x\n".to_vec(), long_content()] {
        let written = write_object(&repository, &content).unwrap();
        assert!(written.new);
        assert_eq!(written.object.id, ObjectId::of(&content));
        assert_eq!(written.object.bytes, u64::try_from(content.len()).unwrap());
        let stored = fs::read(path(&place, &written.object.id)).unwrap();
        assert_eq!(written.object.stored_bytes, u64::try_from(stored.len()).unwrap());
        assert_eq!(zstd::decode_all(stored.as_slice()).unwrap(), content);
        assert_eq!(read(&repository, &written.object).unwrap(), content);
        assert_eq!(read_through(&repository, &written.object).unwrap(), written.object.bytes);
    }
}

#[test]
fn the_size_of_writes_does_not_change_the_object() {
    let content = long_content();
    let mut stored = Vec::new();
    for size in [1, 7, 1000, 128 << 10, content.len()] {
        let place = tempdir().unwrap();
        let repository = init(place.path());
        let mut writer = repository.write_object(None).unwrap();
        for piece in content.chunks(size) {
            writer.write_all(piece).unwrap();
        }
        assert_eq!(writer.bytes(), u64::try_from(content.len()).unwrap());
        let written = writer.finish().unwrap();
        stored.push(fs::read(path(&place, &written.object.id)).unwrap());
    }
    assert!(stored.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn the_same_content_is_stored_once() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let first = write_object(&repository, b"same\n").unwrap();
    let second = write_object(&repository, b"same\n").unwrap();
    assert!(first.new && !second.new);
    assert_eq!(first.object, second.object);
    assert_eq!(fs::read_dir(place.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn an_object_that_was_compressed_otherwise_is_reused_with_its_own_size() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let content = long_content();
    let first = write_object(&repository, &content).unwrap();
    let repository = repository.with_compression_level(19);
    let second = write_object(&repository, &content).unwrap();
    assert!(!second.new);
    assert_eq!(second.object, first.object);
}

#[test]
fn a_damaged_object_of_the_same_id_is_named_and_neither_used_nor_replaced() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let object = write_object(&repository, &long_content()).unwrap().object;
    let path = path(&place, &object.id);
    let whole = fs::read(&path).unwrap();
    for damaged in [&whole[..0], &whole[..whole.len() / 2], &[whole.as_slice(), b"more"].concat()] {
        fs::write(&path, damaged).unwrap();
        let error = write_object(&repository, &long_content()).unwrap_err();
        assert!(error.message().contains(&object.id.to_string()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
    fs::remove_file(&path).unwrap();
    assert!(write_object(&repository, &long_content()).unwrap().new);
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let mut writer = repository.write_object(None).unwrap();
    writer.write_all(&long_content()).unwrap();
    assert_eq!(fs::read_dir(place.path().join("tmp")).unwrap().count(), 1);
    drop(writer);
    assert_eq!(fs::read_dir(place.path().join("tmp")).unwrap().count(), 0);
    assert!(!place.path().join("objects").exists());
}

#[test]
fn several_frames_read_as_one_object() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let content = long_content();
    let object = write_object(&repository, &content).unwrap().object;
    let (one, other) = content.split_at(1000);
    let frames = [zstd::encode_all(one, 3).unwrap(), zstd::encode_all(other, 1).unwrap()].concat();
    fs::write(path(&place, &object.id), frames).unwrap();
    assert_eq!(read(&repository, &object).unwrap(), content);
}

#[test]
fn every_kind_of_damage_is_an_error_that_names_the_object() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let content = long_content();
    let object = write_object(&repository, &content).unwrap().object;
    let path = path(&place, &object.id);
    let whole = fs::read(&path).unwrap();
    let other = zstd::encode_all(&content[1..], 1).unwrap();
    let longer = zstd::encode_all([content.as_slice(), b"x"].concat().as_slice(), 1).unwrap();
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(&content).unwrap();
    let cases = [
        ("empty", Vec::new()),
        ("cut by one byte", whole[..whole.len() - 1].to_vec()),
        ("cut in half", whole[..whole.len() / 2].to_vec()),
        ("garbage after it", [whole.as_slice(), b"garbage"].concat()),
        ("twice", [whole.as_slice(), whole.as_slice()].concat()),
        ("one byte more of content", longer),
        ("one byte less of content", other),
        ("no zstd at all", content.clone()),
        ("a window beyond the limit", wide.finish().unwrap()),
    ];
    for (case, bytes) in cases {
        fs::write(&path, bytes).unwrap();
        let error = read(&repository, &object).expect_err(case);
        assert!(error.message().contains(&object.id.to_string()), "{case}: {error}");
        assert!(error.message().contains("damaged"), "{case}: {error}");
        assert!(read_through(&repository, &object).is_err(), "{case}");
    }
    fs::remove_file(&path).unwrap();
    assert!(read(&repository, &object).unwrap_err().message().contains(&object.id.to_string()));
}

#[test]
fn the_last_bytes_are_not_handed_out_before_the_content_is_proven() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let content = long_content();
    let object = write_object(&repository, &content).unwrap().object;
    let mut changed = content.clone();
    *changed.first_mut().unwrap() ^= 1;
    fs::write(path(&place, &object.id), zstd::encode_all(changed.as_slice(), 1).unwrap()).unwrap();
    let mut reader = repository.read_object_of(None, &object).unwrap();
    let mut buffer = vec![0; content.len()];
    let error = reader.read_exact(&mut buffer).expect_err("all bytes of wrong content were handed out");
    assert!(Error::from_io(error, "").message().contains(&object.id.to_string()));
    assert!(reader.read(&mut [0]).is_err(), "after damage, an end must not look like a good end");
}

#[test]
fn a_reader_hands_out_no_more_than_the_length() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let bomb = vec![0; 64 << 20];
    let object = write_object(&repository, &bomb).unwrap().object;
    let mut handed_out = 0;
    let claimed = Object { bytes: 1000, ..object };
    let result =
        repository.read_object_of(None, &claimed).unwrap().for_each_range(&[(0, 1000)], |_, piece| {
            handed_out += piece.len();
            Ok(())
        });
    assert!(result.is_err());
    assert!(handed_out <= 1000);
}

#[test]
fn ranges_are_handed_out_in_order_and_whole() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let content = long_content();
    let length = u64::try_from(content.len()).unwrap();
    let object = write_object(&repository, &content).unwrap().object;
    let ranges = [(0, 1), (1, 0), (1, 200_000), (300_000, 5), (300_005, length - 300_005), (length, 0)];
    let mut found = vec![Vec::new(); ranges.len()];
    let mut order = Vec::new();
    repository
        .read_object_of(None, &object)
        .unwrap()
        .for_each_range(&ranges, |index, piece| {
            assert!(!piece.is_empty() && piece.len() <= 128 << 10);
            found[index].extend_from_slice(piece);
            order.push(index);
            Ok(())
        })
        .unwrap();
    for ((offset, bytes), found) in ranges.iter().zip(&found) {
        let (from, to) = (usize::try_from(*offset).unwrap(), usize::try_from(offset + bytes).unwrap());
        assert!(content[from..to] == found[..], "range of {bytes} bytes at {offset}");
    }
    assert!(order.is_sorted());
    let mut slice = Vec::new();
    let reader = repository.read_object_of(None, &object).unwrap();
    reader
        .read_range(12_345, 678, |piece| {
            slice.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
    assert_eq!(slice, content[12_345..13_023]);
}

#[test]
fn ranges_that_overlap_or_lead_beyond_the_end_are_errors() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let object = write_object(&repository, b"0123456789").unwrap().object;
    for ranges in [[(0, 5), (4, 1)], [(5, 1), (0, 1)], [(0, 5), (5, 6)], [(0, 1), (u64::MAX, 2)]] {
        let reader = repository.read_object_of(None, &object).unwrap();
        assert!(reader.for_each_range(&ranges, |_, _| Ok(())).is_err(), "{ranges:?}");
    }
}

#[test]
fn an_error_of_the_sink_ends_the_reading_at_once() {
    let place = tempdir().unwrap();
    let repository = init(place.path());
    let object = write_object(&repository, &long_content()).unwrap().object;
    let mut calls = 0;
    let result =
        repository.read_object_of(None, &object).unwrap().for_each_range(&[(0, object.bytes)], |_, _| {
            calls += 1;
            Err(Error::interrupted())
        });
    assert_eq!(result.unwrap_err().kind(), pgstow_core::ErrorKind::Interrupted);
    assert_eq!(calls, 1);
}

#[test]
fn memory_does_not_grow_with_the_object() {
    // Alone in its process: other tests need memory of their own.
    let place = tempdir().unwrap();
    children::expect_success(children::start("objects::a_long_object_comes_and_goes", &[], place.path()));
}

#[test]
#[ignore = "run by memory_does_not_grow_with_the_object"]
fn a_long_object_comes_and_goes() {
    let repository = init(&children::folder());
    let mut writer = repository.write_object(None).unwrap();
    let bytes = io::copy(&mut io::repeat(b'a').take(300 << 20), &mut writer).unwrap();
    let object = writer.finish().unwrap().object;
    assert_eq!(read_through(&repository, &object).unwrap(), bytes);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 256 << 10, "{peak_kib} KiB");
}

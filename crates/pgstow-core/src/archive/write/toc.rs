//! The head and the table of contents, as bytes (`pg_backup_archiver.c`, `WriteHead` and `WriteToc`).

use std::collections::HashMap;

use super::{Compression, Data, Head, Item};
use crate::archive::Section;

/// Archive versions: major, minor, revision.
const VERSION: [u8; 3] = [1, 14, 0];
const INTEGER_BYTES: u8 = 4;
const OFFSET_BYTES: u8 = 8;
/// zlib's default level.
const DEFAULT_LEVEL: i32 = -1;

/// What a table of contents says of each entry's data.
pub(super) enum Places<'a> {
    /// Where it begins in the archive, by the entry's id; empty while that is not known.
    Offsets(&'a HashMap<i32, u64>),
    /// The file that it is in.
    Files,
}

/// Codes of formats in the head; a folder's table of contents calls itself a tar's.
pub(super) const CUSTOM: u8 = 1;
pub(super) const TAR: u8 = 3;

/// The head and the table of contents. The length does not depend on offsets.
pub(super) fn encode(
    format: u8,
    compression: Compression,
    head: &Head,
    items: &[Item],
    places: &Places<'_>,
) -> Vec<u8> {
    let mut bytes = b"PGDMP".to_vec();
    bytes.extend(VERSION);
    bytes.extend([INTEGER_BYTES, OFFSET_BYTES, format]);
    let level = match compression {
        Compression::Gzip => DEFAULT_LEVEL,
        Compression::None => 0,
    };
    integer(&mut bytes, level);
    time(&mut bytes, head.taken_at);
    for text in [&head.database, &head.server_version, &head.dump_version] {
        string(&mut bytes, Some(text));
    }
    integer(&mut bytes, i32::try_from(items.len()).unwrap_or(i32::MAX));
    for item in items {
        encode_item(&mut bytes, item, places);
    }
    bytes
}

fn encode_item(bytes: &mut Vec<u8>, item: &Item, places: &Places<'_>) {
    let entry = &item.entry;
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    integer(bytes, entry.id);
    integer(bytes, i32::from(item.data != Data::None));
    string(bytes, Some(&entry.catalog_oid.to_string()));
    string(bytes, Some(&entry.oid.to_string()));
    string(bytes, Some(&entry.tag));
    string(bytes, Some(&entry.kind));
    integer(bytes, section(entry.section));
    string(bytes, some(&entry.definition).as_deref());
    string(bytes, some(&entry.drop_statement).as_deref());
    string(bytes, item.copy_statement.as_deref());
    string(bytes, entry.schema.as_deref());
    string(bytes, entry.tablespace.as_deref());
    string(bytes, entry.access_method.as_deref());
    string(bytes, Some(entry.owner.as_deref().unwrap_or_default()));
    string(bytes, Some("false"));
    for dependency in &entry.dependencies {
        string(bytes, Some(&dependency.to_string()));
    }
    string(bytes, None);
    match places {
        Places::Offsets(offsets) => offset(bytes, item, offsets.get(&entry.id).copied()),
        Places::Files => string(bytes, Some(item.file_name().unwrap_or_default().as_str())),
    }
}

/// `WriteOffset`: a state (1 not known, 2 known, 3 no data) and the place.
fn offset(bytes: &mut Vec<u8>, item: &Item, place: Option<u64>) {
    let state = match (item.data, place) {
        (Data::None, _) => 3,
        (_, None) => 1,
        (_, Some(_)) => 2,
    };
    bytes.push(state);
    bytes.extend(place.unwrap_or_default().to_le_bytes());
}

fn section(section: Section) -> i32 {
    match section {
        Section::None => 1,
        Section::PreData => 2,
        Section::Data => 3,
        Section::PostData => 4,
    }
}

/// `WriteInt`: a sign and four bytes, the least significant first.
pub(super) fn integer(bytes: &mut Vec<u8>, value: i32) {
    bytes.push(u8::from(value < 0));
    bytes.extend(value.unsigned_abs().to_le_bytes());
}

/// `WriteStr`: the length, -1 for none, and the bytes.
fn string(bytes: &mut Vec<u8>, value: Option<&str>) {
    match value {
        None => integer(bytes, -1),
        Some(text) => {
            integer(bytes, i32::try_from(text.len()).unwrap_or(i32::MAX));
            bytes.extend(text.as_bytes());
        }
    }
}

/// A C `struct tm`, in UTC.
fn time(bytes: &mut Vec<u8>, time: jiff::Timestamp) {
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    let (month, year) = (i32::from(time.month()) - 1, i32::from(time.year()) - 1900);
    let (second, minute, hour) = (time.second().into(), time.minute().into(), time.hour().into());
    for part in [second, minute, hour, time.day().into(), month, year, 0] {
        integer(bytes, part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Entry, read};

    fn entry(id: i32) -> Entry {
        Entry {
            id,
            kind: "TABLE".into(),
            catalog_oid: 1259,
            oid: 16_384,
            tag: "a\n\"b".into(),
            schema: Some("public".into()),
            owner: Some("app".into()),
            tablespace: Some(String::new()),
            access_method: Some("heap".into()),
            relation_kind: None,
            definition: "CREATE TABLE …;\n".into(),
            drop_statement: "DROP TABLE …;\n".into(),
            dependencies: vec![3, 4],
            section: Section::PreData,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let head = Head {
            taken_at: "2026-11-21T09:12:04Z".parse().unwrap(),
            database: "shop".into(),
            server_version: "15.18".into(),
            dump_version: "18.1".into(),
        };
        let rows = Entry { kind: "TABLE DATA".into(), section: Section::Data, ..entry(8) };
        let items = [
            Item::of(entry(7)),
            Item { entry: rows.clone(), copy_statement: Some("COPY …;\n".into()), data: Data::Rows(3) },
        ];
        let encode = |offsets| encode(CUSTOM, Compression::Gzip, &head, &items, &Places::Offsets(&offsets));
        let archive = encode(HashMap::new());
        assert_eq!(read(&archive).unwrap(), [entry(7), rows]);
        assert_eq!(crate::archive::read_with_version(&archive).unwrap().1, "18.1");
        assert_eq!(archive.len(), encode(HashMap::from([(8, u64::MAX)])).len());
        let read = libpgdump::CustomReader::open(std::io::Cursor::new(&archive)).unwrap();
        let time = read.timestamp();
        assert_eq!((time.second, time.hour, time.month, time.year), (4, 9, 10, 126));
        assert_eq!(read.entries()[1].copy_stmt.as_deref(), Some("COPY …;\n"));
    }
}

//! The rows that a backup holds, and those that a session sees; comparing the two.

use std::collections::HashMap;
use std::io::Read;

use pgstow_core::postgres::identifier::{quote_identifier, quote_qualified};
use pgstow_core::postgres::{Connection, QueryError};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::manifest::{Chunk, CopyFormat, Manifest, Table, TableData};

/// Reads each object of a backup once, checked against its hash.
pub(crate) struct Contents<'r> {
    repository: &'r Repository,
    manifest: &'r Manifest,
    objects: HashMap<u32, Vec<u8>>,
}

impl<'r> Contents<'r> {
    pub(crate) fn new(repository: &'r Repository, manifest: &'r Manifest) -> Self {
        Self { repository, manifest, objects: HashMap::new() }
    }

    /// The COPY data of one chunk.
    pub(crate) fn chunk(&mut self, chunk: &Chunk) -> Vec<u8> {
        let content = self.objects.entry(chunk.object).or_insert_with(|| {
            let mut content = Vec::new();
            let object = &self.manifest.objects[chunk.object as usize];
            let mut reader = self.repository.read_object(self.manifest, object).expect("the object exists");
            reader.read_to_end(&mut content).expect("the object is whole");
            content
        });
        content[chunk.offset as usize..(chunk.offset + chunk.bytes) as usize].to_vec()
    }

    /// What differs between the backup and the session for one table, chunk by chunk.
    pub(crate) fn differences(
        &mut self,
        connection: &mut Connection,
        table: &Table,
    ) -> Result<Vec<String>, QueryError> {
        let mut found = gaps(table);
        for chunk in &table.chunks {
            let live = copied(connection, &copy_statement(table, chunk))?;
            if let Some(difference) = unequal(&self.chunk(chunk), &live, chunk.format) {
                found.push(format!(
                    "{}.{} pages {}..{:?} (object {}, {} rows): {difference}",
                    table.schema,
                    table.name,
                    chunk.first_page,
                    chunk.end_page,
                    self.manifest.objects[chunk.object as usize].id,
                    chunk.rows
                ));
            }
        }
        Ok(found)
    }

    /// What differs between the backup's large objects and the session's.
    pub(crate) fn large_object_differences(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Vec<String>, QueryError> {
        let mut stored: HashMap<String, Vec<(u64, String)>> = HashMap::new();
        let manifest = self.manifest;
        for object in &manifest.large_objects.list {
            stored.insert(object.oid.to_string(), Vec::new());
        }
        for chunk in &manifest.large_objects.chunks {
            let text = String::from_utf8(self.chunk(chunk)).expect("text");
            for line in text.lines() {
                let fields: Vec<&str> = line.split('\t').collect();
                let piece = (fields[1].parse().expect("a position"), fields[2].to_owned());
                stored.entry(fields[0].to_owned()).or_default().push(piece);
            }
        }
        let mut lines: Vec<String> = stored
            .into_iter()
            .map(|(oid, mut pieces)| {
                pieces.sort();
                let bytes: String =
                    pieces.iter().map(|(_, bytes)| bytes.trim_start_matches("\\\\x")).collect();
                format!("{oid} {bytes}")
            })
            .collect();
        lines.sort();
        let rows = connection.query(
            "SELECT m.oid::text || ' ' || pg_catalog.encode(pg_catalog.lo_get(m.oid), 'hex') \
             FROM pg_catalog.pg_largeobject_metadata m ORDER BY 1",
        )?;
        let mut live: Vec<String> = rows.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
        live.sort();
        Ok(only_in_one(&lines, &live)
            .map(|difference| format!("large objects: {difference}"))
            .into_iter()
            .collect())
    }
}

/// Whether the backup holds rows of this table.
pub(crate) fn is_carried(table: &Table) -> bool {
    matches!(table.data, TableData::Carried | TableData::Configuration { .. })
}

/// Page ranges that are missing or overlap.
fn gaps(table: &Table) -> Vec<String> {
    let mut next = Some(0);
    let mut found = Vec::new();
    for chunk in &table.chunks {
        if next != Some(chunk.first_page) {
            found.push(format!("{}: a chunk begins at page {} after {next:?}", table.name, chunk.first_page));
        }
        next = chunk.end_page;
    }
    if next.is_some() {
        found.push(format!("{}: the last chunk ends at page {next:?}", table.name));
    }
    let formats = table.chunks.iter().filter(|chunk| chunk.format == CopyFormat::Binary).count();
    if formats != 0 && formats != table.chunks.len() {
        found.push(format!("{}: text and binary chunks in one table", table.name));
    }
    found
}

fn copy_statement(table: &Table, chunk: &Chunk) -> String {
    let name = quote_qualified(&table.schema, &table.name);
    let columns: Vec<String> = table.columns.iter().map(|column| quote_identifier(&column.name)).collect();
    let columns = columns.join(", ");
    let format = match chunk.format {
        CopyFormat::Text => "",
        CopyFormat::Binary => " (FORMAT binary)",
    };
    let mut condition = match &table.data {
        TableData::Configuration { condition, .. } => condition.clone(),
        _ => String::new(),
    };
    // A whole table by COPY itself: its indexes may keep a query from being planned.
    if chunk.first_page == 0 && chunk.end_page.is_none() && condition.is_empty() {
        let list = if columns.is_empty() { columns } else { format!(" ({columns})") };
        return format!("COPY {name}{list} TO STDOUT{format}");
    }
    if chunk.first_page != 0 || chunk.end_page.is_some() {
        condition = format!("WHERE ctid >= '({},0)'", chunk.first_page);
        if let Some(end) = chunk.end_page {
            condition.push_str(&format!(" AND ctid < '({end},0)'"));
        }
    }
    format!("COPY (SELECT {columns} FROM ONLY {name} {condition}) TO STDOUT{format}")
}

fn copied(connection: &mut Connection, sql: &str) -> Result<Vec<u8>, QueryError> {
    let mut bytes = Vec::new();
    connection.copy_out(sql, &mut |data| {
        bytes.extend_from_slice(data);
        Ok(())
    })?;
    Ok(bytes)
}

/// Rows may come in another order; nothing else may differ.
fn unequal(stored: &[u8], live: &[u8], format: CopyFormat) -> Option<String> {
    if stored == live {
        return None;
    }
    if format == CopyFormat::Binary {
        return Some(format!("{} bytes of binary data instead of {}", stored.len(), live.len()));
    }
    let lines = |bytes: &[u8]| {
        let mut lines: Vec<String> = String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    only_in_one(&lines(stored), &lines(live))
}

/// Some of the lines that only one of two sorted lists has.
fn only_in_one(stored: &[String], live: &[String]) -> Option<String> {
    let (mut left, mut right) = (stored.iter().peekable(), live.iter().peekable());
    let (mut more, mut less) = (Vec::new(), Vec::new());
    loop {
        match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(line), Some(other)) if line == other => {
                left.next();
                right.next();
            }
            (Some(line), other) if other.is_none_or(|other| line < other) => {
                more.push(shortened(line));
                left.next();
            }
            (_, Some(line)) => {
                less.push(shortened(line));
                right.next();
            }
            (Some(_), None) => unreachable!("the arm above takes it"),
        }
    }
    if more.is_empty() && less.is_empty() {
        return None;
    }
    let (count_more, count_less) = (more.len(), less.len());
    more.truncate(5);
    less.truncate(5);
    Some(format!(
        "{count_more} rows only in the backup: {more:#?}\n{count_less} rows only in the snapshot: {less:#?}"
    ))
}

fn shortened(line: &str) -> String {
    line.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comparison_sees_every_difference_and_no_other_order() {
        let text = |stored: &[u8], live: &[u8]| unequal(stored, live, CopyFormat::Text);
        assert_eq!(text(b"a\nb\n", b"b\na\n"), None);
        assert!(
            text(b"a\nb\n", b"a\nc\n").is_some_and(|found| found.contains("1 rows only in the snapshot"))
        );
        assert!(text(b"a\na\n", b"a\n").is_some_and(|found| found.contains("1 rows only in the backup")));
        assert!(text(b"", b"a\n").is_some() && text(b"a\n", b"").is_some());
        assert!(unequal(b"ab", b"ba", CopyFormat::Binary).is_some());
    }
}

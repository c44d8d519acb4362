//! Rows as comma-separated values (RFC 4180), as `COPY … (FORMAT csv, HEADER)` reads them: NULL is nothing,
//! the empty string is `""`.

use std::io::{self, Write};

use super::choose::roots;
use super::plan::ExportPlan;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::identifier::display_name;
use crate::repository::format::manifest::{Column, Manifest, Table};
use crate::restore::selection::{Graph, TableName};

/// Beginning of a value that is held to find out whether it needs quotes.
const HELD_BYTES: usize = 64 * 1024;
/// Longest file name.
const NAME_LIMIT_BYTES: usize = 200;

/// A file of rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CsvFile<'m> {
    pub(super) table: TableName,
    pub(super) columns: &'m [Column],
    /// The manifest's tables whose rows it gets.
    pub(super) parts: Vec<usize>,
    oid: u32,
}

/// The files that the planned tables become: partitions that have their root's columns go into one.
///
/// # Errors
/// Usage: no table has rows to export.
pub(super) fn files<'m>(
    plan: &ExportPlan,
    graph: &Graph<'_>,
    manifest: &'m Manifest,
) -> Result<Vec<CsvFile<'m>>> {
    let roots = roots(graph);
    let name = |table: &Table| (table.schema.clone(), table.name.clone());
    let root_of = |table: &Table| {
        let root = roots.get(&name(table))?;
        let is_chosen = plan.chosen.as_ref().is_none_or(|tables| tables.contains(root));
        let root = manifest.tables.iter().find(|other| is_chosen && name(other) == *root)?;
        (root.columns == table.columns).then_some(root)
    };
    let mut files: Vec<CsvFile<'m>> = Vec::new();
    let mut indexes: Vec<usize> = plan.tables.values().copied().collect();
    indexes.sort_unstable();
    for index in indexes {
        let Some(table) = manifest.tables.get(index) else { continue };
        let whole = root_of(table).unwrap_or(table);
        match files.iter_mut().find(|file| file.oid == whole.oid) {
            Some(file) => file.parts.push(index),
            None => files.push(CsvFile {
                table: name(whole),
                columns: &whole.columns,
                parts: vec![index],
                oid: whole.oid,
            }),
        }
    }
    if files.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "no table has rows that could be exported"));
    }
    Ok(files)
}

/// The only file.
///
/// # Errors
/// Usage: there are several.
pub(super) fn only<'f, 'm>(files: &'f [CsvFile<'m>]) -> Result<&'f CsvFile<'m>> {
    match files {
        [only] => Ok(only),
        _ => {
            let names: Vec<String> =
                files.iter().take(5).map(|file| display_name(&file.table.0, &file.table.1)).collect();
            let more = if files.len() > names.len() { " …" } else { "" };
            Err(Error::new(ErrorKind::Usage, format!("{} tables do not fit into one CSV file", files.len()))
                .why(format!("{}{more}", names.join(", ")))
                .hint("choose one with --table, or end --output with / to get a folder with a file for each"))
        }
    }
}

impl CsvFile<'_> {
    /// What the file is called in a folder. A name is data: what a path could take for something else is
    /// escaped.
    pub(super) fn file_name(&self) -> String {
        let mut name = String::new();
        for part in [&self.table.0, &self.table.1] {
            for c in part.chars() {
                if c.is_alphanumeric() || matches!(c, '_' | '-' | ' ') {
                    name.push(c);
                } else {
                    let mut bytes = [0; 4];
                    c.encode_utf8(&mut bytes).bytes().for_each(|byte| name.push_str(&format!("%{byte:02X}")));
                }
            }
            name.push('.');
        }
        if name.len() > NAME_LIMIT_BYTES {
            name = format!("table_{}.", self.oid);
        }
        name + "csv"
    }
}

/// Turns COPY text into CSV as it passes.
pub(super) struct CsvWriter<W> {
    output: W,
    /// A line that is `\\.` would end the rows.
    is_alone: bool,
    /// What was read of the current value, unless it is too long.
    held: Vec<u8>,
    /// The value is too long to be held; its quote is open.
    is_open: bool,
    is_null: bool,
    after_backslash: bool,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// The output's.
    pub(super) fn new(output: W, columns: &[Column]) -> io::Result<Self> {
        let mut writer = Self {
            output,
            is_alone: columns.len() == 1,
            held: Vec::new(),
            is_open: false,
            is_null: false,
            after_backslash: false,
        };
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                writer.output.write_all(b",")?;
            }
            column.name.bytes().try_for_each(|byte| writer.byte(byte))?;
            writer.end_value()?;
        }
        writer.output.write_all(b"\n")?;
        Ok(writer)
    }

    /// Takes a piece of COPY text.
    ///
    /// # Errors
    /// The output's.
    pub(super) fn rows(&mut self, piece: &[u8]) -> io::Result<()> {
        for &byte in piece {
            if self.after_backslash {
                self.after_backslash = false;
                match byte {
                    b'N' => self.is_null = true,
                    b'b' => self.byte(0x08)?,
                    b'f' => self.byte(0x0c)?,
                    b'n' => self.byte(b'\n')?,
                    b'r' => self.byte(b'\r')?,
                    b't' => self.byte(b'\t')?,
                    b'v' => self.byte(0x0b)?,
                    other => self.byte(other)?,
                }
                continue;
            }
            match byte {
                b'\\' => self.after_backslash = true,
                b'\t' => {
                    self.end_value()?;
                    self.output.write_all(b",")?;
                }
                b'\n' => {
                    self.end_value()?;
                    self.output.write_all(b"\n")?;
                }
                other => self.byte(other)?,
            }
        }
        Ok(())
    }

    /// The output.
    pub(super) fn finish(self) -> W {
        self.output
    }

    fn byte(&mut self, byte: u8) -> io::Result<()> {
        self.held.push(byte);
        if self.held.len() >= HELD_BYTES {
            if !self.is_open {
                self.output.write_all(b"\"")?;
                self.is_open = true;
            }
            self.write_quoted()?;
        }
        Ok(())
    }

    /// Writes what is held, quotes doubled.
    fn write_quoted(&mut self) -> io::Result<()> {
        let mut parts = self.held.split(|byte| *byte == b'"');
        if let Some(first) = parts.next() {
            self.output.write_all(first)?;
        }
        for part in parts {
            self.output.write_all(b"\"\"")?;
            self.output.write_all(part)?;
        }
        self.held.clear();
        Ok(())
    }

    fn end_value(&mut self) -> io::Result<()> {
        let held = self.held.as_slice();
        if std::mem::take(&mut self.is_null) {
            self.held.clear();
        } else if self.is_open {
            self.write_quoted()?;
            self.output.write_all(b"\"")?;
            self.is_open = false;
        } else if held.is_empty()
            || self.is_alone && held == b"\\."
            || held.iter().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r'))
        {
            self.output.write_all(b"\"")?;
            self.write_quoted()?;
            self.output.write_all(b"\"")?;
        } else {
            self.output.write_all(held)?;
            self.held.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(columns: &[&str], pieces: &[&[u8]]) -> String {
        let columns: Vec<Column> =
            columns.iter().map(|name| Column { name: (*name).into(), type_name: "text".into() }).collect();
        let mut writer = CsvWriter::new(Vec::new(), &columns).unwrap();
        pieces.iter().for_each(|piece| writer.rows(piece).unwrap());
        String::from_utf8(writer.finish()).unwrap()
    }

    #[test]
    fn values_are_quoted_where_csv_needs_it() {
        let text = b"1\t\\N\t\n\\\\N\ta,b\tsay \"hi\"\n\\\\.\ta\\nb\\r\t\\tx \n";
        let expected = "n,\"a,b\",\"\"\"c\"\n1,,\"\"\n\\N,\"a,b\",\"say \"\"hi\"\"\"\n\\.,\"a\nb\r\",\tx \n";
        assert_eq!(converted(&["n"], &[b"\\\\.\n\\\\.x\n"]), "n\n\"\\.\"\n\\.x\n");
        for (value, expected) in [("a\\nb", "\"a\nb\""), ("a\\rb", "\"a\rb\""), (" a ", " a ")] {
            assert_eq!(converted(&["n"], &[value.as_bytes(), b"\n"]), format!("n\n{expected}\n"));
        }
        for cut in 0..=text.len() {
            assert_eq!(converted(&["n", "a,b", "\"c"], &[&text[..cut], &text[cut..]]), expected, "{cut}");
        }
    }

    #[test]
    fn a_long_value_is_not_held() {
        let long = "x\"".repeat(HELD_BYTES);
        let text = format!("{long}\t{long}\n");
        let doubled = "x\"\"".repeat(HELD_BYTES);
        assert_eq!(converted(&["a", "b"], &[text.as_bytes()]), format!("a,b\n\"{doubled}\",\"{doubled}\"\n"));
    }

    #[test]
    fn names_of_files_stay_in_their_folder() {
        let file = |schema: &str, name: &str| {
            CsvFile { table: (schema.into(), name.into()), columns: &[], parts: Vec::new(), oid: 7 }
                .file_name()
        };
        assert_eq!(file("public", "orders"), "public.orders.csv");
        assert_eq!(file("..", "../a\nb.c"), "%2E%2E.%2E%2E%2Fa%0Ab%2Ec.csv");
        assert_eq!(file("s", &"/".repeat(63)), format!("s.{}.csv", "%2F".repeat(63)));
        assert_eq!(file(&"/".repeat(63), "t"), format!("{}.t.csv", "%2F".repeat(63)));
        assert_eq!(file(&"/".repeat(63), &"/".repeat(63)), "table_7.csv");
    }
}

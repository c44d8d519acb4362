//! The plain format: a script for psql, in the shape that pg_dump gives it.
//!
//! psql runs whatever follows a backslash outside of quotes, also programs. What the database put into
//! names, definitions and rows must therefore stay within comments, quotes and COPY: `lexer` looks at
//! every definition, `rows` at every row.

mod lexer;

use std::io::{self, Write};

use super::plan::{self, Pass};
use crate::archive::Entry;
use crate::archive::write::{ArchiveWriter, Data, END_OF_ROWS, Head, Item};
use crate::error::{Error, Result};
use crate::postgres::identifier::{quote_identifier, quote_literal};
use crate::restore::entry;

/// Large objects are written in statements of so many bytes.
const LARGE_OBJECT_BYTES: usize = 16 * 1024;

/// What psql's session needs before anything else. The settings of the entries come after it.
const SETTINGS: &str = "SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
";

/// Writes a script.
pub(super) struct ScriptWriter<W> {
    output: W,
    tablespace: String,
    access_method: Option<String>,
    large_object: Option<(u32, u64)>,
    /// Bytes of the current large object that are not written.
    waiting: Vec<u8>,
}

/// The order in which a script has the items of a plan.
pub(super) fn order(items: &[Item]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items.len())
        .filter(|&index| items.get(index).is_some_and(|item| !plan::is_of_database(&item.entry)))
        .collect();
    order.sort_by_key(|&index| items.get(index).map_or(Pass::Main, |item| plan::pass(&item.entry)));
    order
}

/// Looks whether psql would take anything in the items for a command of its own.
///
/// # Errors
/// Refused, naming the object.
pub(super) fn check(items: &[Item]) -> Result<()> {
    for Item { entry, copy_statement, .. } in items {
        let statements = [Some(&entry.definition), Some(&entry.drop_statement), copy_statement.as_ref()];
        for statement in statements.into_iter().flatten() {
            lexer::check(statement).map_err(|found| {
                Error::refused(format!("{} cannot be part of a script: {found}", entry::name(entry)))
                    .why("psql could run what follows as a command of its own; no server writes such a definition by itself")
                    .hint("find out who put it there; pgstow restore and the custom format do not go through psql")
            })?;
        }
    }
    Ok(())
}

impl<W: Write> ScriptWriter<W> {
    /// Writes what a script begins with, and with `clean` the statements that drop everything.
    ///
    /// # Errors
    /// The output's.
    pub(super) fn new(mut output: W, head: &Head, items: &[Item], clean: bool) -> io::Result<Self> {
        write!(
            output,
            "--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version {}\n-- Dumped by pgstow {}, definitions by pg_dump {}\n\n{SETTINGS}\n",
            one_line(&head.server_version),
            env!("CARGO_PKG_VERSION"),
            one_line(&head.dump_version),
        )?;
        if clean {
            // A literal means the same with every setting, but names in the statements are qualified only
            // for an empty path.
            writeln!(output, "SELECT pg_catalog.set_config('search_path', '', false);\n")?;
            for item in items.iter().rev().filter(|item| !plan::is_of_database(&item.entry)) {
                output.write_all(drop_if_exists(&item.entry).as_bytes())?;
            }
            writeln!(output)?;
        }
        Ok(Self {
            output,
            tablespace: String::new(),
            access_method: None,
            large_object: None,
            waiting: Vec::new(),
        })
    }

    /// Writes what a script ends with; the output.
    ///
    /// # Errors
    /// The output's.
    pub(super) fn finish(mut self) -> io::Result<W> {
        write!(self.output, "--\n-- PostgreSQL database dump complete\n--\n\n")?;
        Ok(self.output)
    }

    fn heading(&mut self, item: &Item) -> io::Result<()> {
        let Entry { tag, kind, schema, owner, .. } = &item.entry;
        let or_hyphen = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), one_line);
        let data = if item.data == Data::None { "" } else { "Data for " };
        write!(
            self.output,
            "--\n-- {data}Name: {}; Type: {}; Schema: {}; Owner: {}\n--\n\n",
            one_line(tag),
            one_line(kind),
            or_hyphen(schema),
            or_hyphen(owner)
        )
    }

    fn surroundings(&mut self, entry: &Entry) -> io::Result<()> {
        if let Some(tablespace) = &entry.tablespace
            && *tablespace != self.tablespace
        {
            writeln!(self.output, "SET default_tablespace = {};\n", quote_literal(tablespace).trim_start())?;
            self.tablespace.clone_from(tablespace);
        }
        if entry.access_method.is_some() && entry.access_method != self.access_method {
            let method = quote_identifier(entry.access_method.as_deref().unwrap_or_default());
            writeln!(self.output, "SET default_table_access_method = {method};\n")?;
            self.access_method.clone_from(&entry.access_method);
        }
        Ok(())
    }

    fn statements(&mut self, item: &Item) -> io::Result<()> {
        let definition = item.entry.definition.trim_end();
        if definition.is_empty() {
            return Ok(());
        }
        self.heading(item)?;
        self.surroundings(&item.entry)?;
        writeln!(self.output, "{definition}\n\n")?;
        match plan::owner_statement(&item.entry) {
            Some(statement) => writeln!(self.output, "{statement}\n"),
            None => Ok(()),
        }
    }

    fn write_large_object(&mut self) -> io::Result<()> {
        let Some((oid, position)) = &mut self.large_object else { return Ok(()) };
        if self.waiting.is_empty() {
            return Ok(());
        }
        let digits: String = self.waiting.iter().map(|byte| format!("{byte:02x}")).collect();
        // With E the literal means the same whatever standard_conforming_strings is.
        writeln!(self.output, "SELECT pg_catalog.lo_put({oid}, {position}, E'\\\\x{digits}');")?;
        *position += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

impl<W: Write> ArchiveWriter for ScriptWriter<W> {
    fn begin(&mut self, item: &Item) -> io::Result<()> {
        if item.data == Data::None {
            return self.statements(item);
        }
        self.heading(item)?;
        match &item.copy_statement {
            Some(statement) => self.output.write_all(statement.as_bytes()),
            None => Ok(()),
        }
    }

    fn begin_large_object(&mut self, oid: u32, _bytes: u64) -> io::Result<()> {
        self.large_object = Some((oid, 0));
        Ok(())
    }

    fn data(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.large_object.is_none() {
            return self.output.write_all(piece);
        }
        let mut rest = piece;
        while !rest.is_empty() {
            let room = LARGE_OBJECT_BYTES - self.waiting.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.waiting.extend_from_slice(now);
            rest = later;
            if self.waiting.len() == LARGE_OBJECT_BYTES {
                self.write_large_object()?;
            }
        }
        Ok(())
    }

    fn end_large_object(&mut self) -> io::Result<()> {
        self.write_large_object()?;
        self.large_object = None;
        Ok(())
    }

    fn end(&mut self, item: &Item) -> io::Result<()> {
        match item.data {
            Data::None => Ok(()),
            Data::Rows(_) => self.output.write_all(END_OF_ROWS),
            Data::LargeObjects => self.output.write_all(b"\n\n"),
        }
    }
}

/// Text within a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The statement that drops an entry's object, so that it does nothing where the object is not there. As
/// `pg_restore --if-exists` has it.
fn drop_if_exists(entry: &Entry) -> String {
    let statement = &entry.drop_statement;
    if entry.kind == "BLOB" {
        return format!(
            "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = '{}';\n",
            entry.oid
        );
    }
    if statement.starts_with("--") {
        return statement.clone();
    }
    if statement.starts_with("CREATE OR REPLACE VIEW") || statement.starts_with("ALTER DOMAIN") {
        return where_it_can_be(statement);
    }
    let (begun, rest) = match statement.strip_prefix("ALTER TABLE") {
        Some(rest) => ("ALTER TABLE IF EXISTS", rest),
        None => ("", statement.as_str()),
    };
    let unchanged = matches!(entry.kind.as_str(), "DEFAULT" | "DATABASE PROPERTIES");
    let mark = match entry.kind.as_str() {
        "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" => "DROP CONSTRAINT".to_owned(),
        kind => format!("DROP {kind}"),
    };
    match rest.split_once(&mark) {
        Some((before, after)) if !unchanged => format!("{begun}{before}{mark} IF EXISTS{after}"),
        _ => format!("{begun}{rest}"),
    }
}

/// Runs what has no IF EXISTS for the schemas and types in it: what takes a view's query away, so that the
/// tables in it can be dropped, or a constraint from a domain.
fn where_it_can_be(statement: &str) -> String {
    let statement = quote_literal(statement.trim_end().trim_end_matches(';'));
    let body = format!(
        "BEGIN EXECUTE {}; EXCEPTION WHEN invalid_schema_name OR undefined_object OR undefined_table THEN NULL; END",
        statement.trim_start()
    );
    format!("DO {};\n", quote_literal(&body).trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, drop: &str) -> Entry {
        Entry { drop_statement: drop.into(), oid: 7, ..plan::plain(kind) }
    }

    #[test]
    fn drops_do_nothing_where_nothing_is_there() {
        for (kind, statement, expected) in [
            ("TABLE", "DROP TABLE public.t;\n", "DROP TABLE IF EXISTS public.t;\n"),
            (
                "FK CONSTRAINT",
                "ALTER TABLE ONLY public.t DROP CONSTRAINT c;\n",
                "ALTER TABLE IF EXISTS ONLY public.t DROP CONSTRAINT IF EXISTS c;\n",
            ),
            (
                "DEFAULT",
                "ALTER TABLE public.t ALTER COLUMN id DROP DEFAULT;\n",
                "ALTER TABLE IF EXISTS public.t ALTER COLUMN id DROP DEFAULT;\n",
            ),
            (
                "RULE",
                "CREATE OR REPLACE VIEW v AS SELECT 'x';\n",
                "DO 'BEGIN EXECUTE ''CREATE OR REPLACE VIEW v AS SELECT ''''x''''''; EXCEPTION WHEN invalid_schema_name OR undefined_object OR undefined_table THEN NULL; END';\n",
            ),
            ("TRIGGER", "DROP TRIGGER x ON t;\n", "DROP TRIGGER IF EXISTS x ON t;\n"),
            (
                "SCHEMA",
                "-- *not* dropping schema, since initdb creates it\n",
                "-- *not* dropping schema, since initdb creates it\n",
            ),
            ("ACL", "", ""),
            (
                "BLOB",
                "SELECT pg_catalog.lo_unlink('7');\n",
                "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = '7';\n",
            ),
        ] {
            assert_eq!(drop_if_exists(&entry(kind, statement)), expected);
        }
    }

    #[test]
    fn a_definition_that_leaves_its_quotes_is_refused_by_name() {
        let item = Item::of(Entry {
            tag: "v".into(),
            schema: Some("public".into()),
            definition: "CREATE VIEW public.v AS SELECT 1\n\\! id\n;".into(),
            ..plan::plain("VIEW")
        });
        let error = check(&[item]).unwrap_err();
        assert!(error.message().contains("view public.v"), "{error}");
    }
}

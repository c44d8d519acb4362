//! Plain SQL as steps. What psql would do with commands of its own is refused by name, and so is
//! every statement that pg_dump does not write; transactions of the file are part of ours.

use std::collections::BTreeSet;
use std::io;

use super::FileFacts;
use super::step::{Act, Destination, Rows, Statement as Work, Step, Visit};
use crate::archive::compressed::Compression;
use crate::archive::file::DumpFile;
use crate::archive::input::{Copied, Input};
use crate::archive::sql::{Name, Piece, Script, Statement, classify};
use crate::error::{Error, Result};
use crate::postgres::identifier::{display_name, display_part};
use crate::restore::selection::TableName;

/// Where names without a schema are, unless the file says so.
const DEFAULT_SCHEMA: &str = "public";
/// Settings of `client_encoding` whose characters may hold a byte that looks like a quote or backslash.
const UNREADABLE: [&str; 7] = ["SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"];

/// A file of SQL.
pub(super) struct PlainFile {
    file: DumpFile,
}

/// What has been seen of a script.
struct Walker<'w> {
    visit: &'w mut Visit<'w>,
    schema: String,
    created: BTreeSet<TableName>,
    /// The database that the script would make, and whether it would connect to it.
    database: Option<String>,
    connected: bool,
    encoding: Option<String>,
}

impl PlainFile {
    pub(super) fn new(file: DumpFile) -> Self {
        Self { file }
    }

    pub(super) fn facts(&self) -> Result<FileFacts> {
        let mut script = Script::new(self.file.input()?);
        // Its comments come before the first statement.
        while let Some(Piece::Command { .. }) = script.next().map_err(|error| self.named(error))? {}
        let format = match self.file.compression {
            Compression::None => "plain SQL".to_owned(),
            other => format!("plain SQL, {}", other.name()),
        };
        let origin = script.origin;
        Ok(FileFacts {
            file: self.file.path().display().to_string(),
            format,
            database: None,
            server_version: origin.server_version,
            dump_version: origin.dump_version,
            made: origin.started,
        })
    }

    fn named(&self, error: Error) -> Error {
        error.context(self.file.path().display())
    }

    /// # Errors
    /// As [`super::step::Source::walk`].
    pub(super) fn walk(&self, visit: &mut Visit<'_>) -> Result<()> {
        let mut forward = |step: Step<'_>| visit(step);
        let mut walker = Walker {
            visit: &mut forward,
            schema: DEFAULT_SCHEMA.to_owned(),
            created: BTreeSet::new(),
            database: None,
            connected: false,
            encoding: None,
        };
        walker.begin()?;
        walk(&mut Script::new(self.file.input()?), &mut walker).map_err(|error| match error.kind() {
            // Failures of statements name their line already; only the file's own lack its name.
            crate::error::ErrorKind::Interrupted => error,
            _ => self.named(error),
        })
    }
}

/// The INSERT statements that stand for rows in the data of an archive.
///
/// # Errors
/// The reader's, those of `visit`; anything that is no INSERT.
pub(super) fn inserts(input: Input<'_>, what: &str, schema: &str, visit: &mut Visit<'_>) -> Result<()> {
    let mut script = Script::new(input);
    while let Some(piece) = script.next()? {
        let Piece::Statement { text, line } = piece else {
            return Err(Error::failed(format!("{what}: a command of psql is among its rows")));
        };
        match classify(&text) {
            Ok(Statement::Insert { table, rows, may_skip }) => {
                let table = (table.schema.unwrap_or_else(|| schema.to_owned()), table.name);
                let act = Act::Insert { table, rows, may_skip };
                visit(Step::Statement(Work { act, text, name: format!("{what}, line {line}") }))?;
            }
            _ => return Err(Error::failed(format!("{what}: line {line} is no INSERT"))),
        }
    }
    Ok(())
}

impl Rows for Script<'_> {
    fn pass(&mut self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Copied> {
        self.rows(sink)
    }
}

/// Whether pg_dump writes this before the objects of an owner, and not before what a role granted: then it
/// quotes the role as a string, and ends with DEFAULT.
fn acts_as_owners(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let last = text.trim_end_matches([';', ' ', '\n']).rsplit(' ').next();
    text.contains('\'') && !text.contains('"')
        || last.is_some_and(|word| word.eq_ignore_ascii_case("DEFAULT"))
}

fn walk(script: &mut Script<'_>, walker: &mut Walker<'_>) -> Result<()> {
    while let Some(piece) = script.next()? {
        match piece {
            Piece::Command { text, line } => walker.command(&text, line)?,
            Piece::Statement { text, line } => {
                let statement = classify(&text).map_err(|why| refused(line, &why))?;
                if let Statement::Set { setting, value } = &statement
                    && setting == "standard_conforming_strings"
                {
                    script.set_standard_strings(!matches!(value.as_str(), "off" | "false" | "0"));
                }
                walker.statement(script, statement, text, line)?;
            }
        }
    }
    check_end(script)
}

/// Between two statements nothing else tells a dump that is cut off from a whole one.
fn check_end(script: &Script<'_>) -> Result<()> {
    if !script.origin.is_open {
        return Ok(());
    }
    Err(Error::failed("the end is missing: the dump is cut off")
        .why("pg_dump ends a script with the line -- PostgreSQL database dump complete")
        .hint("a part that was taken out on purpose must not begin with -- PostgreSQL database dump"))
}

impl Walker<'_> {
    /// psql would look for names without a schema in public.
    fn begin(&mut self) -> Result<()> {
        let text = format!("SET search_path = {DEFAULT_SCHEMA}");
        self.run(session("search_path", DEFAULT_SCHEMA), text.into_bytes(), "the search path".to_owned())
    }

    fn run(&mut self, act: Act, text: Vec<u8>, name: String) -> Result<()> {
        (self.visit)(Step::Statement(Work { act, text, name }))
    }

    fn left_out(&mut self, what: &str) -> Result<()> {
        (self.visit)(Step::LeftOut(what.to_owned()))
    }

    fn noted(&mut self, what: &str) -> Result<()> {
        (self.visit)(Step::Noted(what.to_owned()))
    }

    /// A command of psql. Those that pg_dump writes change nothing.
    fn command(&mut self, text: &str, line: u64) -> Result<()> {
        let word = text.split_whitespace().next().unwrap_or_default();
        match word {
            "\\restrict" | "\\unrestrict" => Ok(()),
            "\\connect" | "\\c" if self.database.is_some() && !self.connected => {
                self.connected = true;
                Ok(())
            }
            _ => {
                let mut why = format!("{word} is a command of psql");
                if matches!(word, "\\connect" | "\\c") {
                    why = format!("{word} leads to another database");
                }
                Err(refused(line, &why))
            }
        }
    }

    fn resolved(&self, name: Name) -> TableName {
        (name.schema.unwrap_or_else(|| self.schema.clone()), name.name)
    }

    fn check_setting(&mut self, setting: &str, value: &str, line: u64) -> Result<()> {
        match (setting, value) {
            ("client_encoding", _) => self.encoding(value, line),
            // pg_dump before 12 writes it ahead of each such table.
            ("default_with_oids", "true") => {
                Err(Error::refused(format!("line {line}: the table that follows is one WITH OIDS"))
                    .why("PostgreSQL 12 and newer have no such tables")
                    .hint("ALTER TABLE … SET WITHOUT OIDS at the source, and dump it again"))
            }
            _ => Ok(()),
        }
    }

    fn statement(
        &mut self,
        script: &mut Script<'_>,
        statement: Statement,
        text: Vec<u8>,
        line: u64,
    ) -> Result<()> {
        let verb = first_words(&text);
        let name = format!("line {line}: {verb}");
        match statement {
            Statement::Transaction | Statement::Statistics => Ok(()),
            Statement::Set { setting, value } => {
                self.check_setting(&setting, &value, line)?;
                self.run(Act::Session { setting, value }, text, name)
            }
            Statement::Authorization if acts_as_owners(&text) => {
                Err(refused(line, "the file makes objects as their owners, who may lack the right to")
                    .hint("dump without --use-set-session-authorization: owners are set all the same"))
            }
            Statement::Authorization => self.run(Act::Authorization, text, name),
            Statement::SearchPath(value) => {
                self.schema.clone_from(&value);
                self.run(session("search_path", &value), text, name)
            }
            Statement::Database(made) => {
                if let Some(made) = made
                    && let Some(other) = self.database.replace(made.clone())
                {
                    let why = format!("it makes several databases ({other}, {made})");
                    return Err(refused(line, &why)
                        .hint("that is a file of pg_dumpall: dump each database by pg_dump"));
                }
                self.noted("what the file says of the database itself is left out: the target has its own")
            }
            Statement::Create { kind, object } => {
                let in_schema = !matches!(
                    kind,
                    "SCHEMA" | "EXTENSION" | "EVENT TRIGGER" | "PUBLICATION" | "FOREIGN DATA WRAPPER"
                        | "SERVER" | "USER MAPPING" | "PROCEDURAL LANGUAGE" | "ACCESS METHOD" | "CAST"
                        | "TRANSFORM"
                );
                let mut object = object;
                if in_schema {
                    let (schema, own) = self.resolved(object);
                    object = Name { schema: Some(schema), name: own };
                }
                let is_new = self.created.insert((object.schema.clone().unwrap_or_default(), object.name.clone()));
                if kind == "VIEW" && !is_new {
                    // Views that need each other are made empty first.
                    return self.run(Act::Change, text, name);
                }
                let shown = match &object.schema {
                    Some(schema) => display_name(schema, &object.name),
                    None => display_part(&object.name),
                };
                let name = format!("line {line}: {} {shown}", kind.to_lowercase());
                self.run(Act::Create { kind: kind.to_owned(), object }, text, name)
            }
            Statement::Drop(object) => {
                let (schema, own) = self.resolved(object);
                let is_its_own = self.created.contains(&(schema, own.clone()))
                    || self.created.contains(&(String::new(), own));
                if is_its_own {
                    return self.run(Act::Change, text, name);
                }
                self.noted("DROP statements of the file are left out: --clean clears the target")
            }
            Statement::DropPart if self.created.is_empty() => {
                self.noted("DROP statements of the file are left out: --clean clears the target")
            }
            Statement::DropPart | Statement::Change => self.run(Act::Change, text, name),
            Statement::Subscription => self.left_out(
                "subscriptions are not restored: they would start to copy from their publisher; create them by hand",
            ),
            Statement::Privilege => self.run(Act::Privilege, text, name),
            Statement::Copy { table, columns } => {
                let table = self.resolved(table);
                let to = Destination { table, columns, statement: text };
                (self.visit)(Step::Rows { to, rows: script })
            }
            Statement::Insert { table, rows, may_skip } => {
                let table = self.resolved(table);
                let name = format!("line {line}: INSERT into {}", display_name(&table.0, &table.1));
                self.run(Act::Insert { table, rows, may_skip }, text, name)
            }
            Statement::Position => self.run(Act::Position, text, name),
            Statement::LargeObject(oid) => {
                self.run(Act::LargeObject(oid.into_iter().collect()), text, name)
            }
            Statement::Refresh => self.run(Act::Refresh, text, name),
        }
    }

    /// # Errors
    /// Refused: an encoding that cannot be cut into statements, or a second one.
    fn encoding(&mut self, value: &str, line: u64) -> Result<()> {
        let name = value.to_ascii_uppercase();
        if UNREADABLE.contains(&name.as_str()) {
            return Err(refused(line, &format!("scripts in {name} are not read"))
                .hint("dump with --encoding=UTF8, or in custom format (-Fc)"));
        }
        match self.encoding.replace(name.clone()) {
            Some(other) if other != name => {
                Err(refused(line, &format!("the encoding changes from {other} to {name}")))
            }
            _ => Ok(()),
        }
    }
}

fn session(setting: &str, value: &str) -> Act {
    Act::Session { setting: setting.to_owned(), value: value.to_owned() }
}

fn refused(line: u64, why: &str) -> Error {
    Error::refused(format!("line {line}: {why}"))
        .why("only what pg_dump writes is run, and nothing was run yet")
        .hint("remove it from the file if it is not needed; psql runs files that do more")
}

/// The first words of a statement, for messages.
fn first_words(text: &[u8]) -> String {
    let head = String::from_utf8_lossy(text.get(..80.min(text.len())).unwrap_or_default()).into_owned();
    let words: Vec<&str> = head
        .split(|c: char| !(c.is_ascii_alphabetic() || c == '_'))
        .filter(|word| !word.is_empty())
        .take_while(|word| word.chars().all(|c| c.is_ascii_uppercase()))
        .take(3)
        .collect();
    words.join(" ")
}

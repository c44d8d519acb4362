//! What a file asks for, step by step, in the order in which it is done: the same for archives and
//! scripts, and for the survey and the restore itself.

use std::io::{self, Read};
use std::path::Path;

use super::FileFacts;
use super::archive::Archive;
use super::script::PlainFile;
use crate::archive::Entry;
use crate::archive::file::{DumpFile, Format};
use crate::archive::input::Copied;
use crate::archive::sql::Name;
use crate::error::Result;
use crate::postgres::identifier::display_name;
use crate::restore::selection::TableName;
use crate::restore::target::TargetState;

/// What a statement is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Sets something for what follows; runs alone.
    Session { setting: String, value: String },
    /// SET or RESET SESSION AUTHORIZATION.
    Authorization,
    /// Makes an object.
    Create { kind: String, object: Name },
    /// Changes, describes or gives away what was made.
    Change,
    /// GRANT, REVOKE, default privileges.
    Privilege,
    /// Rows as INSERT.
    Insert { table: TableName, rows: u64, may_skip: bool },
    /// The position of a sequence.
    Position,
    /// Large objects, and those that it makes.
    LargeObject(Vec<u32>),
    /// Fills a materialized view.
    Refresh,
}

impl Act {
    /// Whether it belongs to the definitions, and to the rows.
    pub(super) fn belongs(&self) -> (bool, bool) {
        match self {
            Self::Session { .. } | Self::Authorization => (true, true),
            Self::Create { .. } | Self::Change | Self::Privilege => (true, false),
            Self::Insert { .. } | Self::Position | Self::LargeObject(_) => (false, true),
            Self::Refresh => (false, true),
        }
    }
}

/// A statement.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) act: Act,
    /// In the encoding that the session has been told.
    pub(super) text: Vec<u8>,
    /// For messages: `table public.orders`, `line 12: CREATE INDEX`.
    pub(super) name: String,
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) table: TableName,
    /// As the COPY names them; none means all.
    pub(super) columns: Vec<String>,
    /// `COPY … FROM stdin;`, in the encoding that the session has been told.
    pub(super) statement: Vec<u8>,
}

/// Rows that are passed on.
pub(super) trait Rows {
    /// Passes all of them on; to be called once.
    ///
    /// # Errors
    /// The reader's, the sink's; rows without an end mark.
    fn pass(&mut self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Copied>;
}

/// One step.
pub(super) enum Step<'s> {
    Statement(Statement),
    /// Rows of a table: all of them must be taken.
    Rows {
        to: Destination,
        rows: &'s mut dyn Rows,
    },
    /// Bytes of a large object that has been made.
    LargeObject {
        oid: u32,
        data: &'s mut dyn Read,
    },
    /// Something that is not done, in words that many such things share.
    LeftOut(String),
    /// The same, where nothing is lost by it.
    Noted(String),
}

/// Takes steps.
pub(super) type Visit<'v> = dyn FnMut(Step<'_>) -> Result<()> + 'v;

/// A file to restore.
pub(super) enum Source {
    Archive(Box<Archive>),
    Plain(PlainFile),
}

impl Source {
    /// Looks at the file; reads the table of contents of an archive.
    ///
    /// # Errors
    /// It cannot be read, or is no dump.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = DumpFile::open(path)?;
        match file.format {
            Format::Plain => Ok(Self::Plain(PlainFile::new(file))),
            Format::Custom | Format::Directory | Format::Tar => {
                Archive::open(file).map(|archive| Self::Archive(Box::new(archive)))
            }
        }
    }

    /// What the file says of itself.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn facts(&self) -> Result<FileFacts> {
        match self {
            Self::Archive(archive) => Ok(archive.facts()),
            Self::Plain(file) => file.facts(),
        }
    }

    /// Goes through the file. What the target keeps for itself is not made again.
    ///
    /// # Errors
    /// The file's, those of `visit`.
    pub(super) fn walk(&self, target: &TargetState, visit: &mut Visit<'_>) -> Result<()> {
        let mut unless_kept = |step: Step<'_>| match kept(&step, target) {
            Some(name) => visit(Step::Noted(format!("{name} stays as it is at the target"))),
            None => visit(step),
        };
        match self {
            Self::Archive(archive) => archive.walk(target, &mut unless_kept),
            Self::Plain(file) => file.walk(&mut unless_kept),
        }
    }

    /// The entries of an archive that are restored; none for a script.
    pub(super) fn entries(&self) -> Vec<Entry> {
        match self {
            Self::Archive(archive) => archive.entries().cloned().collect(),
            Self::Plain(_) => Vec::new(),
        }
    }
}

/// What a step would make and the target keeps for itself.
fn kept(step: &Step<'_>, target: &TargetState) -> Option<String> {
    let Step::Statement(Statement { act: Act::Create { kind, object }, .. }) = step else { return None };
    let schema = object.schema.as_deref();
    let shown = || match schema {
        Some(schema) => display_name(schema, &object.name),
        None => object.name.clone(),
    };
    target.keeps(kind, schema, &object.name).then(|| format!("{} {}", kind.to_lowercase(), shown()))
}

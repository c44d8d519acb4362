//! An archive as steps: definitions, rows and large objects in the order of the file, then what comes
//! after the rows, positions, privileges, materialized views, and last what would act on our own
//! statements.

use std::collections::BTreeSet;
use std::io;

use super::FileFacts;
use super::part::FilePart;
use super::script;
use super::step::{Act, Destination, Rows, Statement, Step, Visit};
use crate::archive::Entry;
use crate::archive::compressed::Compression;
use crate::archive::file::{Block, DumpFile, Format, Part};
use crate::archive::input::{Copied, Input};
use crate::archive::sql::{self, Name, Piece, Script, classify};
use crate::archive::toc::{Decode, Toc};
use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::platform::{Hosting, Keeper};
use crate::postgres::Connection;
use crate::postgres::identifier::{display_name, quote_identifier, quote_literal};
use crate::restore::entry::{self, Surroundings};
use crate::restore::hosted;
use crate::restore::plan::phases;
use crate::restore::platform;
use crate::restore::selection::{Carried, Chosen, Graph, choose};
use crate::restore::target::TargetState;

/// Large objects made by one statement.
const BATCH: usize = 1000;
/// Archives up to this version name objects without their schema.
const LAST_WITH_SEARCH_PATH: u8 = 12;

/// An archive of pg_dump.
pub(super) struct Archive {
    file: DumpFile,
    toc: Toc,
    entries: Vec<Entry>,
    /// The COPY statement of each entry.
    copies: Vec<String>,
    /// What of the entries is not restored, by pg_dump's id: the platform's, and what the login may not make.
    left_out: BTreeSet<i32>,
    remarks: Vec<String>,
    /// A part was asked for: what else is left out goes without saying.
    is_part: bool,
}

/// What is going on while the steps are given.
struct Walker<'w> {
    archive: &'w Archive,
    target: &'w TargetState,
    visit: &'w mut Visit<'w>,
    /// Schema that the search path leads to.
    path: Option<String>,
}

impl Archive {
    /// Reads the table of contents.
    pub(super) fn open(file: DumpFile) -> Result<Self> {
        let toc = file.toc()?;
        Ok(Self {
            file,
            toc,
            entries: Vec::new(),
            copies: Vec::new(),
            left_out: BTreeSet::new(),
            remarks: Vec::new(),
            is_part: false,
        })
    }

    /// Makes text of the entries, with the help of the server where it is of another encoding.
    pub(super) fn decode(&mut self, decode: &mut Decode<'_>) -> Result<()> {
        let decoded = self.toc.entries(decode).map_err(|error| error.context(self.file.path().display()))?;
        (self.entries, self.copies) = decoded.into_iter().unzip();
        for entry in &mut self.entries {
            // They are in no schema; before 11, pg_dump named one all the same.
            if matches!(entry.kind.as_str(), "CAST" | "TRANSFORM") {
                entry.schema = None;
            }
        }
        Ok(())
    }

    /// Leaves out what the target's platform keeps for itself, and what the login may not make on its
    /// tables. The triggers and policies that the login may not make: kind, schema, tag.
    ///
    /// # Errors
    /// The server's.
    pub(super) fn leave_out(
        &mut self,
        connection: &mut Connection,
        target: &TargetState,
    ) -> Result<Vec<(String, String, String)>> {
        let mut entries = self.entries.clone();
        hosted::leave_out_platforms(&mut entries, &Hosting::default(), &target.hosting);
        let graph = Graph::new(&entries);
        let all = choose(&graph, &Carried::Everything).entries;
        let mut chosen = Chosen { entries: all.clone(), ..Chosen::default() };
        let no_inventory = Inventory::default();
        platform::leave_out_forbidden(connection, &graph, &mut chosen, &no_inventory, target)?;
        platform::leave_out_reserved(connection, &graph, &mut chosen, &no_inventory, target)?;
        let possible: BTreeSet<usize> = chosen.entries.iter().copied().collect();
        let impossible = all.iter().filter(|index| !possible.contains(index));
        let impossible: BTreeSet<i32> = impossible.map(|&index| entries[index].id).collect();
        let restored: BTreeSet<i32> = entries.iter().map(|entry| entry.id).collect();
        let ids = self.entries.iter().map(|entry| entry.id);
        self.left_out = ids.filter(|id| !restored.contains(id)).chain(impossible).collect();
        let follows = |entry: &&Entry| self.follows_left_out(entry, &target.hosting);
        let described: Vec<i32> = entries.iter().filter(follows).map(|entry| entry.id).collect();
        self.left_out.extend(described);
        self.remarks = chosen.remarks;
        Ok(chosen.forbidden)
    }

    /// Restores only a part.
    pub(super) fn narrow(&mut self, part: &FilePart) {
        self.left_out.extend(&part.left_out);
        self.remarks.clone_from(&part.remarks);
        self.is_part = true;
    }

    /// Whether an entry says something of what is left out: privileges or a comment of an object, default
    /// privileges in a schema of the platform.
    fn follows_left_out(&self, entry: &Entry, hosting: &Hosting) -> bool {
        match (entry.kind.as_str(), &entry.schema) {
            ("DEFAULT ACL", Some(schema)) => hosting.keeper(schema) != Keeper::User,
            ("ACL" | "COMMENT" | "SECURITY LABEL", _) => {
                entry.dependencies.iter().any(|id| self.left_out.contains(id))
            }
            _ => false,
        }
    }

    /// Those that are restored.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !self.left_out.contains(&entry.id))
    }

    /// The encoding of the rows.
    pub(super) fn encoding(&self) -> String {
        self.toc.encoding()
    }

    pub(super) fn facts(&self) -> FileFacts {
        let kind = match self.file.format {
            Format::Directory => "directory",
            Format::Tar => "tar",
            Format::Custom | Format::Plain => "custom",
        };
        let mut format = format!("{kind} archive 1.{}", self.toc.version);
        for compression in [self.toc.compression, self.file.compression] {
            if compression != Compression::None && (kind == "custom" || compression == self.file.compression)
            {
                format.push_str(", ");
                format.push_str(compression.name());
            }
        }
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        FileFacts {
            file: self.file.path().display().to_string(),
            format,
            database: some(&self.toc.database),
            server_version: some(&self.toc.server_version),
            dump_version: some(&self.toc.dump_version),
            made: some(&self.toc.created),
        }
    }

    /// # Errors
    /// As [`super::step::Source::walk`].
    pub(super) fn walk(&self, target: &TargetState, visit: &mut Visit<'_>) -> Result<()> {
        let mut forward = |step: Step<'_>| visit(step);
        Walker { archive: self, target, visit: &mut forward, path: None }.all()
    }
}

impl Walker<'_> {
    fn all(&mut self) -> Result<()> {
        let entries = self.archive.entries.as_slice();
        let graph = Graph::new(entries);
        let mut chosen = choose(&graph, &Carried::Everything);
        let mut remarks = self.archive.remarks.clone();
        if !self.archive.is_part {
            remarks.append(&mut chosen.remarks);
            remarks.extend(self.platforms(entries));
        }
        for remark in remarks {
            (self.visit)(Step::LeftOut(remark))?;
        }
        chosen.entries.retain(|&index| entries.get(index).is_some_and(|entry| self.is_wanted(entry)));
        let phases = phases(&graph, &chosen);
        self.strings()?;
        self.replay(&phases.before)?;
        self.make_large_objects()?;
        self.data()?;
        self.replay(&phases.after)?;
        for entry in entries.iter().filter(|entry| entry.kind == "SEQUENCE SET") {
            if self.is_wanted(entry) {
                self.with_path(entry)?;
                self.run(Act::Position, &entry.definition, &entry::name(entry))?;
            }
        }
        for entry in entries.iter().filter(|entry| entry.kind == "ACL") {
            if self.is_wanted(entry) && !entry.tag.starts_with("DATABASE ") {
                self.with_path(entry)?;
                self.privileges(entry)?;
            }
        }
        for entry in entries.iter().filter(|entry| entry.kind == "MATERIALIZED VIEW DATA") {
            if self.is_wanted(entry) {
                self.with_path(entry)?;
                self.run(Act::Refresh, &entry.definition, &entry::name(entry))?;
            }
        }
        self.replay(&phases.late)
    }

    /// What was not chosen or is a platform's own is left out, and what was never meant to be restored.
    fn is_wanted(&self, entry: &Entry) -> bool {
        !self.archive.left_out.contains(&entry.id) && !self.is_initial(entry)
    }

    /// Before 11, pg_dump put the schema public into every archive, and pg_restore passed over it.
    fn is_initial(&self, entry: &Entry) -> bool {
        let created = |entry: &Entry| {
            (entry.kind.as_str(), entry.tag.as_str()) == ("SCHEMA", "public")
                && entry.definition.starts_with("CREATE SCHEMA")
        };
        let describes = (entry.kind.as_str(), entry.tag.as_str()) == ("COMMENT", "SCHEMA public");
        self.target.schemas.contains_key("public")
            && (created(entry) || describes && self.archive.entries.iter().any(created))
    }

    /// What is left out of the platform's schemas, in words.
    fn platforms(&self, entries: &[Entry]) -> Vec<String> {
        let hosting = &self.target.hosting;
        let schemas: BTreeSet<&str> = entries
            .iter()
            .filter_map(|entry| entry.schema.as_deref())
            .filter(|schema| hosting.keeper(schema) != Keeper::User)
            .collect();
        let platform = hosting.platform;
        let told =
            |schema| format!("what the file holds of schema {schema} is left out: {platform} makes it");
        schemas.into_iter().map(told).collect()
    }

    fn run(&mut self, act: Act, text: &str, name: &str) -> Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let statement = Statement { act, text: text.as_bytes().to_vec(), name: name.to_owned() };
        (self.visit)(Step::Statement(statement))
    }

    fn set(&mut self, setting: &str, value: &str, text: &str) -> Result<()> {
        let act = Act::Session { setting: setting.to_owned(), value: value.to_owned() };
        self.run(act, text, &format!("setting {setting}"))
    }

    /// How the archive writes strings.
    fn strings(&mut self) -> Result<()> {
        let entries = self.archive.entries.as_slice().iter();
        let off =
            entries.clone().any(|entry| entry.kind == "STDSTRINGS" && entry.definition.contains("'off'"));
        if off {
            self.set("standard_conforming_strings", "off", "SET standard_conforming_strings = off")?;
        }
        Ok(())
    }

    /// Old archives rely on the search path.
    fn with_path(&mut self, entry: &Entry) -> Result<()> {
        let old = self.archive.toc.version <= LAST_WITH_SEARCH_PATH;
        if !old || entry.schema.is_none() || entry.schema == self.path {
            return Ok(());
        }
        self.path.clone_from(&entry.schema);
        let schema = quote_identifier(entry.schema.as_deref().unwrap_or_default());
        self.set("search_path", &schema, &format!("SET search_path = {schema}, pg_catalog"))
    }

    fn replay(&mut self, indexes: &[usize]) -> Result<()> {
        let archive = self.archive;
        let target = self.target;
        let new_methods: BTreeSet<&str> = archive
            .entries
            .iter()
            .filter(|entry| entry.kind == "ACCESS METHOD")
            .map(|entry| entry.tag.as_str())
            .collect();
        let stays = hosted::stays(target);
        let surroundings = Surroundings {
            has_tablespace: &|name| target.tablespaces.contains(name),
            has_access_method: &|name| target.access_methods.contains(name) || new_methods.contains(name),
            has_schema: &|name| target.schemas.contains_key(name),
            has_publication: &|name| stays.publications.contains(name),
            has_function: &|_, _| false,
            schema_for_extension: &|_| None,
        };
        for entry in indexes.iter().filter_map(|&index| archive.entries.as_slice().get(index)) {
            self.with_path(entry)?;
            let name = entry::name(entry);
            let object = Name { schema: entry.schema.clone(), name: entry.tag.clone() };
            let act = match entry.kind.as_str() {
                "DEFAULT ACL" => Act::Privilege,
                "COMMENT" | "SECURITY LABEL" | "DEFAULT" | "ROW SECURITY" | "SEQUENCE OWNED BY" => {
                    Act::Change
                }
                kind => Act::Create { kind: kind.to_owned(), object },
            };
            if entry.kind == "DEFAULT ACL" {
                self.privileges(entry)?;
                continue;
            }
            self.run(act, &entry::statements(entry, &surroundings), &name)?;
            if entry.kind == "EXTENSION" {
                // Its statements end with an empty path.
                self.path = None;
            }
            let owner = entry::owner(entry).and_then(|owner| entry::owner_statement(entry, owner));
            if let Some(statement) = owner {
                self.run(Act::Change, &statement, &name)?;
            }
        }
        Ok(())
    }

    /// One by one, since each may name a role that is not there.
    fn privileges(&mut self, entry: &Entry) -> Result<()> {
        let name = match entry.kind.as_str() {
            "ACL" => format!("privileges on {}", shown_tag(&entry.tag)),
            _ => entry::name(entry),
        };
        for definition in self.for_each_large_object(entry) {
            let mut script = Script::new(Input::new(definition.as_bytes()));
            while let Some(piece) = script.next().map_err(|error| error.context(&name))? {
                let Piece::Statement { text, .. } = piece else { continue };
                let act = match classify(&text) {
                    Ok(sql::Statement::Authorization) => Act::Authorization,
                    Ok(sql::Statement::LargeObject(_)) => Act::LargeObject(Vec::new()),
                    _ => Act::Privilege,
                };
                (self.visit)(Step::Statement(Statement { act, text, name: name.clone() }))?;
            }
        }
        Ok(())
    }

    /// The definition of privileges; of a group of large objects, one for each of them.
    fn for_each_large_object(&self, entry: &Entry) -> Vec<String> {
        let named = entry.definition.split("ON LARGE OBJECT ").nth(1);
        let first = named.and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let groups = self
            .archive
            .entries
            .iter()
            .filter(|group| group.kind == "BLOB METADATA" && entry.dependencies.contains(&group.id));
        let oids: Vec<u32> = groups.flat_map(oids_of_group).collect();
        if oids.is_empty() || first.is_empty() {
            return vec![entry.definition.clone()];
        }
        let from = format!("ON LARGE OBJECT {first} ");
        oids.iter().map(|oid| entry.definition.replace(&from, &format!("ON LARGE OBJECT {oid} "))).collect()
    }

    fn make_large_objects(&mut self) -> Result<()> {
        let entries = self.archive.entries.as_slice();
        let makes = |entry: &&Entry| matches!(entry.kind.as_str(), "BLOB" | "BLOB METADATA");
        for entry in entries.iter().filter(makes) {
            if !self.is_wanted(entry) {
                continue;
            }
            let oids = if entry.kind == "BLOB" {
                entry.tag.parse().into_iter().collect()
            } else {
                oids_of_group(entry)
            };
            for batch in oids.chunks(BATCH) {
                self.make_batch(entry, batch)?;
            }
        }
        let describes = |entry: &&Entry| {
            matches!(entry.kind.as_str(), "COMMENT" | "SECURITY LABEL")
                && entry.tag.starts_with("LARGE OBJECT ")
        };
        for entry in entries.iter().filter(describes) {
            if !self.is_wanted(entry) {
                continue;
            }
            self.run(Act::LargeObject(Vec::new()), &entry.definition, &entry::name(entry))?;
        }
        Ok(())
    }

    fn make_batch(&mut self, entry: &Entry, oids: &[u32]) -> Result<()> {
        let list: Vec<String> = oids.iter().map(u32::to_string).collect();
        let made = format!(
            "SELECT pg_catalog.lo_create(oid) FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.oid[]) oid;",
            list.join(", ")
        );
        self.run(Act::LargeObject(oids.to_vec()), &made, "large objects")?;
        let Some(owner) = &entry.owner else { return Ok(()) };
        for oid in oids {
            let given = format!("ALTER LARGE OBJECT {oid} OWNER TO {};", quote_identifier(owner));
            self.run(Act::LargeObject(Vec::new()), &given, &format!("large object {oid}"))?;
        }
        Ok(())
    }

    /// Rows and large objects, in the encoding of the archive.
    fn data(&mut self) -> Result<()> {
        let archive = self.archive;
        let encoding = archive.encoding();
        let foreign = !matches!(encoding.as_str(), "UTF8" | "UNICODE" | "SQL_ASCII");
        if foreign {
            let text = format!("SET client_encoding = {}", quote_literal(&encoding).trim_start());
            self.set("client_encoding", &encoding, &text)?;
        }
        archive.file.blocks(&archive.toc, &mut |block| self.block(block))?;
        if foreign {
            self.set("client_encoding", "UTF8", "SET client_encoding = 'UTF8'")?;
        }
        Ok(())
    }

    fn block(&mut self, block: Block<'_>) -> Result<()> {
        let archive = self.archive;
        let entry = archive.entries.as_slice().get(block.entry);
        let entry = entry.ok_or_else(|| Error::failed("an entry is not there"))?;
        if !self.is_wanted(entry) {
            return Ok(());
        }
        self.with_path(entry)?;
        if let Part::LargeObject(oid) = block.part {
            return (self.visit)(Step::LargeObject { oid, data: block.data });
        }
        let schema = entry.schema.clone().unwrap_or_default();
        let shown = format!("rows of {}", display_name(&schema, &entry.tag));
        let copy = archive.copies.get(block.entry).map(String::as_str).unwrap_or_default();
        if copy.trim().is_empty() {
            return script::inserts(Input::new(block.data), &shown, &schema, self.visit);
        }
        let Ok(sql::Statement::Copy { table, columns }) = classify(copy.as_bytes()) else {
            return Err(Error::failed(format!("{shown}: the archive has no COPY statement for them")));
        };
        let table = (table.schema.unwrap_or(schema), table.name);
        let statement = archive.toc.entries.get(block.entry).map(|raw| raw.copy_statement().to_vec());
        let to = Destination { table, columns, statement: statement.unwrap_or_default() };
        let mut rows = BlockRows { input: Input::new(block.data), shown };
        (self.visit)(Step::Rows { to, rows: &mut rows })
    }
}

/// Rows in a block.
struct BlockRows<'b> {
    input: Input<'b>,
    shown: String,
}

impl Rows for BlockRows<'_> {
    fn pass(&mut self, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Copied> {
        let copied = self.input.copy_rows(sink);
        let copied = copied.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Error::failed(format!("{}: the archive is damaged", self.shown)).source(error)
            }
            _ => Error::from_io(error, self.shown.clone()),
        })?;
        if copied.ended {
            return Ok(copied);
        }
        Err(Error::failed(format!("{}: the archive is damaged", self.shown)).why("they have no end mark"))
    }
}

/// The large objects of a group.
fn oids_of_group(entry: &Entry) -> Vec<u32> {
    entry.definition.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// The tag of privileges for people: `TABLE orders` as `table orders`.
fn shown_tag(tag: &str) -> String {
    let kind_length =
        if tag.starts_with("LARGE OBJECT") { "LARGE OBJECT".len() } else { tag.find(' ').unwrap_or(0) };
    match tag.split_at_checked(kind_length) {
        Some((kind, name)) => entry::visible(&format!("{}{name}", kind.to_lowercase())),
        None => entry::visible(tag),
    }
}

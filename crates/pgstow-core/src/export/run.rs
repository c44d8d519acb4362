//! One export from reading the manifest to giving the file its name.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::write::GzEncoder;

use super::csv::{self, CsvFile, CsvWriter};
use super::large_objects::{self, LargeObjectSink};
use super::output::{OutputFile, OutputFolder, failed};
use super::plan::{self, ExportPlan, Input};
use super::rows::Rows;
use super::script::{self, ScriptWriter};
use super::{Destination, ExportOptions, ExportReport, Format};
use crate::archive::write::custom::CustomWriter;
use crate::archive::write::directory::DirectoryWriter;
use crate::archive::write::tar::TarWriter;
use crate::archive::write::{ArchiveWriter, Counting, Data, Item};
use crate::archive::{self, Entry};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::postgres::identifier::display_name;
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::layout::SCHEMA_ARCHIVE;
use crate::repository::format::manifest::{Manifest, Sections};
use crate::restore::part::carried_by;
use crate::restore::selection::Graph;

const BUFFER_BYTES: usize = 256 * 1024;

/// # Errors
/// As [`super::run`].
pub(super) fn run(
    repository: &Repository,
    header: &Header,
    options: &ExportOptions,
    destination: Destination<'_>,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<ExportReport> {
    let clock = Instant::now();
    check_options(options, &destination)?;
    let place = Place::open(options, destination)?;
    let manifest = repository.manifest(header)?;
    let (definitions, _) = plan::parts(manifest.selection.sections, options.sections)?;
    let (entries, dump_version) = definitions_of(repository, &manifest)?;
    let privileges = repository.catalog(&manifest)?.inventory.privileges;
    let plan = plan::make(Input {
        manifest: &manifest,
        privileges: &privileges,
        entries: entries.clone(),
        dump_version,
        carried: carried_by(&manifest),
        options,
    })?;
    if definitions && matches!(options.format, Format::Plain | Format::PlainGz) {
        script::check(&plan.items)?;
    }
    let tables = plan.tables.values().filter_map(|index| manifest.tables.get(*index));
    let (count, bytes) = (plan.tables.len(), tables.clone().map(|table| table.bytes).sum());
    monitor.event(Event::Planned { tables: count, bytes });
    let rows = tables.map(|table| table.rows).sum();
    let has_large_objects = plan.items.iter().any(|item| item.data == Data::LargeObjects);
    let final_at_once = matches!(place, Place::Stream(_));
    let mut run = Run {
        manifest: &manifest,
        plan: &plan,
        rows: Rows::new(repository, &manifest, final_at_once, interrupt),
        options,
        monitor,
    };
    let bytes = match options.format {
        Format::Csv => run.csv(place, &entries)?,
        _ => run.archive(place)?,
    };
    Ok(ExportReport {
        backup: manifest.backup.to_string(),
        format: options.format,
        tables: count,
        rows,
        large_objects: if has_large_objects { manifest.large_objects.list.len() } else { 0 },
        bytes,
        skipped: plan.skipped,
        notes: plan.notes,
        seconds: clock.elapsed().as_secs_f64(),
    })
}

fn check_options(options: &ExportOptions, destination: &Destination<'_>) -> Result<()> {
    let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
    let name = options.format.name();
    let is_script = matches!(options.format, Format::Plain | Format::PlainGz);
    if options.clean && !is_script {
        return usage(format!("--clean has no meaning for the format {name}"))
            .map_err(|error| error.hint("pg_restore --clean --if-exists does it when the file is restored"));
    }
    if options.clean && options.sections == Sections::DataOnly {
        return usage("--clean drops definitions, and --data-only leaves them out".to_owned());
    }
    if options.format == Format::Csv && options.sections == Sections::SchemaOnly {
        return usage("CSV holds rows, and --schema-only leaves them out".to_owned());
    }
    if options.format == Format::Directory && matches!(destination, Destination::Stream(_)) {
        return usage("a folder cannot be written to standard output".to_owned())
            .map_err(|error| error.hint("choose another format, or name a folder"));
    }
    Ok(())
}

/// The schema archive's entries, and the pg_dump that wrote them.
fn definitions_of(repository: &Repository, manifest: &Manifest) -> Result<(Vec<Entry>, String)> {
    if manifest.selection.sections == Sections::DataOnly {
        return Ok((Vec::new(), manifest.source.server_version.clone()));
    }
    let file = repository.file(manifest, SCHEMA_ARCHIVE)?;
    let read = archive::read_with_version(&file);
    read.map_err(|error| error.context(&manifest.backup))
}

/// Where the bytes go.
enum Place<'w> {
    File(OutputFile, PathBuf),
    Folder(OutputFolder, PathBuf),
    Stream(&'w mut (dyn Write + Send)),
}

impl<'w> Place<'w> {
    fn open(options: &ExportOptions, destination: Destination<'w>) -> Result<Self> {
        Ok(match destination {
            Destination::Stream(stream) => Self::Stream(stream),
            Destination::Path { path, folder } => {
                let is_folder =
                    options.format == Format::Directory || options.format == Format::Csv && folder;
                if is_folder {
                    Self::Folder(OutputFolder::create(&path, options.force)?, path)
                } else {
                    Self::File(OutputFile::create(&path, options.force)?, path)
                }
            }
        })
    }
}

/// One file or stream.
enum Sink<'w> {
    File(OutputFile),
    Stream(Counting<BufWriter<&'w mut (dyn Write + Send)>>),
}

impl Sink<'_> {
    /// Ends the file; its length. `beginning` takes the place of its first bytes where that is possible.
    fn finish(self, beginning: Option<&[u8]>) -> Result<u64> {
        match self {
            Self::File(mut file) => {
                beginning.map_or(Ok(()), |beginning| file.rewrite(beginning))?;
                file.finish()
            }
            Self::Stream(mut stream) => {
                stream.flush().map_err(|error| wrote(None, error))?;
                Ok(stream.bytes())
            }
        }
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(buffer),
            Self::Stream(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Stream(stream) => stream.flush(),
        }
    }
}

/// An error of writing.
fn wrote(path: Option<&Path>, error: io::Error) -> Error {
    match path {
        Some(path) => failed(path, "written", error),
        None => Error::from_io(error, "standard output cannot be written to"),
    }
}

struct Run<'a> {
    manifest: &'a Manifest,
    plan: &'a ExportPlan,
    rows: Rows<'a>,
    options: &'a ExportOptions,
    monitor: &'a dyn Monitor,
}

impl Run<'_> {
    /// Writes everything but CSV; the length.
    fn archive(&mut self, place: Place<'_>) -> Result<u64> {
        let (sink, path) = match place {
            Place::Folder(folder, path) => return self.directory(folder, &path),
            Place::File(file, path) => (Sink::File(file), Some(path)),
            Place::Stream(stream) => {
                (Sink::Stream(Counting::new(BufWriter::with_capacity(BUFFER_BYTES, stream))), None)
            }
        };
        let path = path.as_deref();
        let wrote = |error| wrote(path, error);
        let (head, items, clean) = (&self.plan.head, self.plan.items.as_slice(), self.options.clean);
        match self.options.format {
            Format::Custom => {
                let mut writer =
                    CustomWriter::new(sink, self.options.compression, head, items).map_err(wrote)?;
                self.write(&mut writer, 0..items.len(), path)?;
                let (sink, beginning) = writer.finish(head, items);
                sink.finish(Some(&beginning))
            }
            Format::Tar => {
                let mut writer = TarWriter::new(sink, head, items).map_err(wrote)?;
                self.write(&mut writer, 0..items.len(), path)?;
                writer.finish().map_err(wrote)?.finish(None)
            }
            Format::PlainGz => {
                let packed = GzEncoder::new(sink, flate2::Compression::default());
                let mut writer = ScriptWriter::new(packed, head, items, clean).map_err(wrote)?;
                self.write(&mut writer, script::order(items), path)?;
                writer.finish().and_then(GzEncoder::finish).map_err(wrote)?.finish(None)
            }
            Format::Plain | Format::Directory | Format::Csv => {
                let mut writer = ScriptWriter::new(sink, head, items, clean).map_err(wrote)?;
                self.write(&mut writer, script::order(items), path)?;
                writer.finish().map_err(wrote)?.finish(None)
            }
        }
    }

    fn directory(&mut self, folder: OutputFolder, path: &Path) -> Result<u64> {
        let (head, items) = (&self.plan.head, self.plan.items.as_slice());
        let open = Box::new(|name: &str| folder.open(name));
        let mut writer = DirectoryWriter::new(open, self.options.compression, head, items)
            .map_err(|error| wrote(Some(path), error))?;
        self.write(&mut writer, 0..items.len(), Some(path))?;
        drop(writer);
        folder.finish()
    }

    fn write(
        &mut self,
        writer: &mut dyn ArchiveWriter,
        order: impl IntoIterator<Item = usize>,
        path: Option<&Path>,
    ) -> Result<()> {
        for item in order.into_iter().filter_map(|index| self.plan.items.get(index)) {
            writer.begin(item).map_err(|error| wrote(path, error))?;
            match item.data {
                Data::None => {}
                Data::Rows(_) => self.table(writer, item, path)?,
                Data::LargeObjects => {
                    self.monitor.event(Event::Phase { name: "large objects" });
                    let mut sink = ToArchive { writer, path };
                    large_objects::copy(self.manifest, &mut self.rows, &mut sink)?;
                }
            }
            writer.end(item).map_err(|error| wrote(path, error))?;
        }
        Ok(())
    }

    fn table(&mut self, writer: &mut dyn ArchiveWriter, item: &Item, path: Option<&Path>) -> Result<()> {
        match self.plan.tables.get(&item.entry.id) {
            Some(index) => {
                self.rows_of(*index, &mut |piece| writer.data(piece).map_err(|error| wrote(path, error)))
            }
            None => Ok(()),
        }
    }

    /// Hands the rows of a table to `sink`, in the order of its chunks.
    fn rows_of(&mut self, index: usize, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let Some(table) = self.manifest.tables.get(index) else { return Ok(()) };
        let shown = display_name(&table.schema, &table.name);
        let (monitor, name) = (self.monitor, shown.as_str());
        monitor.event(Event::TableStarted { table: name, bytes: table.bytes });
        for chunk in &table.chunks {
            let copied = self.rows.chunk(chunk, sink);
            copied.map_err(|error| match error.kind() {
                ErrorKind::Interrupted => error,
                _ => error.context(format!("rows of {name}")),
            })?;
            monitor.event(Event::TableProgress { table: name, bytes: chunk.bytes });
        }
        monitor.event(Event::TableFinished { table: name, rows: table.rows, bytes: table.bytes });
        Ok(())
    }

    /// Writes CSV; the length.
    fn csv(&mut self, place: Place<'_>, entries: &[Entry]) -> Result<u64> {
        let graph = Graph::new(entries);
        let files = csv::files(self.plan, &graph, self.manifest)?;
        match place {
            Place::Folder(folder, path) => {
                for file in &files {
                    let output = folder.open(&file.file_name()).map_err(|error| wrote(Some(&path), error))?;
                    let output = self.csv_file(output, file, Some(&path))?;
                    output.close().map_err(|error| wrote(Some(&path), error))?;
                }
                folder.finish()
            }
            Place::File(output, path) => {
                self.csv_file(Sink::File(output), csv::only(&files)?, Some(&path))?.finish(None)
            }
            Place::Stream(stream) => {
                let output = Sink::Stream(Counting::new(BufWriter::with_capacity(BUFFER_BYTES, stream)));
                self.csv_file(output, csv::only(&files)?, None)?.finish(None)
            }
        }
    }

    fn csv_file<W: Write>(&mut self, output: W, file: &CsvFile<'_>, path: Option<&Path>) -> Result<W> {
        let mut writer = CsvWriter::new(output, file.columns).map_err(|error| wrote(path, error))?;
        for part in &file.parts {
            self.rows_of(*part, &mut |piece| writer.rows(piece).map_err(|error| wrote(path, error)))?;
        }
        Ok(writer.finish())
    }
}

/// Passes large objects on to an archive.
struct ToArchive<'w> {
    writer: &'w mut dyn ArchiveWriter,
    path: Option<&'w Path>,
}

impl LargeObjectSink for ToArchive<'_> {
    fn begin(&mut self, oid: u32, bytes: u64) -> Result<()> {
        self.writer.begin_large_object(oid, bytes).map_err(|error| wrote(self.path, error))
    }

    fn data(&mut self, piece: &[u8]) -> Result<()> {
        self.writer.data(piece).map_err(|error| wrote(self.path, error))
    }

    fn end(&mut self) -> Result<()> {
        self.writer.end_large_object().map_err(|error| wrote(self.path, error))
    }
}

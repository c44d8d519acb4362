//! `pgstow export`: a backup as a file that stock tools restore.

use std::io::{self, IsTerminal};

use clap::Args;
use pgstow_core::export::{self, Compression, Destination, ExportOptions, ExportReport, Format};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::app::{App, shell_word};
use crate::arguments::SectionArguments;
use crate::exit::{Exit, Failure};
use crate::ui::{Text, Tone, format, progress};

/// Stands for standard output.
const STANDARD_OUTPUT: &str = "-";
/// What left-out things the summary names; JSON names all.
const NOTES_SHOWN: usize = 8;

/// Arguments of `pgstow export`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Backup: latest, ENV@latest, ENV@LABEL, an id or its unique beginning
    #[arg(value_name = "BACKUP")]
    backup: String,

    /// File to write, or folder (directory; csv with / at the end); - is standard output
    #[arg(long, short, value_name = "PATH")]
    output: String,

    #[command(flatten)]
    content: ContentArguments,
}

/// What is written, and in which format.
#[derive(Debug, Args)]
pub(super) struct ContentArguments {
    /// custom, directory, tar, plain, plain.gz or csv [default: by the end of the path: .dump, .dir or
    /// /, .tar, .sql, .sql.gz, .csv]
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    pub(super) format: Option<Format>,

    #[command(flatten)]
    pub(super) sections: SectionArguments,

    /// Only tables that match, with what they need; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(super) table: Vec<String>,

    /// Only what is in schemas that match, with what it needs; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(super) schema: Vec<String>,

    /// Scripts: begin with DROP … IF EXISTS for everything
    #[arg(long)]
    clean: bool,

    /// Leave out who owns what
    #[arg(long)]
    no_owner: bool,

    /// Leave out privileges and default privileges
    #[arg(long)]
    no_privileges: bool,

    /// Compression in the formats custom and directory: gzip or none
    #[arg(long, value_name = "METHOD", default_value = "gzip", value_parser = parse_compression)]
    compress: Compression,

    /// Replace what is there
    #[arg(long)]
    force: bool,
}

/// The value of `--format`.
fn parse_format(text: &str) -> Result<Format, String> {
    let names = Format::ALL.map(Format::name).join(", ");
    Format::ALL
        .into_iter()
        .find(|format| format.name() == text)
        .ok_or_else(|| format!("one of {names} is needed"))
}

/// The value of `--compress`.
fn parse_compression(text: &str) -> Result<Compression, String> {
    match text {
        "gzip" => Ok(Compression::Gzip),
        "none" => Ok(Compression::None),
        _ => Err("gzip or none is needed".to_owned()),
    }
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonReport<'r> {
    #[serde(flatten)]
    report: &'r ExportReport,
    output: &'r str,
    complete: bool,
}

impl ContentArguments {
    /// What to export to `output`.
    ///
    /// # Errors
    /// Usage: the format is not known.
    pub(super) fn options(&self, output: &str) -> Result<ExportOptions> {
        let format = self.format.or_else(|| format_of(output)).ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("the name {output} does not tell the format"))
                .hint(format!("--format {}", Format::ALL.map(Format::name).join(" | ")))
        })?;
        Ok(ExportOptions {
            sections: self.sections.sections(),
            tables: self.table.clone(),
            schemas: self.schema.clone(),
            clean: self.clean,
            no_owner: self.no_owner,
            no_privileges: self.no_privileges,
            compression: self.compress,
            force: self.force,
            ..ExportOptions::new(format)
        })
    }
}

/// The format that a name tells.
fn format_of(output: &str) -> Option<Format> {
    let endings = [
        ("/", Format::Directory),
        (".dir", Format::Directory),
        (".sql.gz", Format::PlainGz),
        (".sql", Format::Plain),
        (".dump", Format::Custom),
        (".tar", Format::Tar),
        (".csv", Format::Csv),
    ];
    endings.into_iter().find(|(ending, _)| output.ends_with(ending)).map(|(_, format)| format)
}

/// What can be said before anything is done.
///
/// # Errors
/// Usage: standard output cannot take it.
pub(super) fn check_output(app: &App<'_>, output: &str, options: &ExportOptions) -> Result<()> {
    if output != STANDARD_OUTPUT {
        return Ok(());
    }
    if app.output.is_json() {
        return Err(Error::new(ErrorKind::Usage, "--json and the output - both want standard output"));
    }
    if !matches!(options.format, Format::Plain | Format::Csv) && io::stdout().is_terminal() {
        let name = options.format.name();
        return Err(Error::new(ErrorKind::Usage, format!("the format {name} is not for terminals"))
            .hint("name a file, or send standard output to one"));
    }
    Ok(())
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let options = arguments.content.options(&arguments.output)?;
    check_output(app, &arguments.output, &options)?;
    let repository = app.repository()?;
    let header = repository.resolve(&arguments.backup)?;
    repository.unlock()?;
    let report = write(app, &repository, &header, &options, &arguments.output)?;
    present(app, &report, &arguments.output)
}

/// Exports, showing progress.
pub(super) fn write(
    app: &App<'_>,
    repository: &Repository,
    header: &Header,
    options: &ExportOptions,
    output: &str,
) -> Result<ExportReport, Failure> {
    let monitor = progress::monitor(app.output, header.id.as_str());
    let (mut stdout, path) = (io::stdout(), app.current_folder().join(output));
    let destination = if output == STANDARD_OUTPUT {
        Destination::Stream(&mut stdout)
    } else {
        Destination::Path { path, folder: output.ends_with('/') }
    };
    let closing =
        if output == STANDARD_OUTPUT { "what was written is not complete" } else { "nothing was written" };
    export::run(repository, header, options, destination, monitor.as_ref(), &app.interrupt)
        .map_err(Failure::closing(closing))
}

/// Says what was written.
pub(super) fn present(app: &App<'_>, report: &ExportReport, output: &str) -> Result<Exit, Failure> {
    let complete = report.skipped.is_empty();
    report.skipped.iter().for_each(|skipped| app.output.warn(skipped));
    if app.output.is_json() {
        app.output.print_json(&JsonReport { report, output, complete })?;
    } else if output == STANDARD_OUTPUT {
        app.output.note(&summary(app, report, output));
    } else if app.output.is_quiet() {
        let mut text = Text::new(None);
        text.line(output);
        app.output.print(&text)?;
    } else {
        app.output.print(&summary(app, report, output))?;
    }
    Ok(if complete { Exit::Done } else { Exit::Differs })
}

fn summary(app: &App<'_>, report: &ExportReport, output: &str) -> Text {
    let mut text = app.output.text();
    let (tone, mark) = app.output.mark(report.skipped.is_empty());
    let shown = if output == STANDARD_OUTPUT { "standard output" } else { output };
    text.put(tone, mark).plain(" ").put(Tone::Strong, shown).aside(&format!(
        "{}, {}, {}",
        report.format.name(),
        format::size(report.bytes),
        format::seconds(report.seconds)
    ));
    let mut holds =
        format!("{} of {}", format::count(report.rows, "row"), format::count(report.tables as u64, "table"));
    if report.large_objects > 0 {
        holds.push_str(&format!(", {}", format::count(report.large_objects as u64, "large object")));
    }
    let mut fields = vec![("holds", holds)];
    let mut notes: Vec<String> = report.notes.iter().take(NOTES_SHOWN).cloned().collect();
    if let more @ 1.. = report.notes.len().saturating_sub(NOTES_SHOWN) {
        notes.push(format!("and {more} more, all with --json"));
    }
    if !notes.is_empty() {
        fields.push(("mind", notes.join("\n")));
    }
    fields.extend(restore_command(report.format, output).map(|command| ("restore", command)));
    text.fields(&fields);
    if !report.skipped.is_empty() {
        let things = format::count(report.skipped.len() as u64, "thing");
        text.put(Tone::Bad, &format!("not complete: {things} could not be exported, listed above")).end();
    }
    text
}

/// The stock command that restores the file.
fn restore_command(format: Format, output: &str) -> Option<String> {
    if output == STANDARD_OUTPUT {
        return None;
    }
    let file = shell_word(output);
    match format {
        Format::Custom | Format::Directory => {
            Some(format!("pg_restore --exit-on-error -j 4 -d DATABASE {file}"))
        }
        Format::Tar => Some(format!("pg_restore --exit-on-error -d DATABASE {file}")),
        Format::Plain => Some(format!("psql -X -v ON_ERROR_STOP=1 -f {file} -d DATABASE")),
        Format::PlainGz => Some(format!("gunzip -c {file} | psql -X -v ON_ERROR_STOP=1 -d DATABASE")),
        Format::Csv => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        for (name, expected) in [
            ("a.sql", Some(Format::Plain)),
            ("a.sql.gz", Some(Format::PlainGz)),
            ("a.dump", Some(Format::Custom)),
            ("a.tar", Some(Format::Tar)),
            ("a.dir", Some(Format::Directory)),
            ("a/", Some(Format::Directory)),
            ("a.csv", Some(Format::Csv)),
            ("a.gz", None),
            ("-", None),
        ] {
            assert_eq!(format_of(name), expected, "{name}");
        }
    }

    #[test]
    fn every_format_has_a_name_of_its_own() {
        for format in Format::ALL {
            assert_eq!(parse_format(format.name()), Ok(format));
        }
        assert!(parse_format("Custom").is_err());
    }
}

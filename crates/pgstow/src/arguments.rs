//! The command line as clap reads it. Each command's own arguments are in its file.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind as ClapKind;
use clap::{Args, Parser};
use pgstow_core::repository::format::manifest::Sections;
use pgstow_core::restore::RestoreSelection;
use pgstow_core::{Error, ErrorKind};

use crate::commands::Command;
use crate::exit::{Exit, Failure};
use crate::ui::Output;

/// Back up PostgreSQL databases through SQL alone, prove that the backup is good, and restore it
/// exactly.
#[derive(Debug, Parser)]
#[command(name = "pgstow", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Configuration file [default: pgstow.toml in the current folder, if there is one]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,

    /// Repository: a directory or URL [default: that of the configuration, or ./backups]
    #[arg(long, value_name = "URL", global = true, help_heading = "Global options")]
    pub(crate) repository: Option<String>,

    /// Private key to read an encrypted repository: an identity file of age, or a key of SSH
    #[arg(long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub(crate) identity: Option<PathBuf>,

    /// Print the result as one JSON object, and progress as JSON lines on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,

    /// Print no progress and no hints, only results and warnings
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
}

impl Arguments {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// Usage.
    pub(crate) fn parse_words(words: &[&str]) -> Result<Self, Error> {
        let words = std::iter::once("pgstow").chain(words.iter().copied());
        Self::try_parse_from(words).map_err(|error| Error::new(ErrorKind::Usage, first_line(&error)))
    }
}

/// What clap has to say, without its advice.
fn first_line(error: &clap::Error) -> String {
    let message = error.to_string();
    let line = message.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Which sections of a database are meant.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct SectionArguments {
    /// Only definitions, no rows
    #[arg(long, conflicts_with = "data_only")]
    pub(crate) schema_only: bool,

    /// Only rows, no definitions
    #[arg(long)]
    pub(crate) data_only: bool,
}

impl SectionArguments {
    /// As the core has it.
    pub(crate) fn sections(self) -> Sections {
        match (self.schema_only, self.data_only) {
            (true, _) => Sections::SchemaOnly,
            (_, true) => Sections::DataOnly,
            _ => Sections::All,
        }
    }
}

/// Which part of a backup is meant.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PartArguments {
    /// Only tables that match, with what they need; may be given several times
    #[arg(long, value_name = "PATTERN")]
    table: Vec<String>,

    /// Only schemas that match, with all that is in them; may be given several times
    #[arg(long, value_name = "PATTERN")]
    schema: Vec<String>,

    /// Leave out tables that match; may be given several times
    #[arg(long, value_name = "PATTERN")]
    exclude_table: Vec<String>,
}

impl PartArguments {
    /// As the core has it.
    pub(crate) fn selection(&self) -> RestoreSelection {
        RestoreSelection {
            tables: self.table.clone(),
            schemas: self.schema.clone(),
            exclude_tables: self.exclude_table.clone(),
        }
    }
}

/// Reads the arguments. Help and version are printed here, and so are errors.
///
/// # Errors
/// The exit code to end with.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Arguments, Exit> {
    let arguments: Vec<OsString> = arguments.collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let error = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => return Ok(arguments),
        Err(error) => error,
    };
    let help = matches!(error.kind(), ClapKind::DisplayHelp | ClapKind::DisplayVersion);
    if json && !help {
        let error = Error::new(ErrorKind::Usage, first_line(&error)).hint("pgstow --help");
        return Err(Output::of_process(true, false).failure(&Failure::from(error)));
    }
    // A reader that went away is no error.
    let _ = error.print();
    Err(if help { Exit::Done } else { Exit::Usage })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}

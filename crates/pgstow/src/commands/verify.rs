//! `pgstow verify`: a checklist with pass or fail for each line, of one backup or of all that lies
//! in the repository; and drills.

mod drill;
mod present;

use std::path::PathBuf;

use clap::Args;
use pgstow_core::Result;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::Header;
use pgstow_core::verify::{self, Reading, Sample, Share, VerifyReport};

use super::backup::parse_jobs;
use crate::app::App;
use crate::exit::{Exit, Failure};
use crate::ui::progress;

pub(super) use present::present;

/// Arguments of `pgstow verify`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("subject").required(true).args(["backup", "all"])))]
pub(crate) struct Arguments {
    /// Backup: latest, ENV@latest, ENV@LABEL, an id or its unique beginning
    #[arg(value_name = "BACKUP")]
    backup: Option<String>,

    /// Check everything in the repository, each object once
    #[arg(long)]
    all: bool,

    /// Read and hash every byte, not only sizes
    #[arg(long, conflicts_with = "sample")]
    read_data: bool,

    /// Read and hash a random part, such as 5% of the bytes
    #[arg(long, value_name = "PERCENT", value_parser = parse_share)]
    sample: Option<Share>,

    /// Repeat the sample that was chosen with this seed
    #[arg(long, value_name = "NUMBER", requires = "sample")]
    seed: Option<u64>,

    /// Restore the backup into a server made for it, compare everything, and run the environment's checks
    #[arg(long, requires = "backup", conflicts_with_all = ["all", "read_data", "sample"])]
    drill: bool,

    /// Drill in a database made for it on the server of this URL; '$NAME' takes it from a variable
    #[arg(long, value_name = "URL", requires = "drill", help_heading = "Options of drills")]
    drill_target: Option<String>,

    /// Where the server's folder is made [default: $TMPDIR, or else /var/tmp]
    #[arg(
        long,
        value_name = "FOLDER",
        requires = "drill",
        conflicts_with = "drill_target",
        help_heading = "Options of drills"
    )]
    drill_folder: Option<PathBuf>,

    /// Leave an extension out, and all that needs it; may be given several times
    #[arg(long, value_name = "EXTENSION", requires = "drill", help_heading = "Options of drills")]
    drill_without: Vec<String>,

    /// Parallel sessions, 1 to 64 [default: one per processor, at most 8]
    #[arg(
        long,
        short,
        value_name = "N",
        value_parser = parse_jobs,
        requires = "drill",
        help_heading = "Options of drills"
    )]
    jobs: Option<usize>,
}

impl Arguments {
    /// Whether the backup is restored for it.
    pub(super) fn is_drill(&self) -> bool {
        self.drill
    }
}

/// The value of `--sample`.
fn parse_share(text: &str) -> Result<Share, String> {
    text.parse().map_err(|error: pgstow_core::Error| error.message().to_owned())
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.drill {
        return drill::run(app, arguments);
    }
    let repository = app.repository()?;
    let reading = reading(arguments)?;
    repository.unlock()?;
    let Some(backup) = &arguments.backup else {
        let report = {
            let monitor = progress::monitor(app.output, &repository.location());
            verify::verify_all(&repository, &reading, monitor.as_ref(), &app.interrupt)?
        };
        present::whole(app, &report, &reading)?;
        return Ok(exit(report.is_good(), report.is_complete()));
    };
    let header = repository.resolve(backup)?;
    let report = check(app, &repository, &header, &reading)?;
    present(app, &report)?;
    Ok(exit(report.is_good(), report.is_complete()))
}

/// How much is to be read.
fn reading(arguments: &Arguments) -> Result<Reading> {
    Ok(match (arguments.read_data, arguments.sample, arguments.seed) {
        (true, ..) => Reading::All,
        (_, None, _) => Reading::Sizes,
        (_, Some(share), Some(seed)) => Reading::Sample(Sample::new(share, seed)),
        (_, Some(share), None) => Reading::Sample(Sample::random(share)?),
    })
}

fn exit(good: bool, complete: bool) -> Exit {
    match (good, complete) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Differs,
        (true, true) => Exit::Done,
    }
}

/// Verifies, showing progress.
pub(super) fn check(
    app: &App<'_>,
    repository: &Repository,
    header: &Header,
    reading: &Reading,
) -> Result<VerifyReport> {
    let monitor = progress::monitor(app.output, header.id.as_str());
    verify::verify(repository, header, reading, monitor.as_ref(), &app.interrupt)
}

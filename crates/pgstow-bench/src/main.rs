//! Measures pgstow against other ways to back up and restore PostgreSQL, on servers and data of its
//! own, and writes `docs/performance.md`, but only when every result was equal to its source.
//! Everything it makes is removed at the end, also after an interrupt.

mod arguments;
mod cases;
mod contest;
mod data;
mod equality;
mod machine;
mod measure;
mod peers;
mod programs;
mod report;
mod results;
mod stage;
mod statistics;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use pgstow_core::interrupt::Interrupt;
use pgstow_core::{Error, Result};

use arguments::{Arguments, Extent};
use cases::Case;
use contest::Contest;
use data::DataSet;
use programs::Programs;
use report::{Conditions, Document};
use results::Results;
use stage::{SOURCE, Stage};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            let details = error.reason().into_iter().chain(error.hints().to_vec());
            details.for_each(|detail| say(&format!("  {detail}")));
            ExitCode::FAILURE
        }
    }
}

/// Says how far it is, on standard error.
fn say(line: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn run(arguments: &Arguments) -> Result<()> {
    let document = arguments.report.as_deref().map(Document::open).transpose()?;
    let interrupt = Interrupt::new();
    let handler = interrupt.clone();
    ctrlc::set_handler(move || handler.trigger())
        .map_err(|error| Error::failed("cannot listen for Ctrl-C").source(error))?;
    let programs = Programs::find(arguments.pgstow.as_deref(), &arguments.postgres)?;
    let peers = contest::competitors(|key| arguments.includes(key));
    let mut conditions = Conditions::look(arguments.extent(), &programs, &peers)?;
    drop(peers);
    let mut results = Results::default();
    let outcome = measure_all(arguments, &programs, &interrupt, &mut conditions, &mut results);
    // An hour's figures are of use also when the last case fails; they do not get into the document.
    let figures = report::figures(&results, &conditions);
    std::io::stdout()
        .write_all(figures.as_bytes())
        .map_err(|error| Error::failed("cannot write to standard output").source(error))?;
    outcome?;
    document.map_or(Ok(()), |document| document.write(&figures))
}

fn measure_all(
    arguments: &Arguments,
    programs: &Programs,
    interrupt: &Interrupt,
    conditions: &mut Conditions,
    results: &mut Results,
) -> Result<()> {
    for data_set in [DataSet::Main, DataSet::Many] {
        let cases: Vec<Case> =
            arguments.cases().into_iter().filter(|case| case.data_set() == data_set).collect();
        if !cases.is_empty() {
            let stage = Stage::set_up(&arguments.directory, programs, interrupt)?;
            load(&stage, data_set, arguments.extent(), conditions)?;
            measure_cases(&stage, arguments, &cases, results)?;
        }
    }
    Ok(())
}

fn load(stage: &Stage, data_set: DataSet, extent: Extent, conditions: &mut Conditions) -> Result<()> {
    let mut connection = stage.connect(SOURCE)?;
    let name = match data_set {
        DataSet::Main => {
            say(&format!("loading the main data set at scale {}", extent.scale));
            data::load_main(&mut connection, extent.scale)?;
            "main data set"
        }
        DataSet::Many => {
            say(&format!("making {} small tables", extent.tables));
            data::load_many(&mut connection, extent.tables)?;
            "many small tables"
        }
    };
    conditions.add_size(name, stage)
}

fn measure_cases(stage: &Stage, arguments: &Arguments, cases: &[Case], results: &mut Results) -> Result<()> {
    let peers = contest::competitors(|key| arguments.includes(key));
    let extent = arguments.extent();
    let mut contest = Contest::new(stage, peers, extent.rounds, extent.scale, results);
    cases.iter().try_for_each(|&case| contest.run(case))
}

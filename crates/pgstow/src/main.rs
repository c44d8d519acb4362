//! The command line of pgstow: reads arguments and configuration, runs one command of
//! `pgstow-core`, and shows what it did. All knowledge of PostgreSQL and of repositories is there.

mod app;
mod arguments;
mod commands;
mod config;
mod exit;
mod new_repository;
mod process;
mod record;
mod signals;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    let output = ui::Output::of_process(arguments.json, arguments.quiet);
    let exit = match commands::run(arguments, &output) {
        Ok(exit) => exit,
        Err(failure) => output.failure(&failure),
    };
    exit.into()
}

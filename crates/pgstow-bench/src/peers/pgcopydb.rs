//! `pgcopydb clone`: straight from the source into the target, no backup in between.

use std::process::Command;

use pgstow_core::{Error, Result};

use super::{Peer, source_url, target_url};
use crate::cases::Activity;
use crate::measure::{self, Work};
use crate::stage::Stage;

pub(super) struct Pgcopydb;

const KEY: &str = "pgcopydb";
const NO_BACKUP: &str = "it keeps no backup";

/// It leaves System V semaphores behind; they go with a namespace of its own where one can be had.
fn program(stage: &Stage) -> Command {
    let own_namespace = ["--ipc", "--"];
    if measure::run(stage.command("unshare").args(own_namespace).arg("true")).is_err() {
        return stage.command("pgcopydb");
    }
    let mut command = stage.command("unshare");
    command.args(own_namespace).arg("pgcopydb");
    command
}

impl Peer for Pgcopydb {
    fn key(&self) -> &'static str {
        KEY
    }

    fn label(&self, activity: Activity) -> Result<&'static str, &'static str> {
        match activity {
            Activity::First | Activity::Next => Err(NO_BACKUP),
            Activity::Restore => Ok("pgcopydb clone (no backup in between)"),
        }
    }

    fn version_command(&self) -> (&'static str, &'static str) {
        ("pgcopydb", "--version")
    }

    fn restores_backups(&self) -> bool {
        false
    }

    fn backup(&self, _stage: &Stage, _activity: Activity) -> Result<Work> {
        Err(Error::failed(NO_BACKUP))
    }

    fn restore(&self, stage: &Stage) -> Result<Work> {
        // It takes no folder that another run has left.
        stage.remove_folder(KEY)?;
        let mut command = program(stage);
        command.args(["clone", "--table-jobs", "2", "--index-jobs", "2", "--source", &source_url(stage)]);
        command.args(["--target", &target_url(stage), "--dir"]).arg(stage.folder(KEY));
        Ok(Work::program(command))
    }
}

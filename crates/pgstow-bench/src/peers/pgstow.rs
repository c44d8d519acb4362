//! pgstow itself.

use std::process::Command;

use pgstow_core::Result;

use super::{Peer, source_url, target_url};
use crate::cases::Activity;
use crate::measure::{self, Work};
use crate::stage::Stage;

const KEY: &str = "pgstow";

pub(crate) struct Pgstow;

impl Pgstow {
    /// Reads the whole last backup and checks every hash; not measured.
    ///
    /// # Errors
    /// Damage, as pgstow reports it.
    pub(crate) fn verify(stage: &Stage) -> Result<()> {
        measure::run(program(stage).args(["verify", "latest", "--read-data"])).map(drop)
    }
}

fn program(stage: &Stage) -> Command {
    let mut command = stage.command("pgstow");
    command.arg("--quiet").arg("--repository").arg(stage.folder(KEY));
    command
}

impl Peer for Pgstow {
    fn key(&self) -> &'static str {
        KEY
    }

    fn label(&self, activity: Activity) -> Result<&'static str, &'static str> {
        Ok(match activity {
            Activity::First | Activity::Next => "pgstow backup",
            Activity::Restore => "pgstow restore",
        })
    }

    fn version_command(&self) -> (&'static str, &'static str) {
        ("pgstow", "--version")
    }

    fn keeps_repository(&self) -> bool {
        true
    }

    fn backup(&self, stage: &Stage, _activity: Activity) -> Result<Work> {
        let mut command = program(stage);
        command.args(["backup", "--url", &source_url(stage), "--pg-dump"]);
        command.arg(&stage.programs.postgres);
        Ok(Work::program(command))
    }

    fn restore(&self, stage: &Stage) -> Result<Work> {
        let mut command = program(stage);
        command.args(["restore", "latest", "--yes", "--url", &target_url(stage)]);
        Ok(Work::program(command))
    }
}

//! `pg_dump | restic backup --stdin` into a local repository with restic's own settings.

use std::process::Command;

use pgstow_core::Result;

use super::{Peer, stream};
use crate::cases::Activity;
use crate::measure::{self, Pipeline, Work};
use crate::stage::Stage;

pub(super) struct Restic;

const KEY: &str = "pg_dump-restic";
const FILE: &str = "dump.sql";
/// Protects nothing but data that anybody can generate; restic insists on one.
const PASSWORD: &str = "bench";

fn program(stage: &Stage) -> Command {
    let mut command = stage.command("restic");
    command.env("RESTIC_REPOSITORY", stage.folder(KEY)).env("RESTIC_PASSWORD", PASSWORD);
    command.env("RESTIC_CACHE_DIR", stage.folder("restic-cache")).arg("--quiet");
    command
}

impl Peer for Restic {
    fn key(&self) -> &'static str {
        KEY
    }

    fn label(&self, activity: Activity) -> Result<&'static str, &'static str> {
        Ok(match activity {
            Activity::First | Activity::Next => "pg_dump \\| restic backup --stdin",
            Activity::Restore => "restic dump \\| psql",
        })
    }

    fn version_command(&self) -> (&'static str, &'static str) {
        ("restic", "version")
    }

    fn keeps_repository(&self) -> bool {
        true
    }

    fn empty(&self, stage: &Stage) -> Result<()> {
        stage.remove_folder("restic-cache")?;
        stage.new_folder(KEY)?;
        measure::run(program(stage).arg("init")).map(drop)
    }

    fn backup(&self, stage: &Stage, _activity: Activity) -> Result<Work> {
        let mut restic = program(stage);
        restic.args(["backup", "--stdin", "--stdin-filename", FILE]);
        Ok(Work::pipeline(Pipeline::new([stream::dump(stage), restic])))
    }

    fn restore(&self, stage: &Stage) -> Result<Work> {
        let mut restic = program(stage);
        restic.args(["dump", "latest", FILE]);
        Ok(Work::pipeline(Pipeline::new([restic, stream::load(stage)])))
    }
}

//! SQL text as a stream: `pg_dump | zstd` into a file, and back through `psql`.

use std::process::Command;

use pgstow_core::Result;

use super::{Peer, source_url, target_url};
use crate::cases::Activity;
use crate::measure::{Pipeline, Work};
use crate::stage::Stage;

/// `pg_dump` of the source to its standard output.
pub(super) fn dump(stage: &Stage) -> Command {
    let mut command = stage.command("pg_dump");
    command.args(["-d", &source_url(stage)]);
    command
}

/// `psql` into the target from its standard input.
pub(super) fn load(stage: &Stage) -> Command {
    let mut command = stage.command("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", &target_url(stage)]);
    command
}

pub(super) struct Zstd;

const KEY: &str = "pg_dump-zstd";
const DUMP: &str = "dump.sql.zst";

impl Peer for Zstd {
    fn key(&self) -> &'static str {
        KEY
    }

    fn label(&self, activity: Activity) -> Result<&'static str, &'static str> {
        Ok(match activity {
            Activity::First | Activity::Next => "pg_dump \\| zstd -T2 -1",
            Activity::Restore => "zstd -d \\| psql",
        })
    }

    fn version_command(&self) -> (&'static str, &'static str) {
        ("zstd", "--version")
    }

    fn backup(&self, stage: &Stage, _activity: Activity) -> Result<Work> {
        let mut zstd = stage.command("zstd");
        zstd.args(["-q", "-T2", "-1", "-c"]);
        let pipeline = Pipeline::new([dump(stage), zstd]);
        Ok(Work::pipeline(pipeline.into_file(stage.folder(KEY).join(DUMP))))
    }

    fn restore(&self, stage: &Stage) -> Result<Work> {
        let mut zstd = stage.command("zstd");
        zstd.args(["-q", "-d", "-c"]).arg(stage.folder(KEY).join(DUMP));
        Ok(Work::pipeline(Pipeline::new([zstd, load(stage)])))
    }
}

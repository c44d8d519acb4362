//! `pg_dump` into its own formats, and `pg_restore`.

use pgstow_core::Result;

use super::{Peer, source_url, target_url};
use crate::cases::Activity;
use crate::measure::Work;
use crate::stage::Stage;

/// One of the formats that `pg_restore` reads.
pub(super) struct PgDump {
    key: &'static str,
    dump_label: &'static str,
    restore_label: &'static str,
    arguments: &'static [&'static str],
}

pub(super) const CUSTOM: PgDump = PgDump {
    key: "pg_dump-Fc",
    dump_label: "pg_dump -Fc",
    restore_label: "pg_restore -j2 (of -Fc)",
    arguments: &["-Fc"],
};

pub(super) const DIRECTORY: PgDump = PgDump {
    key: "pg_dump-Fd",
    dump_label: "pg_dump -Fd -j2 -Z1",
    restore_label: "pg_restore -j2 (of -Fd)",
    arguments: &["-Fd", "-j2", "-Z1"],
};

/// Name of file or folder below the competitor's own.
const DUMP: &str = "dump";

impl Peer for PgDump {
    fn key(&self) -> &'static str {
        self.key
    }

    fn label(&self, activity: Activity) -> Result<&'static str, &'static str> {
        Ok(match activity {
            Activity::First | Activity::Next => self.dump_label,
            Activity::Restore => self.restore_label,
        })
    }

    fn version_command(&self) -> (&'static str, &'static str) {
        ("pg_dump", "--version")
    }

    fn backup(&self, stage: &Stage, _activity: Activity) -> Result<Work> {
        let mut command = stage.command("pg_dump");
        command.args(self.arguments).arg("-f").arg(stage.folder(self.key).join(DUMP));
        command.args(["-d", &source_url(stage)]);
        Ok(Work::program(command))
    }

    fn restore(&self, stage: &Stage) -> Result<Work> {
        let mut command = stage.command("pg_restore");
        command.args(["-j2", "--exit-on-error", "-d", &target_url(stage)]);
        command.arg(stage.folder(self.key).join(DUMP));
        Ok(Work::program(command))
    }
}

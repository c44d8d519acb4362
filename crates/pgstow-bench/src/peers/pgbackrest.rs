//! pgbackrest: copies the files of the whole cluster, and restores them as a cluster of its own.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use pgstow_core::postgres::settings::{ConnectionSettings, Host};
use pgstow_core::{Error, Result};

use super::Peer;
use crate::cases::Activity;
use crate::measure::{self, Work};
use crate::stage::{self, SOURCE, Stage};

pub(super) struct Pgbackrest;

const KEY: &str = "pgbackrest";
const CONFIGURATION: &str = "pgbackrest-configuration";
const RESTORED: &str = "pgbackrest-restored";
/// Archiving while nobody backs up with pgbackrest: nothing.
const NO_ARCHIVE: &str = "/bin/true";
/// How long a restored cluster may take to end its recovery, and a server to take a setting.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(20);

impl Peer for Pgbackrest {
    fn key(&self) -> &'static str {
        KEY
    }

    fn label(&self, activity: Activity) -> Result<&'static str, &'static str> {
        Ok(match activity {
            Activity::First => "pgbackrest --type=full (whole cluster, needs its files)",
            Activity::Next => "pgbackrest --type=incr (whole cluster, needs its files)",
            Activity::Restore => "pgbackrest restore, start (whole cluster)",
        })
    }

    fn version_command(&self) -> (&'static str, &'static str) {
        ("pgbackrest", "version")
    }

    fn keeps_repository(&self) -> bool {
        true
    }

    fn empty(&self, stage: &Stage) -> Result<()> {
        stage.new_server_folder(KEY)?;
        let folder = stage.new_server_folder(CONFIGURATION)?;
        let file = folder.join("pgbackrest.conf");
        std::fs::write(&file, configuration(stage))
            .map_err(|error| Error::failed(format!("cannot write {}", file.display())).source(error))?;
        measure::run(program(stage)?.arg("stanza-create")).map(drop)
    }

    fn before_backup(&self, stage: &Stage) -> Result<()> {
        let archive = format!("pgbackrest --config={} --stanza=main archive-push %p", file(stage).display());
        set_archive_command(stage, &archive)
    }

    fn backup(&self, stage: &Stage, activity: Activity) -> Result<Work> {
        let mut command = program(stage)?;
        command.arg(if activity == Activity::First { "--type=full" } else { "--type=incr" }).arg("backup");
        Ok(Work::program(command))
    }

    fn after_backup(&self, stage: &Stage) -> Result<()> {
        set_archive_command(stage, NO_ARCHIVE)
    }

    fn before_restore(&self, stage: &Stage) -> Result<()> {
        self.after_restore(stage)?;
        stage.new_server_folder(RESTORED)?;
        Ok(())
    }

    fn restore(&self, stage: &Stage) -> Result<Work> {
        let folder = stage.folder(RESTORED);
        let mut restore = program(stage)?;
        restore.args(["--type=immediate", "--target-action=promote", "--archive-mode=off"]);
        restore.arg(format!("--pg1-path={}", folder.join("data").display())).arg("restore");
        let mut start = control(stage)?;
        start.arg("-l").arg(folder.join("log"));
        start.arg("-o").arg(format!("-c unix_socket_directories='{}'", folder.display()));
        start.arg("start");
        Ok(Work::program(restore).then(start))
    }

    fn restored(&self, stage: &Stage) -> Result<ConnectionSettings> {
        let host = Host::Socket { directory: stage.folder(RESTORED), port: stage.server.socket_port() };
        let settings = ConnectionSettings {
            ssl_mode: pgstow_core::postgres::settings::SslMode::Disable,
            ..ConnectionSettings::new(host, "postgres", SOURCE)
        };
        let mut connection = stage::connect(&settings, &stage.interrupt)?;
        wait_until("the restored cluster to end its recovery", || {
            Ok(!connection.query("SELECT pg_is_in_recovery()")?.only()?.get(0)?)
        })?;
        Ok(settings)
    }

    fn after_restore(&self, stage: &Stage) -> Result<()> {
        if stage.folder(RESTORED).join("data/postmaster.pid").exists() {
            measure::run(control(stage)?.args(["-m", "immediate", "stop"]))?;
        }
        stage.remove_folder(RESTORED)
    }
}

fn file(stage: &Stage) -> PathBuf {
    stage.folder(CONFIGURATION).join("pgbackrest.conf")
}

/// zstd at level 1, as the others; bundles, which are what it offers for many small files.
fn configuration(stage: &Stage) -> String {
    format!(
        "[global]\nrepo1-path={}\nrepo1-bundle=y\nlock-path={}\nlog-level-file=off\nlog-level-console=warn\n\
         compress-type=zst\ncompress-level=1\nprocess-max=2\nstart-fast=y\n\n\
         [main]\npg1-path={}\npg1-socket-path={}\npg1-port={}\n",
        stage.folder(KEY).display(),
        stage.folder(CONFIGURATION).display(),
        stage.server.data_directory().display(),
        stage.server.socket_directory().display(),
        stage.server.socket_port()
    )
}

fn program(stage: &Stage) -> Result<Command> {
    let mut command = stage.server_command("pgbackrest")?;
    command.arg(format!("--config={}", file(stage).display())).arg("--stanza=main");
    Ok(command)
}

/// `pg_ctl` for the restored cluster.
fn control(stage: &Stage) -> Result<Command> {
    let mut command = stage.server_command("pg_ctl")?;
    command.arg("-D").arg(stage.folder(RESTORED).join("data")).args(["-w", "-s", "-t", "60"]);
    Ok(command)
}

fn set_archive_command(stage: &Stage, archive: &str) -> Result<()> {
    let mut connection = stage.connect("postgres")?;
    connection.execute(&format!("ALTER SYSTEM SET archive_command = '{archive}'"))?;
    connection.execute("SELECT pg_reload_conf()")?;
    // A new session starts with what the postmaster has read.
    wait_until("the server to take archive_command", || {
        let rows = stage.connect("postgres")?.query("SHOW archive_command")?;
        Ok(rows.only()?.get::<&str>(0)? == archive)
    })
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > deadline {
            return Err(Error::failed(format!("waited too long for {what}")));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

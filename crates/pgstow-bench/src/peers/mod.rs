//! The competitors: which programs each runs for which activity. None measures itself.

mod copy;
mod pg_dump;
mod pgbackrest;
mod pgcopydb;
mod pgstow;
mod restic;
mod stream;

use pgstow_core::Result;
use pgstow_core::postgres::settings::ConnectionSettings;

use crate::cases::Activity;
use crate::measure::Work;
use crate::stage::{RESTORED, SOURCE, Stage};

pub(crate) use pgstow::Pgstow;

/// Names on the command line, in the order of the report.
pub(crate) const KEYS: [&str; 9] = [
    "pgstow",
    "pg_dump-Fc",
    "pg_dump-Fd",
    "pg_dump-zstd",
    "pg_dump-restic",
    "pgbackrest",
    "pgcopydb",
    "copy",
    "copy-2",
];

/// All, in the order of [`KEYS`].
pub(crate) fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(Pgstow),
        Box::new(pg_dump::CUSTOM),
        Box::new(pg_dump::DIRECTORY),
        Box::new(stream::Zstd),
        Box::new(restic::Restic),
        Box::new(pgbackrest::Pgbackrest),
        Box::new(pgcopydb::Pgcopydb),
        Box::new(copy::ONE),
        Box::new(copy::TWO),
    ]
}

/// A way to back up and restore. Its files are in the stage's folder named by its key.
pub(crate) trait Peer {
    /// Name on the command line and of its folder.
    fn key(&self) -> &'static str;

    /// What is run for an activity, for the report; or why it cannot be done.
    fn label(&self, activity: Activity) -> Result<&'static str, &'static str>;

    /// Program and argument that tell its version.
    fn version_command(&self) -> (&'static str, &'static str);

    /// Whether a backup may build on the one before.
    fn keeps_repository(&self) -> bool {
        false
    }

    /// Whether a restore takes a backup that was made before.
    fn restores_backups(&self) -> bool {
        true
    }

    /// Makes an empty repository; not measured.
    ///
    /// # Errors
    /// A program's or the system's.
    fn empty(&self, stage: &Stage) -> Result<()> {
        stage.new_folder(self.key()).map(drop)
    }

    /// What has to be done before a backup and is not measured.
    ///
    /// # Errors
    /// The server's or the system's.
    fn before_backup(&self, _stage: &Stage) -> Result<()> {
        Ok(())
    }

    /// The backup of the source database.
    ///
    /// # Errors
    /// The server's or the system's.
    fn backup(&self, stage: &Stage, activity: Activity) -> Result<Work>;

    /// What has to be done after a backup, also one that failed, and is not measured.
    ///
    /// # Errors
    /// The server's.
    fn after_backup(&self, _stage: &Stage) -> Result<()> {
        Ok(())
    }

    /// Makes the empty target; not measured.
    ///
    /// # Errors
    /// The server's or the system's.
    fn before_restore(&self, stage: &Stage) -> Result<()> {
        self.after_restore(stage)?;
        stage.execute("postgres", &format!("CREATE DATABASE {RESTORED} TEMPLATE template0"))
    }

    /// The restore of the last backup.
    ///
    /// # Errors
    /// The server's or the system's.
    fn restore(&self, stage: &Stage) -> Result<Work>;

    /// Where the restored database is to be found.
    ///
    /// # Errors
    /// A target that does not get ready.
    fn restored(&self, stage: &Stage) -> Result<ConnectionSettings> {
        Ok(stage.server.settings(RESTORED))
    }

    /// Removes the target, also after a restore that failed.
    ///
    /// # Errors
    /// The server's or the system's.
    fn after_restore(&self, stage: &Stage) -> Result<()> {
        stage.execute("postgres", &format!("DROP DATABASE IF EXISTS {RESTORED} WITH (FORCE)"))
    }
}

/// Connection string of the source.
fn source_url(stage: &Stage) -> String {
    stage.url(SOURCE)
}

/// Connection string of the target.
fn target_url(stage: &Stage) -> String {
    stage.url(RESTORED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_competitor_has_its_own_key() {
        let keys: Vec<&str> = all().iter().map(|peer| peer.key()).collect();
        assert_eq!(keys, KEYS);
    }
}

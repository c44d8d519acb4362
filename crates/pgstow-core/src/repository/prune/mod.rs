//! Prune: the only thing that deletes backups and objects (`docs/format.md`, "Concurrent runs").
//!
//! It looks at everything ([`survey`]), decides what goes ([`plan`], pure), lets backups go
//! ([`retire`]), and deletes objects in two steps: what nobody names is condemned, so that no run
//! uses it any more, and after a grace period swept ([`sweep`]). It needs no key.
//!
//! Whoever condemns or retires writes a mark first and looks after; a run that makes a backup does the
//! same with its own. So one of the two sees the other, whatever is frozen or killed in between.
//! Times are only compared with each other as the store tells them, and no safety rests on them.

mod condemn;
mod plan;
mod retire;
mod survey;
mod sweep;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::format::id::{BackupId, EnvironmentName};
use super::open::Repository;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::retention::EnvironmentRules;

use survey::Survey;

/// What to prune and how.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// Retention by environment; one without rules keeps everything.
    pub rules: BTreeMap<EnvironmentName, EnvironmentRules>,
    /// Only backups of these environments are let go; none: of all.
    pub environments: Vec<EnvironmentName>,
    /// How long objects stay after nobody names them, and again after they were condemned.
    pub grace: Duration,
    /// Where days begin.
    pub zone: TimeZone,
}

impl PruneOptions {
    /// No rules, so that no backup goes; a grace period of a day; days as in UTC.
    pub fn new() -> Self {
        Self {
            rules: BTreeMap::new(),
            environments: Vec::new(),
            grace: Duration::from_hours(24),
            zone: TimeZone::UTC,
        }
    }
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Objects and their size as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Amount {
    /// How many.
    pub objects: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What becomes of a backup.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct BackupVerdict {
    /// The backup.
    pub id: BackupId,
    /// The moment that it shows.
    pub snapshot_at: Timestamp,
    /// Whether it is kept.
    pub keep: bool,
    /// Why, in words; never empty.
    pub reasons: Vec<String>,
}

/// What a prune would do, and all that it saw for that.
#[derive(Debug)]
pub struct PrunePlan {
    survey: Survey,
    options: PruneOptions,
    /// Every backup with a good header, newest first.
    pub verdicts: Vec<BackupVerdict>,
    /// What would be deleted at once.
    pub now: Amount,
    /// What would be deleted by a later prune, after the grace period.
    pub later: Amount,
    /// What else whoever keeps the repository should know.
    pub remarks: Vec<String>,
}

impl PrunePlan {
    /// The backups that would go.
    pub fn let_go(&self) -> impl Iterator<Item = &BackupVerdict> {
        self.verdicts.iter().filter(|verdict| !verdict.keep)
    }
}

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
#[must_use]
pub struct PruneReport {
    /// Every backup with a good header, newest first, as it ended.
    pub verdicts: Vec<BackupVerdict>,
    /// Backups that are gone.
    pub retired: Vec<BackupId>,
    /// Objects that were condemned now: a later prune deletes them.
    pub condemned: Amount,
    /// Objects that were deleted.
    pub deleted: Amount,
    /// Objects that wait to be deleted, those condemned now included.
    pub waiting: Amount,
    /// What else whoever keeps the repository should know.
    pub remarks: Vec<String>,
    /// What could not be done; the next prune tries again.
    pub failures: Vec<String>,
}

impl Repository {
    /// Looks at the whole repository and says what a prune would do. Writes a file to learn the store's
    /// time, and removes it; changes nothing else.
    ///
    /// # Errors
    /// The store's. Also whatever makes it doubtful what the backups need: a listing that is not
    /// whole, a missing object, a missing or damaged `objects.list`, no backup at all.
    pub fn plan_prune(&self, options: PruneOptions) -> Result<PrunePlan> {
        let survey = Survey::take(self)?;
        Ok(plan::plan(survey, options))
    }

    /// Does what was planned, as far as it is still right: a backup that was pinned meanwhile, or that
    /// another builds on by now, stays.
    ///
    /// # Errors
    /// The store's, or interrupted. The next prune goes on where this one ended.
    pub fn prune(&self, plan: PrunePlan, interrupt: &Interrupt) -> Result<PruneReport> {
        let PrunePlan { survey, options, mut verdicts, remarks, .. } = plan;
        let mut report = PruneReport { remarks, ..PruneReport::default() };
        retire::retire(self, &survey, &mut verdicts, &mut report, interrupt)?;
        let folders = survey.look_again(self)?;
        interrupt.check()?;
        let mut survey = survey;
        match condemn::condemn(self, &survey, &folders, options.grace) {
            Ok(list) => report.condemned = survey.add_list(list),
            // A full disk, say: what was condemned before can be deleted all the same.
            Err(error) => report.failures.push(error.in_one_line()),
        }
        sweep::sweep(self, &survey, &folders, options.grace, &mut report, interrupt)?;
        report.verdicts = verdicts;
        Ok(report)
    }
}

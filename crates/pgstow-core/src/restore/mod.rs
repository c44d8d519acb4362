//! Puts a backup back: plan, guard, apply, verify, receipt.
//!
//! Into an empty target on several sessions; into one that is not empty in one transaction, so
//! that a failure, or a verification that finds a difference nobody foresaw, leaves it as it was.
//! Rows go into existing tables in one transaction too.

pub mod plan;

mod clear;
mod contents;
mod counting;
mod data;
mod definitions;
mod dependents;
mod entry;
mod finish;
mod guards;
mod hosted;
mod identity;
mod journal;
mod large_objects;
mod managed;
mod owners;
mod parallel;
mod part;
mod platform;
mod postgrest;
mod prepare;
mod privileges;
mod reconcile;
mod report;
mod roles;
mod rowsum;
mod run;
mod schedule;
mod selection;
mod session;
mod standing;
mod target;
mod tasks;
mod tuning;
mod vault;
mod verify;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::archive::Entry;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::inventory::catalog::Catalog;
use crate::monitor::Monitor;
use crate::postgres::ConnectionSettings;
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::manifest::Manifest;
use crate::repository::format::receipt::Receipt;
pub(crate) use hosted::keep_users;
pub use part::RestoreSelection;
pub use plan::RestorePlan;
pub use roles::MissingRole;

/// What to restore and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// How to reach the target.
    pub connection: ConnectionSettings,
    /// Clear a target that is not empty, in the same transaction.
    pub clean: bool,
    /// Parallel sessions into an empty target, 1 to 64.
    pub jobs: usize,
    /// Compare contents too.
    pub checksums: bool,
    /// How long to wait for a lock on an object that is to be dropped.
    pub lock_timeout: Duration,
    /// Definitions only, rows only, or what the backup holds.
    pub sections: crate::repository::format::manifest::Sections,
    /// Which tables and schemas.
    pub selection: RestoreSelection,
    /// What becomes of foreign keys that refer to rows of the platform which the backup does not carry.
    pub dangling_keys: DanglingKeys,
    /// Jobs of pg_cron that were active run at the target too.
    pub activate_jobs: bool,
    /// Create the roles that the target lacks: never superusers, without passwords.
    pub create_roles: bool,
    /// The role of the target that gets what a role of the backup has, by the backup's name.
    pub role_map: BTreeMap<String, String>,
}

impl RestoreOptions {
    /// All that the backup holds, on one session, into an empty target; rows are counted, locks are
    /// waited for 30 seconds.
    pub fn new(connection: ConnectionSettings) -> Self {
        Self {
            connection,
            clean: false,
            jobs: 1,
            checksums: false,
            lock_timeout: Duration::from_secs(30),
            sections: crate::repository::format::manifest::Sections::All,
            selection: RestoreSelection::default(),
            dangling_keys: DanglingKeys::default(),
            activate_jobs: false,
            create_roles: false,
            role_map: BTreeMap::new(),
        }
    }
}

/// What becomes of foreign keys of the user's tables that refer to rows of the platform (the users
/// of its authentication service, say) which the backup does not carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DanglingKeys {
    /// The restore is refused before it begins, and says what can be chosen.
    #[default]
    Refuse,
    /// They are made: the target holds the rows.
    Validate,
    /// They are made without a check of the rows that are there.
    NotValid,
    /// They are left out, each with a remark.
    LeaveOut,
}

/// What a restore did and found.
#[derive(Debug, Clone, serde::Serialize)]
#[must_use]
pub struct RestoreReport {
    /// The receipt, as stored.
    pub receipt: Receipt,
    /// Where the receipt is within the repository.
    pub receipt_path: String,
    /// How long loading took, verification excepted.
    pub seconds: f64,
    /// What to know, although nothing differs for it.
    pub notes: Vec<String>,
}

/// Which parts of a backup are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    definitions: bool,
    rows: bool,
}

/// A restore that has been planned and not begun: a session with the target, the plan, and
/// nothing changed yet.
pub struct Prepared<'r> {
    planned: Planned<'r>,
    session: session::Session,
}

/// The backup, the target as it was found, and what to do.
struct Planned<'r> {
    repository: &'r Repository,
    manifest: Manifest,
    catalog: Catalog,
    entries: Vec<Entry>,
    /// What the target's platform keeps for itself.
    managed: hosted::Managed,
    target: target::TargetState,
    checksums: bool,
    activate_jobs: bool,
    lock_timeout: Duration,
    plan: RestorePlan,
    steps: plan::Steps,
}

/// Connects to the target, looks at it and plans. Nothing is changed.
///
/// # Errors
/// Refused by a guard (target not empty without `clean`, server too old, missing extension …);
/// damaged backup; unreachable target.
pub fn prepare<'r>(
    repository: &'r Repository,
    header: &Header,
    options: &RestoreOptions,
    interrupt: &Interrupt,
) -> Result<Prepared<'r>> {
    prepare::prepare(repository, header, options, interrupt)
}

impl Prepared<'_> {
    /// What would be done.
    pub fn plan(&self) -> &RestorePlan {
        &self.planned.plan
    }

    /// Does it, verifies, stores the receipt.
    ///
    /// # Errors
    /// An atomic restore leaves the target as it was; one into an empty target says what stays.
    pub fn apply(self, monitor: &dyn Monitor, interrupt: &Interrupt) -> Result<RestoreReport> {
        run::apply(&self.planned, self.session, monitor, interrupt)
    }
}

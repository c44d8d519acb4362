//! Puts a backup back: plan, guard, apply, verify, receipt.
//!
//! Into an empty target on several sessions; into one that is not empty in one transaction, so
//! that a failure, or a verification that finds a difference nobody foresaw, leaves it as it was.
//! Rows go into existing tables in one transaction too. On several sessions into a target that is not
//! empty only when asked to, or when there is too much for one transaction and a safety backup to go
//! back to: that is put back when the restore fails.

pub mod file;
pub mod plan;

mod after;
mod apply;
mod clear;
mod column_types;
mod commit;
mod contents;
mod counting;
mod data;
mod definitions;
mod dependents;
pub(crate) mod entry;
mod filled;
mod finish;
mod grants;
mod guards;
mod hosted;
mod identity;
mod journal;
mod large_objects;
mod managed;
pub mod missing;
mod owners;
mod parallel;
pub(crate) mod part;
mod platform;
mod postgrest;
mod prepare;
mod privileges;
mod reconcile;
mod reduced;
mod rename;
mod report;
mod roles;
mod rows;
mod rowsum;
mod run;
mod schedule;
pub(crate) mod selection;
mod session;
mod standing;
mod target;
mod tasks;
mod tuning;
mod undo;
mod untouched;
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
use crate::repository::format::receipt::{Exception, Receipt};
pub use after::{Aftermath, Migrations, TableSize};
pub(crate) use hosted::keep_users;
pub use part::RestoreSelection;
pub use plan::RestorePlan;
pub use reduced::{Reduction, needing};
pub use roles::MissingRole;
pub use undo::{Protection, WayBack, way_back};

/// What to restore and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// How to reach the target.
    pub connection: ConnectionSettings,
    /// Clear a target that is not empty, in the same transaction.
    pub clean: bool,
    /// Parallel sessions into an empty target, 1 to 64.
    pub jobs: usize,
    /// Use them into a target that is not empty too: a failure leaves that incomplete.
    pub in_parallel: bool,
    /// A safety backup is taken between plan and restore ([`Prepared::protect`]).
    pub safety_backup: bool,
    /// What the target holds and the backup does not goes too, in whatever schema: afterwards the target
    /// is what the backup is.
    pub exactly: bool,
    /// Roles of the target that get what an application needs, beyond the backup's privileges.
    pub grant_to: Vec<String>,
    /// Compare contents too.
    pub checksums: bool,
    /// How long to wait for a lock on an object that is to be dropped.
    pub lock_timeout: Duration,
    /// Definitions only, rows only, or what the backup holds.
    pub sections: crate::repository::format::manifest::Sections,
    /// Which tables and schemas.
    pub selection: RestoreSelection,
    /// Tables and schemas that get another name, each as `OLD=NEW`: they are all that is restored, beside
    /// those that are there. Names are quoted as in patterns.
    pub rename: Vec<String>,
    /// What becomes of rows that are in the tables, when rows alone are restored; `clean` empties them.
    pub existing_rows: ExistingRows,
    /// What becomes of foreign keys that refer to rows of the platform which the backup does not carry.
    pub dangling_keys: DanglingKeys,
    /// Jobs of pg_cron that were active run at the target too.
    pub activate_jobs: bool,
    /// Create the roles that the target lacks: never superusers, without passwords.
    pub create_roles: bool,
    /// The role of the target that gets what a role of the backup has, by the backup's name.
    pub role_map: BTreeMap<String, String>,
    /// This is a drill: the target is nobody's, and what it cannot have or must not do is left out of the
    /// backup beforehand.
    pub drill: Option<Reduction>,
}

impl RestoreOptions {
    /// All that the backup holds, on one session, into an empty target; rows are counted, locks are
    /// waited for 30 seconds.
    pub fn new(connection: ConnectionSettings) -> Self {
        Self {
            connection,
            clean: false,
            jobs: 1,
            in_parallel: false,
            safety_backup: false,
            exactly: false,
            grant_to: Vec::new(),
            checksums: false,
            lock_timeout: Duration::from_secs(30),
            sections: crate::repository::format::manifest::Sections::All,
            selection: RestoreSelection::default(),
            rename: Vec::new(),
            existing_rows: ExistingRows::default(),
            dangling_keys: DanglingKeys::default(),
            activate_jobs: false,
            create_roles: false,
            role_map: BTreeMap::new(),
            drill: None,
        }
    }
}

/// What becomes of the rows of a table that others are loaded into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExistingRows {
    /// The restore is refused when there are any.
    #[default]
    Refuse,
    /// The tables are emptied first.
    Truncate,
    /// They stay; others cannot write into the tables meanwhile.
    Append,
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
    /// Where the receipt is within the repository; `None` if it could not be stored.
    pub receipt_path: Option<String>,
    /// Why the receipt could not be stored.
    pub receipt_missing: Option<String>,
    /// How long loading took, verification excepted.
    pub seconds: f64,
    /// What to know, although nothing differs for it.
    pub notes: Vec<String>,
    /// What to look at now.
    pub aftermath: Aftermath,
}

/// How a restore ended.
#[must_use]
pub(crate) struct Ended {
    /// Stored nowhere yet.
    pub(crate) receipt: Receipt,
    pub(crate) result: Result<Finished>,
}

/// A restore that came to its end.
pub(crate) struct Finished {
    /// That loading took.
    pub(crate) seconds: f64,
    /// What to know, although nothing differs for it.
    pub(crate) notes: Vec<String>,
    /// What to look at now.
    pub(crate) aftermath: Aftermath,
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
    protection: Option<Protection>,
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
    connection: ConnectionSettings,
    /// Roles that get more than the backup gives them, all of which exist.
    grant_to: Vec<String>,
    /// What gets another name.
    renaming: Option<rename::Renaming>,
    plan: RestorePlan,
    steps: plan::Steps,
    /// What a drill left out of the backup.
    exceptions: Vec<Exception>,
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

    /// Takes note of the safety backup that was taken of the target since. It is put back if the restore
    /// fails and leaves the target incomplete.
    pub fn protect(&mut self, protection: Protection) {
        self.protection = Some(protection);
    }

    /// Does it, verifies, stores the receipt.
    ///
    /// # Errors
    /// An atomic restore leaves the target as it was, and so does one whose safety backup was put back;
    /// any other says what stays.
    pub fn apply(self, monitor: &dyn Monitor, interrupt: &Interrupt) -> Result<RestoreReport> {
        apply::apply(&self.planned, self.session, self.protection.as_ref(), monitor, interrupt)
    }

    /// What a drill leaves out of the backup.
    pub fn exceptions(&self) -> &[Exception] {
        &self.planned.exceptions
    }

    /// Does it and verifies; the receipt is stored nowhere.
    pub(crate) fn carry_out(self, monitor: &dyn Monitor, interrupt: &Interrupt) -> Ended {
        apply::carry_out(&self.planned, self.session, self.protection.as_ref(), monitor, interrupt)
    }
}

//! Drills: a backup is restored into a place that nobody needs, compared with its manifest, looked at by
//! the user's own checks, and the receipt says whether it is proven.
//!
//! The place is a server of the drill's own, shut off from everything, or a database of its own on a
//! server that was given. What the place cannot have is known and named before anything is restored, and
//! is no difference afterwards; everything else that is not equal is.

mod checks;
mod database;
mod extensions;
mod given;
mod own;
mod roles;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

pub use checks::{Check, Expectation};
pub use own::OwnServer;

use crate::archive::{self, Entry};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::inventory::catalog::Catalog;
use crate::monitor::{Event, Monitor};
use crate::postgres::{Connection, ConnectionSettings};
use crate::repository::Repository;
use crate::repository::format::FORMAT_VERSION;
use crate::repository::format::header::Header;
use crate::repository::format::layout::SCHEMA_ARCHIVE;
use crate::repository::format::manifest::{Manifest, Sections};
use crate::repository::format::receipt::{Drill, Exception, Outcome, Receipt};
use crate::restore::{self, DanglingKeys, Ended, Finished, Reduction, RestoreOptions};

/// What a receipt calls a server of the drill's own.
const OWN_TARGET: &str = "a disposable server";

/// How to drill.
#[derive(Debug, Clone)]
pub struct DrillOptions {
    /// Where.
    pub place: DrillPlace,
    /// Parallel sessions, 1 to 64.
    pub jobs: usize,
    /// Extensions to leave out with all that needs them.
    pub without: BTreeSet<String>,
    /// The user's own checks.
    pub checks: Vec<Check>,
}

/// Where a backup is restored for a drill.
#[derive(Debug, Clone)]
pub enum DrillPlace {
    /// In a server that is made for it.
    Own(OwnServer),
    /// On a server that is given, in a database that is made for it.
    Given(Box<ConnectionSettings>),
}

/// What a drill did and found.
#[derive(Debug, Clone, serde::Serialize)]
#[must_use]
pub struct DrillReport {
    /// The receipt.
    pub receipt: Receipt,
    /// Where it is within the repository; `None` when it could not be stored.
    pub receipt_path: Option<String>,
    /// Why it could not be stored.
    pub receipt_error: Option<String>,
    /// What to know, although nothing differs for it.
    pub notes: Vec<String>,
}

/// What a drill reads of a backup before anything is started.
struct Backup {
    manifest: Manifest,
    catalog: Catalog,
    entries: Vec<Entry>,
}

impl Backup {
    fn read(repository: &Repository, header: &Header) -> Result<Self> {
        let manifest = repository.manifest(header)?;
        if manifest.selection.sections == Sections::DataOnly {
            return Err(Error::refused(format!("{} holds rows only", header.id))
                .why("a drill makes the tables from the backup's own definitions")
                .hint("drill a backup that holds definitions too"));
        }
        let catalog = repository.catalog(&manifest)?;
        let entries = archive::read(&repository.file(&manifest, SCHEMA_ARCHIVE)?)?;
        Ok(Self { manifest, catalog, entries })
    }

    /// Every role that it refers to.
    fn roles(&self) -> BTreeSet<String> {
        roles::named(&self.manifest, &self.catalog, &self.entries)
    }
}

/// The place, once it is there.
enum Place {
    Own(Box<own::Running>),
    Given(Box<given::Scratch>),
}

impl Place {
    fn settings(&self) -> ConnectionSettings {
        match self {
            Self::Own(running) => running.settings(),
            Self::Given(scratch) => scratch.settings(),
        }
    }

    fn target(&self) -> String {
        match self {
            Self::Own(_) => OWN_TARGET.to_owned(),
            Self::Given(scratch) => scratch.target(),
        }
    }

    fn notes(&self) -> Vec<String> {
        match self {
            Self::Own(running) => running.notes.clone(),
            Self::Given(scratch) => scratch.notes.clone(),
        }
    }

    fn role_map(&self) -> BTreeMap<String, String> {
        match self {
            Self::Own(_) => BTreeMap::new(),
            Self::Given(scratch) => scratch.role_map.clone(),
        }
    }

    fn exceptions(&self) -> Vec<Exception> {
        match self {
            Self::Own(_) => Vec::new(),
            Self::Given(scratch) => scratch.exceptions.clone(),
        }
    }

    /// Removes everything of the drill; what could not be.
    fn remove(self) -> Option<String> {
        match self {
            Self::Own(_) => None,
            Self::Given(scratch) => scratch.remove(),
        }
    }
}

/// Restores the backup into a place of its own, compares everything with the manifest, contents too,
/// runs the checks, stores the receipt, and removes the place again, however it ends.
///
/// # Errors
/// Refused by a guard; no suitable server. A backup that cannot be restored fails, and a receipt says so.
pub fn drill(
    repository: &Repository,
    header: &Header,
    options: &DrillOptions,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<DrillReport> {
    let run = Run {
        repository,
        header,
        options,
        monitor,
        interrupt,
        begun: Instant::now(),
        started_at: jiff::Timestamp::now(),
    };
    let backup = run.recorded(Backup::read(repository, header), OWN_TARGET, None)?;
    let place = match &options.place {
        DrillPlace::Own(own) => {
            Place::Own(Box::new(own::Running::start(own, &backup, options.jobs, monitor, interrupt)?))
        }
        DrillPlace::Given(given) => Place::Given(Box::new(given::Scratch::make(given, &backup, interrupt)?)),
    };
    run.within(&backup, place)
}

struct Run<'a> {
    repository: &'a Repository,
    header: &'a Header,
    options: &'a DrillOptions,
    monitor: &'a dyn Monitor,
    interrupt: &'a Interrupt,
    begun: Instant,
    started_at: jiff::Timestamp,
}

impl Run<'_> {
    fn within(&self, backup: &Backup, place: Place) -> Result<DrillReport> {
        let settings = place.settings();
        let (server_version, reduction) = self.look(backup, &settings)?;
        let options = RestoreOptions {
            jobs: self.options.jobs,
            checksums: true,
            dangling_keys: DanglingKeys::Validate,
            role_map: place.role_map(),
            drill: Some(reduction),
            ..RestoreOptions::new(settings.clone())
        };
        let mut drill = Drill {
            server_version,
            own_server: matches!(place, Place::Own(_)),
            restore_seconds: 0.0,
            total_seconds: 0.0,
            rows: 0,
            exceptions: place.exceptions(),
            checks: Vec::new(),
        };
        let prepared = restore::prepare(self.repository, self.header, &options, self.interrupt);
        let prepared = self.recorded(prepared, &place.target(), Some(&drill))?;
        drill.exceptions.extend(prepared.exceptions().iter().cloned());
        drill.rows = prepared.plan().load_rows;
        let Ended { mut receipt, result } = prepared.carry_out(self.monitor, self.interrupt);
        let Finished { seconds, mut notes, .. } = self.recorded(result, &place.target(), Some(&drill))?;
        drill.restore_seconds = seconds;
        if !self.options.checks.is_empty() {
            self.monitor.event(Event::Phase { name: "checks" });
        }
        drill.checks = checks::run(&settings, &self.options.checks, self.interrupt)?;
        if receipt.outcome == Outcome::Equal && drill.checks.iter().any(|check| !check.passed) {
            receipt.outcome = Outcome::Differs;
        }
        receipt.started_at = self.started_at;
        receipt.finished_at = jiff::Timestamp::now();
        receipt.target = place.target();
        drill.total_seconds = self.begun.elapsed().as_secs_f64();
        receipt.drill = Some(drill);
        notes.extend(place.notes());
        notes.extend(place.remove());
        self.interrupt.check()?;
        let (receipt_path, receipt_error) = match self.repository.store_receipt(&receipt) {
            Ok(path) => (Some(path), None),
            Err(error) => (None, Some(error.in_one_line())),
        };
        Ok(DrillReport { receipt, receipt_path, receipt_error, notes })
    }

    /// The server's version, and what has to be left out there.
    fn look(&self, backup: &Backup, settings: &ConnectionSettings) -> Result<(String, Reduction)> {
        let mut connection = Connection::open(settings, self.interrupt)?;
        let rows = connection.query("SELECT pg_catalog.current_setting('server_version')")?;
        let version: String = rows.only()?.get(0)?;
        let mut lacking = extensions::try_out(&mut connection, &backup.entries)?;
        if matches!(self.options.place, DrillPlace::Given(_)) {
            lacking.extend(extensions::reaching(&backup.entries));
        }
        let decided = extensions::decide(&backup.entries, &backup.catalog, &self.options.without, lacking);
        let hint = match self.options.place {
            DrillPlace::Own(_) => "--drill-target URL lets a server do it that has everything",
            DrillPlace::Given(_) => {
                "without --drill-target a server of its own does it, shut off from all others"
            }
        };
        Ok((version, decided.map_err(|error| error.hint(hint))?))
    }

    /// A backup that could not be restored is recorded as such, and its failure told as that of a drill.
    fn recorded<T>(&self, result: Result<T>, target: &str, drill: Option<&Drill>) -> Result<T> {
        let error = match result {
            Err(error) if error.kind() == ErrorKind::Failed && !self.interrupt.is_triggered() => error,
            other => return other,
        };
        let mut drill = drill.cloned().unwrap_or_else(|| Drill {
            server_version: String::new(),
            own_server: matches!(self.options.place, DrillPlace::Own(_)),
            restore_seconds: 0.0,
            total_seconds: 0.0,
            rows: 0,
            exceptions: Vec::new(),
            checks: Vec::new(),
        });
        drill.total_seconds = self.begun.elapsed().as_secs_f64();
        let receipt = Receipt {
            format_version: FORMAT_VERSION,
            backup: self.header.id.clone(),
            target: target.to_owned(),
            started_at: self.started_at,
            finished_at: jiff::Timestamp::now(),
            safety_backup: None,
            unchanged: false,
            outcome: Outcome::Failed,
            checksums: true,
            part: Vec::new(),
            lines: Vec::new(),
            remarks: vec![error.in_one_line()],
            drill: Some(drill),
        };
        let stored = self.repository.store_receipt(&receipt);
        let told = Error::failed(format!("{} is not proven: {}", self.header.id, error.message()));
        let told = match error.reason() {
            Some(reason) => told.why(reason),
            None => told,
        };
        // The target was as it was, or is gone: what a restore says of it is no advice here.
        let told = told.hint(format!(
            "pgstow verify {} --read-data tells whether the backup is damaged",
            self.header.id
        ));
        Err(match stored {
            Ok(_) => told,
            Err(error) => told.hint(format!("this was not recorded: {}", error.in_one_line())),
        })
    }
}

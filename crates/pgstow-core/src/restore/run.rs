//! Carries a planned restore out, step by step.

mod chosen;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::after::{self, Aftermath};
use super::commit::Uncommitted;
use super::data::Load;
use super::definitions::Replay;
use super::entry::Surroundings;
use super::journal::Journal;
use super::parallel::Parallel;
use super::part::Part;
use super::plan::Steps;
use super::privileges::{Reconciled, Reconciliation};
use super::reconcile::{Object, objects};
use super::selection::{Carried, Graph, TableName};
use super::session::{Session, describe};
use super::tasks::{self, Rows, Work};
use super::verify::{Verification, Verified};
use super::{ExistingRows, Planned, clear, finish, hosted, large_objects, managed, platform, rows, vault};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::inventory::ObjectKind;
use crate::monitor::{Event, Monitor};
use crate::postgres::identifier::quote_identifier;
use crate::repository::format::manifest::Sequence;

/// Statements on tables up to this size are sent together.
const LIGHT_BYTES: u64 = 8 << 20;

/// How a restore that failed leaves the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing was changed, or all of it taken back.
    AsItWas,
    /// What was done until then stays.
    Incomplete,
    /// The connection was lost while the one transaction was being committed, and the server does not tell.
    Unknown,
}

/// A restore that failed.
pub(super) struct Broken {
    pub(super) error: Error,
    pub(super) left: Left,
}

/// A restore that came to its end.
pub(super) struct Done {
    pub(super) verified: Verified,
    pub(super) seconds: f64,
    pub(super) aftermath: Aftermath,
}

pub(super) struct Run<'a> {
    planned: &'a Planned<'a>,
    steps: &'a Steps,
    graph: Graph<'a>,
    journal: &'a Journal,
    monitor: &'a dyn Monitor,
    interrupt: &'a Interrupt,
    begun: Instant,
    /// Rows of tables that others were added to.
    rows_before: OnceLock<BTreeMap<TableName, u64>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        planned: &'a Planned<'a>,
        journal: &'a Journal,
        monitor: &'a dyn Monitor,
        interrupt: &'a Interrupt,
    ) -> Self {
        Self {
            planned,
            steps: &planned.steps,
            graph: Graph::new(&planned.entries),
            journal,
            monitor,
            interrupt,
            begun: Instant::now(),
            rows_before: OnceLock::new(),
        }
    }

    /// # Errors
    /// With the state in which the target is then.
    pub(super) fn carry_out(&self, session: Session) -> Result<Done, Broken> {
        if self.steps.atomic { self.in_one_transaction(session) } else { self.in_parallel(session) }
    }

    fn phase(&self, name: &str) -> Result<()> {
        self.monitor.event(Event::Phase { name });
        self.interrupt.check()
    }

    /// Everything in one transaction; whatever goes wrong takes all of it back.
    fn in_one_transaction(&self, session: Session) -> Result<Done, Broken> {
        let mut sessions = vec![session];
        let mut left = Left::AsItWas;
        match self.atomically(&mut sessions, &mut left) {
            Ok((verified, seconds)) => {
                self.tell_of_new_schema(&mut sessions);
                if self.steps.parts.rows {
                    self.analyze_restored(&mut sessions);
                }
                Ok(Done { verified, seconds, aftermath: self.aftermath(&mut sessions) })
            }
            Err(error) => {
                if let Some(session) = sessions.first_mut() {
                    // A session that is lost has rolled back by itself.
                    let _ = session.connection.execute("ROLLBACK");
                }
                Err(Broken { error, left })
            }
        }
    }

    /// The restore is committed by now: what cannot be found out is not told.
    fn aftermath(&self, sessions: &mut [Session]) -> Aftermath {
        self.lead(sessions)
            .map(|session| after::look(session, self.planned, self.journal))
            .unwrap_or_default()
    }

    /// The restore is committed by now.
    fn tell_of_new_schema(&self, sessions: &mut [Session]) {
        if let (true, Some(session)) = (self.steps.parts.definitions, sessions.first_mut()) {
            super::postgrest::notify(session, self.journal);
        }
    }

    /// The restore is committed by now: what goes wrong here costs speed only.
    fn analyze_restored(&self, sessions: &mut [Session]) {
        let analyzed = self.phase("analyze").and_then(|()| {
            finish::analyze(self.lead(sessions)?, &self.planned.at_last(self.loaded()), self.journal)
        });
        if let Err(error) = analyzed {
            self.journal
                .remark(format!("the planner's statistics were not collected ({error}): run ANALYZE"));
        }
    }

    fn atomically(&self, sessions: &mut [Session], left: &mut Left) -> Result<(Verified, f64)> {
        self.lead(sessions)?.begin(self.planned.target.may_replicate)?;
        if let Some(renaming) = &self.planned.renaming {
            renaming.begin(self.lead(sessions)?)?;
        }
        self.clear(sessions)?;
        let (reconciled, covered) = self.restore(sessions)?;
        let seconds = self.begun.elapsed().as_secs_f64();
        let verified = self.verify(sessions, reconciled, &covered)?;
        if verified.is_serious {
            return Err(differs(&verified.differences));
        }
        if let Some(renaming) = &self.planned.renaming {
            renaming.end(self.lead(sessions)?)?;
        }
        self.commit(self.lead(sessions)?, left, Left::Unknown)?;
        Ok((verified, seconds))
    }

    fn clear(&self, sessions: &mut [Session]) -> Result<()> {
        let Some(cover) = &self.steps.cover else { return Ok(()) };
        self.phase("clear")?;
        clear::clear(self.lead(sessions)?, cover, &self.planned.plan.dropped, self.planned.lock_timeout)
    }

    /// On several sessions, each statement for itself; what is to be cleared goes in one transaction
    /// before.
    fn in_parallel(&self, session: Session) -> Result<Done, Broken> {
        let mut left = Left::AsItWas;
        self.openly(session, &mut left).map_err(|error| Broken { error, left })
    }

    fn openly(&self, mut session: Session, left: &mut Left) -> Result<Done> {
        if self.steps.cover.is_some() {
            self.clear_for_itself(&mut session, left)?;
        }
        *left = Left::Incomplete;
        session.ease()?;
        let mut sessions = vec![session];
        self.add_sessions(&mut sessions)?;
        platform::silence(&mut sessions, &self.planned.target)?;
        let (reconciled, covered) = self.restore(&mut sessions)?;
        finish::make_durable(self.lead(&mut sessions)?).map_err(Error::from)?;
        let seconds = self.begun.elapsed().as_secs_f64();
        let verified = self.verify(&mut sessions, reconciled, &covered)?;
        if verified.is_serious && self.planned.plan.destructive && self.planned.plan.safety_backup {
            let mut reasons = self.journal.problems();
            reasons.extend(verified.differences);
            return Err(differs(&reasons));
        }
        self.tell_of_new_schema(&mut sessions);
        let aftermath = self.aftermath(&mut sessions);
        Ok(Done { verified, seconds, aftermath })
    }

    fn clear_for_itself(&self, session: &mut Session, left: &mut Left) -> Result<()> {
        session.begin(self.planned.target.may_replicate)?;
        let cleared = self.clear(std::slice::from_mut(session));
        if let Err(error) = cleared {
            // A session that is lost has rolled back by itself.
            let _ = session.connection.execute("ROLLBACK");
            return Err(error);
        }
        // If it is not known whether it was committed, it may have been.
        self.commit(session, left, Left::Incomplete)
    }

    /// Commits; `unknown` is how the target is left when nobody can tell whether it was committed.
    fn commit(&self, session: &mut Session, left: &mut Left, unknown: Left) -> Result<()> {
        match session.commit(self.monitor) {
            Ok(_) => Ok(()),
            Err(Uncommitted { error, rolled_back }) => {
                *left = if rolled_back { Left::AsItWas } else { unknown };
                Err(error)
            }
        }
    }

    fn add_sessions(&self, sessions: &mut Vec<Session>) -> Result<()> {
        while sessions.len() < self.steps.sessions {
            match self.lead(sessions)?.sibling() {
                Ok(sibling) => sessions.push(sibling),
                Err(error) if error.kind() == ErrorKind::Failed => {
                    let message = format!("going on with {} sessions: {error}", sessions.len());
                    self.monitor.event(Event::Warning { message: &message });
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn lead<'s>(&self, sessions: &'s mut [Session]) -> Result<&'s mut Session> {
        sessions.first_mut().ok_or_else(|| Error::failed("there is no session with the target"))
    }

    /// Definitions, rows, the rest of the definitions, privileges; the same order for both ways.
    fn restore(&self, sessions: &mut [Session]) -> Result<(Option<Reconciled>, BTreeSet<Object>)> {
        self.steps.roles.create(self.lead(sessions)?, self.journal)?;
        let target = &self.planned.target;
        let stays = hosted::stays(target);
        let replaced = hosted::schema_and_name(&target.called);
        let new_methods: BTreeSet<&str> = self
            .graph
            .entries
            .iter()
            .filter(|entry| entry.kind == "ACCESS METHOD")
            .map(|entry| entry.tag.as_str())
            .collect();
        let replay = Replay {
            graph: &self.graph,
            owners: &self.steps.owners,
            surroundings: Surroundings {
                has_tablespace: &|name| target.tablespaces.contains(name),
                has_access_method: &|name| target.access_methods.contains(name) || new_methods.contains(name),
                has_schema: &|name| target.schemas.contains_key(name),
                has_publication: &|name| stays.publications.contains(name),
                has_function: &|schema, name| replaced.contains(&(schema.to_owned(), name.to_owned())),
                schema_for_extension: &|name| self.schema_for_extension(name),
            },
            hosting: &target.hosting,
            journal: self.journal,
            monitor: self.monitor,
            keep_existing: self.steps.cover.is_some() && self.steps.carried != Carried::Everything,
            unowned: Mutex::new(Vec::new()),
        };
        let parts = self.steps.parts;
        if parts.definitions {
            self.phase("definitions")?;
            replay.in_order(self.lead(sessions)?, &self.steps.phases.before, &|_| true)?;
            self.own_public(self.lead(sessions)?)?;
            platform::settle_row_security(self.lead(sessions)?, self.planned)?;
        }
        if parts.rows && !self.planned.managed.tables.is_empty() {
            self.phase("rows of the platform's tables")?;
            managed::load(self.lead(sessions)?, &self.planned.managed, target, &self.loader())?;
        }
        if self.steps.atomic {
            self.fill_in_order(sessions, &replay)?;
        } else {
            self.fill_at_once(sessions, &replay)?;
        }
        if parts.rows {
            self.phase("sequences")?;
            self.set_sequences(self.lead(sessions)?)?;
        }
        let mut reconciled = None;
        let covered = self.covered();
        if !covered.is_empty() {
            self.phase("privileges")?;
            reconciled = Some(self.reconcile(self.lead(sessions)?, &replay, &covered)?);
        }
        if parts.rows {
            self.phase("materialized views")?;
            let populated = self.populated();
            finish::materialized_views(self.lead(sessions)?, &populated, self.journal, self.monitor)?;
        }
        if parts.definitions && self.steps.carried == Carried::Everything {
            match self.steps.cover.as_ref().and_then(|cover| cover.beyond.as_ref()) {
                Some(beyond) => {
                    let hosting = &target.hosting;
                    beyond.settle(self.lead(sessions)?, hosting, self.journal)?;
                }
                None => {
                    platform::forget_default_privileges(self.lead(sessions)?, self.planned, self.journal)?;
                }
            }
        }
        if parts.definitions && !self.steps.phases.late.is_empty() {
            self.phase("publications and event triggers")?;
            replay.in_order(self.lead(sessions)?, &self.steps.phases.late, &|_| false)?;
        }
        if parts.definitions && self.steps.carried == Carried::Everything {
            let activate = self.planned.activate_jobs;
            platform::database_settings(self.lead(sessions)?, self.planned, self.journal)?;
            platform::schedule_jobs(self.lead(sessions)?, self.planned, activate, self.journal)?;
            if parts.rows {
                vault::restore(self.lead(sessions)?, self.planned, self.journal)?;
            }
        }
        Ok((reconciled, covered))
    }

    /// The schema public exists everywhere, so an archive has no entry for its usual owner.
    fn own_public(&self, session: &mut Session) -> Result<()> {
        let owner = |items: &[crate::inventory::Item]| {
            let public = items.iter().find(|item| item.kind == ObjectKind::Schema && item.name == "public");
            public.and_then(|item| item.owner.clone())
        };
        let in_archive =
            self.graph.entries.iter().any(|entry| entry.kind == "SCHEMA" && entry.tag == "public");
        let wanted = owner(&self.planned.catalog.inventory.items);
        let found = owner(&self.planned.target.inventory.items);
        let (Some(wanted), Some(found)) = (wanted, found) else { return Ok(()) };
        let wanted = self.steps.owners.renamed(&wanted).to_owned();
        if wanted == found || in_archive || self.steps.carried != Carried::Everything {
            return Ok(());
        }
        let statement = format!("ALTER SCHEMA public OWNER TO {}", quote_identifier(&wanted));
        if let Err(error) = session.unit(&statement) {
            if super::session::is_fatal(&error) {
                return Err(error.into());
            }
            self.journal.remark(format!("schema public still belongs to {found}: {}", describe(&error)));
        }
        Ok(())
    }

    /// Rows, then indexes and constraints, in the one transaction.
    fn fill_in_order(&self, sessions: &mut [Session], replay: &Replay<'_>) -> Result<()> {
        let session = self.lead(sessions)?;
        if self.steps.parts.rows {
            self.phase("rows")?;
            self.load(session)?;
        }
        if self.steps.parts.definitions {
            self.phase("indexes and constraints")?;
            let sizes = self.sizes();
            let is_light = |index: usize| self.bytes_below(index, &sizes) <= LIGHT_BYTES;
            replay.in_order(session, &self.steps.phases.after, &is_light)?;
        }
        Ok(())
    }

    /// Rows, indexes, constraints and statistics on all sessions at once.
    fn fill_at_once(&self, sessions: &mut [Session], replay: &Replay<'_>) -> Result<()> {
        let load = self.loader();
        let (mut loads, mut analyzed) = (Vec::new(), Vec::new());
        if self.steps.parts.rows {
            self.phase("rows")?;
            let skipped = self.skipped();
            let session = self.lead(sessions)?;
            large_objects::restore(session, &load, &self.steps.owners)?;
            load.configuration_tables(session, &skipped)?;
            loads = load.tasks(&skipped);
            analyzed = self.loaded();
        }
        let sizes = self.sizes();
        let rows: Vec<Rows> = loads.iter().map(|task| task.rows(&self.planned.manifest)).collect();
        let work = Work::new(&tasks::Input {
            graph: &self.graph,
            entries: &self.steps.phases.after,
            loads: &rows,
            analyzed: &analyzed,
            size: &|name| sizes.get(name).copied().unwrap_or_default(),
        });
        let parallel = Parallel {
            replay,
            load: &load,
            loads: &loads,
            analyzed: &analyzed,
            processors: self.processors(self.lead(sessions)?),
            monitor: self.monitor,
        };
        parallel.run(sessions, work)
    }

    /// The schema that an extension needs and nobody makes.
    fn schema_for_extension(&self, name: &str) -> Option<String> {
        let extension = self.planned.catalog.extensions.iter().find(|extension| extension.name == name)?;
        let schema = &extension.schema;
        let is_made = self.graph.entries.iter().any(|entry| entry.kind == "SCHEMA" && entry.tag == *schema);
        let is_known = is_made || schema == "pg_catalog" || self.planned.target.schemas.contains_key(schema);
        (!is_known).then(|| schema.clone())
    }

    /// Processors of a server on this machine.
    fn processors(&self, session: &Session) -> Option<usize> {
        let here = session.connection.is_local();
        here.then(std::thread::available_parallelism)?.ok().map(std::num::NonZero::get)
    }

    fn loader(&self) -> Load<'_> {
        let planned = self.planned;
        Load::new(planned.repository, &planned.manifest, self.journal, self.monitor, self.interrupt)
    }

    /// Loads the rows in the one transaction.
    fn load(&self, session: &mut Session) -> Result<()> {
        let load = self.loader();
        let manifest = &self.planned.manifest;
        if let Some(counted) = rows::make_room(session, manifest, self.steps.existing_rows)? {
            // Rows are loaded once.
            let _ = self.rows_before.set(counted);
        }
        large_objects::restore(session, &load, &self.steps.owners)?;
        if self.steps.parts.definitions {
            load.tables(session, &self.skipped())
        } else if self.planned.target.may_replicate {
            load.tables(session, &BTreeSet::new())?;
            self.phase("foreign keys")?;
            rows::check_keys(session, &rows::filled(manifest), self.journal)
        } else {
            load.tables_in_order(session, &self.steps.tables)
        }
    }

    fn set_sequences(&self, session: &mut Session) -> Result<()> {
        let all = &self.planned.manifest.sequences;
        let creates_all = self.steps.parts.definitions && self.steps.cover.is_none();
        let wanted: Vec<Sequence> = match (&self.steps.carried, creates_all) {
            (Carried::Everything, _) => all.clone(),
            (Carried::AllBut(_), _) if self.steps.parts.definitions => self.chosen_sequences(),
            (_, true) => self.chosen_sequences(),
            (
                Carried::Only(Part { relations: tables, .. })
                | Carried::AllBut(Part { relations: tables, .. }),
                false,
            ) => {
                let owned = finish::sequences_of(&mut session.connection, tables).map_err(Error::from)?;
                let made = self.chosen();
                let is_set = |sequence: &&Sequence| {
                    let name = (sequence.schema.clone(), sequence.name.clone());
                    owned.contains(&name) || made.contains(&name)
                };
                all.iter().filter(is_set).cloned().collect()
            }
        };
        let ahead = self.steps.existing_rows == ExistingRows::Append;
        finish::sequences(session, &wanted, ahead, self.journal)
    }

    fn reconcile(
        &self,
        session: &mut Session,
        replay: &Replay<'_>,
        covered: &BTreeSet<Object>,
    ) -> Result<Reconciled> {
        let planned = self.planned;
        let reconciliation = Reconciliation {
            inventory: &planned.catalog.inventory,
            covered: covered.clone(),
            own: objects(&planned.catalog.inventory),
            owners: &self.steps.owners,
            target: &planned.target,
            grant_to: &planned.grant_to,
            source_version: planned.manifest.source.server_version_num,
        };
        let mut reconciled = reconciliation.run(session, self.journal)?;
        let waiting = !replay.unowned.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if waiting {
            replay.owners_again(session)?;
            reconciled = reconciliation.run(session, self.journal)?;
        }
        for remark in reconciled.expected.remarks() {
            self.journal.remark(remark);
        }
        Ok(reconciled)
    }

    fn verify(
        &self,
        sessions: &mut [Session],
        reconciled: Option<Reconciled>,
        covered: &BTreeSet<Object>,
    ) -> Result<Verified> {
        self.phase("verification")?;
        let planned = self.planned;
        let chosen = self.chosen();
        let replayed = self.steps.phases.after.iter().filter_map(|&index| self.graph.entries.get(index));
        let verification = Verification {
            repository: planned.repository,
            manifest: &planned.manifest,
            catalog: &planned.catalog,
            steps: self.steps,
            before: &planned.target,
            chosen: &chosen,
            rows_before: self.rows_before.get(),
            reconciled,
            policies: hosted::policies_of_platforms_tables(replayed, &planned.target.hosting),
            covered,
            checksums: planned.checksums,
        };
        verification.run(sessions)
    }
}

fn differs(reasons: &[String]) -> Error {
    Error::failed("the restored target differs from the backup").why(reasons.join("; "))
}

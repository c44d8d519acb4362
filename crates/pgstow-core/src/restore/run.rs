//! Carries a planned restore out, step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::data::Load;
use super::definitions::Replay;
use super::entry::Surroundings;
use super::journal::Journal;
use super::parallel::Parallel;
use super::part::{Part, is_relation};
use super::plan::Steps;
use super::privileges::{Reconciled, Reconciliation};
use super::reconcile::{Object, object, object_of, objects};
use super::selection::{Carried, Graph, TableName};
use super::session::{Session, describe};
use super::tasks::{self, Rows, Size, Work};
use super::verify::{Verification, Verified};
use super::{
    Planned, RestoreReport, clear, finish, hosted, identity, large_objects, managed, platform, report, vault,
};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::inventory::ObjectKind;
use crate::monitor::{Event, Monitor};
use crate::postgres::identifier::{quote_identifier, quote_qualified};
use crate::repository::format::manifest::{Sequence, Table};

/// Statements on tables up to this size are sent together.
const LIGHT_BYTES: u64 = 8 << 20;

/// # Errors
/// As [`super::Prepared::apply`].
pub(super) fn apply(
    planned: &Planned<'_>,
    session: Session,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<RestoreReport> {
    let started_at = jiff::Timestamp::now();
    let journal = Journal::default();
    let (target, server) = (&planned.target.target, planned.target.server());
    monitor.event(Event::Connected { endpoint: target, server: &server });
    monitor.event(Event::Planned { tables: planned.plan.load_tables, bytes: planned.plan.load_bytes });
    let run = Run {
        planned,
        steps: &planned.steps,
        graph: Graph::new(&planned.entries),
        journal: &journal,
        monitor,
        interrupt,
        begun: Instant::now(),
    };
    let result =
        if planned.steps.atomic { run.in_one_transaction(session) } else { run.in_parallel(session) };
    match result {
        Ok((verified, seconds)) => {
            let receipt = report::receipt(planned, &journal, verified, started_at);
            let receipt_path = planned.repository.store_receipt(&receipt)?;
            let notes = planned.plan.notes.iter().cloned().chain(journal.said()).collect();
            Ok(RestoreReport { receipt, receipt_path, seconds, notes })
        }
        Err(error) => {
            // The failure counts; a receipt that cannot be stored must not hide it.
            let receipt = report::failure(planned, &journal, &error, started_at);
            let _ = planned.repository.store_receipt(&receipt);
            Err(error)
        }
    }
}

struct Run<'a> {
    planned: &'a Planned<'a>,
    steps: &'a Steps,
    graph: Graph<'a>,
    journal: &'a Journal,
    monitor: &'a dyn Monitor,
    interrupt: &'a Interrupt,
    begun: Instant,
}

impl<'a> Run<'a> {
    fn phase(&self, name: &str) -> Result<()> {
        self.monitor.event(Event::Phase { name });
        self.interrupt.check()
    }

    /// Everything in one transaction; whatever goes wrong takes all of it back.
    fn in_one_transaction(&self, session: Session) -> Result<(Verified, f64)> {
        let mut sessions = vec![session];
        let result = self.atomically(&mut sessions);
        match result {
            Ok((verified, seconds)) => {
                self.tell_of_new_schema(&mut sessions);
                if self.steps.parts.rows {
                    self.analyze_restored(&mut sessions);
                }
                Ok((verified, seconds))
            }
            Err(error) => {
                if let Some(session) = sessions.first_mut() {
                    // A session that is lost has rolled back by itself.
                    let _ = session.connection.execute("ROLLBACK");
                }
                Err(error.hint("the target is as it was: the transaction was rolled back"))
            }
        }
    }

    /// The restore is committed by now.
    fn tell_of_new_schema(&self, sessions: &mut [Session]) {
        if let (true, Some(session)) = (self.steps.parts.definitions, sessions.first_mut()) {
            super::postgrest::notify(session, self.journal);
        }
    }

    /// The restore is committed by now: what goes wrong here costs speed only.
    fn analyze_restored(&self, sessions: &mut [Session]) {
        let analyzed = self
            .phase("analyze")
            .and_then(|()| finish::analyze(self.lead(sessions)?, &self.loaded(), self.journal));
        if let Err(error) = analyzed {
            self.journal
                .remark(format!("the planner's statistics were not collected ({error}): run ANALYZE"));
        }
    }

    fn atomically(&self, sessions: &mut [Session]) -> Result<(Verified, f64)> {
        self.lead(sessions)?.connection.execute("BEGIN").map_err(Error::from)?;
        self.lead(sessions)?.atomic = true;
        if self.planned.target.may_replicate {
            // Silences triggers on rows, and event triggers of the target that would change what
            // is created.
            let silence = "SET LOCAL session_replication_role = replica";
            self.lead(sessions)?.unit(silence).map_err(Error::from)?;
        }
        if let Some(cover) = &self.steps.cover {
            self.phase("clear")?;
            let session = self.lead(sessions)?;
            let survey = clear::survey(&mut session.connection, cover).map_err(Error::from)?;
            survey.check()?;
            clear::drop_all(session, cover, &survey, self.planned.lock_timeout)?;
        }
        let (reconciled, covered) = self.restore(sessions)?;
        let seconds = self.begun.elapsed().as_secs_f64();
        let verified = self.verify(sessions, reconciled, &covered)?;
        if verified.is_serious {
            let mut error = Error::failed("the restored target differs from the backup");
            error = error.why(verified.differences.join("; "));
            return Err(error);
        }
        let session = self.lead(sessions)?;
        session.atomic = false;
        session
            .connection
            .execute("COMMIT")
            .map_err(|error| Error::failed("the transaction could not be committed").why(describe(&error)))?;
        Ok((verified, seconds))
    }

    /// On several sessions, each statement for itself.
    fn in_parallel(&self, session: Session) -> Result<(Verified, f64)> {
        let result = self.openly(session);
        result.map_err(|error| {
            let again = format!(
                "the target is incomplete; start over with: pgstow restore {} --to … --clean",
                self.planned.manifest.backup
            );
            match error.kind() {
                ErrorKind::Interrupted => error.why("objects and rows restored so far stay").hint(again),
                _ => error.hint(again),
            }
        })
    }

    fn openly(&self, mut session: Session) -> Result<(Verified, f64)> {
        session.ease()?;
        let mut sessions = vec![session];
        self.add_sessions(&mut sessions)?;
        platform::silence(&mut sessions, &self.planned.target)?;
        let (reconciled, covered) = self.restore(&mut sessions)?;
        finish::make_durable(self.lead(&mut sessions)?).map_err(Error::from)?;
        let seconds = self.begun.elapsed().as_secs_f64();
        let verified = self.verify(&mut sessions, reconciled, &covered)?;
        self.tell_of_new_schema(&mut sessions);
        Ok((verified, seconds))
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
            platform::forget_default_privileges(self.lead(sessions)?, self.planned, self.journal)?;
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
        if self.steps.empty_tables {
            self.empty_tables(session)?;
        }
        large_objects::restore(session, &load, &self.steps.owners)?;
        if self.steps.parts.definitions {
            load.tables(session, &self.skipped())
        } else if self.planned.target.may_replicate {
            load.tables(session, &BTreeSet::new())
        } else {
            load.tables_in_order(session, &self.steps.tables)
        }
    }

    fn empty_tables(&self, session: &mut Session) -> Result<()> {
        let tables: BTreeSet<TableName> = self
            .planned
            .manifest
            .tables
            .iter()
            .filter(|table| table.data == crate::repository::format::manifest::TableData::Carried)
            .map(super::guards::load_target)
            .collect();
        if tables.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = tables.iter().map(|(schema, name)| quote_qualified(schema, name)).collect();
        let statement = format!("TRUNCATE TABLE {}", names.join(", "));
        session.unit(&statement).map_err(|error| {
            Error::failed("the tables could not be emptied")
                .why(describe(&error))
                .hint("tables that refer to them must be part of the backup, or hold no such foreign key")
        })
    }

    /// Tables whose rows cannot be loaded, because their definition is not replayed or failed.
    fn skipped(&self) -> BTreeSet<TableName> {
        let chosen: BTreeSet<usize> = self.steps.phases.before.iter().copied().collect();
        let entries = self.graph.entries.iter().enumerate();
        let mut skipped: BTreeSet<TableName> = entries
            .filter(|(index, entry)| {
                entry.kind == "TABLE" && (!chosen.contains(index) || self.journal.has_failed(*index))
            })
            .filter_map(|(_, entry)| Some((entry.schema.clone()?, entry.tag.clone())))
            .collect();
        let through: Vec<TableName> = self
            .planned
            .manifest
            .tables
            .iter()
            .filter(|table| table.load_through.as_ref().is_some_and(|root| skipped.contains(root)))
            .map(|table| (table.schema.clone(), table.name.clone()))
            .collect();
        skipped.extend(through);
        skipped
    }

    /// Bytes of the tables that an entry depends on directly.
    fn bytes_below(&self, index: usize, sizes: &BTreeMap<TableName, Size>) -> u64 {
        let tables = self.graph.dependencies(index).map(|other| &self.graph.entries[other]);
        let names = tables.filter(|entry| entry.kind == "TABLE");
        let sizes = names.filter_map(|entry| sizes.get(&(entry.schema.clone()?, entry.tag.clone())));
        sizes.map(|size| size.bytes).sum()
    }

    fn sizes(&self) -> BTreeMap<TableName, Size> {
        let tables = self.planned.manifest.tables.iter();
        let size = |table: &Table| Size { bytes: table.bytes, rows: table.rows };
        tables.map(|table| ((table.schema.clone(), table.name.clone()), size(table))).collect()
    }

    /// Tables that COPY loaded, for ANALYZE.
    fn loaded(&self) -> Vec<TableName> {
        let tables = self.planned.manifest.tables.iter();
        let skipped = if self.steps.parts.definitions { self.skipped() } else { BTreeSet::new() };
        tables
            .map(|table| (table.schema.clone(), table.name.clone()))
            .filter(|name| !skipped.contains(name))
            .collect()
    }

    /// Relations whose definitions are replayed.
    fn chosen(&self) -> BTreeSet<TableName> {
        self.steps
            .phases
            .before
            .iter()
            .map(|&index| &self.graph.entries[index])
            .filter(|entry| is_relation(&entry.kind))
            .filter_map(|entry| Some((entry.schema.clone()?, entry.tag.clone())))
            .collect()
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
        finish::sequences(session, &wanted, self.journal)
    }

    /// Positions of the sequences whose definitions are replayed.
    fn chosen_sequences(&self) -> Vec<Sequence> {
        let chosen = self.chosen();
        let is_chosen =
            |sequence: &&Sequence| chosen.contains(&(sequence.schema.clone(), sequence.name.clone()));
        self.planned.manifest.sequences.iter().filter(is_chosen).cloned().collect()
    }

    fn populated(&self) -> BTreeSet<TableName> {
        let views = self.planned.manifest.materialized_views.iter().filter(|view| view.populated);
        let names = views.map(|view| (view.schema.clone(), view.name.clone()));
        match (&self.steps.carried, self.steps.parts.definitions) {
            (Carried::Everything, _) | (Carried::AllBut(_), false) => names.collect(),
            (Carried::Only(_), false) => BTreeSet::new(),
            (_, true) => {
                let chosen = self.chosen();
                names.filter(|name| chosen.contains(name)).collect()
            }
        }
    }

    /// Objects whose privileges are made equal: all of the backup's, or those that this restore
    /// makes.
    fn covered(&self) -> BTreeSet<Object> {
        let inventory = &self.planned.catalog.inventory;
        let parts = self.steps.parts;
        let is_restored = |(target, _): &Object| {
            if target == "LARGE OBJECT" { parts.rows } else { parts.definitions }
        };
        if self.steps.carried == Carried::Everything {
            let held = inventory.privileges.iter().filter(|held| held.target != "DATABASE").map(object);
            return objects(inventory).into_iter().chain(held).filter(is_restored).collect();
        }
        let before = objects(&self.planned.target.inventory);
        let chosen = self.chosen();
        let items = inventory.items.iter().filter_map(|item| Some((object_of(item.kind, &item.name)?, item)));
        items
            .filter(|(object, item)| {
                let name = super::plan::name_parts(&item.name);
                let is_chosen = matches!(name.as_slice(), [schema, name]
                    if chosen.contains(&(schema.clone(), name.clone())));
                is_chosen || !before.contains(object) || self.steps.made.contains(&identity::of_item(item))
            })
            .map(|(object, _)| object)
            .filter(is_restored)
            .collect()
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
            reconciled,
            policies: hosted::policies_of_platforms_tables(replayed, &planned.target.hosting),
            covered,
            checksums: planned.checksums,
        };
        verification.run(sessions)
    }
}

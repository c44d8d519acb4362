//! The walk through a repository, and what is known so far.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{BackupState, Fault, RepositoryReport, Touched, Unused};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::parallel;
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::id::{BackupId, ObjectName};
use crate::repository::format::layout::{HEADER_FILE, MANIFEST_FILE, is_mark, stored_name};
use crate::repository::format::manifest::{Manifest, Object};
use crate::repository::{StoredFolders, StoredObjects};
use crate::verify::content::{self, Numbered};
use crate::verify::{Reading, VerifyLine, checklist, joined, keyless, structure};

/// What is known of a stored object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but what the listing says.
    Listed,
    /// Read to its end and good.
    Read,
    /// Damaged: there is a fault.
    Damaged,
}

/// One walk through a repository.
pub(super) struct Survey<'r> {
    repository: &'r Repository,
    monitor: &'r dyn Monitor,
    interrupt: &'r Interrupt,
    folders: StoredFolders,
    stored: StoredObjects,
    /// Of each stored object.
    states: Vec<State>,
    used: Vec<AtomicBool>,
    /// Objects to be read.
    chosen: HashSet<ObjectName>,
    /// Backups of which it is not known what they use.
    unknown: BTreeSet<BackupId>,
    /// Faults of objects, by name.
    object_faults: BTreeMap<ObjectName, Fault>,
    report: RepositoryReport,
}

impl<'r> Survey<'r> {
    /// Lists everything, and reads what each backup says it uses.
    pub(super) fn begin(
        repository: &'r Repository,
        reading: &Reading,
        monitor: &'r dyn Monitor,
        interrupt: &'r Interrupt,
    ) -> Result<Self> {
        monitor.event(Event::Phase { name: "listing" });
        // Folders first: what a backup uses is stored before its header is there to be seen.
        let mut folders = repository.stored_folders()?;
        interrupt.check()?;
        let mut stored = repository.stored_objects()?;
        interrupt.check()?;
        let mut foreign = repository.foreign_names()?;
        foreign.append(&mut folders.foreign);
        foreign.append(&mut stored.foreign);
        let report = RepositoryReport {
            repository: repository.location(),
            objects: stored.objects.len(),
            stored_bytes: stored.objects.iter().fold(0, |sum, object| sum.saturating_add(object.bytes)),
            foreign,
            ..RepositoryReport::default()
        };
        let mut survey = Self {
            repository,
            monitor,
            interrupt,
            folders,
            states: vec![State::Listed; stored.objects.len()],
            used: stored.objects.iter().map(|_| AtomicBool::new(false)).collect(),
            stored,
            chosen: HashSet::new(),
            unknown: BTreeSet::new(),
            object_faults: BTreeMap::new(),
            report,
        };
        survey.read_lists()?;
        survey.choose(reading);
        Ok(survey)
    }

    /// Marks what is used, as `objects.list` of every backup says.
    fn read_lists(&mut self) -> Result<()> {
        let manifest = self.manifest_name();
        let holds = |names: &[String], name: &str| names.iter().any(|other| other == name);
        let ids: Vec<&BackupId> = self
            .folders
            .folders
            .iter()
            .filter(|(_, names)| holds(names, HEADER_FILE) || holds(names, manifest.as_str()))
            .map(|(id, _)| id)
            .collect();
        let unknown = parallel::for_each(&ids, self.interrupt, |id| {
            let Ok(names) = self.repository.objects_list(id) else { return Some((*id).clone()) };
            names.iter().for_each(|name| self.mark_used(name));
            None
        })?;
        self.unknown.extend(unknown.into_iter().flatten());
        Ok(())
    }

    fn manifest_name(&self) -> String {
        stored_name(MANIFEST_FILE, self.repository.is_encrypted())
    }

    fn mark_used(&self, name: &ObjectName) {
        if let Some(used) = self.stored.position(name).and_then(|at| self.used.get(at)) {
            used.store(true, Ordering::Relaxed);
        }
    }

    fn choose(&mut self, reading: &Reading) {
        let used = self.stored.objects.iter().zip(&self.used);
        let used = used.filter(|(_, used)| used.load(Ordering::Relaxed));
        let used = used.map(|(object, _)| (object.name, object.bytes));
        self.chosen = match reading {
            Reading::Sizes => HashSet::new(),
            Reading::All => self.stored.objects.iter().map(|object| object.name).collect(),
            Reading::Sample(sample) => {
                self.report.seed = Some(sample.seed());
                sample.choose(used)
            }
        };
    }

    /// Looks into every folder.
    pub(super) fn finish(mut self) -> Result<RepositoryReport> {
        let folders = std::mem::take(&mut self.folders.folders);
        let total = folders.len();
        for (done, (id, names)) in folders.iter().enumerate() {
            self.interrupt.check()?;
            self.look_into(id, names)?;
            self.monitor.event(Event::Steps { done: done + 1, total, name: id.as_str() });
        }
        self.look_at_records()?;
        self.report.faults.extend(self.object_faults.into_values());
        if self.unknown.is_empty() {
            let used = self.used.iter().map(|used| used.load(Ordering::Relaxed));
            let unused = self.stored.objects.iter().zip(used).filter(|(_, used)| !used);
            self.report.unused = Some(unused.fold(Unused::default(), |sum, (object, _)| Unused {
                objects: sum.objects + 1,
                bytes: sum.bytes.saturating_add(object.bytes),
            }));
        }
        for state in &mut self.report.backups {
            let touched = |fault: &Fault| fault.touches.iter().any(|touched| touched.backup == state.backup);
            state.good = !self.report.faults.iter().any(touched);
        }
        self.report.foreign.sort_unstable();
        Ok(self.report)
    }

    fn look_into(&mut self, id: &BackupId, names: &[String]) -> Result<()> {
        if !names.iter().any(|name| name == HEADER_FILE) {
            self.look_at_headless(id, names);
            return Ok(());
        }
        let header = match self.repository.header(id) {
            Ok(header) => header,
            // It was removed meanwhile.
            Err(_) if self.is_gone(id) => return Ok(()),
            Err(error) => {
                self.report.backups.push(BackupState { backup: id.to_string(), good: false });
                self.fault("header", error.in_one_line(), id);
                return Ok(());
            }
        };
        self.report.backups.push(BackupState { backup: id.to_string(), good: true });
        match self.repository.manifest(&header) {
            Ok(manifest) => self.look_at_backup(&header, &manifest, names),
            Err(error) if error.kind() == ErrorKind::Key => {
                self.look_without_key(&header, &error);
                Ok(())
            }
            Err(_) if self.is_gone(id) => Ok(()),
            Err(error) => {
                self.fault("manifest", error.in_one_line(), id);
                Ok(())
            }
        }
    }

    /// Without a header there is no backup, unless it lost it.
    fn look_at_headless(&mut self, id: &BackupId, names: &[String]) {
        let manifest = self.manifest_name();
        let has_manifest = names.contains(&manifest);
        if !has_manifest || names.iter().any(|name| is_mark(name)) {
            // What it uses is nobody's yet, or no longer.
            self.report.unfinished.push(id.to_string());
            return;
        }
        let found = format!("backups/{id}/{HEADER_FILE} is missing, and a manifest is there");
        self.fault("header", found, id);
    }

    /// Whether its header was removed since it was listed. In doubt it was not.
    fn is_gone(&self, id: &BackupId) -> bool {
        self.repository.has_header(id).is_ok_and(|there| !there)
    }

    fn look_at_backup(&mut self, header: &Header, manifest: &Manifest, names: &[String]) -> Result<()> {
        let id = &header.id;
        let mut lines = vec![
            VerifyLine::of("manifest", structure::compare_with_header(manifest, header)),
            checklist::not_empty(manifest, header),
        ];
        lines.extend(structure::check_files(self.repository, manifest, self.interrupt)?);
        let failed: Vec<VerifyLine> = lines.into_iter().filter(VerifyLine::has_failed).collect();
        if !failed.is_empty() && self.is_gone(id) {
            return Ok(());
        }
        for line in failed {
            self.fault(&line.what, format!("{id}: {}", line.found), id);
        }
        let listed = |name: &String| manifest.files.iter().any(|file| file.name == *name);
        let manifest_name = self.manifest_name();
        let own = |name: &String| *name == HEADER_FILE || *name == manifest_name || is_mark(name);
        let foreign = names.iter().filter(|name| !listed(name) && !own(name));
        self.report.foreign.extend(foreign.map(|name| format!("backups/{id}/{name}")));
        self.unknown.remove(id);
        manifest.objects.iter().for_each(|object| self.mark_used(&object.name()));
        self.look_at_objects(id, manifest)
    }

    fn look_at_objects(&mut self, id: &BackupId, manifest: &Manifest) -> Result<()> {
        let mut to_read: Vec<Numbered<'_>> = Vec::new();
        let mut missing: Vec<Numbered<'_>> = Vec::new();
        for (index, object) in content::numbered(manifest) {
            let name = object.name();
            let Some(at) = self.stored.position(&name) else {
                missing.push((index, object));
                continue;
            };
            let listed_bytes = self.stored.objects.get(at).map(|stored| stored.bytes);
            match self.states.get(at) {
                Some(State::Damaged) => self.touch(manifest, index, object, None),
                Some(State::Listed)
                    if self.chosen.contains(&name) || listed_bytes != Some(object.stored_bytes) =>
                {
                    to_read.push((index, object));
                }
                _ => {}
            }
        }
        self.look_at_missing(id, manifest, &missing)?;
        self.read(manifest, &to_read)
    }

    /// Asks again for what the listing lacked: it may have been stored since, or the backup removed.
    fn look_at_missing(
        &mut self,
        id: &BackupId,
        manifest: &Manifest,
        missing: &[Numbered<'_>],
    ) -> Result<()> {
        let outcomes = parallel::for_each(missing, self.interrupt, |(_, object)| {
            self.repository.check_object(manifest, object)
        })?;
        if outcomes.iter().any(Result::is_err) && self.is_gone(id) {
            return Ok(());
        }
        for ((index, object), outcome) in missing.iter().zip(outcomes) {
            if let Err(error) = outcome {
                self.touch(manifest, *index, object, Some(error.in_one_line()));
            }
        }
        Ok(())
    }

    fn read(&mut self, manifest: &Manifest, to_read: &[Numbered<'_>]) -> Result<()> {
        let (done, total) = (AtomicUsize::new(self.report.read_objects), self.chosen.len());
        let tell = |object: &Object| {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            let name = object.name().to_string();
            self.monitor.event(Event::Steps { done, total: total.max(done), name: &name });
        };
        let outcomes = content::read(self.repository, manifest, to_read, &tell, self.interrupt)?;
        if outcomes.iter().any(|(_, outcome)| outcome.is_err()) && self.is_gone(&manifest.backup) {
            return Ok(());
        }
        for ((index, object), (_, outcome)) in to_read.iter().zip(outcomes) {
            let state = match outcome {
                Ok(wrong) => {
                    self.report.read_objects += 1;
                    self.report.read_bytes = self.report.read_bytes.saturating_add(object.bytes);
                    for found in wrong {
                        self.fault("rows", found, &manifest.backup);
                    }
                    State::Read
                }
                Err(fault) => {
                    self.touch(manifest, *index, object, Some(fault));
                    State::Damaged
                }
            };
            let at = self.stored.position(&object.name());
            if let Some(known) = at.and_then(|at| self.states.get_mut(at)) {
                *known = state;
            }
        }
        Ok(())
    }

    /// What needs no key: the manifest as it is stored, and the objects' presence.
    fn look_without_key(&mut self, header: &Header, wanting: &Error) {
        let id = &header.id;
        if let Err(error) = self.repository.check_manifest(header) {
            self.fault("manifest", error.in_one_line(), id);
        }
        match self.repository.objects_list(id) {
            Ok(names) => {
                let sizes: Vec<Option<u64>> =
                    names.iter().map(|name| self.stored.get(name).map(|object| object.bytes)).collect();
                let missing = names.iter().zip(&sizes).filter(|(_, size)| matches!(size, None | Some(0)));
                let missing: Vec<(&ObjectName, &Option<u64>)> = missing.collect();
                for (name, size) in &missing {
                    let what = if size.is_none() { "missing" } else { "empty" };
                    let found = format!("object {name} is {what}");
                    self.touch_object(**name, id, Vec::new(), Some(found));
                }
                if missing.is_empty()
                    && let Err(fault) = keyless::judge(header, &names, &sizes)
                {
                    // It may be the list that is wrong.
                    self.unknown.insert(id.clone());
                    self.fault("objects", format!("{id}: {fault}"), id);
                }
            }
            Err(error) => self.fault("object list", error.in_one_line(), id),
        }
        self.report.open.push(format!("{id}: {}", keyless::unread(wanting).found));
    }

    /// Receipts and the audit log: no backup depends on them.
    fn look_at_records(&mut self) -> Result<()> {
        let mut receipts = self.repository.unreadable_receipts()?;
        self.report.foreign.append(&mut receipts.foreign);
        for (path, why) in receipts.damaged {
            let found = format!("{path} {why}");
            self.report.faults.push(Fault { what: "receipt".to_owned(), found, touches: Vec::new() });
        }
        if !receipts.closed.is_empty() {
            let (closed, names) = (receipts.closed.len(), joined(&receipts.closed));
            self.report.open.push(format!("{closed} receipts that no key at hand opens: {names}"));
        }
        for (path, why) in self.repository.audit_log(None, self.interrupt)?.damaged {
            let found = format!("{path} {why}");
            self.report.faults.push(Fault { what: "audit log".to_owned(), found, touches: Vec::new() });
        }
        Ok(())
    }

    fn fault(&mut self, what: &str, found: String, id: &BackupId) {
        let touches = vec![Touched { backup: id.to_string(), tables: Vec::new() }];
        self.report.faults.push(Fault { what: what.to_owned(), found, touches });
    }

    /// Adds a backup to those that the fault of an object touches.
    fn touch(&mut self, manifest: &Manifest, index: u32, object: &Object, found: Option<String>) {
        let tables = content::users_of_object(manifest, index);
        self.touch_object(object.name(), &manifest.backup, tables, found);
    }

    fn touch_object(&mut self, name: ObjectName, id: &BackupId, tables: Vec<String>, found: Option<String>) {
        let fault = self.object_faults.entry(name).or_insert_with(|| Fault {
            what: "object".to_owned(),
            found: found.unwrap_or_else(|| format!("object {name} is damaged")),
            touches: Vec::new(),
        });
        fault.touches.push(Touched { backup: id.to_string(), tables });
    }
}

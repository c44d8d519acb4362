//! Copying backups to another repository, which may have another store, other keys, or none.
//!
//! A backup keeps its id. Its content is proven on the way: what cannot be read as its hash says is
//! never stored under another name. Objects that the destination has are not sent again. As with a
//! new backup the header is written last, so an interrupted copy is no backup there, and its
//! objects serve the next one.

mod known;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::draft::BackupDraft;
use super::format::encryption::ObjectKey;
use super::format::header::Header;
use super::format::id::{BackupId, ObjectName};
use super::format::layout;
use super::format::manifest::{Manifest, Object};
use super::object;
use super::open::Repository;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::parallel;
use known::Known;

/// What copying came to.
#[derive(Debug, Default)]
#[must_use]
pub struct CopyReport {
    /// Backups that are in the destination now, in the order of their snapshots.
    pub copied: Vec<CopiedBackup>,
    /// Backups that were there already.
    pub present: Vec<BackupId>,
    /// Backups that could not be copied, each with the reason.
    pub failed: Vec<(BackupId, Error)>,
    /// Receipts that went along.
    pub receipts: usize,
    /// What should be looked at, and kept nothing from being copied.
    pub remarks: Vec<String>,
}

/// A backup that was copied.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CopiedBackup {
    /// Its id, the same in both repositories.
    pub backup: BackupId,
    /// Objects that it uses.
    pub objects: usize,
    /// Those of them that were sent.
    pub new_objects: usize,
    /// Bytes that the destination holds more: objects and the folder's files.
    pub new_bytes: u64,
}

/// Copies backups to `destination`, oldest snapshot first. One that cannot be copied is named, and
/// the others are copied.
///
/// # Errors
/// Interrupted; nothing can be stored in the destination for want of a public key; both are the
/// same place; a repository cannot be listed.
pub fn copy(
    source: &Repository,
    destination: &Repository,
    backups: &[Header],
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<CopyReport> {
    if source.location() == destination.location() {
        return Err(Error::refused(format!("{} cannot be copied to itself", source.location()))
            .why("nothing was changed"));
    }
    destination.encrypts_to()?;
    let mut backups: Vec<&Header> = backups.iter().collect();
    backups.sort_by(|one, other| (one.snapshot_at, &one.id).cmp(&(other.snapshot_at, &other.id)));
    let known = Known::find(source, destination, &backups)?;
    let mut copier = Copier { source, destination, monitor, interrupt, known, report: CopyReport::default() };
    for header in backups {
        copier.take(header)?;
    }
    Ok(copier.report)
}

struct Copier<'r> {
    source: &'r Repository,
    destination: &'r Repository,
    monitor: &'r dyn Monitor,
    interrupt: &'r Interrupt,
    known: Known,
    report: CopyReport,
}

impl Copier<'_> {
    /// Copies one backup, if it is not there.
    ///
    /// # Errors
    /// Only when interrupted.
    fn take(&mut self, header: &Header) -> Result<()> {
        self.interrupt.check()?;
        let outcome = match self.known.in_destination(&header.id) {
            Some(there) if is_same(there, header) => {
                self.report.present.push(header.id.clone());
                Ok(())
            }
            Some(_) => Err(Error::failed(format!("another backup is {} there", header.id))
                .why("its header says another snapshot or other content")),
            None => self.copy_backup(header).map(|copied| self.report.copied.push(copied)),
        };
        let outcome = outcome.and_then(|()| self.copy_receipts(&header.id));
        match outcome {
            Err(error) if error.kind() == ErrorKind::Interrupted || self.interrupt.is_triggered() => {
                Err(Error::interrupted())
            }
            Err(error) => {
                self.report.failed.push((header.id.clone(), error));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn copy_backup(&mut self, header: &Header) -> Result<CopiedBackup> {
        self.monitor.event(Event::Phase { name: header.id.as_str() });
        let manifest = self.source.manifest(header)?;
        let mut draft = begin(self.destination, &header.id)?;
        let sent = self.copy_objects(&manifest)?;
        for file in &manifest.files {
            self.interrupt.check()?;
            let name = layout::plain_name(&file.name, self.source.is_encrypted());
            // It is made anew from what the copied manifest says.
            if name != layout::OBJECTS_LIST {
                draft.write_file(name, &self.source.file(&manifest, name)?)?;
            }
        }
        let new_bytes = sent.iter().filter(|sent| sent.new).map(|sent| sent.object.stored_bytes);
        let copied = header_of(header, new_bytes.fold(0, u64::saturating_add));
        let stored = with_objects(&manifest, &sent, self.known.object_key().cloned());
        self.interrupt.check()?;
        let written = draft.commit(stored, copied, header.finished_at)?;
        let names = manifest.objects.iter().map(Object::name);
        self.known.learn(names.zip(sent.iter().map(|sent| sent.object.clone())));
        Ok(CopiedBackup {
            backup: header.id.clone(),
            objects: sent.len(),
            new_objects: sent.iter().filter(|sent| sent.new).count(),
            new_bytes: written.new_bytes,
        })
    }

    /// Sends what is missing; what became of each object, in the manifest's order.
    fn copy_objects(&self, manifest: &Manifest) -> Result<Vec<Sent>> {
        let there = self.known.there(self.destination, &manifest.objects)?;
        let work: Vec<(&Object, Option<Object>)> = manifest.objects.iter().zip(there).collect();
        let (done, total) = (AtomicUsize::new(0), work.len());
        let sent = parallel::for_each(&work, self.interrupt, |(object, there)| {
            let sent = match there {
                Some(object) => Ok(Sent { object: object.clone(), new: false }),
                None => self.send(manifest, object),
            };
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            self.monitor.event(Event::Steps { done, total, name: &object.name().to_string() });
            sent
        })?;
        sent.into_iter().collect()
    }

    fn send(&self, manifest: &Manifest, object: &Object) -> Result<Sent> {
        if !self.source.is_encrypted() && !self.destination.is_encrypted() {
            let (from, to) = (self.source.object_files(), self.destination.object_files());
            let written = object::transfer(&from, &to, object, self.interrupt)?;
            return Ok(Sent { object: written.object, new: written.new });
        }
        let mut reader = self.source.read_object(manifest, object)?;
        let mut writer = self.destination.write_object(self.known.object_key())?;
        let mut buffer = vec![0; object::PIECE_BYTES];
        loop {
            self.interrupt.check()?;
            let failed = |error| Error::from_io(error, format!("cannot copy object {}", object.name()));
            let length = reader.read(&mut buffer).map_err(failed)?;
            if length == 0 {
                break;
            }
            writer.write_all(buffer.get(..length).unwrap_or_default()).map_err(failed)?;
        }
        let written = writer.finish()?;
        Ok(Sent { object: written.object, new: written.new })
    }

    /// Copies the receipts that the destination lacks.
    fn copy_receipts(&mut self, id: &BackupId) -> Result<()> {
        let found = self.source.receipts(id)?;
        for name in found.damaged.iter().map(|(name, _)| name).chain(&found.closed) {
            self.report.remarks.push(format!("receipt {name} cannot be read and stays behind"));
        }
        if found.receipts.is_empty() {
            return Ok(());
        }
        let there = self.destination.receipts(id)?;
        if !there.closed.is_empty() {
            // Whether they are the same nobody can tell; one more would come with every copy.
            return Ok(());
        }
        for receipt in found.receipts.iter().filter(|receipt| !there.receipts.contains(receipt)) {
            self.destination.store_receipt(receipt)?;
            self.report.receipts += 1;
        }
        Ok(())
    }
}

/// Begins the copy of a backup under its id. What an interrupted copy left in its folder is removed
/// first.
///
/// # Errors
/// Locked: another run is just finishing it. The store's.
fn begin<'r>(destination: &'r Repository, id: &BackupId) -> Result<BackupDraft<'r>> {
    destination.store().remove_abandoned()?;
    BackupDraft::begin_as(destination, id)
}

/// An object in the destination.
struct Sent {
    object: Object,
    new: bool,
}

/// Whether a header is that of a copy.
fn is_same(there: &Header, header: &Header) -> bool {
    let facts = |header: &Header| {
        (header.snapshot_at, header.started_at, header.rows, header.content_bytes, header.database.clone())
    };
    facts(there) == facts(header)
}

/// What a copy's header says before it is committed.
fn header_of(header: &Header, new_bytes: u64) -> Header {
    Header { new_bytes, ..header.clone() }
}

/// The manifest with the objects as the destination has them. Two that are one there are listed
/// once.
fn with_objects(manifest: &Manifest, sent: &[Sent], object_key: Option<ObjectKey>) -> Manifest {
    let mut objects: Vec<Object> = Vec::with_capacity(sent.len());
    let mut places: HashMap<ObjectName, u32> = HashMap::new();
    let mut indexes: Vec<u32> = Vec::with_capacity(sent.len());
    for Sent { object, .. } in sent {
        let next = u32::try_from(objects.len()).unwrap_or(u32::MAX);
        let place = *places.entry(object.name()).or_insert(next);
        if place == next {
            objects.push(object.clone());
        }
        indexes.push(place);
    }
    let mut copy = Manifest { objects, object_key, ..manifest.clone() };
    let of_tables = copy.tables.iter_mut().flat_map(|table| table.chunks.iter_mut());
    for chunk in of_tables.chain(copy.large_objects.chunks.iter_mut()) {
        let index = usize::try_from(chunk.object).ok().and_then(|index| indexes.get(index));
        // A manifest whose chunks name other objects was refused when it was read.
        chunk.object = index.copied().unwrap_or(chunk.object);
    }
    copy
}

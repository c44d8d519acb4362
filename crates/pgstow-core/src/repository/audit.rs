//! The audit log: one sealed file an event, written once and never removed by anything here.
//!
//! Stores cannot append to a file, so each event has its own. The name begins with the time, so that
//! names in order are events in order; random digits keep runs of one second apart.

use super::format::audit::AuditEvent;
use super::format::id::time_text;
use super::format::layout;
use super::open::{Repository, write};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::parallel;
use crate::random;

/// What the audit log holds.
#[derive(Debug, Clone, Default)]
pub struct AuditLog {
    /// Readable events, oldest first.
    pub events: Vec<AuditEvent>,
    /// Path and fault of events that cannot be read, and of files that are none, sorted.
    pub damaged: Vec<(String, String)>,
}

impl Repository {
    /// Adds an event to the audit log and returns its path within the repository. An encrypted
    /// repository keeps no message: it may name a table.
    ///
    /// # Errors
    /// The store's.
    pub fn record(&self, event: &AuditEvent) -> Result<String> {
        let digits = u64::from_le_bytes(random::bytes()?);
        let path = layout::audit_event(&time_text(event.finished_at), digits);
        let message = event.message.clone().filter(|_| !self.is_encrypted());
        let event = AuditEvent { message, ..event.clone() };
        if write(self.store(), &path, &event.to_file())? {
            Ok(path)
        } else {
            Err(Error::failed(format!("{} exists already", self.display(&path))))
        }
    }

    /// Reads the audit log: what ended at `since` or later, or all of it.
    ///
    /// # Errors
    /// The store's, when it cannot be listed; interrupted.
    pub fn audit_log(&self, since: Option<jiff::Timestamp>, interrupt: &Interrupt) -> Result<AuditLog> {
        let since = since.map(time_text).unwrap_or_default();
        let mut log = AuditLog::default();
        let mut paths = Vec::new();
        for listed in self.store().list(layout::AUDIT)? {
            match layout::audit_time(&listed.path) {
                Some(time) if time < since.as_str() => {}
                Some(_) => paths.push(listed.path),
                None => log.damaged.push((listed.path, "is not named as events are".to_owned())),
            }
        }
        paths.sort_unstable();
        let read = parallel::for_each(&paths, interrupt, |path| self.read_event(path))?;
        for (path, outcome) in paths.into_iter().zip(read) {
            match outcome {
                Ok(event) => log.events.push(event),
                Err(why) => log.damaged.push((path, why)),
            }
        }
        log.events.sort_by_key(|event| event.finished_at);
        log.damaged.sort_unstable();
        Ok(log)
    }

    fn read_event(&self, path: &str) -> std::result::Result<AuditEvent, String> {
        let file = self.store().read_all(path, layout::HEADER_LIMIT_BYTES);
        let file = file.map_err(|error| Error::from(error).message().to_owned())?;
        AuditEvent::from_file(&file).map_err(|error| error.to_string())
    }
}

//! Whether the source's log is on disk as far as the snapshot reaches.
//!
//! A commit may be visible before its record is on disk (`synchronous_commit = off`). A crash then
//! takes it back, and its transaction id is used again. Whatever an earlier backup saw must
//! therefore have been flushed before it ends: then no crash can take it back. Commit and abort records
//! of every transaction older than the snapshot's `xmin` were inserted before the snapshot was
//! taken, so the log position read after it bounds them all.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::postgres::connection::Connection;

/// Shortest and longest time that a backup waits for the server's log.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(20));
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of the header of a page of the log, and of the first page of a segment
/// (`XLogPageHeaderData`, `XLogLongPageHeaderData`). The insert position lies behind the header of a
/// page of which nothing else is written yet, the flush position before it.
const PAGE_HEADER_BYTES: u64 = 24;
const SEGMENT_HEADER_BYTES: u64 = 40;

/// How far the log reached when the snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backup) struct Flush {
    /// `pg_current_wal_insert_lsn()` after the snapshot, in bytes; `None` on a standby.
    inserted: Option<u64>,
}

impl Flush {
    /// `inserted` is the insert position that was read after the snapshot, in bytes.
    pub(in crate::backup) fn new(inserted: Option<u64>) -> Self {
        Self { inserted }
    }

    /// Whether the log is on disk by now.
    ///
    /// # Errors
    /// The server's.
    pub(in crate::backup) fn is_done(self, connection: &mut Connection) -> Result<bool> {
        let Some(inserted) = self.inserted else { return Ok(false) };
        let rows = connection.query(
            "SELECT (pg_catalog.pg_current_wal_flush_lsn() - '0/0'::pg_catalog.pg_lsn)::pg_catalog.int8, \
             pg_catalog.current_setting('wal_block_size')::pg_catalog.int8, \
             pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))",
        )?;
        let row = rows.only()?;
        let log = Log { page_bytes: row.get(1)?, segment_bytes: row.get(2)? };
        Ok(log.covers(row.get(0)?, inserted))
    }

    /// Makes the server write its log, if it has not done so. Outside of a transaction.
    ///
    /// On a quiet server nobody flushes what is in no commit (reading prunes pages, and that is
    /// logged). So a transaction id is asked for, whose commit makes the server flush all before it.
    ///
    /// # Errors
    /// The server's.
    pub(in crate::backup) fn nudge(self, connection: &mut Connection) -> Result<()> {
        if self.inserted.is_some() && !self.is_done(connection)? {
            connection.query("SELECT pg_catalog.txid_current()")?;
        }
        Ok(())
    }

    /// Waits for it: at most as long as the backup took so far, within limits. Outside of a
    /// transaction.
    ///
    /// # Errors
    /// The server's; interrupted.
    pub(in crate::backup) fn wait(
        self,
        connection: &mut Connection,
        taken: Duration,
        interrupt: &Interrupt,
    ) -> Result<bool> {
        let patience = taken.clamp(PATIENCE.0, PATIENCE.1);
        let begun = Instant::now();
        let mut nudged = false;
        loop {
            interrupt.check()?;
            if self.is_done(connection)? {
                return Ok(true);
            }
            if !nudged {
                self.nudge(connection)?;
                nudged = true;
            }
            if self.inserted.is_none() || begun.elapsed() >= patience {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// How the log is divided.
#[derive(Clone, Copy)]
struct Log {
    page_bytes: u64,
    segment_bytes: u64,
}

impl Log {
    /// Whether a log flushed up to `flushed` holds every record before `inserted`.
    fn covers(self, flushed: u64, inserted: u64) -> bool {
        if flushed >= inserted {
            return true;
        }
        let starts = |bytes: u64| bytes > 0 && flushed.is_multiple_of(bytes);
        let header = match (starts(self.page_bytes), starts(self.segment_bytes)) {
            (false, _) => return false,
            (true, false) => PAGE_HEADER_BYTES,
            (true, true) => SEGMENT_HEADER_BYTES,
        };
        inserted - flushed == header
    }
}

#[cfg(test)]
mod tests {
    use super::Log;

    const LOG: Log = Log { page_bytes: 8192, segment_bytes: 16 << 20 };

    #[test]
    fn the_log_is_on_disk_when_nothing_but_a_page_header_lies_behind_the_flush() {
        assert!(LOG.covers(8192 * 5, 8192 * 5));
        assert!(LOG.covers(8192 * 5 + 9, 8192 * 5 + 1));
        assert!(LOG.covers(8192 * 5, 8192 * 5 + 24));
        assert!(LOG.covers(16 << 20, (16 << 20) + 40));
    }

    #[test]
    fn the_end_of_a_record_behind_a_page_header_is_not_on_disk() {
        assert!(!LOG.covers(8192 * 5, 8192 * 5 + 32));
        assert!(!LOG.covers(8192 * 5, 8192 * 5 + 40));
        assert!(!LOG.covers(8192 * 5 + 8, 8192 * 5 + 32));
        assert!(!LOG.covers(16 << 20, (16 << 20) + 24));
    }
}

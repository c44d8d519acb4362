//! Looks after the leader while readers work: is it still there, and whom does it hold up?
//!
//! Without the leader's session the locks are gone and the backup is worth nothing. And a
//! statement that waits for one of our locks makes others wait behind it: users should know.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::monitor::{Event, Monitor};
use crate::postgres::connection::Connection;
use crate::postgres::identifier::display_name;

/// Sessions that wait for a lock this session holds, with the table.
const WAITING: &str = "SELECT l.pid, n.nspname, c.relname FROM pg_catalog.pg_locks l \
     JOIN pg_catalog.pg_class c ON c.oid = l.relation \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE NOT l.granted AND l.locktype = 'relation' \
     AND pg_catalog.pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids(l.pid))";

/// Whether any session waits for the leader; false when the leader cannot be asked.
pub(super) fn holds_up(leader: &mut Connection) -> bool {
    leader.query(WAITING).is_ok_and(|rows| !rows.is_empty())
}

/// Sessions that were already reported as waiting.
#[derive(Debug, Default)]
pub(super) struct Watch {
    reported: BTreeSet<i32>,
}

impl Watch {
    /// Asks the server over the leader's session; warns once of each session that waits for it.
    ///
    /// # Errors
    /// When the leader's session is gone.
    pub(super) fn look(&mut self, leader: &mut Connection, monitor: &dyn Monitor) -> Result<()> {
        let rows = leader
            .query(WAITING)
            .map_err(|error| Error::failed("the session that holds the locks was lost").source(error))?;
        for row in rows.iter() {
            let pid: i32 = row.get(0)?;
            if self.reported.insert(pid) {
                let table = display_name(row.get(1)?, row.get(2)?);
                let message = format!(
                    "process {pid} waits to change {table} until this backup is done, and others may queue behind it"
                );
                monitor.event(Event::Warning { message: &message });
            }
        }
        Ok(())
    }
}

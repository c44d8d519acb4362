//! Jobs of pg_cron.

use crate::inventory::catalog::CronJob;
use crate::postgres::connection::Connection;
use crate::postgres::error::QueryError;

/// Whether there is a table of jobs that this role may read. A table of the same name that is
/// something else has other columns.
const READABLE: &str = "
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'cron' AND c.relname = 'job' AND c.relkind = 'r'
       AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
       AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attnum > 0
               AND (a.attname, a.atttypid) IN (('jobid', 'int8'::pg_catalog.regtype),
                       ('schedule', 'text'::pg_catalog.regtype), ('command', 'text'::pg_catalog.regtype),
                       ('database', 'text'::pg_catalog.regtype), ('username', 'text'::pg_catalog.regtype),
                       ('active', 'bool'::pg_catalog.regtype))) = 6)";

/// Names came with version 1.3.
const JOBS: &str = "
SELECT pg_catalog.to_jsonb(job) ->> 'jobname', job.schedule, job.command, job.active
  FROM cron.job job
 WHERE job.database = pg_catalog.current_database() AND job.username = CURRENT_USER
 ORDER BY job.jobid";

/// Reads the jobs of this database that run as the session's role; none where there is no pg_cron
/// or its table cannot be read. Needs a transaction.
///
/// # Errors
/// The server's.
pub fn read_jobs(connection: &mut Connection) -> Result<Vec<CronJob>, QueryError> {
    if !connection.query(READABLE)?.only()?.get::<bool>(0)? {
        return Ok(Vec::new());
    }
    // pg_cron's policy shows each role its own jobs, and these are wanted.
    connection.execute("SET LOCAL row_security = on")?;
    let rows = connection.query(JOBS)?;
    connection.execute("SET LOCAL row_security = off")?;
    rows.iter()
        .map(|row| {
            Ok(CronJob {
                name: row.get(0)?,
                schedule: row.get(1)?,
                command: row.get(2)?,
                active: row.get(3)?,
            })
        })
        .collect()
}

//! Tells a transaction pooler from a server or a session pooler, before any setting is sent.
//!
//! Through a transaction pooler a session's settings land on whatever server process comes next
//! and stay there for other clients: one `SET search_path` breaks an application. So nothing but
//! plain queries is sent until it is clear that the session keeps its server process.

use super::connection::Connection;
use super::error::QueryError;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// How often it is tried: on a busy pooler the same process may come back by chance.
const ROUNDS: usize = 8;

/// Refuses a connection that does not keep its server process between transactions.
///
/// Behind any pooler the process id of the login is not the server's. Then a second connection
/// opens a transaction: a transaction pooler gives it the process that served the first one a
/// moment ago, or the first one has another process afterwards.
///
/// # Errors
/// Refused, with the remedy; the server's.
pub fn refuse_transaction_pooler(connection: &mut Connection, interrupt: &Interrupt) -> Result<()> {
    let first = server_process(connection)?;
    if first == connection.process_id() {
        return Ok(());
    }
    let mut other = Connection::open(connection.settings(), interrupt)?;
    for _ in 0..ROUNDS {
        other.execute("BEGIN")?;
        let second = server_process(&mut other)?;
        let kept = second != first && server_process(connection)? == first;
        other.execute("ROLLBACK")?;
        if !kept {
            return Err(refusal(connection.endpoint()));
        }
    }
    Ok(())
}

fn server_process(connection: &mut Connection) -> Result<i32, QueryError> {
    connection.query("SELECT pg_catalog.pg_backend_pid()")?.only()?.get(0)
}

fn refusal(endpoint: &str) -> Error {
    let refused = Error::refused(format!("this connection goes through a transaction pooler ({endpoint})"))
        .why("one session is needed from start to end; through this pooler settings would leak into other clients");
    let refused = match endpoint.strip_suffix(":6543") {
        Some(host) => refused.hint(format!("port 5432 on the same host: {host}:5432 (a session pooler)")),
        None => refused.hint("the port of a session pooler"),
    };
    refused.hint("or the server itself, without a pooler")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_names_the_session_pooler_beside_a_usual_transaction_pooler() {
        let hints = |endpoint| refusal(endpoint).hints().join("; ");
        assert!(hints("db.example.com:6543").contains("db.example.com:5432"));
        assert!(!hints("db.example.com:7000").contains("5432"));
    }
}

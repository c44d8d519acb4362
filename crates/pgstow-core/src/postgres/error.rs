//! What can go wrong between us and a server.

use std::fmt;
use std::io::{self, ErrorKind};

use super::identifier::quote_identifier;
use super::settings::Host;
use super::{reach, supabase};
use crate::error::Error;

/// A five-character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SqlState(pub [u8; 5]);

impl fmt::Debug for SqlState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SqlState({self})")
    }
}

impl SqlState {
    /// The code as text; `?????` when a server sent something else than ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("?????")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An ErrorResponse of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL` … (not localised).
    pub severity: String,
    /// SQLSTATE.
    pub code: SqlState,
    /// Primary message.
    pub message: String,
    /// Detail.
    pub detail: Option<String>,
    /// Hint.
    pub hint: Option<String>,
    /// Context.
    pub context: Option<String>,
}

impl ServerError {
    /// Whether it ends the session.
    pub fn is_fatal(&self) -> bool {
        self.severity == "FATAL" || self.severity == "PANIC"
    }

    /// Data exceptions and constraint violations quote the row in their detail.
    fn detail_holds_values(&self) -> bool {
        matches!(&self.code.0[..2], b"22" | b"23")
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.detail {
            Some(detail) if !self.detail_holds_values() => write!(formatter, " ({detail})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ServerError {}

/// A statement or COPY that did not work.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The server said so; the session goes on.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The connection is gone or the server broke the protocol; the session is over.
    #[error("the connection to the server was lost")]
    Lost(#[source] io::Error),
    /// The user interrupted the run.
    #[error("interrupted")]
    Interrupted,
    /// The receiver of COPY data failed; the session is still in sync unless `Lost` follows.
    #[error("the data could not be passed on")]
    Sink(#[source] io::Error),
    /// The result does not have the expected shape.
    #[error("unexpected result: {0}")]
    Shape(String),
}

impl QueryError {
    /// The server's code, if the server answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(error.code.as_str()),
            _ => None,
        }
    }

    /// Whether the session is over.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Interrupted)
            || matches!(self, Self::Server(error) if error.is_fatal())
    }
}

/// A connection that was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers there.
    #[error("cannot connect to {host}")]
    Unreachable {
        /// Where.
        host: Host,
        /// Whether the host has IPv6 addresses and no other.
        only_ipv6: bool,
        /// What the system said.
        source: io::Error,
    },
    /// The server refused the login (wrong password, no such role, database or pg_hba line).
    #[error("{host} refused the connection")]
    Refused {
        /// Where.
        host: Host,
        /// The role.
        user: String,
        /// The database.
        database: String,
        /// What it said.
        source: Box<ServerError>,
    },
    /// A password is needed and none is known.
    #[error("{host} asks for a password and none is known for role {user}")]
    NoPassword {
        /// Where.
        host: Host,
        /// The role.
        user: String,
    },
    /// TLS was asked for and cannot be had, or the certificate is not to be trusted.
    #[error("no secure connection to {host}: {reason}")]
    Tls {
        /// Where.
        host: Host,
        /// Why.
        reason: String,
    },
    /// The server talks something we do not know.
    #[error("{host} does not answer as a PostgreSQL server: {reason}")]
    Protocol {
        /// Where.
        host: Host,
        /// What was seen.
        reason: String,
    },
    /// The user interrupted the run.
    #[error("interrupted")]
    Interrupted,
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Interrupted => Self::interrupted(),
            ConnectError::Unreachable { host, only_ipv6, source } => unreachable_host(&host, only_ipv6, source),
            ConnectError::Refused { host, user, database, source } => {
                refused_login(&host, &user, &database, *source)
            }
            ConnectError::NoPassword { host, user } => {
                Self::failed(format!("{host} asks for the password of role {user}, and none is known"))
                    .hint("put the password into the URL, PGPASSWORD or a password file (~/.pgpass), or configure password_command")
            }
            ConnectError::Tls { host, reason } => {
                Self::failed(format!("no secure connection to {host}")).why(reason).hint(
                    "sslmode and sslrootcert in the URL say what is verified and against which certificate",
                )
            }
            ConnectError::Protocol { host, reason } => {
                Self::failed(format!("{host} does not answer as a PostgreSQL server"))
                    .why(reason)
                    .hint("check host and port")
            }
        }
    }
}

fn unreachable_host(host: &Host, only_ipv6: bool, source: io::Error) -> Error {
    let base = Error::failed(format!("cannot connect to {host}"));
    let project = supabase::project(host);
    if let (Some(project), ErrorKind::TimedOut, true) = (project, source.kind(), only_ipv6) {
        return base
            .why("no answer in time over IPv6, and this host has no other address")
            .hint(supabase::session_pooler(project))
            .source(source);
    }
    if only_ipv6 && reach::has_no_way(&source) {
        let base = base.why("it has an IPv6 address only, and this machine has no way to it over IPv6");
        return match project {
            Some(project) => base.hint(supabase::session_pooler(project)),
            None => base.hint("give this machine IPv6, or name a host that has an IPv4 address"),
        }
        .source(source);
    }
    let (why, hint) = match (source.kind(), host) {
        (ErrorKind::ConnectionRefused, _) => (
            "nothing listens there",
            "is the server running, and is this its port? a firewall may also refuse",
        ),
        (ErrorKind::NotFound, Host::Socket { .. }) => {
            ("there is no such socket", "is the server running? over the network, give its host name")
        }
        (ErrorKind::PermissionDenied, Host::Socket { .. }) => (
            "this user may not use the socket",
            "run as a user who may, or connect over TCP (host=localhost)",
        ),
        (ErrorKind::TimedOut, _) => (
            "no answer in time",
            "is the host up and the port open in every firewall? connect_timeout sets the limit",
        ),
        (ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable, _) => {
            ("there is no way to this address", "check the network and its routes")
        }
        (ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset, _) => (
            "the server closed the connection during the login",
            "its log says why; a proxy in between may also have closed it",
        ),
        _ if source.raw_os_error().is_none() => {
            let base = base.hint("check the spelling of the host name and the name server");
            return match project {
                Some(project) => base.hint(supabase::session_pooler(project)),
                None => base,
            }
            .source(source);
        }
        _ => return base.source(source).hint("check host and port"),
    };
    base.why(why).hint(hint).source(source)
}

fn refused_login(host: &Host, user: &str, database: &str, source: ServerError) -> Error {
    let base = Error::failed(format!("{host} refused role {user} for database {database}"));
    let hint = match source.code.as_str() {
        _ if supabase::is_pooler(host) && !user.contains('.') => format!(
            "through Supabase's pooler the role is called {user}.PROJECT, with the project's reference"
        ),
        "28P01" => format!("check the password of role {user}; in a URL, % begins an escape (write %25)"),
        "28000" if source.message.contains("no encryption") || source.message.contains("SSL off") => {
            "the server wants encryption: sslmode=require".to_owned()
        }
        "28000" if source.message.contains("pg_hba.conf") => {
            format!("the server's pg_hba.conf must allow role {user} from this address; sslmode may matter")
        }
        "28000" => format!("check the role {user}: it must exist and may log in this way"),
        "3D000" => format!(
            "check the name {database}: `psql -l` lists databases; CREATE DATABASE {}; makes one",
            quote_identifier(database)
        ),
        "53300" => "all connections are taken: end some, raise max_connections, or use fewer jobs".to_owned(),
        "57P03" => "the server starts up or shuts down: try again in a moment".to_owned(),
        "42501" => format!("GRANT CONNECT ON DATABASE … TO the role {user}"),
        _ => "the server's log may say more".to_owned(),
    };
    base.hint(hint).source(source)
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Interrupted => Self::interrupted(),
            QueryError::Server(server) => {
                let hint = server.hint.clone();
                let base = Self::failed(format!("the server reported {}", server.code)).source(*server);
                match hint {
                    Some(hint) => base.hint(hint),
                    None => base,
                }
            }
            other => Self::failed("the server could not be asked").source(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(host: &str, only_ipv6: bool, source: io::Error) -> String {
        let host = Host::Tcp { host: host.to_owned(), address: None, port: 5432 };
        let error = unreachable_host(&host, only_ipv6, source);
        format!("{}|{}", error.reason().unwrap_or_default(), error.hints().join("|"))
    }

    #[test]
    fn a_machine_without_ipv6_is_told_so_and_how_a_supabase_project_is_reached() {
        use rustix::io::Errno;
        for errno in [Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT] {
            let source = || io::Error::from(errno);
            let shown = hints("db.abcd.supabase.co", true, source());
            for part in ["an IPv6 address only", "session pooler", "port 5432", "user postgres.abcd"] {
                assert!(shown.contains(part), "{errno}: {shown}");
            }
            let shown = hints("db.example.com", true, source());
            assert!(shown.contains("give this machine IPv6") && !shown.contains("supabase"), "{shown}");
            let shown = hints("db.abcd.supabase.co", false, source());
            assert!(!shown.contains("IPv6"), "{shown}");
        }
        assert!(hints("db.abcd.supabase.co", true, ErrorKind::TimedOut.into()).contains("postgres.abcd"));
        assert!(!hints("db.abcd.supabase.co", false, ErrorKind::TimedOut.into()).contains("pooler"));
        let unknown = || io::Error::other("no address associated with the name");
        assert!(hints("db.abcd.supabase.co", false, unknown()).contains("session pooler"));
        assert!(!hints("db.example.com", false, unknown()).contains("pooler"));
    }

    #[test]
    fn a_role_without_a_project_is_explained_where_the_pooler_refuses_it() {
        let refused = |host: &str, user: &str| {
            let host = Host::Tcp { host: host.to_owned(), address: None, port: 5432 };
            let source = ServerError {
                severity: "FATAL".to_owned(),
                code: SqlState(*b"XX000"),
                message: "Tenant or user not found".to_owned(),
                detail: None,
                hint: None,
                context: None,
            };
            refused_login(&host, user, "postgres", source).hints().join("|")
        };
        let pooler = "aws-0-eu-central-1.pooler.supabase.com";
        assert!(refused(pooler, "postgres").contains("postgres.PROJECT"));
        assert!(!refused(pooler, "postgres.abcd").contains("PROJECT"));
        assert!(!refused("db.example.com", "postgres").contains("PROJECT"));
    }
}

//! What a connection needs to know, after every source of it has been read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::secret::Secret;

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// Plain first, TLS when the server insists.
    Allow,
    /// TLS when the server offers it.
    #[default]
    Prefer,
    /// TLS always; the certificate is verified only when a root file is given.
    Require,
    /// TLS with a certificate from a trusted root.
    VerifyCa,
    /// The same, and the certificate names the host.
    VerifyFull,
}

/// libpq's `channel_binding`: whether the password proof is tied to the TLS channel, so that
/// nobody in the middle can pass it on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// When the server offers it.
    #[default]
    Prefer,
    /// Always; a login without it fails.
    Require,
}

/// The client's own certificate, for servers that ask for one (`sslcert`, `sslkey`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM file of the certificate and the intermediates that follow it. A file that does not
    /// exist means none, as in libpq.
    pub certificate: PathBuf,
    /// File of its private key, open to its owner only.
    pub key: PathBuf,
}

/// Whether a client certificate is sent (`sslcertmode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CertificateMode {
    /// Never.
    Disable,
    /// When the server asks for one and there is one.
    #[default]
    Allow,
    /// Always: a server that does not ask is not talked to.
    Require,
}

/// What the system does about a TCP connection on which nothing is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalives {
    /// Whether the system asks a silent peer if it is still there.
    pub enabled: bool,
    /// Silence before it first asks; `None` leaves it to the system, as do the other two.
    pub idle: Option<Duration>,
    /// Time between questions without an answer.
    pub interval: Option<Duration>,
    /// Unanswered questions after which the connection counts as lost.
    pub probes: Option<u32>,
    /// How long sent data may stay unacknowledged before the connection counts as lost.
    pub user_timeout: Option<Duration>,
}

impl Default for Keepalives {
    /// Short enough for the address translators that forget idle connections after a few minutes.
    fn default() -> Self {
        Self {
            enabled: true,
            idle: Some(Duration::from_secs(60)),
            interval: Some(Duration::from_secs(15)),
            probes: Some(6),
            user_timeout: None,
        }
    }
}

/// One place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A directory that holds `.s.PGSQL.<port>`.
    Socket {
        /// The directory.
        directory: PathBuf,
        /// The port in the socket's name.
        port: u16,
    },
    /// A TCP host.
    Tcp {
        /// Name or address, as TLS and password files know it.
        host: String,
        /// Address to connect to instead of looking the name up (`hostaddr`).
        address: Option<std::net::IpAddr>,
        /// Port.
        port: u16,
    },
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { directory, port } => write!(formatter, "{}:{port}", directory.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(formatter, "{host}:{port}"),
        }
    }
}

/// All that is needed to connect. Debug output holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Tried in order; never empty.
    pub hosts: Vec<Host>,
    /// Role.
    pub user: String,
    /// Password, if one is known for all hosts.
    pub password: Option<Secret>,
    /// Database.
    pub database: String,
    /// TLS.
    pub ssl_mode: SslMode,
    /// File of trusted roots; may hold several certificates. `system` means the system's.
    pub ssl_root_cert: Option<PathBuf>,
    /// The client's certificate, if it has one.
    pub ssl_client: Option<ClientCertificate>,
    /// Whether it is sent.
    pub ssl_cert_mode: CertificateMode,
    /// Whether the server is told which host is meant (`sslsni`).
    pub ssl_server_name: bool,
    /// Whether SCRAM is bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// Limit for connecting and logging in to one address of a host.
    pub connect_timeout: Option<Duration>,
    /// How a dead TCP connection is noticed.
    pub keepalives: Keepalives,
    /// `application_name`.
    pub application_name: String,
    /// `options` of the start-up packet, if given.
    pub options: Option<String>,
    /// Content of the password file, parsed; looked up by host when `password` is `None`.
    pub pass_entries: Vec<PassEntry>,
    /// The schema that an application parameter (`?schema=`) names, if any.
    pub schema: Option<String>,
    /// Remarks for the user: parameters of other programs that were ignored.
    pub notes: Vec<String>,
}

/// A line of a password file; `None` matches anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassEntry {
    /// Host name, address or socket directory (`localhost` for the default directory).
    pub host: Option<String>,
    /// Port.
    pub port: Option<String>,
    /// Database.
    pub database: Option<String>,
    /// Role.
    pub user: Option<String>,
    /// Password.
    pub password: Secret,
}

/// Directories whose sockets a password file calls `localhost`: the default directory of Debian's
/// packages under both of its names, and PostgreSQL's own.
const DEFAULT_SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

impl ConnectionSettings {
    /// Settings with libpq's defaults for everything else.
    pub fn new(host: Host, user: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            hosts: vec![host],
            user: user.into(),
            password: None,
            database: database.into(),
            ssl_mode: SslMode::default(),
            ssl_root_cert: None,
            ssl_client: None,
            ssl_cert_mode: CertificateMode::default(),
            ssl_server_name: true,
            channel_binding: ChannelBinding::default(),
            connect_timeout: None,
            keepalives: Keepalives::default(),
            application_name: "pgstow".to_owned(),
            options: None,
            pass_entries: Vec::new(),
            schema: None,
            notes: Vec::new(),
        }
    }

    /// The password for one host: the given one, or the first matching entry of the password file.
    pub fn password_for(&self, host: &Host) -> Option<Secret> {
        if self.password.is_some() {
            return self.password.clone();
        }
        let (name, port) = match host {
            Host::Socket { directory, port } => {
                let is_default = DEFAULT_SOCKET_DIRECTORIES.iter().any(|known| directory == Path::new(known));
                (if is_default { "localhost".to_owned() } else { directory.display().to_string() }, port)
            }
            Host::Tcp { host, port, .. } => (host.clone(), port),
        };
        let port = port.to_string();
        let fits = |field: &Option<String>, value: &str| field.as_deref().is_none_or(|field| field == value);
        let entry = self.pass_entries.iter().find(|entry| {
            fits(&entry.host, &name)
                && fits(&entry.port, &port)
                && fits(&entry.database, &self.database)
                && fits(&entry.user, &self.user)
        })?;
        Some(entry.password.clone())
    }
}

//! From what a connection string says to settings: PG* variables, password file and defaults fill
//! the gaps.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::parameters::{Parameters, UNSUPPORTED_VARIABLES, VARIABLES, is_word, suggestion};
use super::{Surroundings, usage};
use crate::error::{Error, Result};
use crate::postgres::passfile;
use crate::postgres::settings::{ChannelBinding, ConnectionSettings, Host, PassEntry, Secret, SslMode};

const DEFAULT_PORT: u16 = 5432;
const APPLICATION_NAME: &str = "pgstow";
/// Where Debian's packages put the socket, and where PostgreSQL itself does.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

struct Settling<'s> {
    given: Parameters,
    surroundings: &'s dyn Surroundings,
    notes: Vec<String>,
}

/// Fills the gaps.
pub(super) fn settle(given: Parameters, surroundings: &dyn Surroundings) -> Result<ConnectionSettings> {
    let mut settling = Settling { given, surroundings, notes: Vec::new() };
    settling.note_what_is_ignored();
    settling.refuse_what_cannot_be_had()?;
    let user = settling.user()?;
    let (ssl_mode, ssl_root_cert) = settling.tls()?;
    let password = settling.value("password").map(Secret::new);
    let pass_entries = if password.is_some() { Vec::new() } else { settling.pass_entries() };
    Ok(ConnectionSettings {
        hosts: settling.hosts()?,
        database: settling.value("dbname").unwrap_or_else(|| user.clone()),
        user,
        password,
        ssl_mode,
        ssl_root_cert,
        channel_binding: settling.channel_binding()?,
        connect_timeout: settling.connect_timeout()?,
        application_name: settling
            .value("application_name")
            .or_else(|| settling.value("fallback_application_name"))
            .unwrap_or_else(|| APPLICATION_NAME.to_owned()),
        options: settling.value("options"),
        pass_entries,
        schema: settling.value("schema"),
        notes: settling.notes,
    })
}

impl Settling<'_> {
    /// The given value, or the one of the PG* variable when nothing is given. An empty value
    /// stands for the default.
    fn value(&self, name: &str) -> Option<String> {
        let value = match self.given.get(name) {
            Some(value) => Some(value.to_owned()),
            None => {
                let variable = VARIABLES.iter().find(|(parameter, _)| *parameter == name);
                variable.and_then(|(_, variable)| self.surroundings.variable(variable))
            }
        };
        value.filter(|value| !value.is_empty())
    }

    fn user(&self) -> Result<String> {
        self.value("user").or_else(|| self.surroundings.user()).ok_or_else(|| {
            usage("no role is given, and the operating system's user has no name")
                .hint("put the role into the URL (postgres://role@host/database) or PGUSER")
        })
    }

    fn hosts(&self) -> Result<Vec<Host>> {
        let names = self.list("host");
        let addresses = self.list("hostaddr");
        let ports = self.list("port");
        let count = names.len().max(addresses.len()).max(1);
        for (name, list) in [("host", &names), ("hostaddr", &addresses)] {
            if !list.is_empty() && list.len() != count {
                return Err(usage("host and hostaddr name different numbers of hosts").hint(format!(
                    "give {count} entries in {name}, separated by commas; an entry may be empty"
                )));
            }
        }
        if ports.len() > 1 && ports.len() != count {
            return Err(usage(format!("{} ports are given for {count} hosts", ports.len()))
                .hint("give one port for all hosts, or one for each"));
        }
        (0..count)
            .map(|index| {
                let entry = |list: &[String]| list.get(index).filter(|entry| !entry.is_empty()).cloned();
                let port = if ports.len() == 1 { ports.first().cloned() } else { entry(&ports) };
                self.host(entry(&names), entry(&addresses), port)
            })
            .collect()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let value = self.value(name).unwrap_or_default();
        if value.is_empty() {
            Vec::new()
        } else {
            value.split(',').map(|entry| entry.trim().to_owned()).collect()
        }
    }

    fn host(&self, name: Option<String>, address: Option<String>, port: Option<String>) -> Result<Host> {
        let port = match port.filter(|port| !port.is_empty()) {
            None => DEFAULT_PORT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| usage("port (or PGPORT) is not a number from 1 to 65535"))?,
        };
        let address = match address {
            None => None,
            Some(text) => Some(text.parse::<IpAddr>().map_err(|_| {
                usage("hostaddr (or PGHOSTADDR) is not an IP address").hint("host takes names")
            })?),
        };
        Ok(match (name, address) {
            (Some(directory), None) if directory.starts_with('/') => {
                Host::Socket { directory: PathBuf::from(directory), port }
            }
            (Some(host), address) => Host::Tcp { host, address, port },
            (None, Some(address)) => Host::Tcp { host: address.to_string(), address: Some(address), port },
            (None, None) => Host::Socket { directory: self.socket_directory(), port },
        })
    }

    fn socket_directory(&self) -> PathBuf {
        let found = SOCKET_DIRECTORIES.iter().find(|path| self.surroundings.mode(Path::new(path)).is_some());
        PathBuf::from(found.unwrap_or(&SOCKET_DIRECTORIES[1]))
    }

    fn tls(&self) -> Result<(SslMode, Option<PathBuf>)> {
        let root = self.value("sslrootcert");
        let from_system = root.as_deref() == Some("system");
        let mode = match self.value("sslmode") {
            Some(mode) => Some(read_ssl_mode(&mode)?),
            None if self.given.get("ssl").is_some_and(|value| matches!(value, "true" | "1")) => {
                Some(SslMode::Require)
            }
            None => None,
        };
        if from_system && mode.is_some_and(|mode| mode != SslMode::VerifyFull) {
            return Err(usage("sslrootcert=system works with sslmode=verify-full only").why(
                "anyone can get a certificate that the system's roots trust: only its name tells servers apart",
            ));
        }
        let mode = mode.unwrap_or(if from_system { SslMode::VerifyFull } else { SslMode::default() });
        if let Some(root) = root {
            return Ok((mode, Some(PathBuf::from(root))));
        }
        let default = self.surroundings.home().map(|home| home.join(".postgresql").join("root.crt"));
        let existing = default.clone().filter(|path| self.surroundings.mode(path).is_some());
        if existing.is_none() && matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) {
            let place =
                default.map_or("~/.postgresql/root.crt".to_owned(), |path| path.display().to_string());
            return Err(usage(format!(
                "sslmode verifies the server, but there is no root certificate {place}"
            ))
            .hint("give the file with sslrootcert, or use the system's roots: sslrootcert=system"));
        }
        Ok((mode, existing))
    }

    fn channel_binding(&self) -> Result<ChannelBinding> {
        match self.value("channel_binding").as_deref() {
            None | Some("prefer") => Ok(ChannelBinding::Prefer),
            Some("disable") => Ok(ChannelBinding::Disable),
            Some("require") => Ok(ChannelBinding::Require),
            Some(_) => Err(bad_choice("channel_binding", "disable, prefer, require")),
        }
    }

    fn connect_timeout(&self) -> Result<Option<Duration>> {
        let Some(text) = self.value("connect_timeout") else { return Ok(None) };
        let seconds: i64 = text.trim().parse().map_err(|_| {
            usage("connect_timeout (or PGCONNECT_TIMEOUT) is not a number of seconds")
                .hint("0 means no limit")
        })?;
        Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }

    fn pass_entries(&mut self) -> Vec<PassEntry> {
        let explicit = self.value("passfile").map(PathBuf::from);
        let is_explicit = explicit.is_some();
        let Some(path) = explicit.or_else(|| self.surroundings.home().map(|home| home.join(".pgpass")))
        else {
            return Vec::new();
        };
        let shown = path.display();
        if self.surroundings.mode(&path).is_some_and(passfile::is_exposed) {
            self.notes.push(format!(
                "password file {shown} was ignored: other users may read it; chmod 600 {shown} makes it private"
            ));
            return Vec::new();
        }
        match self.surroundings.read(&path) {
            Ok(Some(content)) => passfile::parse(&content),
            Ok(None) => {
                if is_explicit {
                    self.notes.push(format!("password file {shown} does not exist"));
                }
                Vec::new()
            }
            Err(error) => {
                self.notes.push(format!("password file {shown} was ignored: {error}"));
                Vec::new()
            }
        }
    }

    fn note_what_is_ignored(&mut self) {
        if !self.given.foreign.is_empty() {
            self.notes
                .push(format!("ignored parameters of other programs: {}", self.given.foreign.join(", ")));
        }
        if self.given.foreign.iter().any(|name| name == "sslaccept") {
            self.notes
                .push("sslaccept has no effect: sslmode and sslrootcert say what is verified".to_owned());
        }
        for name in &self.given.unknown {
            let meant = suggestion(name).map(|known| format!(" (did you mean {known}?)")).unwrap_or_default();
            let shown = if is_word(name) { name } else { "with an unusual name" };
            self.notes.push(format!("ignored unknown parameter {shown}{meant}"));
        }
        for variable in UNSUPPORTED_VARIABLES {
            if self.surroundings.variable(variable).is_some_and(|value| !value.is_empty()) {
                self.notes.push(format!("ignored environment variable {variable}: it is not supported"));
            }
        }
    }

    fn refuse_what_cannot_be_had(&self) -> Result<()> {
        if self.value("gssencmode").as_deref() == Some("require") {
            return Err(usage("gssencmode=require cannot be had: GSSAPI encryption is not supported")
                .hint("leave it out; sslmode asks for TLS"));
        }
        if self.value("sslnegotiation").is_some_and(|value| value != "postgres") {
            return Err(usage("sslnegotiation cannot be other than postgres").hint("leave it out"));
        }
        if self.value("target_session_attrs").is_some_and(|value| value != "any") {
            return Err(usage("target_session_attrs (or PGTARGETSESSIONATTRS) cannot be other than any")
                .hint("name only the hosts of the kind you want"));
        }
        Ok(())
    }
}

fn read_ssl_mode(text: &str) -> Result<SslMode> {
    Ok(match text {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            return Err(bad_choice("sslmode", "disable, allow, prefer, require, verify-ca, verify-full"));
        }
    })
}

fn bad_choice(name: &str, choices: &str) -> Error {
    usage(format!("the value of {name} is not known")).hint(format!("known are {choices}"))
}

//! From what a connection string says to settings: service file, PG* variables, password file and
//! defaults fill the gaps.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::parameters::{Parameters, UNSUPPORTED_VARIABLES, VARIABLES, is_word, suggestion};
use super::{Surroundings, service, usage};
use crate::error::{Error, Result};
use crate::postgres::passfile;
use crate::postgres::settings::{ConnectionSettings, Host, Keepalives, PassEntry, Secret};

const DEFAULT_PORT: u16 = 5432;
/// The system takes no more.
const LONGEST_KEEPALIVE_SECONDS: i32 = 32_767;
const MOST_KEEPALIVE_PROBES: i32 = 127;
const APPLICATION_NAME: &str = "pgstow";
/// Where Debian's packages put the socket, and where PostgreSQL itself does.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

pub(super) struct Settling<'s> {
    pub(super) given: Parameters,
    pub(super) surroundings: &'s dyn Surroundings,
    pub(super) notes: Vec<String>,
}

/// Fills the gaps.
pub(super) fn settle(mut given: Parameters, surroundings: &dyn Surroundings) -> Result<ConnectionSettings> {
    service::fill(&mut given, surroundings)?;
    let mut settling = Settling { given, surroundings, notes: Vec::new() };
    settling.note_what_is_ignored();
    settling.refuse_what_cannot_be_had()?;
    let user = settling.user()?;
    let (ssl_mode, ssl_root_cert) = settling.server_verification()?;
    let ssl_cert_mode = settling.certificate_mode()?;
    let ssl_client = settling.client_certificate(ssl_mode, ssl_cert_mode);
    let password = settling.value("password").map(Secret::new);
    let pass_entries = if password.is_some() { Vec::new() } else { settling.pass_entries() };
    Ok(ConnectionSettings {
        hosts: settling.hosts()?,
        database: settling.value("dbname").unwrap_or_else(|| user.clone()),
        user,
        password,
        ssl_mode,
        ssl_root_cert,
        ssl_client,
        ssl_cert_mode,
        ssl_server_name: settling.value("sslsni").is_none_or(|value| value != "0"),
        channel_binding: settling.channel_binding()?,
        connect_timeout: settling.connect_timeout()?,
        keepalives: settling.keepalives()?,
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
    pub(super) fn value(&self, name: &str) -> Option<String> {
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

    fn connect_timeout(&self) -> Result<Option<Duration>> {
        let seconds = self.number("connect_timeout", "seconds", i32::MAX)?;
        Ok(seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }

    /// As in libpq, 0 leaves a value to the system; what is not given is pgstow's own choice.
    fn keepalives(&self) -> Result<Keepalives> {
        let own = Keepalives::default();
        let time = |name: &str, otherwise: Option<Duration>| -> Result<Option<Duration>> {
            let seconds = self.number(name, "seconds", LONGEST_KEEPALIVE_SECONDS)?;
            Ok(seconds.map_or(otherwise, |seconds| (seconds > 0).then(|| Duration::from_secs(seconds))))
        };
        let probes = self.number("keepalives_count", "questions without an answer", MOST_KEEPALIVE_PROBES)?;
        let user_timeout = self.number("tcp_user_timeout", "milliseconds", i32::MAX)?;
        Ok(Keepalives {
            enabled: self.number("keepalives", "1 (on) or 0 (off)", i32::MAX)? != Some(0),
            idle: time("keepalives_idle", own.idle)?,
            interval: time("keepalives_interval", own.interval)?,
            probes: probes.map_or(own.probes, |count| u32::try_from(count).ok().filter(|count| *count > 0)),
            user_timeout: user_timeout.filter(|time| *time > 0).map(Duration::from_millis),
        })
    }

    /// A whole number up to `limit`; a negative one counts as 0, as in libpq.
    fn number(&self, name: &str, what: &str, limit: i32) -> Result<Option<u64>> {
        let Some(text) = self.value(name) else { return Ok(None) };
        let number: Option<i32> = text.trim().parse().ok().filter(|number| *number <= limit);
        let number = number.ok_or_else(|| {
            usage(format!("{name} is not a whole number up to {limit}")).hint(format!("it counts {what}"))
        })?;
        Ok(Some(u64::try_from(number).unwrap_or(0)))
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

pub(super) fn bad_choice(name: &str, choices: &str) -> Error {
    usage(format!("the value of {name} is not known")).hint(format!("known are {choices}"))
}

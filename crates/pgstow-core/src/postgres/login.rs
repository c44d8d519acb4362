//! From settings to a session: try hosts and addresses in order, encrypt, start up, authenticate.
//! Flow: PostgreSQL manual, "Message Flow" (start-up, SSL session encryption).

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::authentication::{Authentication, Obstacle, Scram, Step};
use super::error::{ConnectError, ServerError};
use super::reach::{self, Address};
use super::server_message::{self, Body};
use super::server_report::ServerReport;
use super::settings::{ConnectionSettings, Host, SslMode};
use super::stream::Stream;
use super::tls::{self, Encryption};
use super::wire::{FrameReader, Piece};
use crate::interrupt::Interrupt;

/// No honest message before the end of the login is longer.
const LOGIN_MESSAGE_LIMIT_BYTES: usize = 1 << 20;
/// The server cannot take connections now (it starts up or shuts down).
const CANNOT_CONNECT_NOW: &str = "57P03";

/// A session that is ready for its first query.
pub(super) struct Login {
    pub(super) stream: Stream,
    pub(super) reader: FrameReader,
    pub(super) report: ServerReport,
    pub(super) host: Host,
    pub(super) address: Address,
    pub(super) encryption: Option<Encryption>,
    pub(super) process_id: i32,
    pub(super) secret_key: i32,
}

impl Login {
    /// What ties a login to the TLS channel, or why nothing does.
    pub(super) fn channel_hash(&self) -> Result<Vec<u8>, String> {
        let certificate = self.stream.server_certificate();
        tls::channel_hash(certificate.ok_or("the connection is not encrypted")?)
    }
}

/// Logs in to the first host that answers.
pub(super) fn log_in(settings: &ConnectionSettings, interrupt: &Interrupt) -> Result<Login, ConnectError> {
    let mut last = None;
    for host in &settings.hosts {
        let attempt = Attempt { host, settings, interrupt, only_ipv6: Cell::new(false) };
        match attempt.at_host() {
            Err(error) if goes_on(&error) => last = Some(error),
            outcome => return outcome,
        }
    }
    Err(last.unwrap_or_else(|| ConnectError::Protocol {
        host: Host::Tcp { host: String::new(), address: None, port: 0 },
        reason: "no host was given".to_owned(),
    }))
}

/// As in libpq, only a host that cannot be reached or cannot answer yet sends us to the next one.
fn goes_on(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable { .. } => true,
        ConnectError::Refused { source, .. } => source.code.as_str() == CANNOT_CONNECT_NOW,
        _ => false,
    }
}

/// How one connection is encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Plain,
    TlsIfOffered,
    Tls,
}

struct Attempt<'a> {
    host: &'a Host,
    settings: &'a ConnectionSettings,
    interrupt: &'a Interrupt,
    /// Whether the host has IPv6 addresses and no other.
    only_ipv6: Cell<bool>,
}

impl Attempt<'_> {
    fn at_host(&self) -> Result<Login, ConnectError> {
        let deadline = self.deadline();
        let addresses =
            reach::resolve(self.host, deadline, self.interrupt).map_err(|error| self.unreachable(error))?;
        self.only_ipv6.set(addresses.iter().all(Address::is_ipv6));
        let mut last = None;
        for address in addresses {
            match self.at_address(&address) {
                // That there is no way to one address says less than what happened at another.
                Err(error) if goes_on(&error) && last.is_some() && has_no_way(&error) => {}
                Err(error) if goes_on(&error) => last = Some(error),
                outcome => return outcome,
            }
        }
        Err(last.unwrap_or_else(|| self.unreachable(ErrorKind::NotFound.into())))
    }

    fn at_address(&self, address: &Address) -> Result<Login, ConnectError> {
        let mode = match self.host {
            Host::Socket { .. } => SslMode::Disable,
            Host::Tcp { .. } => self.settings.ssl_mode,
        };
        let mut encrypted = false;
        match mode {
            SslMode::Disable => self.once(address, Wish::Plain, &mut encrypted),
            SslMode::Allow => match self.once(address, Wish::Plain, &mut encrypted) {
                Err(error) if is_refused(&error) => self.once(address, Wish::Tls, &mut encrypted),
                outcome => outcome,
            },
            SslMode::Prefer => match self.once(address, Wish::TlsIfOffered, &mut encrypted) {
                Err(error) if plain_may_help(&error, encrypted) => {
                    self.once(address, Wish::Plain, &mut encrypted).map_err(|second| match second {
                        ConnectError::Interrupted => second,
                        _ => error,
                    })
                }
                outcome => outcome,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                self.once(address, Wish::Tls, &mut encrypted)
            }
        }
    }

    /// One connection from the first packet to the first ReadyForQuery. `encrypted` tells, also
    /// after a failure, whether TLS was reached.
    fn once(&self, address: &Address, wish: Wish, encrypted: &mut bool) -> Result<Login, ConnectError> {
        let deadline = self.deadline();
        let socket = reach::connect(address, &self.settings.keepalives, deadline, self.interrupt)
            .map_err(|error| self.unreachable(error))?;
        let socket = Arc::new(socket);
        let waker = Arc::clone(&socket);
        let _registration = self.interrupt.register(move || waker.shut_down());
        let mut stream = Stream::new(socket, deadline);
        let encryption = self.encrypt(&mut stream, wish)?;
        *encrypted = encryption.is_some();
        let mut login = Login {
            stream,
            reader: FrameReader::limited_to(LOGIN_MESSAGE_LIMIT_BYTES),
            report: ServerReport::new(),
            host: self.host.clone(),
            address: address.clone(),
            encryption,
            process_id: 0,
            secret_key: 0,
        };
        self.start_up(&mut login)?;
        login.stream.lift_deadline().map_err(|error| self.unreachable(error))?;
        login.reader.lift_limit();
        Ok(login)
    }

    fn encrypt(&self, stream: &mut Stream, wish: Wish) -> Result<Option<Encryption>, ConnectError> {
        if wish == Wish::Plain {
            return Ok(None);
        }
        let refuse = |reason: String| ConnectError::Tls { host: self.host.clone(), reason };
        let encryption = Encryption::new(self.settings, self.host).map_err(refuse)?;
        match tls::negotiate(stream).map_err(|error| self.unreachable(error))? {
            b'S' => {}
            b'N' if wish == Wish::TlsIfOffered => return Ok(None),
            b'N' => return Err(refuse("the server does not offer TLS".to_owned())),
            // Whatever else it says now could come from anyone: it is not shown.
            _ => return Err(self.protocol("unknown answer to the request for TLS")),
        }
        let session = encryption.session().map_err(|error| refuse(error.to_string()))?;
        match stream.encrypt(session) {
            Ok(()) => match encryption.check_identity() {
                Ok(()) => Ok(Some(encryption)),
                Err(reason) => Err(refuse(reason)),
            },
            Err(_) if self.interrupt.is_triggered() => Err(ConnectError::Interrupted),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(self.unreachable(error)),
            Err(error) => Err(refuse(encryption.explain(&error))),
        }
    }

    fn start_up(&self, login: &mut Login) -> Result<(), ConnectError> {
        let mut parameters =
            vec![("user", self.settings.user.as_str()), ("database", &self.settings.database)];
        if !self.settings.application_name.is_empty() {
            parameters.push(("application_name", &self.settings.application_name));
        }
        if let Some(options) = &self.settings.options {
            parameters.push(("options", options));
        }
        let mut packet = BytesMut::new();
        frontend::startup_message(parameters, &mut packet)
            .map_err(|_| self.protocol("the role, database or an option holds a zero byte"))?;
        if let Err(error) = login.stream.write_all(&packet) {
            let error = login.stream.last_word(error);
            return Err(self.broken(login, error));
        }
        let mut authentication = Authentication {
            user: &self.settings.user,
            password: self.settings.password_for(self.host),
            channel_binding: self.settings.channel_binding,
            channel_hash: login.channel_hash(),
            scram: Scram::Unused,
        };
        let mut authenticated = false;
        let mut heard = false;
        loop {
            let frame = match login.reader.next(&mut login.stream) {
                Ok(Piece::Frame(frame)) => frame,
                Ok(Piece::Data(_)) => return Err(self.protocol("unexpected data while logging in")),
                // With TLS 1.3 a server looks at the client's certificate after the handshake.
                Err(error) if !heard => return Err(self.broken(login, error)),
                Err(error) => return Err(self.lost(error)),
            };
            heard = true;
            let body = login.reader.body(&frame);
            match frame.tag {
                b'R' if !authenticated => {
                    match authentication.step(body).map_err(|why| self.obstacle(why))? {
                        Step::Done => authenticated = true,
                        Step::Answer(bytes) => {
                            login.stream.write_all(&bytes).map_err(|error| self.unreachable(error))?;
                        }
                    }
                }
                b'E' => return Err(self.refused(server_message::server_error(body))),
                b'K' if authenticated => {
                    let mut body = Body(body);
                    let key = body.int32().zip(body.int32());
                    let (process_id, secret_key) =
                        key.ok_or_else(|| self.protocol("malformed cancel key"))?;
                    login.process_id = process_id;
                    login.secret_key = secret_key;
                }
                b'Z' if authenticated => {
                    login.report.ready(body);
                    return Ok(());
                }
                // It would rather speak an older protocol; it says more if it cannot go on.
                b'v' => {}
                tag if login.report.note(tag, body) => {}
                _ => return Err(self.protocol("unexpected message while logging in")),
            }
        }
    }

    /// What a connection that broke before the server's first word means.
    fn broken(&self, login: &Login, error: io::Error) -> ConnectError {
        let explained = login.encryption.as_ref().and_then(|encryption| encryption.explain_loss(&error));
        match explained {
            Some(reason) if !self.interrupt.is_triggered() => {
                ConnectError::Tls { host: self.host.clone(), reason }
            }
            _ => self.lost(error),
        }
    }

    fn lost(&self, error: io::Error) -> ConnectError {
        match error.kind() {
            ErrorKind::InvalidData => self.protocol(error.to_string()),
            _ => self.unreachable(error),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.settings.connect_timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    fn unreachable(&self, source: io::Error) -> ConnectError {
        if self.interrupt.is_triggered() {
            return ConnectError::Interrupted;
        }
        ConnectError::Unreachable { host: self.host.clone(), only_ipv6: self.only_ipv6.get(), source }
    }

    fn protocol(&self, reason: impl Into<String>) -> ConnectError {
        if self.interrupt.is_triggered() {
            return ConnectError::Interrupted;
        }
        ConnectError::Protocol { host: self.host.clone(), reason: reason.into() }
    }

    fn obstacle(&self, obstacle: Obstacle) -> ConnectError {
        match obstacle {
            Obstacle::NoPassword => {
                ConnectError::NoPassword { host: self.host.clone(), user: self.settings.user.clone() }
            }
            Obstacle::Protocol(reason) => self.protocol(reason),
        }
    }

    fn refused(&self, error: ServerError) -> ConnectError {
        ConnectError::Refused {
            host: self.host.clone(),
            user: self.settings.user.clone(),
            database: self.settings.database.clone(),
            source: Box::new(error),
        }
    }
}

/// As in libpq, whatever made the server refuse the login may hold for one way only.
fn is_refused(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Refused { source, .. } if source.code.as_str() != CANNOT_CONNECT_NOW)
}

/// Whether `prefer` goes on without encryption: where none was reached, or the login was refused with it.
fn plain_may_help(error: &ConnectError, encrypted: bool) -> bool {
    if encrypted { is_refused(error) } else { matches!(error, ConnectError::Tls { .. }) }
}

fn has_no_way(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Unreachable { source, .. } if reach::has_no_way(source))
}

//! One session with a server: log in, ask, copy, cancel. Synchronous; text results.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

use super::cancel::{CancelHandle, CancelTarget, Hangup};
use super::copy::CopyIn;
use super::error::{ConnectError, QueryError};
use super::exchange::Task;
use super::login;
use super::rows::Rows;
use super::server_report::ServerReport;
use super::settings::{ChannelBinding, ConnectionSettings};
use super::stream::Stream;
use super::wire::FrameReader;
use crate::interrupt::Interrupt;

/// How long a session that ends waits for the server's last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// State of the session's transaction, from ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No transaction.
    Idle,
    /// In a transaction.
    Open,
    /// In a transaction that failed.
    Failed,
}

/// A session. Dropping it closes it.
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) reader: FrameReader,
    pub(super) report: ServerReport,
    /// Whether the session has ended: nothing can be sent or received any more.
    pub(super) over: bool,
    interrupt: Interrupt,
    settings: ConnectionSettings,
    endpoint: String,
    cancel: CancelHandle,
    _hangup: Hangup,
}

impl Connection {
    /// Connects to the first host that answers and logs in. While the session lives, `interrupt`
    /// cancels what it is doing and ends it, within a second.
    ///
    /// As in libpq, the next host is tried only when one cannot be reached in time or is starting
    /// up or shutting down; a refused login ends the search.
    ///
    /// # Errors
    /// Of the last host tried, by kind.
    pub fn open(settings: &ConnectionSettings, interrupt: &Interrupt) -> Result<Self, ConnectError> {
        let login = login::log_in(settings, interrupt)?;
        let mut settings =
            ConnectionSettings { hosts: vec![login.address.pin(&login.host)], ..settings.clone() };
        let prefers_binding = settings.channel_binding == ChannelBinding::Prefer;
        if prefers_binding && login.encryption.is_some() && login.channel_hash().is_err() {
            // It cannot be had here. libpq, with which pg_dump connects, would try and fail.
            settings.channel_binding = ChannelBinding::Disable;
        }
        let cancel = CancelHandle(Arc::new(CancelTarget {
            address: login.address.clone(),
            encryption: login.encryption,
            process_id: login.process_id,
            secret_key: login.secret_key,
        }));
        Ok(Self {
            _hangup: Hangup::register(interrupt, Arc::clone(login.stream.socket()), cancel.clone()),
            stream: login.stream,
            reader: login.reader,
            report: login.report,
            over: false,
            interrupt: interrupt.clone(),
            settings,
            endpoint: login.host.to_string(),
            cancel,
        })
    }

    /// `host:port` of the host that answered (or `directory:port` of its socket).
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether the server is reached without leaving this machine: over a Unix socket or the
    /// loopback interface (where a tunnel may begin).
    pub fn is_local(&self) -> bool {
        self.cancel.0.address.is_local()
    }

    /// The settings it was opened with, narrowed to the host and address that answered, so that
    /// further sessions reach the same server.
    pub fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// Process id in BackendKeyData.
    pub fn process_id(&self) -> i32 {
        self.cancel.0.process_id
    }

    /// A parameter the server reported, such as `server_version`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.report.parameter(name)
    }

    /// Server version as a number, such as `150018`, from the reported `server_version`.
    pub fn server_version_num(&self) -> u32 {
        self.report.version_num()
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    /// State of the transaction.
    pub fn transaction_status(&self) -> TransactionStatus {
        self.report.transaction
    }

    /// A handle that cancels the running statement from another thread; the session goes on.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Runs one or more statements by the simple protocol; rows of the last one that gives any.
    ///
    /// # Errors
    /// The server's, or the loss of the connection.
    pub fn query(&mut self, sql: &str) -> Result<Rows, QueryError> {
        self.send_query(sql)?;
        Ok(self.exchange(Task::Ask)?.rows)
    }

    /// Runs one statement with text parameters by the extended protocol (unnamed statement).
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn query_with(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Rows, QueryError> {
        let packet = extended_query(sql, parameters)
            .ok_or_else(|| QueryError::Shape("a statement or parameter that cannot be sent".to_owned()))?;
        self.send(&packet)?;
        Ok(self.exchange(Task::AskExtended)?.rows)
    }

    /// Runs one or more statements and drops their rows; the count in the last command tag, 0
    /// where it has none.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn execute(&mut self, sql: &str) -> Result<u64, QueryError> {
        self.send_query(sql)?;
        Ok(self.exchange(Task::Execute)?.count)
    }

    /// As [`Connection::execute`], with statements in the session's own encoding.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn execute_bytes(&mut self, sql: &[u8]) -> Result<u64, QueryError> {
        self.send_bytes(sql)?;
        Ok(self.exchange(Task::Execute)?.count)
    }

    /// Runs `COPY … TO STDOUT` and passes the data on in pieces as they arrive (not aligned to
    /// rows, no piece larger than the read buffer); the number of rows.
    ///
    /// When the sink fails, the COPY is cancelled and the session can go on.
    ///
    /// # Errors
    /// The server's, the loss of the connection, or the sink's.
    pub fn copy_out(
        &mut self,
        sql: &str,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<u64, QueryError> {
        self.send_query(sql)?;
        match self.exchange(Task::CopyOut(sink)) {
            Ok(outcome) => Ok(outcome.count),
            Err(QueryError::Sink(error)) => {
                // The cancel request may arrive only after the COPY has ended; this statement
                // takes it, so that it cannot hit the next one that matters.
                match self.execute("SELECT 1") {
                    Err(lost) if lost.is_lost() => Err(lost),
                    _ => Err(QueryError::Sink(error)),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Starts `COPY … FROM STDIN`. Dropping the returned writer without `finish` makes the server
    /// discard the COPY.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>, QueryError> {
        self.copy_in_bytes(sql.as_bytes())
    }

    /// As [`Connection::copy_in`], with a statement in the session's own encoding.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn copy_in_bytes(&mut self, sql: &[u8]) -> Result<CopyIn<'_>, QueryError> {
        self.send_bytes(sql)?;
        if !self.exchange(Task::StartCopyIn)?.copy_in_started {
            return Err(QueryError::Shape("the statement is not COPY … FROM STDIN".to_owned()));
        }
        Ok(CopyIn::start(self))
    }

    /// Notices and warnings received since the last call, as `severity: message`.
    pub fn take_notices(&mut self) -> Vec<String> {
        self.report.take_notices()
    }

    fn send_query(&mut self, sql: &str) -> Result<(), QueryError> {
        self.send_bytes(sql.as_bytes())
    }

    fn send_bytes(&mut self, sql: &[u8]) -> Result<(), QueryError> {
        if sql.contains(&0) {
            return Err(QueryError::Shape("a statement that holds a zero byte".to_owned()));
        }
        // Length (itself included), text, zero byte.
        let length = u32::try_from(sql.len() + 5).ok().filter(|length| *length <= i32::MAX.unsigned_abs());
        let length = length.ok_or_else(|| QueryError::Shape("a statement longer than 2 GiB".to_owned()))?;
        let mut packet = Vec::with_capacity(sql.len() + 6);
        packet.push(b'Q');
        packet.extend_from_slice(&length.to_be_bytes());
        packet.extend_from_slice(sql);
        packet.push(0);
        self.send(&packet)
    }

    pub(super) fn send(&mut self, packet: &[u8]) -> Result<(), QueryError> {
        self.check_alive()?;
        self.stream.write_all(packet).map_err(|error| self.lost_while_writing(error))
    }

    pub(super) fn check_alive(&self) -> Result<(), QueryError> {
        if self.interrupt.is_triggered() {
            return Err(QueryError::Interrupted);
        }
        if self.over {
            return Err(QueryError::Lost(io::Error::new(
                io::ErrorKind::NotConnected,
                "the session has ended",
            )));
        }
        Ok(())
    }

    /// What a failed read or write means; the session is over.
    pub(super) fn lost(&mut self, error: io::Error) -> QueryError {
        self.over = true;
        if self.interrupt.is_triggered() { QueryError::Interrupted } else { QueryError::Lost(error) }
    }

    /// As [`Connection::lost`], but a server that hung up may have said why before.
    pub(super) fn lost_while_writing(&mut self, error: io::Error) -> QueryError {
        self.over = true;
        if self.interrupt.is_triggered() {
            return QueryError::Interrupted;
        }
        match self.last_words(FAREWELL) {
            Some(fatal) => QueryError::Server(Box::new(fatal)),
            None => QueryError::Lost(error),
        }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.is_triggered()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.over {
            let mut packet = BytesMut::new();
            frontend::terminate(&mut packet);
            // The server notices the closed socket in any case.
            let _ = self.stream.write_all(&packet);
        }
        self.stream.socket().shut_down();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("endpoint", &self.endpoint)
            .field("process_id", &self.process_id())
            .finish_non_exhaustive()
    }
}

/// Parse, Bind, Describe, Execute, Sync of the unnamed statement; `None` when a text holds a zero
/// byte or there are too many parameters.
fn extended_query(sql: &str, parameters: &[Option<&str>]) -> Option<BytesMut> {
    let mut packet = BytesMut::new();
    frontend::parse("", sql, [], &mut packet).ok()?;
    frontend::bind(
        "",
        "",
        [],
        parameters.iter().copied(),
        |value, buffer| match value {
            Some(text) => {
                buffer.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        },
        [],
        &mut packet,
    )
    .ok()?;
    frontend::describe(b'P', "", &mut packet).ok()?;
    frontend::execute("", 0, &mut packet).ok()?;
    frontend::sync(&mut packet);
    Some(packet)
}

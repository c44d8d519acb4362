//! Reads the server's response to one request, to ReadyForQuery, whatever it holds. So the session
//! stays in sync after every failure that it survives.
//! Flow: PostgreSQL manual, "Message Flow", simple query, extended query, COPY operations.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::connection::Connection;
use super::error::{QueryError, ServerError};
use super::rows::Rows;
use super::server_message;
use super::wire::{Eager, Frame, Piece};

/// How long a cancel request may take when COPY data cannot be passed on.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a response is read for.
pub(super) enum Task<'s> {
    /// Rows, by the simple protocol.
    Ask,
    /// Rows, by the extended protocol.
    AskExtended,
    /// The command tag only.
    Execute,
    /// COPY data.
    CopyOut(&'s mut dyn FnMut(&[u8]) -> io::Result<()>),
    /// The permission to send COPY data.
    StartCopyIn,
    /// The end of a COPY FROM; a refusal may have been read before.
    EndCopyIn(Option<ServerError>),
}

/// What a response held.
#[derive(Default)]
pub(super) struct Outcome {
    /// Rows of the last statement that gives any.
    pub(super) rows: Rows,
    /// Count in the last command tag.
    pub(super) count: u64,
    /// The server waits for COPY data; ReadyForQuery is still to come.
    pub(super) copy_in_started: bool,
    copied: bool,
    failure: Option<QueryError>,
}

impl Outcome {
    /// The first failure is the one that counts: later ones follow from it.
    fn fail(&mut self, error: QueryError) {
        self.failure.get_or_insert(error);
    }
}

impl Connection {
    /// Reads a response to its end.
    pub(super) fn exchange(&mut self, mut task: Task<'_>) -> Result<Outcome, QueryError> {
        self.check_alive()?;
        let mut outcome = Outcome::default();
        if let Task::EndCopyIn(Some(refusal)) = &mut task {
            outcome.fail(QueryError::Server(Box::new(refusal.clone())));
        }
        loop {
            match self.reader.next(&mut self.stream) {
                Err(error) => return Err(self.lost(error)),
                Ok(Piece::Data(range)) => {
                    if let Task::CopyOut(sink) = &mut task
                        && outcome.failure.is_none()
                        && let Err(error) = sink(self.reader.data(range))
                    {
                        outcome.fail(QueryError::Sink(error));
                        // Without it the rest arrives in vain; that is slow, not wrong.
                        let _ = self.cancel_handle().cancel(CANCEL_TIMEOUT);
                    }
                }
                Ok(Piece::Frame(frame)) => {
                    if self.take_frame(&frame, &task, &mut outcome)? {
                        break;
                    }
                }
            }
        }
        self.conclude(&task, outcome)
    }

    /// Takes one message; `true` at the end of the response.
    fn take_frame(
        &mut self,
        frame: &Frame,
        task: &Task<'_>,
        outcome: &mut Outcome,
    ) -> Result<bool, QueryError> {
        let body = self.reader.body(frame);
        match frame.tag {
            b'T' => match server_message::column_count(body) {
                Some(columns) => outcome.rows = Rows { columns, ..Rows::default() },
                None => outcome.fail(QueryError::Shape("malformed row description".to_owned())),
            },
            b'D' => {
                if matches!(task, Task::Ask | Task::AskExtended)
                    && outcome.failure.is_none()
                    && let Err(error) = server_message::append_row(&mut outcome.rows, body)
                {
                    outcome.fail(error);
                }
            }
            b'C' => {
                self.stream.set_patient(false);
                outcome.count = server_message::tag_count(body);
            }
            b'E' => {
                self.stream.set_patient(false);
                let error = QueryError::Server(Box::new(server_message::server_error(body)));
                if error.is_lost() {
                    self.over = true;
                    return Err(if self.is_interrupted() { QueryError::Interrupted } else { error });
                }
                outcome.fail(error);
            }
            b'H' => {
                self.stream.set_patient(true);
                outcome.copied = true;
                if !matches!(task, Task::CopyOut(_)) {
                    outcome.fail(QueryError::Shape("the statement sends COPY data".to_owned()));
                }
            }
            b'G' | b'W' => return self.take_copy_in(frame.tag, task, outcome),
            b'Z' => {
                self.report.ready(body);
                return Ok(true);
            }
            // Empty query, parse, bind and close complete, no data, suspended portal, COPY done,
            // parameter description: nothing to do.
            b'I' | b'1' | b'2' | b'3' | b'n' | b's' | b'c' | b't' => {}
            tag if self.report.note(tag, body) => {}
            tag => {
                let message = format!("the server sent an unknown message of type {}", tag.escape_ascii());
                return Err(self.lost(io::Error::new(ErrorKind::InvalidData, message)));
            }
        }
        Ok(false)
    }

    /// The server waits for COPY data: either that was wanted, or it is told that none comes.
    fn take_copy_in(&mut self, tag: u8, task: &Task<'_>, outcome: &mut Outcome) -> Result<bool, QueryError> {
        if matches!(task, Task::StartCopyIn) && tag == b'G' && outcome.failure.is_none() {
            outcome.copy_in_started = true;
            return Ok(true);
        }
        outcome.fail(QueryError::Shape("the statement waits for COPY data".to_owned()));
        let mut packet = copy_fail();
        if matches!(task, Task::AskExtended) {
            // The Sync sent with the query was ignored as part of the COPY.
            frontend::sync(&mut packet);
        }
        self.send(&packet)?;
        Ok(false)
    }

    fn conclude(&mut self, task: &Task<'_>, mut outcome: Outcome) -> Result<Outcome, QueryError> {
        if self.is_interrupted() {
            return Err(QueryError::Interrupted);
        }
        if let Some(failure) = outcome.failure.take() {
            return Err(failure);
        }
        if matches!(task, Task::CopyOut(_)) && !outcome.copied {
            return Err(QueryError::Shape("the statement is not COPY … TO STDOUT".to_owned()));
        }
        Ok(outcome)
    }

    /// Looks, without waiting, at what the server says while COPY data flows to it; its refusal,
    /// if it sent one.
    pub(super) fn overhear(&mut self) -> Result<Option<ServerError>, QueryError> {
        loop {
            match self.reader.next(&mut Eager(&mut self.stream)) {
                Ok(Piece::Frame(frame)) if frame.tag == b'E' => {
                    let error = server_message::server_error(self.reader.body(&frame));
                    if !error.is_fatal() {
                        return Ok(Some(error));
                    }
                    self.over = true;
                    return Err(QueryError::Server(Box::new(error)));
                }
                Ok(Piece::Frame(frame)) if self.report.note(frame.tag, self.reader.body(&frame)) => {}
                Ok(_) => {
                    let error = io::Error::new(ErrorKind::InvalidData, "unexpected message during COPY");
                    return Err(self.lost(error));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// The fatal error that the server sent before it hung up, if it did.
    pub(super) fn last_words(&mut self, patience: Duration) -> Option<ServerError> {
        self.stream.set_deadline(Instant::now().checked_add(patience));
        loop {
            match self.reader.next(&mut self.stream) {
                Ok(Piece::Frame(frame)) if frame.tag == b'E' => {
                    return Some(server_message::server_error(self.reader.body(&frame)));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

/// Tells the server that the COPY FROM it started is not to be.
pub(super) fn copy_fail() -> BytesMut {
    let mut packet = BytesMut::new();
    frontend::copy_fail("the client gave up", &mut packet).expect("the reason holds no zero byte");
    packet
}

//! COPY … FROM STDIN as a writer that sends frames of 64 KiB and more.

use std::io::{self, ErrorKind, Write};

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::connection::Connection;
use super::error::{QueryError, ServerError};
use super::exchange::{self, Task};

/// Payload of a full frame.
const FRAME_BYTES: usize = 128 * 1024;
/// Type and length before the payload.
const HEADER: [u8; 5] = [b'd', 0, 0, 0, 0];

/// Writes COPY data to the server.
///
/// When a write fails, [`CopyIn::finish`] returns the reason as a [`QueryError`].
pub struct CopyIn<'c> {
    connection: &'c mut Connection,
    /// Header and payload of the next frame.
    frame: Vec<u8>,
    /// The server refused the data; it discards whatever follows.
    refusal: Option<ServerError>,
    /// The session ended while data was sent.
    lost: Option<QueryError>,
    finished: bool,
}

impl<'c> CopyIn<'c> {
    /// Takes over after the server has asked for data.
    pub(super) fn start(connection: &'c mut Connection) -> Self {
        connection.stream.set_impatient_writes(true);
        let mut frame = Vec::with_capacity(HEADER.len() + FRAME_BYTES);
        frame.extend_from_slice(&HEADER);
        Self { connection, frame, refusal: None, lost: None, finished: false }
    }

    /// Ends the COPY; the number of rows the server took.
    ///
    /// # Errors
    /// The server's reason for refusing the data, or the loss of the connection.
    pub fn finish(mut self) -> Result<u64, QueryError> {
        if self.refusal.is_none() && self.lost.is_none() && self.frame.len() > HEADER.len() {
            // What went wrong is in `refusal` or `lost`.
            let _ = self.send_frame();
        }
        let mut packet = BytesMut::new();
        frontend::copy_done(&mut packet);
        self.end(&packet)
    }

    fn end(&mut self, packet: &[u8]) -> Result<u64, QueryError> {
        self.finished = true;
        if self.refusal.is_none() && self.lost.is_none() {
            // Even these few bytes may have to wait until the server gets rid of its notices. What
            // went wrong is in `refusal` or `lost`.
            let _ = self.push(packet);
        }
        self.connection.stream.set_impatient_writes(false);
        match self.lost.take() {
            Some(lost) => Err(lost),
            None => Ok(self.connection.exchange(Task::EndCopyIn(self.refusal.take()))?.count),
        }
    }

    /// Sends the frame, listening to the server whenever it does not take more: it may be stuck
    /// itself with notices that nobody reads.
    fn send_frame(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.frame.len() - 1).expect("a frame is much shorter than 4 GiB");
        self.frame[1..HEADER.len()].copy_from_slice(&length.to_be_bytes());
        let frame = std::mem::take(&mut self.frame);
        let sent = self.send_all(&frame);
        self.frame = frame;
        self.frame.truncate(HEADER.len());
        sent
    }

    fn send_all(&mut self, frame: &[u8]) -> io::Result<()> {
        self.push(frame)?;
        self.listen()
    }

    /// Sends all of `data`. Once that is the end of the COPY, what the server says is its answer,
    /// and not to be overheard.
    fn push(&mut self, mut data: &[u8]) -> io::Result<()> {
        loop {
            let written = match self.connection.check_alive() {
                Ok(()) => self.connection.stream.write_some(&mut data),
                Err(error) => return Err(self.give_up(error)),
            };
            match written {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait()?,
                Err(error) => {
                    let lost = self.connection.lost_while_writing(error);
                    return Err(self.give_up(lost));
                }
            }
        }
    }

    /// Waits until the server takes more or says something. A refusal is kept: the frame must
    /// still be completed.
    fn wait(&mut self) -> io::Result<()> {
        if let Err(error) = self.connection.stream.wait_to_write(self.refusal.is_none()) {
            let lost = self.connection.lost(error);
            return Err(self.give_up(lost));
        }
        match self.listen() {
            Err(error) if self.lost.is_some() => Err(error),
            _ => Ok(()),
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        if self.refusal.is_some() {
            return self.refused();
        }
        match self.connection.overhear() {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => {
                self.refusal = Some(refusal);
                self.refused()
            }
            Err(error) => Err(self.give_up(error)),
        }
    }

    fn refused(&self) -> io::Result<()> {
        match &self.refusal {
            Some(refusal) => Err(io::Error::other(refusal.clone())),
            None => Ok(()),
        }
    }

    fn give_up(&mut self, lost: QueryError) -> io::Error {
        let shown = io::Error::new(ErrorKind::BrokenPipe, lost.to_string());
        self.lost = Some(lost);
        shown
    }
}

impl Write for CopyIn<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.lost.is_some() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.refused()?;
        let room = FRAME_BYTES + HEADER.len() - self.frame.len();
        let taken = &data[..room.min(data.len())];
        self.frame.extend_from_slice(taken);
        if self.frame.len() == FRAME_BYTES + HEADER.len() {
            self.send_frame()?;
        }
        Ok(taken.len())
    }

    /// Sends nothing early: small frames would only cost time.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for CopyIn<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // The caller gave up; a lost session shows at its next use.
            let _ = self.end(&exchange::copy_fail());
        }
    }
}

//! The byte stream to a server: a Unix or TCP socket, with or without TLS.
//!
//! Blocking, but every wait can be ended: by a deadline while logging in, by shutting the socket
//! down from another thread at any time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvFlags, SendFlags};
use rustls::ClientConnection;

/// A read of fewer bytes says that the reader is ahead of the server.
const SHORT_READ_BYTES: usize = 16 * 1024;
/// How long a patient reader waits after a short read, so that the next one finds more. It saves
/// most context switches of a COPY and costs nothing, since the server keeps filling the socket.
const NAP: Duration = Duration::from_micros(100);
/// Encrypted bytes read from the socket at once.
const TLS_READ_BYTES: usize = 128 * 1024;

/// A connected socket; shared with whoever may have to shut it down.
#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let outcome = match self {
                Self::Unix(socket) => (&mut &*socket).read(buffer),
                Self::Tcp(socket) => (&mut &*socket).read(buffer),
            };
            match outcome {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Reads what is there; `WouldBlock` when nothing is.
    fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let outcome = match self {
                Self::Unix(socket) => rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT),
                Self::Tcp(socket) => rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT),
            };
            match outcome {
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok((read, _)) => return Ok(read),
            }
        }
    }

    fn write(&self, data: &[u8]) -> io::Result<usize> {
        loop {
            let outcome = match self {
                Self::Unix(socket) => (&mut &*socket).write(data),
                Self::Tcp(socket) => (&mut &*socket).write(data),
            };
            match outcome {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) if !data.is_empty() => return Err(ErrorKind::WriteZero.into()),
                outcome => return outcome,
            }
        }
    }

    /// Writes what fits; `WouldBlock` when nothing does.
    fn write_now(&self, data: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            let outcome = match self {
                Self::Unix(socket) => rustix::net::send(socket, data, flags),
                Self::Tcp(socket) => rustix::net::send(socket, data, flags),
            };
            match outcome {
                Err(rustix::io::Errno::INTR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Waits until one of `events` or the end of the connection.
    fn wait_for(&self, events: PollFlags) -> io::Result<()> {
        let mut watched = [match self {
            Self::Unix(socket) => PollFd::new(socket, events),
            Self::Tcp(socket) => PollFd::new(socket, events),
        }];
        loop {
            match rustix::event::poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => {}
                outcome => return Ok(outcome.map(drop)?),
            }
        }
    }

    /// Ends every read and write on the socket, also those that are blocked in other threads.
    pub(super) fn shut_down(&self) {
        // Failing means that it is not connected any more, which is what was wanted.
        let _ = match self {
            Self::Unix(socket) => socket.shutdown(Shutdown::Both),
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
        };
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.set_read_timeout(timeout),
            Self::Tcp(socket) => socket.set_read_timeout(timeout),
        }
    }
}

/// Encryption over the socket.
struct Tls {
    session: ClientConnection,
    /// Bytes from the socket that the session has not taken yet: `incoming[start..end]`.
    incoming: Vec<u8>,
    start: usize,
    end: usize,
}

/// Whether an error says that the other side closed the connection.
pub(super) fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Whether a read may wait for the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

/// The stream a session talks through.
pub(super) struct Stream {
    socket: Arc<Socket>,
    tls: Option<Box<Tls>>,
    deadline: Option<Instant>,
    patient: bool,
    last_read_was_short: bool,
    impatient_writes: bool,
}

impl Stream {
    pub(super) fn new(socket: Arc<Socket>, deadline: Option<Instant>) -> Self {
        Self {
            socket,
            tls: None,
            deadline,
            patient: false,
            last_read_was_short: false,
            impatient_writes: false,
        }
    }

    pub(super) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Shakes hands and encrypts everything from here on.
    pub(super) fn encrypt(&mut self, session: ClientConnection) -> io::Result<()> {
        let incoming = vec![0; TLS_READ_BYTES];
        self.tls = Some(Box::new(Tls { session, incoming, start: 0, end: 0 }));
        while let Some(tls) = &self.tls {
            if !tls.session.is_handshaking() {
                break;
            }
            self.flush_handshake()?;
            if self.tls.as_ref().is_some_and(|tls| tls.session.is_handshaking()) {
                self.take_encrypted(Wait::Yes)?;
            }
        }
        self.flush_handshake()
    }

    fn flush_handshake(&mut self) -> io::Result<()> {
        self.flush_tls().map_err(|error| self.last_word(error))
    }

    /// Why a write failed: the alert that the server sent before it hung up, or else `error`.
    /// A server that refuses a certificate hangs up while the client still writes.
    pub(super) fn last_word(&mut self, error: io::Error) -> io::Error {
        if !is_hang_up(&error) {
            return error;
        }
        loop {
            match self.read(&mut [0; 512]) {
                Ok(1..) => {}
                Err(alert) if alert.kind() == ErrorKind::InvalidData => return alert,
                Ok(0) | Err(_) => return error,
            }
        }
    }

    /// The server's certificate, once encrypted.
    pub(super) fn server_certificate(&self) -> Option<&[u8]> {
        let certificates = self.tls.as_ref()?.session.peer_certificates()?;
        certificates.first().map(|certificate| certificate.as_ref())
    }

    /// Lifts the deadline: logging in is over.
    pub(super) fn lift_deadline(&mut self) -> io::Result<()> {
        self.deadline = None;
        self.socket.set_read_timeout(None)
    }

    /// Sets a deadline for all further reads.
    pub(super) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Whether short reads are followed by a nap (while COPY data flows to us).
    pub(super) fn set_patient(&mut self, patient: bool) {
        self.patient = patient;
        self.last_read_was_short = false;
    }

    /// Whether a write that would block gives up with `WouldBlock` (while COPY data flows to the
    /// server), so that the caller can look at what the server has to say.
    pub(super) fn set_impatient_writes(&mut self, impatient: bool) {
        self.impatient_writes = impatient;
    }

    /// After `WouldBlock` from a write: waits until more can be written or, if `or_read`, read.
    pub(super) fn wait_to_write(&self, or_read: bool) -> io::Result<()> {
        let events = if or_read { PollFlags::OUT | PollFlags::IN } else { PollFlags::OUT };
        self.socket.wait_for(events)
    }

    /// Reads at least one byte; 0 at the end of the stream.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_plain(buffer, Wait::Yes)
    }

    /// Reads what is there; `WouldBlock` when nothing is.
    pub(super) fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_plain(buffer, Wait::No)
    }

    fn read_plain(&mut self, buffer: &mut [u8], wait: Wait) -> io::Result<usize> {
        loop {
            let Some(tls) = &mut self.tls else {
                return self.read_socket(buffer, wait);
            };
            match tls.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                outcome => return outcome,
            }
            self.take_encrypted(wait)?;
        }
    }

    /// Feeds the TLS session with bytes from the socket.
    fn take_encrypted(&mut self, wait: Wait) -> io::Result<()> {
        let Some(mut tls) = self.tls.take() else { return Ok(()) };
        let outcome = self.take_encrypted_into(&mut tls, wait);
        self.tls = Some(tls);
        outcome
    }

    fn take_encrypted_into(&mut self, tls: &mut Tls, wait: Wait) -> io::Result<()> {
        if tls.start == tls.end {
            tls.start = 0;
            tls.end = 0;
            tls.end = self.read_socket(&mut tls.incoming, wait)?;
        }
        let mut pending = &tls.incoming[tls.start..tls.end];
        let taken = tls.session.read_tls(&mut pending)?;
        tls.start += taken;
        if let Err(error) = tls.session.process_new_packets() {
            // The alert tells the server why; that it may not arrive changes nothing.
            let mut writer = SocketWriter { socket: &self.socket, impatient: true };
            let _ = tls.session.write_tls(&mut writer);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        if taken == 0 && tls.session.is_handshaking() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn read_socket(&mut self, buffer: &mut [u8], wait: Wait) -> io::Result<usize> {
        if wait == Wait::No {
            return self.socket.read_now(buffer);
        }
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.socket.set_read_timeout(Some(left))?;
        }
        if self.patient && self.last_read_was_short {
            std::thread::sleep(NAP);
        }
        match self.socket.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            Ok(read) => {
                self.last_read_was_short = read < SHORT_READ_BYTES;
                Ok(read)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes all of `data`.
    pub(super) fn write_all(&mut self, mut data: &[u8]) -> io::Result<()> {
        self.write_some(&mut data)
    }

    /// Writes all of `data`, moving its start past what is taken; after `WouldBlock` it can be
    /// called again with the rest.
    pub(super) fn write_some(&mut self, data: &mut &[u8]) -> io::Result<()> {
        loop {
            self.flush_tls()?;
            if data.is_empty() {
                return Ok(());
            }
            let taken = match &mut self.tls {
                Some(tls) => tls.session.writer().write(data)?,
                None if self.impatient_writes => self.socket.write_now(data)?,
                None => self.socket.write(data)?,
            };
            *data = data.get(taken..).unwrap_or_default();
        }
    }

    fn flush_tls(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            let mut writer = SocketWriter { socket: &self.socket, impatient: self.impatient_writes };
            while tls.session.wants_write() {
                tls.session.write_tls(&mut writer)?;
            }
        }
        Ok(())
    }
}

struct SocketWriter<'s> {
    socket: &'s Socket,
    impatient: bool,
}

impl Write for SocketWriter<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.impatient { self.socket.write_now(data) } else { self.socket.write(data) }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{AlertDescription, ClientConfig, RootCertStore};

    use super::*;

    #[test]
    fn an_alert_sent_before_hanging_up_explains_a_failed_write() {
        const UNKNOWN_AUTHORITY: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 48];
        let (ours, mut servers) = UnixStream::pair().unwrap();
        servers.write_all(&UNKNOWN_AUTHORITY).unwrap();
        drop(servers);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from("db.test").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = Stream::new(Arc::new(Socket::Unix(ours)), None);
        let error = stream.encrypt(session).unwrap_err();
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        assert_eq!(alert, Some(&rustls::Error::AlertReceived(AlertDescription::UnknownCA)), "{error}");
    }
}

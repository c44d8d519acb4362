//! Reaches a host: looks its name up and connects a socket, neither of which can hold up an
//! interrupt or a deadline.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::settings::Host;
use super::stream::Socket;
use crate::interrupt::Interrupt;

/// Silence on a connection after which the system asks the peer whether it is still there. Short
/// enough for the address translators that forget idle connections after a few minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 6;

/// One address of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// Path of a Unix socket.
    Unix(PathBuf),
    /// Address and port.
    Tcp(SocketAddr),
}

impl Address {
    /// `host`, to be found at this address only.
    pub(super) fn pin(&self, host: &Host) -> Host {
        match (self, host) {
            (Self::Tcp(found), Host::Tcp { host, port, .. }) => {
                Host::Tcp { host: host.clone(), address: Some(found.ip()), port: *port }
            }
            _ => host.clone(),
        }
    }

    /// Whether it is this machine's own.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(address) => address.ip().is_loopback(),
        }
    }
}

/// All addresses of a host.
///
/// # Errors
/// When the name is not known, or not found before the deadline.
pub(super) fn resolve(
    host: &Host,
    deadline: Option<Instant>,
    interrupt: &Interrupt,
) -> io::Result<Vec<Address>> {
    match host {
        Host::Socket { directory, port } => {
            Ok(vec![Address::Unix(directory.join(format!(".s.PGSQL.{port}")))])
        }
        Host::Tcp { address: Some(address), port, .. } => {
            Ok(vec![Address::Tcp(SocketAddr::new(*address, *port))])
        }
        Host::Tcp { host, port, .. } => {
            let target = (host.clone(), *port);
            let found = apart(deadline, interrupt, move || {
                target.to_socket_addrs().map(Iterator::collect::<Vec<_>>)
            })?;
            if found.is_empty() {
                return Err(io::Error::new(ErrorKind::NotFound, "the name has no address"));
            }
            Ok(found.into_iter().map(Address::Tcp).collect())
        }
    }
}

/// Connects to one address.
///
/// # Errors
/// The system's, or `TimedOut` at the deadline.
pub(super) fn connect(
    address: &Address,
    deadline: Option<Instant>,
    interrupt: &Interrupt,
) -> io::Result<Socket> {
    let address = address.clone();
    apart(deadline, interrupt, move || match address {
        Address::Unix(path) => UnixStream::connect(path).map(Socket::Unix),
        Address::Tcp(address) => {
            let socket = match deadline {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1)))?
                }
                None => TcpStream::connect(address)?,
            };
            prepare(&socket)?;
            Ok(Socket::Tcp(socket))
        }
    })
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(socket, true)?;
    rustix::net::sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    rustix::net::sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    rustix::net::sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    Ok(())
}

/// Runs `work` in a thread of its own and leaves it behind at the deadline or an interrupt: the
/// system offers no way to end a look-up, and only an awkward one to end a connect.
fn apart<T: Send + 'static>(
    deadline: Option<Instant>,
    interrupt: &Interrupt,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = crossbeam_channel::bounded(2);
    let waker = sender.clone();
    let _registration = interrupt.register(move || {
        // A full channel means that an outcome is there already.
        let _ = waker.try_send(Err(ErrorKind::ConnectionAborted.into()));
    });
    std::thread::Builder::new().name("connect".to_owned()).spawn(move || {
        // Nobody listens any more when the caller went on.
        let _ = sender.send(work());
    })?;
    let outcome = match deadline {
        Some(deadline) => receiver.recv_deadline(deadline),
        None => receiver.recv().map_err(RecvTimeoutError::from),
    };
    match outcome {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err(ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the connecting thread ended early")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_loopback_are_this_machine_and_other_addresses_are_not() {
        let tcp = |address: &str| Address::Tcp(address.parse().expect("an address"));
        assert!(Address::Unix("/run/postgresql/.s.PGSQL.5432".into()).is_local());
        assert!(tcp("127.0.0.1:5432").is_local() && tcp("[::1]:5432").is_local());
        assert!(!tcp("192.0.2.7:5432").is_local() && !tcp("[2001:db8::1]:5432").is_local());
    }
}

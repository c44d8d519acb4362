//! Reaches a host: looks its name up and connects a socket, neither of which can hold up an
//! interrupt or a deadline.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use rustix::io::Errno;
use rustix::net::sockopt;

use super::settings::{Host, Keepalives};
use super::stream::Socket;
use crate::interrupt::Interrupt;

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

    /// Whether it is reached over IPv6.
    pub(super) fn is_ipv6(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.is_ipv6())
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

/// Whether the system says that nothing leads from this machine to an address, such as to one of
/// IPv6 from a machine without it.
pub(super) fn has_no_way(error: &io::Error) -> bool {
    let unknown_family = Errno::AFNOSUPPORT.raw_os_error();
    error.raw_os_error() == Some(unknown_family)
        || matches!(
            error.kind(),
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable
        )
}

/// Connects to one address.
///
/// # Errors
/// The system's, or `TimedOut` at the deadline.
pub(super) fn connect(
    address: &Address,
    keepalives: &Keepalives,
    deadline: Option<Instant>,
    interrupt: &Interrupt,
) -> io::Result<Socket> {
    let address = address.clone();
    let keepalives = *keepalives;
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
            prepare(&socket, &keepalives)?;
            Ok(Socket::Tcp(socket))
        }
    })
}

fn prepare(socket: &TcpStream, keepalives: &Keepalives) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, keepalives.enabled)?;
    if keepalives.enabled {
        keepalives.idle.map_or(Ok(()), |idle| sockopt::set_tcp_keepidle(socket, idle))?;
        keepalives.interval.map_or(Ok(()), |interval| sockopt::set_tcp_keepintvl(socket, interval))?;
        keepalives.probes.map_or(Ok(()), |probes| sockopt::set_tcp_keepcnt(socket, probes))?;
    }
    if let Some(limit) = keepalives.user_timeout {
        let milliseconds = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(socket, milliseconds)?;
    }
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
    use std::net::TcpListener;

    use super::*;

    fn connected(keepalives: &Keepalives) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = Address::Tcp(listener.local_addr().expect("an address"));
        match connect(&address, keepalives, None, &Interrupt::new()).expect("connected") {
            Socket::Tcp(socket) => socket,
            Socket::Unix(_) => panic!("not a Unix socket"),
        }
    }

    #[test]
    fn a_connection_carries_the_keepalives_that_were_asked_for() {
        let asked = Keepalives {
            enabled: true,
            idle: Some(Duration::from_secs(7)),
            interval: Some(Duration::from_secs(3)),
            probes: Some(2),
            user_timeout: Some(Duration::from_millis(12_345)),
        };
        let socket = connected(&asked);
        assert!(sockopt::socket_keepalive(&socket).expect("an option"));
        assert_eq!(sockopt::tcp_keepidle(&socket).ok(), asked.idle);
        assert_eq!(sockopt::tcp_keepintvl(&socket).ok(), asked.interval);
        assert_eq!(sockopt::tcp_keepcnt(&socket).ok(), asked.probes);
        assert_eq!(sockopt::tcp_user_timeout(&socket).ok(), Some(12_345));
    }

    #[test]
    fn keepalives_can_be_off_or_left_to_the_system() {
        let bare = TcpListener::bind("127.0.0.1:0").expect("bound");
        let left = Keepalives { idle: None, interval: None, probes: None, ..Keepalives::default() };
        let socket = connected(&left);
        assert!(sockopt::socket_keepalive(&socket).expect("an option"));
        assert_eq!(sockopt::tcp_keepidle(&socket).ok(), sockopt::tcp_keepidle(&bare).ok());
        assert_eq!(sockopt::tcp_keepcnt(&socket).ok(), sockopt::tcp_keepcnt(&bare).ok());
        assert_eq!(sockopt::tcp_user_timeout(&socket).ok(), Some(0));
        let off = connected(&Keepalives { enabled: false, ..Keepalives::default() });
        assert!(!sockopt::socket_keepalive(&off).expect("an option"));
    }

    #[test]
    fn sockets_and_loopback_are_this_machine_and_other_addresses_are_not() {
        let tcp = |address: &str| Address::Tcp(address.parse().expect("an address"));
        assert!(Address::Unix("/run/postgresql/.s.PGSQL.5432".into()).is_local());
        assert!(tcp("127.0.0.1:5432").is_local() && tcp("[::1]:5432").is_local());
        assert!(!tcp("192.0.2.7:5432").is_local() && !tcp("[2001:db8::1]:5432").is_local());
    }
}

//! A TCP proxy on loopback that delays, resets or cuts off what a server sends.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// What goes wrong on the way from the server to the client, once its bytes (over all
/// connections) exceed a number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Every piece comes late.
    Delay(Duration),
    /// All connections end in an orderly way.
    CutAfter(u64),
    /// All connections end once, in an orderly way; later ones are left alone.
    CutOnceAfter(u64),
    /// All connections are reset.
    ResetAfter(u64),
    /// Nothing more arrives, and the connections stay open.
    StallAfter(u64),
}

/// What becomes of a COMMIT whose answer gets lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LostCommit {
    /// It never arrives.
    OnTheWay,
    /// The server has answered.
    Answer,
    /// The server has answered, and is not reached any more.
    AnswerAndServer,
}

/// A COMMIT, as clients send it.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// By this a session is known.
const SILENCED: &[u8] = b"SET LOCAL session_replication_role = replica";

struct Shared {
    target: u16,
    fault: Fault,
    passed: AtomicU64,
    stopped: AtomicBool,
    broken: AtomicBool,
    /// What is to become of the next COMMIT.
    losing: Mutex<Option<LostCommit>>,
    /// Answers are swallowed.
    deaf: AtomicBool,
    /// New connections end at once.
    unreachable: AtomicBool,
    /// What clients have yet to send, one after the other, until nothing more of them is passed on.
    awaited: Mutex<VecDeque<&'static str>>,
    held: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

/// Takes connections until dropped.
pub(crate) struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 and passes everything on to `target` there.
    pub(crate) fn start(target: u16, fault: Fault) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            target,
            fault,
            passed: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            losing: Mutex::new(None),
            deaf: AtomicBool::new(false),
            unreachable: AtomicBool::new(false),
            awaited: Mutex::default(),
            held: AtomicBool::new(false),
            streams: Mutex::new(Vec::new()),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for client in listener.incoming().flatten() {
                    if shared.stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    shared.serve(client);
                }
            }
        });
        Self { port, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Once clients have sent all of these, one after the other, nothing more of the last one's connection
    /// is passed on, from the last of them on. Needs connections without TLS.
    pub(crate) fn hold_at(&self, texts: &[&'static str]) {
        self.shared.held.store(false, Ordering::SeqCst);
        self.shared.awaited().extend(texts);
    }

    /// Whether it came to that.
    pub(crate) fn holds(&self) -> bool {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Ends all connections; new ones are served.
    pub(crate) fn end_all(&self) {
        self.shared.end_all(false);
        self.shared.broken.store(false, Ordering::SeqCst);
    }

    /// Ends all connections at the next COMMIT of a session that has silenced triggers, as the one
    /// transaction of a restore does. Needs connections without TLS.
    pub(crate) fn lose_commit(&self, how: LostCommit) {
        *self.shared.losing() = Some(how);
    }

    /// Whether that COMMIT came. The server is reached again.
    pub(crate) fn lost_commit(&self) -> bool {
        self.shared.unreachable.store(false, Ordering::SeqCst);
        self.shared.losing().is_none()
    }

    /// Bytes that came from the server so far.
    pub(crate) fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, client: TcpStream) {
        if self.unreachable.load(Ordering::SeqCst) {
            return;
        }
        // The server may be gone: the client then sees a closed connection.
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)) else { return };
        let pairs =
            [(client.try_clone(), server.try_clone(), false), (server.try_clone(), client.try_clone(), true)];
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).extend([client, server]);
        for (from, to, is_answer) in pairs {
            let (Ok(from), Ok(to)) = (from, to) else { return };
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.pass_on(from, to, is_answer));
        }
    }

    fn pass_on(&self, mut from: TcpStream, mut to: TcpStream, is_answer: bool) {
        let mut buffer = vec![0; 64 * 1024];
        let mut silenced = false;
        while let Ok(read) = from.read(&mut buffer) {
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
            if is_answer && self.goes_wrong(read as u64) {
                return;
            }
            if !is_answer && self.is_held_at(piece) {
                return;
            }
            silenced |= !is_answer && holds(piece, SILENCED);
            if silenced
                && piece == COMMIT
                && let Some(how) = self.losing().take()
            {
                return self.lose_commit(how, &mut to);
            }
            if to.write_all(piece).is_err() {
                break;
            }
        }
        if !self.broken.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    /// Whether a client's piece is the last of what is awaited.
    fn is_held_at(&self, piece: &[u8]) -> bool {
        let mut awaited = self.awaited();
        let was_awaited = !awaited.is_empty();
        while awaited.front().is_some_and(|text| holds(piece, text.as_bytes())) {
            awaited.pop_front();
        }
        let is_last = was_awaited && awaited.is_empty();
        self.held.fetch_or(is_last, Ordering::SeqCst);
        is_last
    }

    fn awaited(&self) -> MutexGuard<'_, VecDeque<&'static str>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all connections, once the COMMIT is where it gets to.
    fn lose_commit(&self, how: LostCommit, server: &mut TcpStream) {
        if how != LostCommit::OnTheWay {
            let answered = self.passed.load(Ordering::SeqCst);
            self.deaf.store(true, Ordering::SeqCst);
            let _ = server.write_all(COMMIT);
            while self.passed.load(Ordering::SeqCst) == answered {
                std::thread::yield_now();
            }
        }
        self.unreachable.store(how == LostCommit::AnswerAndServer, Ordering::SeqCst);
        self.end_all(false);
        self.broken.store(false, Ordering::SeqCst);
        self.deaf.store(false, Ordering::SeqCst);
    }

    fn losing(&self) -> MutexGuard<'_, Option<LostCommit>> {
        self.losing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a piece; true when it must not be passed on.
    fn goes_wrong(&self, length: u64) -> bool {
        let passed = self.passed.fetch_add(length, Ordering::SeqCst) + length;
        if self.deaf.load(Ordering::SeqCst) {
            return true;
        }
        match self.fault {
            Fault::Delay(time) => {
                std::thread::sleep(time);
                false
            }
            Fault::CutAfter(limit) if passed > limit => {
                self.end_all(false);
                true
            }
            Fault::ResetAfter(limit) if passed > limit => {
                self.end_all(true);
                true
            }
            Fault::CutOnceAfter(limit) if passed > limit && !self.broken.swap(true, Ordering::SeqCst) => {
                self.end_all(false);
                true
            }
            Fault::StallAfter(limit) => passed > limit,
            Fault::None | Fault::CutAfter(_) | Fault::CutOnceAfter(_) | Fault::ResetAfter(_) => false,
        }
    }

    fn end_all(&self, reset: bool) {
        self.broken.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let end = if reset {
                // A linger time of zero makes closing a reset; the readers wake up and close.
                let _ = set_socket_linger(&stream, Some(Duration::ZERO));
                Shutdown::Read
            } else {
                Shutdown::Both
            };
            let _ = stream.shutdown(end);
        }
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.end_all(false);
        // Wakes the acceptor.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

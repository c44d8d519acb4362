//! Cancels what a session is doing, over a connection of its own.
//! Flow: PostgreSQL manual, "Message Flow", canceling requests in progress.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::reach::{self, Address};
use super::settings::Keepalives;
use super::stream::{Socket, Stream};
use super::tls::{self, Encryption};
use crate::interrupt::{Interrupt, Registration};

/// Cancels the running statement of one session; usable from any thread, and after the session's
/// end without effect.
#[derive(Clone)]
pub struct CancelHandle(pub(super) Arc<CancelTarget>);

/// How long the cancel request of an interrupted session may take.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(1);

/// The session to cancel.
pub(super) struct CancelTarget {
    pub(super) address: Address,
    pub(super) encryption: Option<Encryption>,
    pub(super) process_id: i32,
    pub(super) secret_key: i32,
}

impl CancelHandle {
    /// Asks the server to cancel the statement that is running now, if any. The session goes on:
    /// its statement ends with code 57014, or has ended before.
    ///
    /// # Errors
    /// When the server cannot be asked within `timeout`.
    pub fn cancel(&self, timeout: Duration) -> io::Result<()> {
        let target = &*self.0;
        let deadline = Instant::now().checked_add(timeout);
        // What ends the run must not end the request that belongs to it.
        let undisturbed = Interrupt::new();
        let socket = reach::connect(&target.address, &Keepalives::default(), deadline, &undisturbed)?;
        let mut stream = Stream::new(Arc::new(socket), deadline);
        if let Some(encryption) = &target.encryption {
            if tls::negotiate(&mut stream)? != b'S' {
                return Err(io::Error::new(ErrorKind::InvalidData, "the server no longer offers TLS"));
            }
            let session = encryption.session().map_err(io::Error::other)?;
            stream.encrypt(session)?;
        }
        let mut request = BytesMut::new();
        frontend::cancel_request(target.process_id, target.secret_key, &mut request);
        stream.write_all(&request)?;
        // The server closes the connection once it has passed the request on.
        let mut nothing = [0; 16];
        while stream.read(&mut nothing)? > 0 {}
        Ok(())
    }
}

impl std::fmt::Debug for CancelHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key lets anyone cancel the session: it stays out.
        formatter.debug_struct("CancelHandle").field("process_id", &self.0.process_id).finish_non_exhaustive()
    }
}

/// Ends a session when the run is interrupted: shuts its socket down, which ends every blocked
/// read and write, and cancels what the server is doing. Dropping it waits until the request is out.
pub(super) struct Hangup {
    request: Arc<Mutex<Option<JoinHandle<()>>>>,
    _registration: Registration,
}

impl Hangup {
    pub(super) fn register(interrupt: &Interrupt, socket: Arc<Socket>, cancel: CancelHandle) -> Self {
        let request = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&request);
        let registration = interrupt.register(move || {
            socket.shut_down();
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.is_none() {
                let cancel = cancel.clone();
                // Without a thread or an answer, the server still notices the closed socket.
                *slot = std::thread::Builder::new()
                    .name("cancel".to_owned())
                    .spawn(move || drop(cancel.cancel(INTERRUPT_TIMEOUT)))
                    .ok();
            }
        });
        Self { request, _registration: registration }
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        let request = self.request.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(request) = request {
            // It holds nothing that could panic.
            let _ = request.join();
        }
    }
}

//! One flag that ends a run, and the blocking operations that want to hear of it.
//!
//! Long loops ask [`Interrupt::check`]. Whatever blocks (a connection waiting for the server, a
//! child process) registers a closure that unblocks it; [`Interrupt::trigger`] calls them all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

type Waker = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Wakers {
    next: u64,
    registered: BTreeMap<u64, Waker>,
}

#[derive(Default)]
struct Shared {
    triggered: AtomicBool,
    wakers: Mutex<Wakers>,
}

/// A cheap, cloneable handle on the run's interrupt flag.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<Shared>);

impl Interrupt {
    /// A flag that nobody has raised yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag and wakes everything registered. May be called from any thread, repeatedly.
    pub fn trigger(&self) {
        self.0.triggered.store(true, Ordering::SeqCst);
        let wakers: Vec<Waker> = {
            let wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            wakers.registered.values().cloned().collect()
        };
        for wake in wakers {
            wake();
        }
    }

    /// Whether the flag is up.
    pub fn is_triggered(&self) -> bool {
        self.0.triggered.load(Ordering::SeqCst)
    }

    /// # Errors
    /// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted) once the flag is up.
    pub fn check(&self) -> Result<()> {
        if self.is_triggered() { Err(Error::interrupted()) } else { Ok(()) }
    }

    /// Registers a closure that unblocks an operation; dropping the registration removes it.
    /// If the flag is up already the closure is called at once.
    pub fn register(&self, wake: impl Fn() + Send + Sync + 'static) -> Registration {
        let wake: Waker = Arc::new(wake);
        let id = {
            let mut wakers = self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            let id = wakers.next;
            wakers.next += 1;
            wakers.registered.insert(id, Arc::clone(&wake));
            id
        };
        if self.is_triggered() {
            wake();
        }
        Registration { shared: Arc::clone(&self.0), id }
    }
}

/// Keeps a waker registered for as long as it lives.
#[must_use]
pub struct Registration {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut wakers = self.shared.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.registered.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    use super::*;
    use crate::ErrorKind;

    fn counter() -> (Arc<AtomicUsize>, impl Fn() + Send + Sync + 'static) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        (calls, move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })
    }

    #[test]
    fn every_clone_hears_of_the_interrupt() {
        let interrupt = Interrupt::new();
        let clone = interrupt.clone();
        assert!(clone.check().is_ok() && !clone.is_triggered());
        interrupt.trigger();
        assert_eq!(clone.check().unwrap_err().kind(), ErrorKind::Interrupted);
        assert!(clone.is_triggered());
    }

    #[test]
    fn what_is_registered_is_called_and_what_was_dropped_is_not() {
        let interrupt = Interrupt::new();
        let ((kept, wake_kept), (dropped, wake_dropped)) = (counter(), counter());
        let registration = interrupt.register(wake_kept);
        drop(interrupt.register(wake_dropped));
        interrupt.trigger();
        assert_eq!((kept.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst)), (1, 0));
        drop(registration);
        interrupt.trigger();
        assert_eq!(kept.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_is_registered_too_late_is_called_at_once() {
        let interrupt = Interrupt::new();
        interrupt.trigger();
        let (calls, wake) = counter();
        let _registration = interrupt.register(wake);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_blocked_thread_is_woken() {
        let interrupt = Interrupt::new();
        let (sender, receiver) = mpsc::channel();
        let _registration = interrupt.register(move || {
            let _ = sender.send(());
        });
        let blocked = std::thread::spawn(move || receiver.recv());
        interrupt.trigger();
        assert_eq!(blocked.join().unwrap(), Ok(()));
    }

    #[test]
    fn a_waker_may_register_and_drop_others_without_a_deadlock() {
        let interrupt = Interrupt::new();
        let inner = interrupt.clone();
        let (calls, _) = counter();
        let counted = Arc::clone(&calls);
        let _registration = interrupt.register(move || {
            drop(inner.register(|| ()));
            counted.fetch_add(1, Ordering::SeqCst);
        });
        interrupt.trigger();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

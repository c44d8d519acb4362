//! Ctrl-C and SIGTERM: the first one ends the run in order, the second one at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::{Error, Result};

use crate::exit::Exit;

/// Raises `interrupt` on the first signal. On the second one, or when the run has not ended by
/// itself within `patience`, the process exits.
///
/// # Errors
/// When the system refuses the handler.
pub(crate) fn install(interrupt: &Interrupt, patience: Duration) -> Result<()> {
    let interrupt = interrupt.clone();
    let raised = AtomicBool::new(false);
    let exit = || std::process::exit(Exit::Interrupted.code().into());
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::SeqCst) {
            exit();
        }
        interrupt.trigger();
        // A thread of its own, so that the handler's thread can hear the second signal.
        let timer = std::thread::Builder::new().spawn(move || {
            std::thread::sleep(patience);
            exit();
        });
        if timer.is_err() {
            exit();
        }
    })
    .map_err(|error| Error::failed("cannot listen for Ctrl-C").source(error))
}

//! Questions on the terminal. What has to be asked is decided in `commands::restore::guard`.

use std::io::Write;
use std::sync::mpsc;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::{Error, Result};

use super::escape::visible;

/// Asks on standard error and reads one line from standard input, trimmed; empty at its end.
///
/// # Errors
/// Interrupted, or standard input cannot be read.
pub(crate) fn ask(question: &str, interrupt: &Interrupt) -> Result<String> {
    let mut error = anstream::stderr();
    // A question that cannot be shown is answered by nobody: the empty answer refuses.
    let _ = write!(error, "{}", visible(question)).and_then(|()| error.flush());
    let (sender, receiver) = mpsc::channel();
    let waker = sender.clone();
    let registration = interrupt.register(move || {
        let _ = waker.send(Err(Error::interrupted()));
    });
    // The thread ends with the process when nobody answers.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        let answer = match read {
            Ok(_) => Ok(line.trim().to_owned()),
            Err(source) => Err(Error::failed("cannot read the answer from standard input").source(source)),
        };
        let _ = sender.send(answer);
    });
    let answer = receiver.recv().unwrap_or_else(|_| Err(Error::interrupted()));
    drop(registration);
    if answer.is_err() {
        let _ = writeln!(error);
    }
    answer
}

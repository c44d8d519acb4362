//! Questions on the terminal. What has to be asked is decided in `commands::restore::guard`.

use std::io::Write;
use std::sync::mpsc;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::repository::encryption::SecretString;
use pgstow_core::{Error, Result};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::escape::visible;

/// Asks on standard error and reads one line from standard input, trimmed; empty at its end.
///
/// # Errors
/// Interrupted, or standard input cannot be read.
pub(crate) fn ask(question: &str, interrupt: &Interrupt) -> Result<String> {
    line(question, interrupt).map(|line| line.trim().to_owned())
}

/// Asks for a secret: what is typed is not shown. Nothing is trimmed but the end of the line.
///
/// # Errors
/// As [`ask`]; the terminal cannot be told to be silent.
pub(crate) fn ask_hidden(question: &str, interrupt: &Interrupt) -> Result<SecretString> {
    let silent =
        |error| Error::failed("the terminal would show what is typed").source(std::io::Error::from(error));
    let shown = tcgetattr(std::io::stdin()).map_err(silent)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(std::io::stdin(), OptionalActions::Flush, &hidden).map_err(silent)?;
    let answer = line(question, interrupt);
    let restored = tcsetattr(std::io::stdin(), OptionalActions::Now, &shown).map_err(silent);
    // The end of the line was not shown either.
    let _ = writeln!(anstream::stderr());
    restored?;
    answer.map(|line| {
        let end = line.strip_suffix('\n').unwrap_or(&line);
        SecretString::from(end.strip_suffix('\r').unwrap_or(end).to_owned())
    })
}

/// The line that is typed.
fn line(question: &str, interrupt: &Interrupt) -> Result<String> {
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
            Ok(_) => Ok(line),
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

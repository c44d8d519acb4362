//! The one public error: what failed, why, and what to do next.
//!
//! Modules keep small typed errors of their own where a caller acts on the difference; here they
//! become a message that names the object, an optional cause, and hints. The kind exists only
//! where the command line acts differently (its exit code).

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// Result of the core's public operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What stands behind the first names of a list for those that are not named: ` and 3 more`, or nothing.
pub(crate) fn and_more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" and {others} more") }
}

/// What the caller has to tell apart; each kind has one exit code in `docs/cli.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It was tried and did not work.
    Failed,
    /// The request itself or the configuration is wrong.
    Usage,
    /// A guard refused to go on; nothing was changed.
    Refused,
    /// There is no such backup, environment or repository.
    NotFound,
    /// Another run holds the lock.
    Locked,
    /// A key is wrong or missing.
    Key,
    /// The user interrupted the run.
    Interrupted,
}

/// A failure that a person can act on.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    why: Option<String>,
    hints: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is lowercase and names the object.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), why: None, hints: Vec::new(), source: None }
    }

    /// Shorthand for [`ErrorKind::Failed`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// Shorthand for [`ErrorKind::Refused`].
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    /// The error every interrupted operation ends with.
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    /// Adds the reason, in a sentence of its own.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Adds a next step; several are shown in order.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds the underlying error; its message is not repeated in `message`.
    #[must_use]
    pub fn source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Puts `context` (an environment, a table, an object) before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The error that `error` carries (see `From<Error> for io::Error`), or else a failure with
    /// `message` whose source it is. For what comes out of readers and writers of this library.
    pub fn from_io(error: io::Error, message: impl Into<String>) -> Self {
        match error.downcast::<Self>() {
            Ok(carried) => carried,
            Err(error) => Self::failed(message).source(error),
        }
    }

    /// What the caller acts on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The first line: what failed.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The reason in words: the explicit one, or else the chain of sources joined by `: `.
    pub fn reason(&self) -> Option<String> {
        if self.why.is_some() {
            return self.why.clone();
        }
        let mut parts: Vec<String> = Vec::new();
        let mut next = self.source.as_deref().map(|source| source as &(dyn StdError + 'static));
        while let Some(error) = next {
            parts.push(error.to_string());
            next = error.source();
        }
        (!parts.is_empty()).then(|| parts.join(": "))
    }

    /// Message and reason in one line.
    pub fn in_one_line(&self) -> String {
        match self.reason() {
            Some(reason) => format!("{self}: {reason}"),
            None => self.to_string(),
        }
    }

    /// Next steps, in order.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Carries the error through [`io::Read`] and [`io::Write`]; [`Error::from_io`] takes it out.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

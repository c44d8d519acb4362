//! Exit codes, in one place, and the failure of a command.

use std::process::ExitCode;

use pgstow_core::{Error, ErrorKind};

/// How the program ends (`docs/cli.md`, "Exit codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// Wrong usage or configuration.
    Usage,
    /// Done, but something was skipped or differs.
    Differs,
    /// Refused by a guard.
    Refused,
    /// No such backup, environment or repository.
    NotFound,
    /// Locked by another run.
    Locked,
    /// Wrong or missing key.
    Key,
    /// Interrupted by the user.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Differs => 3,
            Self::Refused => 4,
            Self::NotFound => 5,
            Self::Locked => 6,
            Self::Key => 7,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Failed => Self::Failed,
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Locked => Self::Locked,
            ErrorKind::Key => Self::Key,
            ErrorKind::Interrupted => Self::Interrupted,
        }
    }
}

/// A command that did not do its work: the error, and in what state it leaves things.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What went wrong.
    pub(crate) error: Error,
    /// The closing line, such as `nothing was written`.
    pub(crate) closing: Option<String>,
}

impl Failure {
    /// A closure for `map_err` that adds the closing line.
    pub(crate) fn closing(closing: &str) -> impl FnOnce(Error) -> Self {
        let closing = Some(closing.to_owned());
        move |error| Self { error, closing }
    }

    /// What failed because the run was being interrupted (a child that got the signal too, a
    /// connection cut off) counts as interrupted.
    pub(crate) fn in_interrupted_run(self) -> Self {
        if self.error.kind() == ErrorKind::Interrupted {
            return self;
        }
        Self { error: Error::interrupted().why(self.error.message()), closing: self.closing }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, closing: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_the_signal_killed_too_is_an_interruption() {
        let failure = Failure::closing("nothing was written")(Error::failed("pg_dump failed"));
        let failure = failure.in_interrupted_run();
        assert_eq!(failure.error.kind(), ErrorKind::Interrupted);
        assert_eq!(failure.error.reason().as_deref(), Some("pg_dump failed"));
        assert_eq!(failure.closing.as_deref(), Some("nothing was written"));
    }

    #[test]
    fn every_kind_of_error_has_the_exit_code_of_the_reference() {
        let kinds = [
            (ErrorKind::Failed, 1),
            (ErrorKind::Usage, 2),
            (ErrorKind::Refused, 4),
            (ErrorKind::NotFound, 5),
            (ErrorKind::Locked, 6),
            (ErrorKind::Key, 7),
            (ErrorKind::Interrupted, 130),
        ];
        for (kind, code) in kinds {
            assert_eq!(Exit::from(kind).code(), code, "{kind:?}");
        }
    }
}

//! Passwords that are kept elsewhere: in a file of their own, or given out by a command.
//!
//! What a command prints is shown to nobody; what it complains of is shown when it fails.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pgstow_core::interrupt::Interrupt;
use pgstow_core::postgres::settings::Secret;
use pgstow_core::{Error, ErrorKind, Result};

use super::command::{self, Wanted};
use super::variables::Variables;

/// The password in a file that holds nothing else.
///
/// # Errors
/// Usage: it cannot be read, or holds no or several lines.
pub(super) fn from_file(path: &Path, notes: &mut Vec<String>) -> Result<Secret> {
    let failed = || Error::new(ErrorKind::Usage, format!("cannot read {}", path.display()));
    let content = std::fs::read_to_string(path).map_err(|error| failed().source(error))?;
    let mode = std::fs::metadata(path).map_err(|error| failed().source(error))?.permissions().mode();
    if mode & 0o077 != 0 {
        // Container platforms mount secrets like this, so it cannot be an error.
        notes.push(format!("{} can be read by others; chmod 600 protects it", path.display()));
    }
    let password = without_line_end(&content);
    if password.is_empty() || password.contains('\n') {
        return Err(failed().why("it must hold the password in one line and nothing else"));
    }
    Ok(Secret::new(password))
}

/// The first line that a shell command prints. It runs in `folder`, with `variables` beside those of
/// the process and without input.
///
/// # Errors
/// When it cannot be started, fails, takes more than 30 seconds or prints nothing; interrupted.
pub(super) fn from_command(
    command: &str,
    folder: &Path,
    variables: &Variables,
    interrupt: &Interrupt,
) -> Result<Secret> {
    password_in(command::run(shell(command), folder, variables, Wanted::FirstLine, interrupt)?)
}

/// All that a shell command prints, which runs as for [`from_command`].
///
/// # Errors
/// As there.
pub(super) fn output_of_command(
    command: &str,
    folder: &Path,
    variables: &Variables,
    interrupt: &Interrupt,
) -> Result<Vec<u8>> {
    command::run(shell(command), folder, variables, Wanted::Everything, interrupt)
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    shell
}

fn password_in(line: Vec<u8>) -> Result<Secret> {
    let failed = |why: &str| Error::failed("the command gave no password").why(why);
    let line = String::from_utf8(line).map_err(|_| failed("the first line it printed is not UTF-8"))?;
    let password = without_line_end(&line);
    match password {
        "" => Err(failed("the first line it printed is empty, or it printed nothing")),
        _ if password.contains('\0') => Err(failed("the first line it printed holds a zero byte")),
        _ => Ok(Secret::new(password)),
    }
}

fn without_line_end(text: &str) -> &str {
    let line = text.strip_suffix('\n').unwrap_or(text);
    line.strip_suffix('\r').unwrap_or(line)
}

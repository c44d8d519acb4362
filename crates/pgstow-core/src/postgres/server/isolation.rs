//! Shuts a server off: neither it nor anything that it starts can open a connection.
//!
//! The kernel holds a filter of system calls for the process, which every process that it starts
//! inherits and none can take off. `connect` is refused whatever the address, so are sockets other than
//! Unix sockets, and the calls by which one process reaches into another. The server still accepts
//! connections on the Unix socket it listens on.
//!
//! A filter belongs to a thread, so it is laid on one that lives as long as the start of the server.

use std::io;
use std::path::Path;
use std::process::{Command, Output};

use crate::error::{Error, Result};

/// Where the system says whether a filter is in force: the word after `Seccomp:`.
const IN_FORCE: &str = "2";

/// Runs a command to its end; what it starts stays shut off for good.
///
/// # Errors
/// The system's: no such filters here, or the command cannot be run.
pub(super) fn output(command: Command) -> io::Result<Output> {
    let thread = std::thread::Builder::new().name("isolated start".to_owned());
    let running = thread.spawn(move || {
        let mut command = command;
        filter::apply()?;
        command.output()
    })?;
    running.join().unwrap_or_else(|_| Err(io::Error::other("the start ended unexpectedly")))
}

/// Makes sure that the server with this data directory is shut off.
///
/// # Errors
/// Refused when it is not, or when nobody can tell.
pub(super) fn check(data: &Path) -> Result<()> {
    let state = || -> Option<String> {
        let process = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", process.lines().next()?.trim())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?;
        Some(line.trim().to_owned())
    };
    if state().is_some_and(|state| state == IN_FORCE) {
        return Ok(());
    }
    Err(Error::refused("the disposable server could not be shut off from the network")
        .why("the system does not say that its filter of system calls is in force"))
}

#[cfg(target_os = "linux")]
mod filter {
    use std::collections::BTreeMap;
    use std::io;

    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule, TargetArch,
    };

    /// Calls that are refused whatever their arguments. With io_uring the kernel would connect by itself.
    const REFUSED: [i64; 6] = [
        libc::SYS_connect,
        libc::SYS_io_uring_setup,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
    ];
    /// Marks the calls of x32, a second way into the kernel on x86-64.
    #[cfg(target_arch = "x86_64")]
    const ALSO: [i64; 2] = [0, 0x4000_0000];
    #[cfg(not(target_arch = "x86_64"))]
    const ALSO: [i64; 1] = [0];

    /// Lays the filter on this thread.
    pub(super) fn apply() -> io::Result<()> {
        let program = program().map_err(io::Error::other)?;
        seccompiler::apply_filter(&program).map_err(io::Error::other)
    }

    fn program() -> Result<BpfProgram, BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for bit in ALSO {
            for call in REFUSED {
                rules.insert(call | bit, Vec::new());
            }
            let family = u64::try_from(libc::AF_UNIX).unwrap_or_default();
            let other = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)?;
            rules.insert(libc::SYS_socket | bit, vec![SeccompRule::new(vec![other])?]);
        }
        let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let here = TargetArch::try_from(std::env::consts::ARCH)?;
        SeccompFilter::new(rules, SeccompAction::Allow, refused, here)?.try_into()
    }
}

#[cfg(not(target_os = "linux"))]
mod filter {
    use std::io;

    /// Only Linux has such filters.
    pub(super) fn apply() -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux can shut a server off"))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What bash says to a connection, whether shut off or not.
    fn connecting_to(port: u16, isolated: bool) -> bool {
        let mut command = Command::new("/bin/bash");
        command.args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")]);
        let output = if isolated { output(command) } else { command.output() };
        output.expect("bash starts").status.success()
    }

    #[test]
    fn a_program_that_is_shut_off_connects_to_nothing() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(connecting_to(port, false));
        assert!(!connecting_to(port, true));
        // The filter was that thread's alone.
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    }
}

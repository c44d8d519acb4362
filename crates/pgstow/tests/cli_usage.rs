//! Usage, exit codes, and what goes to which stream. No server is needed.

mod cli_support;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use cli_support::{Folder, Run};

#[test]
fn wrong_usage_exits_with_2_and_prints_nothing_on_standard_output() {
    let folder = Folder::with(&[]);
    let cases: [&[&str]; 9] = [
        &["bakcup"],
        &["backup", "--jobs", "0"],
        &["backup", "--label", "a_b"],
        &["backup", "prod", "--url", "postgres://h/d"],
        &["backup", "--schema-only", "--data-only"],
        &["backup", "--lock-timeout", "soon"],
        &["restore", "latest"],
        &["restore", "latest", "--to", "a", "--url", "b"],
        &["demo", "--scale", "0"],
    ];
    for arguments in cases {
        let run = folder.run(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
        assert!(run.err.starts_with("error: "), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn wrong_usage_with_json_is_one_object() {
    let run = Folder::with(&[]).run(&["backup", "--json", "--jobs", "0"]);
    assert_eq!((run.code, run.err.as_str()), (2, ""));
    let json = run.json();
    assert_eq!((json["error"]["kind"].as_str(), json["exit_code"].as_i64()), (Some("usage"), Some(2)));
    assert!(json["error"]["message"].as_str().is_some_and(|message| message.contains("--jobs")), "{json}");
}

#[test]
fn no_configuration_at_all_says_what_to_do() {
    let run = Folder::with(&[]).run(&["backup"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(
        run.err.starts_with("error: no environment is configured\n  try  set DATABASE_URL"),
        "{}",
        run.err
    );
    assert!(run.err.ends_with("  nothing was written\n"), "{}", run.err);
}

#[test]
fn an_unknown_environment_exits_with_5_and_a_near_name() {
    let folder =
        Folder::with(&[(".env", "DATABASE_URL_PROD=postgres://h/d\nDATABASE_URL_DEV=postgres://h/e\n")]);
    let run = folder.run(&["check", "prd"]);
    assert_eq!(run.code, 5);
    assert!(run.err.contains("there is no environment \"prd\""), "{}", run.err);
    assert!(run.err.contains("did you mean \"prod\"?"), "{}", run.err);
}

#[test]
fn a_repository_that_is_not_there_exits_with_5() {
    let folder = Folder::with(&[]);
    for arguments in [&["list"][..], &["show", "latest"], &["verify", "latest"]] {
        let run = folder.run(arguments);
        assert_eq!(run.code, 5, "{arguments:?}: {run:?}");
        assert!(!folder.path().join("backups").exists(), "{arguments:?} made a repository");
    }
}

#[test]
fn an_unreachable_server_fails_with_1_and_leaves_nothing_behind() {
    let closed = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.local_addr().expect("its address").port()
    };
    let folder = Folder::with(&[]);
    let url = format!("postgres://app:hunter2@127.0.0.1:{closed}/shop");
    let run = folder.run(&["backup", "--url", &url]);
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{}", run.err);
    assert!(run.err.contains(&format!("127.0.0.1:{closed}")), "{}", run.err);
    assert!(run.err.ends_with("  nothing was written\n"), "{}", run.err);
    assert!(!run.err.contains("hunter2"), "{}", run.err);
    assert!(!folder.path().join("backups").exists(), "an empty repository was left behind");
}

#[test]
fn a_password_on_the_command_line_is_warned_about_and_never_shown() {
    let folder = Folder::with(&[]);
    let unreachable = "postgres://app:hunter2@127.0.0.1:1/shop";
    let shown = folder.run(&["check", "--url", unreachable]);
    assert!(shown.err.contains("warning: a password on the command line"), "{}", shown.err);
    let mut command = folder.command(&["check", "--url", "$SHOP"]);
    let hidden = Run::of(command.env("SHOP", unreachable).output().expect("the program can be started"));
    assert!(!hidden.err.contains("warning: a password"), "{}", hidden.err);
    for run in [shown, hidden] {
        assert!(!run.err.contains("hunter2") && !run.out.contains("hunter2"), "{run:?}");
    }
}

#[test]
fn a_check_that_fails_exits_with_1_and_lists_what_failed() {
    let run = Folder::with(&[]).run(&["check", "--url", "postgres://app@127.0.0.1:1/shop", "--json"]);
    assert_eq!(run.code, 1, "{run:?}");
    let json = run.json();
    assert_eq!(
        (json["passed"].as_bool(), json["database"].as_str()),
        (Some(false), Some("127.0.0.1:1/shop"))
    );
    let failed = |line: &serde_json::Value| line["passed"] == false;
    assert!(json["lines"].as_array().is_some_and(|lines| lines.iter().any(failed)), "{json}");
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_program_quietly() {
    let folder = Folder::with(&[]);
    assert_eq!(folder.run(&["init"]).code, 0);
    for arguments in [&["list"][..], &["list", "--json"], &["--help"], &["restore", "--help"]] {
        let mut command = folder.command(arguments);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let run = Run::of(command.stdout(writer).stderr(Stdio::piped()).output().expect("it can be started"));
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let folder = Folder::with(&[]);
    assert_eq!(folder.run(&["init"]).code, 0);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full is there");
    let run = Run::of(folder.command(&["list"]).stdout(full).output().expect("it can be started"));
    assert_eq!(run.code, 1);
    assert!(run.err.contains("cannot write to standard output"), "{}", run.err);
}

#[test]
fn ctrl_c_ends_a_run_that_waits_for_a_server_within_two_seconds() {
    // A server that takes the connection and never says anything.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let folder = Folder::with(&[]);
    let url = format!("postgres://app@127.0.0.1:{port}/shop");
    let mut command = folder.command(&["backup", "--url", &url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    let (sender, accepted) = mpsc::channel();
    std::thread::spawn(move || sender.send(listener.accept()));
    let Ok(Ok((mut connection, _))) = accepted.recv_timeout(Duration::from_secs(30)) else {
        child.kill().expect("it can be ended");
        panic!("the program did not connect: {:?}", Run::of(child.wait_with_output().expect("it ends")));
    };
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).expect("it can be interrupted");
    let interrupted = Instant::now();
    let run = Run::of(child.wait_with_output().expect("it ends"));
    assert!(interrupted.elapsed() < Duration::from_secs(2), "{:?}", interrupted.elapsed());
    assert_eq!(run.code, 130, "{run:?}");
    assert!(run.err.ends_with("interrupted\n  nothing was written\n"), "{}", run.err);
    // The other end is gone, so this fails or is never read; it must not hang either way.
    let _ = connection.write_all(b"too late");
}

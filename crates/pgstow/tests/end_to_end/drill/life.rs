//! Drills that end early, and what they leave.

use std::path::PathBuf;

use rustix::process::Signal;

use super::{assert_nothing_left, listed, orders};
use crate::support::program::Running;
use crate::support::waiting;
use crate::support::workspace::Workspace;

/// A check that does not end.
const ENDLESS: &str =
    "[[env.prod.check]]\nname = 'endless'\nsql = 'SELECT pg_sleep(3600)'\nexpect = ''\ntimeout = '1h'\n";

/// Data directory and process id of the servers of drills.
fn servers(workspace: &Workspace) -> Vec<(PathBuf, String)> {
    let below =
        |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    below(workspace.temporary())
        .flat_map(below)
        .filter_map(|server| {
            let process = std::fs::read_to_string(server.join("data/postmaster.pid")).ok()?;
            // It is written before the server takes connections, and while the cluster is made.
            let ready = process.lines().last()?.trim() == "ready";
            ready.then_some(())?;
            Some((server, process.lines().next()?.to_owned()))
        })
        .collect()
}

fn is_alive(process: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// A drill whose server runs.
fn begun(workspace: &Workspace) -> (Running, String) {
    workspace.configure(ENDLESS);
    let mut drill = workspace.start(&["verify", "latest", "--drill"]);
    waiting::until("the server of the drill runs", || {
        assert!(drill.is_running(), "the drill goes on");
        !servers(workspace).is_empty()
    });
    workspace.configure("");
    let process = servers(workspace).remove(0).1;
    (drill, process)
}

#[test]
fn what_a_killed_drill_left_goes_with_the_next_and_a_live_one_stays() {
    let (_source, workspace) = orders();
    workspace.configure("");
    let backup = workspace.backup(&[]);
    let (killed, left) = begun(&workspace);
    killed.signal(Signal::KILL);
    killed.finish().ended_with(137);
    assert!(is_alive(&left), "a server outlives its killed drill");

    let next = workspace.run(&["verify", &backup, "--drill"]).succeeded();
    next.saying(&["left by a drill that was killed", "is proven"]);
    assert!(!is_alive(&left));
    assert_nothing_left(&workspace);

    let (live, server) = begun(&workspace);
    workspace.run(&["verify", &backup, "--drill"]).succeeded().saying(&["is proven"]);
    assert!(is_alive(&server), "another drill ended the server of a live one");
    live.signal(Signal::INT);
    live.finish().ended_with(130);
    assert!(!is_alive(&server));
    assert_nothing_left(&workspace);
    assert!(
        listed(&workspace)["drill_failed_at"].is_null(),
        "an interrupted drill says nothing of the backup"
    );
}

#[test]
fn a_folder_that_names_a_strangers_process_does_not_end_it() {
    let (_source, workspace) = orders();
    let backup = workspace.backup(&[]);
    let folder = workspace.temporary().join("pgstow-drill-dead");
    std::fs::create_dir_all(folder.join("server/data")).expect("a folder");
    std::fs::write(folder.join("lock"), "").expect("a file");
    let mut stranger = std::process::Command::new("sleep").arg("3600").spawn().expect("a process");
    std::fs::write(folder.join("server/data/postmaster.pid"), format!("{}\n", stranger.id()))
        .expect("a file");
    workspace.run(&["verify", &backup, "--drill"]).succeeded();
    let lives = stranger.try_wait().expect("a child").is_none();
    stranger.kill().and_then(|()| stranger.wait()).expect("a child");
    assert!(lives, "a process was ended that is no server of that folder");
    assert!(!folder.exists());
}

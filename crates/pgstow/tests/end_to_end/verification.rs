//! `pgstow verify`: the checklist, samples, and the whole repository.

use crate::support::psql::Database;
use crate::support::servers::{self, DEFAULT_MAJOR};
use crate::support::workspace::{Workspace, files_below};

/// Two tables, each in objects of its own, and a second backup that shares those of one.
fn two_backups() -> (Database, Workspace, [String; 2]) {
    let server = servers::shared(DEFAULT_MAJOR);
    let source = server.database("source");
    source.run(
        "CREATE TABLE steady (n integer, body text); \
         INSERT INTO steady SELECT n, md5(n::text) || md5((n * 3)::text) FROM generate_series(1, 400000) AS n; \
         CREATE TABLE busy AS SELECT n FROM generate_series(1, 1000) AS n",
    );
    let workspace = Workspace::with_source(&source);
    let first = workspace.backup(&[]);
    source.run("UPDATE busy SET n = n + 1");
    let second = workspace.backup(&["--full"]);
    (source, workspace, [first, second])
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("one JSON object")
}

#[test]
fn the_checklist_has_a_verdict_for_every_line() {
    let (source, mut workspace, [first, _]) = two_backups();
    let quick = workspace.run(&["verify", &first]).succeeded();
    quick.saying(&[
        "not empty",
        "everything was carried",
        "can be listed",
        "never restored",
        "age",
        "contents not read",
    ]);
    workspace.environment("DEV", &source.server.database("target").url());
    workspace.run(&["restore", &first, "--to", "dev"]).succeeded();
    let full = workspace.run(&["verify", &first, "--read-data", "--json"]).succeeded();
    let report = json(&full.stdout);
    let lines: Vec<(&str, &str)> = report["lines"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| (line["what"].as_str().expect("a name"), line["verdict"].as_str().expect("a verdict")))
        .collect();
    let whats = [
        "header",
        "manifest",
        "not empty",
        "complete",
        "files",
        "object list",
        "schema archive",
        "catalog",
        "objects",
        "rows",
        "restores",
    ];
    assert_eq!(lines, whats.map(|what| (what, "passed")));
    assert_eq!((&report["good"], &report["complete"]), (&true.into(), &true.into()));
}

#[test]
fn a_sample_tells_its_seed_and_can_be_repeated() {
    let (_source, workspace, [first, _]) = two_backups();
    let sample = json(&workspace.run(&["verify", &first, "--sample", "20%", "--json"]).succeeded().stdout);
    let seed = sample["seed"].to_string();
    let again = workspace.run(&["verify", &first, "--sample", "20%", "--seed", &seed, "--json"]).succeeded();
    assert_eq!(json(&again.stdout), sample);
    let all = json(&workspace.run(&["verify", &first, "--read-data", "--json"]).succeeded().stdout);
    let read = |report: &serde_json::Value| report["read_bytes"].as_u64().expect("a number");
    assert!(read(&sample) * 5 >= read(&all) && read(&sample) < read(&all), "{sample} {all}");
    workspace
        .run(&["verify", "--all", "--sample", "20", "--seed", &seed])
        .succeeded()
        .saying(&["--seed", &seed]);
    for wrong in [&["--sample", "0%"][..], &["--seed", "1"], &["--sample", "5%", "--read-data"]] {
        let all: Vec<&str> = ["verify", &first].iter().chain(wrong).copied().collect();
        workspace.run(&all).ended_with(2);
    }
    workspace.run(&["verify"]).ended_with(2);
    workspace.run(&["verify", &first, "--all"]).ended_with(2);
}

#[test]
fn the_whole_repository_is_checked_and_each_fault_names_backups_and_tables() {
    let (_source, workspace, [first, second]) = two_backups();
    let good = workspace.run(&["verify", "--all", "--read-data"]).succeeded();
    good.saying(&["2 backups, all good"]);
    let objects = files_below(&workspace.repository().join("objects"));
    // The largest is one of the table that both share.
    let (shared, _) = objects.iter().max_by_key(|(_, bytes)| bytes).expect("an object").clone();
    let sound = std::fs::read(&shared).expect("an object");
    std::fs::remove_file(&shared).expect("the object goes");
    let name = shared.file_name().expect("a name").to_string_lossy().into_owned();
    for arguments in [&["verify", "--all"][..], &["verify", "--all", "--read-data"]] {
        workspace.run(arguments).ended_with(1).saying(&[
            &name,
            &format!("{first}: public.steady"),
            &format!("{second}: public.steady"),
            "1 fault; 2 of 2 backups touched",
        ]);
    }
    std::fs::write(&shared, sound).expect("the object is put back");
    let orphan = workspace.repository().join(format!("objects/00/{}.zst", "0".repeat(64)));
    std::fs::create_dir_all(orphan.parent().expect("a folder")).expect("a folder");
    std::fs::write(&orphan, "nobody's").expect("a file");
    workspace.run(&["verify", "--all"]).succeeded().saying(&["1 object of 8 B that no backup uses"]);
    assert!(orphan.exists(), "nothing is removed");
}

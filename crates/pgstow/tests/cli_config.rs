//! Configuration as the program meets it: `init`, `pgstow.toml`, `.env`.

mod cli_support;

use cli_support::{Folder, Run};

fn written(folder: &Folder) -> String {
    std::fs::read_to_string(folder.path().join("pgstow.toml")).expect("init wrote pgstow.toml")
}

#[test]
fn init_writes_references_to_the_variables_it_finds_and_no_secret() {
    let folder = Folder::with(&[(".env", "DATABASE_URL_PROD=postgres://u:hunter2@h/p\n")]);
    let mut command = folder.command(&["init"]);
    command.env("DATABASE_URL_STAGING", "postgres://u:hunter3@h/s");
    let run = Run::of(command.output().expect("it can be started"));
    assert_eq!(run.code, 0, "{run:?}");
    let config = written(&folder);
    assert!(config.contains("[env.prod]\nurl = \"${DATABASE_URL_PROD}\"\nprotected = true\n"), "{config}");
    assert!(config.contains("[env.staging]\nurl = \"${DATABASE_URL_STAGING}\"\n"), "{config}");
    assert!(!config.contains("hunter") && !run.out.contains("hunter"), "{config}\n{run:?}");
    assert!(folder.path().join("backups/pgstow.json").is_file());
    assert!(run.out.contains("pgstow check prod"), "{}", run.out);
}

#[test]
fn init_never_overwrites() {
    let folder = Folder::with(&[("pgstow.toml", "default_env = 'a'\n[env.a]\nurl = 'postgres://h/d'\n")]);
    let before = written(&folder);
    let run = folder.run(&["init"]);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.err.contains("pgstow.toml exists already"), "{}", run.err);
    assert_eq!(written(&folder), before);
    assert!(!folder.path().join("backups").exists());
}

#[test]
fn init_can_write_elsewhere_and_what_it_writes_works() {
    let folder = Folder::with(&[]);
    std::fs::create_dir(folder.path().join("etc")).expect("a folder");
    let run = folder.run(&["init", "--config", "etc/shop.toml", "--repository", "store"]);
    assert_eq!(run.code, 0, "{run:?}");
    let listed = folder.run(&["list", "--config", "etc/shop.toml", "--json"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    let repository = listed.json()["repository"].as_str().map(str::to_owned);
    assert!(repository.is_some_and(|repository| repository.ends_with("/store")), "{listed:?}");
}

#[test]
fn a_new_repository_lists_nothing() {
    let folder = Folder::with(&[]);
    let json = folder.run(&["init", "--json"]).json();
    assert_eq!(json["environments"], serde_json::json!([]));
    let run = folder.run(&["list"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(run.out.starts_with("no backups in "), "{}", run.out);
    let json = folder.run(&["list", "--json"]).json();
    assert_eq!((&json["backups"], &json["damaged"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn a_mistake_in_the_file_is_named_with_file_and_line() {
    let cases = [
        (
            "[env.prod]\nurll = 'x'\n",
            "error: pgstow.toml:2: unknown key \"urll\" in [env.prod]\n  try  did you mean \"url\"?\n",
        ),
        (
            "[env.prod.schedule]\n",
            "error: pgstow.toml:1: \"schedule\" in [env.prod] is not supported by this version\n",
        ),
        (
            "[env.prod]\nurl = 'x'\n[env.prod.retention]\nkeep_last = 0\n",
            "error: env.prod.retention keeps nothing\n  why  it would delete every backup but the newest good one\n",
        ),
        ("[env.prod]\nport = 'x'\n", "error: pgstow.toml:2: cannot be read\n  why  expected u16\n"),
        (
            "[env.prod]\nurl = 'postgres://u:hunter2@h/d'\n[env.prod]\n",
            "error: pgstow.toml:3: cannot be read\n",
        ),
    ];
    for (file, message) in cases {
        let run = Folder::with(&[("pgstow.toml", file)]).run(&["list"]);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{file}");
        assert!(run.err.starts_with(message), "{file}: {}", run.err);
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }
}

#[test]
fn a_variable_that_is_not_set_breaks_only_the_environment_that_needs_it() {
    let file = "[env.prod]\nurl = '${MISSING}'\n[env.dev]\nurl = 'postgres://app@127.0.0.1:1/d'\n";
    let folder = Folder::with(&[("pgstow.toml", file)]);
    let prod = folder.run(&["check", "prod"]);
    assert_eq!(prod.code, 2);
    assert!(prod.err.contains("env.prod.url needs the variable MISSING, which is not set"), "{}", prod.err);
    let dev = folder.run(&["check", "dev"]);
    assert_eq!(dev.code, 1, "{dev:?}");
}

#[test]
fn a_repository_of_an_unknown_kind_and_one_with_credentials_in_its_url_are_refused_as_usage() {
    let run = Folder::with(&[]).run(&["list", "--repository", "sftp://host/prefix"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("unknown kind of repository \"sftp\""), "{}", run.err);
    let run = Folder::with(&[]).run(&["list", "--repository", "s3://AKIA:hunter2@bucket/prefix"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("credentials do not belong in the URL"), "{}", run.err);
    assert!(!run.err.contains("hunter2"), "{}", run.err);
}

#[test]
fn check_names_a_wrong_key_of_the_repository_and_shows_no_secret() {
    let file = "[repository]\nurl = 's3://b'\nsecret_access_key = '${KEY}'\n[env.dev]\nurl = 'postgres://app@127.0.0.1:1/d'\n";
    let folder = Folder::with(&[("pgstow.toml", file), (".env", "KEY=hunter2\n")]);
    let run = folder.run(&["check"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.out.contains("repository.access_key_id is missing"), "{}", run.out);
    assert!(!format!("{run:?}").contains("hunter2"), "{run:?}");
}

#[test]
fn init_writes_nothing_when_the_bucket_cannot_be_used() {
    let keys = "AWS_ACCESS_KEY_ID=id\nAWS_SECRET_ACCESS_KEY=hunter2\nAWS_ENDPOINT_URL=http://127.0.0.1:1\n";
    let folder = Folder::with(&[(".env", keys)]);
    let run = folder.run(&["init", "--repository", "s3://bucket/prefix"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("127.0.0.1:1 cannot be reached"), "{}", run.err);
    assert!(run.err.contains("nothing was written"), "{}", run.err);
    assert!(!folder.path().join("pgstow.toml").exists());
    assert!(!format!("{run:?}").contains("hunter2"), "{run:?}");
}

#[test]
fn list_of_an_unknown_environment_is_not_found() {
    let folder = Folder::with(&[(".env", "DATABASE_URL_PROD=postgres://h/d\n")]);
    assert_eq!(folder.run(&["init"]).code, 0);
    assert_eq!(folder.run(&["list", "prod"]).code, 0);
    let run = folder.run(&["list", "prodd"]);
    assert_eq!(run.code, 5);
    assert!(run.err.contains("did you mean \"prod\"?"), "{}", run.err);
}

//! How environments say where their database is.

use std::os::unix::fs::PermissionsExt;

use pgstow_core::postgres::settings::Host;
use tempfile::TempDir;

use super::*;
use crate::config::Config;

/// The connection of environment `prod` of a folder with these files.
fn connect(files: &[(&str, &str)], variables: &[(&str, &str)]) -> (TempDir, Result<ConnectionSettings>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let process = Process::with_variables(variables);
    let settings = Config::load(None, folder.path(), &process)
        .and_then(|config| config.environment(Some("prod"))?.connection(&config.variables, &process));
    (folder, settings)
}

fn tcp(settings: &ConnectionSettings) -> (&str, u16) {
    match settings.hosts.as_slice() {
        [Host::Tcp { host, port, .. }] => (host, *port),
        other => panic!("not one TCP host: {other:?}"),
    }
}

fn password(settings: &ConnectionSettings) -> Option<&str> {
    settings.password.as_ref().map(Secret::expose)
}

#[test]
fn a_url_takes_its_secret_from_a_variable() {
    let files = [("pgstow.toml", "[env.prod]\nurl = 'postgres://app:${PASSWORD}@db:5433/shop'\n")];
    let (_folder, settings) = connect(&files, &[("PASSWORD", "s3cret")]);
    let settings = settings.unwrap();
    assert_eq!((tcp(&settings), settings.user.as_str()), (("db", 5433), "app"));
    assert_eq!((settings.database.as_str(), password(&settings)), ("shop", Some("s3cret")));
}

#[test]
fn parts_and_a_password_file_make_a_connection() {
    let file = "[env.prod]\nhost = 'db'\nport = 5433\nuser = \"o'neil\\\\\"\ndatabase = 'my shop'\npassword_file = 'secret'\n";
    let (_folder, settings) = connect(&[("pgstow.toml", file), ("secret", "p w'\\\"$#\n")], &[]);
    let settings = settings.unwrap();
    assert_eq!((tcp(&settings), settings.user.as_str()), (("db", 5433), "o'neil\\"));
    assert_eq!((settings.database.as_str(), password(&settings)), ("my shop", Some("p w'\\\"$#")));
    assert!(settings.notes.is_empty(), "{:?}", settings.notes);
}

#[test]
fn a_password_file_that_others_can_read_is_noted() {
    let file = "[env.prod]\nhost = 'db'\npassword_file = 'secret'\n";
    let (folder, _) = connect(&[("pgstow.toml", file), ("secret", "x")], &[]);
    let path = folder.path().join("secret");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let process = Process::with_variables(&[]);
    let config = Config::load(None, folder.path(), &process).ok().unwrap();
    let settings = config.environment(None).unwrap().connection(&config.variables, &process).unwrap();
    assert!(settings.notes.iter().any(|note| note.contains("chmod 600")), "{:?}", settings.notes);
}

#[test]
fn an_env_file_with_the_keys_of_supabase_scripts_is_understood() {
    let config = ("pgstow.toml", "[env.prod]\nenv_file = '.env.backup'\n");
    let keys =
        "DB_HOST=db.example.org\nDB_PORT=6000\nDB_USER=postgres\nDB_NAME=app\nDB_PASSWORD='p#ss w@rd/'\n";
    let (_folder, settings) = connect(&[config, (".env.backup", keys)], &[("DB_HOST", "ignored")]);
    let settings = settings.unwrap();
    assert_eq!((tcp(&settings), password(&settings)), (("db.example.org", 6000), Some("p#ss w@rd/")));
    assert_eq!((settings.user.as_str(), settings.database.as_str()), ("postgres", "app"));
}

#[test]
fn an_env_file_may_hold_urls_and_the_one_of_the_environment_wins() {
    let config = ("pgstow.toml", "[env.prod]\nenv_file = 'vars'\n");
    let both = "DATABASE_URL=postgres://dev/d\nDATABASE_URL_PROD=postgres://prod/p\n";
    for (vars, host) in [(both, "prod"), ("DATABASE_URL=postgres://dev/d\n", "dev")] {
        let (_folder, settings) = connect(&[config, ("vars", vars)], &[]);
        assert_eq!(tcp(&settings.unwrap()).0, host);
    }
}

#[test]
fn what_is_missing_is_named() {
    let cases: [(&[(&str, &str)], &str); 6] = [
        (
            &[("pgstow.toml", "[env.prod]\nurl = '${NOT_THERE}'")],
            "env.prod.url needs the variable NOT_THERE, which is not set",
        ),
        (&[("pgstow.toml", "[env.prod]\nenv_file = 'gone'")], "env.prod.env_file: "),
        (&[("pgstow.toml", "[env.prod]\nenv_file = 'vars'"), ("vars", "X=1")], "env.prod.env_file: "),
        (
            &[("pgstow.toml", "[env.prod]\nhost = 'h'\npassword_file = 'gone'")],
            "env.prod.password_file: cannot read",
        ),
        (
            &[("pgstow.toml", "[env.prod]\nhost = 'h'\npassword_file = 'p'"), ("p", "\n")],
            "env.prod.password_file: ",
        ),
        (
            &[("pgstow.toml", "[env.prod]\nhost = 'h'\npassword_file = 'p'"), ("p", "a\nb\n")],
            "env.prod.password_file",
        ),
    ];
    for (files, message) in cases {
        let (_folder, settings) = connect(files, &[]);
        let error = settings.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Usage, "{message}");
        assert!(error.message().starts_with(message), "{}", error.message());
    }
}

#[test]
fn a_project_reference_alone_is_refused_with_what_to_add() {
    let files = [
        ("pgstow.toml", "[env.prod]\nenv_file = 'vars'"),
        ("vars", "DB_PROJECT_REF=abcd\nDB_PASSWORD=hunter2\n"),
    ];
    let (_folder, settings) = connect(&files, &[]);
    let error = settings.err().unwrap();
    assert!(error.reason().unwrap().contains("DB_PROJECT_REF"), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn an_interval_counts_days_of_24_hours_and_is_never_negative() {
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    let cases = [
        ("7d", hours(7 * 24)),
        ("1w 2d", hours(9 * 24)),
        ("36h", hours(36)),
        ("90m", hours(1).map(|hour| hour + hour / 2)),
        ("0s", hours(0)),
        ("0d", hours(0)),
        ("-1d", None),
        ("1d ago", None),
        ("1 month", None),
        ("1y", None),
        ("7", None),
        ("", None),
        ("weekly", None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_interval(text), expected, "{text:?}");
    }
}

#[test]
fn full_every_is_a_key_of_an_environment() {
    let file = "[env.prod]\nurl = 'postgres://h/d'\nfull_every = '12h'\n[env.dev]\nurl = 'postgres://h/e'\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pgstow.toml"), file).unwrap();
    let config = Config::load(None, folder.path(), &Process::with_variables(&[])).ok().unwrap();
    let full_every = |name| config.environment(Some(name)).unwrap().full_every;
    assert_eq!(full_every("prod"), Some(Duration::from_secs(12 * 3600)));
    assert_eq!(full_every("dev"), None);
}

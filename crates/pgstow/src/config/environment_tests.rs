//! How environments say where their database is.

use std::os::unix::fs::PermissionsExt;

use pgstow_core::postgres::settings::{ChannelBinding, Host, SslMode};
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

/// The connection of environment `prod` whose env file holds these lines.
fn connect_with_keys(keys: &str, variables: &[(&str, &str)]) -> Result<ConnectionSettings> {
    let config = "[env.prod]\nenv_file = '.env.backup'\n";
    connect(&[("pgstow.toml", config), (".env.backup", keys)], variables).1
}

#[test]
fn a_supabase_project_is_reached_by_its_reference_directly_or_through_its_pooler() {
    let pooler = "aws-0-eu-central-1.pooler.supabase.com";
    let direct = "db.abcd1234.supabase.co";
    let through = |rest: &str| format!("DB_PROJECT_REF=abcd1234\nDB_HOST={pooler}\n{rest}");
    let cases = [
        ("DB_PROJECT_REF=abcd1234".to_owned(), direct, 5432, "postgres", "postgres"),
        ("DB_HOST=\nDB_PROJECT_REF=abcd1234\nDB_USER=eve".to_owned(), direct, 5432, "eve", "postgres"),
        (through(""), pooler, 5432, "postgres.abcd1234", "postgres"),
        (through("DB_USER=reader\nDB_NAME=app\nDB_PORT=6000"), pooler, 6000, "reader.abcd1234", "app"),
        (through("DB_USER=postgres.abcd1234"), pooler, 5432, "postgres.abcd1234", "postgres"),
        (format!("DB_HOST={pooler}\nDB_USER=postgres.xyz"), pooler, 5432, "postgres.xyz", "postgres"),
        (format!("DB_HOST={direct}"), direct, 5432, "postgres", "postgres"),
        (
            "DB_HOST=db.example.org\nDB_PROJECT_REF=abcd1234".to_owned(),
            "db.example.org",
            5432,
            "postgres",
            "postgres",
        ),
    ];
    for (keys, host, port, user, database) in cases {
        let keys = format!("{keys}\nDB_PASSWORD='p@ss/w:rd#%41'\n");
        // What Supabase leaves no choice about is not taken from the variables.
        let variables = [("PGPORT", "7000"), ("PGUSER", "other"), ("PGDATABASE", "other")];
        let settings = connect_with_keys(&keys, &variables).unwrap();
        assert_eq!(tcp(&settings), (host, port), "{keys}");
        assert_eq!((settings.user.as_str(), settings.database.as_str()), (user, database), "{keys}");
        assert_eq!(password(&settings), Some("p@ss/w:rd#%41"));
        assert_eq!(settings.ssl_mode, SslMode::Require, "{keys}");
    }
}

#[test]
fn a_host_that_is_not_supabases_takes_the_usual_defaults() {
    let variables = [("PGUSER", "eve"), ("PGDATABASE", "shop"), ("PGPORT", "7000")];
    let settings = connect_with_keys("DB_HOST=db.example.org\nDB_PASSWORD=x\n", &variables).unwrap();
    assert_eq!(tcp(&settings), ("db.example.org", 7000));
    assert_eq!((settings.user.as_str(), settings.database.as_str()), ("eve", "shop"));
    assert_eq!(settings.ssl_mode, SslMode::Prefer);
}

#[test]
fn encryption_of_a_supabase_project_can_be_chosen_otherwise() {
    let keys = "DB_PROJECT_REF=abcd\nDB_PASSWORD=x\n";
    let settings = connect_with_keys(keys, &[("PGSSLMODE", "prefer")]).unwrap();
    assert_eq!(settings.ssl_mode, SslMode::Prefer);
    let file = "[env.prod]\nenv_file = 'keys'\nsslmode = 'verify-full'\nsslrootcert = 'supabase.crt'\n";
    let (folder, settings) = connect(&[("pgstow.toml", file), ("keys", keys)], &[]);
    let settings = settings.unwrap();
    assert_eq!(settings.ssl_mode, SslMode::VerifyFull);
    assert_eq!(settings.ssl_root_cert, Some(folder.path().join("supabase.crt")));
    let url = "DATABASE_URL=postgres://u:hunter2@h/d";
    let (_folder, refused) = connect(&[("pgstow.toml", file), ("keys", url)], &[]);
    let error = refused.err().unwrap();
    assert!(error.message().starts_with("env.prod.env_file: "), "{error:?}");
    assert!(error.hints()[0].contains("into the URL"), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn wrong_keys_of_an_env_file_are_named_without_their_values() {
    for (keys, part) in [
        ("DB_PROJECT_REF=https://hunter2.supabase.co\n", "DB_PROJECT_REF"),
        ("DB_HOST='db.${hunter2}.supabase.co'\n", "nothing in such files is replaced"),
        ("DB_PASSWORD=hunter2\n", "says nothing of where the database is"),
        ("DB_HOST=h\nDB_PORT=hunter2\n", "port"),
    ] {
        let error = connect_with_keys(keys, &[]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Usage);
        let shown = format!("{error:?}");
        assert!(shown.contains(part) && !shown.contains("hunter2"), "{keys}: {shown}");
    }
}

#[test]
fn a_service_and_a_client_certificate_are_keys_of_an_environment() {
    let services = "[shop]\nhost=db.example\nuser=bob\ndbname=shop\n";
    let file = "[env.prod]\nservice = 'shop'\nuser = 'eve'\nsslmode = 'verify-full'\nsslrootcert = 'system'\n\
                sslcert = 'own.crt'\nsslkey = '/keys/own.key'\nchannel_binding = 'require'\n";
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("pgstow.toml", file), ("services", services), ("own.crt", "")] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let path = folder.path().join("services").display().to_string();
    let process = Process::with_variables(&[("PGSERVICEFILE", &path)]);
    let config = Config::load(None, folder.path(), &process).ok().unwrap();
    let settings = config.environment(None).unwrap().connection(&config.variables, &process).unwrap();
    assert_eq!((tcp(&settings), settings.user.as_str()), (("db.example", 5432), "eve"));
    assert_eq!((settings.database.as_str(), settings.channel_binding), ("shop", ChannelBinding::Require));
    assert_eq!(settings.ssl_root_cert.as_deref(), Some(Path::new("system")));
    let client = settings.ssl_client.unwrap();
    assert_eq!((client.certificate, client.key), (folder.path().join("own.crt"), "/keys/own.key".into()));
}

/// The password of environment `prod` with this `password_command`, as commands connect.
fn run_command(command: &str, files: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Option<String>> {
    let file = format!("[env.prod]\nhost = 'db'\npassword_command = '''{command}'''\n");
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files.iter().chain(&[("pgstow.toml", file.as_str())]) {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let process = Process::with_variables(variables);
    let config = Config::load(None, folder.path(), &process)?;
    let environment = config.environment(Some("prod"))?;
    // Saying how to connect runs nothing.
    assert!(environment.connection(&config.variables, &process)?.password.is_none());
    let settings = environment.connection_with_password(&config.variables, &process, &Interrupt::new())?;
    Ok(password(&settings).map(str::to_owned))
}

#[test]
fn the_first_line_that_a_command_prints_is_the_password() {
    let any = "p@ss 'w\"rd' $x %41 \\ é";
    let files = [("secret", any), (".env", "FROM_FILE=filed\n")];
    for (command, expected) in [
        ("cat secret", any),
        (r"printf 'one\ntwo\n'", "one"),
        (r"printf 'one\r\n'", "one"),
        ("printf ' blanks '", " blanks "),
        ("echo complaint >&2; echo fine", "fine"),
        ("echo $FROM_FILE", "filed"),
        ("echo ${FROM_PROCESS}", "processed"),
        (r#"read line; echo "nothing:$line""#, "nothing:"),
        ("echo first; head -c 1000000 /dev/zero", "first"),
        ("sleep 20 >/dev/null 2>&1 & echo left", "left"),
    ] {
        let found = run_command(command, &files, &[("FROM_PROCESS", "processed")]);
        assert_eq!(found.unwrap().as_deref(), Some(expected), "{command}");
    }
}

#[test]
fn a_command_that_fails_is_quoted_in_its_complaint_and_never_in_its_output() {
    for (command, parts) in [
        ("echo hunter2; echo 'no such entry' >&2; exit 3", vec!["exit status: 3", "no such entry"]),
        ("echo hunter2; kill -9 $$", vec!["signal: 9"]),
        ("true", vec!["gave no password", "printed nothing"]),
        ("echo; echo hunter2", vec!["is empty"]),
        (r"printf 'hunter2\377\n'", vec!["not UTF-8"]),
        (r"printf 'hunter2\000\n'", vec!["zero byte"]),
    ] {
        let error = run_command(command, &[], &[]).err().unwrap();
        assert!(error.message().starts_with("env.prod.password_command: "), "{error:?}");
        let shown = format!("{error:?}");
        for part in parts {
            assert!(shown.contains(part), "{command}: {part} is missing in {shown}");
        }
        assert!(!shown.contains("hunter2"), "{command}: {shown}");
    }
}

/// Polls until it holds; a test that waits in vain fails.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_interrupt_ends_a_command_and_what_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let command = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", mark.display());
    let interrupt = Interrupt::new();
    let outcome = std::thread::spawn({
        let (interrupt, folder) = (interrupt.clone(), folder.path().to_owned());
        move || password::from_command(&command, &folder, &Variables::default(), &interrupt)
    });
    until("the command began", || mark.exists());
    interrupt.trigger();
    let error = outcome.join().unwrap().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    let started: i32 = std::fs::read_to_string(&mark).unwrap().trim().parse().unwrap();
    until("what the command started has ended", || {
        let state = std::fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
        state.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
    });
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

#[test]
fn auth_users_is_a_key_of_an_environment() {
    let file = "[env.prod]\nurl = 'postgres://h/d'\nauth_users = 'none'\n[env.dev]\nurl = 'postgres://h/e'\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pgstow.toml"), file).unwrap();
    let config = Config::load(None, folder.path(), &Process::with_variables(&[])).ok().unwrap();
    let auth_users = |name| config.environment(Some(name)).unwrap().auth_users;
    assert_eq!(auth_users("prod"), Some(AuthUsers::None));
    assert_eq!(auth_users("dev"), None);
}

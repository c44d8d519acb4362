//! Configuration as files and variables give it.

use std::fs;

use tempfile::TempDir;

use super::*;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn load(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Config> {
    let folder = folder(files);
    Config::load(None, folder.path(), &Process::with_variables(variables))
}

fn names(config: &Config) -> Vec<&str> {
    config.environments().map(|environment| environment.name.as_str()).collect()
}

fn refusal(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Error {
    load(files, variables).err().unwrap()
}

#[test]
fn environments_come_from_variables_when_there_is_no_file() {
    let variables = [
        ("DATABASE_URL", "postgres://h/a"),
        ("DATABASE_URL_PROD", "postgres://h/b"),
        ("DATABASE_URL_EU_WEST", "postgres://h/c"),
        ("DATABASE_URL_EMPTY", ""),
        ("DATABASE_URLS", "x"),
        ("DATABASE_URL_", "x"),
    ];
    let config = load(&[], &variables).ok().unwrap();
    assert_eq!(names(&config), ["default", "eu-west", "prod"]);
    assert!(config.environments().all(|environment| !environment.protected));
}

#[test]
fn environments_come_from_dotenv_and_the_process_wins() {
    let files = [(".env", "DATABASE_URL_STAGING=postgres://file/a\nDATABASE_URL_PROD=postgres://file/b\n")];
    let config = load(&files, &[("DATABASE_URL_PROD", "postgres://process/b")]).ok().unwrap();
    assert_eq!(names(&config), ["prod", "staging"]);
    assert_eq!(config.variables.get("DATABASE_URL_PROD"), Some("postgres://process/b"));
}

#[test]
fn a_file_without_environments_leaves_those_of_the_variables() {
    let files = [("pgstow.toml", "[repository]\nurl = 'elsewhere'\n")];
    let config = load(&files, &[("DATABASE_URL", "postgres://h/a")]).ok().unwrap();
    assert_eq!(names(&config), ["default"]);
    let files = [("pgstow.toml", "[env.prod]\nurl = 'postgres://h/p'\n")];
    let config = load(&files, &[("DATABASE_URL", "postgres://h/a")]).ok().unwrap();
    assert_eq!(names(&config), ["prod"]);
}

#[test]
fn the_default_environment_is_the_configured_the_only_staging_or_default() {
    let both = [("DATABASE_URL", "postgres://h/a"), ("DATABASE_URL_STAGING", "postgres://h/b")];
    let cases = [
        ("", vec![("DATABASE_URL_PROD", "x")], Some("prod")),
        ("", both.to_vec(), Some("staging")),
        ("", vec![("DATABASE_URL", "x"), ("DATABASE_URL_PROD", "x")], Some("default")),
        ("", vec![("DATABASE_URL_DEV", "x"), ("DATABASE_URL_PROD", "x")], None),
        ("default_env = 'default'", both.to_vec(), Some("default")),
        ("", vec![], None),
    ];
    for (file, variables, expected) in cases {
        let config = load(&[("pgstow.toml", file)], &variables).ok().unwrap();
        let found = config.environment(None);
        assert_eq!(found.as_ref().ok().map(|found| found.name.as_str()), expected, "{file} {variables:?}");
        if let Err(error) = found {
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(!error.hints().is_empty());
        }
    }
}

#[test]
fn an_unknown_environment_is_not_found_and_near_names_are_given() {
    let config = load(&[], &[("DATABASE_URL_PROD", "x"), ("DATABASE_URL_STAGING", "x")]).ok().unwrap();
    let error = config.environment(Some("prodd")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.hints(), ["did you mean \"prod\"?", "the environments are prod, staging"]);
}

#[test]
fn wrong_environments_are_refused_by_name() {
    let cases = [
        ("[env.my_stage]\nurl = 'x'", "[env.my_stage]", "call it my-stage"),
        ("[env.a]\nprotected = true", "env.a: nothing says where", "give one of"),
        ("[env.a]\nurl = 'x'\nhost = 'h'", "env.a: several keys", "give one of"),
        ("[env.a]\nurl = 'x'\nenv_file = 'y'", "env.a: several keys", "give one of"),
        ("[env.a]\nurl = 'x'\nsslmode = 'require'", "env.a: sslmode", "into the URL"),
        ("[env.a]\nurl = 'x'\nsslcert = 'c'", "env.a: sslcert", "into the URL"),
        ("[env.a]\nservice = 's'\nurl = 'x'", "env.a: several keys", "service"),
        (
            "[env.a]\nhost = 'h'\npassword_file = 'f'\npassword_command = 'c'",
            "env.a: password_file and",
            "one of them",
        ),
        ("[env.a]\nurl = 'x'\njobs = 65", "env.a: jobs must be from 1 to 64", ""),
        ("[env.a]\nurl = 'x'\nlock_timeout = '5 bananas'", "env.a: lock_timeout", ""),
        ("[env.a]\nurl = 'x'\nlock_timeout = '0s'", "env.a: lock_timeout", ""),
        ("default_env = 'b'\n[env.a]\nurl = 'x'", "default_env names \"b\"", "the environments are a"),
    ];
    for (file, message, hint) in cases {
        let error = refusal(&[("pgstow.toml", file)], &[]);
        assert_eq!(error.kind(), ErrorKind::Usage, "{file}");
        assert!(error.message().starts_with(message), "{file}: {}", error.message());
        assert!(error.hints().concat().contains(hint), "{file}: {:?}", error.hints());
    }
}

#[test]
fn a_named_file_that_is_missing_is_an_error_and_an_unnamed_one_is_not() {
    let folder = folder(&[]);
    let process = Process::with_variables(&[]);
    assert!(Config::load(None, folder.path(), &process).is_ok());
    let error = Config::load(Some(Path::new("other.toml")), folder.path(), &process).err().unwrap();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Usage, "cannot read other.toml"));
}

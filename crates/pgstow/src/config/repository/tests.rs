//! Repositories as `[repository]`, variables and profile files describe them.

use std::fs;

use pgstow_core::repository::store::cloud::{
    AzureCredentials, AzureSettings, GoogleSettings, S3Credentials, S3Settings,
};
use tempfile::TempDir;

use super::*;
use crate::config::Config;

/// A folder with a `pgstow.toml`, and beside it a home folder.
struct Home(TempDir);

impl Home {
    fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("home/.aws")).unwrap();
        fs::write(folder.path().join("pgstow.toml"), toml).unwrap();
        Self(folder)
    }

    fn with(self, path: &str, content: &str) -> Self {
        fs::write(self.0.path().join(path), content).unwrap();
        self
    }

    fn place(&self, given: Option<&str>, variables: &[(&str, &str)]) -> Result<RepositoryPlace> {
        let home = self.0.path().join("home").display().to_string();
        let variables: Vec<(&str, &str)> =
            variables.iter().copied().chain([("HOME", home.as_str())]).collect();
        let process = Process::with_variables(&variables);
        let config = Config::load(None, self.0.path(), &process)?;
        config.repository(given, Path::new("/somewhere"), &process, &Interrupt::new())
    }

    fn s3(&self, variables: &[(&str, &str)]) -> S3Settings {
        match bucket(self.place(None, variables)).place {
            Place::S3(settings) => settings,
            other => panic!("{other:?}"),
        }
    }

    fn azure(&self, variables: &[(&str, &str)]) -> AzureSettings {
        match bucket(self.place(None, variables)).place {
            Place::Azure(settings) => settings,
            other => panic!("{other:?}"),
        }
    }

    fn google(&self, variables: &[(&str, &str)]) -> GoogleSettings {
        match bucket(self.place(None, variables)).place {
            Place::Google(settings) => settings,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&self, variables: &[(&str, &str)]) -> String {
        told(self.place(None, variables).unwrap_err())
    }
}

/// Everything that an error says; it must be one of usage and hold no secret.
fn told(error: Error) -> String {
    assert_eq!(error.kind(), ErrorKind::Usage, "{error:?}");
    let told = format!("{error:?}");
    assert!(!told.contains("hunter2"), "{told}");
    format!("{} / {} / {}", error.message(), error.reason().unwrap_or_default(), error.hints().join(" / "))
}

fn bucket(place: Result<RepositoryPlace>) -> CloudSettings {
    match place.unwrap() {
        RepositoryPlace::Bucket(settings) => *settings,
        folder @ RepositoryPlace::Folder(_) => panic!("{folder:?}"),
    }
}

fn folder(place: Result<RepositoryPlace>) -> PathBuf {
    match place.unwrap() {
        RepositoryPlace::Folder(folder) => folder,
        bucket @ RepositoryPlace::Bucket(_) => panic!("{bucket:?}"),
    }
}

/// Who opens a bucket: the id, the secret and the token of keys that stay.
fn keys(settings: &S3Settings) -> (&str, &str, Option<&str>) {
    match &settings.credentials {
        S3Credentials::Keys(keys) => (
            &keys.access_key_id,
            keys.secret_access_key.expose(),
            keys.session_token.as_ref().map(|token| token.expose()),
        ),
        other => panic!("{other:?}"),
    }
}

const ENVIRONMENT_KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "variable"), ("AWS_SECRET_ACCESS_KEY", "variable-hunter2")];
const CREDENTIALS: &str = "[default]\naws_access_key_id = default\naws_secret_access_key = default-hunter2\n\
                           [other]\naws_access_key_id = other\naws_secret_access_key = other-hunter2\naws_session_token = token\n";

#[test]
fn a_folder_is_relative_to_what_names_it() {
    let home = Home::new("[repository]\nurl = '${PLACE}'\n");
    let variables = [("PLACE", "store")];
    assert_eq!(folder(home.place(None, &variables)), home.0.path().join("store"));
    assert_eq!(folder(home.place(Some("mine"), &variables)), Path::new("/somewhere/mine"));
    assert_eq!(folder(home.place(Some("file:///abs"), &variables)), Path::new("/abs"));
    let unset = Home::new("");
    assert_eq!(folder(unset.place(None, &[])), unset.0.path().join("backups"));
}

#[test]
fn every_key_of_a_bucket_of_s3_is_taken_with_its_references_replaced() {
    let home = Home::new(
        "[repository]\nurl = 's3://bucket/a/b/'\nendpoint = 'https://${HOST}/'\nregion = 'r'\npath_style = true\n\
         access_key_id = '${ID}'\nsecret_access_key = '${KEY}'\nsession_token = '${TOKEN}'\n",
    );
    let variables = [("HOST", "s3.example.com"), ("ID", "id"), ("KEY", "hunter2"), ("TOKEN", "t")];
    let settings = bucket(home.place(None, &[&variables[..], &ENVIRONMENT_KEYS].concat()));
    assert_eq!(settings.prefix, "a/b");
    assert!(!format!("{settings:?}").contains("hunter2"));
    let s3 = home.s3(&variables);
    assert_eq!(s3.bucket, "bucket");
    assert_eq!(s3.endpoint.as_deref(), Some("https://s3.example.com"));
    assert_eq!((s3.region.as_deref(), s3.path_style), (Some("r"), Some(true)));
    assert_eq!(keys(&s3), ("id", "hunter2", Some("t")));
}

#[test]
fn variables_come_before_profiles_and_a_profile_that_the_file_names_before_variables() {
    let plain = Home::new("[repository]\nurl = 's3://bucket'\n").with("home/.aws/credentials", CREDENTIALS);
    assert_eq!(keys(&plain.s3(&ENVIRONMENT_KEYS)).0, "variable");
    assert_eq!(keys(&plain.s3(&[])).0, "default");
    assert_eq!(keys(&plain.s3(&[("AWS_PROFILE", "other")])), ("other", "other-hunter2", Some("token")));
    let both = [ENVIRONMENT_KEYS[0], ENVIRONMENT_KEYS[1], ("AWS_PROFILE", "other")];
    assert_eq!(keys(&plain.s3(&both)).0, "variable");
    let named = Home::new("[repository]\nurl = 's3://bucket'\nprofile = 'other'\n")
        .with("home/.aws/credentials", CREDENTIALS);
    assert_eq!(keys(&named.s3(&ENVIRONMENT_KEYS)).0, "other");
}

#[test]
fn region_endpoint_and_path_style_come_from_variables_or_the_profile() {
    let home = Home::new("[repository]\nurl = 's3://bucket'\n").with(
        "home/.aws/config",
        "[default]\nregion = p\nendpoint_url = http://p:1\ns3 =\n  addressing_style = path\n",
    );
    let found = |variables: &[(&str, &str)]| {
        let s3 = home.s3(&[variables, &ENVIRONMENT_KEYS].concat());
        (s3.region.unwrap(), s3.endpoint.unwrap(), s3.path_style)
    };
    let expected = |region: &str, endpoint: &str| (region.to_owned(), endpoint.to_owned(), Some(true));
    assert_eq!(found(&[]), expected("p", "http://p:1"));
    let older = [("AWS_DEFAULT_REGION", "d"), ("AWS_ENDPOINT_URL", "http://all:1")];
    assert_eq!(found(&older), expected("d", "http://all:1"));
    let newer = [("AWS_REGION", "a"), ("AWS_ENDPOINT_URL_S3", "http://s3:1")];
    assert_eq!(found(&[&older[..], &newer].concat()), expected("a", "http://s3:1"));
}

#[test]
fn profile_files_may_be_elsewhere_and_profiles_may_refer_to_others() {
    let home = Home::new("[repository]\nurl = 's3://bucket'\n")
        .with("home/config", "[profile derived]\nsource_profile = other\nregion = x\n")
        .with("home/credentials", CREDENTIALS);
    let config = home.0.path().join("home/config").display().to_string();
    let variables = [
        ("AWS_CONFIG_FILE", config.as_str()),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/credentials"),
        ("AWS_PROFILE", "derived"),
    ];
    assert_eq!(keys(&home.s3(&variables)).0, "other");
    assert_eq!(home.s3(&variables).region.as_deref(), Some("x"));
}

#[test]
fn a_credential_process_is_run_when_keys_are_needed_and_not_before() {
    let script = r#"echo "{\"Version\": 1, \"AccessKeyId\": \"$NAME\", \"SecretAccessKey\": \"s\"}""#;
    let toml = "[repository]\nurl = 's3://bucket'\ncredential_process = 'sh give keys.sh'\n";
    let home = Home::new(&toml.replace("give keys.sh", "\"give keys.sh\"")).with("give keys.sh", script);
    let S3Credentials::Source(source) = home.s3(&[("NAME", "n")]).credentials else { panic!() };
    assert_eq!(source.fetch().unwrap().access_key_id, "n");
    let profile = Home::new("[repository]\nurl = 's3://bucket'\n")
        .with("home/.aws/config", "[default]\ncredential_process = false\n");
    let S3Credentials::Source(source) = profile.s3(&[]).credentials else { panic!() };
    let error = source.fetch().unwrap_err();
    assert!(error.message().starts_with("credential_process of the AWS profile \"default\""), "{error}");
}

#[test]
fn without_any_keys_the_machine_is_asked() {
    let home = Home::new("[repository]\nurl = 's3://bucket'\n");
    assert!(matches!(home.s3(&[]).credentials, S3Credentials::Instance));
    let home = Home::new("[repository]\nurl = 'az://c'\naccount = 'a'\n");
    assert!(matches!(home.azure(&[]).credentials, AzureCredentials::Instance));
    let home = Home::new("[repository]\nurl = 'gs://b'\n");
    assert!(home.google(&[]).service_account.is_none());
}

#[test]
fn what_a_profile_cannot_give_is_refused_by_name() {
    let cases = [
        ("role_arn = arn:x\nsource_profile = default", "logs in by role_arn"),
        ("sso_session = x\nsso_account_id = y", "logs in by sso_"),
        ("web_identity_token_file = x", "logs in by web_identity_token_file"),
        ("region = x", "the AWS profile \"p q\" holds no keys"),
    ];
    for (profile, message) in cases {
        let home = Home::new("[repository]\nurl = 's3://bucket'\nprofile = 'p q'\n")
            .with("home/.aws/config", &format!("[profile \"p q\"]\n{profile}\n"));
        let told = home.refusal(&[]);
        let remedy = "aws configure export-credentials --profile 'p q' --format process";
        assert!(told.contains(message) && told.contains(remedy), "{told}");
    }
    let cases = [
        ("aws_access_key_id = x", "has no aws_secret_access_key"),
        ("aws_secret_access_key = hunter2", "has no aws_access_key_id"),
        ("source_profile = p", "refers to itself"),
        ("source_profile = q", "there is no AWS profile \"q\""),
    ];
    for (profile, message) in cases {
        let home = Home::new("[repository]\nurl = 's3://bucket'\nprofile = 'p'\n")
            .with("home/.aws/credentials", &format!("[p]\n{profile}\n"));
        let told = home.refusal(&[]);
        assert!(told.contains(message), "{told}");
    }
}

#[test]
fn half_a_pair_of_variables_is_refused() {
    let home = Home::new("[repository]\nurl = 's3://bucket'\n");
    let told = home.refusal(&[("AWS_ACCESS_KEY_ID", "x")]);
    assert!(
        told.starts_with("the variable AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not"),
        "{told}"
    );
    let told = home.refusal(&[("AWS_SECRET_ACCESS_KEY", "hunter2"), ("AWS_ACCESS_KEY_ID", "")]);
    assert!(
        told.starts_with("the variable AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not"),
        "{told}"
    );
}

#[test]
fn a_container_of_azure_is_opened_with_what_is_given_first() {
    let variables = [
        ("AZURE_STORAGE_ACCOUNT_NAME", "variable"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "k"),
        ("AZURE_STORAGE_SAS_TOKEN", "?sig=s"),
    ];
    let plain = Home::new("[repository]\nurl = 'az://container/p'\n").azure(&variables);
    assert_eq!((plain.account.as_str(), plain.container.as_str()), ("variable", "container"));
    assert!(matches!(plain.credentials, AzureCredentials::Key(key) if key.expose() == "k"));
    let token = Home::new("[repository]\nurl = 'az://container'\n").azure(&[variables[0], variables[2]]);
    assert!(matches!(token.credentials, AzureCredentials::SasToken(token) if token.expose() == "sig=s"));
    let named = Home::new(
        "[repository]\nurl = 'az://container'\naccount = 'named'\nsas_token = '${T}'\nendpoint = 'http://127.0.0.1:10000/named'\n",
    );
    let named = named.azure(&[&variables[..], &[("T", "?sig=t")]].concat());
    assert_eq!(named.account, "named");
    assert_eq!(named.endpoint.as_deref(), Some("http://127.0.0.1:10000/named"));
    assert!(matches!(named.credentials, AzureCredentials::SasToken(token) if token.expose() == "sig=t"));
}

#[test]
fn a_key_file_of_google_is_read_from_where_it_is_named() {
    let file = r#"{"type": "service_account", "private_key": "hunter2"}"#;
    let home =
        Home::new("[repository]\nurl = 'gs://b'\nservice_account_file = 'key.json'\n").with("key.json", file);
    let google = home.google(&[("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")]);
    assert_eq!(google.service_account.unwrap().expose(), file);
    let home = Home::new("[repository]\nurl = 'gs://b'\n").with("key.json", file);
    let path = home.0.path().join("key.json").display().to_string();
    assert!(home.google(&[("GOOGLE_APPLICATION_CREDENTIALS", path.as_str())]).service_account.is_some());
    for (content, message) in [
        (r#"{"type": "authorized_user", "refresh_token": "hunter2"}"#, "holds the login of a person"),
        (r#"{"type": "external_account"}"#, "of a kind that is not supported"),
        ("hunter2", "is no key file of Google"),
    ] {
        let home = Home::new("[repository]\nurl = 'gs://b'\nservice_account_file = 'key.json'\n")
            .with("key.json", content);
        let told = home.refusal(&[]);
        assert!(told.starts_with("repository.service_account_file: ") && told.contains(message), "{told}");
    }
}

#[test]
fn keys_that_do_not_belong_or_contradict_each_other_are_refused() {
    let cases = [
        ("url = 'backups'\nregion = 'x'", "repository.region does not go with a folder"),
        ("endpoint = 'http://x'", "repository.endpoint does not go with a folder"),
        ("url = 'az://c'\naccount = 'a'\nprofile = 'p'", "repository.profile does not go with az://"),
        ("url = 'gs://b'\npath_style = false", "repository.path_style does not go with gs://"),
        ("url = 's3://b'\naccount_key = 'hunter2'", "repository.account_key does not go with s3://"),
        ("url = 's3://b'\nprofile = 'p'\naccess_key_id = 'x'", "repository: several keys say who opens"),
        ("url = 's3://b'\nprofile = 'p'\ncredential_process = 'x'", "repository: several keys say who opens"),
        ("url = 's3://b'\naccess_key_id = 'x'", "repository.secret_access_key is missing"),
        ("url = 's3://b'\nsecret_access_key = 'hunter2'", "repository.access_key_id is missing"),
        ("url = 's3://b'\nsession_token = 'hunter2'", "repository.access_key_id is missing"),
        (
            "url = 's3://b'\naccess_key_id = ''\nsecret_access_key = 'hunter2'",
            "repository.access_key_id is empty",
        ),
        (
            "url = 's3://b'\naccess_key_id = '${UNSET}'\nsecret_access_key = 'x'",
            "repository.access_key_id needs",
        ),
        ("url = 's3://b'\ncredential_process = 'x ${SECRET}'", "repository.credential_process refers to"),
        ("url = 'az://c'", "az:// needs the name of the storage account"),
        (
            "url = 'az://c'\naccount = 'https://a.blob.core.windows.net'",
            "the name of the Azure storage account",
        ),
        (
            "url = 'az://c'\naccount = 'a'\naccount_key = 'x'\nsas_token = 'y'",
            "repository: account_key and sas_token",
        ),
    ];
    for (section, message) in cases {
        let told = Home::new(&format!("[repository]\n{section}\n")).refusal(&[("SECRET", "hunter2")]);
        assert!(told.starts_with(message), "{section}: {told}");
    }
}

#[test]
fn endpoints_that_are_none_are_refused_without_repeating_them() {
    let cases = [
        ("localhost:9000", "is not a URL of http or https"),
        ("ftp://x", "is not a URL of http or https"),
        ("https://", "is not the address of a server"),
        ("https://x?sig=hunter2", "is not the address of a server"),
        ("https://id:hunter2@x", "holds credentials"),
        ("https://bucket.s3.eu-west-1.amazonaws.com", "names the bucket"),
        ("https://account.r2.cloudflarestorage.com/bucket", "names the bucket"),
    ];
    for (endpoint, message) in cases {
        let toml = format!("[repository]\nurl = 's3://bucket'\nendpoint = '{endpoint}'\n");
        let told = Home::new(&toml).refusal(&ENVIRONMENT_KEYS);
        assert!(told.contains(message), "{endpoint}: {told}");
    }
}

#[test]
fn keys_of_the_file_hold_for_another_url_of_the_same_kind_only() {
    let home = Home::new(
        "[repository]\nurl = 's3://bucket/a'\nendpoint = 'http://e:1'\naccess_key_id = 'x'\nsecret_access_key = 'y'\n",
    );
    let Place::S3(s3) = bucket(home.place(Some("s3://other/b"), &[])).place else { panic!() };
    assert_eq!((s3.bucket.as_str(), s3.endpoint.as_deref()), ("other", Some("http://e:1")));
    assert_eq!(keys(&s3).0, "x");
    let Place::Google(google) = bucket(home.place(Some("gs://other"), &[])).place else { panic!() };
    assert_eq!(google.endpoint, None);
    assert_eq!(folder(home.place(Some("mine"), &[])), Path::new("/somewhere/mine"));
}

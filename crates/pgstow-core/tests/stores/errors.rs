//! What goes wrong with a store in the cloud, and the names it gets. Every answer is a real server's.

use pgstow_core::repository::Repository;
use pgstow_core::repository::store::cloud::{
    AccessKeys, AzureCredentials, CloudSettings, CredentialSource, Place, S3Credentials,
};
use pgstow_core::repository::store::{CloudCase, CloudStore, Store, StoreError};
use pgstow_core::secret::Secret;
use pgstow_core::{Error, ErrorKind};

use crate::ground::{noise, own_prefix, paths, put};
use crate::servers::{self, ACCESS_KEY, BUCKET, Kind, ObjectServer, SECRET_KEY, free_port, keys};

const SERVERS: [Kind; 3] = [Kind::Radosgw, Kind::S3sFs, Kind::Azurite];
const S3: [Kind; 2] = [Kind::Radosgw, Kind::S3sFs];
/// Well-formed, and nobody's.
const WRONG_ACCOUNT_KEY: &str = "d3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZ3dyb25nd3Jvbmd3cm9uZw==";

pub(crate) fn case(error: StoreError) -> CloudCase {
    match error {
        StoreError::Cloud(error) => error.case,
        other => panic!("{other:?}"),
    }
}

/// Does everything that a store does, and gives each error to `check`.
fn every_operation(settings: &CloudSettings, check: impl Fn(&'static str, StoreError)) {
    let store = CloudStore::open(settings).unwrap();
    check("read", store.read("file").err().unwrap());
    check("read_all", store.read_all("file", 10).unwrap_err());
    check("commit", put(&store, "file", b"x").unwrap_err());
    check("commit a large one", put(&store, "file", &noise(9 << 20, 1)).unwrap_err());
    check("replace", store.replace("file", b"x").unwrap_err());
    check("list", store.list("objects").unwrap_err());
    check("folders", store.folders("backups").unwrap_err());
    check("names", store.names().unwrap_err());
    check("create_folder", store.create_folder("backups/one").unwrap_err());
}

fn shown(error: &Error) -> String {
    format!("{error} {} {:?} {error:?}", error.reason().unwrap_or_default(), error.hints())
}

#[test]
fn a_bucket_that_does_not_exist_is_named_by_every_operation() {
    // To s3s-fs a bucket is a folder, and made when a file is written.
    for kind in [Kind::Radosgw, Kind::Azurite] {
        let server = servers::shared(kind);
        let mut settings = server.settings("");
        match &mut settings.place {
            Place::S3(place) => place.bucket = "nowhere".to_owned(),
            Place::Azure(place) => place.container = "nowhere".to_owned(),
            Place::Google(_) => unreachable!(),
        }
        every_operation(&settings, |operation, error| {
            assert!(matches!(case(error), CloudCase::NoBucket), "{kind:?} {operation}");
        });
        let store = CloudStore::open(&settings).unwrap();
        let error = Repository::open(Box::new(store)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(shown(&error).contains("nowhere") && shown(&error).contains("create the bucket"));
    }
}

#[test]
fn a_wrong_secret_is_told_from_an_unknown_key_and_neither_is_shown() {
    for kind in SERVERS {
        let server = servers::shared(kind);
        let mut settings = server.settings("");
        match &mut settings.place {
            Place::S3(place) => place.credentials = S3Credentials::Keys(keys(ACCESS_KEY, "hunter2")),
            Place::Azure(place) => {
                place.credentials = AzureCredentials::Key(Secret::new(WRONG_ACCOUNT_KEY));
            }
            Place::Google(_) => unreachable!(),
        }
        every_operation(&settings, |operation, error| {
            let error = Error::from(error);
            assert_eq!(error.kind(), ErrorKind::Usage, "{kind:?} {operation}: {error:?}");
            assert!(error.reason().unwrap().contains("secret key is wrong"), "{kind:?} {operation}");
            let shown = shown(&error);
            assert!(!shown.contains("hunter2") && !shown.contains(WRONG_ACCOUNT_KEY), "{shown}");
        });
        let store = CloudStore::open(&settings).unwrap();
        assert!(matches!(case(store.size("file").unwrap_err()), CloudCase::WrongSecret), "{kind:?} size");
    }
    for kind in S3 {
        let server = servers::shared(kind);
        let mut settings = server.settings("");
        let Place::S3(place) = &mut settings.place else { unreachable!() };
        place.credentials = S3Credentials::Keys(keys("NOBODY", SECRET_KEY));
        every_operation(&settings, |operation, error| {
            let case = case(error);
            assert!(matches!(case, CloudCase::UnknownKey), "{kind:?} {operation}: {case:?}");
        });
    }
}

#[test]
fn a_signature_in_the_url_is_never_shown() {
    let server = servers::shared(Kind::Azurite);
    let mut settings = server.settings("");
    let Place::Azure(place) = &mut settings.place else { unreachable!() };
    let token = "sv=2021-08-06&ss=b&srt=sco&sp=rwdlac&se=2020-01-01T00:00:00Z&sig=aHVudGVyMg%3D%3D";
    place.credentials = AzureCredentials::SasToken(Secret::new(token));
    every_operation(&settings, |operation, error| {
        let shown = shown(&Error::from(error));
        assert!(!shown.contains("aHVudGVyMg") && !shown.contains("sig="), "{operation}: {shown}");
    });
}

#[test]
fn a_server_that_is_not_there_is_named_with_the_reason() {
    let server = servers::shared(Kind::S3sFs);
    let port = free_port();
    let refused = CloudStore::open(&server.settings_through(port, "")).unwrap();
    let CloudCase::Unreachable { host, cause } = case(refused.size("file").unwrap_err()) else { panic!() };
    assert_eq!(host, format!("127.0.0.1:{port}"));
    assert!(cause.contains("refused"), "{cause}");

    let mut settings = server.settings("");
    let Place::S3(place) = &mut settings.place else { unreachable!() };
    place.endpoint = Some("http://nowhere.invalid".to_owned());
    let nowhere = CloudStore::open(&settings).unwrap();
    let CloudCase::Unreachable { host, cause } = case(nowhere.list("file").unwrap_err()) else { panic!() };
    assert_eq!(host, "nowhere.invalid");
    assert!(cause.contains("address") || cause.contains("name"), "{cause}");
}

#[test]
fn a_server_without_tls_is_not_spoken_to_in_plain_text() {
    let server = servers::shared(Kind::S3sFs);
    let mut settings = server.settings("");
    let Place::S3(place) = &mut settings.place else { unreachable!() };
    place.endpoint = Some(server.endpoint().replace("http:", "https:"));
    let store = CloudStore::open(&settings).unwrap();
    let case = case(store.size("file").unwrap_err());
    assert!(matches!(case, CloudCase::Untrusted { .. }), "{case:?}");
}

#[test]
fn an_endpoint_that_is_no_url_is_refused_before_anything_is_sent() {
    let server = servers::shared(Kind::S3sFs);
    let mut settings = server.settings("");
    let Place::S3(place) = &mut settings.place else { unreachable!() };
    place.endpoint = Some("minio:9000".to_owned());
    let error = CloudStore::open(&settings).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let error = CloudStore::open(&server.settings("a//b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

/// A policy of a bucket that denies one kind of request to everybody.
fn deny(action: &str) -> String {
    format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Deny", "Principal": "*",
            "Action": ["{action}"], "Resource": ["arn:aws:s3:::{BUCKET}", "arn:aws:s3:::{BUCKET}/*"]}}]}}"#
    )
}

#[test]
fn what_the_credentials_do_not_permit_is_named_with_the_operation() {
    let server = ObjectServer::start(Kind::Radosgw);
    let store = CloudStore::open(&server.settings("")).unwrap();
    put(&store, "objects/there", b"x").unwrap();
    let forbidden = |action: &str, error: StoreError| {
        let error = Error::from(error);
        assert!(error.to_string().starts_with(&format!("cannot {action} s3://{BUCKET}")), "{error}");
        assert!(error.reason().unwrap().contains("do not permit it"), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Failed);
    };
    server.set_policy(BUCKET, &deny("s3:PutObject"));
    forbidden("write", put(&store, "objects/new", b"x").unwrap_err());
    forbidden("write", put(&store, "objects/new", &noise(9 << 20, 2)).unwrap_err());
    server.set_policy(BUCKET, &deny("s3:DeleteObject"));
    forbidden("remove", store.remove("objects/there").unwrap_err());
    server.set_policy(BUCKET, &deny("s3:ListBucket"));
    forbidden("list", store.list("objects").unwrap_err());
    server.set_policy(BUCKET, &deny("s3:GetObject"));
    forbidden("read", store.read_all("objects/there", 10).unwrap_err());
    forbidden("look at", store.size("objects/there").unwrap_err());
}

#[test]
fn a_repository_can_be_where_nothing_may_be_removed_and_not_where_nothing_may_be_replaced() {
    let server = ObjectServer::start(Kind::Radosgw);
    let settings = |prefix: &str| Box::new(CloudStore::open(&server.settings(prefix)).unwrap());
    let now = "2026-11-21T00:00:00Z".parse().unwrap();
    server.set_policy(BUCKET, &deny("s3:DeleteObject"));
    let repository = Repository::init(settings("kept"), now).unwrap();
    assert!(!repository.capabilities().unwrap().deletes);
    assert_eq!(paths(settings("kept").as_ref(), "tmp").len(), 1, "the probe could not be removed");
    server.set_policy(BUCKET, &deny("s3:PutObject"));
    assert!(Repository::init(settings("read-only"), now).is_err());
    server.set_policy(BUCKET, &deny("s3:ListBucket"));
    assert!(Repository::init(settings("unlisted"), now).is_err());
}

#[test]
fn a_clock_that_is_far_off_is_named_with_the_difference() {
    let server = ObjectServer::start_two_hours_ahead();
    let store = CloudStore::open(&server.settings("")).unwrap();
    let case = case(store.names().unwrap_err());
    let CloudCase::ClockOff { ahead: Some(ahead) } = case else { panic!("{case:?}") };
    assert!((-121..=-119).contains(&ahead.as_mins()), "{ahead:?}");
}

#[test]
fn a_source_of_keys_that_fails_is_told_in_its_own_words() {
    #[derive(Debug)]
    struct Failing;
    impl CredentialSource for Failing {
        fn fetch(&self) -> Result<AccessKeys, Error> {
            Err(Error::new(ErrorKind::Usage, "the program \"vault\" failed")
                .why("it is sealed")
                .hint("open it"))
        }
    }
    let server = servers::shared(Kind::S3sFs);
    let mut settings = server.settings(&own_prefix());
    let Place::S3(place) = &mut settings.place else { unreachable!() };
    place.credentials = S3Credentials::Source(std::sync::Arc::new(Failing));
    let error = Error::from(CloudStore::open(&settings).unwrap().size("file").unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.reason().unwrap().contains("\"vault\" failed: it is sealed"), "{error:?}");
    assert_eq!(error.hints(), ["open it"]);
}

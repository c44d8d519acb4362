//! Object stores on loopback: Ceph's radosgw, s3s-fs, azurite. Tests share one of each as long as
//! any of them uses it; the last one that ends stops it.
//!
//! `crates/pgstow/tests` uses this file too.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use object_store::ClientOptions;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use pgstow_core::repository::store::cloud::{
    AccessKeys, AzureCredentials, AzureSettings, CloudSettings, Place, S3Credentials, S3Settings,
};
use pgstow_core::secret::Secret;
use tempfile::TempDir;

/// The bucket (or container) that each server has from its start.
pub(crate) const BUCKET: &str = "backups";
/// Opens the servers that speak S3.
pub(crate) const ACCESS_KEY: &str = "TESTSACCESSKEY";
/// Its secret.
pub(crate) const SECRET_KEY: &str = "tests/secret+key";
/// The account that azurite knows.
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
/// Its key, which everybody knows.
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ceph's gateway: S3, ignores conditions of writes.
    Radosgw,
    /// S3 over a directory, with conditions of writes.
    S3sFs,
    /// Azure Blob Storage.
    Azurite,
}

/// A running server, stopped when dropped.
pub(crate) struct ObjectServer {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    process: Child,
    folder: TempDir,
}

/// The shared server of a kind.
pub(crate) fn shared(kind: Kind) -> Arc<ObjectServer> {
    static SHARED: Mutex<[Weak<ObjectServer>; 3]> = Mutex::new([Weak::new(), Weak::new(), Weak::new()]);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let slot = &mut shared[kind as usize];
    if let Some(server) = slot.upgrade() {
        return server;
    }
    let server = Arc::new(ObjectServer::start(kind));
    *slot = Arc::downgrade(&server);
    server
}

impl ObjectServer {
    /// A server of its own, with the bucket [`BUCKET`].
    pub(crate) fn start(kind: Kind) -> Self {
        let server = Self::start_empty(kind);
        server.create_bucket(BUCKET);
        server
    }

    /// A server of its own without a bucket.
    pub(crate) fn start_empty(kind: Kind) -> Self {
        Self::run(kind, |folder, port| match kind {
            Kind::Radosgw => radosgw(folder, port),
            Kind::S3sFs => s3s_fs(Command::new(program("s3s-fs", "s3s-fs")), folder, port),
            Kind::Azurite => azurite(folder, port),
        })
    }

    /// An s3s-fs whose clock is two hours ahead.
    pub(crate) fn start_two_hours_ahead() -> Self {
        let mut ahead = Command::new(program("radosgw", "two-hours-ahead"));
        ahead.arg(program("s3s-fs", "s3s-fs"));
        Self::run(Kind::S3sFs, |folder, port| s3s_fs(ahead, folder, port))
    }

    fn run(kind: Kind, command: impl FnOnce(&Path, u16) -> Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let mut command = command(folder.path(), port);
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let mut server = Self { kind, port, process, folder };
        server.wait_until_it_answers();
        server
    }

    /// URL of the server itself.
    pub(crate) fn endpoint(&self) -> String {
        self.endpoint_through(self.port)
    }

    /// The same through a proxy on another port.
    pub(crate) fn endpoint_through(&self, port: u16) -> String {
        match self.kind {
            Kind::Azurite => format!("http://127.0.0.1:{port}/{ACCOUNT}"),
            Kind::Radosgw | Kind::S3sFs => format!("http://127.0.0.1:{port}"),
        }
    }

    /// Settings of a repository in [`BUCKET`] under `prefix`.
    pub(crate) fn settings(&self, prefix: &str) -> CloudSettings {
        self.settings_through(self.port, prefix)
    }

    /// The same through a proxy on another port.
    pub(crate) fn settings_through(&self, port: u16, prefix: &str) -> CloudSettings {
        let endpoint = Some(self.endpoint_through(port));
        let place = match self.kind {
            Kind::Azurite => Place::Azure(AzureSettings {
                account: ACCOUNT.to_owned(),
                container: BUCKET.to_owned(),
                endpoint,
                credentials: AzureCredentials::Key(Secret::new(ACCOUNT_KEY)),
            }),
            Kind::Radosgw | Kind::S3sFs => Place::S3(S3Settings {
                bucket: BUCKET.to_owned(),
                region: Some("us-east-1".to_owned()),
                endpoint,
                path_style: None,
                credentials: S3Credentials::Keys(keys(ACCESS_KEY, SECRET_KEY)),
            }),
        };
        CloudSettings { place, prefix: prefix.to_owned(), spool: self.folder.path().to_owned() }
    }

    /// Creates a bucket (a container).
    pub(crate) fn create_bucket(&self, bucket: &str) {
        let query = if self.kind == Kind::Azurite { "?restype=container" } else { "" };
        self.put(&format!("{}/{bucket}{query}", self.endpoint()), "");
    }

    /// Gives a bucket a policy (radosgw).
    pub(crate) fn set_policy(&self, bucket: &str, policy: &str) {
        self.put(&format!("{}/{bucket}?policy=", self.endpoint()), policy);
    }

    /// Makes another user (radosgw), who may do what policies of buckets permit.
    pub(crate) fn create_user(&self, name: &str, access_key: &str, secret_key: &str) {
        let is_made = creates_user(self.folder.path(), name, access_key, secret_key);
        assert!(is_made, "radosgw-admin creates no user {name}");
    }

    /// Where the server keeps its files; s3s-fs keeps each as it is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends a signed PUT as the owner of the server.
    pub(crate) fn put(&self, url: &str, body: &str) {
        self.send("PUT", url, body);
    }

    /// Sends a signed request as the owner of the server; the answer, which must be a success.
    pub(crate) fn send(&self, method: &str, url: &str, body: &str) -> String {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_owned()));
        *request.method_mut() = method.parse().expect("a method");
        *request.uri_mut() = url.parse().expect("a URL");
        let length = body.len().to_string().parse().expect("a header");
        request.headers_mut().insert("content-length", length);
        if self.kind == Kind::Azurite {
            let key = AzureAccessKey::try_new(ACCOUNT_KEY).expect("a key");
            AzureAuthorizer::new(&AzureCredential::AccessKey(key), ACCOUNT)
                .try_authorize(&mut request)
                .expect("a signature");
        } else {
            let (key_id, secret_key) = (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned());
            let credential = AwsCredential { key_id, secret_key, token: None };
            AwsAuthorizer::new(&credential, "s3", "us-east-1")
                .try_authorize(&mut request, None)
                .expect("a signature");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let (status, answer) = runtime.block_on(async {
            let options = ClientOptions::new().with_allow_http(true);
            let client = ReqwestConnector::default().connect(&options).expect("a client");
            let response = client.execute(request).await.expect("an answer");
            let (parts, body) = response.into_parts();
            (parts.status.as_u16(), body.bytes().await.expect("a body"))
        });
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!((200..300).contains(&status), "{method} {url}: {status} {answer}");
        answer
    }

    fn wait_until_it_answers(&mut self) {
        let give_up = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.process.try_wait().expect("a child");
            assert!(ended.is_none() && Instant::now() < give_up, "{:?}: {}", self.kind, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A pair of keys that never expire.
pub(crate) fn keys(access_key_id: &str, secret_access_key: &str) -> AccessKeys {
    AccessKeys {
        access_key_id: access_key_id.to_owned(),
        secret_access_key: Secret::new(secret_access_key),
        session_token: None,
        expires_at: None,
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A program that `scripts/set-up-tests` has linked under `.test/servers`.
fn program(server: &str, name: &str) -> PathBuf {
    let link = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test/servers").join(server);
    match link.canonicalize() {
        Ok(folder) => folder.join("bin").join(name),
        Err(error) => panic!("{}: {error}; run scripts/set-up-tests", link.display()),
    }
}

fn radosgw(folder: &Path, port: u16) -> Command {
    let shown = folder.display();
    let plugins = program("radosgw", "").join("../usr/lib/x86_64-linux-gnu");
    let plugins = plugins.display();
    let configuration = format!(
        "[global]\nrun_dir = {shown}\nlog_file = {shown}/radosgw.log\nplugin_dir = {plugins}\n\
         compressor_dir = {plugins}/ceph/compressor\n\
         [client.rgw]\nrgw_backend_store = dbstore\nrgw_config_store = dbstore\n\
         dbstore_config_uri = file:{shown}/config.db\ndbstore_db_dir = {shown}\nrgw_data = {shown}\n\
         rgw_frontends = beast endpoint=127.0.0.1:{port}\nrgw_enable_ops_log = false\n\
         rgw_enable_usage_log = false\nrgw_enable_gc_threads = false\nrgw_enable_lc_threads = false\n\
         rgw_enable_quota_threads = false\nrgw_run_sync_thread = false\n"
    );
    let file = folder.join("ceph.conf");
    fs::write(&file, configuration).expect("a file");
    // Now and then it hangs, on a busy machine.
    let is_created = (0..5).any(|_| {
        for database in ["config.db", "dbstore-default_ns.db"] {
            let _ = fs::remove_file(folder.join(database));
        }
        creates_user(folder, "tests", ACCESS_KEY, SECRET_KEY)
    });
    assert!(is_created, "radosgw-admin creates no user; see {shown}/radosgw.log");
    let mut command = ceph_program(folder, "radosgw");
    command.arg("-f");
    command
}

fn ceph_program(folder: &Path, name: &str) -> Command {
    let mut command = Command::new(program("radosgw", name));
    command.args(["-n", "client.rgw", "--no-mon-config", "-c"]).arg(folder.join("ceph.conf"));
    command
}

/// Whether a user was made within some seconds.
fn creates_user(folder: &Path, name: &str, access_key: &str, secret_key: &str) -> bool {
    let mut command = ceph_program(folder, "radosgw-admin");
    command.args(["user", "create", "--uid", name, "--display-name", name]);
    command.args(["--access-key", access_key, "--secret-key", secret_key]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut admin = command.spawn().expect("radosgw-admin runs");
    let output = BufReader::new(admin.stdout.take().expect("standard output is piped"));
    let (tell, told) = std::sync::mpsc::channel();
    // It shows the user when all is done. At its own end it hangs now and then.
    std::thread::spawn(move || tell.send(output.lines().map_while(Result::ok).any(|line| line == "}")));
    let is_made = told.recv_timeout(Duration::from_secs(10)).unwrap_or(false);
    let _ = admin.kill();
    let _ = admin.wait();
    is_made
}

fn s3s_fs(mut command: Command, folder: &Path, port: u16) -> Command {
    let root = folder.join("root");
    fs::create_dir(&root).expect("a folder");
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]).arg(root);
    command
}

fn azurite(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(program("azurite", "azurite-blob"));
    // The library speaks a newer version of the protocol than it knows.
    command.args(["--skipApiVersionCheck", "--disableTelemetry", "--silent", "--blobHost", "127.0.0.1"]);
    command.args(["--blobPort", &port.to_string(), "--location"]).arg(folder.join("data"));
    command
}

//! A repository in a bucket of a real object store, as a configuration describes it.

use std::path::PathBuf;

use self::servers::{ACCESS_KEY, ACCOUNT, ACCOUNT_KEY, ObjectServer, SECRET_KEY};
use super::servers::percent;

#[path = "../../../pgstow-core/tests/stores/servers.rs"]
mod servers;

pub(crate) use self::servers::{BUCKET, Kind};

/// A pair of keys of S3.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// A running store of its own with one bucket, gone when dropped.
pub(crate) struct ObjectStore {
    pub(crate) kind: Kind,
    /// Who owns the bucket.
    pub(crate) owner: Keys,
    server: ObjectServer,
}

impl ObjectStore {
    /// Starts a store with an empty bucket.
    pub(crate) fn start(kind: Kind) -> Self {
        let secret = if kind == Kind::Azurite { ACCOUNT_KEY } else { SECRET_KEY };
        let owner = Keys { id: ACCESS_KEY.to_owned(), secret: secret.to_owned() };
        Self { kind, owner, server: ObjectServer::start(kind) }
    }

    /// The address of the server.
    pub(crate) fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// `[repository]` of a configuration, whose secrets are in [`ObjectStore::variables`].
    pub(crate) fn section(&self, prefix: &str) -> String {
        let endpoint = self.endpoint();
        match self.kind {
            Kind::Azurite => format!(
                "[repository]\nurl = \"az://{BUCKET}/{prefix}\"\nendpoint = \"{endpoint}\"\naccount = \"{ACCOUNT}\"\n\
                 account_key = \"${{STORE_KEY}}\"\n"
            ),
            Kind::Radosgw | Kind::S3sFs => format!(
                "[repository]\nurl = \"s3://{BUCKET}/{prefix}\"\nendpoint = \"{endpoint}\"\nregion = \"us-east-1\"\n\
                 access_key_id = \"${{STORE_ID}}\"\nsecret_access_key = \"${{STORE_KEY}}\"\n"
            ),
        }
    }

    /// The variables that the section refers to, as the bucket's owner.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 2] {
        [("STORE_ID", &self.owner.id), ("STORE_KEY", &self.owner.secret)]
    }

    /// Makes users who may do no more than their actions in the bucket (radosgw).
    pub(crate) fn users<const N: usize>(&self, users: [(&str, &[&str]); N]) -> [Keys; N] {
        let statements = users.map(|(name, actions)| {
            let actions: Vec<String> = actions.iter().map(|action| format!("s3:{action}")).collect();
            serde_json::json!({
                "Effect": "Allow",
                "Principal": { "AWS": [format!("arn:aws:iam:::user/{name}")] },
                "Action": actions,
                "Resource": [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")],
            })
        });
        let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": statements.to_vec() });
        let keys = users.map(|(name, _)| {
            let keys = Keys { id: format!("KEY{name}"), secret: format!("secret+of/{name}=") };
            self.server.create_user(name, &keys.id, &keys.secret);
            keys
        });
        self.server.set_policy(BUCKET, &policy.to_string());
        keys
    }

    /// Where the store keeps its files (s3s-fs keeps each as it is).
    pub(crate) fn data(&self) -> PathBuf {
        let folder = self.server.folder().join("root").join(BUCKET);
        assert!(folder.is_dir(), "{:?} keeps its files elsewhere", self.kind);
        folder
    }

    /// Names of all files below a prefix, as the store itself lists them.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let prefix = percent(&format!("{prefix}/"));
        let (query, tag) = match self.kind {
            Kind::Azurite => (format!("restype=container&comp=list&prefix={prefix}"), "Name"),
            Kind::Radosgw | Kind::S3sFs => (format!("list-type=2&prefix={prefix}"), "Key"),
        };
        let listing = self.server.send("GET", &format!("{}/{BUCKET}?{query}", self.endpoint()), "");
        assert!(!listing.contains("<IsTruncated>true"), "more files than one page shows");
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let parts = listing.split(&open).skip(1);
        parts.filter_map(|part| Some(part.split_once(&close)?.0.to_owned())).collect()
    }
}

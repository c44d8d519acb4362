//! What a store in a bucket needs to know, after every source of it has been read.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::error::Result;
use crate::secret::Secret;

/// A repository in a bucket.
#[derive(Debug, Clone)]
pub struct CloudSettings {
    /// Which bucket, and whose.
    pub place: Place,
    /// What the names of all files begin with; without slashes at its ends, may be empty.
    pub prefix: String,
    /// Folder for parts of large files that do not fit into memory.
    pub spool: PathBuf,
}

impl CloudSettings {
    /// The repository's URL, without credentials.
    pub fn url(&self) -> String {
        let (scheme, bucket) = match &self.place {
            Place::S3(settings) => ("s3", &settings.bucket),
            Place::Azure(settings) => ("az", &settings.container),
            Place::Google(settings) => ("gs", &settings.bucket),
        };
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{scheme}://{bucket}{slash}{}", self.prefix)
    }
}

/// Where a bucket is and who opens it.
#[derive(Debug, Clone)]
pub enum Place {
    /// Amazon S3, or a server that speaks its protocol.
    S3(S3Settings),
    /// Azure Blob Storage.
    Azure(AzureSettings),
    /// Google Cloud Storage.
    Google(GoogleSettings),
}

/// A bucket of S3.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// Its region; servers other than Amazon's mostly take any.
    pub region: Option<String>,
    /// URL of a server other than Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of requests rather than in the host's name; `None`: as
    /// suits the endpoint.
    pub path_style: Option<bool>,
    /// Who opens it.
    pub credentials: S3Credentials,
}

/// Who opens a bucket of S3.
#[derive(Debug, Clone)]
pub enum S3Credentials {
    /// Keys that stay as they are.
    Keys(AccessKeys),
    /// Keys that are asked for when they are needed, and again before they expire.
    Source(Arc<dyn CredentialSource>),
    /// What the machine or the container is given.
    Instance,
}

/// A pair of keys of S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKeys {
    /// Names the pair; no secret.
    pub access_key_id: String,
    /// Signs the requests.
    pub secret_access_key: Secret,
    /// Belongs to keys that expire.
    pub session_token: Option<Secret>,
    /// When they expire.
    pub expires_at: Option<Timestamp>,
}

/// Gives out keys of S3, fresh ones each time where they expire.
pub trait CredentialSource: Send + Sync + fmt::Debug {
    /// The keys of this moment.
    ///
    /// # Errors
    /// Why there are none, without secrets.
    fn fetch(&self) -> Result<AccessKeys>;
}

/// A container of Azure Blob Storage.
#[derive(Debug, Clone)]
pub struct AzureSettings {
    /// The storage account's name.
    pub account: String,
    /// The container's name.
    pub container: String,
    /// URL of a server other than Azure's.
    pub endpoint: Option<String>,
    /// Who opens it.
    pub credentials: AzureCredentials,
}

/// Who opens a container of Azure Blob Storage.
#[derive(Debug, Clone)]
pub enum AzureCredentials {
    /// A key of the account.
    Key(Secret),
    /// A shared access signature: the part of its URL after `?`.
    SasToken(Secret),
    /// What the machine or the container is given.
    Instance,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone)]
pub struct GoogleSettings {
    /// The bucket's name.
    pub bucket: String,
    /// URL of a server other than Google's.
    pub endpoint: Option<String>,
    /// The service account's key file (JSON); `None`: what the machine or the container is given.
    pub service_account: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(place: Place, prefix: &str) -> CloudSettings {
        CloudSettings { place, prefix: prefix.to_owned(), spool: PathBuf::from("/tmp") }
    }

    #[test]
    fn neither_the_url_nor_debug_output_shows_a_secret() {
        let keys = AccessKeys {
            access_key_id: "AKIA".to_owned(),
            secret_access_key: Secret::new("hunter2"),
            session_token: Some(Secret::new("hunter2")),
            expires_at: None,
        };
        let s3 = Place::S3(S3Settings {
            bucket: "bucket".to_owned(),
            region: None,
            endpoint: None,
            path_style: None,
            credentials: S3Credentials::Keys(keys),
        });
        let azure = Place::Azure(AzureSettings {
            account: "account".to_owned(),
            container: "container".to_owned(),
            endpoint: None,
            credentials: AzureCredentials::SasToken(Secret::new("hunter2")),
        });
        let google = Place::Google(GoogleSettings {
            bucket: "bucket".to_owned(),
            endpoint: None,
            service_account: Some(Secret::new("hunter2")),
        });
        let cases =
            [(s3, "", "s3://bucket"), (azure, "a/b", "az://container/a/b"), (google, "x", "gs://bucket/x")];
        for (place, prefix, url) in cases {
            let settings = settings(place, prefix);
            assert_eq!(settings.url(), url);
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
    }
}

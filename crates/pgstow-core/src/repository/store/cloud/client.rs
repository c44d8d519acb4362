//! From settings to a client of the library: credentials, addresses, patience.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{MicrosoftAzureBuilder, split_sas};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{
    BackoffConfig, ClientOptions, HeaderValue, ObjectStore, RetryConfig, StaticCredentialProvider,
};

use super::credentials::{Renewing, credential};
use super::exchange::Connector;
use super::settings::{
    AzureCredentials, AzureSettings, CloudSettings, GoogleSettings, Place, S3Credentials, S3Settings,
};
use crate::error::{Error, ErrorKind, Result};

const USER_AGENT: &str = concat!("pgstow/", env!("CARGO_PKG_VERSION"));

/// What a container is told about the credentials that it is given. The library finds it in the
/// environment; these and nothing else are taken from there.
const GIVEN_TO_A_CONTAINER: [AmazonS3ConfigKey; 8] = [
    AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    AmazonS3ConfigKey::ContainerCredentialsFullUri,
    AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    AmazonS3ConfigKey::WebIdentityTokenFile,
    AmazonS3ConfigKey::RoleArn,
    AmazonS3ConfigKey::RoleSessionName,
    AmazonS3ConfigKey::StsEndpoint,
    AmazonS3ConfigKey::MetadataEndpoint,
];

/// How long to wait for a store in the cloud.
///
/// A request has no limit of its own for the whole of it: a large file on a slow link takes its
/// time. Limited are the steps: to connect; to answer once the request is sent (what it sends may
/// take as long as 16 KiB/s need); to send the next piece of a body. Requests that may be repeated
/// are, after errors of the server and of the network, with growing pauses.
#[derive(Debug, Clone)]
pub struct Patience {
    /// To connect.
    pub connect: Duration,
    /// To answer, and between two pieces of a body.
    pub answer: Duration,
    /// How often a request is repeated before the store has answered at all. Few: a wrong endpoint
    /// should be told at once.
    pub first_retries: usize,
    /// How often later. Many: a long backup should outlast a short failure.
    pub later_retries: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            first_retries: 3,
            later_retries: 10,
        }
    }
}

/// Builds a client that repeats a request at most so often, for three minutes at most.
pub(super) fn build(
    settings: &CloudSettings,
    patience: &Patience,
    retries: usize,
) -> Result<Arc<dyn ObjectStore>> {
    let common = Common {
        connector: Connector { answer_limit: patience.answer },
        options: ClientOptions::new()
            .with_user_agent(HeaderValue::from_static(USER_AGENT))
            .with_connect_timeout(patience.connect)
            .with_timeout_disabled(),
        retry: RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(15),
                base: 2.0,
            },
            max_retries: retries,
            retry_timeout: Duration::from_mins(3),
        },
    };
    match &settings.place {
        Place::S3(place) => s3(place, common),
        Place::Azure(place) => azure(place, common),
        Place::Google(place) => google(place, common),
    }
}

/// What clients of all kinds share.
struct Common {
    connector: Connector,
    options: ClientOptions,
    retry: RetryConfig,
}

impl Common {
    /// The options, with plain HTTP permitted where the endpoint's URL says so itself.
    fn options(&self, endpoint: Option<&str>) -> Result<ClientOptions> {
        let plain = match endpoint {
            None => false,
            Some(endpoint) if endpoint.starts_with("http://") => true,
            Some(endpoint) if endpoint.starts_with("https://") => false,
            Some(endpoint) => {
                return Err(Error::new(ErrorKind::Usage, format!("the endpoint {endpoint:?} is no URL"))
                    .hint("write it as https://HOST or https://HOST:PORT"));
            }
        };
        Ok(self.options.clone().with_allow_http(plain))
    }
}

/// The library's messages about settings can quote them, credentials too.
fn unusable(what: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("the settings of {what} cannot be used"))
        .hint("check endpoint, account and credentials in the configuration")
}

fn s3(settings: &S3Settings, common: Common) -> Result<Arc<dyn ObjectStore>> {
    let address = s3_address(settings);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_client_options(common.options(address.endpoint.as_deref())?)
        .with_retry(common.retry)
        .with_http_connector(common.connector)
        .with_virtual_hosted_style_request(address.bucket_in_host)
        // Not every server has the call that removes many files.
        .with_disable_bulk_delete(true);
    if let Some(endpoint) = address.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    builder = match &settings.credentials {
        S3Credentials::Keys(keys) => {
            builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential(keys))))
        }
        S3Credentials::Source(source) => {
            builder.with_credentials(Arc::new(Renewing::new(Arc::clone(source))))
        }
        S3Credentials::Instance => given_to_a_container(builder),
    };
    let client = builder.build().map_err(|_| unusable(&format!("the bucket {}", settings.bucket)))?;
    Ok(Arc::new(client))
}

fn given_to_a_container(builder: AmazonS3Builder) -> AmazonS3Builder {
    let environment = AmazonS3Builder::from_env();
    GIVEN_TO_A_CONTAINER.into_iter().fold(builder, |builder, key| match environment.get_config_value(&key) {
        Some(value) => builder.with_config(key, value),
        None => builder,
    })
}

struct S3Address {
    endpoint: Option<String>,
    bucket_in_host: bool,
}

/// A bucket stands in the host's name at Amazon, in the path elsewhere, unless told otherwise. With
/// a dot in its name it never does at Amazon: no certificate would fit.
fn s3_address(settings: &S3Settings) -> S3Address {
    let bucket = &settings.bucket;
    let Some(endpoint) = settings.endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/')) else {
        let in_path = settings.path_style.unwrap_or_else(|| bucket.contains('.'));
        return S3Address { endpoint: None, bucket_in_host: !in_path };
    };
    if settings.path_style.unwrap_or(true) {
        return S3Address { endpoint: Some(endpoint.to_owned()), bucket_in_host: false };
    }
    let with_bucket = match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => endpoint.to_owned(),
    };
    S3Address { endpoint: Some(with_bucket), bucket_in_host: true }
}

fn azure(settings: &AzureSettings, common: Common) -> Result<Arc<dyn ObjectStore>> {
    let failed = || unusable(&format!("the container {}", settings.container));
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&settings.account)
        .with_container_name(&settings.container)
        .with_client_options(common.options(settings.endpoint.as_deref())?)
        .with_retry(common.retry)
        .with_http_connector(common.connector);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    builder = match &settings.credentials {
        AzureCredentials::Key(key) => builder.with_access_key(key.expose()),
        AzureCredentials::SasToken(token) => {
            builder.with_sas_authorization(split_sas(token.expose()).map_err(|_| failed())?)
        }
        AzureCredentials::Instance => builder,
    };
    Ok(Arc::new(builder.build().map_err(|_| failed())?))
}

fn google(settings: &GoogleSettings, common: Common) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&settings.bucket)
        .with_client_options(common.options(settings.endpoint.as_deref())?)
        .with_retry(common.retry)
        .with_http_connector(common.connector);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    if let Some(account) = &settings.service_account {
        builder = builder.with_service_account_key(account.expose());
    }
    let client = builder.build().map_err(|_| unusable(&format!("the bucket {}", settings.bucket)))?;
    Ok(Arc::new(client))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(bucket: &str, endpoint: Option<&str>, path_style: Option<bool>) -> (Option<String>, bool) {
        let address = s3_address(&S3Settings {
            bucket: bucket.to_owned(),
            region: None,
            endpoint: endpoint.map(str::to_owned),
            path_style,
            credentials: S3Credentials::Instance,
        });
        (address.endpoint, address.bucket_in_host)
    }

    #[test]
    fn a_bucket_stands_in_the_host_at_amazon_and_in_the_path_elsewhere() {
        assert_eq!(address("b", None, None), (None, true));
        assert_eq!(address("b.c", None, None), (None, false));
        assert_eq!(address("b", None, Some(true)), (None, false));
        let other = Some("https://s3.example/");
        assert_eq!(address("b", other, None), (Some("https://s3.example".to_owned()), false));
        assert_eq!(address("b", other, Some(false)), (Some("https://b.s3.example".to_owned()), true));
    }
}

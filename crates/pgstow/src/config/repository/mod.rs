//! Where the repository is and who opens it: `[repository]`, and the variables and files that
//! programs for the same stores read.

mod azure;
mod credential_process;
mod google;
mod profile;
mod s3;
mod url;

use std::path::{Path, PathBuf};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::repository::store::cloud::{CloudSettings, Place};
use pgstow_core::{Error, ErrorKind, Result};

use self::url::{Kind, RepositoryUrl};
use super::DEFAULT_REPOSITORY;
use super::file::RepositorySection;
use super::variables::Variables;
use crate::process::Process;

/// Where a repository is.
#[derive(Debug)]
pub(crate) enum RepositoryPlace {
    /// A folder.
    Folder(PathBuf),
    /// A bucket.
    Bucket(Box<CloudSettings>),
}

/// What the settings of a repository are read from.
pub(super) struct Sources<'s> {
    /// `[repository]`.
    pub(super) section: &'s RepositorySection,
    /// The folder of the file that holds it.
    pub(super) folder: &'s Path,
    /// Variables of the process and of `.env`.
    pub(super) variables: &'s Variables,
    /// The process.
    pub(super) process: &'s Process,
    /// Ends a program that gives out keys.
    pub(super) interrupt: &'s Interrupt,
}

impl Sources<'_> {
    /// The repository that `[repository]` describes.
    ///
    /// # Errors
    /// Usage: a wrong URL, keys that do not belong to it or contradict each other, unset variables.
    pub(super) fn configured(&self) -> Result<RepositoryPlace> {
        let url = self.configured_url()?;
        if let Some(key) = self.section.store_keys().iter().find(|key| !belongs(key, &url)) {
            return Err(does_not_belong(key, &url));
        }
        self.place(url, self.folder)
    }

    /// The repository of `--repository`, relative to `current`. The other keys of `[repository]`
    /// hold for it too when that describes one of the same kind.
    ///
    /// # Errors
    /// As [`Sources::configured`].
    pub(super) fn given(&self, url: &str, current: &Path) -> Result<RepositoryPlace> {
        let url = url::parse(url, "--repository")?;
        let section = &RepositorySection::default();
        match &url {
            RepositoryUrl::Bucket { .. } if self.configured_url()?.kind() != url.kind() => {
                Sources { section, ..*self }.place(url, current)
            }
            _ => self.place(url, current),
        }
    }

    fn configured_url(&self) -> Result<RepositoryUrl> {
        let url = self.section.url.as_deref().unwrap_or(DEFAULT_REPOSITORY);
        url::parse(&self.variables.expand(url, "repository.url")?, "repository.url")
    }

    fn place(&self, url: RepositoryUrl, folder: &Path) -> Result<RepositoryPlace> {
        let (kind, bucket, prefix) = match url {
            RepositoryUrl::Folder(path) => return Ok(RepositoryPlace::Folder(folder.join(path))),
            RepositoryUrl::Bucket { kind, bucket, prefix } => (kind, bucket, prefix),
        };
        let place = match kind {
            Kind::S3 => Place::S3(s3::settings(self, bucket)?),
            Kind::Azure => Place::Azure(azure::settings(self, bucket)?),
            Kind::Google => Place::Google(google::settings(self, bucket)?),
        };
        let spool = self.process.temporary_folder();
        Ok(RepositoryPlace::Bucket(Box::new(CloudSettings { place, prefix, spool })))
    }

    /// The value of a key with its references replaced.
    fn value(&self, key: &str, value: Option<&String>) -> Result<Option<String>> {
        let Some(value) = value else { return Ok(None) };
        let key = format!("repository.{key}");
        let expanded = self.variables.expand(value, &key)?;
        if expanded.is_empty() {
            return Err(usage(format!("{key} is empty")).hint("give it a value, or remove the key"));
        }
        Ok(Some(expanded))
    }

    /// The first of these variables that is set, and which it is.
    fn variable<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &str)> {
        names.iter().find_map(|name| Some((*name, self.variables.get(name)?)))
    }

    /// `endpoint`, or else `otherwise`, which comes with the name that errors call it by.
    fn endpoint(&self, bucket: &str, otherwise: Option<(&str, &str)>) -> Result<Option<String>> {
        let configured = self.value("endpoint", self.section.endpoint.as_ref())?;
        let (key, endpoint) = match (&configured, otherwise) {
            (Some(endpoint), _) => ("repository.endpoint", endpoint.as_str()),
            (None, Some(otherwise)) => otherwise,
            (None, None) => return Ok(None),
        };
        check_endpoint(key, endpoint, bucket)?;
        Ok(Some(endpoint.trim_end_matches('/').to_owned()))
    }
}

/// Which kinds of repository a key of `[repository]` belongs to.
fn kinds_of(key: &str) -> &'static [Kind] {
    match key {
        "endpoint" => &[Kind::S3, Kind::Azure, Kind::Google],
        "account" | "account_key" | "sas_token" => &[Kind::Azure],
        "service_account_file" => &[Kind::Google],
        _ => &[Kind::S3],
    }
}

fn belongs(key: &str, url: &RepositoryUrl) -> bool {
    url.kind().is_some_and(|kind| kinds_of(key).contains(&kind))
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

fn does_not_belong(key: &str, url: &RepositoryUrl) -> Error {
    let kinds: Vec<String> = kinds_of(key).iter().map(|kind| format!("{kind}://")).collect();
    let kinds = kinds.join(", ");
    match url {
        RepositoryUrl::Folder(_) => usage(format!("repository.{key} does not go with a folder"))
            .why(format!("it belongs to {kinds}, and repository.url names a folder"))
            .hint("remove the key, or write the URL of a bucket, such as s3://bucket/prefix"),
        RepositoryUrl::Bucket { kind, .. } => usage(format!("repository.{key} does not go with {kind}://"))
            .why(format!("it belongs to {kinds}"))
            .hint("remove the key"),
    }
}

/// An endpoint is shown in messages, so it must hold no secret.
fn check_endpoint(key: &str, endpoint: &str, bucket: &str) -> Result<()> {
    let Some((_, rest)) = endpoint.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme))
    else {
        return Err(usage(format!("{key} is not a URL of http or https"))
            .hint("write https:// and the server's name, such as https://s3.example.com"));
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if rest.contains('@') {
        return Err(usage(format!("{key} holds credentials")).hint("give them as keys of their own"));
    }
    if host.is_empty() || rest.contains(['?', '#', ' ']) {
        return Err(usage(format!("{key} is not the address of a server"))
            .hint("write https:// and the server's name, such as https://s3.example.com"));
    }
    if host.starts_with(&format!("{bucket}.")) || path.split('/').next_back() == Some(bucket) {
        return Err(usage(format!("{key} names the bucket, which the URL of the repository names already"))
            .hint("leave the bucket's name out of the endpoint"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

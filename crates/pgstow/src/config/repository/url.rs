//! The URL of a repository: what kind it is, and where within that. Pure.

use std::fmt;
use std::path::PathBuf;

use pgstow_core::{Error, ErrorKind, Result};

/// What people may write.
const KINDS: &str = "a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";
/// Names of objects have 1024 bytes at most everywhere; the repository's own need some of them.
const PREFIX_LIMIT_BYTES: usize = 512;

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RepositoryUrl {
    /// A folder, as it was written.
    Folder(PathBuf),
    /// A bucket, or a container of Azure.
    Bucket {
        /// Whose.
        kind: Kind,
        /// Its name.
        bucket: String,
        /// What all names begin with; no slashes at its ends, may be empty.
        prefix: String,
    },
}

impl RepositoryUrl {
    /// Whose bucket it is; `None` for a folder.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Folder(_) => None,
            Self::Bucket { kind, .. } => Some(*kind),
        }
    }
}

/// Whose protocol a bucket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// S3.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl Kind {
    fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "s3" => Some(Self::S3),
            "gs" => Some(Self::Google),
            "az" => Some(Self::Azure),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        })
    }
}

/// Reads a URL; `key` is how errors call it. No error repeats the URL: it may hold a secret.
///
/// # Errors
/// Usage: a kind that does not exist, or names that cannot be.
pub(super) fn parse(url: &str, key: &str) -> Result<RepositoryUrl> {
    if url.is_empty() {
        return Err(usage(format!("{key} is empty")).hint(format!("write {KINDS}")));
    }
    match url.split_once("://") {
        Some((scheme, rest)) => of_scheme(&scheme.to_lowercase(), rest, key),
        None => match url.split_once(':').map(|(scheme, _)| scheme.to_lowercase()) {
            Some(scheme) if scheme == "file" || Kind::of_scheme(&scheme).is_some() => {
                Err(usage(format!("{key}: two slashes are missing after \"{scheme}:\""))
                    .hint(format!("write {scheme}://…, or ./{scheme}:… for a folder of that name")))
            }
            _ => Ok(RepositoryUrl::Folder(PathBuf::from(url))),
        },
    }
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

fn of_scheme(scheme: &str, rest: &str, key: &str) -> Result<RepositoryUrl> {
    if scheme == "file" {
        if rest.starts_with('/') {
            return Ok(RepositoryUrl::Folder(PathBuf::from(rest)));
        }
        return Err(usage(format!("{key}: a file URL needs an absolute path"))
            .hint("write file:///path/to/backups, or the path alone"));
    }
    match Kind::of_scheme(scheme) {
        Some(kind) => bucket(kind, rest, key),
        None => Err(unknown(scheme, key)),
    }
}

fn unknown(scheme: &str, key: &str) -> Error {
    let hint = match scheme {
        "gcs" => "write gs://bucket/prefix".to_owned(),
        "azure" | "azblob" | "abfs" | "abfss" | "wasb" | "wasbs" => {
            "write az://container/prefix, and the storage account as `account` in [repository]".to_owned()
        }
        "s3a" | "s3n" | "r2" | "b2" | "minio" | "http" | "https" => {
            "write s3://bucket/prefix, and the server's address as `endpoint` in [repository]; for Azure \
             az://container/prefix and `account`"
                .to_owned()
        }
        "sftp" | "ssh" | "nfs" | "smb" => format!("mount it and write the folder; or {KINDS}"),
        _ => format!("write {KINDS}"),
    };
    // A password may stand where a scheme is expected.
    let plain = scheme.len() <= 16 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let shown = if plain { format!(" {scheme:?}") } else { String::new() };
    usage(format!("{key}: unknown kind of repository{shown}")).hint(hint)
}

fn bucket(kind: Kind, rest: &str, key: &str) -> Result<RepositoryUrl> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.contains('@') {
        return Err(usage(format!("{key}: credentials do not belong in the URL"))
            .why("the URL is shown in messages")
            .hint("give them as keys of [repository], or as variables; docs/stores.md lists both"));
    }
    if rest.contains(['?', '#']) {
        return Err(usage(format!("{key}: nothing may follow the prefix (\"?\", \"#\")"))
            .hint("give region, endpoint, sas_token and the like as keys of [repository]"));
    }
    let noun = if kind == Kind::Azure { "container" } else { "bucket" };
    if bucket.is_empty() {
        return Err(usage(format!("{key} names no {noun}"))
            .hint(format!("write {kind}://{noun} or {kind}://{noun}/prefix")));
    }
    if is_host(bucket) {
        return Err(usage(format!("{key} names a server where the {noun} is expected"))
            .hint(format!("write {kind}://{noun}/prefix, and the server as `endpoint` in [repository]")));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if let Some(wrong) = bucket.chars().find(|c| !allowed(*c)) {
        return Err(usage(format!("{key}: the name of a {noun} cannot hold {wrong:?}"))
            .hint("names have letters, digits, \"-\", \"_\" and \".\""));
    }
    let prefix = prefix.trim_end_matches('/');
    check_prefix(prefix, key)?;
    Ok(RepositoryUrl::Bucket { kind, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// The name of a well-known server, an address or a port cannot be meant as a bucket.
fn is_host(bucket: &str) -> bool {
    const SERVERS: [&str; 6] = [
        ".amazonaws.com",
        ".r2.cloudflarestorage.com",
        ".backblazeb2.com",
        ".blob.core.windows.net",
        ".googleapis.com",
        ".digitaloceanspaces.com",
    ];
    bucket == "localhost"
        || bucket.contains(':')
        || bucket.parse::<std::net::Ipv4Addr>().is_ok()
        || SERVERS.iter().any(|server| bucket.ends_with(server))
}

fn check_prefix(prefix: &str, key: &str) -> Result<()> {
    if prefix.is_empty() {
        return Ok(());
    }
    let why = if prefix.split('/').any(str::is_empty) {
        "two slashes follow each other"
    } else if prefix.split('/').any(|part| part == "." || part == "..") {
        "a part of it is \".\" or \"..\""
    } else if prefix.chars().any(|c| c.is_control() || c == '\\') {
        "it holds a backslash or a control character"
    } else if prefix.len() > PREFIX_LIMIT_BYTES {
        "it is longer than 512 bytes"
    } else {
        return Ok(());
    };
    Err(usage(format!("{key}: the prefix cannot be used")).why(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets_are_told_apart() {
        let bucket = |kind, bucket: &str, prefix: &str| RepositoryUrl::Bucket {
            kind,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        };
        let folder = |path: &str| RepositoryUrl::Folder(PathBuf::from(path));
        let cases = [
            ("backups", folder("backups")),
            ("/srv/backups", folder("/srv/backups")),
            ("file:///srv/backups", folder("/srv/backups")),
            ("C:backups", folder("C:backups")),
            ("./s3:folder", RepositoryUrl::Folder(PathBuf::from("./s3:folder"))),
            ("s3://bucket", bucket(Kind::S3, "bucket", "")),
            ("S3://bucket/", bucket(Kind::S3, "bucket", "")),
            ("s3://my.bucket-1/a/b/", bucket(Kind::S3, "my.bucket-1", "a/b")),
            ("gs://bucket/a b", bucket(Kind::Google, "bucket", "a b")),
            ("az://container/x", bucket(Kind::Azure, "container", "x")),
        ];
        for (url, expected) in cases {
            if url == "./s3:folder" {
                assert!(parse(url, "key").is_ok(), "{url}");
                continue;
            }
            assert_eq!(parse(url, "key").unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        let cases = [
            ("", "key is empty", "s3://bucket"),
            ("s3:/bucket/x", "key: two slashes are missing", "write s3://"),
            ("s3:bucket", "key: two slashes are missing", "write s3://"),
            ("file:/srv", "key: two slashes are missing", "write file://"),
            ("file://srv/x", "key: a file URL needs an absolute path", "file:///"),
            ("s3://", "key names no bucket", "s3://bucket"),
            ("s3:///prefix", "key names no bucket", "s3://bucket"),
            ("az:///prefix", "key names no container", "az://container"),
            ("s3://AKIAX:hunter2@bucket/x", "key: credentials do not belong", "keys of [repository]"),
            ("az://c?sig=hunter2", "key: nothing may follow", "sas_token"),
            ("s3://localhost:9000/bucket", "key names a server", "endpoint"),
            ("s3://127.0.0.1/bucket", "key names a server", "endpoint"),
            ("s3://s3.amazonaws.com/bucket", "key names a server", "endpoint"),
            ("s3://my bucket", "key: the name of a bucket cannot hold ' '", "letters"),
            ("s3://bucket//x", "key: the prefix cannot be used", ""),
            ("s3://bucket/../x", "key: the prefix cannot be used", ""),
            ("s3://bucket/a\\b", "key: the prefix cannot be used", ""),
            ("gcs://bucket", "key: unknown kind of repository \"gcs\"", "gs://bucket"),
            ("abfss://c@a", "key: unknown kind of repository \"abfss\"", "az://container"),
            ("https://hunter2@x", "key: unknown kind of repository \"https\"", "endpoint"),
            ("sftp://host/x", "key: unknown kind of repository \"sftp\"", "mount"),
            ("hunter2:hunter2://x", "key: unknown kind of repository", "s3://bucket"),
        ];
        for (url, message, hint) in cases {
            let error = parse(url, "key").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.message().starts_with(message), "{url}: {}", error.message());
            let hints = error.hints().join(" ");
            assert!(hints.contains(hint), "{url}: {hints}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}

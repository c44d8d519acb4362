//! Settings of a bucket of Google Cloud Storage.

use std::path::{Path, PathBuf};

use pgstow_core::repository::store::cloud::GoogleSettings;
use pgstow_core::secret::Secret;
use pgstow_core::{Error, Result};
use serde::Deserialize;

use super::{Sources, usage};

/// The variable that names the key file for all programs of Google.
const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// What tells one kind of key file from another.
#[derive(Deserialize)]
struct KeyFile {
    r#type: String,
}

/// The settings of `bucket`.
///
/// # Errors
/// Usage: a key file that cannot be read or is of another kind.
pub(super) fn settings(sources: &Sources<'_>, bucket: String) -> Result<GoogleSettings> {
    let endpoint = sources.endpoint(&bucket, None)?;
    let configured = sources.value("service_account_file", sources.section.service_account_file.as_ref())?;
    let file: Option<(PathBuf, &str)> = match configured {
        Some(path) => Some((sources.folder.join(path), "repository.service_account_file")),
        None => sources.variables.get(VARIABLE).map(|path| (PathBuf::from(path), VARIABLE)),
    };
    let service_account = file.map(|(path, key)| service_account(&path, key)).transpose()?;
    Ok(GoogleSettings { bucket, endpoint, service_account })
}

/// The text of a service account's key file.
fn service_account(path: &Path, key: &str) -> Result<Secret> {
    let failed = |message: &str| usage(format!("{key}: {} {message}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed("cannot be read").source(error))?;
    // What is wrong with it is not repeated: it is a secret.
    let found: KeyFile =
        serde_json::from_str(&text).map_err(|_| wrong_kind(failed("is no key file of Google")))?;
    match found.r#type.as_str() {
        "service_account" => Ok(Secret::new(text)),
        "authorized_user" => Err(wrong_kind(failed("holds the login of a person, not of a service account"))),
        _ => Err(wrong_kind(failed("is a key file of a kind that is not supported"))),
    }
}

fn wrong_kind(error: Error) -> Error {
    error.hint(
        "make a key of a service account that may use the bucket: gcloud iam service-accounts keys create",
    )
}

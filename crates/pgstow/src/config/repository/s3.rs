//! Settings of a bucket of S3, from the sources that Amazon's own programs use, in their order:
//! the configuration, variables, the profile, what the machine is given.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use pgstow_core::repository::store::cloud::{AccessKeys, S3Credentials, S3Settings};
use pgstow_core::secret::Secret;
use pgstow_core::{Error, Result};

use super::credential_process::CredentialProcess;
use super::profile::{Profile, Profiles};
use super::{Sources, usage};

/// Ways to log in that Amazon's command line tool knows: keys of a profile by how they begin.
const DELEGATED: [&str; 5] =
    ["role_arn", "sso_", "web_identity_token_file", "credential_source", "login_session"];
/// So many profiles may refer to each other.
const REFERENCES_LIMIT: usize = 8;

/// The settings of `bucket`.
///
/// # Errors
/// Usage: keys that are missing, empty or contradict each other; a profile that is not there or logs
/// in by means of Amazon's own tools.
pub(super) fn settings(sources: &Sources<'_>, bucket: String) -> Result<S3Settings> {
    let found = Found { sources, named: named_profile(sources)?, profiles: OnceCell::new() };
    let credentials = found.credentials()?;
    let profile = found.profile()?;
    let region = match sources.value("region", sources.section.region.as_ref())? {
        Some(region) => Some(region),
        None => {
            let variable = sources.variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]).map(|(_, region)| region);
            variable.or_else(|| profile?.get("region")).map(str::to_owned)
        }
    };
    let of_profile = || Some(("endpoint_url of the AWS profile", profile?.endpoint()?));
    let variable = sources.variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
    let endpoint = sources.endpoint(&bucket, variable.or_else(of_profile))?;
    let path_style = sources.section.path_style.or_else(|| match profile?.get("s3.addressing_style")? {
        "path" => Some(true),
        "virtual" => Some(false),
        _ => None,
    });
    Ok(S3Settings { bucket, region, endpoint, path_style, credentials })
}

/// `profile`, or else `AWS_PROFILE`.
fn named_profile(sources: &Sources<'_>) -> Result<Option<String>> {
    let configured = sources.value("profile", sources.section.profile.as_ref())?;
    Ok(configured.or_else(|| sources.variables.get("AWS_PROFILE").map(str::to_owned)))
}

struct Found<'s> {
    sources: &'s Sources<'s>,
    named: Option<String>,
    profiles: OnceCell<Profiles>,
}

impl Found<'_> {
    fn profile(&self) -> Result<Option<Profile<'_>>> {
        let profiles = match self.profiles.get() {
            Some(profiles) => profiles,
            None => {
                let loaded = Profiles::load(self.sources.variables, self.sources.process)?;
                self.profiles.get_or_init(|| loaded)
            }
        };
        profiles.get(self.named.as_deref())
    }

    fn credentials(&self) -> Result<S3Credentials> {
        let section = self.sources.section;
        let keys = [&section.access_key_id, &section.secret_access_key, &section.session_token];
        let keys = keys.iter().any(|key| key.is_some());
        let ways = [keys, section.credential_process.is_some(), section.profile.is_some()];
        if ways.iter().filter(|given| **given).count() > 1 {
            return Err(usage("repository: several keys say who opens the bucket".to_owned())
                .hint("give one of access_key_id with secret_access_key, credential_process, or profile"));
        }
        if keys {
            return self.configured_keys();
        }
        if let Some(line) = &section.credential_process {
            let key = "repository.credential_process";
            return self.process(line, key, self.sources.folder);
        }
        // A profile that the configuration names wins over variables, as one named on the command
        // line of Amazon's tool does.
        if section.profile.is_none()
            && let Some(keys) = self.variable_keys()?
        {
            return Ok(S3Credentials::Keys(keys));
        }
        match self.profile()?.map(|profile| self.of_profile(profile, REFERENCES_LIMIT)).transpose()?.flatten()
        {
            Some(credentials) => Ok(credentials),
            None => self.of_machine(),
        }
    }

    fn configured_keys(&self) -> Result<S3Credentials> {
        let section = self.sources.section;
        let id = self.sources.value("access_key_id", section.access_key_id.as_ref())?;
        let secret = self.sources.value("secret_access_key", section.secret_access_key.as_ref())?;
        let token = self.sources.value("session_token", section.session_token.as_ref())?;
        let missing = |key: &str| {
            Err(usage(format!("repository.{key} is missing"))
                .why("access_key_id and secret_access_key belong together")
                .hint(format!("add {key} = \"${{…}}\" with the name of the variable that holds it")))
        };
        match (id, secret) {
            (Some(id), Some(secret)) => Ok(S3Credentials::Keys(access_keys(&id, &secret, token.as_deref()))),
            (Some(_), None) => missing("secret_access_key"),
            (None, _) => missing("access_key_id"),
        }
    }

    fn variable_keys(&self) -> Result<Option<AccessKeys>> {
        let get = |name| self.sources.variables.get(name);
        match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => Ok(Some(access_keys(id, secret, get("AWS_SESSION_TOKEN")))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
            (None, Some(_)) => Err(half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")),
        }
    }

    /// The credentials of a profile; `None` when it has none.
    fn of_profile(&self, profile: Profile<'_>, references: usize) -> Result<Option<S3Credentials>> {
        if let Some(key) = delegated(&profile) {
            return Err(not_done_here(&profile, key));
        }
        match (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
            (Some(id), Some(secret)) => {
                let keys = access_keys(id, secret, profile.get("aws_session_token"));
                return Ok(Some(S3Credentials::Keys(keys)));
            }
            (None, None) => {}
            (Some(_), None) => return Err(half_in(&profile, "aws_secret_access_key")),
            (None, Some(_)) => return Err(half_in(&profile, "aws_access_key_id")),
        }
        if let Some(line) = profile.get("credential_process") {
            let key = format!("credential_process of the AWS profile {:?}", profile.name);
            return self.process(line, &key, Path::new("")).map(Some);
        }
        let Some(source) = profile.get("source_profile") else { return Ok(None) };
        let further = references.checked_sub(1).ok_or_else(|| {
            usage(format!("the AWS profile {:?} refers to itself by source_profile", profile.name))
        })?;
        match profile.sibling(source)? {
            Some(source) => self.of_profile(source, further),
            None => Ok(None),
        }
    }

    fn process(&self, line: &str, key: &str, folder: &Path) -> Result<S3Credentials> {
        let Sources { variables, interrupt, .. } = self.sources;
        let process = CredentialProcess::new(line, key, folder, variables, interrupt)?;
        Ok(S3Credentials::Source(Arc::new(process)))
    }

    fn of_machine(&self) -> Result<S3Credentials> {
        if self.named.is_some() {
            let profile = self.profile()?;
            let files = profile.map(|profile| profile.files()).unwrap_or_default();
            let name = self.named.as_deref().unwrap_or_default();
            return Err(usage(format!("the AWS profile {name:?} holds no keys"))
                .why(format!("neither aws_access_key_id nor credential_process is in {files}"))
                .hint(export(name)));
        }
        Ok(S3Credentials::Instance)
    }
}

fn access_keys(id: &str, secret: &str, token: Option<&str>) -> AccessKeys {
    AccessKeys {
        access_key_id: id.to_owned(),
        secret_access_key: Secret::new(secret),
        session_token: token.map(Secret::new),
        expires_at: None,
    }
}

/// The key by which a profile leaves logging in to Amazon's tool.
fn delegated<'p>(profile: &Profile<'p>) -> Option<&'p str> {
    DELEGATED.iter().find_map(|beginning| profile.keys().find(|key| key.starts_with(beginning)))
}

fn not_done_here(profile: &Profile<'_>, key: &str) -> Error {
    usage(format!("the AWS profile {:?} logs in by {key}, which pgstow does not do", profile.name))
        .hint(export(profile.name))
}

fn export(profile: &str) -> String {
    let name = if profile.contains([' ', '\'', '"']) { format!("'{profile}'") } else { profile.to_owned() };
    format!(
        "let Amazon's tool do it: in [repository], credential_process = \"aws configure export-credentials \
         --profile {name} --format process\""
    )
}

fn half(set: &str, unset: &str) -> Error {
    usage(format!("the variable {set} is set and {unset} is not"))
        .why("they belong together")
        .hint(format!("set both, or neither to use the AWS profile; an empty {unset} counts as not set"))
}

fn half_in(profile: &Profile<'_>, missing: &str) -> Error {
    usage(format!("the AWS profile {:?} has no {missing}", profile.name))
        .why(format!("one of two keys that belong together is in {}", profile.files()))
        .hint("complete it, or name another profile")
}

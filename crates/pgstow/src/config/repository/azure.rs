//! Settings of a container of Azure Blob Storage.

use pgstow_core::Result;
use pgstow_core::repository::store::cloud::{AzureCredentials, AzureSettings};
use pgstow_core::secret::Secret;

use super::{Sources, usage};

const ACCOUNT: [&str; 2] = ["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"];
const KEY: [&str; 2] = ["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"];
const SAS_TOKEN: [&str; 1] = ["AZURE_STORAGE_SAS_TOKEN"];

/// The settings of `container`.
///
/// # Errors
/// Usage: no account, or keys that are empty or contradict each other.
pub(super) fn settings(sources: &Sources<'_>, container: String) -> Result<AzureSettings> {
    let account = account(sources)?;
    let endpoint = sources.endpoint(&container, None)?;
    Ok(AzureSettings { account, container, endpoint, credentials: credentials(sources)? })
}

fn account(sources: &Sources<'_>) -> Result<String> {
    let configured = sources.value("account", sources.section.account.as_ref())?;
    let variable = || sources.variable(&ACCOUNT).map(|(_, account)| account.to_owned());
    let account = configured.or_else(variable).ok_or_else(|| {
        usage("az:// needs the name of the storage account".to_owned())
            .hint("add account = \"…\" to [repository], or set AZURE_STORAGE_ACCOUNT")
    })?;
    if account.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Ok(account);
    }
    Err(usage("the name of the Azure storage account has letters and digits only".to_owned())
        .hint("it is the first part of its address: https://<account>.blob.core.windows.net"))
}

fn credentials(sources: &Sources<'_>) -> Result<AzureCredentials> {
    let section = sources.section;
    if section.account_key.is_some() && section.sas_token.is_some() {
        return Err(usage(
            "repository: account_key and sas_token both say who opens the container".to_owned(),
        )
        .hint("keep one of them"));
    }
    if let Some(key) = sources.value("account_key", section.account_key.as_ref())? {
        return Ok(AzureCredentials::Key(Secret::new(key)));
    }
    if let Some(token) = sources.value("sas_token", section.sas_token.as_ref())? {
        return Ok(sas_token(&token));
    }
    if let Some((_, key)) = sources.variable(&KEY) {
        return Ok(AzureCredentials::Key(Secret::new(key)));
    }
    let token = sources.variable(&SAS_TOKEN);
    Ok(token.map_or(AzureCredentials::Instance, |(_, token)| sas_token(token)))
}

/// The portal shows it with the question mark, which is no part of it.
fn sas_token(token: &str) -> AzureCredentials {
    AzureCredentials::SasToken(Secret::new(token.trim_start_matches('?')))
}

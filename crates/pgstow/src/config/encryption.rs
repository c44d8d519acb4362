//! Public and private keys: what `[repository]` and the variables say of encryption.

use std::path::{Path, PathBuf};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::repository::encryption::{Asking, IdentityFile, KeySource, Recipients, SecretString};
use pgstow_core::{Error, ErrorKind, Result};

use super::file::RepositorySection;
use super::password;
use super::variables::Variables;
use crate::ui::prompt;

/// Text of a private key.
const IDENTITY: &str = "PGSTOW_IDENTITY";
/// File of a private key.
const IDENTITY_FILE: &str = "PGSTOW_IDENTITY_FILE";
/// Passphrase of a private key.
const PASSPHRASE: &str = "PGSTOW_PASSPHRASE";

/// What `[repository]` says of encryption.
#[derive(Clone, Default)]
pub(super) struct EncryptionKeys {
    encrypt_to: Option<Vec<String>>,
    identity_file: Option<String>,
    identity_command: Option<String>,
    passphrase_file: Option<String>,
    passphrase_command: Option<String>,
}

impl EncryptionKeys {
    pub(super) fn of(section: &RepositorySection) -> Self {
        Self {
            encrypt_to: section.encrypt_to.clone(),
            identity_file: section.identity_file.clone(),
            identity_command: section.identity_command.clone(),
            passphrase_file: section.passphrase_file.clone(),
            passphrase_command: section.passphrase_command.clone(),
        }
    }

    /// Whom new backups are encrypted to; `None` without `encrypt_to`.
    ///
    /// # Errors
    /// Usage: a key that is none, a file that cannot be read.
    pub(super) fn recipients(&self, variables: &Variables, folder: &Path) -> Result<Option<Recipients>> {
        let Some(entries) = &self.encrypt_to else { return Ok(None) };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = variables.expand(entry, "encrypt_to")?;
            keys.extend(recipients_of(entry.trim(), folder)?);
        }
        Recipients::parse(keys.iter().map(String::as_str)).map(Some)
    }
}

/// The keys that an entry of `encrypt_to` stands for: itself, or the lines of a file.
pub(crate) fn recipients_of(entry: &str, folder: &Path) -> Result<Vec<String>> {
    if ["age1", "ssh-", "AGE-", "ecdsa-", "sk-"].iter().any(|start| entry.starts_with(start)) {
        return Ok(vec![entry.to_owned()]);
    }
    let path = folder.join(entry);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::new(ErrorKind::Usage, format!("encrypt_to: cannot read {}", path.display()))
            .source(error)
            .hint("an entry is a public key (age1…, ssh-ed25519 …, ssh-rsa …) or a file of them, one a line")
    })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<String> = lines.map(str::to_owned).collect();
    if keys.is_empty() {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("encrypt_to: {} holds no public key", path.display()),
        ));
    }
    Ok(keys)
}

/// Where the keys of this run come from: `--identity`, or else the variables, or else the file.
pub(crate) struct ConfiguredKeys {
    pub(super) keys: EncryptionKeys,
    pub(super) variables: Variables,
    /// Of the configuration.
    pub(super) folder: PathBuf,
    /// `--identity`.
    pub(super) identity: Option<PathBuf>,
    pub(super) interrupt: Interrupt,
    /// Somebody can be asked.
    pub(super) interactive: bool,
}

impl KeySource for ConfiguredKeys {
    fn identities(&self) -> Result<Vec<IdentityFile>> {
        if let Some(path) = &self.identity {
            return Ok(vec![identity_file(path)?]);
        }
        let mut files = Vec::new();
        if let Some(text) = self.variables.get(IDENTITY) {
            files.push(IdentityFile::new(IDENTITY, text.as_bytes().to_vec()));
        }
        if let Some(path) = self.variables.get(IDENTITY_FILE) {
            files.push(identity_file(Path::new(path))?);
        }
        if !files.is_empty() {
            return Ok(files);
        }
        if let Some(path) = &self.keys.identity_file {
            let path = self.variables.expand(path, "identity_file")?;
            files.push(identity_file(&self.folder.join(path))?);
        }
        if let Some(command) = &self.keys.identity_command {
            let key = "identity_command";
            let output = password::output_of_command(command, &self.folder, &self.variables, &self.interrupt);
            files.push(IdentityFile::new(key, output.map_err(|error| error.context(key))?));
        }
        Ok(files)
    }

    fn passphrase(&self, what: &str, asking: Asking) -> Result<Option<SecretString>> {
        if let Some(passphrase) = self.configured_passphrase()? {
            return Ok(Some(passphrase));
        }
        if asking == Asking::Unwanted || !self.interactive {
            return Ok(None);
        }
        prompt::ask_hidden(&format!("passphrase of {what}: "), &self.interrupt).map(Some)
    }
}

impl ConfiguredKeys {
    /// The passphrase in a variable, a file or given out by a command.
    ///
    /// # Errors
    /// A source that is configured and fails.
    pub(crate) fn configured_passphrase(&self) -> Result<Option<SecretString>> {
        if let Some(passphrase) = self.variables.get(PASSPHRASE) {
            return Ok(Some(passphrase.to_owned().into()));
        }
        if let Some(path) = &self.keys.passphrase_file {
            let path = self.folder.join(self.variables.expand(path, "passphrase_file")?);
            let secret = password::from_file(&path, &mut Vec::new())?;
            return Ok(Some(secret.expose().to_owned().into()));
        }
        let Some(command) = &self.keys.passphrase_command else { return Ok(None) };
        let secret = password::from_command(command, &self.folder, &self.variables, &self.interrupt)
            .map_err(|error| error.context("passphrase_command"))?;
        Ok(Some(secret.expose().to_owned().into()))
    }

    /// A passphrase for a new key: configured, or typed twice.
    ///
    /// # Errors
    /// Key: there is none, it is empty, or the two differ.
    pub(crate) fn new_passphrase(&self) -> Result<SecretString> {
        use pgstow_core::repository::encryption::ExposeSecret;
        let refused = |message: &str| Error::new(ErrorKind::Key, message.to_owned());
        if let Some(passphrase) = self.configured_passphrase()? {
            return Ok(passphrase);
        }
        if !self.interactive {
            return Err(refused("no passphrase for the new key")
                .why("there is no terminal to ask on")
                .hint("set PGSTOW_PASSPHRASE"));
        }
        let first = prompt::ask_hidden("new passphrase: ", &self.interrupt)?;
        if first.expose_secret().is_empty() {
            return Err(refused("the passphrase is empty"));
        }
        let second = prompt::ask_hidden("once more: ", &self.interrupt)?;
        if first.expose_secret() == second.expose_secret() {
            Ok(first)
        } else {
            Err(refused("the two passphrases differ"))
        }
    }
}

/// Reads a file with a private key.
///
/// # Errors
/// Key: it cannot be read.
pub(crate) fn identity_file(path: &Path) -> Result<IdentityFile> {
    let shown = path.display().to_string();
    let content = std::fs::read(path).map_err(|error| {
        Error::new(ErrorKind::Key, format!("cannot read the identity file {shown}")).source(error)
    })?;
    Ok(IdentityFile::new(&shown, content))
}

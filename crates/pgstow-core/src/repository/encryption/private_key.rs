//! Private keys, and the files that hold them.

use std::io::{self, Read};

use age::secrecy::zeroize::Zeroizing;
use age::secrecy::{ExposeSecret, SecretString};

use super::{IdentityFile, Recipients};
use crate::error::{Error, ErrorKind, Result};

/// What a passphrase may cost to try: a few seconds. Files of others could ask for hours.
pub(super) const WORK_FACTOR_LIMIT: u8 = 22;
/// No identity file is longer.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// A private key. Printed by nothing, and zeroed when dropped.
pub struct PrivateKey(Kind);

enum Kind {
    X25519(age::x25519::Identity),
    Ssh(age::ssh::Identity),
}

impl PrivateKey {
    /// A new X25519 key.
    pub fn generate() -> Self {
        Self(Kind::X25519(age::x25519::Identity::generate()))
    }

    /// Its public key, as recipients are written.
    ///
    /// # Errors
    /// A key of SSH without one.
    pub fn public(&self) -> Result<String> {
        match &self.0 {
            Kind::X25519(key) => Ok(key.to_public().to_string()),
            Kind::Ssh(key) => age::ssh::Recipient::try_from(key.clone())
                .map(|recipient| recipient.to_string())
                .map_err(|_| Error::new(ErrorKind::Key, "the SSH key holds no public key that can be used")),
        }
    }

    /// As an identity file of age; `None` for keys of SSH, which have files of their own.
    pub fn to_identity_file(&self, created_at: jiff::Timestamp) -> Option<Zeroizing<String>> {
        let Kind::X25519(key) = &self.0 else { return None };
        let created_at = created_at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let (public, secret) = (key.to_public(), key.to_string());
        let secret = secret.expose_secret();
        Some(Zeroizing::new(format!("# created: {created_at}\n# public key: {public}\n{secret}\n")))
    }

    /// All keys of a file. `passphrase` is asked for one when the file is protected, with what it
    /// protects; where it gives none, neither is there a key.
    ///
    /// # Errors
    /// Key: a wrong passphrase, or something that is no identity file. Those of `passphrase`.
    pub fn read(
        file: &IdentityFile,
        mut passphrase: impl FnMut(&str) -> Result<Option<SecretString>>,
    ) -> Result<Vec<Self>> {
        let content = file.content.expose_secret();
        if is_age_file(content) {
            let Some(passphrase) = passphrase(&file.name)? else { return Ok(Vec::new()) };
            let opened = unprotect(content, &passphrase, &file.name)?;
            return identities(&opened, &file.name);
        }
        if contains(content, b"PRIVATE KEY-----") {
            return Ok(ssh(file, passphrase)?.into_iter().collect());
        }
        identities(content, &file.name)
    }

    pub(super) fn as_age(&self) -> &dyn age::Identity {
        match &self.0 {
            Kind::X25519(key) => key,
            Kind::Ssh(key) => key,
        }
    }

    /// The public keys of `keys`.
    pub(super) fn recipients(keys: &[Self]) -> Result<Recipients> {
        let publics = keys.iter().map(Self::public).collect::<Result<Vec<_>>>()?;
        Recipients::parse(publics.iter().map(String::as_str))
    }
}

fn is_age_file(content: &[u8]) -> bool {
    content.starts_with(b"age-encryption.org/") || content.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
}

fn contains(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}

/// Undoes a passphrase's protection.
///
/// # Errors
/// Key: a wrong passphrase, or a file that is protected otherwise.
pub(super) fn unprotect(content: &[u8], passphrase: &SecretString, name: &str) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |why: String| Error::new(ErrorKind::Key, format!("{name} cannot be opened")).why(why);
    let reader = age::armor::ArmoredReader::new(content);
    let decryptor = age::Decryptor::new(reader).map_err(|error| failed(error.to_string()))?;
    if !decryptor.is_scrypt() {
        return Err(failed("it is encrypted to a key, and not with a passphrase".to_owned())
            .hint("decrypt it with that key, and give the result: age -d -i KEY FILE"));
    }
    let mut identity = age::scrypt::Identity::new(passphrase.clone());
    identity.set_max_work_factor(WORK_FACTOR_LIMIT);
    let reader =
        decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|error| match error {
            age::DecryptError::ExcessiveWork { .. } => {
                failed("its passphrase costs too much work to try".to_owned())
            }
            age::DecryptError::DecryptionFailed | age::DecryptError::NoMatchingKeys => wrong_passphrase(name),
            other => failed(other.to_string()),
        })?;
    let mut opened = Zeroizing::new(Vec::new());
    reader
        .take(FILE_LIMIT_BYTES)
        .read_to_end(&mut opened)
        .map_err(|error: io::Error| failed(error.to_string()))?;
    Ok(opened)
}

fn wrong_passphrase(name: &str) -> Error {
    Error::new(ErrorKind::Key, format!("wrong passphrase for {name}"))
}

/// The keys in an identity file of age.
fn identities(content: &[u8], name: &str) -> Result<Vec<PrivateKey>> {
    let failed = |why: String| {
        Error::new(ErrorKind::Key, format!("{name} is no identity file"))
            .why(why)
            .hint("it must hold lines that begin with AGE-SECRET-KEY-1, or an SSH private key")
    };
    let text = std::str::from_utf8(content).map_err(|_| failed("it is not text".to_owned()))?;
    let mut keys = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("AGE-PLUGIN-") {
            return Err(failed(format!("line {number} is a key of a plugin, which is not supported")));
        }
        if line.starts_with("AGE-SECRET-KEY-PQ-") {
            return Err(failed(format!("line {number} is a post-quantum key, which is not supported")));
        }
        // The line is not repeated: it may be a secret with a typing error.
        let key = line.parse().map_err(|_| failed(format!("line {number} is no private key")))?;
        keys.push(PrivateKey(Kind::X25519(key)));
    }
    if keys.is_empty() {
        return Err(failed("it holds no key".to_owned()));
    }
    Ok(keys)
}

fn ssh(
    file: &IdentityFile,
    mut passphrase: impl FnMut(&str) -> Result<Option<SecretString>>,
) -> Result<Option<PrivateKey>> {
    let name = &file.name;
    let failed = |why: String| Error::new(ErrorKind::Key, format!("{name} cannot be used")).why(why);
    let read = age::ssh::Identity::from_buffer(file.content.expose_secret(), None);
    let key = match read.map_err(|error| failed(error.to_string()))? {
        age::ssh::Identity::Encrypted(key) => {
            let Some(passphrase) = passphrase(name)? else { return Ok(None) };
            let opened = key.decrypt(passphrase).map_err(|error| match error {
                age::DecryptError::KeyDecryptionFailed | age::DecryptError::DecryptionFailed => {
                    wrong_passphrase(name)
                }
                other => failed(other.to_string()),
            })?;
            age::ssh::Identity::from(opened)
        }
        age::ssh::Identity::Unsupported(_) => {
            return Err(failed("SSH keys of this kind are not supported".to_owned())
                .hint("use a key of the kind ssh-ed25519 or ssh-rsa in the format of OpenSSH"));
        }
        key => key,
    };
    Ok(Some(PrivateKey(Kind::Ssh(key))))
}

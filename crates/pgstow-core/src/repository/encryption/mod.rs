//! Encryption of a repository's files with age, so that stock `age` undoes it (`docs/format.md`,
//! "Encryption").
//!
//! New files are encrypted to the recipients that the application names, never to keys found in the
//! repository: whoever can write there could add their own. Private keys are needed to read alone,
//! and asked for when the first file has to be read, once.

mod cipher;
mod content;
mod keyring;
mod private_key;
mod recipients;

pub(in crate::repository) use cipher::{Cipher, Place};
pub(in crate::repository) use content::ContentLength;
pub use private_key::PrivateKey;
pub use recipients::Recipients;

use std::path::PathBuf;

pub use age::secrecy::{ExposeSecret, SecretString};

use crate::error::Result;

/// What an application gives for an encrypted repository.
#[derive(Default)]
pub struct Access {
    /// Whom new files are encrypted to.
    pub recipients: Option<Recipients>,
    /// Where private keys and passphrases come from.
    pub keys: Option<Box<dyn KeySource>>,
    /// Folder for plaintext copies of manifests, which later backups need and cannot decrypt: of
    /// this repository alone, for the user's eyes alone.
    pub cache: Option<PathBuf>,
}

/// Whether somebody may be asked for a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// Yes: nothing goes on without the key.
    Allowed,
    /// No: the work can be done without the key, at a price.
    Unwanted,
}

/// Where private keys and passphrases come from. Asked only when they are needed.
pub trait KeySource: Send + Sync {
    /// The identity files at hand; none where nothing is configured.
    ///
    /// # Errors
    /// A file that is configured and cannot be read.
    fn identities(&self) -> Result<Vec<IdentityFile>>;

    /// The passphrase of `what`, such as `the key file /home/me/key.age`; `None` where there is none
    /// and nobody can be asked.
    ///
    /// # Errors
    /// A source that is configured and fails; interrupted.
    fn passphrase(&self, what: &str, asking: Asking) -> Result<Option<SecretString>>;
}

/// An identity file of age, plain or protected by a passphrase, or a private key of SSH.
pub struct IdentityFile {
    /// What messages call it.
    pub name: String,
    /// What is in it.
    pub content: age::secrecy::SecretSlice<u8>,
}

impl IdentityFile {
    /// `name` is what messages call it.
    pub fn new(name: &str, content: Vec<u8>) -> Self {
        Self { name: name.to_owned(), content: content.into() }
    }
}

/// Encrypts an identity file with a passphrase, as `age -p` does.
///
/// # Errors
/// Never for content in memory; the type demands it.
pub fn protect(identity: &str, passphrase: SecretString) -> Result<Vec<u8>> {
    cipher::seal(age::Encryptor::with_user_passphrase(passphrase), identity.as_bytes())
}

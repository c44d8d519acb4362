//! Encrypting and decrypting files of one repository.

use std::io::{self, BufRead, Read, Write};

use age::stream::StreamReader;

use super::keyring::Keyring;
use super::{Access, Asking, PrivateKey, Recipients};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::format::encryption::EncryptedTo;
use crate::repository::store::Store;

/// Whom new files are encrypted to, and the keys that open those that are there.
pub(in crate::repository) struct Cipher {
    recipients: Option<Recipients>,
    keyring: Keyring,
}

impl Cipher {
    pub(in crate::repository) fn new(access: Access) -> Self {
        Self { recipients: access.recipients, keyring: Keyring::new(access.keys) }
    }

    /// Whom new files are encrypted to.
    ///
    /// # Errors
    /// Key: nobody was named.
    pub(in crate::repository) fn recipients(&self) -> Result<&Recipients> {
        self.recipients.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Key, "the repository is encrypted, and no public key is configured")
                .why("public keys are never taken from the repository: whoever can write there could add one")
                .hint("say in pgstow.toml whom backups are encrypted to: [repository] encrypt_to = [\"age1…\"]")
                .hint("pgstow list --json  tells under encryption.recipients whom earlier backups are encrypted to")
        })
    }

    /// Reads the private keys now, where there are any: a terminal may be free to ask on only now.
    /// Whether there are any.
    ///
    /// # Errors
    /// Key: what is configured cannot be used, or the passphrase is wrong.
    pub(in crate::repository) fn unlock(&self, store: &dyn Store) -> Result<bool> {
        self.keyring.keys(store, Asking::Allowed).map(|keys| !keys.is_empty())
    }

    /// Encrypts a small file to the recipients.
    ///
    /// # Errors
    /// Key: nobody was named.
    pub(in crate::repository) fn encrypt(&self, content: &[u8]) -> Result<Vec<u8>> {
        seal(self.recipients()?.encryptor()?, content)
    }

    /// Encrypts a small file to the recipients or, where none are configured, to the keys at hand:
    /// who restores may have no more than these.
    ///
    /// # Errors
    /// Key: neither is there.
    pub(in crate::repository) fn encrypt_for_readers(
        &self,
        store: &dyn Store,
        content: &[u8],
    ) -> Result<Vec<u8>> {
        if self.recipients.is_some() {
            return self.encrypt(content);
        }
        let keys = self.keyring.keys(store, Asking::Allowed)?;
        if keys.is_empty() {
            return self.encrypt(content);
        }
        seal(PrivateKey::recipients(&keys)?.encryptor()?, content)
    }

    /// Decrypts a small file of at most `limit_bytes`. `to` is whom it was encrypted to, where that
    /// is known.
    ///
    /// # Errors
    /// Key: no key at hand opens it. Damage, naming `path`.
    pub(in crate::repository) fn decrypt(
        &self,
        store: &dyn Store,
        file: &[u8],
        place: &Place<'_>,
        asking: Asking,
    ) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open(store, file, place, asking)?
            .take(place.limit_bytes)
            .read_to_end(&mut content)
            .map_err(|error| damage(place.path, &error.to_string()))?;
        Ok(content)
    }

    /// Decrypts a file while it is read.
    ///
    /// # Errors
    /// As [`Cipher::decrypt`], those of the content while reading.
    pub(in crate::repository) fn open<R: BufRead>(
        &self,
        store: &dyn Store,
        file: R,
        place: &Place<'_>,
        asking: Asking,
    ) -> Result<StreamReader<R>> {
        let keys = self.keyring.keys(store, asking)?;
        if keys.is_empty() {
            return Err(no_key(place));
        }
        let decryptor =
            age::Decryptor::new_buffered(file).map_err(|error| undecryptable(error, place, &keys))?;
        decryptor
            .decrypt(keys.iter().map(PrivateKey::as_age))
            .map_err(|error| undecryptable(error, place, &keys))
    }
}

/// A file to be decrypted.
pub(in crate::repository) struct Place<'p> {
    /// For messages.
    pub(in crate::repository) path: &'p str,
    /// Whom it was encrypted to, where that is known.
    pub(in crate::repository) to: Option<&'p EncryptedTo>,
    /// The keys at hand opened another file of the same backup, so that they open this one too.
    pub(in crate::repository) proven: bool,
    /// Longest content.
    pub(in crate::repository) limit_bytes: u64,
}

/// The encrypted file of `content`.
pub(super) fn seal(encryptor: age::Encryptor, content: &[u8]) -> Result<Vec<u8>> {
    let failed = |error: io::Error| Error::failed("cannot encrypt").source(error);
    let mut writer = encryptor.wrap_output(Vec::new()).map_err(failed)?;
    writer.write_all(content).map_err(failed)?;
    writer.finish().map_err(failed)
}

fn undecryptable(error: age::DecryptError, place: &Place<'_>, keys: &[PrivateKey]) -> Error {
    match error {
        age::DecryptError::NoMatchingKeys if !place.proven => wrong_key(place, keys),
        age::DecryptError::NoMatchingKeys => damage(place.path, "the key of its backup does not open it"),
        age::DecryptError::Io(error)
            if error.kind() != io::ErrorKind::UnexpectedEof && error.kind() != io::ErrorKind::InvalidData =>
        {
            Error::from_io(error, format!("cannot read {}", place.path))
        }
        other => damage(place.path, &other.to_string()),
    }
}

fn damage(path: &str, why: &str) -> Error {
    Error::failed(format!("{path} is damaged")).why(format!("it does not decrypt: {why}"))
}

fn wrong_key(place: &Place<'_>, keys: &[PrivateKey]) -> Error {
    let publics: Vec<String> = keys.iter().filter_map(|key| key.public().ok()).collect();
    let at_hand = format!("the keys at hand are {}", publics.join(", "));
    Error::new(ErrorKind::Key, format!("wrong key: no key at hand opens {}", place.path))
        .why(match place.to {
            Some(to) => format!("it is encrypted to {}; {at_hand}", to.recipients.join(", ")),
            None => at_hand,
        })
        .hint("give the private key of one of these: --identity FILE")
}

fn no_key(place: &Place<'_>) -> Error {
    let error = Error::new(ErrorKind::Key, format!("no private key to read {}", place.path));
    let error = match place.to {
        Some(to) => error.why(format!("it is encrypted to {}", to.recipients.join(", "))),
        None => error.why("it is encrypted"),
    };
    error
        .hint("give the private key of one of these: --identity FILE")
        .hint("or set PGSTOW_IDENTITY_FILE, PGSTOW_IDENTITY, or identity_file or identity_command in pgstow.toml")
        .hint("a repository made with --passphrase asks for it on a terminal; elsewhere set PGSTOW_PASSPHRASE")
}

//! Public keys that files are encrypted to.

use crate::error::{Error, ErrorKind, Result};
use crate::repository::format::encryption::{EncryptedTo, Method};

/// Public keys that files are encrypted to, at least one, each once.
#[derive(Debug, Clone)]
pub struct Recipients {
    /// Sorted by text.
    list: Vec<Recipient>,
}

#[derive(Debug, Clone)]
struct Recipient {
    /// In the one way of writing it: no comment.
    text: String,
    key: Key,
}

#[derive(Debug, Clone)]
enum Key {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// Kinds of public keys that age knows and pgstow does not.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("age1pq1", "a post-quantum key"),
    ("age1tagpq1", "a tagged post-quantum key"),
    ("age1tag1", "a tagged key"),
    ("age1yubikey1", "a key of the YubiKey plugin"),
];

impl Recipients {
    /// Reads public keys, each as `age1…`, `ssh-ed25519 …` or `ssh-rsa …`.
    ///
    /// # Errors
    /// Usage: none at all; one that is no key, or of a kind that is not supported, by name.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self> {
        let mut list = texts.into_iter().map(Recipient::parse).collect::<Result<Vec<_>>>()?;
        list.sort_by(|one, other| one.text.cmp(&other.text));
        list.dedup_by(|one, other| one.text == other.text);
        if list.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "encrypt_to names no public key")
                .hint("make a key: pgstow key new"));
        }
        Ok(Self { list })
    }

    /// The keys, sorted.
    pub fn texts(&self) -> Vec<String> {
        self.list.iter().map(|recipient| recipient.text.clone()).collect()
    }

    /// As a header has them.
    pub(in crate::repository) fn encrypted_to(&self) -> EncryptedTo {
        EncryptedTo { method: Method::Age, recipients: self.texts() }
    }

    /// Begins a file.
    pub(in crate::repository) fn encryptor(&self) -> Result<age::Encryptor> {
        let keys = self.list.iter().map(|recipient| match &recipient.key {
            Key::X25519(key) => key as &dyn age::Recipient,
            Key::Ssh(key) => key,
        });
        age::Encryptor::with_recipients(keys)
            .map_err(|error| Error::failed("cannot encrypt to the configured public keys").source(error))
    }
}

impl Recipient {
    fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let usage = |message: String| Error::new(ErrorKind::Usage, message);
        if text.starts_with("AGE-SECRET-KEY-") || text.starts_with("AGE-PLUGIN-") {
            // Not repeated: it is a secret.
            return Err(usage("encrypt_to holds a private key".to_owned())
                .hint("put its public key there, which begins with age1: pgstow key show FILE"));
        }
        let supported = "use age1… (X25519), ssh-ed25519 … or ssh-rsa …";
        if let Some((_, kind)) = UNSUPPORTED.iter().find(|(prefix, _)| text.starts_with(prefix)) {
            return Err(usage(format!("{} is {kind}, which is not supported", shown(text))).hint(supported));
        }
        if text.starts_with("age1") {
            if let Ok(key) = text.parse::<age::x25519::Recipient>() {
                return Ok(Self { text: key.to_string(), key: Key::X25519(key) });
            }
            let plugin = text.rsplit_once('1').and_then(|(prefix, _)| prefix.strip_prefix("age1"));
            return Err(match plugin.filter(|name| !name.is_empty()) {
                Some(plugin) => usage(format!(
                    "{} is a key of the plugin {plugin:?}, which is not supported",
                    shown(text)
                ))
                .hint(supported),
                None => usage(format!("{} is no public key", shown(text))).why("it has a typing error"),
            });
        }
        match text.parse::<age::ssh::Recipient>() {
            Ok(key) => Ok(Self { text: key.to_string(), key: Key::Ssh(key) }),
            Err(error) => Err(usage(format!("{} is no public key that can be encrypted to", shown(text)))
                .why(ssh_fault(&error))
                .hint(supported)),
        }
    }
}

fn ssh_fault(error: &age::ssh::ParseRecipientKeyError) -> String {
    use age::ssh::ParseRecipientKeyError as Fault;
    match error {
        Fault::RsaModulusTooLarge => "its RSA modulus is larger than 4096 bits".to_owned(),
        Fault::RsaModulusTooSmall => "its RSA modulus is smaller than 2048 bits".to_owned(),
        Fault::Unsupported(kind) => format!("keys of the kind {kind} are not supported"),
        _ => "it is neither a key of age nor of SSH".to_owned(),
    }
}

/// The beginning, for messages.
fn shown(text: &str) -> String {
    let mut start: String = text.chars().take(40).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

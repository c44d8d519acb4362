//! The client's certificate: read from its files, checked against its key, sent when asked for.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, SignatureScheme};

use super::certificate::Certificate;
use crate::postgres::settings::ClientCertificate;

/// Permission bits that no private key may have, and those of a key that belongs to root, who may
/// let a group read it.
const EXPOSING_BITS: u32 = 0o077;
const EXPOSING_BITS_FOR_ROOT: u32 = 0o037;
/// No honest certificate or key file is longer.
const FILE_LIMIT_BYTES: u64 = 1 << 20;
/// Begins an encrypted key in either of the two forms.
const ENCRYPTED_KEY_MARKS: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];

/// What the client shows of itself, if anything.
#[derive(Debug)]
pub(super) struct ClientIdentity {
    certified: Option<Arc<CertifiedKey>>,
    asked_for: AtomicBool,
}

impl ClientIdentity {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// In words, naming the file: it cannot be read, the key is open to others, encrypted, of an
    /// unknown kind, or not the certificate's.
    pub(super) fn load(files: Option<&ClientCertificate>, provider: &CryptoProvider) -> Result<Self, String> {
        let certified = files.map(|files| certified_key(files, provider).map(Arc::new)).transpose()?;
        Ok(Self { certified, asked_for: AtomicBool::new(false) })
    }

    /// Whether a server asked for the certificate, and there is one.
    pub(super) fn was_asked_for(&self) -> bool {
        self.certified.is_some() && self.asked_for.load(Ordering::SeqCst)
    }

    /// Why the server broke off with `alert`, in words.
    pub(super) fn explain(&self, alert: AlertDescription) -> String {
        let asked = self.asked_for.load(Ordering::SeqCst);
        match (&self.certified, alert) {
            (None, AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) if asked => {
                "the server wants a client certificate; sslcert and sslkey name its files".to_owned()
            }
            (Some(_), AlertDescription::UnknownCA) if asked => {
                "the server does not trust the authority of the client certificate (sslcert)".to_owned()
            }
            (Some(_), AlertDescription::CertificateExpired) if asked => {
                "the server says that the client certificate (sslcert) has expired".to_owned()
            }
            _ => format!("the server ended the TLS handshake: {alert:?}"),
        }
    }
}

impl ResolvesClientCert for ClientIdentity {
    /// The authorities that the server names are not looked at, as in libpq: the server decides.
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked_for.store(true, Ordering::SeqCst);
        self.certified.clone()
    }

    fn has_certs(&self) -> bool {
        // Without one, the question of the server must still be heard of.
        true
    }
}

fn certified_key(files: &ClientCertificate, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let shown = files.certificate.display();
    let pem = read(&files.certificate).map_err(|error| format!("client certificate {shown}: {error}"))?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("client certificate {shown} is not a PEM file: {error}"))?;
    let Some(own) = chain.first() else {
        return Err(format!("client certificate {shown}: no certificate in it"));
    };
    let own = Certificate::parse(own)
        .map_err(|_| format!("client certificate {shown}: the certificate cannot be understood"))?;
    let key = read_key(&files.key)?;
    let shown_key = files.key.display();
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| format!("private key {shown_key} is of a kind that is not known"))?;
    // Compared here, since rustls does not read certificates of version 1.
    let fits = match key.public_key() {
        Some(public) => own.has_key(&public),
        None => true,
    };
    if !fits {
        return Err(format!("private key {shown_key} is not that of the client certificate {shown}"));
    }
    Ok(CertifiedKey::new(chain, key))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(FILE_LIMIT_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

/// By libpq's rule about who may read it.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| format!("private key {shown} cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(format!("private key {shown} is not a file"));
    }
    if is_exposed(&metadata) {
        return Err(format!("private key {shown} can be read by others; chmod 600 {shown} makes it private"));
    }
    let content = read(path).map_err(unreadable)?;
    match PrivateKeyDer::from_pem_slice(&content) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted(&content) => Err(format!(
            "private key {shown} is encrypted; `openssl pkey -in {shown} -out plain.key` writes a plain one"
        )),
        Err(_) => PrivateKeyDer::try_from(content)
            .map_err(|_| format!("private key {shown} is neither a PEM nor a DER file")),
    }
}

fn is_exposed(metadata: &Metadata) -> bool {
    let bits = if metadata.uid() == 0 { EXPOSING_BITS_FOR_ROOT } else { EXPOSING_BITS };
    metadata.mode() & bits != 0
}

fn is_encrypted(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    ENCRYPTED_KEY_MARKS.iter().any(|mark| text.contains(mark))
}

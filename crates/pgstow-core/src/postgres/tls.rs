//! TLS with libpq's rules about what is verified (PostgreSQL manual, libpq, "SSL Support").

mod certificate;
mod chain;
mod client;
mod verifier;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection};

use self::client::ClientIdentity;
use self::verifier::{Roots, Verifier};
use super::settings::{CertificateMode, ConnectionSettings, Host, SslMode};
use super::stream::{Stream, is_hang_up};

pub(super) use self::certificate::channel_hash;

/// Stands for the system's trusted roots where a file is expected.
pub(super) const SYSTEM_ROOTS: &str = "system";

/// How connections to one host are encrypted and verified.
#[derive(Clone)]
pub(super) struct Encryption {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    identity: Arc<ClientIdentity>,
    certificate_mode: CertificateMode,
    roots_shown: String,
}

impl Encryption {
    /// Reads the roots and the client's certificate, and settles what is verified.
    ///
    /// # Errors
    /// In words: when roots are needed and cannot be read, or a certificate's key cannot be used.
    pub(super) fn new(settings: &ConnectionSettings, host: &Host) -> Result<Self, String> {
        let Host::Tcp { host: name, .. } = host else {
            return Err("a Unix socket has no TLS".to_owned());
        };
        let roots = read_roots(settings.ssl_mode, settings.ssl_root_cert.as_deref())?;
        let verified_name = (settings.ssl_mode == SslMode::VerifyFull).then(|| name.clone());
        let provider = provider();
        let identity = Arc::new(ClientIdentity::load(settings.ssl_client.as_ref(), &provider)?);
        let verifier = Verifier::new(roots, verified_name, Arc::clone(&provider));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(identity.clone());
        config.resumption = Resumption::disabled();
        config.enable_sni = settings.ssl_server_name;
        // For an address nothing is sent as server name, and the same goes for what is none.
        let server_name = ServerName::try_from(name.clone())
            .unwrap_or_else(|_| ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let roots_shown =
            settings.ssl_root_cert.clone().unwrap_or_else(|| PathBuf::from("none")).display().to_string();
        let certificate_mode = settings.ssl_cert_mode;
        Ok(Self { config: Arc::new(config), server_name, identity, certificate_mode, roots_shown })
    }

    /// The client's side of a new TLS session.
    pub(super) fn session(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.config), self.server_name.clone())
    }

    /// After a handshake: whether the client's certificate was sent where it has to be.
    ///
    /// # Errors
    /// In words: when it was not.
    pub(super) fn check_identity(&self) -> Result<(), String> {
        if self.certificate_mode != CertificateMode::Require || self.identity.was_asked_for() {
            return Ok(());
        }
        Err("sslcertmode=require, but the server did not ask for the client's certificate".to_owned())
    }

    /// Why a server ended the connection in the handshake or right after it, as far as TLS explains it.
    pub(super) fn explain_loss(&self, error: &io::Error) -> Option<String> {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => Some(self.identity.explain(*alert)),
            // Closing with bytes unread may overtake the alert.
            None if is_hang_up(error) && self.identity.was_asked_for() => Some(
                "the server hung up after it was shown the client certificate (sslcert): it may not trust it"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Why a handshake failed, in words.
    pub(super) fn explain(&self, error: &io::Error) -> String {
        let roots = &self.roots_shown;
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(problem)) => match problem {
                CertificateError::UnknownIssuer => {
                    format!("the server's certificate is not signed by a root in {roots}")
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "the server's certificate has expired".to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "the server's certificate is not valid yet; is this machine's clock right?".to_owned()
                }
                CertificateError::Other(other) => other.0.to_string(),
                other => format!("the server's certificate cannot be trusted: {other}"),
            },
            Some(rustls::Error::AlertReceived(alert)) => self.identity.explain(*alert),
            Some(other) => other.to_string(),
            None if is_hang_up(error) => self
                .explain_loss(error)
                .unwrap_or_else(|| "the server closed the connection during the TLS handshake".to_owned()),
            None => error.to_string(),
        }
    }
}

/// Asks for TLS; the server's one-byte answer (`S` or `N`). Nothing beyond this byte is read
/// before encryption starts, so that nobody can slip in unencrypted bytes.
pub(super) fn negotiate(stream: &mut Stream) -> io::Result<u8> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request)?;
    let mut answer = [0];
    match stream.read(&mut answer)? {
        0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
        _ => Ok(answer[0]),
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

/// The system's trusted roots, for programs that do not find them by themselves; empty when there
/// are none.
pub(super) fn system_roots_as_pem() -> String {
    let roots = rustls_native_certs::load_native_certs().certs;
    roots.iter().filter_map(|root| certificate::to_pem(root)).collect()
}

/// The roots to verify against; `None` when nothing is verified. As in libpq, a root file that
/// exists makes every mode verify the certificate's chain.
fn read_roots(mode: SslMode, file: Option<&Path>) -> Result<Option<Roots>, String> {
    let must_verify = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
    let Some(path) = file else {
        return if must_verify {
            Err("no root certificate is given (sslrootcert)".to_owned())
        } else {
            Ok(None)
        };
    };
    if path == Path::new(SYSTEM_ROOTS) {
        return Roots::of_system().map(Some);
    }
    let shown = path.display();
    match std::fs::read(path) {
        Ok(content) => Roots::parse(&content).map(Some).map_err(|reason| format!("{shown}: {reason}")),
        Err(error) if error.kind() == ErrorKind::NotFound && !must_verify => Ok(None),
        Err(error) => Err(format!("root certificate file {shown} cannot be read: {error}")),
    }
}

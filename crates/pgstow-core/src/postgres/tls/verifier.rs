//! Decides whether a server's certificate is to be trusted: chain, then name.
//!
//! The chain is webpki's work. Two kinds of certificates that webpki rejects and libpq accepts are
//! judged here: a self-signed one that is itself in the root file, and one of X.509 version 1 that
//! a root signed directly (what `openssl x509 -req` writes without further options).

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::certificate::Certificate;

/// A reason that rustls has no word for.
#[derive(Debug)]
struct Distrust(String);

impl fmt::Display for Distrust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Distrust {}

fn distrust(reason: impl Into<String>) -> rustls::Error {
    let reason = Distrust(reason.into());
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

/// Trusted certificates: roots, and intermediates that stand beside them.
#[derive(Debug)]
pub(super) struct Roots {
    anchors: RootCertStore,
    self_issued: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Reads a PEM file.
    pub(super) fn parse(pem: &[u8]) -> Result<Self, String> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("not a file of PEM certificates: {error}"))?;
        if certificates.is_empty() {
            return Err("no certificate in it".to_owned());
        }
        Self::sort(certificates)
    }

    /// The roots that the operating system trusts.
    pub(super) fn of_system() -> Result<Self, String> {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            return Err(
                "the system has no trusted roots; is the package ca-certificates installed?".to_owned()
            );
        }
        let mut anchors = RootCertStore::empty();
        anchors.add_parsable_certificates(found.certs);
        Ok(Self { anchors, self_issued: Vec::new(), intermediates: Vec::new() })
    }

    /// As in libpq, only a self-issued certificate ends a chain.
    fn sort(certificates: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let mut anchors = RootCertStore::empty();
        let (self_issued, intermediates): (Vec<_>, Vec<_>) =
            certificates.into_iter().partition(|certificate| {
                Certificate::parse(certificate).is_ok_and(|parsed| parsed.is_self_issued())
            });
        let (added, _) = anchors.add_parsable_certificates(self_issued.iter().cloned());
        if added == 0 {
            return Err("no root certificate in it (an intermediate alone is not enough)".to_owned());
        }
        Ok(Self { anchors, self_issued, intermediates })
    }
}

/// Verifies what the mode asks for.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Nothing is verified without.
    roots: Option<Roots>,
    /// The host that the certificate must name, if it must.
    host: Option<String>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(super) fn new(roots: Option<Roots>, host: Option<String>, provider: Arc<CryptoProvider>) -> Self {
        Self { roots, host, provider }
    }

    fn verify_chain(
        &self,
        roots: &Roots,
        end_entity: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let certificate = parse(end_entity)?;
        if roots.self_issued.iter().any(|root| root.as_ref() == end_entity.as_ref()) {
            return certificate.check_time(now);
        }
        if certificate.is_version_1() {
            return self.verify_signed_by_root(roots, &certificate, now);
        }
        let intermediates: Vec<CertificateDer<'_>> =
            sent.iter().chain(&roots.intermediates).map(|certificate| certificate.as_ref().into()).collect();
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots.anchors,
            &intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )
    }

    fn verify_signed_by_root(
        &self,
        roots: &Roots,
        certificate: &Certificate,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        certificate.check_time(now)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        for root in roots.self_issued.iter().filter_map(|root| Certificate::parse(root).ok()) {
            if certificate.is_signed_by(&root, algorithms) {
                return root.check_time(now);
            }
        }
        Err(CertificateError::UnknownIssuer.into())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            self.verify_chain(roots, end_entity, intermediates, now)?;
        }
        if let Some(host) = &self.host {
            parse(end_entity)?.check_name(host)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    /// With the bare key, since webpki does not read certificates of version 1.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(parse(certificate)?.public_key_info()?);
        verify_tls13_signature_with_raw_key(
            message,
            &key,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, rustls::Error> {
    Certificate::parse(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

impl Certificate {
    fn check_time(&self, now: UnixTime) -> Result<(), rustls::Error> {
        let (from, to) = self.validity_seconds();
        if now.as_secs() < from {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > to {
            return Err(CertificateError::Expired.into());
        }
        Ok(())
    }

    fn check_name(&self, host: &str) -> Result<(), rustls::Error> {
        let names = self.names().map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
        if names.fit(host) {
            return Ok(());
        }
        Err(distrust(format!("the server's certificate is for {names}, not for {host}")))
    }
}

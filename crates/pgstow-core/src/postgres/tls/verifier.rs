//! Decides whether a server's certificate is to be trusted: chain, then name.
//!
//! The chain is webpki's work. Three kinds of certificates that webpki rejects and libpq accepts are
//! judged here: a self-signed one that is itself in the root file, and those of X.509 version 1
//! (what `openssl x509 -req` writes without further options) or of an authority, which `chain`
//! follows. As OpenSSL does, and webpki does not, the validity of the root itself is looked at.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::certificate::Certificate;
use super::chain::Chains;

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
    roots: Vec<Root>,
    intermediates: Vec<CertificateDer<'static>>,
}

#[derive(Debug)]
struct Root {
    certificate: CertificateDer<'static>,
    parsed: Certificate,
    anchor: TrustAnchor<'static>,
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
        let sorted = Self::sort(certificates);
        if sorted.roots.is_empty() {
            return Err("no root certificate in it (an intermediate alone is not enough)".to_owned());
        }
        Ok(sorted)
    }

    /// The roots that the operating system trusts.
    pub(super) fn of_system() -> Result<Self, String> {
        let sorted = Self::sort(rustls_native_certs::load_native_certs().certs);
        if sorted.roots.is_empty() {
            return Err(
                "the system has no trusted roots; is the package ca-certificates installed?".to_owned()
            );
        }
        Ok(sorted)
    }

    /// As in libpq, only a self-issued certificate ends a chain.
    fn sort(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut sorted = Self { roots: Vec::new(), intermediates: Vec::new() };
        for certificate in certificates {
            match Certificate::parse(&certificate) {
                Ok(parsed) if parsed.is_self_issued() => {
                    let mut store = RootCertStore::empty();
                    // What webpki cannot read as a root is none.
                    let _ = store.add(certificate.clone());
                    let anchor = store.roots.pop();
                    sorted.roots.extend(anchor.map(|anchor| Root { certificate, parsed, anchor }));
                }
                _ => sorted.intermediates.push(certificate),
            }
        }
        sorted
    }

    fn hold(&self, certificate: &CertificateDer<'_>) -> bool {
        self.roots.iter().any(|root| root.certificate.as_ref() == certificate.as_ref())
    }

    /// Those whose time it is, or all.
    fn select(&self, now: Option<UnixTime>) -> Vec<&Root> {
        let fits = |root: &&Root| now.is_none_or(|now| root.parsed.check_time(now).is_ok());
        self.roots.iter().filter(fits).collect()
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
        if roots.hold(end_entity) {
            return certificate.check_time(now);
        }
        let intermediates: Vec<CertificateDer<'_>> =
            sent.iter().chain(&roots.intermediates).map(|certificate| certificate.as_ref().into()).collect();
        let follow = |roots: &[&Root]| {
            if certificate.is_version_1() || certificate.is_authority() {
                self.follow(roots, &certificate, &intermediates, now)
            } else {
                self.follow_with_webpki(roots, end_entity, &intermediates, now)
            }
        };
        follow(&roots.select(Some(now))).map_err(|error| {
            let expired = is_unknown_issuer(&error) && follow(&roots.select(None)).is_ok();
            if expired { distrust("the root certificate is not valid at this time") } else { error }
        })
    }

    fn follow_with_webpki(
        &self,
        roots: &[&Root],
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &RootCertStore { roots: roots.iter().map(|root| root.anchor.clone()).collect() },
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )
    }

    fn follow(
        &self,
        roots: &[&Root],
        certificate: &Certificate,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        certificate.check_time(now)?;
        if !certificate.may_serve() {
            return Err(CertificateError::InvalidPurpose.into());
        }
        let roots: Vec<&Certificate> = roots.iter().map(|root| &root.parsed).collect();
        let intermediates: Vec<Certificate> =
            intermediates.iter().filter_map(|intermediate| Certificate::parse(intermediate).ok()).collect();
        let algorithms = self.provider.signature_verification_algorithms.all;
        let chains = Chains { roots: &roots, intermediates: &intermediates, algorithms, now };
        if chains.lead_to(certificate) { Ok(()) } else { Err(CertificateError::UnknownIssuer.into()) }
    }
}

fn is_unknown_issuer(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
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
        let algorithms = &self.provider.signature_verification_algorithms;
        let parsed = parse(certificate)?;
        if !parsed.is_version_1() {
            return verify_tls12_signature(message, certificate, signature, algorithms);
        }
        // With the bare key, since webpki does not read certificates of version 1.
        let fitting = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
        let fitting = fitting.map(|(_, algorithms)| *algorithms).unwrap_or_default();
        match parsed.has_signed(message, signature.signature(), fitting) {
            Ok(true) => Ok(HandshakeSignatureValid::assertion()),
            _ => Err(CertificateError::BadSignature.into()),
        }
    }

    /// With the bare key, as above.
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
    pub(super) fn check_time(&self, now: UnixTime) -> Result<(), rustls::Error> {
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

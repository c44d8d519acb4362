//! What a certificate says: names, times, keys, its hash for channel binding.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::digest::{self, Algorithm};
use rustls::pki_types::SignatureVerificationAlgorithm;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{self, Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Signature algorithms and the hash that channel binding takes with each (RFC 5929, section 4.1:
/// the signature's own, SHA-256 in place of MD5 and SHA-1).
const BINDING_HASHES: [(ObjectIdentifier, &Algorithm); 11] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"), &digest::SHA256),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), &digest::SHA256),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"), &digest::SHA256),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"), &digest::SHA384),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"), &digest::SHA512),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.14"), &digest::SHA224),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), &digest::SHA256),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.1"), &digest::SHA224),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), &digest::SHA256),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"), &digest::SHA384),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"), &digest::SHA512),
];

/// `tls-server-end-point` of a certificate; `None` where its signature has no hash of its own
/// (Ed25519), which leaves channel binding undefined.
pub(in crate::postgres) fn certificate_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = Certificate::parse(certificate).ok()?;
    let (_, hash) =
        BINDING_HASHES.iter().find(|(algorithm, _)| *algorithm == parsed.0.signature_algorithm.oid)?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// A parsed certificate.
pub(super) struct Certificate(x509_cert::Certificate);

impl Certificate {
    pub(super) fn parse(certificate: &[u8]) -> der::Result<Self> {
        x509_cert::Certificate::from_der(certificate).map(Self)
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.0.tbs_certificate.issuer == self.0.tbs_certificate.subject
    }

    pub(super) fn is_version_1(&self) -> bool {
        self.0.tbs_certificate.version == x509_cert::Version::V1
    }

    /// First and last second of its validity, since 1970.
    pub(super) fn validity_seconds(&self) -> (u64, u64) {
        let validity = &self.0.tbs_certificate.validity;
        (validity.not_before.to_unix_duration().as_secs(), validity.not_after.to_unix_duration().as_secs())
    }

    /// The public key with its algorithm, in DER.
    pub(super) fn public_key_info(&self) -> Result<Vec<u8>, rustls::Error> {
        let encoded = self.0.tbs_certificate.subject_public_key_info.to_der();
        encoded.map_err(|_| rustls::CertificateError::BadEncoding.into())
    }

    /// Whether `issuer` may sign certificates and signed this one.
    pub(super) fn is_signed_by(&self, issuer: &Self, known: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        self.0.tbs_certificate.issuer == issuer.0.tbs_certificate.subject
            && issuer.may_sign()
            && self.carries_signature_of(issuer, known).unwrap_or(false)
    }

    fn may_sign(&self) -> bool {
        match self.0.tbs_certificate.get::<BasicConstraints>() {
            Ok(Some((_, constraints))) => constraints.ca,
            Ok(None) => self.is_version_1(),
            Err(_) => false,
        }
    }

    fn carries_signature_of(
        &self,
        issuer: &Self,
        known: &[&dyn SignatureVerificationAlgorithm],
    ) -> der::Result<bool> {
        let key = &issuer.0.tbs_certificate.subject_public_key_info;
        let key_algorithm = key.algorithm.to_der()?;
        let signature_algorithm = self.0.signature_algorithm.to_der()?;
        let signed = self.0.tbs_certificate.to_der()?;
        let (Some(key_bits), Some(signature)) =
            (key.subject_public_key.as_bytes(), self.0.signature.as_bytes())
        else {
            return Ok(false);
        };
        // The table's identifiers lack the outer tag and length, which are two bytes here.
        Ok(known.iter().any(|algorithm| {
            key_algorithm.get(2..) == Some(algorithm.public_key_alg_id().as_ref())
                && signature_algorithm.get(2..) == Some(algorithm.signature_alg_id().as_ref())
                && algorithm.verify_signature(key_bits, &signed, signature).is_ok()
        }))
    }

    /// The names it is for.
    pub(super) fn names(&self) -> der::Result<Names> {
        let mut names = Names::default();
        if let Some((_, alternatives)) = self.0.tbs_certificate.get::<SubjectAltName>()? {
            for name in alternatives.0 {
                match name {
                    GeneralName::DnsName(name) => names.dns.push(name.as_str().to_owned()),
                    GeneralName::IpAddress(octets) => names.addresses.extend(address(octets.as_bytes())),
                    _ => {}
                }
            }
        }
        let attributes = self.0.tbs_certificate.subject.0.iter().flat_map(|relative| relative.0.iter());
        names.common = attributes
            .filter(|attribute| attribute.oid == COMMON_NAME)
            .find_map(|attribute| String::from_utf8(attribute.value.value().to_vec()).ok());
        Ok(names)
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The names of a certificate.
#[derive(Debug, Default)]
pub(super) struct Names {
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
    common: Option<String>,
}

impl Names {
    /// Whether one of them is `host`, by libpq's rules: the common name counts only where no
    /// alternative name is of the host's kind, and a DNS name may begin with a `*` that stands for
    /// one label.
    pub(super) fn fit(&self, host: &str) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        let common_counts = if address.is_some() { self.addresses.is_empty() } else { self.dns.is_empty() };
        address.is_some_and(|address| self.addresses.contains(&address))
            || self.dns.iter().any(|name| matches(name, host))
            || common_counts && self.common.as_deref().is_some_and(|name| matches(name, host))
    }
}

impl fmt::Display for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<String> = self.dns.clone();
        names.extend(self.addresses.iter().map(ToString::to_string));
        if names.is_empty() {
            names.extend(self.common.clone());
        }
        match names.len() {
            0 => formatter.write_str("no name"),
            _ => formatter.write_str(&names.join(", ")),
        }
    }
}

fn matches(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(domain) = pattern.strip_prefix("*.") else { return false };
    host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dns: &[&str], addresses: &[&str], common: &str) -> Names {
        Names {
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().filter_map(|address| address.parse().ok()).collect(),
            common: (!common.is_empty()).then(|| common.to_owned()),
        }
    }

    #[test]
    fn names_fit_by_libpqs_rules() {
        for (names, host, fits) in [
            (names(&["db.example.com"], &[], ""), "DB.example.com", true),
            (names(&["*.example.com"], &[], ""), "db.example.com", true),
            (names(&["*.example.com"], &[], ""), "a.db.example.com", false),
            (names(&["*.example.com"], &[], ""), "example.com", false),
            (names(&["d*.example.com"], &[], ""), "db.example.com", false),
            (names(&["*"], &[], ""), "db", false),
            (names(&[], &[], "db"), "db", true),
            (names(&["other"], &[], "db"), "db", false),
            (names(&[], &["10.0.0.1"], "db"), "db", true),
            (names(&[], &["10.0.0.1"], ""), "10.0.0.1", true),
            (names(&[], &["10.0.0.2"], "10.0.0.1"), "10.0.0.1", false),
            (names(&["x"], &[], "10.0.0.1"), "10.0.0.1", true),
            (names(&[], &["::1"], ""), "0:0::1", true),
            (names(&[], &[], ""), "db", false),
        ] {
            assert_eq!(names.fit(host), fits, "{names} for {host}");
        }
    }
}

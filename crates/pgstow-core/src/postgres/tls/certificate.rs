//! What a certificate says: names, times, keys, uses, its hash for channel binding.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::digest::{self, Algorithm};
use rustls::pki_types::SignatureVerificationAlgorithm;
use x509_cert::der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{self, Decode, Encode, EncodePem, Reader, TagNumber};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERVER_AUTHENTICATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// Signatures that name their hash in their parameters (RSA-PSS), and the hash that stands for none.
const SIGNATURE_WITH_PARAMETERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
/// A signature without a hash of its own.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Hashes that a signature's parameters may name, and the one that channel binding takes.
const NAMED_HASHES: [(ObjectIdentifier, &Algorithm); 6] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.5"), &digest::SHA256),
    (SHA1, &digest::SHA256),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"), &digest::SHA256),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"), &digest::SHA384),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"), &digest::SHA512),
    (ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.4"), &digest::SHA224),
];

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

/// `tls-server-end-point` of a certificate.
///
/// # Errors
/// In words: where it is not defined, since the signature has no hash of its own, or not known.
pub(in crate::postgres) fn channel_hash(certificate: &[u8]) -> Result<Vec<u8>, String> {
    let parsed = Certificate::parse(certificate)
        .map_err(|_| "the server's certificate cannot be understood".to_owned())?;
    let signature = &parsed.0.signature_algorithm;
    let (hashes, named) = match signature.oid {
        SIGNATURE_WITH_PARAMETERS => (&NAMED_HASHES[..], hash_in_parameters(signature).ok()),
        named => (&BINDING_HASHES[..], Some(named)),
    };
    let found = hashes.iter().find(|(algorithm, _)| Some(*algorithm) == named);
    match found {
        Some((_, hash)) => Ok(digest::digest(hash, certificate).as_ref().to_vec()),
        None if signature.oid == ED25519 => Err("it is not defined for certificates signed with Ed25519, \
             as this server's is; one signed with ECDSA or RSA makes it work"
            .to_owned()),
        None => Err(format!("it is not known for certificates signed with {}", signature.oid)),
    }
}

fn hash_in_parameters(signature: &AlgorithmIdentifierOwned) -> der::Result<ObjectIdentifier> {
    let Some(parameters) = &signature.parameters else { return Ok(SHA1) };
    AnyRef::from(parameters).sequence(|reader| {
        let hash = ContextSpecific::<AlgorithmIdentifierOwned>::decode_explicit(reader, TagNumber::N0)?;
        let rest = reader.remaining_len();
        reader.read_slice(rest)?;
        Ok(hash.map_or(SHA1, |hash| hash.value.oid))
    })
}

/// A certificate in PEM, if it can be understood.
pub(super) fn to_pem(certificate: &[u8]) -> Option<String> {
    x509_cert::Certificate::from_der(certificate).ok()?.to_pem(LineEnding::LF).ok()
}

/// A parsed certificate.
#[derive(Debug)]
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

    /// Whether its public key is the one in `info`, DER as [`Self::public_key_info`] gives it.
    pub(super) fn has_key(&self, info: &[u8]) -> bool {
        SubjectPublicKeyInfoOwned::from_der(info).is_ok_and(|info| {
            info.subject_public_key == self.0.tbs_certificate.subject_public_key_info.subject_public_key
        })
    }

    /// Whether it says of itself that it is an authority's.
    pub(super) fn is_authority(&self) -> bool {
        matches!(self.extension::<BasicConstraints>(), Ok(Some(constraints)) if constraints.ca)
    }

    /// Whether a TLS server may show it: what it says about its use, if anything, allows that.
    pub(super) fn may_serve(&self) -> bool {
        let usage_fits = match self.extension::<KeyUsage>() {
            Ok(None) => true,
            Ok(Some(usage)) => usage.digital_signature() || usage.key_encipherment() || usage.key_agreement(),
            Err(_) => false,
        };
        let purpose_fits = match self.extension::<ExtendedKeyUsage>() {
            Ok(None) => true,
            Ok(Some(usage)) => usage.0.contains(&SERVER_AUTHENTICATION),
            Err(_) => false,
        };
        usage_fits && purpose_fits && self.is_understood()
    }

    /// Whether it may sign a certificate that has `below` authorities between it and the server.
    pub(super) fn may_sign(&self, below: usize) -> bool {
        let is_authority = match self.extension::<BasicConstraints>() {
            Ok(Some(constraints)) => {
                constraints.ca && constraints.path_len_constraint.is_none_or(|limit| below <= limit.into())
            }
            // Only a root can be trusted without saying so.
            Ok(None) => self.is_version_1() && self.is_self_issued(),
            Err(_) => false,
        };
        let usage_fits = match self.extension::<KeyUsage>() {
            Ok(usage) => usage.is_none_or(|usage| usage.key_cert_sign()),
            Err(_) => false,
        };
        // What limits it to some names is not looked at here: such an authority is not trusted.
        is_authority
            && usage_fits
            && self.is_understood()
            && matches!(self.extension::<NameConstraints>(), Ok(None))
    }

    /// Whether everything that must not be overlooked in it is known here.
    fn is_understood(&self) -> bool {
        let known = [BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID, SubjectAltName::OID];
        let extensions = self.0.tbs_certificate.extensions.iter().flatten();
        extensions.filter(|extension| extension.critical).all(|extension| known.contains(&extension.extn_id))
    }

    fn extension<'a, T: Decode<'a> + AssociatedOid>(&'a self) -> der::Result<Option<T>> {
        Ok(self.0.tbs_certificate.get::<T>()?.map(|(_, extension)| extension))
    }

    /// Whether `issuer` signed it; not whether it may.
    pub(super) fn is_signed_by(&self, issuer: &Self, known: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        self.0.tbs_certificate.issuer == issuer.0.tbs_certificate.subject
            && self.carries_signature_of(issuer, known).unwrap_or(false)
    }

    /// Whether `signature` is one of `message` by the certificate's key.
    pub(super) fn has_signed(
        &self,
        message: &[u8],
        signature: &[u8],
        known: &[&dyn SignatureVerificationAlgorithm],
    ) -> der::Result<bool> {
        let key = &self.0.tbs_certificate.subject_public_key_info;
        let algorithm = key.algorithm.to_der()?;
        let Some(bits) = key.subject_public_key.as_bytes() else { return Ok(false) };
        Ok(known.iter().any(|known| {
            is_identifier(&algorithm, known.public_key_alg_id().as_ref())
                && known.verify_signature(bits, message, signature).is_ok()
        }))
    }

    fn carries_signature_of(
        &self,
        issuer: &Self,
        known: &[&dyn SignatureVerificationAlgorithm],
    ) -> der::Result<bool> {
        let algorithm = self.0.signature_algorithm.to_der()?;
        let signed = self.0.tbs_certificate.to_der()?;
        let Some(signature) = self.0.signature.as_bytes() else { return Ok(false) };
        let fitting: Vec<_> = known
            .iter()
            .filter(|known| is_identifier(&algorithm, known.signature_alg_id().as_ref()))
            .copied()
            .collect();
        issuer.has_signed(&signed, signature, &fitting)
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

/// Whether DER is an algorithm's identifier; the table's lacks the outer tag and length, which are
/// two bytes here.
fn is_identifier(encoded: &[u8], identifier: &[u8]) -> bool {
    encoded.get(2..) == Some(identifier)
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

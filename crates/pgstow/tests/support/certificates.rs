//! A certificate authority made for one server, and the server's certificate.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// PEM texts.
pub(crate) struct Certificates {
    pub(crate) authority: String,
    pub(crate) server: String,
    pub(crate) server_key: String,
}

/// A fresh authority and a server's certificate for `names` (host names or addresses).
pub(crate) fn make(names: &[&str]) -> Certificates {
    let authority_key = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "pgstow test authority");
    let authority = parameters.self_signed(&authority_key).expect("the authority signs itself");
    let issuer = Issuer::new(parameters, authority_key);

    let server_key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut parameters = CertificateParams::new(names).expect("names are valid");
    parameters.distinguished_name.push(DnType::CommonName, "pgstow test server");
    let server = parameters.signed_by(&server_key, &issuer).expect("the authority signs");
    Certificates { authority: authority.pem(), server: server.pem(), server_key: server_key.serialize_pem() }
}

//! Follows a server's certificate to a root, for the two kinds that libpq accepts and webpki does
//! not take for a server's: X.509 version 1, and an authority's own (`CA:TRUE`).

use rustls::pki_types::{SignatureVerificationAlgorithm, UnixTime};

use super::certificate::Certificate;

/// More certificates than this between a server and its root are not looked at.
const INTERMEDIATES_LIMIT: usize = 16;

/// What a chain may be made of.
pub(super) struct Chains<'a> {
    pub(super) roots: &'a [&'a Certificate],
    pub(super) intermediates: &'a [Certificate],
    pub(super) algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    pub(super) now: UnixTime,
}

impl Chains<'_> {
    /// Whether authorities that may do so, each within its time, lead from a root to `certificate`.
    pub(super) fn lead_to(&self, certificate: &Certificate) -> bool {
        let mut untried: Vec<&Certificate> = self.intermediates.iter().take(INTERMEDIATES_LIMIT).collect();
        let mut reached = vec![certificate];
        for below in 0..=INTERMEDIATES_LIMIT {
            if reached.iter().any(|reached| self.roots.iter().any(|root| self.signed(root, reached, below))) {
                return true;
            }
            // Each is tried at its shortest distance only, which bounds the work.
            let (next, rest) = untried
                .into_iter()
                .partition(|issuer| reached.iter().any(|reached| self.signed(issuer, reached, below)));
            reached = next;
            untried = rest;
        }
        false
    }

    fn signed(&self, issuer: &Certificate, certificate: &Certificate, below: usize) -> bool {
        issuer.may_sign(below)
            && issuer.check_time(self.now).is_ok()
            && certificate.is_signed_by(issuer, self.algorithms)
    }
}

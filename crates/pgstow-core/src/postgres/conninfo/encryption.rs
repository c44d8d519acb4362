//! The parameters of TLS: what is verified, which files are used.

use std::path::{Path, PathBuf};

use super::settle::{Settling, bad_choice};
use super::usage;
use crate::error::Result;
use crate::postgres::settings::{CertificateMode, ChannelBinding, ClientCertificate, SslMode};

impl Settling<'_> {
    pub(super) fn server_verification(&mut self) -> Result<(SslMode, Option<PathBuf>)> {
        let root = self.value("sslrootcert");
        let from_system = root.as_deref() == Some("system");
        let mode = match self.value("sslmode") {
            Some(mode) => Some(read_ssl_mode(&mode)?),
            None if self.given.get("ssl").is_some_and(|value| matches!(value, "true" | "1")) => {
                Some(SslMode::Require)
            }
            None => None,
        };
        if from_system && mode.is_some_and(|mode| mode != SslMode::VerifyFull) {
            return Err(usage("sslrootcert=system works with sslmode=verify-full only").why(
                "anyone can get a certificate that the system's roots trust: only its name tells servers apart",
            ));
        }
        let mode = mode.unwrap_or(if from_system { SslMode::VerifyFull } else { SslMode::default() });
        if let Some(root) = root {
            return Ok((mode, Some(PathBuf::from(root))));
        }
        let existing = self.own_file("root.crt").filter(|path| self.exists(path));
        if existing.is_none() && matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) {
            let place = self
                .own_file("root.crt")
                .map_or("~/.postgresql/root.crt".to_owned(), |path| path.display().to_string());
            return Err(usage(format!(
                "sslmode verifies the server, but there is no root certificate {place}"
            ))
            .hint("give the file with sslrootcert, or use the system's roots: sslrootcert=system"));
        }
        if let (Some(root), Some(revoked)) =
            (&existing, self.own_file("root.crl").filter(|path| self.exists(path)))
        {
            let note = "ignored the revocation list";
            self.notes.push(format!("{note} {} beside {}", revoked.display(), root.display()));
        }
        Ok((mode, existing))
    }

    /// The given files, or the user's own where they exist; each stands for itself, as in libpq.
    pub(super) fn client_certificate(
        &mut self,
        ssl_mode: SslMode,
        certificate_mode: CertificateMode,
    ) -> Option<ClientCertificate> {
        if ssl_mode == SslMode::Disable || certificate_mode == CertificateMode::Disable {
            return None;
        }
        let certificate = match self.value("sslcert").map(PathBuf::from) {
            Some(given) if !self.exists(&given) => {
                self.notes.push(format!("the client certificate {} does not exist", given.display()));
                return None;
            }
            Some(given) => given,
            None => self.own_file("postgresql.crt").filter(|path| self.exists(path))?,
        };
        let key = self.value("sslkey").map(PathBuf::from).or_else(|| self.own_file("postgresql.key"));
        Some(ClientCertificate { certificate, key: key.unwrap_or_else(|| "postgresql.key".into()) })
    }

    pub(super) fn certificate_mode(&self) -> Result<CertificateMode> {
        match self.value("sslcertmode").as_deref() {
            None | Some("allow") => Ok(CertificateMode::Allow),
            Some("disable") => Ok(CertificateMode::Disable),
            Some("require") => Ok(CertificateMode::Require),
            Some(_) => Err(bad_choice("sslcertmode", "disable, allow, require")),
        }
    }

    pub(super) fn channel_binding(&self) -> Result<ChannelBinding> {
        match self.value("channel_binding").as_deref() {
            None | Some("prefer") => Ok(ChannelBinding::Prefer),
            Some("disable") => Ok(ChannelBinding::Disable),
            Some("require") => Ok(ChannelBinding::Require),
            Some(_) => Err(bad_choice("channel_binding", "disable, prefer, require")),
        }
    }

    /// A file in libpq's folder below the home directory.
    fn own_file(&self, name: &str) -> Option<PathBuf> {
        Some(self.surroundings.home()?.join(".postgresql").join(name))
    }

    fn exists(&self, path: &Path) -> bool {
        self.surroundings.mode(path).is_some()
    }
}

fn read_ssl_mode(text: &str) -> Result<SslMode> {
    Ok(match text {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            return Err(bad_choice("sslmode", "disable, allow, prefer, require, verify-ca, verify-full"));
        }
    })
}

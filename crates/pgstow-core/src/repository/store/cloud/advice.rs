//! What a failure of a store in the cloud means, in words, and what to do next.

use jiff::SignedDuration;

use super::failure::{CloudCase, CloudError};
use crate::error::{Error, ErrorKind};

impl CloudCase {
    /// The reason, in a sentence.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Unreachable { host, cause } => format!("{host} cannot be reached: {cause}"),
            Self::Untrusted { host, cause } => format!("the connection to {host} is not secure: {cause}"),
            Self::NoBucket => "the bucket does not exist".to_owned(),
            Self::WrongRegion { right: Some(right) } => format!("the bucket is in the region {right}"),
            Self::WrongRegion { right: None } => "the bucket is in another region".to_owned(),
            Self::NoCredentials { cause } => format!("there are no credentials: {cause}"),
            Self::Credentials(error) => error.in_one_line(),
            Self::UnknownKey => "the store does not know the access key".to_owned(),
            Self::WrongSecret => "the secret key is wrong: the store rejects its signature".to_owned(),
            Self::Expired => "the credentials have expired, or were withdrawn".to_owned(),
            Self::Forbidden { said } if said.is_empty() => "the credentials do not permit it".to_owned(),
            Self::Forbidden { said } => format!("the credentials do not permit it: {said}"),
            Self::ClockOff { ahead } => clock_off(*ahead),
            Self::TimedOut { host } => format!("{host} did not answer in time"),
            Self::Busy => "the store is overloaded".to_owned(),
            Self::Changed => "it was replaced while it was read".to_owned(),
            Self::Other { said } => said.clone(),
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoBucket => ErrorKind::NotFound,
            Self::WrongRegion { .. } | Self::NoCredentials { .. } | Self::UnknownKey | Self::WrongSecret => {
                ErrorKind::Usage
            }
            Self::Credentials(error) => error.kind(),
            _ => ErrorKind::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unreachable { .. } => "check the endpoint in the configuration, and the network",
            Self::Untrusted { .. } => {
                "add the certificate of the server's authority to those that this system trusts"
            }
            Self::NoBucket => "create the bucket, or correct its name, region or endpoint",
            Self::WrongRegion { right: Some(right) } => {
                return vec![format!("configure region = \"{right}\" for the repository")];
            }
            Self::WrongRegion { right: None } => "configure the bucket's region for the repository",
            Self::NoCredentials { .. } => {
                "configure credentials; docs/stores.md lists where they are looked for"
            }
            Self::Credentials(error) => return error.hints().to_vec(),
            Self::UnknownKey | Self::WrongSecret => "check the configured credentials",
            Self::Expired => "renew the credentials and run this again",
            Self::Forbidden { .. } => "grant it; docs/stores.md lists the rights that each command needs",
            Self::ClockOff { .. } => "set this machine's clock, and keep it set (NTP)",
            Self::TimedOut { .. } => "check the network, and whether the store works",
            Self::Busy => "run this again later, or with fewer jobs",
            Self::Changed => "run this again",
            Self::Other { .. } => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

fn clock_off(ahead: Option<SignedDuration>) -> String {
    let Some(ahead) = ahead else {
        return "this machine's clock and the store's are too far apart".to_owned();
    };
    let minutes = ahead.abs().as_mins();
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    format!("this machine's clock is {minutes} minutes {way} the store's")
}

impl From<CloudError> for Error {
    fn from(error: CloudError) -> Self {
        let CloudError { action, path, case } = error;
        let shown = Self::new(case.kind(), format!("cannot {action} {path}")).why(case.reason());
        case.hints().into_iter().fold(shown, Self::hint)
    }
}

//! Why a store in the cloud did not do something: named cases, each with the next step.
//!
//! Nothing that the library below prints is passed on: its messages hold URLs, and a URL may be
//! signed. What is shown is the server's own code and message, or the system's error.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use object_store::client::{HttpError, HttpErrorKind};

use super::exchange::{Answer, Exchange};
use crate::error::Error;
use crate::repository::store::StoreError;

/// Where machines and containers are given their credentials.
const METADATA_HOSTS: [&str; 4] =
    ["169.254.169.254", "169.254.170.2", "metadata.google.internal", "169.254.170.23"];

/// A failure of a store in the cloud.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {}", .case.reason())]
pub struct CloudError {
    /// `read`, `write`, `list` …
    pub action: &'static str,
    /// The file or folder.
    pub path: String,
    /// Why.
    pub case: CloudCase,
}

/// Why a store in the cloud did not do something.
#[derive(Debug, Clone)]
pub enum CloudCase {
    /// The host cannot be reached: its name is unknown, it refuses, the network is down.
    Unreachable {
        /// Host and port.
        host: String,
        /// What the system said.
        cause: String,
    },
    /// The server's certificate is not trusted, or TLS fails otherwise.
    Untrusted {
        /// Host and port.
        host: String,
        /// What is wrong.
        cause: String,
    },
    /// There is no such bucket or container.
    NoBucket,
    /// The bucket is in another region.
    WrongRegion {
        /// The right one, where the store names it.
        right: Option<String>,
    },
    /// The machine or the container is given no credentials.
    NoCredentials {
        /// What was tried.
        cause: String,
    },
    /// The source of credentials failed.
    Credentials(Arc<Error>),
    /// The store does not know the access key.
    UnknownKey,
    /// The secret is not that of the access key or account.
    WrongSecret,
    /// The credentials were good once.
    Expired,
    /// The credentials are good, and do not permit this.
    Forbidden {
        /// What the server said.
        said: String,
    },
    /// This machine's clock and the store's are too far apart.
    ClockOff {
        /// How far this machine's is ahead; negative: behind.
        ahead: Option<SignedDuration>,
    },
    /// Nothing was heard for too long.
    TimedOut {
        /// Host and port.
        host: String,
    },
    /// The store asks for patience, and did so for too long.
    Busy,
    /// A file was replaced while it was read.
    Changed,
    /// Anything else.
    Other {
        /// What was said.
        said: String,
    },
}

/// What failed, with the exchange that it came from.
pub(super) type Failure = (object_store::Error, Option<Exchange>);

/// Sorts a failure by what the caller can do about it.
pub(super) fn store_error(action: &'static str, path: String, failure: Failure) -> StoreError {
    let (error, exchange) = failure;
    if let Some(exchange) = exchange.as_ref().filter(|exchange| is_metadata(&exchange.host)) {
        let cause = exchange.answer.as_ref().map_or_else(|| without_urls(&deepest(&error)), described);
        let cause = format!("this machine is given none ({}: {cause})", exchange.host);
        return cloud(action, path, CloudCase::NoCredentials { cause });
    }
    let answer = exchange.as_ref().and_then(|exchange| exchange.answer.as_ref());
    if answer.is_some_and(is_full) {
        return StoreError::Full { path };
    }
    let case = match answer {
        Some(answer) => case_of_answer(answer, Timestamp::now()),
        None => None,
    };
    match (case, &error) {
        (Some(case), _) => cloud(action, path, case),
        (None, object_store::Error::NotFound { .. }) => StoreError::NotFound { path },
        (None, _) => cloud(action, path, case_of_error(&error, exchange.as_ref())),
    }
}

/// The error of a named case.
pub(super) fn cloud(action: &'static str, path: String, case: CloudCase) -> StoreError {
    StoreError::Cloud(Box::new(CloudError { action, path, case }))
}

fn is_metadata(host: &str) -> bool {
    METADATA_HOSTS.iter().any(|metadata| host.split(':').next() == Some(*metadata))
}

fn is_full(answer: &Answer) -> bool {
    answer.status == 507 || matches!(answer.code.as_str(), "QuotaExceeded" | "AccountQuotaExceeded")
}

/// The case of an answer; `None` where it is no more than a missing file or of no known code.
fn case_of_answer(answer: &Answer, now: Timestamp) -> Option<CloudCase> {
    let said = || if answer.message.is_empty() { answer.code.clone() } else { answer.message.clone() };
    Some(match (answer.code.as_str(), answer.status) {
        ("NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted", _) => CloudCase::NoBucket,
        ("AuthorizationHeaderMalformed", _) if answer.region.is_none() => CloudCase::Other { said: said() },
        ("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed", _)
        | ("IllegalLocationConstraintException", _)
        | ("", 301 | 307) => CloudCase::WrongRegion { right: answer.region.clone() },
        ("InvalidAccessKeyId" | "NotSignedUp", _) => CloudCase::UnknownKey,
        ("SignatureDoesNotMatch", _) => CloudCase::WrongSecret,
        ("ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => CloudCase::Expired,
        ("RequestTimeTooSkewed" | "RequestExpired", _) => {
            CloudCase::ClockOff { ahead: answer.date.map(|date| now.duration_since(date)) }
        }
        ("AuthenticationFailed" | "InvalidAuthenticationInfo", _) => authentication_failed(answer, now),
        ("AuthorizationFailure", _) if answer.message.contains("failed to authenticate") => {
            authentication_failed(answer, now)
        }
        ("SlowDown" | "ServerBusy" | "TooManyRequests", _) | ("", 429 | 503) => CloudCase::Busy,
        (_, 401 | 403) => CloudCase::Forbidden { said: said() },
        _ => return None,
    })
}

/// Azure has one code for a wrong key, an expired signature and a wrong clock.
fn authentication_failed(answer: &Answer, now: Timestamp) -> CloudCase {
    const CLOCKS_MAY_DIFFER: SignedDuration = SignedDuration::from_mins(15);
    let ahead = answer.date.map(|date| now.duration_since(date));
    match ahead {
        Some(ahead) if ahead.abs() >= CLOCKS_MAY_DIFFER => CloudCase::ClockOff { ahead: Some(ahead) },
        _ => CloudCase::WrongSecret,
    }
}

/// The case of an error that came without a telling answer.
fn case_of_error(error: &object_store::Error, exchange: Option<&Exchange>) -> CloudCase {
    if let Some(fetched) = find::<Fetched>(error) {
        return CloudCase::Credentials(Arc::clone(&fetched.0));
    }
    let host = exchange.map(|exchange| exchange.host.clone()).unwrap_or_default();
    let Some(http) = find::<HttpError>(error) else {
        let answered = exchange.and_then(|exchange| exchange.answer.as_ref());
        return CloudCase::Other { said: answered.map_or_else(|| without_urls(&deepest(error)), described) };
    };
    let cause = deepest(http);
    match http.kind() {
        _ if find::<rustls::Error>(http).is_some() => CloudCase::Untrusted { host, cause },
        HttpErrorKind::Timeout => CloudCase::TimedOut { host },
        HttpErrorKind::Connect => CloudCase::Unreachable { host, cause },
        _ => CloudCase::Other { said: format!("the connection to {host} broke: {cause}") },
    }
}

fn described(answer: &Answer) -> String {
    let Answer { status, code, message, .. } = answer;
    match (code.as_str(), message.as_str()) {
        ("", _) => format!("the store answered with status {status}"),
        (code, "") => format!("the store answered {code} ({status})"),
        (code, message) => format!("the store answered {code} ({status}): {message}"),
    }
}

/// An error of a [`CredentialSource`](super::CredentialSource), on its way through the library.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fetched(pub(super) Arc<Error>);

/// The first error of type `E` in a chain, also inside `io::Error`s, which hide theirs.
fn find<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = inner(error);
    }
    None
}

fn deepest(error: &(dyn StdError + 'static)) -> String {
    let mut deepest = error;
    while let Some(next) = inner(deepest) {
        deepest = next;
    }
    deepest.to_string()
}

fn inner<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// Without the queries of URLs: they may hold signatures.
fn without_urls(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once('?') {
        Some((before, _)) if before.contains("://") => before,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(status: u16, code: &str, message: &str, region: Option<&str>) -> Option<CloudCase> {
        let answer = Answer {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
            region: region.map(str::to_owned),
            date: Some(Timestamp::UNIX_EPOCH),
        };
        case_of_answer(&answer, Timestamp::UNIX_EPOCH + SignedDuration::from_mins(3))
    }

    #[test]
    fn answers_that_no_server_of_the_tests_gives_have_names_too() {
        let right = Some("eu-central-1");
        for (status, code) in [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed"), (301, "")] {
            let Some(CloudCase::WrongRegion { right: named }) = case(status, code, "", right) else {
                panic!("{code}")
            };
            assert_eq!(named.as_deref(), right);
        }
        for code in ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"] {
            assert!(matches!(case(400, code, "", None), Some(CloudCase::Expired)), "{code}");
        }
        for (status, code) in [(503, "SlowDown"), (429, ""), (503, "ServerBusy")] {
            assert!(matches!(case(status, code, "", None), Some(CloudCase::Busy)), "{code}");
        }
        assert!(matches!(case(403, "AuthenticationFailed", "", None), Some(CloudCase::WrongSecret)));
        assert!(matches!(case(401, "", "", None), Some(CloudCase::Forbidden { .. })));
        assert!(case(404, "NoSuchKey", "", None).is_none(), "a missing file is none of them");
    }

    #[test]
    fn queries_of_urls_are_cut_off() {
        let text = "error sending https://host/a?sig=hunter2&x=1 for a reason, really?";
        assert_eq!(without_urls(text), "error sending https://host/a for a reason, really?");
    }
}

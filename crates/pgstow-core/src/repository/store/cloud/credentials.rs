//! Keys of S3 that expire: asked for again in good time.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use super::failure::Fetched;
use super::settings::{AccessKeys, CredentialSource};
use crate::error::Error;

/// Keys are replaced so long before they expire: a request that is retried keeps its signature.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// A source whose keys never last longer than the margin is not asked for each request.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// Hands out the keys of a source, fresh ones before the last ones expire.
#[derive(Debug)]
pub(super) struct Renewing {
    source: Arc<dyn CredentialSource>,
    current: Mutex<Option<Current>>,
}

#[derive(Debug)]
struct Current {
    credential: Arc<AwsCredential>,
    expires_at: Option<Timestamp>,
    asked_at: Timestamp,
}

impl Current {
    fn is_fresh(&self, now: Timestamp) -> bool {
        let Some(expires_at) = self.expires_at else { return true };
        let left = expires_at.duration_since(now);
        left > MARGIN || (left > SignedDuration::ZERO && now.duration_since(self.asked_at) < PAUSE)
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires_at| expires_at > now)
    }
}

impl Renewing {
    pub(super) fn new(source: Arc<dyn CredentialSource>) -> Self {
        Self { source, current: Mutex::new(None) }
    }

    /// A source may run a program: it gets a thread of its own.
    async fn fetch(&self) -> Result<AccessKeys, Error> {
        let source = Arc::clone(&self.source);
        let fetched = tokio::task::spawn_blocking(move || source.fetch()).await;
        fetched.unwrap_or_else(|_| Err(Error::failed("the source of credentials panicked")))
    }
}

#[async_trait]
impl CredentialProvider for Renewing {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut current = self.current.lock().await;
        let now = Timestamp::now();
        if let Some(fresh) = current.as_ref().filter(|current| current.is_fresh(now)) {
            return Ok(Arc::clone(&fresh.credential));
        }
        match self.fetch().await {
            Ok(keys) => {
                let credential = Arc::new(credential(&keys));
                let expires_at = keys.expires_at;
                *current = Some(Current { credential: Arc::clone(&credential), expires_at, asked_at: now });
                Ok(credential)
            }
            Err(error) => match current.as_mut().filter(|current| current.is_valid(now)) {
                // There is still time to ask again.
                Some(valid) => {
                    valid.asked_at = now;
                    Ok(Arc::clone(&valid.credential))
                }
                None => Err(object_store::Error::Generic {
                    store: "S3",
                    source: Box::new(Fetched(Arc::new(error))),
                }),
            },
        }
    }
}

/// As the library wants it.
pub(super) fn credential(keys: &AccessKeys) -> AwsCredential {
    AwsCredential {
        key_id: keys.access_key_id.clone(),
        secret_key: keys.secret_access_key.expose().to_owned(),
        token: keys.session_token.as_ref().map(|token| token.expose().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::secret::Secret;

    /// Gives keys numbered from 1 that expire after a while, and fails from one number on.
    #[derive(Debug)]
    struct Numbered {
        asked: AtomicUsize,
        fails_from: usize,
        lasts: SignedDuration,
    }

    impl CredentialSource for Numbered {
        fn fetch(&self) -> crate::error::Result<AccessKeys> {
            let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            if number >= self.fails_from {
                return Err(Error::failed("the program failed"));
            }
            Ok(AccessKeys {
                access_key_id: number.to_string(),
                secret_access_key: Secret::new("secret"),
                session_token: None,
                expires_at: Some(Timestamp::now() + self.lasts),
            })
        }
    }

    /// Ids of the keys that three requests get, the pause taken for over each time.
    fn three_requests(lasts: SignedDuration, fails_from: usize) -> Vec<Result<String, ()>> {
        let source = Numbered { asked: AtomicUsize::new(0), fails_from, lasts };
        let renewing = Renewing::new(Arc::new(source));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let request = || async {
            let got = renewing.get_credential().await.map(|keys| keys.key_id.clone()).map_err(|_| ());
            if let Some(current) = renewing.current.lock().await.as_mut() {
                current.asked_at -= PAUSE;
            }
            got
        };
        (0..3).map(|_| runtime.block_on(request())).collect()
    }

    #[test]
    fn keys_are_asked_for_once_while_they_last_and_again_before_they_expire() {
        let ids = |ids: [&str; 3]| ids.map(|id| Ok(id.to_owned())).to_vec();
        assert_eq!(three_requests(SignedDuration::from_hours(1), usize::MAX), ids(["1", "1", "1"]));
        assert_eq!(three_requests(SignedDuration::from_mins(4), usize::MAX), ids(["1", "2", "3"]));
    }

    #[test]
    fn keys_that_still_hold_are_used_while_the_source_fails_and_expired_ones_never() {
        let one = Ok("1".to_owned());
        assert_eq!(three_requests(SignedDuration::from_mins(4), 2), [one.clone(), one.clone(), one.clone()]);
        assert_eq!(three_requests(SignedDuration::from_mins(-1), 2), [one, Err(()), Err(())]);
    }
}

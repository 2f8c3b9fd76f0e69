//! The keys at a URL (`--jwks`): fetched at the start, regularly, and when a token names a key that is not known.
//!
//! # Invariants
//!
//! - The last keys that could be fetched are used until others are. An outage of the identity provider refuses no token that
//!   was accepted before.
//! - Fetches are at least [`MIN_PAUSE`] apart, so that tokens with made-up keys cause no flood of requests to the provider.
//! - Only one task fetches. Requests that need new keys wait for it, each for at most [`MAX_WAIT`].

mod fetch;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::server::auth::{KeySet, Principal, TokenError, Verifier};
use crate::server::http_client::HttpTls;

pub use url::{JwksUrl, JwksUrlError};

/// Time between regular fetches. A key that the provider has removed is used for at most that long.
const REFRESH_EVERY: Duration = Duration::from_secs(600);
/// Time after which a failed fetch is repeated.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Minimum time between two fetches.
const MIN_PAUSE: Duration = Duration::from_secs(5);
/// Maximum time for which a request waits for a fetch.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The verifier of tokens together with the source of its keys, if they are at a URL.
#[derive(Debug)]
pub struct Authenticator {
    verifier: Verifier,
    jwks: Option<Jwks>,
}

impl Authenticator {
    /// Creates an authenticator that verifies tokens with `verifier`. The keys are fetched from `url`, if there is one, as
    /// long as [`Authenticator::run`] runs.
    pub fn new(verifier: Verifier, url: Option<JwksUrl>) -> Self {
        Self {
            verifier,
            jwks: url.map(Jwks::new),
        }
    }

    /// Returns the verifier with the present keys.
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Returns true if the error may be due to keys that are not fetched yet.
    pub fn may_lack_key(&self, error: &TokenError) -> bool {
        self.jwks.is_some() && matches!(error, TokenError::Key | TokenError::NoKeys)
    }

    /// Returns the principal of a request with `token`. `now` returns the time in seconds since 1970 UTC. If no key matches
    /// the token, waits for new keys.
    ///
    /// # Errors
    /// The reason for which the token is refused.
    pub async fn principal(
        &self,
        token: Option<&str>,
        now: impl Fn() -> u64,
    ) -> Result<Arc<Principal>, TokenError> {
        let result = self.verifier.principal(token, now());
        match (&result, &self.jwks) {
            (Err(error), Some(jwks)) if self.may_lack_key(error) => {
                jwks.refresh().await;
                self.verifier.principal(token, now())
            }
            _ => result,
        }
    }

    /// Fetches the keys from the URL, for ever. Without a URL, does nothing for ever.
    pub async fn run(&self) {
        match &self.jwks {
            Some(jwks) => jwks.run(&self.verifier).await,
            None => std::future::pending().await,
        }
    }
}

/// The state of the task that fetches the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchState {
    /// A fetch has begun or will begin at once.
    Fetching,
    /// A fetch ended less than [`MIN_PAUSE`] ago.
    Pausing,
    /// Waiting for the next regular fetch, or a request for one.
    Idle,
}

/// The keys at a URL.
struct Jwks {
    url: JwksUrl,
    /// Trusts the certificates of the system; `None` for plain HTTP.
    tls: Option<HttpTls>,
    state: watch::Sender<FetchState>,
    /// Requests for a fetch.
    requested: Notify,
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks")
            .field("url", &self.url.to_string())
            .finish_non_exhaustive()
    }
}

impl Jwks {
    fn new(url: JwksUrl) -> Self {
        Self {
            tls: url.0.is_secure().then(|| HttpTls::of_system("--jwks")),
            url,
            state: watch::channel(FetchState::Fetching).0,
            requested: Notify::new(),
        }
    }

    /// Waits until the keys are fetched again, for at most [`MAX_WAIT`]. Returns at once if they were fetched a moment ago.
    async fn refresh(&self) {
        let mut state = self.state.subscribe();
        if *state.borrow_and_update() == FetchState::Pausing {
            return;
        }

        self.requested.notify_one();
        // After the time, and if the server stops, the request continues with the present keys.
        let _ = timeout(
            MAX_WAIT,
            state.wait_for(|state| *state == FetchState::Pausing),
        )
        .await;
    }

    /// Fetches the keys for `verifier`, for ever.
    async fn run(&self, verifier: &Verifier) {
        let Self {
            url,
            tls,
            state,
            requested,
        } = self;
        let mut was_reached = true;

        loop {
            state.send_replace(FetchState::Fetching);
            let result = fetch::keys(url, tls.as_ref()).await;
            let is_reached = result.is_ok();
            match result {
                Ok(keys) => self.replace(verifier, keys, !was_reached),
                Err(error) if was_reached => {
                    let fallback = if verifier.has_keys() {
                        "the last keys stay in use"
                    } else {
                        "all tokens are refused until the keys are fetched"
                    };
                    warn!(%url, %error, "could not fetch keys (--jwks); {fallback}");
                }
                // Reported at the beginning of the outage.
                Err(_) => {}
            }
            was_reached = is_reached;

            state.send_replace(FetchState::Pausing);
            sleep(MIN_PAUSE).await;

            let pause = if is_reached {
                REFRESH_EVERY
            } else {
                RETRY_AFTER
            };
            state.send_replace(FetchState::Idle);
            // Either the time has passed, or a request came before.
            let _ = timeout(pause.saturating_sub(MIN_PAUSE), requested.notified()).await;
        }
    }

    /// Replaces the keys of `verifier`.
    fn replace(&self, verifier: &Verifier, keys: KeySet, was_down: bool) {
        let is_first = !verifier.has_keys();
        let count = keys.len();
        verifier.replace(keys);

        if is_first || was_down {
            info!(url = %self.url, keys = count, "fetched keys (--jwks)");
        }
    }
}

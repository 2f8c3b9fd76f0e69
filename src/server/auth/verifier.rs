//! The verifier of tokens: returns the [`Principal`] of a request.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::server::auth::{KeySet, Principal, TokenError, TokenRules};
use crate::server::room_rules::RoomRuleTable;

/// The keys of the server and the access of clients without a token. A cheap handle: all clones use the keys of the last
/// [`Verifier::replace`].
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    /// `None` in open mode, without keys.
    keys: Option<Arc<RwLock<KeySet>>>,
    /// The rules for rooms, which say what clients without a token may read.
    rules: Arc<RoomRuleTable>,
    token_rules: Arc<TokenRules>,
}

impl Verifier {
    /// Creates a verifier without keys: all clients have access.
    pub fn open() -> Self {
        Self::default()
    }

    /// Creates a verifier of tokens that one of `keys` has signed. Clients without a token may read the rooms that are
    /// public by `rules`.
    pub fn new(keys: KeySet, rules: Arc<RoomRuleTable>) -> Self {
        Self {
            keys: Some(Arc::new(RwLock::new(keys))),
            rules,
            token_rules: Arc::default(),
        }
    }

    /// Sets the rules for the claims of tokens.
    #[must_use]
    pub fn with_token_rules(self, rules: TokenRules) -> Self {
        Self {
            token_rules: Arc::new(rules),
            ..self
        }
    }

    /// Returns true without keys. User ids are then not authenticated.
    pub const fn is_open(&self) -> bool {
        self.keys.is_none()
    }

    /// Returns true if there is a key that verifies tokens. Keys at a URL have to be fetched first.
    pub fn has_keys(&self) -> bool {
        let keys = self.keys.as_ref();
        keys.is_some_and(|keys| !keys.read().is_empty())
    }

    /// Returns true if the key file contains a secret, which can sign tokens.
    pub fn holds_secret(&self) -> bool {
        let keys = self.keys.as_ref();
        keys.is_some_and(|keys| keys.read().can_sign())
    }

    /// Replaces the keys. Ignored in open mode, so that a signal cannot lock out clients of a server that was started
    /// without keys.
    pub fn replace(&self, keys: KeySet) {
        if let Some(current) = &self.keys {
            *current.write() = keys;
        }
    }

    /// Returns the principal of a request with `token` at the time `now`, in seconds since 1970 UTC.
    ///
    /// # Errors
    /// The reason for which the token is refused.
    pub fn principal(&self, token: Option<&str>, now: u64) -> Result<Principal, TokenError> {
        match (&self.keys, token) {
            (None, _) => Ok(Principal::open()),
            (Some(keys), Some(token)) => keys.read().principal(token, &self.token_rules, now),
            (Some(_), None) => Ok(Principal::guest(self.rules.clone())),
        }
    }
}

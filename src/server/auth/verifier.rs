//! The verifier of tokens: returns the [`Principal`] of a request.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::protocol::UserId;
use crate::server::auth::{KeySet, Principal, ProxyUser, TokenError, TokenRules};
use crate::server::room_rules::RoomRuleTable;

/// The keys of the server and the access of clients without a token. A cheap handle: all clones use the keys of the last
/// [`Verifier::replace`].
#[derive(Clone, Debug)]
pub struct Verifier {
    /// `None` without keys, in open mode and if only proxies name users.
    keys: Option<Arc<RwLock<KeySet>>>,
    /// The principal of all clients without a token.
    anonymous: Arc<Principal>,
    token_rules: Arc<TokenRules>,
    /// True if trusted proxies name users.
    has_proxy_users: bool,
}

impl Verifier {
    /// Creates a verifier without keys: all clients have access.
    pub fn open() -> Self {
        Self {
            keys: None,
            anonymous: Arc::new(Principal::open()),
            token_rules: Arc::default(),
            has_proxy_users: false,
        }
    }

    /// Creates a verifier of tokens that one of `keys` has signed. Clients without a token may read the rooms that are
    /// public by `rules`.
    pub fn new(keys: KeySet, rules: Arc<RoomRuleTable>) -> Self {
        Self {
            keys: Some(Arc::new(RwLock::new(keys))),
            anonymous: Arc::new(Principal::guest(rules, TokenError::Missing)),
            ..Self::open()
        }
    }

    /// Creates a verifier of users whom trusted proxies name. No token is valid, and other clients may read the rooms that
    /// are public by `rules`.
    pub fn of_proxy_users(rules: Arc<RoomRuleTable>) -> Self {
        Self {
            anonymous: Arc::new(Principal::guest(rules, TokenError::NoProxyUser)),
            has_proxy_users: true,
            ..Self::open()
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

    /// Returns true if user ids are not authenticated: without keys, and without proxies that name users.
    pub const fn is_open(&self) -> bool {
        self.keys.is_none() && !self.has_proxy_users
    }

    /// Returns true if tokens are verified. Without keys, only proxies name users.
    pub const fn accepts_tokens(&self) -> bool {
        self.keys.is_some()
    }

    /// Returns true if the claim `rooms` of a token has all rights of its user, so that clients can read them.
    pub fn has_rights_in_tokens(&self) -> bool {
        let standard = TokenRules::default();
        self.token_rules.rooms_claim == standard.rooms_claim && self.token_rules.groups.is_empty()
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
    pub fn principal(&self, token: Option<&str>, now: u64) -> Result<Arc<Principal>, TokenError> {
        match (&self.keys, token) {
            (Some(keys), Some(token)) => {
                let principal = keys.read().principal(token, &self.token_rules, now)?;
                Ok(Arc::new(principal))
            }
            (None, Some(_)) if self.has_proxy_users => Err(TokenError::Key),
            _ => Ok(self.anonymous.clone()),
        }
    }

    /// Returns the principal of the user whom a trusted proxy named.
    ///
    /// # Errors
    /// [`TokenError::ProxyUsers`] and [`TokenError::ProxyUser`].
    pub fn proxy_user(&self, user: &ProxyUser) -> Result<Arc<Principal>, TokenError> {
        let [id] = user.ids.as_slice() else {
            let count = user.ids.len();
            return Err(TokenError::ProxyUsers { count });
        };

        let id = String::from_utf8_lossy(id);
        let id = UserId::parse(id.trim()).map_err(TokenError::ProxyUser)?;
        let grants = self.token_rules.groups.of(&user.group_names());
        Ok(Arc::new(Principal::of_proxy(id, grants)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RoomName;
    use crate::server::auth::{Grants, Right};

    fn user(ids: &[&str], groups: &[&str]) -> ProxyUser {
        let bytes = |values: &[&str]| {
            values
                .iter()
                .map(|value| value.as_bytes().to_vec())
                .collect()
        };
        ProxyUser {
            ids: bytes(ids),
            groups: bytes(groups),
        }
    }

    #[test]
    fn a_user_of_a_proxy_has_the_grants_of_its_groups() {
        let mut staff = Grants::default();
        staff.add("staff-*:rw").expect("a grant");
        let mut rules = TokenRules::default();
        rules.groups.add(Some("staff".to_owned()), staff);
        let verifier = Verifier::of_proxy_users(Arc::default()).with_token_rules(rules);
        let room = RoomName::parse("staff-1").expect("a room");

        for (groups, expected) in [
            (&["staff"][..], true),
            (&["dev, staff"], true),
            (&["dev|staff"], true),
            (&["dev", "staff"], true),
            (&["staffing"], false),
            (&[""], false),
            (&[], false),
        ] {
            let ann = verifier
                .proxy_user(&user(&["ann"], groups))
                .expect("a user");
            assert_eq!(ann.may(Right::Write, &room), expected, "{groups:?}");
        }
    }

    #[test]
    fn several_users_and_names_that_are_not_valid_are_refused() {
        let verifier = Verifier::of_proxy_users(Arc::default());

        let several = verifier.proxy_user(&user(&["ann", "eve"], &[]));
        let empty = verifier.proxy_user(&user(&[""], &[]));

        assert_eq!(several, Err(TokenError::ProxyUsers { count: 2 }));
        assert!(matches!(empty, Err(TokenError::ProxyUser(_))), "{empty:?}");
        assert_eq!(verifier.principal(Some("a.b.c"), 0), Err(TokenError::Key));
        assert!(verifier.principal(None, 0).is_ok(), "a guest");
    }
}

//! Turns a token, or none, into a [`Principal`].

use std::sync::Arc;

use parking_lot::RwLock;

use crate::server::auth::{Access, Grants, KeySet, Principal, TokenError};

/// What may be done without a token where there are keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// Nothing.
    #[default]
    None,
    /// Read every room.
    Read,
}

/// See the [module docs](self). A cheap handle: all its clones see the keys that the last [`Verifier::replace`]
/// gave.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    /// Nothing in open mode.
    keys: Option<Arc<RwLock<KeySet>>>,
    anonymous: Anonymous,
}

impl Verifier {
    /// Open mode: everyone may come in.
    pub fn open() -> Self {
        Self::default()
    }

    /// Whoever has a token that one of `keys` vouches for may come in; without one, as `anonymous` says.
    pub fn new(keys: KeySet, anonymous: Anonymous) -> Self {
        Self {
            keys: Some(Arc::new(RwLock::new(keys))),
            anonymous,
        }
    }

    /// Whether there are no keys, so that names prove nothing.
    pub const fn is_open(&self) -> bool {
        self.keys.is_none()
    }

    /// Whether whoever reads the key file can make tokens.
    pub fn holds_secret(&self) -> bool {
        let keys = self.keys.as_ref();
        keys.is_some_and(|keys| keys.read().holds_secret())
    }

    /// From now on `keys` vouch for tokens. In open mode nothing: whoever was told that no token is needed must
    /// not be shut out by a signal.
    pub fn replace(&self, keys: KeySet) {
        if let Some(held) = &self.keys {
            *held.write() = keys;
        }
    }

    /// Who asks with `token`, `now`, in seconds since 1970 UTC.
    ///
    /// # Errors
    /// What is wrong with the token, or that there must be one.
    pub fn principal(&self, token: Option<&str>, now: u64) -> Result<Principal, TokenError> {
        match (&self.keys, token) {
            (None, _) => Ok(Principal::open()),
            (Some(keys), Some(token)) => keys.read().principal(token, now),
            (Some(_), None) => match self.anonymous {
                Anonymous::None => Ok(Principal::guest(Grants::default())),
                Anonymous::Read => Ok(Principal::guest(Grants::everywhere(Access::Read))),
            },
        }
    }
}

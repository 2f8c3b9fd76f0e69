//! The principal of a request: its user id, its grants, and their expiry.
//!
//! All entry points (page, API, WebSocket) check the principal before they do anything else.

use std::sync::Arc;

use crate::protocol::{CloseCode, RoomName, RoomSelector, UserId};
use crate::server::auth::{Grants, Right, TokenError};
use crate::server::room_rules::RoomRuleTable;

/// The error of a request without access.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No valid token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A valid token without the required grant.
    #[error("the token does not grant {right} on room {room}")]
    Grant {
        /// Required right.
        right: Right,
        /// Room or pattern of the request.
        room: RoomSelector,
    },
    /// A valid token without the grant for all rooms.
    #[error("this needs a token with the grant *:admin")]
    Admin,
    /// A user id that is not the one of the token, or any id without a token.
    #[error("the user id cannot be chosen: it is the token's sub, or a guest id without a token")]
    Id,
}

impl AuthError {
    /// Returns the code with which a WebSocket is closed.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Token(TokenError::NoKeys) => CloseCode::TryAgainLater,
            Self::Token(_) => CloseCode::BadToken,
            Self::Grant { .. } | Self::Admin | Self::Id => CloseCode::NotAllowed,
        }
    }
}

/// The source of a principal's user id.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    /// Chosen by the client, in open mode: every client may read and publish in every room.
    Claimed,
    /// A guest id: the server authenticates users, and the client has no token and no user of a proxy.
    Guest {
        /// The rules that say which rooms are public.
        rules: Arc<RoomRuleTable>,
        /// The error of a request that needs a user.
        error: TokenError,
    },
    /// Authenticated by a token or a proxy.
    Proven(UserId),
}

/// The identity of a client, with its grants and their expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    identity: Identity,
    grants: Grants,
    /// Expiry of the token, in seconds since 1970 UTC.
    expires_at: Option<u64>,
    /// Messages a second that the token allows; `0` means no limit.
    rate: Option<u32>,
}

impl Principal {
    /// Returns the principal of every client in open mode.
    pub fn open() -> Self {
        Self {
            identity: Identity::Claimed,
            grants: Grants::default(),
            expires_at: None,
            rate: None,
        }
    }

    /// Returns the principal of a client that is not authenticated, who may read the rooms that are public by `rules`. All
    /// other requests are refused with `error`.
    pub(super) fn guest(rules: Arc<RoomRuleTable>, error: TokenError) -> Self {
        Self {
            identity: Identity::Guest { rules, error },
            grants: Grants::default(),
            expires_at: None,
            rate: None,
        }
    }

    /// Returns the principal of a client with a token for `id` that expires at `expires_at`, in seconds since 1970 UTC.
    pub(super) const fn with_token(id: UserId, grants: Grants, expires_at: u64) -> Self {
        Self {
            identity: Identity::Proven(id),
            grants,
            expires_at: Some(expires_at),
            rate: None,
        }
    }

    /// Returns the principal of the user `id`, whom a proxy has authenticated. It does not expire.
    pub(super) const fn of_proxy(id: UserId, grants: Grants) -> Self {
        Self {
            identity: Identity::Proven(id),
            grants,
            expires_at: None,
            rate: None,
        }
    }

    /// Sets the messages a second that the token allows.
    pub(super) fn with_rate(self, rate: Option<u32>) -> Self {
        Self { rate, ..self }
    }

    /// Returns the user id of a client that requested the id `requested`. `None` means "assign a guest id".
    ///
    /// # Errors
    /// [`AuthError::Id`] if the client may not use the requested id.
    pub fn user_id(&self, requested: Option<UserId>) -> Result<Option<UserId>, AuthError> {
        match (&self.identity, requested) {
            (Identity::Claimed, requested) => Ok(requested),
            (Identity::Guest { .. }, None) => Ok(None),
            (Identity::Proven(own), None) => Ok(Some(own.clone())),
            (Identity::Proven(own), Some(requested)) if *own == requested => Ok(Some(requested)),
            (Identity::Guest { .. } | Identity::Proven(_), Some(_)) => Err(AuthError::Id),
        }
    }

    /// Returns the user id under which the client appears in presence: the requested one. `None` if it requested none
    /// and does not appear.
    ///
    /// # Errors
    /// [`AuthError::Id`] if the client may not use the requested id.
    pub fn presence_id(&self, requested: Option<UserId>) -> Result<Option<UserId>, AuthError> {
        requested.map_or(Ok(None), |requested| self.user_id(Some(requested)))
    }

    /// Returns the authenticated id; `None` without a token.
    pub const fn proven(&self) -> Option<&UserId> {
        match &self.identity {
            Identity::Proven(id) => Some(id),
            Identity::Claimed | Identity::Guest { .. } => None,
        }
    }

    /// Returns the id to which bans apply: the authenticated one, or else the `claimed` one.
    pub fn ban_id<'a>(&'a self, claimed: Option<&'a UserId>) -> Option<&'a UserId> {
        self.proven().or(claimed)
    }

    /// Returns the grants.
    pub const fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Returns true if the principal has `right` in `room`.
    pub fn may(&self, right: Right, room: &RoomName) -> bool {
        match &self.identity {
            Identity::Claimed => right != Right::Admin,
            Identity::Guest { rules, .. } => right == Right::Read && rules.of(room).is_public,
            Identity::Proven(_) => self.grants.allow(right, room),
        }
    }

    /// Checks that the principal has `right` in `room`.
    ///
    /// # Errors
    /// [`AuthError::Grant`], or [`AuthError::Token`] for a guest, because a token may grant the right.
    pub fn check(&self, right: Right, room: &RoomName) -> Result<(), AuthError> {
        if self.may(right, room) {
            Ok(())
        } else {
            Err(self.not_granted(right, room.clone().into()))
        }
    }

    /// Returns true if the principal may read `rooms`: the room, or every room that the pattern matches.
    pub fn may_read(&self, rooms: &RoomSelector) -> bool {
        match rooms {
            RoomSelector::Room(room) => self.may(Right::Read, room),
            RoomSelector::Pattern(pattern) => match &self.identity {
                Identity::Claimed => true,
                Identity::Guest { rules, .. } => rules.is_all_public(pattern),
                Identity::Proven(_) => self.grants.covers(Right::Read, pattern),
            },
        }
    }

    /// Checks that the principal may read `rooms`, like [`Principal::check`].
    ///
    /// # Errors
    /// [`AuthError::Grant`], or [`AuthError::Token`] for a guest.
    pub fn check_read(&self, rooms: &RoomSelector) -> Result<(), AuthError> {
        if self.may_read(rooms) {
            Ok(())
        } else {
            Err(self.not_granted(Right::Read, rooms.clone()))
        }
    }

    /// Returns the error of a request without `right`.
    fn not_granted(&self, right: Right, room: RoomSelector) -> AuthError {
        match &self.identity {
            Identity::Guest { error, .. } => error.clone().into(),
            _ => AuthError::Grant { right, room },
        }
    }

    /// Checks that the principal may read or publish in at least one room.
    ///
    /// # Errors
    /// [`AuthError::Token`] for a guest. A token without grants is accepted, because a later one may have some.
    pub fn check_any(&self) -> Result<(), AuthError> {
        match &self.identity {
            Identity::Guest { rules, error } if !rules.is_any_public() => Err(error.clone().into()),
            _ => Ok(()),
        }
    }

    /// Returns true if the principal has `right` in at least one room.
    pub fn may_anywhere(&self, right: Right) -> bool {
        match &self.identity {
            Identity::Claimed => right != Right::Admin,
            Identity::Guest { rules, .. } => right == Right::Read && rules.is_any_public(),
            Identity::Proven(_) => self.grants.allow_anywhere(right),
        }
    }

    /// Checks that the principal is an admin of every room. In open mode, no client is an admin.
    ///
    /// # Errors
    /// [`AuthError::Admin`], or [`AuthError::Token`] for a guest.
    pub fn check_admin(&self) -> Result<(), AuthError> {
        match &self.identity {
            _ if self.grants.allow_everywhere(Right::Admin) => Ok(()),
            Identity::Guest { error, .. } => Err(error.clone().into()),
            _ => Err(AuthError::Admin),
        }
    }

    /// Returns the messages a second that the token allows, in place of the settings; `0` means no limit, and `None` that
    /// the settings apply.
    pub const fn rate(&self) -> Option<u32> {
        self.rate
    }

    /// Returns the expiry of the token, in seconds since 1970 UTC; `None` without a token.
    pub const fn expires_at(&self) -> Option<u64> {
        self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::room_rules::RoomRules;

    fn id(text: &str) -> UserId {
        UserId::parse(text).expect("an id")
    }

    #[test]
    fn in_open_mode_clients_read_and_write_under_any_id() {
        let open = Principal::open();
        let lobby = RoomName::lobby();

        assert_eq!(open.user_id(Some(id("ann"))), Ok(Some(id("ann"))));
        assert!(open.may(Right::Read, &lobby));
        assert!(open.may(Right::Write, &lobby));
        assert_eq!(open.expires_at(), None);
    }

    #[test]
    fn in_open_mode_no_client_is_an_admin() {
        let open = Principal::open();
        let lobby = RoomName::lobby();

        let not_granted = AuthError::Grant {
            right: Right::Admin,
            room: lobby.clone().into(),
        };
        assert_eq!(open.check(Right::Admin, &lobby), Err(not_granted));
        assert_eq!(open.check_admin(), Err(AuthError::Admin));
    }

    #[test]
    fn bans_apply_to_the_authenticated_id_or_else_to_the_claimed_one() {
        let ann = id("ann");
        let other = id("other");
        let proven = Principal::with_token(ann.clone(), Grants::default(), 7);

        assert_eq!(proven.ban_id(None), Some(&ann));
        assert_eq!(proven.ban_id(Some(&other)), Some(&ann));
        assert_eq!(Principal::open().ban_id(Some(&other)), Some(&other));
        assert_eq!(Principal::open().ban_id(None), None);
    }

    #[test]
    fn a_guest_without_a_right_needs_a_token() {
        let lobby = RoomName::lobby();
        let public = RoomRules {
            is_public: true,
            ..RoomRules::default()
        };
        let rules = Arc::new(RoomRuleTable::new(public, &[]));
        let guest = Principal::guest(rules, TokenError::Missing);

        let read = guest.check(Right::Read, &lobby);
        let write = guest.check(Right::Write, &lobby).expect_err("a guest");
        let admin = guest.check_admin().expect_err("a guest");

        assert_eq!(read, Ok(()));
        assert_eq!(write.close_code(), CloseCode::BadToken);
        assert_eq!(admin.close_code(), CloseCode::BadToken);
    }

    #[test]
    fn a_client_with_a_token_but_without_a_right_is_refused() {
        let ann = Principal::with_token(id("ann"), Grants::default(), 7);

        let error = ann
            .check(Right::Write, &RoomName::lobby())
            .expect_err("no grant");

        assert_eq!(error.close_code(), CloseCode::NotAllowed);
    }
}

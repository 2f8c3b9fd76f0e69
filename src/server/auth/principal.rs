//! Who asks, what for, and until when: what every way in asks before it does anything.

use crate::protocol::CloseCode;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::auth::{Access, Grants, Right, TokenError};

/// Why someone may not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no good token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token is good, but not for this.
    #[error("the token does not allow to {right} {room}")]
    Grant {
        /// What was wanted.
        right: Right,
        /// Where.
        room: RoomName,
    },
    /// Only an admin of all rooms may do this.
    #[error("this needs a token with the grant *:admin")]
    Admin,
    /// The id asked for is not the one that the token proves, or there is no token to prove one.
    #[error("the id cannot be chosen here: it is the token's sub, and a guest's without a token")]
    Id,
}

impl AuthError {
    /// What a WebSocket is closed with for it.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Token(_) => CloseCode::BadToken,
            Self::Grant { .. } | Self::Admin | Self::Id => CloseCode::NotAllowed,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    /// Open mode: whoever it says it is.
    Claimed,
    /// Without a token where there could be one: nobody in particular.
    Guest,
    /// As a token proves.
    Proven(UserId),
}

/// See the [module docs](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    identity: Identity,
    grants: Grants,
    /// In seconds since 1970 UTC.
    ends: Option<u64>,
}

impl Principal {
    /// Whoever asks in open mode.
    pub fn open() -> Self {
        let grants = Grants::everywhere(Access::ReadWrite);
        Self {
            identity: Identity::Claimed,
            grants,
            ends: None,
        }
    }

    /// Whoever asks without a token, allowed what `grants` say.
    pub(super) const fn guest(grants: Grants) -> Self {
        Self {
            identity: Identity::Guest,
            grants,
            ends: None,
        }
    }

    /// Whoever a token proves to be `id`, until `ends`, in seconds since 1970 UTC.
    pub(super) const fn with_token(id: UserId, grants: Grants, ends: u64) -> Self {
        Self {
            identity: Identity::Proven(id),
            grants,
            ends: Some(ends),
        }
    }

    /// Under which id it appears that asked for `asked`; nothing if it may have none and a guest's is as good.
    ///
    /// # Errors
    /// [`AuthError::Id`] if it asked for one that is not its own.
    pub fn user_id(&self, asked: Option<UserId>) -> Result<Option<UserId>, AuthError> {
        match (&self.identity, asked) {
            (Identity::Claimed, asked) => Ok(asked),
            (Identity::Guest, None) => Ok(None),
            (Identity::Proven(own), None) => Ok(Some(own.clone())),
            (Identity::Proven(own), Some(asked)) if *own == asked => Ok(Some(asked)),
            (Identity::Guest | Identity::Proven(_), Some(_)) => Err(AuthError::Id),
        }
    }

    /// The same for whoever is seen only if it asks: the id that it asked for, if it is its own.
    ///
    /// # Errors
    /// As [`Principal::id`].
    pub fn present_as(&self, asked: Option<UserId>) -> Result<Option<UserId>, AuthError> {
        asked.map_or(Ok(None), |asked| self.user_id(Some(asked)))
    }

    /// Returns the id that its token proves, if it has a token.
    pub const fn proven(&self) -> Option<&UserId> {
        match &self.identity {
            Identity::Proven(id) => Some(id),
            Identity::Claimed | Identity::Guest => None,
        }
    }

    /// Returns the id that bans apply to: the proven one, whatever is shown, else the `claimed` one.
    pub fn proven_or<'a>(&'a self, claimed: Option<&'a UserId>) -> Option<&'a UserId> {
        self.proven().or(claimed)
    }

    /// What it may do, and where.
    pub const fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Whether it has `right` in `room`.
    pub fn may(&self, right: Right, room: &RoomName) -> bool {
        self.grants.allow(right, room)
    }

    /// That it has `right` in `room`.
    ///
    /// # Errors
    /// [`AuthError::Grant`]; for a guest [`AuthError::Token`], because a token might give it.
    pub fn check(&self, right: Right, room: &RoomName) -> Result<(), AuthError> {
        if self.may(right, room) {
            Ok(())
        } else if self.identity == Identity::Guest {
            Err(TokenError::Missing.into())
        } else {
            Err(AuthError::Grant {
                right,
                room: room.clone(),
            })
        }
    }

    /// Whether it has `right` in any room.
    pub fn may_anywhere(&self, right: Right) -> bool {
        self.grants.allow_anywhere(right)
    }

    /// That it is an admin of every room. In open mode nobody is.
    ///
    /// # Errors
    /// [`AuthError::Admin`]; for a guest [`AuthError::Token`].
    pub fn check_admin(&self) -> Result<(), AuthError> {
        if self.grants.allow_everywhere(Right::Admin) {
            Ok(())
        } else if self.identity == Identity::Guest {
            Err(TokenError::Missing.into())
        } else {
            Err(AuthError::Admin)
        }
    }

    /// When all this ends, in seconds since 1970 UTC, if it does.
    pub const fn expires_at(&self) -> Option<u64> {
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> UserId {
        UserId::parse(text).expect("an id")
    }

    #[test]
    fn in_open_mode_everyone_reads_and_writes_under_any_name_and_nobody_is_admin() {
        let open = Principal::open();
        let lobby = RoomName::lobby();
        assert_eq!(open.user_id(Some(id("ann"))), Ok(Some(id("ann"))));
        assert!(open.may(Right::Read, &lobby) && open.may(Right::Write, &lobby));
        assert_eq!(
            open.check(Right::Admin, &lobby),
            Err(AuthError::Grant {
                right: Right::Admin,
                room: lobby
            })
        );
        assert_eq!(open.check_admin(), Err(AuthError::Admin));
        assert_eq!(open.expires_at(), None);
    }

    #[test]
    fn a_proven_id_cannot_be_exchanged_and_a_guest_cannot_choose_one() {
        let ann = Principal::with_token(id("ann"), Grants::default(), 7);
        assert_eq!(ann.user_id(None), Ok(Some(id("ann"))));
        assert_eq!(ann.user_id(Some(id("ann"))), Ok(Some(id("ann"))));
        assert_eq!(ann.user_id(Some(id("Ann"))), Err(AuthError::Id));
        let guest = Principal::guest(Grants::everywhere(Access::Read));
        assert_eq!(guest.user_id(None), Ok(None));
        assert_eq!(guest.user_id(Some(id("ann"))), Err(AuthError::Id));
    }

    #[test]
    fn bans_apply_to_the_proven_id_and_without_one_to_the_claimed_id() {
        let (ann, other) = (id("ann"), id("other"));
        let proven = Principal::with_token(ann.clone(), Grants::default(), 7);

        assert_eq!(proven.proven_or(None), Some(&ann));
        assert_eq!(proven.proven_or(Some(&other)), Some(&ann));
        assert_eq!(Principal::open().proven_or(Some(&other)), Some(&other));
        assert_eq!(Principal::open().proven_or(None), None);
    }

    #[test]
    fn a_guest_is_asked_for_a_token_where_someone_with_a_token_is_refused() {
        let lobby = RoomName::lobby();
        let guest = Principal::guest(Grants::everywhere(Access::Read));
        assert_eq!(guest.check(Right::Read, &lobby), Ok(()));
        let missing = guest.check(Right::Write, &lobby).expect_err("a guest");
        assert_eq!(missing.close_code(), CloseCode::BadToken);
        assert_eq!(
            guest.check_admin().expect_err("a guest").close_code(),
            CloseCode::BadToken
        );
        let ann = Principal::with_token(id("ann"), Grants::default(), 7);
        let refused = ann.check(Right::Write, &lobby).expect_err("no grant");
        assert_eq!(refused.close_code(), CloseCode::NotAllowed);
    }
}

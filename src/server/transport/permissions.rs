//! The permissions that a client's token grants for one connection, when it opens and each time the client sends a new
//! token, and their expiry.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::{ErrorCode, Push, Token, UserId};
use crate::server::auth::{AuthError, Principal, Right, Verifier};
use crate::server::hub::Room;
use crate::server::session::ClientAccess;

/// The permissions of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// True if the client may publish.
    pub may_write: bool,
    /// True if the client administers the room. The limit on new rooms does not apply to it.
    pub is_admin: bool,
    /// Expiry of the token, unless the client renews it before; `None` without tokens. An [`Instant`] and not a
    /// [`Tick`](crate::server::room::Tick), because a token also expires while this process is paused.
    pub expires_at: Option<Instant>,
}

impl Permissions {
    /// Returns the permissions of `principal` in `room`. They expire by the monotonic clock.
    pub fn new(principal: &Principal, room: &Room) -> Self {
        let remaining = principal
            .expires_at()
            .map(|expires_at| Duration::from_secs(expires_at).saturating_sub(unix_time()));

        Self {
            may_write: principal.may(Right::Write, room.name()),
            is_admin: principal.may(Right::Admin, room.name()),
            // A time that the clock cannot represent never comes.
            expires_at: remaining.and_then(|remaining| Instant::now().checked_add(remaining)),
        }
    }

    /// Returns the rights of the client at `now`.
    pub fn access(&self, now: Instant) -> ClientAccess {
        if self.expires_at.is_some_and(|expiry| now >= expiry) {
            ClientAccess::Expired
        } else if self.may_write {
            ClientAccess::Write
        } else {
            ClientAccess::Read
        }
    }
}

/// Returns the time since 1970 UTC by the wall clock, by which tokens expire.
pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Verifies `token` for the client `id` in `room`. Returns the new permissions and the answer; `None` with an error
/// frame if the client keeps the permissions that it has.
pub(super) fn renew(
    verifier: &Verifier,
    token: &Token,
    id: &UserId,
    room: &Room,
) -> (Option<Permissions>, Push) {
    let verified = verifier
        .principal(Some(token.reveal()), unix_time().as_secs())
        .map_err(AuthError::from)
        .and_then(|principal| {
            // Without keys, clients choose their own ids.
            principal.user_id(Some(id.clone()))?;
            principal.check(Right::Read, room.name())?;
            Ok(principal)
        });

    match verified {
        Ok(principal) => {
            let expires_at = principal
                .expires_at()
                .map(|seconds| seconds.saturating_mul(1000));
            let answer = Push::Token { expires_at };
            (Some(Permissions::new(&principal, room)), answer)
        }
        Err(error) => {
            let code = match error {
                AuthError::Token(_) => ErrorCode::BadToken,
                AuthError::Grant { .. } | AuthError::Admin | AuthError::Id => ErrorCode::NotAllowed,
            };
            (None, Push::error(code, error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_valid_until_their_end_and_not_at_it() {
        let ends = Instant::now();
        let permissions = Permissions {
            may_write: true,
            is_admin: false,
            expires_at: Some(ends),
        };

        assert_eq!(
            permissions.access(ends - Duration::from_millis(1)),
            ClientAccess::Write
        );
        assert_eq!(permissions.access(ends), ClientAccess::Expired);
    }

    #[test]
    fn permissions_without_an_end_never_expire() {
        let permissions = Permissions {
            may_write: true,
            is_admin: false,
            expires_at: None,
        };

        assert_eq!(permissions.access(Instant::now()), ClientAccess::Write);
    }
}

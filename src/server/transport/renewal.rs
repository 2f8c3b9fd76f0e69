//! The permissions that a token gives a connection, when it opens and each time the client sends a new token.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::{ErrorCode, Push, Token, UserId};
use crate::server::auth::{AuthError, Principal, Right, Verifier};
use crate::server::hub::Room;
use crate::server::session::Permissions;

/// Returns the time since 1970 UTC by the wall clock, by which tokens expire.
pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Returns the permissions of `principal` in `room`. They expire by the monotonic clock.
pub fn permissions(principal: &Principal, room: &Room) -> Permissions {
    let remaining = principal
        .expires_at()
        .map(|expires_at| Duration::from_secs(expires_at).saturating_sub(unix_time()));

    Permissions {
        may_write: principal.may(Right::Write, room.name()),
        is_admin: principal.may(Right::Admin, room.name()),
        // A time that the clock cannot represent never comes.
        expires_at: remaining.and_then(|remaining| Instant::now().checked_add(remaining)),
    }
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
            (Some(permissions(&principal, room)), answer)
        }
        Err(error) => {
            let code = match error {
                AuthError::Token(_) => ErrorCode::BadToken,
                AuthError::Grant { .. } | AuthError::Admin | AuthError::Id => ErrorCode::NotAllowed,
            };
            let answer = Push::Error {
                code,
                message: error.to_string(),
                retry: code.invites_retry(),
                key: None,
            };
            (None, answer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::session::ClientAccess;

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

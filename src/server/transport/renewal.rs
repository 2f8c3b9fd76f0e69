//! From a token to the lease of one connection, at the start and again whenever the client sends another.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::ErrorCode;
use crate::protocol::Push;
use crate::protocol::Token;
use crate::protocol::UserId;
use crate::server::auth::{AuthError, Principal, Right, Verifier};
use crate::server::hub::Room;
use crate::server::session::Permissions;

/// The wall clock, by which tokens end: time since 1970 UTC.
pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Returns what `principal` may do in `room`, and until when by a clock that cannot be set back.
pub fn permissions(principal: &Principal, room: &Room) -> Permissions {
    let left = principal
        .expires_at()
        .map(|ends| Duration::from_secs(ends).saturating_sub(unix_time()));
    Permissions {
        may_write: principal.may(Right::Write, room.name()),
        is_admin: principal.may(Right::Admin, room.name()),
        // What is too far away for a clock never ends.
        expires_at: left.and_then(|left| Instant::now().checked_add(left)),
    }
}

/// The lease that `token` gives the client called `id` in `room`, and the answer to it; or only the answer, and
/// the client goes on with the lease that it has.
pub(super) fn renew(
    verifier: &Verifier,
    token: &Token,
    id: &UserId,
    room: &Room,
) -> (Option<Permissions>, Push) {
    let renewed = verifier
        .principal(Some(token.reveal()), unix_time().as_secs())
        .map_err(AuthError::from);
    let checked = renewed.and_then(|principal| {
        // In open mode everyone is who it says it is.
        principal.user_id(Some(id.clone()))?;
        principal.check(Right::Read, room.name())?;
        Ok(principal)
    });
    match checked {
        Ok(principal) => {
            let expires_at = principal.expires_at().map(|ends| ends.saturating_mul(1000));
            (
                Some(permissions(&principal, room)),
                Push::Token { expires_at },
            )
        }
        Err(error) => {
            let code = match error {
                AuthError::Token(_) => ErrorCode::BadToken,
                AuthError::Grant { .. } | AuthError::Admin | AuthError::Id => ErrorCode::NotAllowed,
            };
            (
                None,
                Push::Error {
                    code,
                    message: error.to_string(),
                    retry: code.invites_retry(),
                    key: None,
                },
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::session::ClientAccess;

    #[test]
    fn a_lease_is_good_until_its_end_and_not_at_it() {
        let ends = Instant::now();
        let lease = Permissions {
            may_write: true,
            is_admin: false,
            expires_at: Some(ends),
        };

        assert_eq!(
            lease.access(ends - Duration::from_millis(1)),
            ClientAccess::Write
        );
        assert_eq!(lease.access(ends), ClientAccess::Expired);
        let endless = Permissions {
            expires_at: None,
            ..lease
        };
        assert_eq!(endless.access(ends), ClientAccess::Write);
    }
}

//! The permissions that a client's token grants for one connection, when it opens and each time the client sends a new
//! token, and their expiry.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::{ErrorCode, Push, RoomName, RoomSelector, UserId};
use crate::server::auth::{AuthError, Principal, Right, TokenError};
use crate::server::hub::Room;
use crate::server::room_rules::{RoomRuleTable, RoomRules};
use crate::server::session::{ClientAccess, MessageLimits};

/// The permissions of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    principal: Arc<Principal>,
    /// Expiry of the token, unless the client renews it before; `None` without tokens. An [`Instant`] and not a
    /// [`Tick`](crate::server::room::Tick), because a token also expires while this process is paused.
    expires_at: Option<Instant>,
}

/// The rights of a client at one time, and the room of its frames that name none.
#[derive(Debug)]
pub(super) struct CurrentAccess {
    pub(super) permissions: Permissions,
    /// The room to which the client is subscribed, if there is exactly one. Patterns do not count.
    pub(super) only_room: Option<Arc<Room>>,
    /// The rules for other rooms.
    pub(super) rules: Arc<RoomRuleTable>,
    pub(super) now: Instant,
}

impl Permissions {
    /// Returns the permissions of `principal`. They expire by the monotonic clock.
    pub fn new(principal: Arc<Principal>) -> Self {
        let remaining = principal
            .expires_at()
            .map(|expires_at| Duration::from_secs(expires_at).saturating_sub(unix_time()));

        Self {
            principal,
            // A time that the clock cannot represent never comes.
            expires_at: remaining.and_then(|remaining| Instant::now().checked_add(remaining)),
        }
    }

    /// Returns true if they have expired at `now`.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|expiry| now >= expiry)
    }

    /// Returns true if the client has `right` in `room`.
    pub fn may(&self, right: Right, room: &RoomName) -> bool {
        self.principal.may(right, room)
    }

    /// Returns true if the client may read `rooms`: the room, or every room that the pattern matches.
    pub fn may_read(&self, rooms: &RoomSelector) -> bool {
        self.principal.may_read(rooms)
    }

    /// Returns the principal.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

impl ClientAccess for CurrentAccess {
    fn is_expired(&self) -> bool {
        self.permissions.is_expired(self.now)
    }

    fn may_read(&self, room: &RoomName) -> bool {
        self.permissions.may(Right::Read, room)
    }

    fn may_write(&self, room: &RoomName) -> bool {
        self.permissions.may(Right::Write, room)
    }

    fn only_room(&self) -> Option<&RoomName> {
        self.only_room.as_ref().map(|room| room.name())
    }

    fn own_limits(&self, room: Option<&RoomName>) -> Option<MessageLimits> {
        own_limits(self.permissions.principal(), room)
    }

    fn rules(&self, room: &RoomName) -> &RoomRules {
        match &self.only_room {
            Some(only) if only.name() == room => only.rules(),
            _ => self.rules.of(room),
        }
    }
}

/// Returns the limits that the token of `principal` sets for its messages in `room`, or for frames that name no room, in
/// place of the settings and rules.
pub fn own_limits(principal: &Principal, room: Option<&RoomName>) -> Option<MessageLimits> {
    let is_admin = match room {
        Some(room) => principal.may(Right::Admin, room),
        None => principal.check_admin().is_ok(),
    };
    if is_admin {
        return Some(MessageLimits::Lifted);
    }
    principal.rate().map(MessageLimits::Token)
}

/// Returns the time since 1970 UTC by the wall clock, by which tokens expire.
pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Returns the new permissions of the client `id` after its new token was `verified`, and the answer; `None` with an error
/// frame if the client keeps the permissions that it has.
pub(super) fn renewal(
    verified: Result<Arc<Principal>, TokenError>,
    id: &UserId,
) -> (Option<Permissions>, Push) {
    let verified = verified.map_err(AuthError::from).and_then(|principal| {
        // Without keys, clients choose their own ids.
        principal.user_id(Some(id.clone()))?;
        Ok(principal)
    });

    match verified {
        Ok(principal) => {
            let expires_at = principal
                .expires_at()
                .map(|seconds| seconds.saturating_mul(1000));
            let answer = Push::Token { expires_at };
            (Some(Permissions::new(principal)), answer)
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

    fn permissions(expires_at: Option<Instant>) -> Permissions {
        Permissions {
            principal: Arc::new(Principal::open()),
            expires_at,
        }
    }

    #[test]
    fn permissions_are_valid_until_their_end_and_not_at_it() {
        let ends = Instant::now();
        let permissions = permissions(Some(ends));

        assert!(!permissions.is_expired(ends - Duration::from_millis(1)));
        assert!(permissions.is_expired(ends));
    }

    #[test]
    fn permissions_without_an_end_never_expire() {
        assert!(!permissions(None).is_expired(Instant::now()));
    }
}

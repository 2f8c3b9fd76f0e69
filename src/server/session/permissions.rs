//! The permissions that a client's token grants for one connection, and their expiry.

use std::time::Instant;

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

/// The rights of a client at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAccess {
    /// No rights: the token has expired.
    Expired,
    /// The right to read.
    Read,
    /// The rights to read and to publish.
    Write,
}

impl Permissions {
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

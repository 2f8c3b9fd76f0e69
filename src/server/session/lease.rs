//! What a connection may do by its token, and until when.

use std::time::Instant;

/// See the [module docs](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Set if the client may publish.
    pub may_write: bool,
    /// Set if the client administers the room: then it may create it however many its address has created.
    pub is_admin: bool,
    /// The end of the lease, unless it is renewed before; never in open mode. By the system clock: a token expires at
    /// its time, even if this process was paused.
    pub ends: Option<Instant>,
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
    /// Returns what the client may do at `now`.
    pub fn access(&self, now: Instant) -> ClientAccess {
        if self.ends.is_some_and(|ends| now >= ends) {
            ClientAccess::Expired
        } else if self.may_write {
            ClientAccess::Write
        } else {
            ClientAccess::Read
        }
    }
}

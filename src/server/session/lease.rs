//! What a connection may do by its token, and until when.

use std::time::Instant;

/// See the [module docs](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whether the client may publish.
    pub may_write: bool,
    /// When it ends, unless it is renewed before; never in open mode. By the system's clock: a token is over when its
    /// time is over, whatever happened to this process.
    pub ends: Option<Instant>,
}

/// The rights of a client at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// None: its token has expired.
    Expired,
    /// To read.
    Read,
    /// To read and to publish.
    Write,
}

impl Lease {
    /// Returns what the client may do at `now`.
    pub fn access(&self, now: Instant) -> Access {
        if self.ends.is_some_and(|ends| now >= ends) {
            Access::Expired
        } else if self.may_write {
            Access::Write
        } else {
            Access::Read
        }
    }
}

//! What a connection may do by its token, and until when.

use crate::server::room::Moment;

/// See the [module docs](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whether it may say anything.
    pub may_write: bool,
    /// When it ends, unless it is renewed before; never in open mode.
    pub ends: Option<Moment>,
}

impl Lease {
    /// Whether it has ended by `now`.
    pub fn is_over(&self, now: Moment) -> bool {
        self.ends.is_some_and(|ends| now >= ends)
    }
}

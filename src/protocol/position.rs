//! Where a reader stands in a room's log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A publication's number in its room: strictly increasing, never reused, not necessarily dense. 0 is "before
/// the first one".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which life of a log an [`Offset`] belongs to; offsets of two epochs do not compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(Box<str>);

impl Epoch {
    /// The epoch called by `number`: eight hexadecimal digits.
    pub fn new(number: u32) -> Self {
        Self(format!("{number:08x}").into())
    }

    /// The epoch as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Epoch {
    /// The epoch that a position names; only the server knows whether there is such a one.
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

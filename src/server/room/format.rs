//! The encoding of a connection's messages: a dialect, with or without compression.

use crate::server::room::Dialect;

/// The encoding of messages for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    dialect: Dialect,
    is_deflated: bool,
}

impl Format {
    /// Number of formats.
    pub const COUNT: usize = 2 * Dialect::COUNT;

    /// Returns the uncompressed format of `dialect`.
    pub const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            is_deflated: false,
        }
    }

    /// Returns the format of `dialect` that compresses each message on its own (RFC 7692) where that makes it
    /// smaller. Only WebSockets are compressed; for a stream, this is the uncompressed format.
    pub const fn deflated(dialect: Dialect) -> Self {
        Self {
            dialect,
            is_deflated: !dialect.is_stream(),
        }
    }

    /// Returns the dialect.
    pub const fn dialect(self) -> Dialect {
        self.dialect
    }

    /// Returns true if messages are compressed.
    pub const fn is_deflated(self) -> bool {
        self.is_deflated
    }

    /// Returns the index of this format, below [`Format::COUNT`].
    pub const fn index(self) -> usize {
        self.dialect as usize * 2 + self.is_deflated as usize
    }
}

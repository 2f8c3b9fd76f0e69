//! How the bytes of the log look to a reader: what it speaks, and whether messages come compressed.

use crate::server::room::Dialect;

/// See the [module docs](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    dialect: Dialect,
    is_deflated: bool,
}

impl Format {
    /// How many there are.
    pub const COUNT: usize = 2 * Dialect::COUNT;

    /// The messages as they are.
    pub const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            is_deflated: false,
        }
    }

    /// Each message compressed on its own (RFC 7692), where that makes it smaller. Only WebSockets have that.
    pub const fn deflated(dialect: Dialect) -> Self {
        Self {
            dialect,
            is_deflated: !dialect.is_stream(),
        }
    }

    /// What is spoken.
    pub const fn dialect(self) -> Dialect {
        self.dialect
    }

    /// Whether messages come compressed.
    pub const fn is_deflated(self) -> bool {
        self.is_deflated
    }

    /// Its place among all of them, below [`Format::COUNT`].
    pub const fn index(self) -> usize {
        self.dialect as usize * 2 + self.is_deflated as usize
    }
}

//! The ways in which a client can violate the protocol, and their close codes.

use std::fmt;

use crate::protocol::CloseCode;

/// A violation of RFC 6455, RFC 7692 or a limit of the server by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// RSV1, RSV2 or RSV3 is set without a negotiated extension that defines it (section 5.2).
    ReservedBits,
    /// Opcode 3 to 7 or 11 to 15 (section 5.2).
    ReservedOpcode,
    /// A frame without a mask (section 5.1).
    Unmasked,
    /// A fragmented control frame (section 5.5).
    FragmentedControl,
    /// A control frame with a payload of more than 125 bytes (section 5.5).
    LongControl,
    /// A length that is not in its shortest form, or has its highest bit set (section 5.2).
    WrongLength,
    /// A continuation frame outside of a message (section 5.4).
    StrayContinuation,
    /// A new message before the end of a fragmented one (section 5.4).
    InterleavedMessage,
    /// A Close payload of one byte, or a code that must not be sent (section 7.4).
    BadClose,
    /// Text or a close reason that is not UTF-8 (section 8.1).
    NotUtf8,
    /// A message longer than `--max-message`.
    TooBig,
    /// A compressed message that cannot be inflated (RFC 7692 section 7.2.2).
    BadDeflate,
    /// More empty fragments in one message than any ordinary client sends.
    EmptyFragments,
}

impl Violation {
    /// Returns the code with which the connection is closed.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::NotUtf8 => CloseCode::NotUtf8,
            Self::TooBig => CloseCode::TooBig,
            _ => CloseCode::Protocol,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBits => "reserved bit is set",
            Self::ReservedOpcode => "reserved opcode",
            Self::Unmasked => "frame without a mask",
            Self::FragmentedControl => "fragmented control frame",
            Self::LongControl => "control frame longer than 125 bytes",
            Self::WrongLength => "length is not in its shortest form",
            Self::StrayContinuation => "continuation frame outside of a message",
            Self::InterleavedMessage => "new message before the end of a fragmented one",
            Self::BadClose => "malformed Close frame",
            Self::NotUtf8 => "text is not UTF-8",
            Self::TooBig => "message is larger than --max-message",
            Self::BadDeflate => "compressed message cannot be inflated",
            Self::EmptyFragments => "too many empty fragments",
        })
    }
}

impl std::error::Error for Violation {}

//! Every way in which a client can break the protocol, and the close code that answers it.

use std::fmt;

use crate::protocol::CloseCode;

/// What a client did that RFC 6455 or our limits forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// RSV1, RSV2 or RSV3 set where no extension that was agreed upon gives it a meaning (section 5.2).
    ReservedBits,
    /// Opcode 3 to 7 or 11 to 15 (section 5.2).
    ReservedOpcode,
    /// A frame without a mask (section 5.1).
    Unmasked,
    /// A control frame in pieces (section 5.5).
    FragmentedControl,
    /// A control frame with more than 125 bytes (section 5.5).
    LongControl,
    /// A length not written in the fewest bytes, or with its highest bit set (section 5.2).
    WrongLength,
    /// A continuation of nothing (section 5.4).
    StrayContinuation,
    /// A new message inside an unfinished one (section 5.4).
    InterleavedMessage,
    /// A Close payload of one byte, or with a code that must not be sent (section 7.4).
    BadClose,
    /// Text, or a close reason, that is not UTF-8 (section 8.1).
    NotUtf8,
    /// A message longer than `--max-message`.
    TooBig,
    /// A compressed message that cannot be inflated (RFC 7692 section 7.2.2).
    BadDeflate,
    /// More empty pieces in one message than any honest client sends.
    EmptyFragments,
}

impl Violation {
    /// The code that the connection is closed with.
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
            Self::ReservedBits => "a reserved bit is set",
            Self::ReservedOpcode => "a reserved opcode",
            Self::Unmasked => "a frame without a mask",
            Self::FragmentedControl => "a control frame in pieces",
            Self::LongControl => "a control frame longer than 125 bytes",
            Self::WrongLength => "a length not in its shortest form",
            Self::StrayContinuation => "a continuation of nothing",
            Self::InterleavedMessage => "a new message inside an unfinished one",
            Self::BadClose => "a malformed Close frame",
            Self::NotUtf8 => "text that is not UTF-8",
            Self::TooBig => "a message larger than allowed",
            Self::BadDeflate => "a compressed message that cannot be inflated",
            Self::EmptyFragments => "too many empty fragments",
        })
    }
}

impl std::error::Error for Violation {}

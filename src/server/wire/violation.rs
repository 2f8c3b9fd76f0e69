//! The ways in which a client can violate the protocol, and their close codes.

use crate::protocol::CloseCode;

/// A violation of RFC 6455, RFC 7692 or a limit of the server by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// RSV1, RSV2 or RSV3 is set without a negotiated extension that defines it (section 5.2).
    #[error("reserved bit is set")]
    ReservedBits,
    /// Opcode 3 to 7 or 11 to 15 (section 5.2).
    #[error("reserved opcode")]
    ReservedOpcode,
    /// A frame without a mask (section 5.1).
    #[error("frame without a mask")]
    Unmasked,
    /// A fragmented control frame (section 5.5).
    #[error("fragmented control frame")]
    FragmentedControl,
    /// A control frame with a payload of more than 125 bytes (section 5.5).
    #[error("control frame longer than 125 bytes")]
    LongControl,
    /// A length that is not in its shortest form, or has its highest bit set (section 5.2).
    #[error("length is not in its shortest form")]
    WrongLength,
    /// A continuation frame outside of a message (section 5.4).
    #[error("continuation frame outside of a message")]
    StrayContinuation,
    /// A new message before the end of a fragmented one (section 5.4).
    #[error("new message before the end of a fragmented one")]
    InterleavedMessage,
    /// A Close payload of one byte, or a code that must not be sent (section 7.4).
    #[error("malformed Close frame")]
    BadClose,
    /// Text or a close reason that is not UTF-8 (section 8.1).
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A message longer than `--max-message`.
    #[error("message is larger than --max-message")]
    TooBig,
    /// A compressed message that cannot be inflated (RFC 7692 section 7.2.2).
    #[error("compressed message cannot be inflated")]
    BadDeflate,
    /// More empty fragments in one message than any ordinary client sends.
    #[error("too many empty fragments")]
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

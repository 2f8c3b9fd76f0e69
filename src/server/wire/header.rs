//! Frame headers (RFC 6455 section 5.2): encoded for the server, and parsed from clients.

use bytes::Bytes;

use crate::protocol::CloseCode;
use crate::server::wire::{Violation, deflate::deflate};

/// Maximum length of a header without a mask (section 5.2).
const MAX_HEADER_BYTES: usize = 10;
/// Maximum payload of a control frame (section 5.5).
const MAX_CONTROL_BYTES: usize = 125;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
/// The reserved bit that marks a compressed message, on its first frame (RFC 7692 section 6).
const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;

/// The type of a frame (section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation,
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
    /// The closing handshake.
    Close,
    /// A request for a pong.
    Ping,
    /// The response to a ping, with its payload.
    Pong,
}

impl Opcode {
    /// Returns true for control frames, which may arrive between the fragments of a message.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    const fn from_bits(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return Err(Violation::ReservedOpcode),
        })
    }
}

/// A client's frame header. It is valid by itself, but the previous frames may forbid it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// True for the last fragment of a message.
    pub(super) fin: bool,
    /// True for the first fragment of a compressed message.
    pub(super) is_compressed: bool,
    /// Type of the frame.
    pub(super) opcode: Opcode,
    /// Masking key of the payload.
    pub(super) mask: [u8; 4],
    /// Payload length in bytes, as declared.
    pub(super) length: u64,
    /// Length of the header itself, 6 to 14 bytes.
    pub(super) size: usize,
}

impl Header {
    /// Parses the header at the start of `bytes`. `None` if it has not arrived completely. `may_compress` is true if
    /// compression was negotiated.
    ///
    /// # Errors
    /// The first violation, as soon as the bytes show it.
    pub(super) fn parse(bytes: &[u8], may_compress: bool) -> Result<Option<Self>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };

        let is_compressed = may_compress && first & COMPRESSED != 0;
        if first & RESERVED_BITS & !(if is_compressed { COMPRESSED } else { 0 }) != 0 {
            return Err(Violation::ReservedBits);
        }

        let fin = first & FIN != 0;
        let opcode = Opcode::from_bits(first & 0x0F)?;
        if is_compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(Violation::ReservedBits);
        }
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }

        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };

        if second & MASKED == 0 {
            return Err(Violation::Unmasked);
        }

        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL_BYTES {
            return Err(Violation::LongControl);
        }

        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_start = 2 + length_bytes;
        let Some(extended) = bytes.get(2..mask_start) else {
            return Ok(None);
        };

        let length = match short {
            126 | 127 => extended
                .iter()
                .fold(0, |length, byte| (length << 8) | u64::from(*byte)),
            _ => u64::from(short),
        };

        let is_shortest = match short {
            126 => length > 125,
            127 => length > u64::from(u16::MAX) && length >> 63 == 0,
            _ => true,
        };
        if !is_shortest {
            return Err(Violation::WrongLength);
        }

        let mask = bytes.get(mask_start..).and_then(<[u8]>::first_chunk);
        Ok(mask.map(|mask| Self {
            fin,
            is_compressed,
            opcode,
            mask: *mask,
            length,
            size: mask_start + mask.len(),
        }))
    }
}

/// A whole, unmasked ping without a payload.
pub const PING: &[u8] = &[FIN | Opcode::Ping.bits(), 0];

/// Appends one whole, unmasked frame to `out`.
pub fn encode_into(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FIN | opcode.bits());
    match payload.len() {
        short @ 0..=125 => out.push(short as u8),
        medium if medium <= usize::from(u16::MAX) => {
            out.push(126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }

    out.extend_from_slice(payload);
}

/// Returns one whole, unmasked frame.
pub fn encode(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(MAX_HEADER_BYTES + payload.len());
    encode_into(opcode, payload, &mut out);
    out.into()
}

/// Returns the Close frame with `code` and its reason (section 5.5.1).
pub fn close_frame(code: CloseCode) -> Bytes {
    let mut payload = code.number().to_be_bytes().to_vec();
    payload.extend_from_slice(code.reason().as_bytes());
    encode(Opcode::Close, &payload)
}

/// Returns the Close frame that responds to a client's own, with the same code.
pub fn close_echo(code: Option<u16>) -> Bytes {
    match code {
        Some(code) => encode(Opcode::Close, &code.to_be_bytes()),
        None => encode(Opcode::Close, &[]),
    }
}

/// Returns one whole, unmasked data frame with its message compressed, unless that does not make it smaller.
pub fn encode_deflated(opcode: Opcode, payload: &[u8]) -> Bytes {
    let Some(payload) = deflate(payload) else {
        return encode(opcode, payload);
    };

    let mut out = Vec::with_capacity(MAX_HEADER_BYTES + payload.len());
    encode_into(opcode, &payload, &mut out);
    out[0] |= COMPRESSED;
    out.into()
}

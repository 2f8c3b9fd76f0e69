//! Frame headers (RFC 6455 section 5.2): written for servers, read from clients.

use bytes::Bytes;

use crate::protocol::CloseCode;
use crate::server::wire::{Violation, deflate::deflate};

/// Longest header that is written (section 5.2).
const LONGEST_HEADER: usize = 10;
/// Longest payload of a control frame (section 5.5).
const MAX_CONTROL_BYTES: usize = 125;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
/// The reserved bit that marks a compressed message, on its first frame (RFC 7692 section 6).
const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;

/// What a frame is (section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next piece of a fragmented message.
    Continuation,
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
    /// The end of the connection.
    Close,
    /// "Are you there?"
    Ping,
    /// The answer to a ping, with its payload.
    Pong,
}

impl Opcode {
    /// Control frames may stand between the pieces of a message.
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

/// A client's frame header, already found lawful on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Last piece of its message.
    pub(super) fin: bool,
    /// First piece of a compressed message.
    pub(super) is_compressed: bool,
    /// What the frame is.
    pub(super) opcode: Opcode,
    /// Key that the payload is masked with.
    pub(super) mask: [u8; 4],
    /// Payload length in bytes, as declared.
    pub(super) length: u64,
    /// How many bytes the header itself took, 6 to 14.
    pub(super) size: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` if it is not all there yet. `may_compress`: that was agreed
    /// upon.
    ///
    /// # Errors
    /// As soon as the bytes at hand break the RFC, complete or not.
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
        let (length, mask_at) = match short {
            126 => match bytes.get(2..4) {
                Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
                _ => return Ok(None),
            },
            127 => match bytes
                .get(2..10)
                .and_then(|long| <[u8; 8]>::try_from(long).ok())
            {
                Some(long) => (u64::from_be_bytes(long), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        let minimal = match short {
            126 => length > 125,
            127 => length > u64::from(u16::MAX) && length >> 63 == 0,
            _ => true,
        };
        if !minimal {
            return Err(Violation::WrongLength);
        }
        match bytes
            .get(mask_at..mask_at + 4)
            .and_then(|mask| <[u8; 4]>::try_from(mask).ok())
        {
            Some(mask) => Ok(Some(Self {
                fin,
                is_compressed,
                opcode,
                mask,
                length,
                size: mask_at + 4,
            })),
            None => Ok(None),
        }
    }
}

/// One whole, unmasked frame, appended to `out`.
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

/// One whole, unmasked frame.
pub fn encode(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(LONGEST_HEADER + payload.len());
    encode_into(opcode, payload, &mut out);
    out.into()
}

/// The Close frame that says `code` and its reason (section 5.5.1).
pub fn close_frame(code: CloseCode) -> Bytes {
    let mut payload = code.number().to_be_bytes().to_vec();
    payload.extend_from_slice(code.reason().as_bytes());
    encode(Opcode::Close, &payload)
}

/// The Close frame that answers a client's own, with the same code.
pub fn close_echo(code: Option<u16>) -> Bytes {
    match code {
        Some(code) => encode(Opcode::Close, &code.to_be_bytes()),
        None => encode(Opcode::Close, &[]),
    }
}

/// One whole, unmasked frame of text or bytes with its message compressed, if that makes it smaller.
pub fn deflated(frame: &Bytes) -> Bytes {
    let Some(payload) = deflate(payload(frame)) else {
        return frame.clone();
    };
    let opcode = if frame.first() == Some(&(FIN | Opcode::Text.bits())) {
        Opcode::Text
    } else {
        Opcode::Binary
    };
    let mut out = Vec::with_capacity(LONGEST_HEADER + payload.len());
    encode_into(opcode, &payload, &mut out);
    out[0] |= COMPRESSED;
    out.into()
}

/// The payload of one whole, unmasked frame, such as [`encode`] makes.
pub fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    };
    frame.get(header..).unwrap_or_default()
}

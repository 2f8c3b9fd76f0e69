//! The decoder of a client's frames, which may arrive in reads of any size.
//!
//! Payloads are unmasked in place, and a message in one uncompressed frame is passed on without a copy. Only partial
//! frames and messages are buffered.

use std::mem;
use std::ops::ControlFlow;

use crate::server::wire::header::{Header, Opcode};
use crate::server::wire::message::{MessageBuffer, max_wire_bytes};
use crate::server::wire::{Incoming, Violation};

/// A decoder of one client's bytes. Between messages, it takes two words of memory.
#[derive(Debug)]
pub struct Decoder {
    limits: DecoderLimits,
    partial: Option<Box<PartialMessage>>,
    has_completed: bool,
}

/// The limits and the negotiated extension of a connection.
#[derive(Clone, Copy, Debug)]
struct DecoderLimits {
    max_message: usize,
    /// True if compression was negotiated.
    may_compress: bool,
}

/// The buffered part of a message or frame that has not arrived completely.
#[derive(Debug, Default)]
struct PartialMessage {
    /// The start of a partial header.
    head: Vec<u8>,
    /// The frame whose payload is arriving.
    frame: Option<PartialFrame>,
    /// The buffered payload of a partial control frame.
    control: Vec<u8>,
    /// The data message that is arriving, between its fragments or within one.
    message: Option<MessageBuffer>,
}

/// A frame whose header has arrived.
#[derive(Clone, Copy, Debug)]
struct PartialFrame {
    header: Header,
    /// Number of payload bytes that have been decoded.
    decoded: u64,
}

impl Decoder {
    /// Creates the decoder of a new connection. `max_message` is the maximum payload of one message in bytes, after
    /// inflation if it is compressed. `may_compress` is true if compression was negotiated.
    pub const fn new(max_message: usize, may_compress: bool) -> Self {
        Self {
            limits: DecoderLimits {
                max_message,
                may_compress,
            },
            partial: None,
            has_completed: false,
        }
    }

    /// Returns true if a message or frame has arrived in part.
    pub const fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Returns true if the latest call of [`Decoder::decode`] completed a message, or a control frame outside of one.
    /// In that case, a message that is now partial began after it.
    pub const fn has_completed(&self) -> bool {
        self.has_completed
    }

    /// Returns the memory that a partial message or frame takes, in bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.held())
    }

    /// Decodes `input`, which is unmasked in place, and calls `handle` with each complete message.
    ///
    /// Returns the number of decoded bytes: all of them, unless `handle` returns [`ControlFlow::Break`]. The next
    /// call must then begin with the rest.
    ///
    /// # Errors
    /// The first violation. The decoder must not be used after it.
    pub fn decode(
        &mut self,
        mut input: &mut [u8],
        mut handle: impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<usize, Violation> {
        let length = input.len();
        let mut state = self
            .partial
            .take()
            .map(|partial| *partial)
            .unwrap_or_default();
        self.has_completed = false;

        while let Some(frame) = state.next_frame(&mut input, self.limits)? {
            let PartialFrame { header, decoded } = frame;
            // Fits in `usize`: the minimum is at most the length of `input`.
            let available = (header.length - decoded).min(input.len() as u64) as usize;
            let (payload, rest) = mem::take(&mut input).split_at_mut(available);
            input = rest;
            unmask(payload, header.mask, decoded);

            let decoded = decoded + available as u64;
            let is_complete = decoded == header.length;
            let flow = if header.opcode.is_control() {
                state.on_control_payload(header.opcode, payload, is_complete, &mut handle)?
            } else {
                state.on_data_payload(&header, payload, is_complete, self.limits, &mut handle)?
            };

            self.has_completed |= is_complete && state.message.is_none();
            if !is_complete {
                state.frame = Some(PartialFrame { header, decoded });
            }
            if flow.is_break() || !is_complete {
                break;
            }
        }

        if !state.is_empty() {
            self.partial = Some(Box::new(state));
        }
        Ok(length - input.len())
    }
}

impl PartialMessage {
    fn held(&self) -> usize {
        let message = self.message.as_ref().map_or(0, MessageBuffer::held);
        size_of::<Self>() + self.head.capacity() + self.control.capacity() + message
    }

    const fn is_empty(&self) -> bool {
        self.head.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    /// Returns the frame whose payload comes next in `input`; `None` if its header has not arrived completely.
    fn next_frame(
        &mut self,
        input: &mut &mut [u8],
        limits: DecoderLimits,
    ) -> Result<Option<PartialFrame>, Violation> {
        if let Some(frame) = self.frame.take() {
            return Ok(Some(frame));
        }

        let header = if self.head.is_empty() {
            let Some(header) = Header::parse(input, limits.may_compress)? else {
                let part: &mut [u8] = mem::take(input);
                self.head.extend_from_slice(part);
                return Ok(None);
            };
            advance(input, header.size);
            header
        } else {
            loop {
                let Some(&byte) = input.first() else {
                    return Ok(None);
                };
                advance(input, 1);
                self.head.push(byte);
                if let Some(header) = Header::parse(&self.head, limits.may_compress)? {
                    self.head = Vec::new();
                    break header;
                }
            }
        };

        self.check_header(&header, limits.max_message)?;
        Ok(Some(PartialFrame { header, decoded: 0 }))
    }

    /// Checks that `header` may follow the previous frames.
    fn check_header(&mut self, header: &Header, max_message: usize) -> Result<(), Violation> {
        let (buffered, is_compressed) = match (&mut self.message, header.opcode) {
            (_, opcode) if opcode.is_control() => return Ok(()),
            (None, Opcode::Continuation) => return Err(Violation::StrayContinuation),
            (None, _) => (0, header.is_compressed),
            (Some(message), Opcode::Continuation) => {
                message.check_length(header.length)?;
                (message.len(), message.is_compressed())
            }
            (Some(_), _) => return Err(Violation::InterleavedMessage),
        };

        let remaining = max_wire_bytes(max_message, is_compressed).saturating_sub(buffered);
        if header.length > remaining as u64 {
            return Err(Violation::TooBig);
        }
        Ok(())
    }

    /// Handles the next bytes of a control frame. `is_complete` is true for the last of them.
    fn on_control_payload(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        is_complete: bool,
        handle: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        if !is_complete {
            self.control.extend_from_slice(payload);
            return Ok(ControlFlow::Continue(()));
        }

        let buffered = mem::take(&mut self.control);
        let concatenated;
        let payload = if buffered.is_empty() {
            payload
        } else {
            concatenated = [&buffered, payload].concat();
            &concatenated
        };

        Ok(match opcode {
            Opcode::Ping => handle(Incoming::Ping(payload)),
            Opcode::Pong => handle(Incoming::Pong),
            _ => {
                let code = parse_close(payload)?;
                // Nothing may follow a Close frame, even if the handler would continue.
                let _ = handle(Incoming::Close(code));
                ControlFlow::Break(())
            }
        })
    }

    /// Handles the next bytes of a data frame. `is_complete` is true for the last of them.
    fn on_data_payload(
        &mut self,
        header: &Header,
        payload: &[u8],
        is_complete: bool,
        limits: DecoderLimits,
        handle: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let is_last = is_complete && header.fin;
        let is_text = header.opcode == Opcode::Text;

        // A message in one frame and one read needs no buffer.
        if is_last && self.message.is_none() && !header.is_compressed {
            return Ok(handle(message(payload, is_text)?));
        }

        let buffer = self
            .message
            .get_or_insert_with(|| MessageBuffer::new(is_text, header.is_compressed));
        buffer.append(payload, is_last)?;
        let Some(buffer) = self.message.take_if(|_| is_last) else {
            return Ok(ControlFlow::Continue(()));
        };

        let is_text = buffer.is_text();
        let payload = buffer.finish(limits.max_message)?;
        Ok(handle(message(&payload, is_text)?))
    }
}

/// Returns the message with `payload`, which must be UTF-8 if it is text.
fn message(payload: &[u8], is_text: bool) -> Result<Incoming<'_>, Violation> {
    if is_text {
        let text = str::from_utf8(payload).map_err(|_| Violation::NotUtf8)?;
        Ok(Incoming::Text(text))
    } else {
        Ok(Incoming::Binary(payload))
    }
}

/// Removes the first `by` bytes of `input`.
fn advance(input: &mut &mut [u8], by: usize) {
    *input = &mut mem::take(input)[by..];
}

/// Unmasks `payload`, which begins `offset` bytes after the start of its frame's payload (section 5.3).
fn unmask(payload: &mut [u8], mut mask: [u8; 4], offset: u64) {
    mask.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = mask;
    let wide_mask = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);

    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide_mask).to_ne_bytes());
    }

    let rest = words.into_remainder().iter_mut();
    for (byte, key) in rest.zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Parses the code of a Close payload (sections 5.5.1 and 7.4).
fn parse_close(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::BadClose),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };

    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::BadClose);
    }
    std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    Ok(Some(code))
}

#[cfg(test)]
mod tests;

//! A client's bytes to messages, in whatever pieces they arrive.

use std::mem;
use std::ops::ControlFlow;

use crate::server::wire::header::{Header, Opcode};
use crate::server::wire::message::{MessageBuffer, max_wire_bytes};
use crate::server::wire::{Incoming, Violation};

/// Turns one client's bytes into messages. Cheap to keep: two words between messages.
#[derive(Debug)]
pub struct Decoder {
    terms: DecoderLimits,
    unfinished: Option<Box<PartialMessage>>,
    has_completed: bool,
}

/// What a client is held to.
#[derive(Clone, Copy, Debug)]
struct DecoderLimits {
    max_message: usize,
    /// Whether compressed messages were agreed upon.
    may_compress: bool,
}

/// What has arrived of a message or frame that is not all there.
#[derive(Debug, Default)]
struct PartialMessage {
    /// The start of a header that is cut short.
    head: Vec<u8>,
    /// The frame whose payload is arriving.
    frame: Option<PartialFrame>,
    /// The payload, so far, of the control frame that is arriving.
    control: Vec<u8>,
    /// The data message that is arriving.
    message: Option<MessageBuffer>,
}

#[derive(Clone, Copy, Debug)]
struct PartialFrame {
    header: Header,
    /// Payload bytes that have already arrived.
    taken: u64,
}

impl Decoder {
    /// A decoder at the start of a connection; `max_message` bounds one message's payload, in bytes, also of one
    /// that comes compressed, where that was agreed upon.
    pub const fn new(max_message: usize, may_compress: bool) -> Self {
        Self {
            terms: DecoderLimits {
                max_message,
                may_compress,
            },
            unfinished: None,
            has_completed: false,
        }
    }

    /// Whether a message or frame has begun and is not all there.
    pub const fn is_unfinished(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Returns whether the last call of [`Decoder::decode`] completed a message, or a control frame outside of one: what is
    /// unfinished now began after that.
    pub const fn has_completed(&self) -> bool {
        self.has_completed
    }

    /// Bytes that it keeps of a message or frame that is not all there.
    pub fn held(&self) -> usize {
        self.unfinished
            .as_ref()
            .map_or(0, |unfinished| unfinished.held())
    }

    /// Decodes `input` (unmasking it in place), hands each whole message to `each` until that breaks off, and
    /// returns how many bytes were decoded: all of them, unless `each` broke off. The rest then comes first in the
    /// next call.
    ///
    /// # Errors
    /// The first violation; the decoder must not be used after it.
    pub fn decode(
        &mut self,
        mut input: &mut [u8],
        mut each: impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<usize, Violation> {
        let length = input.len();
        let mut state = self
            .unfinished
            .take()
            .map(|unfinished| *unfinished)
            .unwrap_or_default();
        self.has_completed = false;
        while let Some(PartialFrame { header, taken }) = state.next_frame(&mut input, self.terms)? {
            // Fits: it is at most the length of a slice.
            let available = (header.length - taken).min(input.len() as u64) as usize;
            let (payload, rest) = mem::take(&mut input).split_at_mut(available);
            input = rest;
            unmask(payload, header.mask, taken);
            let taken = taken + available as u64;
            let is_whole = taken == header.length;
            let flow = if header.opcode.is_control() {
                state.on_control_payload(header.opcode, payload, is_whole, &mut each)?
            } else {
                state.on_data_payload(&header, payload, is_whole, self.terms, &mut each)?
            };
            self.has_completed |= is_whole && state.message.is_none();
            if !is_whole {
                state.frame = Some(PartialFrame { header, taken });
            }
            if flow.is_break() || !is_whole {
                break;
            }
        }
        if !state.is_idle() {
            self.unfinished = Some(Box::new(state));
        }
        Ok(length - input.len())
    }
}

impl PartialMessage {
    fn held(&self) -> usize {
        let message = self.message.as_ref().map_or(0, MessageBuffer::held);
        size_of::<Self>() + self.head.capacity() + self.control.capacity() + message
    }

    const fn is_idle(&self) -> bool {
        self.head.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    /// The frame whose payload comes next in `input`, or `None` if its header is not all there.
    fn next_frame(
        &mut self,
        input: &mut &mut [u8],
        terms: DecoderLimits,
    ) -> Result<Option<PartialFrame>, Violation> {
        if let Some(frame) = self.frame.take() {
            return Ok(Some(frame));
        }
        let header = if self.head.is_empty() {
            let Some(header) = Header::parse(input, terms.may_compress)? else {
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
                if let Some(header) = Header::parse(&self.head, terms.may_compress)? {
                    self.head = Vec::new();
                    break header;
                }
            }
        };
        self.check_header(&header, terms.max_message)?;
        Ok(Some(PartialFrame { header, taken: 0 }))
    }

    /// Whether `header` may come now.
    fn check_header(&mut self, header: &Header, max_message: usize) -> Result<(), Violation> {
        let (so_far, is_compressed) = match (&mut self.message, header.opcode) {
            (_, opcode) if opcode.is_control() => return Ok(()),
            (None, Opcode::Continuation) => return Err(Violation::StrayContinuation),
            (None, _) => (0, header.is_compressed),
            (Some(message), Opcode::Continuation) => {
                message.check_length(header.length)?;
                (message.len(), message.is_compressed())
            }
            (Some(_), _) => return Err(Violation::InterleavedMessage),
        };
        if header.length > max_wire_bytes(max_message, is_compressed).saturating_sub(so_far) as u64
        {
            return Err(Violation::TooBig);
        }
        Ok(())
    }

    fn on_control_payload(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        is_whole: bool,
        each: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        if !is_whole {
            self.control.extend_from_slice(payload);
            return Ok(ControlFlow::Continue(()));
        }
        let earlier = mem::take(&mut self.control);
        let joined;
        let payload = if earlier.is_empty() {
            payload
        } else {
            joined = [&earlier, payload].concat();
            &joined
        };
        Ok(match opcode {
            Opcode::Ping => each(Incoming::Ping(payload)),
            Opcode::Pong => each(Incoming::Pong),
            _ => {
                let code = parse_close(payload)?;
                // Nothing follows a Close, whatever the result (RFC 6455 section 5.5.1).
                let _ = each(Incoming::Close(code));
                ControlFlow::Break(())
            }
        })
    }

    fn on_data_payload(
        &mut self,
        header: &Header,
        payload: &[u8],
        is_whole: bool,
        terms: DecoderLimits,
        each: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let is_last = is_whole && header.fin;
        if is_last && self.message.is_none() && !header.is_compressed {
            return Ok(match header.opcode {
                Opcode::Text => each(Incoming::Text(
                    std::str::from_utf8(payload).map_err(|_| Violation::NotUtf8)?,
                )),
                _ => each(Incoming::Binary(payload)),
            });
        }
        let is_text = header.opcode == Opcode::Text;
        let message = self
            .message
            .get_or_insert_with(|| MessageBuffer::new(is_text, header.is_compressed));
        message.append(payload, is_last)?;
        let Some(message) = self.message.take_if(|_| is_last) else {
            return Ok(ControlFlow::Continue(()));
        };
        let is_text = message.is_text();
        let bytes = message.finish(terms.max_message)?;
        Ok(if is_text {
            each(Incoming::Text(
                std::str::from_utf8(&bytes).map_err(|_| Violation::NotUtf8)?,
            ))
        } else {
            each(Incoming::Binary(&bytes))
        })
    }
}

fn advance(input: &mut &mut [u8], by: usize) {
    *input = &mut mem::take(input)[by..];
}

/// XORs `payload`, which starts `taken` bytes into its frame, with the frame's mask (section 5.3).
fn unmask(payload: &mut [u8], mut mask: [u8; 4], taken: u64) {
    mask.rotate_left((taken % 4) as usize);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, key) in words
        .into_remainder()
        .iter_mut()
        .zip(mask.into_iter().cycle())
    {
        *byte ^= key;
    }
}

/// The code in a Close payload (sections 5.5.1 and 7.4).
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

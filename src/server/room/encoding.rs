//! The protocols in which a connection reads a room, and the encoding of messages and other pushes in each.
//!
//! Two dialects run over a WebSocket and two are the body of an HTTP response. All but the plain one carry the
//! same JSON objects; only the framing around an object differs. A format is a dialect with or without compression.

use bytes::{Bytes, BytesMut};

use crate::protocol::{Position, Push, SUBPROTOCOL};
use crate::server::memory::Memory;
use crate::server::room::{Frame, Payload};
use crate::server::wire::{self, Opcode};

/// Time before a browser's `EventSource` reconnects, in milliseconds, unless a `drain` sets another. The
/// default of browsers is several seconds.
const EVENT_RETRY_MILLIS: u64 = 2000;

/// The protocol in which a connection reads a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// WebSocket: the payload of each message, unchanged.
    Plain,
    /// WebSocket: the subprotocol `fanfare.v1`.
    Typed,
    /// HTTP: server-sent events (HTML Living Standard section 9.2).
    Sse,
    /// HTTP: one JSON object per line.
    Ndjson,
}

impl Dialect {
    /// Number of dialects.
    pub const COUNT: usize = 4;

    /// Returns the public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Typed => SUBPROTOCOL,
            Self::Sse => "sse",
            Self::Ndjson => "ndjson",
        }
    }

    /// Returns true if the dialect is the body of an HTTP response, which ends without a Close frame.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Sse | Self::Ndjson)
    }

    /// Returns true if clients of the dialect get signals.
    pub const fn has_signals(self) -> bool {
        match self {
            Self::Plain => false,
            Self::Typed | Self::Sse | Self::Ndjson => true,
        }
    }

    /// Appends the encoding of `push` to `into`. The plain dialect cannot express it and appends nothing.
    pub fn encode_into(self, push: &Push, into: &mut Vec<u8>) {
        match self {
            Self::Plain => {}
            Self::Typed => wire::encode_into(Opcode::Text, push.encode().as_bytes(), into),

            Self::Sse => {
                if let Push::Drain { reconnect_after_ms } = push {
                    into.extend_from_slice(format!("retry: {reconnect_after_ms}\n").as_bytes());
                }
                // A message is the default event: `onmessage` receives it without an event name.
                if !matches!(push, Push::Message(_)) {
                    into.extend_from_slice(format!("event: {}\n", push.kind()).as_bytes());
                }
                // The JSON contains no line breaks, so one `data` line holds it.
                into.extend_from_slice(format!("data: {}\n\n", push.encode()).as_bytes());
            }

            Self::Ndjson => {
                into.extend_from_slice(push.encode().as_bytes());
                into.push(b'\n');
            }
        }
    }

    /// Returns `push` encoded; empty if the dialect cannot express it.
    pub fn encode(self, push: &Push) -> Bytes {
        let mut bytes = Vec::new();
        self.encode_into(push, &mut bytes);
        bytes.into()
    }

    /// Returns the first bytes of a stream whose reader is at `position`. An `EventSource` stores the position,
    /// so that it resumes there even if it is disconnected before the first message.
    pub fn preamble(self, position: &Position) -> String {
        match self {
            Self::Sse => format!("retry: {EVENT_RETRY_MILLIS}\nid: {position}\n\n"),
            Self::Plain | Self::Typed | Self::Ndjson => String::new(),
        }
    }

    /// Returns the bytes of a heartbeat: a ping, or a comment or an empty line, which readers of a stream ignore.
    pub const fn heartbeat(self) -> &'static [u8] {
        match self {
            Self::Plain | Self::Typed => wire::PING,
            Self::Sse => b":\n\n",
            Self::Ndjson => b"\n",
        }
    }
}

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

    /// Encodes `frame` as a WebSocket frame, an event or a line. Empty if the dialect cannot express it.
    pub fn encode(self, frame: &Frame) -> Bytes {
        let push = || Push::Message(frame.publication());

        match (self.dialect, frame.payload()) {
            (Dialect::Plain, _) if frame.is_deleted() => Bytes::new(),
            (Dialect::Plain, Payload::Text(text) | Payload::Json(text)) => {
                self.encode_data(Opcode::Text, text.as_bytes())
            }
            (Dialect::Plain, Payload::Binary(bytes)) => self.encode_data(Opcode::Binary, bytes),
            (Dialect::Typed, _) => self.encode_data(Opcode::Text, push().encode().as_bytes()),

            (Dialect::Sse, _) => {
                let mut event = format!("id: {}\n", frame.position()).into_bytes();
                self.dialect.encode_into(&push(), &mut event);
                event.into()
            }
            (Dialect::Ndjson, _) => self.dialect.encode(&push()),
        }
    }

    fn encode_data(self, opcode: Opcode, payload: &[u8]) -> Bytes {
        if self.is_deflated {
            wire::encode_deflated(opcode, payload)
        } else {
            wire::encode(opcode, payload)
        }
    }
}

/// The encodings of one message or signal, each created for its first reader and shared with the others. Only a few
/// formats `F` are in use at a time.
#[derive(Debug)]
pub(super) struct Encodings<F>(Vec<(F, Bytes)>);

impl<F: Copy + PartialEq> Encodings<F> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the encoding in `format`, which `encode` creates on the first call.
    pub(super) fn get_or_encode(&mut self, format: F, encode: impl FnOnce() -> Bytes) -> Bytes {
        if let Some((_, encoding)) = self.0.iter().find(|(known, _)| *known == format) {
            return encoding.clone();
        }

        let encoding = Memory::of_process().track(encode(), size_of::<(F, Bytes)>());
        self.0.reserve_exact(1);
        self.0.push((format, encoding.clone()));
        encoding
    }

    /// Returns the total size of the encodings, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, encoding)| encoding.len()).sum()
    }
}

/// Concatenates encoded messages or signals.
pub(super) fn concat(mut encoded: Vec<Bytes>) -> Bytes {
    if encoded.len() < 2 {
        return encoded.pop().unwrap_or_default();
    }

    let length = encoded.iter().map(Bytes::len).sum();
    let mut all = BytesMut::with_capacity(length);
    for bytes in &encoded {
        all.extend_from_slice(bytes);
    }
    Memory::of_process().track(all.freeze(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Epoch, GapReason, Offset, RoomName};

    fn encoded(dialect: Dialect, push: &Push) -> String {
        String::from_utf8(dialect.encode(push).to_vec()).expect("text")
    }

    #[test]
    fn streams_carry_the_json_of_the_typed_dialect() {
        let gap = Push::Gap {
            room: RoomName::lobby().into(),
            after: Offset(2),
            before: Offset(5),
            count: Some(2),
            reason: GapReason::Lagged,
        };
        let json = gap.encode();

        let event = encoded(Dialect::Sse, &gap);
        let line = encoded(Dialect::Ndjson, &gap);
        let plain = encoded(Dialect::Plain, &gap);

        assert_eq!(event, format!("event: gap\ndata: {json}\n\n"));
        assert_eq!(line, format!("{json}\n"));
        assert_eq!(plain, "");
    }

    #[test]
    fn a_drain_sets_the_reconnection_time_of_an_event_source() {
        let drain = Push::Drain {
            reconnect_after_ms: 1234,
        };

        let event = encoded(Dialect::Sse, &drain);

        let expected =
            "retry: 1234\nevent: drain\ndata: {\"type\":\"drain\",\"reconnect_after_ms\":1234}\n\n";
        assert_eq!(event, expected);
    }

    #[test]
    fn an_event_stream_begins_with_its_position_and_no_event() {
        let position = Position {
            epoch: Epoch::new(0xAB),
            offset: Offset(7),
        };

        let events = Dialect::Sse.preamble(&position);
        let lines = Dialect::Ndjson.preamble(&position);

        assert_eq!(events, "retry: 2000\nid: 000000ab:7\n\n");
        assert_eq!(lines, "");
    }
}

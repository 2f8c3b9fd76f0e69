//! The protocols in which a connection reads a room, and the encoding of the server's messages in each.
//!
//! Two dialects run over a WebSocket and two are the body of an HTTP response. All but the plain one carry the
//! same JSON objects; only the framing around an object differs.

use crate::protocol::{Position, Push, SUBPROTOCOL};
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

    /// Returns the first bytes of a stream whose reader is at `position`. An `EventSource` stores the position,
    /// so that it resumes there even if it is disconnected before the first message.
    pub fn preamble(self, position: &Position) -> String {
        match self {
            Self::Sse => format!("retry: {EVENT_RETRY_MILLIS}\nid: {position}\n\n"),
            Self::Plain | Self::Typed | Self::Ndjson => String::new(),
        }
    }

    /// Returns the bytes of a heartbeat, which readers of a stream ignore: a comment or an empty line. Empty
    /// for WebSockets, which have pings.
    pub const fn heartbeat(self) -> &'static [u8] {
        match self {
            Self::Sse => b":\n\n",
            Self::Ndjson => b"\n",
            Self::Plain | Self::Typed => b"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Epoch, GapReason, Offset};

    fn encoded(dialect: Dialect, push: &Push) -> String {
        let mut bytes = Vec::new();
        dialect.encode_into(push, &mut bytes);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn streams_carry_the_json_of_the_typed_dialect() {
        let gap = Push::Gap {
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

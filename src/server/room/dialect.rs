//! The ways in which a connection reads the log, and how each writes what the server says.
//!
//! Two are spoken over a WebSocket and two are the body of an HTTP answer. All but the plain one carry the
//! same JSON objects; only what is around an object differs.

use crate::protocol::Position;
use crate::protocol::Push;
use crate::protocol::SUBPROTOCOL;
use crate::server::wire::{self, Opcode};

/// How long a browser's `EventSource` waits before it comes back, in milliseconds, unless a `drain` said
/// otherwise. Its own default is several seconds.
const EVENT_RETRY_MILLIS: u64 = 2000;

/// How a connection reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// WebSocket: what was said, byte for byte.
    Plain,
    /// WebSocket: `fanfare.v1`.
    Typed,
    /// HTTP: server-sent events (HTML Living Standard section 9.2).
    Sse,
    /// HTTP: one JSON object a line.
    Ndjson,
}

impl Dialect {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// What it is called outside.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Typed => SUBPROTOCOL,
            Self::Sse => "sse",
            Self::Ndjson => "ndjson",
        }
    }

    /// Whether it is the body of an HTTP answer: such a stream has no Close frame, it ends.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Sse | Self::Ndjson)
    }

    /// Writes `push` to the end of `into`. The plain dialect has no words for it and writes nothing.
    pub fn encode_into(self, push: &Push, into: &mut Vec<u8>) {
        match self {
            Self::Plain => {}
            Self::Typed => wire::encode_into(Opcode::Text, push.encode().as_bytes(), into),
            Self::Sse => {
                if let Push::Drain { reconnect_after_ms } = push {
                    into.extend_from_slice(format!("retry: {reconnect_after_ms}\n").as_bytes());
                }
                // A message is the default event, which a page hears without naming it.
                if !matches!(push, Push::Message(_)) {
                    into.extend_from_slice(format!("event: {}\n", push.kind()).as_bytes());
                }
                // JSON has no line breaks of its own, so one `data` line holds it.
                into.extend_from_slice(format!("data: {}\n\n", push.encode()).as_bytes());
            }
            Self::Ndjson => {
                into.extend_from_slice(push.encode().as_bytes());
                into.push(b'\n');
            }
        }
    }

    /// What a stream begins with, to a reader that stands at `position`: an `EventSource` remembers it, so that
    /// one which is cut off before the first message comes back to the same place.
    pub fn opening(self, position: &Position) -> String {
        match self {
            Self::Sse => format!("retry: {EVENT_RETRY_MILLIS}\nid: {position}\n\n"),
            Self::Plain | Self::Typed | Self::Ndjson => String::new(),
        }
    }

    /// A sign of life that readers of a stream skip: a comment, or an empty line. (WebSockets have pings.)
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
        let (after, before) = (Offset(2), Offset(5));
        let gap = Push::Gap {
            after,
            before,
            count: Some(2),
            reason: GapReason::Lagged,
        };
        let json = gap.encode();
        assert_eq!(
            encoded(Dialect::Sse, &gap),
            format!("event: gap\ndata: {json}\n\n")
        );
        assert_eq!(encoded(Dialect::Ndjson, &gap), format!("{json}\n"));
        assert_eq!(encoded(Dialect::Plain, &gap), "");
    }

    #[test]
    fn a_drain_sets_the_time_after_which_an_event_source_comes_back() {
        let drain = Push::Drain {
            reconnect_after_ms: 1234,
        };
        let expected =
            "retry: 1234\nevent: drain\ndata: {\"type\":\"drain\",\"reconnect_after_ms\":1234}\n\n";
        assert_eq!(encoded(Dialect::Sse, &drain), expected);
    }

    #[test]
    fn an_event_stream_begins_with_its_position_and_no_event() {
        let position = Position {
            epoch: Epoch::new(0xAB),
            offset: Offset(7),
        };
        assert_eq!(
            Dialect::Sse.opening(&position),
            "retry: 2000\nid: 000000ab:7\n\n"
        );
        assert_eq!(Dialect::Ndjson.opening(&position), "");
    }
}

//! The span of a connection, created when the connection has ended. Until then it costs nothing.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span, SpanKind, Tracer};
use opentelemetry::{Context, KeyValue};

use crate::server::metrics::DisconnectReason;
use crate::server::spans::tracer;

/// A connection that has ended.
#[derive(Debug)]
pub struct ConnectionSpan<'a> {
    /// `websocket`, or `http` for an event stream.
    pub protocol: &'static str,
    /// The number of the connection.
    pub number: u64,
    /// The room or pattern of the connection, if it has exactly one subscription.
    pub room: Option<&'a str>,
    /// The client's IP address.
    pub address: IpAddr,
    /// The start, in milliseconds since 1970 UTC.
    pub since: u64,
}

impl ConnectionSpan<'_> {
    /// Exports the span, with the current time as its end.
    pub fn finish(self, reason: DisconnectReason) {
        let Some(tracer) = tracer() else { return };
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(self.since);

        let room = self
            .room
            .map(|room| KeyValue::new("messaging.destination.name", room.to_owned()));
        let mut span = tracer
            .span_builder("connection")
            .with_kind(SpanKind::Server)
            .with_start_time(start)
            .with_attributes(room.into_iter().chain([
                KeyValue::new("network.protocol.name", self.protocol),
                KeyValue::new("client.address", self.address.to_canonical().to_string()),
                KeyValue::new("fanfare.connection", self.number as i64),
                KeyValue::new("fanfare.end", reason.label()),
            ]))
            .start_with_context(tracer, &Context::new());
        span.end();
    }
}

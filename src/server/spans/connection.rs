//! The span of a connection's life, made when it has ended: until then it costs nothing.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span, SpanKind, Tracer};
use opentelemetry::{Context, KeyValue};

use crate::protocol::RoomName;
use crate::server::metrics::DisconnectReason;
use crate::server::spans::tracer;

/// A connection that has ended.
#[derive(Debug)]
pub struct ConnectionSpan<'a> {
    /// What it was: `websocket`, or `http` for a stream.
    pub protocol: &'static str,
    /// Its number.
    pub number: u64,
    /// The room that it was in.
    pub room: &'a RoomName,
    /// Where it came from.
    pub address: IpAddr,
    /// When it began, in milliseconds since 1970 UTC.
    pub since: u64,
}

impl ConnectionSpan<'_> {
    /// It ended just now, like this.
    pub fn finish(self, end: DisconnectReason) {
        let Some(tracer) = tracer() else { return };
        let began = SystemTime::UNIX_EPOCH + Duration::from_millis(self.since);
        let mut span = tracer
            .span_builder("connection")
            .with_kind(SpanKind::Server)
            .with_start_time(began)
            .with_attributes([
                KeyValue::new("network.protocol.name", self.protocol),
                KeyValue::new("client.address", self.address.to_canonical().to_string()),
                KeyValue::new("messaging.destination.name", self.room.as_str().to_owned()),
                KeyValue::new("fanfare.connection", self.number as i64),
                KeyValue::new("fanfare.end", end.label()),
            ])
            .start_with_context(tracer, &Context::new());
        span.end();
    }
}

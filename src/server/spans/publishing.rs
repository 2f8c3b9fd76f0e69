//! The spans of a publish and of the commit that stored it.
//!
//! One commit stores the messages of many publishes, so it has no parent: the span of each publish links to it.

use std::time::SystemTime;

use opentelemetry::trace::{Link, Span, SpanContext, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};

use crate::protocol::{Offset, RoomName};
use crate::server::spans::tracer;

/// The error type of messages that were not stored, as in the HTTP API.
const STORE_UNAVAILABLE: &str = "store_unavailable";

/// The span of messages that are published together.
#[derive(Debug)]
pub struct PublishSpan {
    start: SystemTime,
    /// The HTTP request that publishes them; empty for a WebSocket.
    parent: Context,
}

impl PublishSpan {
    /// Starts the span; `None` if spans are not exported. Boxed, because it is usually `None`.
    pub fn begin() -> Option<Box<Self>> {
        tracer().map(|_| {
            Box::new(Self {
                start: SystemTime::now(),
                parent: Context::current(),
            })
        })
    }

    /// Exports the span of `messages` to `room`, with the current time as its end. `result` is the last offset or the
    /// error of the store. The span links to the commit that stored the messages.
    pub fn end(
        self,
        room: &RoomName,
        messages: usize,
        result: Result<Option<Offset>, String>,
        commit: Option<CommitId>,
    ) {
        let Some(tracer) = tracer() else { return };
        let links = commit
            .into_iter()
            .map(|commit| Link::with_context(commit.0));

        let mut span = tracer
            .span_builder("publish")
            .with_start_time(self.start)
            .with_attributes([
                KeyValue::new("messaging.system", "fanfare"),
                KeyValue::new("messaging.operation.name", "publish"),
                KeyValue::new("messaging.operation.type", "send"),
                KeyValue::new("messaging.destination.name", room.as_str().to_owned()),
            ])
            .with_links(links.collect())
            .start_with_context(tracer, &self.parent);

        // The semantic conventions omit the count for a single message.
        if messages > 1 {
            span.set_attribute(KeyValue::new(
                "messaging.batch.message_count",
                messages as i64,
            ));
        }

        match result {
            Ok(offset) => {
                if let Some(Offset(offset)) = offset {
                    span.set_attribute(KeyValue::new("fanfare.offset", offset as i64));
                }
            }
            Err(reason) => {
                span.set_attribute(KeyValue::new("error.type", STORE_UNAVAILABLE));
                span.set_status(Status::error(reason));
            }
        }

        span.end();
    }
}

/// The span of a database transaction with the messages of one or more publishes.
#[derive(Debug)]
pub struct CommitSpan(Context);

/// The identity of a commit, to which the spans of the messages that it stored link.
#[derive(Clone, Debug)]
pub struct CommitId(SpanContext);

impl CommitSpan {
    /// Starts the span; `None` if spans are not exported.
    pub fn begin() -> Option<Self> {
        let tracer = tracer()?;
        let attributes = [
            KeyValue::new("db.system.name", "sqlite"),
            KeyValue::new("db.operation.name", "COMMIT"),
        ];
        let span = tracer
            .span_builder("commit")
            .with_attributes(attributes)
            .start_with_context(tracer, &Context::new());

        Some(Self(Context::new().with_span(span)))
    }

    /// Ends the span of a commit of `messages`, or of one that failed with `error`.
    pub fn end(self, messages: usize, error: Option<&str>) -> CommitId {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("db.operation.batch.size", messages as i64));
        if let Some(reason) = error {
            span.set_attribute(KeyValue::new("error.type", STORE_UNAVAILABLE));
            span.set_status(Status::error(reason.to_owned()));
        }
        span.end();

        CommitId(span.span_context().clone())
    }
}

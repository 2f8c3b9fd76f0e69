//! The span of a publish, and of the commit that stored it.
//!
//! One commit stores what many publish, so it is nobody's child: each of theirs links to it.

use std::time::SystemTime;

use opentelemetry::trace::{Link, Span, SpanContext, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::spans::tracer;

/// What the store's refusals are called, as in the HTTP API.
const STORE_UNAVAILABLE: &str = "store_unavailable";

/// Messages on their way into the log of a room.
#[derive(Debug)]
pub struct PublishSpan {
    began: SystemTime,
    /// The request that publishes them; empty when a WebSocket does.
    parent: Context,
}

impl PublishSpan {
    /// Messages are taken up. On the heap, as mostly there is none.
    pub fn begin() -> Option<Box<Self>> {
        tracer().map(|_| {
            Box::new(Self {
                began: SystemTime::now(),
                parent: Context::current(),
            })
        })
    }

    /// Ends the span of `messages` to `room` with the offset of the last of them, or with the reason why they are not
    /// stored. The span links to the commit that stored them.
    pub fn end(
        self,
        room: &RoomName,
        messages: usize,
        answer: Result<Option<Offset>, String>,
        commit: Option<CommitId>,
    ) {
        let Some(tracer) = tracer() else { return };
        let mut span = tracer
            .span_builder("publish")
            .with_start_time(self.began)
            .with_attributes([
                KeyValue::new("messaging.system", "fanfare"),
                KeyValue::new("messaging.operation.name", "publish"),
                KeyValue::new("messaging.operation.type", "send"),
                KeyValue::new("messaging.destination.name", room.as_str().to_owned()),
            ])
            .with_links(
                commit
                    .into_iter()
                    .map(|commit| Link::with_context(commit.0))
                    .collect(),
            )
            .start_with_context(tracer, &self.parent);
        // Semantic conventions: not for a message that is published alone.
        if messages > 1 {
            span.set_attribute(KeyValue::new(
                "messaging.batch.message_count",
                messages as i64,
            ));
        }
        match answer {
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

/// A transaction of the database, with messages of one or many.
#[derive(Debug)]
pub struct CommitSpan(Context);

/// The identity of a commit, for the spans of the messages that it stored.
#[derive(Clone, Debug)]
pub struct CommitId(SpanContext);

impl CommitSpan {
    /// It begins.
    pub fn begin() -> Option<Self> {
        let tracer = tracer()?;
        let attributes = [
            KeyValue::new("db.system.name", "sqlite"),
            KeyValue::new("db.operation.name", "COMMIT"),
        ];
        let span = tracer.span_builder("commit").with_attributes(attributes);
        Some(Self(
            Context::new().with_span(span.start_with_context(tracer, &Context::new())),
        ))
    }

    /// Ends the span of a commit of so many messages, or of one that failed.
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

//! What is traced: spans for OpenTelemetry, brought to a collector over HTTP.
//!
//! # Invariants
//!
//! - Off, as it is unless a collector is named, every place that could begin a span looks at one word and goes on.
//! - On, nobody waits for a collector: a span that finds too many before it is dropped, and counted.
//! - A span holds no token (so no query of an address), no text and no id: traces are often kept by others than those
//!   who run the server.
//!
//! Names and attributes are those of OpenTelemetry's semantic conventions (HTTP servers, messaging, databases), and
//! where they have none, begin with `fanfare.`.
//!
//! Deliberately absent: spans of the `tracing` crate. The life of a connection is known when it ends, and nothing may
//! be held for it until then; and log lines must not change because somebody traces.

mod collector;
mod connection;
mod export;
mod publishing;
mod request;

use std::sync::OnceLock;

use opentelemetry_sdk::trace::SdkTracer;

pub use collector::Collector;
pub use connection::ConnectionSpan;
pub use export::{ExportSettings, Exporter};
pub use publishing::{CommitId, CommitSpan, PublishSpan};
pub use request::RequestSpan;

/// Makes the spans, from the moment that there is somewhere to bring them to.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// Whether anything is traced.
pub fn is_on() -> bool {
    tracer().is_some()
}

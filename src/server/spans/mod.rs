//! OpenTelemetry spans, exported to a collector over HTTP.
//!
//! # Invariants
//!
//! - Without a collector, creating a span costs one atomic load.
//! - With a collector, nothing waits for it. Spans that do not fit in the queue are dropped and counted.
//! - Spans contain no token (so no query string), no text and no user id, because traces are often stored by third
//!   parties.
//!
//! Names and attributes follow OpenTelemetry's semantic conventions (HTTP servers, messaging, databases); others begin
//! with `fanfare.`.
//!
//! Deliberately absent: spans of the `tracing` crate. They would hold memory for each open connection, and change the
//! log lines.

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

/// The tracer of the process, set when an exporter starts.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// Returns true if spans are exported.
pub fn is_on() -> bool {
    tracer().is_some()
}

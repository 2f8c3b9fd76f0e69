//! Trace events of a WebSocket, for an operator who follows it. Without one, the cost is one check of a flag.

use std::sync::atomic::Ordering;

use crate::server::hub::TraceEvent;
use crate::server::session::Action;
use crate::server::transport::connection::{Connection, ConnectionState};
use crate::server::wire::Incoming;

/// Returns the event for a frame from the client and the action that followed.
pub(super) const fn frame(incoming: &Incoming<'_>, action: &Action) -> TraceEvent {
    TraceEvent::Frame {
        kind: incoming.kind(),
        bytes: incoming.payload_bytes(),
        led_to: action.name(),
    }
}

impl ConnectionState {
    /// Sends `event` to the operator who traces the connection, if any.
    pub(super) fn trace(&mut self, event: TraceEvent) {
        if let Some(tracer) = &mut self.tracer
            && !tracer.record(event)
        {
            self.tracer = None;
        }
    }
}

impl Connection {
    /// Returns true if an operator traces the connection, or did when the client last sent a frame.
    pub(super) fn is_traced(&self) -> bool {
        self.is_traced.load(Ordering::Relaxed)
    }

    /// Sends the events of the client's `frames`.
    pub(super) fn trace_frames(&self, frames: Vec<TraceEvent>) {
        if frames.is_empty() {
            return;
        }

        let mut state = self.lock();
        frames.into_iter().for_each(|frame| state.trace(frame));
        self.is_traced
            .store(state.tracer.is_some(), Ordering::Relaxed);
    }
}

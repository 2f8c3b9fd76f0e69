//! What passes over a WebSocket, told to whoever looks. Nobody does, mostly, so that must cost nothing.

use std::sync::atomic::Ordering;

use crate::server::hub::TraceEvent;
use crate::server::session::Action;
use crate::server::transport::connection::{Connection, ConnectionState};
use crate::server::wire::Incoming;

/// What the client sent, and what it led to.
pub(super) const fn frame(incoming: &Incoming<'_>, action: &Action) -> TraceEvent {
    TraceEvent::Frame {
        kind: incoming.kind(),
        bytes: incoming.payload_bytes(),
        led_to: action.name(),
    }
}

impl ConnectionState {
    /// Records `event`, if the connection is traced.
    pub(super) fn trace(&mut self, event: TraceEvent) {
        if let Some(tracer) = &mut self.tracer
            && !tracer.record(event)
        {
            self.tracer = None;
        }
    }
}

impl Connection {
    /// Whether somebody looks at what passes, or did when the client last sent something.
    pub(super) fn is_traced(&self) -> bool {
        self.is_traced.load(Ordering::Relaxed)
    }

    /// Tells of the client's `frames`, if there are any.
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

//! The activity of an HTTP connection: the phase of its request and the memory that it holds. The listener and the
//! memory budget use it to choose connections to close.

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::server::hub::{Hub, MemoryHolder, Reclaimable};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::room::Tick;

/// Bytes of a connection that sends nothing: its task and hyper's buffers.
const CONNECTION_BYTES: usize = 16 * 1024;
/// The most bytes of a request that hyper buffers; bodies are counted by their readers.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// The phase and the memory of one HTTP connection.
#[derive(Debug)]
pub struct Activity {
    hub: Hub,
    state: Mutex<ActivityState>,
    /// Notified when the connection must end.
    evicted: Notify,
}

#[derive(Debug)]
struct ActivityState {
    phase: RequestPhase,
    /// The start of the phase; in [`RequestPhase::Idle`], the time of the last write.
    since: Tick,
    /// Bytes of the request that is arriving or being answered.
    received: usize,
    /// Bytes of answers that hyper holds and the kernel has not accepted.
    unsent: usize,
    reservation: MemoryReservation,
}

/// The party that a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPhase {
    /// The next request.
    Idle,
    /// The rest of a request.
    Receiving,
    /// The server, which makes the answer.
    Answering,
    /// The client, which does not read its answer.
    Blocked,
}

impl Activity {
    /// Creates the activity of a new connection.
    pub fn new(hub: &Hub) -> Self {
        Self {
            hub: hub.clone(),
            state: Mutex::new(ActivityState {
                phase: RequestPhase::Idle,
                since: hub.now(),
                received: 0,
                unsent: 0,
                reservation: Memory::of_process().reserve(CONNECTION_BYTES),
            }),
            evicted: Notify::new(),
        }
    }

    /// Returns the current phase and its start.
    pub fn phase(&self) -> (RequestPhase, Tick) {
        let state = self.state.lock();
        (state.phase, state.since)
    }

    /// Ends the connection.
    pub fn evict(&self) {
        // The permit is stored if the connection is not waiting yet.
        self.evicted.notify_one();
    }

    /// Waits until the connection must end.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Records that the rest of a request is awaited.
    pub fn receiving(&self) {
        self.enter(RequestPhase::Receiving);
    }

    /// Records that a request has arrived, or as much of it as its handler has read.
    pub fn answering(&self) {
        self.enter(RequestPhase::Answering);
    }

    /// Records that `bytes` of an answer were passed to hyper.
    pub fn handed(&self, bytes: usize) {
        self.state.lock().unsent += bytes;
    }

    /// Records that hyper is done with `bytes` of an answer.
    pub fn finished(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.unsent = state.unsent.saturating_sub(bytes);
    }

    /// Records that `bytes` of a request have arrived.
    pub(super) fn read(&self, bytes: usize) {
        let mut state = self.state.lock();
        if state.phase == RequestPhase::Idle {
            state.phase = RequestPhase::Receiving;
            state.since = self.hub.now();
        }
        state.received += bytes;
        state.count();
    }

    /// Records that the kernel accepted bytes of an answer.
    pub(super) fn wrote(&self) {
        let mut state = self.state.lock();
        state.phase = RequestPhase::Idle;
        state.since = self.hub.now();
        state.received = 0;
        state.count();
    }

    /// Records that the kernel accepts no bytes now.
    pub(super) fn blocked(&self) {
        self.enter(RequestPhase::Blocked);
    }

    /// Begins `phase`, unless it has begun.
    fn enter(&self, phase: RequestPhase) {
        let mut state = self.state.lock();
        if state.phase != phase {
            state.phase = phase;
            state.since = self.hub.now();
        }
    }
}

impl ActivityState {
    fn count(&self) {
        let head = self.received.min(MAX_HEAD_BYTES);
        self.reservation.set(CONNECTION_BYTES + head);
    }
}

impl MemoryHolder for Activity {
    fn reclaimable(&self) -> Option<Reclaimable> {
        let state = self.state.lock();
        match state.phase {
            RequestPhase::Idle | RequestPhase::Answering => None,
            RequestPhase::Receiving | RequestPhase::Blocked => Some(Reclaimable {
                since: state.since,
                bytes: CONNECTION_BYTES + state.received + state.unsent,
            }),
        }
    }

    fn evict(&self) {
        self.evict();
    }
}

//! The events of rooms that a hook delivers besides messages: joins, leaves, and rooms that are occupied, vacated or closed.
//! They are best effort: they wait in memory, and each is posted once.

use std::collections::{HashSet, VecDeque};

use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::protocol::{Offset, RoomName, RoomSelector, UserId};
use crate::server::hooks::settings::{HookEvent, HookSettings};
use crate::server::hub::RoomEvent;

/// The number of events that wait for the receiver; older ones are dropped.
const MAX_WAITING: usize = 1000;
/// The largest number of events in one delivery.
const MAX_EVENTS: usize = 100;

/// An event as the receiver gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct EventFrame {
    #[serde(rename = "type")]
    kind: &'static str,
    room: RoomName,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<Offset>,
    at: u64,
    /// Always true: the event may be lost, and is not ordered with messages.
    best_effort: bool,
}

/// The events of one hook that wait for their delivery.
#[derive(Debug)]
pub(super) struct EventQueue {
    events: Receiver<RoomEvent>,
    rooms: Vec<RoomSelector>,
    wanted: Vec<HookEvent>,
    /// True if the hook delivers messages too.
    has_messages: bool,
    /// The rooms that have members.
    occupied: HashSet<RoomName>,
    waiting: VecDeque<EventFrame>,
    /// The id of the queue in the ids of deliveries.
    id: u32,
    /// The number of deliveries.
    deliveries: u64,
}

/// Events for one delivery.
#[derive(Debug)]
pub(super) struct EventBatch {
    /// The id of the delivery.
    pub(super) id: String,
    /// The JSON array.
    pub(super) body: String,
}

impl EventQueue {
    /// Creates a queue of the events of the hook; `None` if it delivers only messages.
    pub(super) fn new(events: Receiver<RoomEvent>, hook: &HookSettings) -> Option<Self> {
        let mut wanted = hook.events.clone();
        wanted.retain(|event| *event != HookEvent::Message);
        if wanted.is_empty() {
            return None;
        }

        Some(Self {
            events,
            rooms: hook.rooms.clone(),
            has_messages: hook.events.contains(&HookEvent::Message),
            wanted,
            occupied: HashSet::new(),
            waiting: VecDeque::new(),
            id: fastrand::u32(..),
            deliveries: 0,
        })
    }

    /// Waits for the next event. `at` returns the time in milliseconds since 1970 UTC. Cancel-safe.
    pub(super) async fn wait(&mut self, at: impl Fn() -> u64) {
        loop {
            match self.events.recv().await {
                Ok(event) => {
                    self.push(event, at());
                    if !self.waiting.is_empty() {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Queues the events that have arrived by `at`, in milliseconds since 1970 UTC.
    pub(super) fn receive(&mut self, at: u64) {
        loop {
            match self.events.try_recv() {
                Ok(event) => self.push(event, at),
                // The oldest events are lost; the next ones follow.
                Err(TryRecvError::Lagged(_)) => {}
                Err(_) => return,
            }
        }
    }

    /// Drops the events that wait.
    pub(super) fn discard(&mut self) {
        self.receive(0);
        self.waiting.clear();
    }

    /// Removes the next events for a delivery; `None` if there are none.
    pub(super) fn take(&mut self) -> Option<EventBatch> {
        if self.waiting.is_empty() {
            return None;
        }

        let count = self.waiting.len().min(MAX_EVENTS);
        let frames: Vec<EventFrame> = self.waiting.drain(..count).collect();
        self.deliveries += 1;
        Some(EventBatch {
            id: format!("events-{:08x}-{}", self.id, self.deliveries),
            body: serde_json::to_string(&frames).ok()?,
        })
    }

    fn push(&mut self, event: RoomEvent, at: u64) {
        let (RoomEvent::Presence { room, .. } | RoomEvent::Closed { room, .. }) = &event;
        if !self.rooms.iter().any(|selector| selector.matches(room)) {
            return;
        }

        match event {
            RoomEvent::Closed { room, offset } => {
                self.add(HookEvent::Closed, &room, None, Some(offset), at);
            }
            RoomEvent::Presence {
                room,
                count,
                joined,
                left,
                is_logged,
            } => {
                if count > 0 && self.occupied.insert(room.clone()) {
                    self.add(HookEvent::Occupied, &room, None, None, at);
                }
                // A hook gets joins and leaves that are messages once.
                if !(is_logged && self.has_messages) {
                    for id in left {
                        self.add(HookEvent::Leave, &room, Some(id), None, at);
                    }
                    for id in joined {
                        self.add(HookEvent::Join, &room, Some(id), None, at);
                    }
                }
                if count == 0 && self.occupied.remove(&room) {
                    self.add(HookEvent::Vacated, &room, None, None, at);
                }
            }
        }
    }

    fn add(
        &mut self,
        event: HookEvent,
        room: &RoomName,
        id: Option<UserId>,
        offset: Option<Offset>,
        at: u64,
    ) {
        if !self.wanted.contains(&event) {
            return;
        }

        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }

        self.waiting.push_back(EventFrame {
            kind: event.as_str(),
            room: room.clone(),
            id,
            offset,
            at,
            best_effort: true,
        });
    }
}

//! The other nodes of the service: the nodes that are alive, their members in each room, and the signals of their clients.
//!
//! A node numbers its messages, so a node that missed some can detect that and requests the members again. Each node
//! sends a heartbeat every two seconds. A node without a heartbeat for seven seconds counts as gone, and its members
//! leave. That is announced after the grace period of five seconds, so within fifteen seconds in total.
//!
//! All nodes answer a request for the members of a room, even those without members there. So a node that opens a
//! room can detect that all others have answered, and `GET presence` can wait for that.
//!
//! Signals are not numbered: one that is lost is not sent again.
//!
//! Deliberately absent: limits for all nodes together. Each node has its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use crate::protocol::{Json, Kind, RoomName, Signal, UserId};
use crate::server::hub::presence::DirtyPresence;
use crate::server::hub::signals::SignalDelivery;
use crate::server::hub::{Room, Rooms};
use crate::server::room::{PresenceUpdate, PresenceUpdateKind, PresentMember, Tick};
use crate::server::run_clock::RunClock;
use crate::server::store::{Bus, BusEvent};

/// The time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The time without a message after which a node counts as gone: three heartbeats and some delay.
const GONE_AFTER: Duration = Duration::from_secs(7);
/// The longest time to wait for the other nodes to send their members in a room.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The shortest time between two requests for the members of a room.
const REQUEST_EVERY: Duration = Duration::from_millis(500);
/// The largest size of the members in one message, in bytes: NATS accepts messages of up to 1 MiB.
const MAX_MEMBER_BYTES: usize = 512 * 1024;

/// The state of the other nodes. See the [module docs](self).
pub(super) struct Cluster {
    /// The id of this node, random at each start.
    id: u64,
    bus: Arc<dyn Bus>,
    rooms: Arc<Rooms>,
    dirty_presence: Arc<DirtyPresence>,
    signals: Arc<SignalDelivery>,
    clock: RunClock,
    /// The time since which other nodes could be discovered.
    began: Instant,
    /// The number of the last message sent. It is locked while a message is sent.
    sent: Mutex<u64>,
    nodes: Mutex<HashMap<u64, OtherNode>>,
}

/// Another node.
#[derive(Debug)]
struct OtherNode {
    /// The time of the node's last message.
    seen: Tick,
    /// The number of the node's last message.
    number: u64,
}

/// A message of one node to all others.
#[derive(Debug, Serialize, Deserialize)]
struct ClusterEnvelope {
    node: u64,
    /// The number of the message: one more than that of the node's previous message.
    number: u64,
    message: ClusterMessage,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClusterMessage {
    /// A sign that the node is alive.
    Heartbeat,
    /// A sign that the node stops.
    Leave,
    /// The members of the node in a room.
    Presence {
        room: RoomName,
        members: PresenceUpdate,
    },
    /// A request for the members of one or all nodes in one or all rooms.
    PresenceRequest {
        node: Option<u64>,
        room: Option<RoomName>,
    },
    /// A signal of a client of the node. Not numbered: the envelope has the number of the message before it.
    Signal {
        room: RoomName,
        from: UserId,
        kind: Kind,
        #[serde(deserialize_with = "Json::deserialize_exact")]
        json: Json,
    },
}

impl Cluster {
    pub(super) fn new(
        bus: Arc<dyn Bus>,
        rooms: Arc<Rooms>,
        dirty_presence: Arc<DirtyPresence>,
        signals: Arc<SignalDelivery>,
        clock: RunClock,
    ) -> Self {
        Self {
            id: fastrand::u64(..),
            bus,
            rooms,
            dirty_presence,
            signals,
            clock,
            began: Instant::now(),
            sent: Mutex::default(),
            nodes: Mutex::default(),
        }
    }

    /// Handles the events of the bus and, when there are none, signals; sends heartbeats, and removes nodes without
    /// heartbeats, until dropped.
    pub(super) async fn run(
        &self,
        mut events: UnboundedReceiver<BusEvent>,
        mut signals: Receiver<Bytes>,
    ) {
        self.request_all();

        let mut interval = tokio::time::interval(HEARTBEAT / 2);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0u64;
        loop {
            tokio::select! {
                biased;
                _ = interval.tick() => {
                    if ticks.is_multiple_of(2) {
                        self.send(ClusterMessage::Heartbeat);
                    }
                    ticks += 1;
                    self.remove_silent_nodes();
                }
                Some(event) = events.recv() => self.on_event(event),
                Some(signal) = signals.recv() => self.on_bytes(&signal),
            }
        }
    }

    /// Notifies the other nodes that this one stops, so that its members leave immediately.
    pub(super) fn leave(&self) {
        self.send(ClusterMessage::Leave);
    }

    /// Sends the changes in the members of `room` on this node.
    pub(super) fn send_presence(&self, room: &Room) {
        let delta = {
            let presence = room.presence.lock();
            let mut remote = room.remote_presence.lock();
            remote.get_or_insert_default().delta(&presence)
        };
        if let Some(delta) = delta {
            self.send_members(room.name(), delta);
        }
    }

    /// Sends `signal` to the other nodes, unless many signals wait to be sent already.
    pub(super) fn send_signal(&self, signal: &Signal) {
        let Signal {
            room,
            from,
            kind,
            json,
        } = signal.clone();
        let envelope = ClusterEnvelope {
            node: self.id,
            number: *self.sent.lock(),
            message: ClusterMessage::Signal {
                room,
                from,
                kind,
                json,
            },
        };

        if let Some(message) = encode(&envelope) {
            self.bus.publish_signal(message);
        }
    }

    /// Requests the members of the other nodes in `room`, at most once per [`REQUEST_EVERY`].
    pub(super) fn request_presence(&self, room: &Room) {
        let now = Instant::now();
        {
            let mut requested = room.presence_requested.lock();
            if requested.is_some_and(|requested| now - requested < REQUEST_EVERY) {
                return;
            }
            *requested = Some(now);
        }

        self.send(ClusterMessage::PresenceRequest {
            node: None,
            room: Some(room.name().clone()),
        });
    }

    /// Waits until each other node has sent its members in `room`, at most [`ANSWER_WITHIN`].
    pub(super) async fn wait_for_presence(&self, room: &Room) {
        let complete = self.presence_is_complete(room);
        // After the timeout, the members known so far are used.
        let _ = tokio::time::timeout(ANSWER_WITHIN, complete).await;
    }

    async fn presence_is_complete(&self, room: &Room) {
        let is_complete = || {
            let nodes = self.nodes.lock();
            let remote = room.remote_presence.lock();
            nodes.is_empty()
                || remote
                    .as_ref()
                    .is_some_and(|remote| remote.has_snapshots_of(nodes.keys()))
        };
        // A node that has just started may not have discovered the others yet.
        if self.began.elapsed() < ANSWER_WITHIN || !is_complete() {
            self.request_presence(room);
        }
        tokio::time::sleep_until(self.began + ANSWER_WITHIN).await;

        loop {
            let received = room.presence_received.notified();
            if is_complete() {
                return;
            }
            received.await;
        }
    }

    fn on_event(&self, event: BusEvent) {
        match event {
            BusEvent::Message(message) => self.on_bytes(&message),
            // Messages may have been missed during the disconnection.
            BusEvent::Reconnected => {
                for room in self.rooms.all() {
                    if let Some(remote) = room.remote_presence.lock().as_mut() {
                        remote.mark_stale();
                    }
                }
                self.request_all();
            }
        }
    }

    fn on_bytes(&self, message: &[u8]) {
        match serde_json::from_slice(message) {
            Ok(envelope) => self.on_message(envelope),
            Err(error) => warn!(%error, "could not decode a message of another node"),
        }
    }

    fn on_message(&self, envelope: ClusterEnvelope) {
        let ClusterEnvelope {
            node,
            number,
            message,
        } = envelope;
        if node == self.id {
            return;
        }
        let message = match message {
            ClusterMessage::Leave => return self.remove(node),
            ClusterMessage::Signal {
                room,
                from,
                kind,
                json,
            } => {
                return self.signals.deliver(Signal {
                    room,
                    from,
                    kind,
                    json,
                });
            }
            message => message,
        };

        if self.has_missed(node, number) {
            self.send(ClusterMessage::PresenceRequest {
                node: Some(node),
                room: None,
            });
        }
        match message {
            ClusterMessage::Heartbeat | ClusterMessage::Leave | ClusterMessage::Signal { .. } => {}
            ClusterMessage::Presence { room, members } => self.on_presence(node, &room, members),
            ClusterMessage::PresenceRequest { node, room } => {
                if node.is_none_or(|node| node == self.id) {
                    self.on_request(room.as_ref());
                }
            }
        }
    }

    /// Records message `number` of `node`. Returns true if messages before it are missing, or if the node is new.
    fn has_missed(&self, node: u64, number: u64) -> bool {
        let seen = self.clock.now();
        let before = self.nodes.lock().insert(node, OtherNode { seen, number });
        if before.is_none() {
            info!(node, "node joined");
        }
        before.is_none_or(|before| before.number + 1 != number)
    }

    /// Applies an update of the members of `node` in the room `name`.
    fn on_presence(&self, node: u64, name: &RoomName, members: PresenceUpdate) {
        let Some(room) = self.rooms.get(name) else {
            if members.members.iter().any(|member| member.connections > 0) {
                self.dirty_presence.mark_unopened(name);
            }
            return;
        };
        if !room.rules().has_presence() {
            return;
        }

        let is_complete = {
            let mut presence = room.presence.lock();
            let mut remote = room.remote_presence.lock();
            remote
                .get_or_insert_default()
                .apply(node, members, &mut presence, self.clock.now())
        };
        if !is_complete {
            self.send(ClusterMessage::PresenceRequest {
                node: Some(node),
                room: Some(name.clone()),
            });
        }

        room.presence_received.notify_waiters();
        self.dirty_presence.mark(&room);
    }

    /// Sends the members of this node in the room `name`, or in every room where it has ever had members.
    fn on_request(&self, name: Option<&RoomName>) {
        let Some(name) = name else {
            // The heartbeat shows a node that has just started that this one is alive.
            self.send(ClusterMessage::Heartbeat);
            for room in self.rooms.all() {
                if let Some(members) = all_members(&room) {
                    self.send_members(room.name(), members);
                }
            }
            return;
        };

        let room = self.rooms.get(name);
        if let Some(room) = &room {
            // Pending joins, which are gathered for a moment, are sent first.
            self.send_presence(room);
        }
        let members = room.and_then(|room| all_members(&room));
        self.send_members(name, members.unwrap_or_else(PresenceUpdate::empty));
    }

    fn remove_silent_nodes(&self) {
        let now = self.clock.now();
        let silent: Vec<u64> = self
            .nodes
            .lock()
            .iter()
            .filter(|(_, other)| now.since(other.seen) > GONE_AFTER)
            .map(|(node, _)| *node)
            .collect();
        silent.into_iter().for_each(|node| self.remove(node));
    }

    /// Removes `node` and its members.
    fn remove(&self, node: u64) {
        if self.nodes.lock().remove(&node).is_none() {
            return;
        }
        info!(node, "node left");

        for room in self.rooms.all() {
            let mut presence = room.presence.lock();
            if let Some(remote) = room.remote_presence.lock().as_mut() {
                remote.remove_node(node, &mut presence, self.clock.now());
            }
            drop(presence);
            room.presence_received.notify_waiters();
            self.dirty_presence.mark(&room);
        }
    }

    /// Requests the members of all nodes in all rooms.
    pub(super) fn request_all(&self) {
        self.send(ClusterMessage::PresenceRequest {
            node: None,
            room: None,
        });
    }

    /// Sends `members` of `room`, split into messages with at most [`MAX_MEMBER_BYTES`] of them each.
    fn send_members(&self, room: &RoomName, members: PresenceUpdate) {
        let PresenceUpdate {
            version,
            kind,
            members,
        } = members;

        for (index, members) in split(members).into_iter().enumerate() {
            let members = PresenceUpdate {
                version,
                kind: if index == 0 {
                    kind
                } else {
                    PresenceUpdateKind::Continuation
                },
                members,
            };

            self.send(ClusterMessage::Presence {
                room: room.clone(),
                members,
            });
        }
    }

    fn send(&self, message: ClusterMessage) {
        // The lock keeps messages in the order of their numbers.
        let mut sent = self.sent.lock();
        let number = *sent + 1;
        let envelope = ClusterEnvelope {
            node: self.id,
            number,
            message,
        };

        if let Some(message) = encode(&envelope) {
            *sent = number;
            self.bus.publish(message);
        }
    }
}

/// Returns `envelope` as JSON.
fn encode(envelope: &ClusterEnvelope) -> Option<Vec<u8>> {
    serde_json::to_vec(envelope)
        .inspect_err(|error| warn!(%error, "could not encode a message to the other nodes"))
        .ok()
}

/// Splits `members` into parts of at most [`MAX_MEMBER_BYTES`], at least one.
fn split(members: Vec<PresentMember>) -> Vec<Vec<PresentMember>> {
    /// The other fields of a member, in bytes.
    const AROUND: usize = 128;

    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = 0;
    for member in members {
        let state = member.state.as_ref();
        // In JSON, a character of the id may be escaped.
        let size =
            AROUND + 2 * member.id.as_str().len() + state.map_or(0, |json| json.as_str().len());
        if bytes + size > MAX_MEMBER_BYTES {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(member);
    }

    parts.push(part);
    parts
}

/// Returns all members of `room` on this node that have been sent to the others; `None` if there were none.
fn all_members(room: &Room) -> Option<PresenceUpdate> {
    let remote = room.remote_presence.lock();
    remote.as_ref().and_then(|remote| remote.snapshot())
}

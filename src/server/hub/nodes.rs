//! Other nodes of the same service: who is in a room by way of them, and that they are there.
//!
//! A node numbers all that it says, so whoever missed something asks for it; and it says every two seconds that it
//! is alive. One that is not heard of for seven has died or is cut off: who was
//! there leaves, which after the grace of five is told; so within fifteen seconds.
//!
//! A node that is asked for its members in a room answers also if it has none there. So a node that opens a room
//! knows when all the others have answered, and `GET presence` can wait for that.
//!
//! Deliberately absent: limits that hold for all nodes together. Each node keeps to its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use crate::protocol::RoomName;
use crate::server::hub::room::Named;
use crate::server::hub::{Hub, Room};
use crate::server::room::{PresenceUpdate, PresenceUpdateKind, PresentMember, Tick};
use crate::server::store::{Bus, Overheard};

/// How often a node says that it is alive.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// Silence after which a node counts as gone: three times that and some delay.
const GONE_AFTER: Duration = Duration::from_secs(7);
/// Longest time that a request for the members of a room waits for the other nodes.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The pause before the other nodes are asked for the members of a room again.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Members that are told in one note, some 300 KiB: NATS takes notes of up to 1 MiB.
const MEMBERS_A_NOTE: usize = 2048;

/// See the [module docs](self).
pub(super) struct Nodes {
    /// This one, as the others know it: another with each start.
    me: u64,
    bus: Arc<dyn Bus>,
    /// The time since which the other nodes can have been discovered.
    began: Instant,
    /// How many notes it said; held while one is.
    said: Mutex<u64>,
    heard: Mutex<HashMap<u64, Heard>>,
}

/// Another node.
#[derive(Debug)]
struct Heard {
    /// When it was last heard of.
    when: Tick,
    /// The number of its last note.
    number: u64,
}

/// What one node says to all others.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    node: u64,
    /// One more than that of its note before.
    number: u64,
    word: Word,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// It is there.
    Alive,
    /// It is not there any more.
    Gone,
    /// Which members it has in a room.
    Here {
        room: RoomName,
        members: PresenceUpdate,
    },
    /// It asks for that: of one node or of all, of one room or of all.
    Who {
        node: Option<u64>,
        room: Option<RoomName>,
    },
}

impl Nodes {
    pub(super) fn new(bus: Arc<dyn Bus>) -> Self {
        Self {
            me: fastrand::u64(..),
            bus,
            began: Instant::now(),
            said: Mutex::default(),
            heard: Mutex::default(),
        }
    }

    fn say(&self, word: Word) {
        // Held: so that notes are said in the order of their numbers.
        let mut said = self.said.lock();
        let number = *said + 1;
        match serde_json::to_vec(&Note {
            node: self.me,
            number,
            word,
        }) {
            Ok(note) => {
                *said = number;
                self.bus.say(note);
            }
            Err(error) => warn!(%error, "a note to the other nodes cannot be written"),
        }
    }

    /// Notices that note `number` of `node` has come. Whether one is missing before it, or all are.
    fn has_missed(&self, node: u64, number: u64, when: Tick) -> bool {
        let now = Heard { when, number };
        let before = self.heard.lock().insert(node, now);
        if before.is_none() {
            info!(node, "another node is there");
        }
        before.is_none_or(|before| before.number + 1 != number)
    }

    /// Tells who is in `room`, in as many notes as it takes.
    fn tell(&self, room: &RoomName, said: PresenceUpdate) {
        let PresenceUpdate {
            version,
            kind,
            members,
        } = said;
        let notes = members.len().div_ceil(MEMBERS_A_NOTE).max(1);
        for note in 0..notes {
            let some = members
                .iter()
                .skip(note * MEMBERS_A_NOTE)
                .take(MEMBERS_A_NOTE)
                .cloned()
                .collect();
            let kind = if note == 0 {
                kind
            } else {
                PresenceUpdateKind::Continuation
            };
            let members = PresenceUpdate {
                version,
                kind,
                members: some,
            };
            self.say(Word::Here {
                room: room.clone(),
                members,
            });
        }
    }
}

impl Hub {
    /// Listens to the other nodes, if there may be any.
    pub(super) fn meet_nodes(&self) {
        let Some(nodes) = &self.0.nodes else { return };
        let shared = Arc::downgrade(&self.0);
        nodes.bus.listen(Box::new(move |overheard| {
            if let Some(shared) = shared.upgrade() {
                Self(shared).overhear(overheard);
            }
        }));
    }

    /// Says that this node is alive, and notices who is not, until dropped.
    pub(super) async fn heed_nodes(&self) {
        let Some(nodes) = &self.0.nodes else { return };
        nodes.say(Word::Who {
            node: None,
            room: None,
        });
        let mut interval = tokio::time::interval(ALIVE_EVERY / 2);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for beat in 0u64.. {
            interval.tick().await;
            if beat % 2 == 0 {
                nodes.say(Word::Alive);
            }
            let now = self.now();
            let gone: Vec<u64> = {
                let heard = nodes.heard.lock();
                let is_gone = |(_, heard): &(&u64, &Heard)| now.since(heard.when) > GONE_AFTER;
                heard
                    .iter()
                    .filter(is_gone)
                    .map(|(node, _)| *node)
                    .collect()
            };
            gone.into_iter().for_each(|node| self.lose(node));
        }
    }

    /// Somebody came to or went from `room` on this node.
    pub(super) fn tell_nodes(&self, room: &Room) {
        let Some(nodes) = &self.0.nodes else { return };
        let news = {
            let presence = room.presence.lock();
            room.neighbours
                .lock()
                .get_or_insert_default()
                .delta(&presence)
        };
        if let Some(news) = news {
            nodes.tell(room.name(), news);
        }
    }

    /// Asks the other nodes for their members in `room`, unless that was done a moment ago.
    pub(super) fn ask_nodes(&self, room: &Room) {
        let Some(nodes) = &self.0.nodes else { return };
        let now = Instant::now();
        {
            let mut asked = room.nodes_asked.lock();
            if asked.is_some_and(|asked| now - asked < ASK_EVERY) {
                return;
            }
            *asked = Some(now);
        }

        nodes.say(Word::Who {
            node: None,
            room: Some(room.name().clone()),
        });
    }

    /// Returns the members of `room` on all nodes, as [`Room::present`] does. Waits until the other nodes have
    /// sent theirs, at most for [`ANSWER_WITHIN`].
    pub async fn present(&self, room: &Room) -> (usize, Option<Vec<PresentMember>>) {
        if let Some(nodes) = &self.0.nodes {
            let answered = self.answers(nodes, room);
            // Without all answers the members known so far are returned.
            let _late = tokio::time::timeout(ANSWER_WITHIN, answered).await;
        }
        room.present()
    }

    /// Waits until each other node has sent its members in `room`.
    async fn answers(&self, nodes: &Nodes, room: &Room) {
        let is_complete = || {
            let heard = nodes.heard.lock();
            let neighbours = room.neighbours.lock();
            heard.is_empty()
                || neighbours
                    .as_ref()
                    .is_some_and(|neighbours| neighbours.has_snapshots_of(heard.keys()))
        };
        // A node that has just started may not know the others.
        if nodes.began.elapsed() < ANSWER_WITHIN || !is_complete() {
            self.ask_nodes(room);
        }
        tokio::time::sleep_until(nodes.began + ANSWER_WITHIN).await;

        loop {
            let heard = room.nodes_heard.notified();
            if is_complete() {
                return;
            }
            heard.await;
        }
    }

    /// This node ends: who was here is gone, and need not be missed first.
    pub(super) fn leave_nodes(&self) {
        if let Some(nodes) = &self.0.nodes {
            nodes.say(Word::Gone);
        }
    }

    fn overhear(&self, overheard: Overheard<'_>) {
        let Some(nodes) = &self.0.nodes else { return };
        let said = match overheard {
            Overheard::Said(said) => said,
            // Something may have been missed.
            Overheard::Again => {
                self.each_room(|room| {
                    if let Some(neighbours) = room.neighbours.lock().as_mut() {
                        neighbours.mark_stale();
                    }
                });
                return nodes.say(Word::Who {
                    node: None,
                    room: None,
                });
            }
        };
        let Note { node, number, word } = match serde_json::from_slice(said) {
            Ok(note) => note,
            Err(error) => return warn!(%error, "a note of another node cannot be read"),
        };
        if node == nodes.me {
            return;
        }
        if matches!(word, Word::Gone) {
            return self.lose(node);
        }
        if nodes.has_missed(node, number, self.now()) {
            nodes.say(Word::Who {
                node: Some(node),
                room: None,
            });
        }
        match word {
            Word::Alive | Word::Gone => {}
            Word::Here { room, members } => self.hear_of(node, &room, members),
            Word::Who { node: of, room } => {
                if of.is_none_or(|of| of == nodes.me) {
                    self.answer(nodes, room.as_ref());
                }
            }
        }
    }

    /// `node` says which members it has in the room `name`.
    fn hear_of(&self, node: u64, name: &RoomName, said: PresenceUpdate) {
        let Some(room) = self.known(name) else { return };
        let is_understood = {
            let mut presence = room.presence.lock();
            room.neighbours.lock().get_or_insert_default().apply(
                node,
                said,
                &mut presence,
                self.now(),
            )
        };
        if let Some(nodes) = self.0.nodes.as_ref().filter(|_| !is_understood) {
            nodes.say(Word::Who {
                node: Some(node),
                room: Some(name.clone()),
            });
        }
        room.nodes_heard.notify_waiters();
        self.is_restless(&room);
    }

    /// Sends which members this node has in the room `name`, or in every room where it ever had some.
    fn answer(&self, nodes: &Nodes, name: Option<&RoomName>) {
        let Some(name) = name else {
            // A node that has just started learns that this one is there.
            nodes.say(Word::Alive);
            for room in self.all_rooms() {
                if let Some(whole) = whole(&room) {
                    nodes.tell(room.name(), whole);
                }
            }
            return;
        };

        let room = self.known(name);
        if let Some(room) = &room {
            // Joins are gathered for a moment before they are sent.
            self.tell_nodes(room);
        }
        let whole = room.and_then(|room| whole(&room));
        nodes.tell(name, whole.unwrap_or_else(PresenceUpdate::empty));
    }

    /// `node` is gone, and with it who was there.
    fn lose(&self, node: u64) {
        let Some(nodes) = &self.0.nodes else { return };
        if nodes.heard.lock().remove(&node).is_none() {
            return;
        }
        info!(node, "another node is gone");
        self.each_room(|room| {
            let mut presence = room.presence.lock();
            if let Some(neighbours) = room.neighbours.lock().as_mut() {
                neighbours.remove_node(node, &mut presence, self.now());
            }
            drop(presence);
            room.nodes_heard.notify_waiters();
            self.is_restless(room);
        });
    }

    /// The room `name`, if it is in memory.
    pub(super) fn known(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.0
            .rooms
            .lock()
            .get(name)
            .map(|Named(room)| room.clone())
    }

    /// Calls `visit` for every room that is there now.
    pub(super) fn each_room(&self, visit: impl Fn(&Arc<Room>)) {
        self.all_rooms().iter().for_each(visit);
    }

    fn all_rooms(&self) -> Vec<Arc<Room>> {
        self.0
            .rooms
            .lock()
            .iter()
            .map(|Named(room)| room.clone())
            .collect()
    }
}

/// Returns all members of `room` on this node that the others were ever sent; `None` if there were none.
fn whole(room: &Room) -> Option<PresenceUpdate> {
    let neighbours = room.neighbours.lock();
    neighbours
        .as_ref()
        .and_then(|neighbours| neighbours.snapshot())
}

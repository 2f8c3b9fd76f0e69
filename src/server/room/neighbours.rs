//! Who is in a room by way of other nodes, and what those are told of who is here.
//!
//! Each node tells what has changed of its own members, numbered, and all of them when it is asked: so a neighbour
//! that missed something notices by the number. A member of another node is a connection like any other in
//! [`Presence`]: with its grace, so that whoever moves to another node was never gone.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::protocol::UserId;
use crate::server::room::{Presence, PresentMember, Tick};

/// What one node says of its members in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceUpdate {
    /// Grows by one with each [`PresenceUpdateKind::Delta`] of the room from this node.
    pub version: u64,
    /// What is said.
    pub kind: PresenceUpdateKind,
    /// Members, with their connections to that node; 0 for one that went.
    pub members: Vec<PresentMember>,
}

/// How an [`PresenceUpdate`] is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceUpdateKind {
    /// What has changed since the version before.
    Delta,
    /// All members.
    Snapshot,
    /// Some more of what was said with this version.
    Continuation,
}

/// See the [module docs](self).
#[derive(Debug, Default)]
pub struct RemotePresence {
    nodes: HashMap<u64, RemoteNode>,
    /// What was told of those who are here.
    told: HashMap<UserId, PresentMember>,
    /// How often something was told.
    version: u64,
}

/// Another node, as far as this room is concerned.
#[derive(Debug, Default)]
struct RemoteNode {
    /// Set while `members` is complete, as far as this node knows.
    is_heard: bool,
    version: u64,
    members: HashMap<UserId, u32>,
}

impl PresenceUpdate {
    /// Returns the answer of a node on which nobody is or was in the room.
    pub const fn empty() -> Self {
        Self {
            version: 0,
            kind: PresenceUpdateKind::Snapshot,
            members: Vec::new(),
        }
    }
}

impl RemotePresence {
    /// What of those who are here the other nodes have not been told; it counts as told.
    pub fn delta(&mut self, presence: &Presence) -> Option<PresenceUpdate> {
        let mut members = Vec::new();
        for mut present in presence.all() {
            let elsewhere: u32 = self
                .nodes
                .values()
                .filter_map(|neighbour| neighbour.members.get(&present.id))
                .sum();
            present.connections = present.connections.saturating_sub(elsewhere);
            if self
                .told
                .get(&present.id)
                .map_or(0, |told| told.connections)
                != present.connections
            {
                members.push(present);
            }
        }
        let gone = self.told.keys().filter(|id| !presence.has(id));
        members.extend(gone.map(|id| PresentMember {
            id: id.clone(),
            connections: 0,
            since: 0,
        }));
        if members.is_empty() {
            return None;
        }
        for news in &members {
            if news.connections == 0 {
                self.told.remove(&news.id);
            } else {
                self.told.insert(news.id.clone(), news.clone());
            }
        }
        self.version += 1;
        Some(PresenceUpdate {
            version: self.version,
            kind: PresenceUpdateKind::Delta,
            members,
        })
    }

    /// All that was told of those who are here, if anything ever was.
    pub fn snapshot(&self) -> Option<PresenceUpdate> {
        let members = self.told.values().cloned().collect();
        (self.version > 0).then_some(PresenceUpdate {
            version: self.version,
            kind: PresenceUpdateKind::Snapshot,
            members,
        })
    }

    /// `node` says `said`. Whether that was understood; if not, it must be asked for the whole.
    pub fn apply(
        &mut self,
        node: u64,
        said: PresenceUpdate,
        presence: &mut Presence,
        now: Tick,
    ) -> bool {
        let neighbour = self.nodes.entry(node).or_default();
        let is_next = match said.kind {
            PresenceUpdateKind::Delta => said.version == neighbour.version + 1,
            PresenceUpdateKind::Continuation => said.version == neighbour.version,
            PresenceUpdateKind::Snapshot => true,
        };
        neighbour.is_heard = is_next;
        match said.kind {
            _ if !is_next => return false,
            PresenceUpdateKind::Delta | PresenceUpdateKind::Continuation => {}
            PresenceUpdateKind::Snapshot => {
                let here: HashSet<&UserId> = said.members.iter().map(|member| &member.id).collect();
                let known = neighbour.members.keys();
                let gone: Vec<UserId> = known.filter(|id| !here.contains(id)).cloned().collect();
                gone.iter()
                    .for_each(|id| neighbour.change(id, 0, 0, presence, now));
            }
        }
        neighbour.version = said.version;
        for PresentMember {
            id,
            connections,
            since,
        } in &said.members
        {
            neighbour.change(id, *connections, *since, presence, now);
        }
        true
    }

    /// Returns whether each of `nodes` has sent which members it has here.
    pub fn has_snapshots_of<'a>(&self, mut nodes: impl Iterator<Item = &'a u64>) -> bool {
        nodes.all(|node| self.nodes.get(node).is_some_and(|node| node.is_heard))
    }

    /// Marks what the other nodes have sent as possibly out of date, until they send all of it again.
    pub fn mark_stale(&mut self) {
        self.nodes
            .values_mut()
            .for_each(|node| node.is_heard = false);
    }

    /// `node` is no more, or is not heard of.
    pub fn remove_node(&mut self, node: u64, presence: &mut Presence, now: Tick) {
        let Some(mut neighbour) = self.nodes.remove(&node) else {
            return;
        };
        let members: Vec<UserId> = neighbour.members.keys().cloned().collect();
        members
            .iter()
            .for_each(|id| neighbour.change(id, 0, 0, presence, now));
    }
}

impl RemoteNode {
    /// From now on `id` has so many connections there.
    fn change(
        &mut self,
        id: &UserId,
        connections: u32,
        since: u64,
        presence: &mut Presence,
        now: Tick,
    ) {
        let before = if connections == 0 {
            self.members.remove(id)
        } else {
            self.members.insert(id.clone(), connections)
        };
        let before = before.unwrap_or_default();
        (before..connections).for_each(|_| presence.join(id, since));
        (connections..before).for_each(|_| presence.leave(id, now));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const NODES: usize = 3;

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("user-{number}")).expect("a name")
    }

    fn counts(presence: &Presence) -> BTreeMap<UserId, u32> {
        let here = presence.all().filter(|present| present.connections > 0);
        here.map(|present| (present.id, present.connections))
            .collect()
    }

    proptest! {
        /// Nodes that tell each other over a way that loses some of it, and ask when they notice.
        #[test]
        fn every_node_knows_who_is_on_any_of_them(
            steps in prop::collection::vec((0..NODES, 0usize..5, 0u8..4, any::<bool>()), 0..80),
        ) {
            let now = Tick::after_start(Duration::ZERO);
            let mut nodes: Vec<(Presence, RemotePresence)> = (0..NODES).map(|_| Default::default()).collect();
            let mut open = [[0u32; 5]; NODES];
            let tell = |nodes: &mut Vec<(Presence, RemotePresence)>, from: usize, is_lost: bool| {
                let (presence, neighbours) = &mut nodes[from];
                let Some(news) = neighbours.delta(presence).filter(|_| !is_lost) else { return };
                let whole = neighbours.snapshot().expect("something was told");
                for (_, (presence, neighbours)) in nodes.iter_mut().enumerate().filter(|(at, _)| *at != from) {
                    if !neighbours.apply(from as u64, news.clone(), presence, now) {
                        assert!(neighbours.apply(from as u64, whole.clone(), presence, now));
                    }
                }
            };
            for (node, who, what, is_lost) in steps {
                match what {
                    0 | 1 => {
                        open[node][who] += 1;
                        nodes[node].0.join(&user(who), 0);
                    }
                    2 if open[node][who] > 0 => {
                        open[node][who] -= 1;
                        nodes[node].0.leave(&user(who), now);
                    }
                    _ => tell(&mut nodes, node, is_lost),
                }
            }
            // What was lost last is noticed by the next sign of life, and asked for.
            for node in 0..NODES {
                open[node][0] += 1;
                nodes[node].0.join(&user(0), 0);
                tell(&mut nodes, node, true);
                let Some(whole) = nodes[node].1.snapshot() else { continue };
                for (at, (presence, neighbours)) in nodes.iter_mut().enumerate() {
                    let is_heard = at == node || neighbours.apply(node as u64, whole.clone(), presence, now);
                    prop_assert!(is_heard);
                }
            }
            let total = |who: usize| open.iter().map(|of_node| of_node[who]).sum::<u32>();
            let expected: BTreeMap<_, _> =
                (0..5).filter(|who| total(*who) > 0).map(|who| (user(who), total(who))).collect();
            for (presence, _) in &nodes {
                prop_assert_eq!(counts(presence), expected.clone());
            }
            // And when the others are gone, each has its own.
            for (at, (presence, neighbours)) in nodes.iter_mut().enumerate() {
                (0..NODES as u64).for_each(|node| neighbours.remove_node(node, presence, now));
                let own: BTreeMap<_, _> =
                    (0..5).filter(|who| open[at][*who] > 0).map(|who| (user(who), open[at][who])).collect();
                prop_assert_eq!(counts(presence), own);
            }
        }
    }
}

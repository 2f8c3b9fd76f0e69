//! The members of a room on other nodes, and the updates that this node sends about its own.
//!
//! Each node sends numbered deltas of its own members, and a snapshot on request. A receiver that misses an
//! update detects the gap in the numbers and requests a snapshot. In [`Presence`], a connection to another node
//! counts like one to this node, with the same grace period, so a client that moves to another node is not shown
//! as leaving.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::protocol::UserId;
use crate::server::room::{Presence, PresentMember, Tick};

/// A node's message about its own members of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceUpdate {
    /// Version of the node's members: grows by one with each [`PresenceUpdateKind::Delta`].
    pub version: u64,
    /// Relation of `members` to the node's previous updates.
    pub kind: PresenceUpdateKind,
    /// Members with the number of their connections to the node; 0 for one that left.
    pub members: Vec<PresentMember>,
}

/// The relation of a [`PresenceUpdate`] to the previous ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceUpdateKind {
    /// The changes since the previous version.
    Delta,
    /// All members.
    Snapshot,
    /// Further members of the previous update, which has the same version.
    Continuation,
}

/// The members of a room on other nodes, and the own members as last sent to them.
#[derive(Debug, Default)]
pub struct RemotePresence {
    nodes: HashMap<u64, RemoteNode>,
    /// Members of this node in the last update.
    sent: HashMap<UserId, PresentMember>,
    /// Version of the last update.
    version: u64,
}

/// The members of one other node.
#[derive(Debug, Default)]
struct RemoteNode {
    /// False after a missed update, until the next snapshot.
    is_current: bool,
    version: u64,
    /// Number of connections of each member.
    members: HashMap<UserId, u32>,
}

impl PresenceUpdate {
    /// Returns the snapshot of a node that never had a member in the room.
    pub const fn empty() -> Self {
        Self {
            version: 0,
            kind: PresenceUpdateKind::Snapshot,
            members: Vec::new(),
        }
    }
}

impl RemotePresence {
    /// Returns the changes of this node's members since the last update, and marks them as sent. `None` if
    /// there are none.
    pub fn delta(&mut self, presence: &Presence) -> Option<PresenceUpdate> {
        let mut members: Vec<PresentMember> = presence
            .members()
            .map(|member| self.without_remote_connections(member))
            .filter(|member| {
                let sent = self.sent.get(&member.id);
                let sent = sent.map_or((0, 0), |sent| (sent.connections, sent.state_set_at));
                let has_new_state = member.connections > 0 && member.state_set_at != sent.1;
                member.connections != sent.0 || has_new_state
            })
            .collect();

        let removed = self.sent.keys().filter(|id| !presence.contains(id));
        members.extend(removed.map(|id| PresentMember {
            id: id.clone(),
            connections: 0,
            since: 0,
            state: None,
            state_set_at: 0,
        }));
        if members.is_empty() {
            return None;
        }

        for member in &members {
            if member.connections == 0 {
                self.sent.remove(&member.id);
            } else {
                self.sent.insert(member.id.clone(), member.clone());
            }
        }
        self.version += 1;

        Some(PresenceUpdate {
            version: self.version,
            kind: PresenceUpdateKind::Delta,
            members,
        })
    }

    /// Returns `member` with the number of its connections to this node only.
    fn without_remote_connections(&self, mut member: PresentMember) -> PresentMember {
        let remote: u32 = self
            .nodes
            .values()
            .filter_map(|node| node.members.get(&member.id))
            .sum();

        member.connections = member.connections.saturating_sub(remote);
        member
    }

    /// Returns all of this node's members as of the last update; `None` if there was no update.
    pub fn snapshot(&self) -> Option<PresenceUpdate> {
        let members = self.sent.values().cloned().collect();
        (self.version > 0).then_some(PresenceUpdate {
            version: self.version,
            kind: PresenceUpdateKind::Snapshot,
            members,
        })
    }

    /// Applies an update of `node` to `presence`. Returns false if an earlier update was missed; the node must
    /// then be requested to send a snapshot.
    pub fn apply(
        &mut self,
        node: u64,
        update: PresenceUpdate,
        presence: &mut Presence,
        now: Tick,
    ) -> bool {
        let node = self.nodes.entry(node).or_default();

        node.is_current = match update.kind {
            PresenceUpdateKind::Delta => update.version == node.version + 1,
            PresenceUpdateKind::Continuation => update.version == node.version,
            PresenceUpdateKind::Snapshot => true,
        };
        if !node.is_current {
            return false;
        }

        if update.kind == PresenceUpdateKind::Snapshot {
            let current: HashSet<&UserId> =
                update.members.iter().map(|member| &member.id).collect();
            let removed = node.members.keys().filter(|id| !current.contains(id));
            let removed: Vec<UserId> = removed.cloned().collect();
            for id in &removed {
                node.set_connections(id, 0, 0, presence, now);
            }
        }

        node.version = update.version;
        for member in update.members {
            node.set_connections(&member.id, member.connections, member.since, presence, now);
            presence.merge_state(&member.id, member.state, member.state_set_at);
        }
        true
    }

    /// Returns true if all members of each of `nodes` are known and up to date.
    pub fn has_snapshots_of<'a>(&self, mut nodes: impl Iterator<Item = &'a u64>) -> bool {
        nodes.all(|node| self.nodes.get(node).is_some_and(|node| node.is_current))
    }

    /// Marks the members of all other nodes as possibly out of date, until each node sends a snapshot.
    pub fn mark_stale(&mut self) {
        self.nodes
            .values_mut()
            .for_each(|node| node.is_current = false);
    }

    /// Removes `node`, which has stopped or become unreachable, and its members.
    pub fn remove_node(&mut self, node: u64, presence: &mut Presence, now: Tick) {
        let Some(mut node) = self.nodes.remove(&node) else {
            return;
        };

        let members: Vec<UserId> = node.members.keys().cloned().collect();
        for id in &members {
            node.set_connections(id, 0, 0, presence, now);
        }
    }
}

impl RemoteNode {
    /// Sets the number of connections of `id` to this node, and adds or removes the difference in `presence`.
    fn set_connections(
        &mut self,
        id: &UserId,
        connections: u32,
        since: u64,
        presence: &mut Presence,
        now: Tick,
    ) {
        let previous = if connections == 0 {
            self.members.remove(id)
        } else {
            self.members.insert(id.clone(), connections)
        };
        let previous = previous.unwrap_or_default();

        (previous..connections).for_each(|_| presence.join(id, since));
        (connections..previous).for_each(|_| presence.disconnect(id, now));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Json;
    use crate::protocol::samples::numbered_user as user;

    const NODES: usize = 3;
    const USERS: usize = 5;
    const NOW: Tick = Tick::after_start(Duration::ZERO);

    type Node = (Presence, RemotePresence);

    /// Returns the number of connections of each member that has any.
    fn connections(presence: &Presence) -> BTreeMap<UserId, u32> {
        presence
            .members()
            .filter(|member| member.connections > 0)
            .map(|member| (member.id, member.connections))
            .collect()
    }

    /// Sends the delta of `nodes[from]` to the others. Those that have missed an earlier one, because
    /// `is_lost` was set, receive a snapshot.
    fn send_delta(nodes: &mut [Node], from: usize, is_lost: bool) {
        let (presence, remote) = &mut nodes[from];
        let Some(delta) = remote.delta(presence).filter(|_| !is_lost) else {
            return;
        };
        let snapshot = remote.snapshot().expect("an update was sent");

        for (_, (presence, remote)) in nodes.iter_mut().enumerate().filter(|(to, _)| *to != from) {
            if !remote.apply(from as u64, delta.clone(), presence, NOW) {
                assert!(remote.apply(from as u64, snapshot.clone(), presence, NOW));
            }
        }
    }

    #[test]
    fn a_state_reaches_the_other_nodes_and_stays_while_the_user_has_a_connection() {
        let mut nodes: Vec<Node> = (0..NODES).map(|_| Default::default()).collect();
        let state = |text: &str| Some(Json::from_compact(text));
        for node in [0, 1] {
            nodes[node].0.join(&user(0), 0);
            send_delta(&mut nodes, node, false);
        }

        nodes[0].0.set_state(&user(0), state("1"), 10);
        send_delta(&mut nodes, 0, false);
        nodes[1].0.set_state(&user(0), state("2"), 5);
        send_delta(&mut nodes, 1, false);
        nodes[1].0.disconnect(&user(0), NOW);
        send_delta(&mut nodes, 1, false);
        send_delta(&mut nodes, 0, false);

        for (presence, _) in &mut nodes {
            let members = presence.sorted_members().expect("a small room");
            assert_eq!(members[0].connections, 1);
            assert_eq!(members[0].state, state("2"));
        }
        let snapshot = nodes[0].1.snapshot().expect("an update was sent");
        assert_eq!(snapshot.members[0].state, state("2"));
    }

    proptest! {
        /// Nodes that send updates, of which some are lost, and request snapshots when they detect a loss.
        #[test]
        fn every_node_has_the_members_of_all_nodes(
            steps in prop::collection::vec((0..NODES, 0..USERS, 0u8..4, any::<bool>()), 0..80),
        ) {
            let mut nodes: Vec<Node> = (0..NODES).map(|_| Default::default()).collect();
            let mut open = [[0u32; USERS]; NODES];

            for (node, number, operation, is_lost) in steps {
                match operation {
                    0 | 1 => {
                        open[node][number] += 1;
                        nodes[node].0.join(&user(number), 0);
                    }
                    2 if open[node][number] > 0 => {
                        open[node][number] -= 1;
                        nodes[node].0.disconnect(&user(number), NOW);
                    }
                    _ => send_delta(&mut nodes, node, is_lost),
                }
            }

            // Replace the last lost update of each node by a snapshot, as heartbeats do in a cluster.
            for from in 0..NODES {
                open[from][0] += 1;
                nodes[from].0.join(&user(0), 0);
                send_delta(&mut nodes, from, true);
                let Some(snapshot) = nodes[from].1.snapshot() else { continue };
                for (to, (presence, remote)) in nodes.iter_mut().enumerate() {
                    if to != from {
                        prop_assert!(remote.apply(from as u64, snapshot.clone(), presence, NOW));
                    }
                }
            }

            let counts = |count: &dyn Fn(usize) -> u32| -> BTreeMap<UserId, u32> {
                (0..USERS)
                    .map(|number| (user(number), count(number)))
                    .filter(|(_, connections)| *connections > 0)
                    .collect()
            };
            let expected = counts(&|number| open.iter().map(|node| node[number]).sum());
            for (presence, _) in &nodes {
                prop_assert_eq!(connections(presence), expected.clone());
            }

            for (own, (presence, remote)) in nodes.iter_mut().enumerate() {
                (0..NODES as u64).for_each(|node| remote.remove_node(node, presence, NOW));
                prop_assert_eq!(connections(presence), counts(&|number| open[own][number]));
            }
        }
    }
}

//! Moderation rules and commands, applied on this node and on every other node of the service.
//!
//! If nodes share a store, a rule is stored there first and is then sent to all nodes, including this one. So all
//! nodes apply the rules in the same order. A node that was disconnected, or starts later, gets them too.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::protocol::admin::{Ban, BanTarget};
use crate::protocol::{CloseCode, RoomName, RoomSelector, UnsubscribeCode};
use crate::server::hub::{ConnectionEntry, Connections};
use crate::server::moderation::{
    AccessRequest, ClusterCommand, Kick, Moderation, RuleChange, TooManyBans,
};
use crate::server::session::IpBucket;
use crate::server::store::{RuleEvent, RuleStore, StoreError};

/// The effect of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// True if the command changed anything.
    pub changed: bool,
    /// The number of connections of this node that were closed or lost a subscription.
    pub disconnected: usize,
}

/// The reason why a command could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// There are too many bans.
    #[error(transparent)]
    TooManyBans(#[from] TooManyBans),
    /// The command could not be stored.
    #[error("{0}")]
    NotStored(String),
}

/// The moderation rules, and the connections that they apply to.
#[derive(Debug)]
pub struct ClusterModeration {
    moderation: Moderation,
    connections: Arc<Connections>,
    /// The store of the rules of all nodes; `None` on a single node.
    rules: Option<Arc<dyn RuleStore>>,
    /// The version of the newest rule of all nodes that is applied here.
    applied: watch::Sender<u64>,
}

impl ClusterModeration {
    pub(super) fn new(
        moderation: Moderation,
        connections: Arc<Connections>,
        rules: Option<Arc<dyn RuleStore>>,
    ) -> Self {
        Self {
            moderation,
            connections,
            rules,
            applied: watch::Sender::new(0),
        }
    }

    /// Returns the rules that apply on this node.
    pub(super) const fn rules(&self) -> &Moderation {
        &self.moderation
    }

    /// Applies `change`, and ends the connections and subscriptions that it blocks.
    ///
    /// # Errors
    /// If the change could not be applied.
    pub async fn change(self: &Arc<Self>, change: RuleChange) -> Result<Effect, RuleError> {
        let this = self.clone();
        // A separate task completes the change even if the client disconnects.
        let changing = tokio::spawn(async move {
            match &this.rules {
                Some(rules) => this.change_all(&**rules, change).await,
                None => this.change_here(change).await,
            }
        });
        changing.await.map_err(not_stored)?
    }

    async fn change_here(&self, change: RuleChange) -> Result<Effect, RuleError> {
        let (moderation, rule) = (self.moderation.clone(), change.clone());
        let changed = tokio::task::spawn_blocking(move || moderation.change(&rule)).await;
        let changed = changed.map_err(not_stored)?.map_err(not_stored)??;

        let disconnected = self.enforce(&change).await;
        Ok(Effect {
            changed,
            disconnected,
        })
    }

    async fn change_all(
        &self,
        rules: &dyn RuleStore,
        change: RuleChange,
    ) -> Result<Effect, RuleError> {
        if !self.moderation.would_change(&change)? {
            return Ok(Effect {
                changed: false,
                disconnected: 0,
            });
        }

        // Counted first, because the stored rule is sent back to this node, which then ends them.
        let mut disconnected = 0;
        self.connections
            .for_each_entry(|entry| {
                disconnected += usize::from(entry.reads(|rooms| blocks(&change, &entry, rooms)));
            })
            .await;

        let name = change.key();
        let rule = serde_json::to_vec(&ClusterCommand::Change(change)).map_err(not_stored)?;
        let version = rules.put(&name, rule).await.map_err(not_stored)?;

        let mut applied = self.applied.subscribe();
        // The sender cannot be dropped while `self` exists.
        let _ = applied.wait_for(|applied| *applied >= version).await;
        Ok(Effect {
            changed: true,
            disconnected,
        })
    }

    /// Ends the connections or subscriptions that `kick` selects, on every node. Returns the number of connections on this
    /// node.
    ///
    /// # Errors
    /// If the other nodes cannot be reached. The command is applied on this node anyway.
    pub async fn disconnect(&self, kick: Kick) -> Result<usize, StoreError> {
        let disconnected = self.disconnect_here(&kick).await;

        if let Some(rules) = &self.rules {
            let command = serde_json::to_vec(&ClusterCommand::Kick(kick));
            let command = command.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            rules.send(command).await?;
        }
        Ok(disconnected)
    }

    /// Applies the rules and commands of all nodes, until dropped.
    pub(super) async fn run(self: &Arc<Self>, mut events: UnboundedReceiver<RuleEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                RuleEvent::Rule { version, rule } => {
                    self.apply(&rule);
                    self.applied.send_replace(version);
                }
                RuleEvent::Command(command) => self.apply(&command),
            }
        }
    }

    fn apply(self: &Arc<Self>, command: &[u8]) {
        let this = self.clone();
        match serde_json::from_slice(command) {
            Ok(ClusterCommand::Change(change)) => {
                // The rule is kept only in memory, because the store already has it; so this does not block.
                let changed = self
                    .moderation
                    .change(&change)
                    .map_err(|error| error.to_string());
                let changed = changed.and_then(|done| done.map_err(|error| error.to_string()));

                if let Err(error) = changed {
                    warn!(error, ?change, "could not apply a rule of all nodes");
                }

                tokio::spawn(async move {
                    let disconnected = this.enforce(&change).await;
                    info!(?change, disconnected, "applied a rule of all nodes");
                });
            }
            Ok(ClusterCommand::Kick(kick)) => {
                tokio::spawn(async move {
                    let disconnected = this.disconnect_here(&kick).await;
                    info!(?kick, disconnected, "applied a command to all nodes");
                });
            }
            Err(error) => warn!(%error, "could not decode a rule of all nodes"),
        }
    }

    async fn disconnect_here(&self, kick: &Kick) -> usize {
        let is_selected = |entry: &ConnectionEntry, rooms: &RoomSelector| {
            kick.applies_to(
                rooms,
                entry.info.account(),
                entry.address,
                entry.info.since(),
            )
        };

        let connections = &self.connections;
        if kick.is_limited_to_rooms() {
            connections
                .unsubscribe(UnsubscribeCode::Kicked, is_selected)
                .await
        } else {
            connections
                .disconnect(CloseCode::Kicked, |entry| {
                    kick.applies_to_client(entry.info.account(), entry.address, entry.info.since())
                })
                .await
        }
    }

    /// Ends the connections or subscriptions that `change` blocks. Returns the number of connections.
    async fn enforce(&self, change: &RuleChange) -> usize {
        let connections = &self.connections;
        match change {
            RuleChange::Ban(Ban {
                target,
                room: Some(room),
                ..
            }) => self.enforce_in_room(target, room).await,
            RuleChange::Ban(ban) => {
                connections
                    .disconnect(CloseCode::NotAllowed, |entry| is_target(&ban.target, entry))
                    .await
            }
            RuleChange::Unban {
                target,
                room: Some(room),
            } => {
                self.enforce_in_room(target, room).await;
                0
            }
            RuleChange::Close(_) => {
                let is_closed =
                    |entry: &ConnectionEntry, rooms: &RoomSelector| blocks(change, entry, rooms);
                connections
                    .unsubscribe(UnsubscribeCode::RoomClosed, is_closed)
                    .await
            }
            RuleChange::Unban { room: None, .. } | RuleChange::Open { .. } => 0,
        }
    }

    /// Applies the rules about `room` to the connections of `target` that read it: if they are banned, their subscription
    /// to the room ends, and their patterns exclude it. Returns the number of connections.
    async fn enforce_in_room(&self, target: &BanTarget, room: &RoomName) -> usize {
        let by_name = RoomSelector::from(room.clone());
        let mut affected = 0;

        let visit = |entry: ConnectionEntry| {
            if !is_target(target, &entry) || !entry.reads(|rooms| rooms.matches(room)) {
                return;
            }
            affected += 1;
            // First, so that the client gets one frame if it reads the room both by name and by a pattern.
            entry.subscriber.apply_rules();
            let access = AccessRequest::new(entry.info.account(), entry.address, room);
            if self.moderation.admit_reader(&access).is_err() {
                let code = UnsubscribeCode::Banned;
                entry.subscriber.unsubscribe(&by_name, code);
            }
        };
        self.connections.for_each_entry(visit).await;
        affected
    }
}

fn not_stored(error: impl ToString) -> RuleError {
    RuleError::NotStored(error.to_string())
}

/// Returns true if `change` keeps messages of `rooms` from this connection. A closed room has no new messages, so patterns
/// stay as they are.
fn blocks(change: &RuleChange, entry: &ConnectionEntry, rooms: &RoomSelector) -> bool {
    match change {
        RuleChange::Ban(ban) => {
            let is_in_room = ban.room.as_ref().is_none_or(|room| rooms.matches(room));
            is_in_room && is_target(&ban.target, entry)
        }
        RuleChange::Close(closure) => {
            matches!(rooms, RoomSelector::Room(room) if *room == closure.room)
        }
        RuleChange::Unban { .. } | RuleChange::Open { .. } => false,
    }
}

/// Returns true if a ban of `target` applies to this connection.
fn is_target(target: &BanTarget, entry: &ConnectionEntry) -> bool {
    match target {
        BanTarget::Id(id) => entry.info.account() == Some(id),
        BanTarget::Address(address) => IpBucket::of(*address) == IpBucket::of(entry.address),
    }
}

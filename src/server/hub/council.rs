//! What operators decide: put in force here, and on every other node of the service.
//!
//! Where nodes share a store, a decree is kept there first and comes back to all, this one too; so it is in force in
//! the same order on each, and a node that was cut off or begins later learns of it.

use std::sync::Arc;

use tracing::{info, warn};

use crate::protocol::CloseCode;
use crate::protocol::admin::BanTarget;
use crate::server::hub::{Hub, Seat};
use crate::server::moderation::{ClusterCommand, Kick, RuleChange, TooManyBans};
use crate::server::session::IpBucket;
use crate::server::store::{Council, StoreError};

/// What a decree led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Whether anything was there to be changed.
    pub was: bool,
    /// Connections that it ends, those of this node.
    pub kicked: usize,
}

/// Why a decree is not in force.
#[derive(Debug, thiserror::Error)]
pub enum DecreeError {
    /// There are too many bans.
    #[error(transparent)]
    TooManyBans(#[from] TooManyBans),
    /// It cannot be kept.
    #[error("{0}")]
    NotKept(String),
}

impl Hub {
    /// Puts `decree` in force, and ends the connections that it bars.
    ///
    /// # Errors
    /// If it is not in force.
    pub async fn decree(&self, decree: RuleChange) -> Result<Effect, DecreeError> {
        let hub = self.clone();
        // A task of its own: whoever asked may go, and then half of it must not stay undone.
        let doing = tokio::spawn(async move {
            match hub.0.store.council() {
                Some(council) => hub.decree_for_all(&*council, decree).await,
                None => hub.decree_here(decree).await,
            }
        });
        // It is not joined only if it panicked, which its own output has told.
        doing
            .await
            .map_err(|error| DecreeError::NotKept(error.to_string()))?
    }

    async fn decree_here(&self, decree: RuleChange) -> Result<Effect, DecreeError> {
        let (moderation, change) = (self.0.moderation.clone(), decree.clone());
        let not_kept = |error: String| DecreeError::NotKept(error);
        let changed = tokio::task::spawn_blocking(move || moderation.change(&change)).await;
        let was = changed
            .map_err(|error| not_kept(error.to_string()))?
            .map_err(|error| not_kept(error.to_string()))??;
        Ok(Effect {
            was,
            kicked: self.enforce(&decree).await,
        })
    }

    async fn decree_for_all(
        &self,
        council: &dyn Council,
        decree: RuleChange,
    ) -> Result<Effect, DecreeError> {
        if !self.0.moderation.would_change(&decree)? {
            return Ok(Effect {
                was: false,
                kicked: 0,
            });
        }
        // Counted before: it comes back like any other, and those are gone then.
        let mut kicked = 0;
        self.each_seat(|seat| bars(&decree, seat).then_some(()), |()| kicked += 1)
            .await;
        let name = decree.key();
        let not_kept = |error: String| DecreeError::NotKept(error);
        let rule = serde_json::to_vec(&ClusterCommand::Change(decree))
            .map_err(|error| not_kept(error.to_string()))?;
        council
            .keep(&name, rule)
            .await
            .map_err(|error| not_kept(error.to_string()))?;
        Ok(Effect { was: true, kicked })
    }

    /// Ends the connections that `kick` means, on every node; gives how many they were here.
    ///
    /// # Errors
    /// If the other nodes cannot be told now. Those of this one are ended.
    pub async fn evict(&self, kick: Kick) -> Result<usize, StoreError> {
        let kicked = self.evict_here(&kick).await;
        if let Some(council) = self.0.store.council() {
            let order = serde_json::to_vec(&ClusterCommand::Kick(kick));
            council
                .order(order.map_err(|error| StoreError::Unavailable(error.to_string()))?)
                .await?;
        }
        Ok(kicked)
    }

    /// Listens to what is decided on other nodes, if there may be any.
    pub(super) fn heed_council(&self) {
        let Some(council) = self.0.store.council() else {
            return;
        };
        let shared = Arc::downgrade(&self.0);
        council.heed(Box::new(move |said| {
            if let Some(shared) = shared.upgrade() {
                Self(shared).obey(said);
            }
        }));
    }

    fn obey(&self, said: &[u8]) {
        let hub = self.clone();
        match serde_json::from_slice(said) {
            Ok(ClusterCommand::Change(decree)) => {
                // In memory only, as others keep it: it waits for nothing.
                match self.0.moderation.change(&decree) {
                    Ok(Ok(_was)) => {}
                    Ok(Err(error)) => {
                        warn!(%error, ?decree, "a decree is not in force on this node")
                    }
                    Err(error) => warn!(%error, ?decree, "a decree is not in force on this node"),
                }
                tokio::spawn(async move {
                    let kicked = hub.enforce(&decree).await;
                    info!(?decree, kicked, "decided for all nodes");
                });
            }
            Ok(ClusterCommand::Kick(kick)) => {
                tokio::spawn(async move {
                    let kicked = hub.evict_here(&kick).await;
                    info!(?kick, kicked, "decided for all nodes");
                });
            }
            Err(error) => warn!(%error, "what another node decided cannot be read"),
        }
    }

    async fn evict_here(&self, kick: &Kick) -> usize {
        let is_meant = |seat: &Seat| {
            kick.applies_to(seat.room(), seat.account(), seat.address(), seat.since())
        };
        self.kick(CloseCode::Kicked, is_meant).await
    }

    /// Ends the connections that `decree` bars; gives how many they were.
    async fn enforce(&self, decree: &RuleChange) -> usize {
        let code = match decree {
            RuleChange::Ban(_) => CloseCode::NotAllowed,
            RuleChange::Close(_) => CloseCode::Kicked,
            RuleChange::Unban { .. } | RuleChange::Open { .. } => return 0,
        };
        self.kick(code, |seat| bars(decree, seat)).await
    }
}

/// Whether `decree` keeps out who has this seat.
fn bars(decree: &RuleChange, seat: &Seat) -> bool {
    match decree {
        RuleChange::Ban(ban) => {
            ban.room.as_ref().is_none_or(|room| room == seat.room())
                && match &ban.target {
                    BanTarget::Id(id) => seat.account() == Some(id),
                    BanTarget::Address(address) => {
                        IpBucket::of(*address) == IpBucket::of(seat.address())
                    }
                }
        }
        RuleChange::Close(closure) => closure.room == *seat.room(),
        RuleChange::Unban { .. } | RuleChange::Open { .. } => false,
    }
}

//! The loaded state of one hook, on the node that runs it.

use tokio::time::{Duration, Instant};

use crate::protocol::{Offset, Position, RoomPattern};
use crate::server::hooks::HookSettings;
use crate::server::hooks::client::PostError;
use crate::server::hooks::control::HookProgress;
use crate::server::hub::{Hub, Refusal, Source};
use crate::server::store::{HookState, HookStatus, StoreError};

/// The time between two saves of a position that moves only past messages of other rooms.
pub(super) const SAVE_EVERY: Duration = Duration::from_secs(30);

/// A hook whose state was loaded.
#[derive(Debug)]
pub(super) struct OpenHook {
    /// The feeds of its rooms, whose heads show that there are new messages.
    sources: Vec<Source>,
    pub(super) state: HookState,
    /// The reason of the last failure, if the newest attempt failed.
    pub(super) error: Option<String>,
    /// The number of failed attempts since the last success.
    pub(super) failures: u32,
    /// The end of the batch that failed, which is sent again with the same last message.
    pub(super) retry_until: Option<Offset>,
    /// The position that is stored.
    saved: Position,
    saved_at: Instant,
}

/// The reason why a hook cannot be opened now.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenHookError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A limit of the hub is reached.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl OpenHook {
    /// Loads the state of the hook. A hook without one begins after the newest message, which is stored.
    pub(super) async fn load(settings: &HookSettings, hub: &Hub) -> Result<Self, OpenHookError> {
        let HookSettings { name, rooms, .. } = settings;
        let mut sources = Vec::with_capacity(rooms.len());
        for selector in rooms {
            sources.push(hub.open_source(selector).await?);
        }

        let store = hub.store();
        let state = match store.load_hook(name).await? {
            Some(state) => state,
            None => {
                let bounds = store.matching_bounds(&RoomPattern::every_room()).await?;
                let state = HookState {
                    position: Position {
                        epoch: bounds.epoch,
                        offset: bounds.newest,
                    },
                    status: HookStatus::Active,
                };
                store.save_hook(name, state.clone()).await?;
                state
            }
        };

        Ok(Self {
            sources,
            saved: state.position.clone(),
            saved_at: Instant::now(),
            state,
            error: None,
            failures: 0,
            retry_until: None,
        })
    }

    /// Returns the progress for operators.
    pub(super) fn progress(&self) -> HookProgress {
        HookProgress {
            state: Some(self.state.clone()),
            sources: self.sources.clone(),
            failures: self.failures,
            error: self.error.clone(),
            is_standby: false,
        }
    }

    /// Returns true if its rooms have messages after the position.
    pub(super) fn has_news(&self) -> bool {
        let heads = self.sources.iter().map(|source| source.feed().head());
        heads.max() > Some(self.state.position.offset)
    }

    /// Returns true if the position has moved since it was saved, and is due to be saved.
    pub(super) fn is_save_due(&self) -> bool {
        self.state.position != self.saved && self.saved_at.elapsed() >= SAVE_EVERY
    }

    /// Records that `state` is stored.
    pub(super) fn on_saved(&mut self, state: HookState) {
        self.saved = state.position.clone();
        self.saved_at = Instant::now();
        self.state = state;
    }

    /// Records that the receiver has accepted the messages up to `end`.
    pub(super) fn on_delivered(&mut self, end: Position) {
        self.failures = 0;
        self.error = None;
        self.retry_until = None;
        self.state.position = end;
    }

    /// Records that the receiver has not accepted the messages up to `end`.
    pub(super) fn on_failed(&mut self, error: &PostError, end: Offset) {
        self.failures = self.failures.saturating_add(1);
        self.error = Some(error.to_string());
        self.retry_until = Some(end);
    }
}

//! The states of the hooks as operators see them, and their commands. The runner of a hook executes them, between two
//! attempts or instead of one. On a node that does not run the hook, it changes the stored state, which the node that does
//! loads again.

use std::sync::Arc;

use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::protocol::Offset;
use crate::protocol::admin::HookSummary;
use crate::server::hooks::{HookEvent, HookSettings};
use crate::server::hub::{Hub, Source};
use crate::server::metrics;
use crate::server::store::{HookState, Limit, MatchingRange, StoreError, now_millis};

/// A command of an operator to a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookCommand {
    /// Delivers nothing until the hook is resumed, also after a restart.
    Pause,
    /// Delivers messages again, at once.
    Resume,
    /// Delivers the messages from this offset on again.
    Replay(Offset),
}

/// The reason why a command was not executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookCommandError {
    /// The settings have no such hook.
    #[error("there is no hook {0:?} in the settings")]
    NoHook(String),
    /// The offset is that of a later message.
    #[error("there is no message {from} yet: the newest offset is {newest}")]
    NoOffset {
        /// The requested offset.
        from: Offset,
        /// The newest offset.
        newest: Offset,
    },
    /// The state of the hook cannot be stored now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A command, and the sender of its result: the new state.
pub(super) type PendingCommand = (
    HookCommand,
    oneshot::Sender<Result<HookState, HookCommandError>>,
);

/// The progress of a hook, set by its runner.
#[derive(Debug, Default)]
pub(super) struct HookProgress {
    /// The state; `None` until it is loaded.
    pub(super) state: Option<HookState>,
    /// The feeds of the rooms.
    pub(super) sources: Vec<Source>,
    /// The number of failed attempts since the last success.
    pub(super) failures: u32,
    /// The reason of the last failure.
    pub(super) error: Option<String>,
    /// True if another node runs the hook.
    pub(super) is_standby: bool,
}

/// One hook, as operators see it.
#[derive(Debug)]
pub(super) struct HookControl {
    pub(super) settings: HookSettings,
    pub(super) progress: Arc<Mutex<HookProgress>>,
    pub(super) commands: mpsc::Sender<PendingCommand>,
}

/// The hooks, as operators see them. A cheap handle.
#[derive(Clone, Debug)]
pub struct HookControls {
    hub: Hub,
    hooks: Arc<[HookControl]>,
}

impl HookControls {
    pub(super) fn new(hub: Hub, hooks: Vec<HookControl>) -> Self {
        Self {
            hub,
            hooks: hooks.into(),
        }
    }

    /// Returns the states of all hooks, in the order of the settings.
    pub async fn list(&self) -> Vec<HookSummary> {
        join_all(self.hooks.iter().map(|hook| self.summary(hook, None))).await
    }

    /// Sets the metrics of all hooks.
    pub async fn record_metrics(&self) {
        let now = now_millis();
        for hook in self.list().await {
            let age = hook.oldest.map_or(0, |oldest| now.saturating_sub(oldest));
            metrics::set_hook_lag(&hook.name, hook.lag.unwrap_or(0), age / 1000);
        }
    }

    /// Executes `command` on the hook `name`. Returns its state afterwards.
    ///
    /// # Errors
    /// If there is no such hook or offset, or the state cannot be stored now.
    pub async fn command(
        &self,
        name: &str,
        command: HookCommand,
    ) -> Result<HookSummary, HookCommandError> {
        let hook = self.hooks.iter().find(|hook| hook.settings.name == name);
        let hook = hook.ok_or_else(|| HookCommandError::NoHook(name.to_owned()))?;
        let stopped = || StoreError::Unavailable("the hook has stopped".to_owned());

        let (result, executed) = oneshot::channel();
        let sent = hook.commands.send((command, result)).await;
        sent.map_err(|_| stopped())?;
        let state = executed.await.map_err(|_| stopped())??;
        Ok(self.summary(hook, Some(state)).await)
    }

    /// Returns the `hook` as operators see it. After a command, `state` is the new one, which another node may run.
    async fn summary(&self, hook: &HookControl, state: Option<HookState>) -> HookSummary {
        let HookSettings {
            name,
            url,
            rooms,
            events,
            ..
        } = &hook.settings;
        let (state, behind, failures, error, is_standby) = {
            let progress = hook.progress.lock();
            let (failures, error) = (progress.failures, progress.error.clone());
            let is_standby = progress.is_standby;
            let state = state.or_else(|| progress.state.clone());
            let behind = state.as_ref().filter(|_| !is_standby).map(|state| {
                let sources = progress.sources.iter();
                let counts = sources.map(|source| source.feed().count_after(state.position.offset));
                counts.sum::<Option<u64>>()
            });
            (state, behind.flatten(), failures, error, is_standby)
        };
        let offset = state
            .as_ref()
            .map_or(Offset(0), |state| state.position.offset);
        let status = match &state {
            Some(state) => state.status.as_str(),
            None if is_standby => "standby",
            None => "opening",
        };

        let lag = match behind {
            _ if !events.contains(&HookEvent::Message) => Some(0),
            Some(behind) => Some(behind),
            None if state.is_none() => None,
            // The number is shown only; the next request reads it again.
            None => {
                let counted = self.hub.store().count_matching(rooms, offset).await;
                counted.unwrap_or_default()
            }
        };
        let oldest = match lag {
            Some(0) => None,
            _ if state.is_none() => None,
            _ => self.oldest(hook, offset).await,
        };

        HookSummary {
            name: name.clone(),
            url: url.to_string(),
            rooms: rooms.clone(),
            status: status.to_owned(),
            offset,
            lag,
            oldest,
            failures,
            error,
        }
    }

    /// Returns the time at which the oldest message of `hook` after `offset` was stored, if it can be read now.
    async fn oldest(&self, hook: &HookControl, offset: Offset) -> Option<u64> {
        let limit = Limit {
            messages: 1,
            bytes: 0,
        };
        let range = MatchingRange::after(offset, offset);
        let rooms = &hook.settings.rooms;
        let page = self.hub.store().read_matching(rooms, range, limit).await;
        page.ok()?.frames.first().map(|frame| frame.at())
    }
}

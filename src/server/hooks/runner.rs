//! The task of one hook: reads the messages after the stored position, posts them, and moves the position.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::protocol::{Offset, Position, RoomPattern};
use crate::server::hooks::backoff;
use crate::server::hooks::batch::HookBatch;
use crate::server::hooks::client::{HookClient, PostError};
use crate::server::hooks::control::{HookCommand, HookCommandError, HookProgress, PendingCommand};
use crate::server::hooks::event::{EventBatch, EventQueue};
use crate::server::hooks::open_hook::{OpenHook, OpenHookError, SAVE_EVERY};
use crate::server::hooks::{HookEvent, HookSettings};
use crate::server::http_client::HttpTls;
use crate::server::hub::Hub;
use crate::server::metrics::{self, HookResult};
use crate::server::store::{HookState, HookStatus, Lease, StoreError, now_millis};

/// The pause before the store is used again after a failure.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// The pause before the store is read again that has announced messages and did not return them.
const BEHIND_PAUSE: Duration = Duration::from_millis(50);
/// The time between two checks if a command on another node has changed the state.
const MOVED_EVERY: Duration = Duration::from_secs(1);
/// The number of times a command is tried while another node stores states.
const COMMAND_ATTEMPTS: usize = 5;
/// The time in which a delivery may end while the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// The state of one hook. See the [module docs](self).
#[derive(Debug)]
pub(super) struct HookRunner {
    settings: HookSettings,
    hub: Hub,
    client: HookClient,
    commands: mpsc::Receiver<PendingCommand>,
    /// The events besides messages; `None` if the hook delivers none.
    events: Option<EventQueue>,
    /// The progress, which operators see.
    progress: Arc<Mutex<HookProgress>>,
    stopping: watch::Receiver<bool>,
    lease: Lease,
    open: Option<OpenHook>,
}

/// The result of one step.
enum DeliveryResult {
    /// Messages were delivered. There may be more.
    Delivered,
    /// There are no messages.
    Idle,
    /// The delivery failed, and is tried again after a pause.
    Failed(Duration),
    /// An operator has sent a command in the meantime. The attempt counts as not made.
    Interrupted(PendingCommand),
    /// The server stops, or another node runs the hook or has changed its state.
    Ended,
}

impl HookRunner {
    /// Creates the runner of a hook that is not open yet.
    pub(super) fn new(
        settings: HookSettings,
        hub: Hub,
        tls: Option<HttpTls>,
        commands: mpsc::Receiver<PendingCommand>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            events: EventQueue::new(hub.room_events(), &settings),
            client: HookClient::new(&settings, tls),
            commands,
            progress: Arc::default(),
            lease: hub.lease(&settings.name),
            settings,
            hub,
            stopping,
            open: None,
        }
    }

    /// Returns the progress, which the runner updates.
    pub(super) fn progress(&self) -> Arc<Mutex<HookProgress>> {
        self.progress.clone()
    }

    /// Stores the position of a new hook, and loads the state unless several nodes may have the hook. If this fails, it is
    /// done later.
    pub(super) async fn prepare(&mut self) {
        if !self.hub.store().has_leases() {
            self.try_open().await;
            return;
        }

        match OpenHook::load(&self.settings, &self.hub).await {
            Ok(_) | Err(OpenHookError::Store(StoreError::HookMoved)) => {}
            Err(error) => {
                let hook = self.settings.name.as_str();
                warn!(hook, %error, "cannot open the hook now; trying again");
            }
        }
    }

    /// Loads the state, unless it is loaded. A hook without one begins after the newest message. Returns true if it is open.
    pub(super) async fn try_open(&mut self) -> bool {
        if self.open.is_none() {
            match OpenHook::load(&self.settings, &self.hub).await {
                Ok(open) => {
                    let hook = self.settings.name.as_str();
                    let position = &open.state.position;
                    info!(hook, %position, url = %self.settings.url, "hook opened");
                    if open.state.status == HookStatus::Gone {
                        warn!(
                            hook,
                            "the hook is disabled, because its receiver has answered 410 Gone"
                        );
                    }
                    self.open = Some(open);
                    self.publish_progress();
                }
                Err(error) => {
                    let hook = self.settings.name.as_str();
                    warn!(hook, %error, "cannot open the hook now; trying again");
                }
            }
        }

        self.open.is_some()
    }

    /// Shows the current state to operators.
    fn publish_progress(&self) {
        if let Some(open) = &self.open {
            *self.progress.lock() = open.progress();
        }
    }

    /// Delivers messages while this node has the lease, until the server stops.
    pub(super) async fn run(mut self) {
        while self.wait_for_lease().await {
            if self.try_open().await {
                self.deliver_while_held().await;
                // Another node may have moved the hook in the meantime.
                if self.is_stopping() {
                    break;
                }
                self.open = None;
            } else if self.is_stopped_within(STORE_PAUSE).await {
                break;
            }
        }

        // If this fails, a few positions are read again.
        let _ = self.save().await;
        let Self {
            hub,
            settings,
            lease,
            ..
        } = self;
        // The lease is not renewed any more, and another node takes it at once.
        drop(lease);
        // If this fails, another node takes it later.
        let _ = timeout(STOP_TIMEOUT, hub.store().release_lease(&settings.name)).await;
    }

    /// Waits until this node may run the hook. Returns false if the server stops.
    async fn wait_for_lease(&mut self) -> bool {
        if !self.lease.is_held() {
            *self.progress.lock() = HookProgress {
                is_standby: true,
                ..HookProgress::default()
            };
        }
        let mut stopping = self.stopping.clone();

        loop {
            tokio::select! {
                // A node that has the lease executes a command that waits already.
                biased;
                () = self.lease.held() => return !self.is_stopping(),
                Some(command) = self.commands.recv() => self.execute(command).await,
                () = stopped(&mut stopping) => return false,
            }
        }
    }

    /// Delivers messages until the server stops, this node may not run the hook any more, or a command on another node has
    /// changed its state.
    async fn deliver_while_held(&mut self) {
        let hub = self.hub.clone();
        let mut stopping = self.stopping.clone();

        while !self.is_stopping() && self.lease.is_held() {
            // Created before the store is read, so that no message is missed.
            let applied = hub.next_applied();
            let step = self.step().await;
            self.publish_progress();
            let pause = match step {
                DeliveryResult::Delivered => continue,
                DeliveryResult::Ended => return,
                DeliveryResult::Interrupted(command) => {
                    self.execute(command).await;
                    continue;
                }
                DeliveryResult::Failed(pause) => Some(pause),
                DeliveryResult::Idle => self.is_behind().then_some(BEHIND_PAUSE),
            };

            tokio::select! {
                () = sleep(pause.unwrap_or(SAVE_EVERY)) => {}
                () = applied, if pause.is_none() => {}
                () = next_event(&mut self.events), if pause.is_none() => {}
                () = superseded(&self.lease, &self.hub, &self.settings.name) => return,
                Some(command) = self.commands.recv() => self.execute(command).await,
                () = stopped(&mut stopping) => return,
            }
        }
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns true if there are messages that the store did not return yet.
    fn is_behind(&self) -> bool {
        self.settings.events.contains(&HookEvent::Message)
            && self
                .open
                .as_ref()
                .is_some_and(|open| open.state.status == HookStatus::Active && open.has_news())
    }

    /// Delivers the next batch, if there is one.
    async fn step(&mut self) -> DeliveryResult {
        let Some(open) = &self.open else {
            return DeliveryResult::Idle;
        };
        let (status, failures) = (open.state.status, open.failures);
        if status != HookStatus::Active {
            self.events.iter_mut().for_each(EventQueue::discard);
            return DeliveryResult::Idle;
        }

        // While the receiver fails, the events wait.
        if failures == 0
            && let Some(step) = self.deliver_events().await
        {
            return step;
        }
        if !self.settings.events.contains(&HookEvent::Message) {
            return DeliveryResult::Idle;
        }
        match self.read().await {
            Ok(Some(batch)) => self.deliver(batch).await,
            Ok(None) => DeliveryResult::Idle,
            Err(StoreError::HookMoved) => DeliveryResult::Ended,
            Err(error) => {
                let hook = self.settings.name.as_str();
                warn!(hook, %error, "cannot read the messages of the hook now; trying again");
                if let Some(open) = &mut self.open {
                    open.error = Some(error.to_string());
                }
                DeliveryResult::Failed(STORE_PAUSE)
            }
        }
    }

    /// Reads the next batch; `None` if there are no new messages. The position then moves past the messages of other rooms,
    /// and is saved from time to time.
    async fn read(&mut self) -> Result<Option<HookBatch>, StoreError> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        let store = self.hub.store();
        let position = &open.state.position;
        let is_current = position.epoch == store.epoch();

        if !is_current || open.has_news() || open.retry_until.is_some() {
            let until = open.retry_until.unwrap_or(Offset(u64::MAX));
            let rooms = &self.settings.rooms;
            let batch = HookBatch::read(store, rooms, position, until).await?;
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
            open.state.position = batch.end;
            open.retry_until = None;
        }

        if open.is_save_due() {
            self.save().await?;
        }
        Ok(None)
    }

    /// Posts the events that wait, once. Returns `None` if there are none.
    async fn deliver_events(&mut self) -> Option<DeliveryResult> {
        let queue = self.events.as_mut()?;
        queue.receive(now_millis());
        let EventBatch { id, body } = queue.take()?;

        let hook = self.settings.name.as_str();
        let mut stopping = self.stopping.clone();
        let posted = tokio::select! {
            posted = self.client.post(&id, body.into()) => posted,
            Some(command) = self.commands.recv() => return Some(DeliveryResult::Interrupted(command)),
            () = stopped(&mut stopping) => return Some(DeliveryResult::Ended),
            () = superseded(&self.lease, &self.hub, hook) => return Some(DeliveryResult::Ended),
        };

        metrics::count_hook_deliveries(hook, result_of(&posted), 1);
        if let Err(error) = posted {
            debug!(hook, %error, "events were not delivered");
        }
        Some(DeliveryResult::Delivered)
    }

    /// Posts `batch`, and moves the position if the receiver accepts it.
    async fn deliver(&mut self, batch: HookBatch) -> DeliveryResult {
        // The process may have been suspended while the batch was read.
        if !self.lease.is_held() {
            return DeliveryResult::Ended;
        }

        let hook = self.settings.name.clone();
        let id = batch.last.to_string();
        let mut stopping = self.stopping.clone();
        let stopped = async {
            stopped(&mut stopping).await;
            sleep(STOP_TIMEOUT).await;
        };
        let posted = tokio::select! {
            posted = self.client.post(&id, batch.body.clone()) => posted,
            Some(command) = self.commands.recv() => return DeliveryResult::Interrupted(command),
            () = superseded(&self.lease, &self.hub, &hook) => return DeliveryResult::Ended,
            () = stopped => return DeliveryResult::Ended,
        };
        metrics::count_hook_deliveries(&hook, result_of(&posted), 1);

        let Some(open) = &mut self.open else {
            return DeliveryResult::Idle;
        };
        match posted {
            Ok(()) => {
                if open.failures > 0 {
                    info!(hook, "the receiver accepts messages again");
                }
                open.on_delivered(batch.end);
                batch.gaps.into_iter().for_each(metrics::count_gap);
                debug!(hook, messages = batch.messages, last = %batch.last, "delivered");
                self.save_until_stopped().await
            }
            Err(PostError::Status(StatusCode::GONE)) => {
                warn!(
                    hook,
                    "the receiver has answered 410 Gone; the hook is disabled"
                );
                open.state.status = HookStatus::Gone;
                open.error = Some(PostError::Status(StatusCode::GONE).to_string());
                self.save_until_stopped().await
            }
            Err(error) => {
                open.on_failed(&error, batch.end.offset);
                let pause = backoff::pause(open.failures, fastrand::f64());
                let failures = open.failures;
                warn!(hook, %error, failures, "delivery failed; trying again in {} s", pause.as_secs());
                DeliveryResult::Failed(pause)
            }
        }
    }

    /// Executes a command of an operator, and sends the result.
    async fn execute(&mut self, (command, result): PendingCommand) {
        let executed = self.try_execute(command).await;
        self.publish_progress();
        // Sending fails if the operator has gone.
        let _ = result.send(executed);
    }

    /// Changes the stored state by `command`, on any node. Returns the new state.
    async fn try_execute(&mut self, command: HookCommand) -> Result<HookState, HookCommandError> {
        let mut attempts = 0;
        let state = loop {
            attempts += 1;
            let state = self.commanded(command).await?;
            let saving = self
                .hub
                .store()
                .save_hook(&self.settings.name, state.clone());
            match saving.await {
                Ok(()) => break state,
                // Another node has moved the position in the meantime.
                Err(StoreError::HookMoved) if attempts < COMMAND_ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        };

        if let Some(open) = &mut self.open {
            open.on_saved(state.clone());
            open.failures = 0;
            open.error = None;
            open.retry_until = None;
        }
        Ok(state)
    }

    /// Loads the stored state, and returns what `command` makes of it.
    async fn commanded(&self, command: HookCommand) -> Result<HookState, HookCommandError> {
        let store = self.hub.store();
        let stored = store.load_hook(&self.settings.name).await?;
        let mut state =
            stored.ok_or_else(|| StoreError::Unavailable("the hook is not open yet".to_owned()))?;

        match command {
            HookCommand::Pause => state.status = HookStatus::Paused,
            HookCommand::Resume => state.status = HookStatus::Active,
            HookCommand::Replay(from) => {
                let bounds = store.matching_bounds(&RoomPattern::every_room()).await?;
                if from > bounds.newest {
                    let newest = bounds.newest;
                    return Err(HookCommandError::NoOffset { from, newest });
                }
                state.position = Position {
                    epoch: bounds.epoch,
                    offset: Offset(from.0.saturating_sub(1)),
                };
            }
        }
        Ok(state)
    }

    /// Stores the state; tries until it succeeds, the server stops, or another node runs the hook.
    async fn save_until_stopped(&mut self) -> DeliveryResult {
        while let Err(error) = self.save().await {
            let hook = self.settings.name.as_str();
            warn!(hook, %error, "cannot store the position of the hook now; trying again");
            let has_moved = error == StoreError::HookMoved || !self.lease.is_held();
            if has_moved || self.is_stopped_within(STORE_PAUSE).await {
                return DeliveryResult::Ended;
            }
        }
        DeliveryResult::Delivered
    }

    async fn save(&mut self) -> Result<(), StoreError> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let state = open.state.clone();
        let name = &self.settings.name;
        self.hub.store().save_hook(name, state.clone()).await?;

        open.on_saved(state);
        Ok(())
    }

    /// Waits for `time`. Returns true if the server stops in the meantime.
    async fn is_stopped_within(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = sleep(time) => false,
            () = stopped(&mut self.stopping) => true,
        }
    }
}

/// Waits until the server stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server has ended.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

/// Waits until this node may not run the hook `name` any more, or a command on another node has changed its state.
async fn superseded(lease: &Lease, hub: &Hub, name: &str) {
    let moved = async {
        if !hub.store().has_leases() {
            std::future::pending().await
        }
        loop {
            sleep(MOVED_EVERY).await;
            // After a failure, the next check or the lease decides.
            if hub.store().has_hook_moved(name).await == Ok(true) {
                return;
            }
        }
    };
    tokio::select! {
        () = lease.lost() => {}
        () = moved => {}
    }
}

/// Waits for an event of `queue`; for ever if there is none.
async fn next_event(queue: &mut Option<EventQueue>) {
    match queue {
        Some(queue) => queue.wait(now_millis).await,
        None => std::future::pending().await,
    }
}

/// Returns the result of a delivery for the metrics.
const fn result_of(posted: &Result<(), PostError>) -> HookResult {
    match posted {
        Ok(()) => HookResult::Accepted,
        Err(PostError::Status(_)) => HookResult::Refused,
        Err(_) => HookResult::Failed,
    }
}

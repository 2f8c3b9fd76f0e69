//! A live reader of a stream: it reads the messages of a room as they come, and waits for more. Long polls and server-sent
//! events are made of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::protocol::{Epoch, Offset, RoomName, RoomSelector, UnsubscribeCode, UserId};
use crate::server::hub::{
    Admission, Closing, Hub, Membership, Notice, PendingSubscription, Registration, Room,
    Subscriber, SubscriberStatus, Tracer,
};
use crate::server::room::{Dialect, FanoutBatch, Frame, Tick};
use crate::server::store::{PAGE_BYTES, Span, StoreError};

/// The most messages of a page from the store.
const PAGE_MESSAGES: usize = 1000;

/// A reader of one room. It counts as a connection, and as one of the room's readers.
pub(super) struct LiveReader {
    room: Arc<Room>,
    offset: Offset,
    hub: Hub,
    wake: Arc<WakeSubscriber>,
    _membership: Membership,
    _registration: Registration,
}

/// The messages after the reader's last ones.
#[derive(Debug)]
pub(super) struct LivePage {
    pub(super) frames: Vec<Arc<Frame>>,
    /// The reader's position after them.
    pub(super) next: Offset,
    /// True if there are no more messages now.
    pub(super) is_up_to_date: bool,
    /// True if there will never be more.
    pub(super) is_closed: bool,
}

/// The subscriber of a [`LiveReader`], which only wakes it.
struct WakeSubscriber {
    room: RoomName,
    wake: Notify,
    has_ended: AtomicBool,
}

impl LiveReader {
    /// Begins to read `room`, for which `pending` is. `proven` is the id that the client's token proves.
    pub(super) fn open(
        admission: Admission,
        pending: PendingSubscription,
        room: Arc<Room>,
        proven: Option<UserId>,
    ) -> Self {
        let hub = admission.hub().clone();
        let wake = Arc::new(WakeSubscriber {
            room: room.name().clone(),
            wake: Notify::new(),
            has_ended: AtomicBool::new(false),
        });
        let mut registration = admission.open(None, proven);
        registration.register(wake.clone());
        let offset = pending.start().cursor;
        let membership = pending.join(&registration, wake.clone());
        // A ban that began before the reader was registered did not reach it.
        if registration
            .denied(room.name())
            .is_some_and(|(code, _)| code == UnsubscribeCode::Banned)
        {
            wake.end();
        }
        hub.send_missed(&*wake);

        Self {
            room,
            offset,
            hub,
            wake,
            _membership: membership,
            _registration: registration,
        }
    }

    /// Returns the epoch of the room's log.
    pub(super) fn epoch(&self) -> &Epoch {
        self.room.epoch()
    }

    /// Returns the hub.
    pub(super) const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Returns true if the server or an operator has ended the reader, the room was deleted, or it no longer keeps the next
    /// messages. The client learns the reason when it continues at its position.
    pub(super) fn has_ended(&self) -> bool {
        self.wake.has_ended.load(Ordering::Acquire)
    }

    /// Reads the next messages, from memory if they are there.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub(super) async fn read(&mut self) -> Result<LivePage, StoreError> {
        // Read first, so that all messages before the end are in the page.
        let is_closed = self.room.is_closed();
        let feed = self.room.feed();
        let frames = match feed.frames(self.offset, PAGE_BYTES) {
            Ok(frames) => frames,
            Err(_lagged) => {
                let span = Span::After(self.offset);
                let page = self.room.history(span, PAGE_MESSAGES).await?;
                if page.gone.is_some_and(|gone| gone > self.offset) {
                    self.wake.end();
                    Vec::new()
                } else {
                    page.frames
                }
            }
        };

        let bytes = frames.iter().map(|frame| frame.payload().as_bytes().len());
        feed.count_delivery(frames.len(), bytes.sum());
        if let Some(last) = frames.last() {
            self.offset = last.offset();
        }
        let is_up_to_date = feed.head() <= self.offset;
        Ok(LivePage {
            frames,
            next: self.offset,
            is_up_to_date,
            is_closed: is_closed && is_up_to_date,
        })
    }

    /// Waits until there may be more messages or the reader has ended, at most for `limit`.
    pub(super) async fn wait(&self, limit: Duration) {
        // After the limit, the caller looks at the time.
        let _ = self
            .hub
            .clock()
            .timeout(limit, self.wake.wake.notified())
            .await;
    }
}

impl WakeSubscriber {
    fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

impl Subscriber for WakeSubscriber {
    fn flush(&self, _batch: &mut FanoutBatch<'_>) {
        self.wake.notify_one();
    }

    /// Does nothing: the reader has its own deadline.
    fn tick(&self, _now: Tick) {}

    /// Does nothing: streams have only the log.
    fn send(&self, _notice: &Notice) {}

    fn close(&self, _closing: Closing) {
        self.end();
    }

    fn unsubscribe(&self, _rooms: &RoomSelector, _code: UnsubscribeCode) {
        self.end();
    }

    /// Does nothing: the reader reads no pattern.
    fn apply_rules(&self) {}

    /// Does nothing: a trace shows the frames of connections.
    fn trace(&self, _tracer: Tracer) {}

    fn status(&self) -> SubscriberStatus {
        SubscriberStatus {
            dialect: Dialect::Sse,
            rooms: vec![self.room.clone().into()],
            offset: Offset(0),
            behind: 0,
            waiting: 0,
            reclaimable: None,
        }
    }
}

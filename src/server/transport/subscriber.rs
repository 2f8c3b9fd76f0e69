//! The calls of the hub to an open connection, which write messages and notices, check the timers, end subscriptions and end
//! the connection.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::protocol::{CloseCode, Push, RoomSelector, UnsubscribeCode};
use crate::server::hub::{Closing, Notice, Subscriber, SubscriberStatus, Tracer};
use crate::server::room::{FanoutBatch, Tick};
use crate::server::session::HeartbeatAction;
use crate::server::transport::connection::{Connection, Output, message_timeout};
use crate::server::transport::connection_state::{ConnectionState, TransportError};
use crate::server::transport::stall_timeout::STALL_TIMEOUT;

impl<O: Output> Subscriber for Connection<O> {
    fn flush(&self, batch: &mut FanoutBatch<'_>) {
        let mut state = self.lock();
        if state.can_write() {
            O::write(self, &mut state, Some(batch));
            state.count_memory();
        }
    }

    fn tick(&self, now: Tick) {
        let settings = &self.settings;
        let mut state = self.lock();

        let blocked_since = state.send_buffer.blocked_since();
        if blocked_since.is_some_and(|since| now.since(since) >= STALL_TIMEOUT) {
            state.error.get_or_insert(TransportError::Stalled);
        }

        let is_read = !state.is_reading_paused();
        if !is_read {
            state.arrival.restart(now);
        }
        let is_overdue = match state.heartbeat.check(now, &settings.heartbeat, is_read) {
            HeartbeatAction::Alive => {
                let timeout = message_timeout(settings.max_message);
                state.arrival.is_overdue(now, timeout)
            }
            HeartbeatAction::Ping => {
                let ping = state.send_buffer.dialect().heartbeat();
                state.send_buffer.push_encoded(ping);
                false
            }
            HeartbeatAction::Expired => true,
        };
        if is_overdue && !self.output.has_unread_bytes() {
            state.close(CloseCode::Expired);
        }

        if state.permissions.is_expired(Instant::now()) {
            state.close(CloseCode::BadToken);
        }
        state.check_drain(now);

        // Bans may have ended.
        if !state.subscriptions.excluded().is_empty() && state.apply_rules() {
            self.write(&mut state);
        } else {
            self.write_queued(&mut state);
        }
    }

    fn send(&self, notice: &Notice) {
        let mut state = self.lock();
        let frame = notice.encoded(state.send_buffer.dialect());
        // The notice goes to the readers that there were when it began. The subscription may have ended since.
        let subscriptions = &state.subscriptions;
        let is_meant = match notice.push() {
            Push::Deleted { room, .. } => subscriptions.first_match(room).is_some(),
            Push::Presence { room, .. } => subscriptions.room(room).is_some(),
            _ => true,
        };
        if frame.is_empty() || !is_meant {
            return;
        }

        if state.send_buffer.queued_bytes() + frame.len() > self.settings.send_buffer {
            state.close(CloseCode::TooSlow);
        } else {
            state.send_buffer.push_encoded(frame);
        }
        self.write(&mut state);
    }

    fn close(&self, closing: Closing) {
        self.update(|state| match closing {
            Closing::Code(code) => state.close(code),
            Closing::Drain(reconnect_after) => state.drain(reconnect_after, self.hub.now()),
            // A Close frame would not be delivered either.
            Closing::Evict if state.send_buffer.blocked_since().is_some() => {
                state.error.get_or_insert(TransportError::Stalled);
                state.send_buffer.clear();
                self.output.clear();
            }
            Closing::Evict => state.close(CloseCode::Expired),
        });
    }

    fn unsubscribe(&self, rooms: &RoomSelector, code: UnsubscribeCode) {
        // The subscription may have ended in the meantime.
        let _ = self.end_subscription(rooms.clone(), code);
    }

    fn apply_rules(&self) {
        // The state is written in either case.
        let _ = self.update(ConnectionState::apply_rules);
    }

    fn trace(&self, tracer: Tracer) {
        self.lock().tracer = Some(Box::new(tracer));
        self.is_traced.store(true, Ordering::Relaxed);
    }

    fn status(&self) -> SubscriberStatus {
        let state = self.lock();
        SubscriberStatus {
            dialect: state.send_buffer.dialect(),
            rooms: state
                .subscriptions
                .iter()
                .map(|one| one.source.selector())
                .collect(),
            offset: state.subscriptions.newest_written(),
            behind: state
                .subscriptions
                .iter()
                .map(|one| one.source.feed().behind(one.cursor.offset()))
                .sum(),
            waiting: state.send_buffer.queued_bytes(),
            reclaimable: state.reclaimable(self.output.buffered_bytes()),
        }
    }
}

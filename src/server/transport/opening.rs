//! The opening of a connection: an admitted client is registered in its room, and is then sent its first frames.

use std::sync::Arc;

use tracing::{field, info};

use crate::protocol::{Offset, Position, Push, Recovery, Subscribed, UserId, Welcome};
use crate::server::hub::{Admission, Membership, StartPosition};
use crate::server::metrics;
use crate::server::room::{Dialect, Format};
use crate::server::transport::connection::{Connection, OpenConnection, Output, Subscription};
use crate::server::transport::{ConnectionSettings, Permissions};

/// An admitted client whose connection is not open yet.
#[derive(Debug)]
pub struct PendingConnection {
    /// The admission to its room.
    pub admission: Admission,
    /// The user id under which the client is present, if it takes part in presence.
    pub id: Option<UserId>,
    /// The user id that its token proves, also if it does not take part in presence.
    pub proven: Option<UserId>,
    /// The client's rights, and their expiry.
    pub permissions: Permissions,
    /// The limits and timeouts of all connections.
    pub settings: Arc<ConnectionSettings>,
}

/// A connection that is registered and was sent nothing yet. Its first frames are made from the members and deletions of
/// the time at which it begins; later changes are queued behind them.
pub(super) struct RegisteredConnection<O: Output> {
    pub(super) connection: Arc<Connection<O>>,
    membership: Membership,
    start: StartPosition,
    /// The newest and the oldest offset when it was admitted.
    log: (Offset, Offset),
}

impl PendingConnection {
    /// Registers the connection in its room. From here on it receives every message, once
    /// [`RegisteredConnection::begin`] has sent the first frames.
    pub(super) fn register<O: Output>(self, output: O, format: Format) -> RegisteredConnection<O> {
        let Self {
            admission,
            id,
            proven,
            permissions,
            settings,
        } = self;
        let start = admission.start().clone();
        let log = (admission.head(), admission.first());
        let subscription = Subscription::new(admission.room().clone(), start.cursor);
        let hub = admission.hub().clone();
        let connection = Connection::new(output, hub, subscription, format, permissions, settings);
        let connection = Arc::new(connection);

        // The welcome lists the members, so the client must be one by then.
        let mut membership = admission.join(id, proven);
        info!(
            id = membership.id().map(field::display),
            room = %connection.room().name(),
            address = %membership.address(),
            number = membership.number(),
            dialect = format.dialect().as_str(),
            "connected"
        );
        membership.register(connection.clone());

        RegisteredConnection {
            connection,
            membership,
            start,
            log,
        }
    }
}

impl<O: Output> RegisteredConnection<O> {
    /// Sends the first frames. Frames that were queued since the registration follow them.
    pub(super) fn begin(self) -> OpenConnection<O> {
        let opening = self.opening();
        let Self {
            connection,
            membership,
            ..
        } = self;

        connection.update(|state| {
            state.subscription.set_membership(membership);
            state.send_buffer.uncork(opening);
        });
        OpenConnection::new(connection)
    }

    /// Returns the position at which the client begins to read.
    pub(super) fn position(&self) -> Position {
        Position {
            epoch: self.connection.room().epoch().clone(),
            offset: self.start.cursor,
        }
    }

    /// Returns the frames that come before any other, if the dialect has any.
    fn opening(&self) -> Vec<u8> {
        let dialect = self.connection.lock().send_buffer.dialect();
        let mut frames = Vec::new();
        if dialect == Dialect::Plain {
            return frames;
        }

        if let (Dialect::Typed, Some(id)) = (dialect, self.membership.id()) {
            dialect.encode_into(&self.welcome(id.clone()), &mut frames);
            dialect.encode_into(&self.subscribed(), &mut frames);
        }

        // The gap precedes the position, so a client that has the position has the gap too.
        if let Some(gap) = &self.start.gap {
            metrics::count_gap(gap.reason);
            let room = self.connection.room().name().clone();
            dialect.encode_into(&gap.clone().into_push(room), &mut frames);
        }
        frames.extend_from_slice(dialect.preamble(&self.position()).as_bytes());
        if self.start.recovery == Recovery::Resumed {
            for push in self.connection.room().deleted(self.start.cursor) {
                dialect.encode_into(&push, &mut frames);
            }
        }

        frames
    }

    /// Returns the first frame of a typed connection.
    fn welcome(&self, id: UserId) -> Push {
        let ConnectionSettings {
            heartbeat,
            max_message,
            rate,
            ..
        } = *self.connection.settings;

        Push::Welcome(Welcome {
            connection: self.membership.number(),
            id,
            heartbeat_ms: heartbeat.ping_after.as_millis() as u64,
            expire_ms: heartbeat.expire_after.as_millis() as u64,
            max_message,
            message_rate: Some(rate.per_second),
            message_burst: Some(rate.burst),
        })
    }

    /// Returns the frame about the subscription of a typed connection.
    fn subscribed(&self) -> Push {
        let room = self.connection.room();
        let (count, members) = room.members();
        let (head, first) = self.log;

        Push::Subscribed(Subscribed {
            room: room.name().clone(),
            epoch: room.epoch().clone(),
            head,
            first,
            recovery: self.start.recovery,
            count,
            members,
        })
    }
}

//! The opening of a connection, and the first frames of the connection and of each subscription.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tracing::{field, info};

use crate::protocol::{Epoch, Offset, Position, Push, Recovery, Subscribed, UserId, Welcome};
use crate::server::hub::{Admission, PendingSubscription, Registration, Source, StartPosition};
use crate::server::metrics;
use crate::server::room::{Dialect, Format};
use crate::server::room_rules::RoomRules;
use crate::server::session::{MessageLimits, SendBuffer};
use crate::server::transport::connection::{Connection, OpenConnection, Output};
use crate::server::transport::handover::HandedSocket;
use crate::server::transport::{ClientSocket, ConnectionSettings, Permissions, own_limits};

/// An admitted client whose connection is not open yet.
#[derive(Debug)]
pub struct PendingConnection {
    /// The admission to the server.
    pub admission: Admission,
    /// The subscriptions from the start.
    pub subscriptions: Vec<PendingSubscription>,
    /// The user id under which the client is present, if it takes part in presence.
    pub id: Option<UserId>,
    /// The client's rights, and their expiry.
    pub permissions: Permissions,
    /// The limits and timeouts of all connections.
    pub settings: Arc<ConnectionSettings>,
}

/// The content of the frames that describe the start of a subscription.
pub(super) struct SubscriptionFrames {
    epoch: Epoch,
    start: StartPosition,
    head: Offset,
    first: Offset,
}

impl PendingConnection {
    /// Opens the connection when `socket` is handed over, and spawns its task. `task` creates that from the connection, the bytes
    /// that arrived after the request, and the permit to keep the socket open.
    pub(super) fn open_on<T>(
        self,
        socket: impl Future<Output = Option<HandedSocket>> + Send + 'static,
        format: Format,
        task: impl FnOnce(OpenConnection<ClientSocket>, Vec<u8>, Option<OwnedSemaphorePermit>) -> T
        + Send
        + 'static,
    ) where
        T: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(async move {
            let Some(socket) = socket.await else {
                return;
            };

            let connection = self.open(socket.client, format, &socket.head);
            // A task of its own, because the size of a task is that of its largest future.
            tokio::spawn(task(connection, socket.early, socket.permit));
        });
    }

    /// Opens the connection and its subscriptions. The bytes of `head` are sent first.
    pub(super) fn open<O: Output>(
        self,
        output: O,
        format: Format,
        head: &[u8],
    ) -> OpenConnection<O> {
        let Self {
            admission,
            subscriptions,
            id,
            permissions,
            settings,
        } = self;
        let hub = admission.hub().clone();
        let proven = permissions.principal().proven().cloned();
        let registration = admission.open(id, proven);
        let room = subscriptions.first().map(|first| first.source().as_str());
        info!(
            id = registration.info().id().map(field::display),
            room = room.map(field::display),
            address = %registration.address(),
            number = registration.info().number(),
            dialect = format.dialect().as_str(),
            "connected"
        );
        let rules = match subscriptions
            .first()
            .and_then(|first| first.source().room())
        {
            Some(room) => room.rules(),
            None => hub.rules().default_rules(),
        };
        let welcome = (format.dialect() == Dialect::Typed)
            .then(|| welcome(&registration, &settings, &permissions, rules))
            .flatten();

        let mut send_buffer = SendBuffer::new(format);
        send_buffer.push_encoded(head);
        if let Some(welcome) = welcome {
            send_buffer.push_event(&welcome);
        }

        let connection = OpenConnection::open(
            output,
            hub,
            send_buffer,
            permissions,
            settings,
            registration,
        );
        connection.subscribe(subscriptions);
        let subscriber: &Connection<O> = &connection;
        connection.hub.send_missed(subscriber);
        connection
    }

    /// Returns the position, in all its rooms, from which the client begins to read; `None` without a subscription.
    pub fn position(&self) -> Option<Position> {
        position(&self.subscriptions)
    }
}

/// Returns the position, in the rooms of all `subscriptions`, from which a client begins to read; `None` without any.
pub(super) fn position(subscriptions: &[PendingSubscription]) -> Option<Position> {
    let first = subscriptions.first()?;
    let cursors = subscriptions.iter().map(|one| one.start().cursor);
    let is_fresh = first.start().recovery == Recovery::Fresh;
    let offset = if is_fresh && subscriptions.len() > 1 {
        // The head of one room is not a position in the others.
        first.newest()
    } else {
        cursors.min()?
    };

    Some(Position {
        epoch: first.epoch().clone(),
        offset,
    })
}

/// Returns the first frame of a typed connection. `rules` are the settings of its room, or of rooms without a rule.
fn welcome(
    registration: &Registration,
    settings: &ConnectionSettings,
    permissions: &Permissions,
    rules: &RoomRules,
) -> Option<Push> {
    let ConnectionSettings {
        heartbeat,
        max_subscriptions,
        ..
    } = *settings;
    let limits = own_limits(permissions.principal(), None)
        .unwrap_or_else(|| MessageLimits::of_room(rules.message_rate));
    let rate = limits.connection_rate(settings.rate);

    Some(Push::Welcome(Welcome {
        connection: registration.info().number(),
        id: registration.info().id()?.clone(),
        heartbeat_ms: heartbeat.ping_after.as_millis() as u64,
        expire_ms: heartbeat.expire_after.as_millis() as u64,
        max_message: rules.max_message,
        message_rate: Some(rate.per_second),
        message_burst: Some(rate.burst),
        max_subscriptions,
    }))
}

impl SubscriptionFrames {
    /// Returns the content of the frames about the subscription that `entry` becomes.
    pub(super) fn of(pending: &PendingSubscription) -> Self {
        Self {
            epoch: pending.epoch().clone(),
            start: pending.start().clone(),
            head: pending.head(),
            first: pending.first(),
        }
    }

    /// Queues the frames about the subscription to `source`, which the client reads now.
    pub(super) fn push(self, source: &Source, send_buffer: &mut SendBuffer) {
        let dialect = send_buffer.dialect();
        if dialect == Dialect::Plain {
            return;
        }

        let Self {
            epoch,
            start,
            head,
            first,
        } = self;
        if dialect == Dialect::Typed {
            let (count, members) = source.room().map_or((0, None), |room| room.members());
            send_buffer.push_event(&Push::Subscribed(Subscribed {
                room: source.selector(),
                epoch,
                head,
                first,
                recovery: start.recovery,
                closed: source.room().is_some_and(|room| room.is_closed()),
                count,
                members,
            }));
        }

        if let Some(gap) = start.gap {
            metrics::count_gap(gap.reason);
            send_buffer.push_event(&gap.into_push(source.selector()));
        }
        if start.recovery == Recovery::Resumed
            && let Some(room) = source.room()
        {
            for (offset, at) in room.feed().recent_deletions(start.cursor) {
                send_buffer.push_event(&Push::Deleted {
                    room: room.name().clone(),
                    offset,
                    at,
                });
            }
        }
    }
}

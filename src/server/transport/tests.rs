//! Tests of races between a connection and its room: changes while the connection opens, while a page is read for it,
//! and while the server stops. A model test of resuming is in [`recovery`].

mod recovery;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::closing::finish;
use super::connection::OpenConnection;
use super::requests::push_page;
use super::websocket::WebSocketTask;
use super::{ClientSocket, ConnectionSettings, FrameSender, PendingConnection, Permissions};
use crate::protocol::{CloseCode, Key, Member, Offset, Push, RoomName, UnsubscribeCode, UserId};
use crate::server::auth::{Principal, Verifier};
use crate::server::hub::{Admission, Closing, Hub, PendingSubscription, Resume, Room, Subscriber};
use crate::server::jwks::Authenticator;
use crate::server::room::{Dialect, Draft, Format, Tick};
use crate::server::run_clock::RunClock;
use crate::server::session::{
    ConnectionLimiter, HeartbeatSettings, IpBucket, QuotaRates, Quotas, Rate, RateLimitKey,
};
use crate::server::store::{Deleted, Limit, Span};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Longer than the grace period of presence plus the interval at which changes are sent.
const PRESENCE_DELAY: Duration = Duration::from_secs(10);

/// A moment at which the room changes while a connection opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Admitted,
    Open,
}

const POINTS: [Point; 2] = [Point::Admitted, Point::Open];

/// A running Hub, by the paused time of a test.
struct TestHub {
    hub: Hub,
}

/// The client's end of a connection.
struct SocketClient(UnixStream);

/// The frames that a client received.
#[derive(Debug, Default)]
struct Received {
    texts: Vec<String>,
    pings: usize,
    close_code: Option<u16>,
}

impl TestHub {
    /// Starts a Hub whose ring keeps `ring` messages.
    fn start(ring: usize) -> Self {
        let clock = RunClock::new();
        let hub = Hub::in_memory(ring, clock.clone());

        tokio::spawn(clock.run());
        tokio::spawn({
            let hub = hub.clone();
            async move { hub.run().await }
        });

        Self { hub }
    }

    async fn room(&self) -> Arc<Room> {
        self.hub.room(&RoomName::lobby()).await.expect("a room")
    }

    /// Publishes `text 1` to `text {count}`.
    async fn publish(&self, count: u64) {
        let room = self.room().await;

        for number in 1..=count {
            let draft = Draft::text(UserId::guest(0), None, format!("text {number}"));
            let stored = room.publish(vec![draft]).await;
            assert!(stored.is_ok());
        }
    }

    async fn delete(&self, offset: u64) {
        let room = self.room().await;
        let deleted = room.delete(Offset(offset)).await;
        assert_eq!(deleted, Ok(Deleted::Now));
        // Paused time advances only when all tasks wait, so all readers are notified.
        sleep(Duration::from_millis(1)).await;
    }

    /// Adds a member whose client does not read.
    async fn member(&self, id: &str) -> OpenConnection<ClientSocket> {
        let (mut pending, stream, _) = self.admit(None).await;
        pending.id = Some(user(id));
        pending.open(stream, PLAIN, &[])
    }

    /// Replaces all members by another one, and waits until connections were notified.
    async fn replace_members(&self, members: &mut Vec<OpenConnection<ClientSocket>>) {
        members.clear();
        members.push(self.member("joiner").await);
        sleep(PRESENCE_DELAY).await;
    }

    /// Returns an admitted connection that resumes after `after`, and both ends of its socket.
    async fn admit(&self, after: Option<u64>) -> (PendingConnection, ClientSocket, SocketClient) {
        let resume = after.map(|after| Resume {
            after: Offset(after),
            epoch: None,
        });
        let admission = self.hub.admit(ADDRESS).expect("admitted");
        let entry = self.hub.enter(&RoomName::lobby(), resume.as_ref()).await;
        let entry = entry.expect("admitted");

        let (server, client) = UnixStream::pair().expect("two ends");
        server.set_nonblocking(true).expect("set");
        client.set_nonblocking(true).expect("set");
        let server = std::net::TcpStream::from(OwnedFd::from(server));
        let server = TcpStream::from_std(server).expect("registered");
        (
            pending(admission, vec![entry]),
            ClientSocket::Plain(server),
            SocketClient(client),
        )
    }
}

/// Returns the connection of the newcomer with `admission` to the server and these `subscriptions`.
pub(super) fn pending(
    admission: Admission,
    subscriptions: Vec<PendingSubscription>,
) -> PendingConnection {
    PendingConnection {
        admission,
        subscriptions,
        id: Some(user("newcomer")),
        permissions: Permissions::new(Arc::new(Principal::open())),
        settings: Arc::new(ConnectionSettings {
            max_message: 64 * 1024,
            send_buffer: 1024 * 1024,
            heartbeat: HeartbeatSettings {
                ping_after: Duration::from_secs(25),
                expire_after: Duration::from_secs(60),
            },
            rate: Rate::UNLIMITED,
            max_subscriptions: 4,
            compression: false,
        }),
    }
}

/// Returns the newcomer as a sender of frames.
pub(super) fn sender() -> FrameSender {
    let id = user("newcomer");
    let host = IpBucket::of(ADDRESS);
    let quotas = Arc::new(Quotas::new(QuotaRates::UNLIMITED));
    let key = RateLimitKey::claimed(id.clone(), host);

    FrameSender {
        id,
        rate_limit: ConnectionLimiter::new(Rate::UNLIMITED, quotas, key, host, Tick::default()),
        authenticator: Arc::new(Authenticator::new(Verifier::open(), None)),
    }
}

impl SocketClient {
    /// Returns all frames received until now.
    fn received(&mut self) -> Received {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }

        let mut received = Received::default();
        let mut rest = bytes.as_slice();
        while let Some((first, payload, next)) = next_frame(rest) {
            assert_eq!(received.close_code, None, "a frame after the Close frame");
            match first {
                0x81 => received
                    .texts
                    .push(String::from_utf8(payload.to_vec()).expect("text")),
                0x89 => received.pings += 1,
                0x88 => received.close_code = Some(u16::from_be_bytes([payload[0], payload[1]])),
                other => panic!("unexpected frame type {other:#x}"),
            }
            rest = next;
        }

        received
    }
}

/// Returns the first byte and the payload of the server's next frame in `bytes`, and the rest; `None` if `bytes` has no
/// whole frame.
fn next_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (first, length, rest) = match bytes {
        [first, 126, high, low, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            (*first, length, rest)
        }
        [_, 126, ..] => return None,
        [first, short, rest @ ..] => (*first, usize::from(*short), rest),
        _ => return None,
    };

    let (payload, rest) = rest.split_at_checked(length)?;
    Some((first, payload, rest))
}

/// Returns the ids of `members`.
fn ids(members: Vec<Member>) -> BTreeSet<UserId> {
    members.into_iter().map(|member| member.id).collect()
}

impl Received {
    fn pushes(&self) -> impl Iterator<Item = Push> {
        self.texts
            .iter()
            .map(|text| Push::decode(text).expect("a push"))
    }

    /// Returns the members that a client shows after these frames.
    fn members(&self) -> BTreeSet<UserId> {
        let mut members = BTreeSet::new();

        for push in self.pushes() {
            match push {
                Push::Subscribed(subscribed) => {
                    members = ids(subscribed.members.expect("few"));
                }
                Push::Presence { joined, left, .. } => {
                    members.extend(ids(joined));
                    left.iter().for_each(|id| {
                        members.remove(id);
                    });
                }
                _ => {}
            }
        }

        members
    }

    /// Returns the offsets of the deletions received.
    fn deleted(&self) -> BTreeSet<u64> {
        self.pushes()
            .filter_map(|push| match push {
                Push::Deleted { offset, .. } => Some(offset.0),
                _ => None,
            })
            .collect()
    }
}

fn user(id: &str) -> UserId {
    UserId::parse(id).expect("an id")
}

const TYPED: Format = Format::new(Dialect::Typed);
const PLAIN: Format = Format::new(Dialect::Plain);

#[tokio::test(start_paused = true)]
async fn members_that_join_or_leave_while_a_connection_opens_are_shown_correctly() {
    for point in POINTS {
        let world = TestHub::start(10);
        let mut others = vec![world.member("leaver").await];
        sleep(PRESENCE_DELAY).await;

        let (pending, stream, mut client) = world.admit(None).await;
        if point == Point::Admitted {
            world.replace_members(&mut others).await;
        }
        let _open = pending.open(stream, TYPED, &[]);
        if point == Point::Open {
            world.replace_members(&mut others).await;
        }
        sleep(PRESENCE_DELAY).await;

        let expected = ["newcomer", "joiner"].map(user).into_iter().collect();
        assert_eq!(client.received().members(), expected, "{point:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_while_a_connection_opens_is_delivered() {
    for point in POINTS {
        let world = TestHub::start(10);
        world.publish(3).await;

        let (pending, stream, mut client) = world.admit(Some(3)).await;
        if point == Point::Admitted {
            world.delete(2).await;
        }
        let _open = pending.open(stream, TYPED, &[]);
        if point == Point::Open {
            world.delete(2).await;
        }

        let received = client.received();
        assert!(matches!(received.pushes().next(), Some(Push::Welcome(_))));
        assert_eq!(received.deleted(), BTreeSet::from([2]), "{point:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_does_not_contain_texts_deleted_while_it_was_read() {
    let world = TestHub::start(10);
    world.publish(3).await;
    let (pending, stream, mut client) = world.admit(None).await;
    let connection = pending.open(stream, TYPED, &[]);

    let room = world.room().await;
    let page = room.read_page(Span::Newest, Limit::page(10)).await;
    world.delete(2).await;
    let is_answered = connection.update(|state| push_page(&room, state, page));

    let received = client.received();
    assert!(is_answered);
    assert_eq!(received.deleted(), BTreeSet::from([2]));
    let page = received.texts.last().expect("the page");
    assert!(page.contains("text 1") && page.contains("text 3"), "{page}");
    assert!(!page.contains("text 2"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_page_is_read_again_if_the_room_does_not_remember_all_deletions_during_the_read() {
    const MESSAGES: u64 = 100;
    let world = TestHub::start(10);
    world.publish(MESSAGES).await;
    let room = world.room().await;

    let page = room.read_page(Span::Newest, Limit::page(100)).await;
    let (mut stale, mark) = page.expect("a page");
    for offset in 1..=MESSAGES {
        world.delete(offset).await;
    }
    let page = room.history(Span::Newest, 100).await;

    assert!(!room.feed().redact_page(&mut stale.frames, mark));
    let frames = page.expect("a page").frames;
    assert_eq!(frames.len(), 100);
    assert!(frames.iter().all(|frame| frame.is_deleted()));
}

#[tokio::test(start_paused = true)]
async fn a_reader_behind_the_ring_gets_the_rest_and_then_1001_when_the_server_stops() {
    const MESSAGES: u64 = 500;
    for format in [PLAIN, TYPED] {
        let world = TestHub::start(1);
        let (pending, stream, mut client) = world.admit(None).await;
        // The ring has dropped all but one when the connection opens.
        world.publish(MESSAGES).await;
        let connection = pending.open(stream, format, &[]);
        let draining = tokio::spawn({
            let hub = world.hub.clone();
            async move { hub.drain().await }
        });
        // Paused time advances only when all tasks wait, so the drain has reached the connection.
        sleep(Duration::from_millis(1)).await;

        let task = WebSocketTask::begin(connection, format, sender(), Vec::new());
        let task = tokio::spawn(task.run(None));
        draining.await.expect("drained");

        let received = client.received();
        let messages = received
            .texts
            .iter()
            .filter(|text| text.contains("text "))
            .count() as u64;
        assert_eq!(messages, MESSAGES);
        assert_eq!(received.close_code, Some(CloseCode::GoingAway.number()));
        task.await.expect("ended");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_kicked_while_it_catches_up_gets_nothing_after_the_close_frame() {
    let world = TestHub::start(1);
    let (pending, stream, mut client) = world.admit(None).await;
    world.publish(100).await;
    let connection = pending.open(stream, TYPED, &[]);
    assert!(connection.lock().is_behind());

    let catching_up = connection.catch_up();
    world
        .hub
        .connections()
        .disconnect(CloseCode::Kicked, |_| true)
        .await;
    catching_up.await;

    // Parsing fails for a frame after a Close frame.
    let received = client.received();
    assert_eq!(received.close_code, Some(CloseCode::Kicked.number()));
}

#[tokio::test(start_paused = true)]
async fn a_pending_publish_is_acknowledged_before_1001_when_the_server_stops() {
    let world = TestHub::start(10);
    let (pending, stream, mut client) = world.admit(None).await;
    let connection = pending.open(stream, TYPED, &[]);
    let ack = Push::Ack {
        room: RoomName::lobby(),
        key: Key::parse("k").expect("a key"),
        offset: Offset(1),
        duplicate: false,
    };

    connection.update(|state| state.is_publishing = true);
    connection.close(Closing::Drain(Duration::from_secs(1)));
    let before = client.received();
    connection.on_published(true, world.hub.now(), |state| {
        state.send_buffer.push_event(&ack)
    });
    let after = client.received();

    assert_eq!(before.close_code, None);
    assert_eq!(after.pushes().next(), Some(ack));
    assert_eq!(after.close_code, Some(CloseCode::GoingAway.number()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_the_store_is_pinged_and_does_not_expire() {
    let world = TestHub::start(10);
    let (pending, stream, mut client) = world.admit(None).await;
    let connection = pending.open(stream, PLAIN, &[]);
    let now = world.hub.now();

    connection.update(|state| {
        state.is_publishing = true;
        state.arrival.on_read(true, true, now);
    });
    sleep(Duration::from_secs(300)).await;
    let stalled = client.received();

    connection.update(|state| state.is_publishing = false);
    sleep(Duration::from_secs(5)).await;
    let resumed = client.received();
    sleep(Duration::from_secs(300)).await;

    assert_eq!(stalled.close_code, None);
    assert!(stalled.pings >= 10, "{stalled:?}");
    assert_eq!(resumed.close_code, None);
    assert_eq!(
        client.received().close_code,
        Some(CloseCode::Expired.number())
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_evicted_while_it_is_blocked_ends_at_once() {
    let world = TestHub::start(1000);
    let (pending, socket, _client) = world.admit(None).await;
    let connection = pending.open(socket, PLAIN, &[]);
    while connection.lock().send_buffer.blocked_since().is_none() {
        world.publish(100).await;
        sleep(Duration::from_millis(1)).await;
    }

    connection.close(Closing::Evict);
    let evicted = world.hub.now();
    finish(connection, None).await;

    assert_eq!(world.hub.now(), evicted);
}

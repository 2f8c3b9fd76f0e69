//! The clients, and the rounds in which all of them lose their connections at once.
//!
//! A client loses its connection as in a network failure: its socket is dropped without a Close frame. It reconnects
//! at once and continues at its position. Its messages are sent again with their keys.

use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::Verification;
use super::delivery_checker::{DeliveryChecker, DeliveryFaults, StoredTexts};
use crate::cli::client::{ReconnectingSocket, SocketEvent, SocketSubscriptions};
use crate::cli::output::progress;
use crate::client::{Outbox, OutgoingMessage, SendMode, SendOutcome, SendStep, Settled};
use crate::protocol::{Body, Key, Offset, Push, RoomName, RoomSelector, UserId};

/// The time for the server to finish at the end.
const FINAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of a run.
#[derive(Debug, Default)]
pub(super) struct VerifyResult {
    pub(super) faults: DeliveryFaults,
    /// The number of messages that the server acknowledged.
    pub(super) stored: u64,
    /// The number of acknowledged messages that an earlier attempt had stored.
    pub(super) repeated: u64,
    /// The number of messages without a response.
    pub(super) unanswered: u64,
    /// The number of expected deliveries.
    pub(super) expected: u64,
    /// The times from each disconnect until the client had received all missed messages, sorted.
    pub(super) returns: Vec<Duration>,
    /// The number of connections that were cut.
    pub(super) cuts: u64,
}

impl VerifyResult {
    /// Returns true if the server kept every promise.
    pub(super) fn is_whole(&self) -> bool {
        self.faults.are_none() && self.unanswered == 0 && self.returns.len() as u64 == self.cuts
    }
}

/// The progress of the run, shared by all clients.
#[derive(Clone, Debug, Default)]
struct RunState {
    /// The number of rounds so far.
    rounds: u32,
    /// True once no more messages are published.
    is_over: bool,
    /// The newest stored offset of each room, once all messages are stored. A reader that has reached it may end.
    last: Option<Vec<Offset>>,
}

/// Runs all rounds.
///
/// # Errors
/// If a client cannot connect, or the server refuses a message.
pub(super) async fn run(verification: &Verification) -> anyhow::Result<VerifyResult> {
    let options = &verification.args;
    let every = Duration::from_secs(options.every.into());
    let (control, state) = watch::channel(RunState::default());
    let (arrive, mut arrived) = watch::channel(0u32);

    let mut readers = JoinSet::new();
    for number in 0..options.readers {
        let client = VerifyClient::reader(verification, number, &state)?;
        let rooms = verification.rooms.of_connection(number);
        let names = rooms.iter().map(|room| verification.rooms.name(*room));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let rooms = rooms.into_iter().zip(names).collect();
        let arrive = arrive.clone();
        readers.spawn(async move { read(client, rooms, arrive).await });
    }
    let all_here = arrived.wait_for(|arrived| *arrived == options.readers);
    tokio::select! {
        here = timeout(FINAL_TIMEOUT, all_here) => { here.context("not all readers could connect")??; }
        Some(ended) = readers.join_next() => { ended??; bail!("a reader ended too early"); }
    }

    let every_message = Duration::from_secs_f64(f64::from(options.rooms) / f64::from(options.rate));
    let publishers: Vec<_> = (0..options.rooms)
        .map(|room| {
            let client = VerifyClient::publisher(verification, room, &state)?;
            Ok(tokio::spawn(publish(client, every_message)))
        })
        .collect::<anyhow::Result<_>>()?;

    for round in 1..=options.storms {
        sleep(every).await;
        progress(&format!("storm {round} of {}", options.storms));
        control.send_modify(|state| state.rounds = round);
    }
    sleep(every).await;
    progress("\n");
    control.send_modify(|state| state.is_over = true);

    let mut result = VerifyResult::default();
    let mut stored = Vec::new();
    for published in join_all(publishers).await {
        let published = published.context("a publisher failed")??;
        result.stored += published.stored.len() as u64;
        result.repeated += published.repeated;
        result.unanswered += published.unanswered;
        result.returns.extend(published.returns);
        stored.push(published.stored);
    }

    let last_of = |stored: &StoredTexts| match stored.last_key_value() {
        Some((offset, _)) => *offset,
        None => Offset(0),
    };
    let last = stored.iter().map(last_of).collect();
    control.send_modify(|state| state.last = Some(last));

    while let Some(ended) = readers.join_next().await {
        let (rooms, checker, returns) = ended.context("a reader failed")??;
        let stored = rooms
            .iter()
            .map(|(number, name)| (name, &stored[*number as usize]));
        result.expected += stored
            .clone()
            .map(|(_, stored)| stored.len() as u64)
            .sum::<u64>();
        result.faults = result.faults + checker.finish(stored);
        result.returns.extend(returns);
    }
    result.returns.sort_unstable();
    result.cuts = u64::from(options.storms) * u64::from(options.readers + options.rooms);
    Ok(result)
}

/// A client, across all its connections.
struct VerifyClient {
    socket: ReconnectingSocket,
    subscriptions: SocketSubscriptions,
    state: watch::Receiver<RunState>,
    /// The number of rounds in which this client was disconnected.
    rounds: u32,
    /// The time of the last cut; `None` once all missed messages have been received.
    disconnected_at: Option<Instant>,
    returns: Vec<Duration>,
}

impl VerifyClient {
    /// Creates the reader `number`, which subscribes to its rooms after each `welcome`.
    fn reader(
        verification: &Verification,
        number: u32,
        state: &watch::Receiver<RunState>,
    ) -> anyhow::Result<Self> {
        let rooms = verification.rooms.subscriptions(number)?;
        Ok(Self::new(verification, None, None, rooms, state))
    }

    /// Creates the publisher of the room `number`. Its id is the same on all connections, so that keys are repeated.
    fn publisher(
        verification: &Verification,
        number: u32,
        state: &watch::Receiver<RunState>,
    ) -> anyhow::Result<Self> {
        let room = verification.rooms.name(number)?;
        // With a token, all clients have the id in it.
        let id = match verification.credentials {
            Some(_) => None,
            None => Some(UserId::parse(&format!("publisher-{number}"))?),
        };
        let rooms = vec![room.clone().into()];
        Ok(Self::new(verification, Some(room), id, rooms, state))
    }

    fn new(
        verification: &Verification,
        room: Option<RoomName>,
        id: Option<UserId>,
        rooms: Vec<RoomSelector>,
        state: &watch::Receiver<RunState>,
    ) -> Self {
        let server = verification.server.clone();
        let credentials = verification.credentials.clone();
        Self {
            socket: ReconnectingSocket::new(server, room, id, credentials),
            subscriptions: SocketSubscriptions::new(rooms, None),
            state: state.clone(),
            rounds: 0,
            disconnected_at: None,
            returns: Vec::new(),
        }
    }

    /// Records a frame of the server.
    fn on_push(&mut self, push: &Push) -> anyhow::Result<()> {
        // The delivery checker counts the messages that a cursor would hide.
        let _ = self.subscriptions.on_push(&mut self.socket, push)?;
        Ok(())
    }

    /// Cuts the connection if a new round has begun. Returns true if it did. A client that has not caught up since
    /// the last round counts as away since this one.
    fn cut_if_due(&mut self) -> bool {
        let rounds = self.state.borrow_and_update().rounds;
        if rounds == self.rounds {
            return false;
        }

        self.rounds = rounds;
        self.socket.reconnect();
        self.subscriptions.on_disconnect();
        self.disconnected_at = Some(Instant::now());
        true
    }

    /// Records the return if all missed messages have been received.
    fn record_return(&mut self) {
        if self.subscriptions.have_caught_up()
            && let Some(disconnected_at) = self.disconnected_at.take()
        {
            self.returns.push(disconnected_at.elapsed());
        }
    }
}

/// The rooms of a reader: their numbers and names.
type ReaderRooms = Vec<(u32, RoomName)>;

/// Reads until the last message of each of `rooms` has been received. Increments `arrive` once the reader is subscribed to
/// all of them.
async fn read(
    mut client: VerifyClient,
    rooms: ReaderRooms,
    arrive: watch::Sender<u32>,
) -> anyhow::Result<(ReaderRooms, DeliveryChecker, Vec<Duration>)> {
    let mut checker = DeliveryChecker::default();
    let mut has_arrived = false;
    let mut deadline = None;
    loop {
        tokio::select! {
            event = client.socket.next(client.subscriptions.first()) => match event? {
                SocketEvent::Received(pushes) => {
                    for push in &pushes {
                        checker.on_push(push);
                        client.on_push(push)?;
                    }
                    client.record_return();
                    if !has_arrived && client.subscriptions.have_caught_up() {
                        has_arrived = true;
                        arrive.send_modify(|arrived| *arrived += 1);
                    }
                }
                SocketEvent::Disconnected(_) => client.subscriptions.on_disconnect(),
            },
            changed = client.state.changed() => { changed?; client.cut_if_due(); }
            () = sleep(time_left(deadline)), if deadline.is_some() => break,
        }

        let has_all = match &client.state.borrow().last {
            Some(last) => rooms
                .iter()
                .all(|(number, name)| checker.has_reached(name, last[*number as usize])),
            None => continue,
        };
        if client.disconnected_at.is_none() && has_all {
            break;
        }
        deadline.get_or_insert(Instant::now() + FINAL_TIMEOUT);
    }

    client.socket.close().await;
    Ok((rooms, checker, client.returns))
}

/// The messages of one publisher.
struct PublisherResult {
    stored: StoredTexts,
    repeated: u64,
    unanswered: u64,
    returns: Vec<Duration>,
}

/// Publishes a message at each interval of `every` until the run is over, and waits for the responses.
async fn publish(mut client: VerifyClient, every: Duration) -> anyhow::Result<PublisherResult> {
    // The sender of the messages differs from the id of the client, so the log does not confirm them. After a cut
    // each message is sent again, and the server has to detect the duplicate.
    let from = UserId::parse("nobody")?;
    let mut outbox = Outbox::new(SendMode::Bulk);
    let mut result = PublisherResult {
        stored: StoredTexts::new(),
        repeated: 0,
        unanswered: 0,
        returns: Vec::new(),
    };
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let mut deadline = None;
    loop {
        let is_over = client.state.borrow().is_over;
        if is_over && outbox.is_empty() && client.disconnected_at.is_none() {
            break;
        }
        if is_over {
            deadline.get_or_insert(Instant::now() + FINAL_TIMEOUT);
        }

        let wake = loop {
            match outbox.next(client.subscriptions.first(), client.socket.now()) {
                SendStep::Send(command) => client.socket.send(&command),
                SendStep::Settled(settled) => result.record(settled)?,
                SendStep::Wait(time) => break Some(time),
                SendStep::Idle => break None,
            }
        };

        tokio::select! {
            event = client.socket.next(client.subscriptions.first()) => match event? {
                SocketEvent::Received(pushes) => for push in &pushes {
                    client.on_push(push)?;
                    if let Some(settled) = outbox.on_push(push, client.socket.now()) {
                        result.record(settled)?;
                    }
                },
                SocketEvent::Disconnected(_) => {
                    client.subscriptions.on_disconnect();
                    outbox.on_disconnect();
                }
            },
            changed = client.state.changed() => {
                changed?;
                if client.cut_if_due() {
                    outbox.on_disconnect();
                }
            }
            _ = tick.tick(), if !is_over && outbox.has_capacity() => {
                let text = format!("{:032x}", fastrand::u128(..));
                let (key, from) = (Key::parse(&text)?, from.clone());
                let (body, kind) = (Body::Text(text), None);
                outbox.enqueue(OutgoingMessage { id: 0, key, from, body, kind, reply_to: None, edits: None });
            }
            () = sleep(wake.unwrap_or_default()), if wake.is_some() => {}
            () = sleep(time_left(deadline)), if deadline.is_some() => break,
        }
        client.record_return();
    }

    client.socket.close().await;
    result.unanswered = outbox.len() as u64;
    result.returns = client.returns;
    Ok(result)
}

impl PublisherResult {
    /// Records a message, whose key is its text.
    ///
    /// # Errors
    /// If the server refused it.
    fn record(&mut self, settled: Settled) -> anyhow::Result<()> {
        match settled.outcome {
            SendOutcome::Stored { offset, duplicate } => {
                self.stored.insert(offset, settled.key.as_str().to_owned());
                self.repeated += u64::from(duplicate);
                Ok(())
            }
            SendOutcome::Refused { message, .. } => {
                bail!("the server refuses a message: {message}")
            }
            SendOutcome::TooLong(limit) => bail!(
                "the server accepts at most {limit} bytes per message; verify needs 32 (--max-message)"
            ),
        }
    }
}

/// Returns the time until `deadline`, or zero without one.
fn time_left(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::ZERO, |deadline| {
        deadline.saturating_duration_since(Instant::now())
    })
}

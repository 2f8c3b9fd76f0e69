//! The load: clients that receive, and clients that publish.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::tally::{BenchResult, Tally};
use super::{Bench, BenchArgs};
use crate::cli::client::{ServerSocket, SocketFrame};
use crate::cli::output::progress;
use crate::protocol::{Body, Command, Key, MessageFields, Offset, Push, RoomName, RoomSelector};

/// The largest size of the stamp in a message, in bytes.
pub(super) const MIN_SIZE: u32 = 48;
/// The prefix of an `ack`. Other frames are not decoded.
const ACK: &str = "{\"type\":\"ack\"";
/// The maximum number of concurrent handshakes.
const MAX_CONNECTING: usize = 64;

/// Connects all clients, publishes, and waits for the deliveries.
///
/// # Errors
/// If a client cannot connect, or the server refuses a subscription or closes a publisher.
pub(super) async fn run(bench: &Bench) -> anyhow::Result<BenchResult> {
    let options = &bench.args;
    let tally = Arc::new(Tally::new()?);

    let mut connected = stream::iter(0..options.connections)
        .map(|number| connect_listener(bench, number))
        .buffer_unordered(MAX_CONNECTING);
    let mut listeners = JoinSet::new();
    while let Some(socket) = connected.try_next().await? {
        // The server closes connections that do not read, also before the load begins.
        let (sink, stream) = socket.split();
        listeners.spawn(listen(sink, stream, options.is_typed(), tally.clone()));
    }
    let connecting = tally.began.elapsed();

    let mut tasks = JoinSet::new();
    if options.rate == 0 {
        let idle = options.length();
        tasks.spawn(async move {
            tokio::time::sleep(idle).await;
            Ok(Vec::new())
        });
    } else {
        for number in 0..options.publishers {
            let publisher = LoadPublisher::connect(bench, number).await?;
            tasks.spawn(publisher.publish(options.clone(), tally.clone()));
        }
    }

    let mut sent_in_room = vec![0; bench.rooms.count() as usize];
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            done = tasks.join_next() => {
                let Some(done) = done else { break };
                for PublisherRoom { number, sent, .. } in done.context("a publisher failed")?? {
                    sent_in_room[number as usize] += sent;
                }
            }
            _ = every_second.tick() => progress(&deliveries(&tally)),
        }
    }

    let readers = bench.rooms.readers(options.connections);
    let expected = sent_in_room
        .iter()
        .zip(readers)
        .map(|(sent, readers)| sent * readers)
        .sum();
    let sent = sent_in_room.iter().sum();

    tally
        .wait_for(expected, if options.acks { sent } else { 0 })
        .await;
    progress(&(deliveries(&tally) + "\n"));
    listeners.shutdown().await;
    Ok(tally.result(options, sent, expected, connecting))
}

fn deliveries(tally: &Tally) -> String {
    format!("{:>12} deliveries", tally.delivered.load(Ordering::Relaxed))
}

/// Connects the listener `number` and subscribes it to its rooms.
async fn connect_listener(bench: &Bench, number: u32) -> anyhow::Result<ServerSocket> {
    let subscriptions = bench.rooms.subscriptions(number)?;
    if !bench.args.is_typed() {
        let room = subscriptions.first().map(RoomSelector::as_str);
        return connect(bench, "listener", number, room).await;
    }

    let mut socket = connect(bench, "listener", number, None).await?;
    let mut missing = subscriptions.len();
    for room in subscriptions {
        let subscribe = Command::Subscribe {
            room,
            after: None,
            epoch: None,
        };
        socket.feed(Message::text(subscribe.encode())).await?;
    }
    socket.flush().await?;

    while missing > 0 {
        match SocketFrame::from(socket.next().await) {
            SocketFrame::Push(Push::Subscribed(_)) => missing -= 1,
            SocketFrame::Push(Push::Error { message, .. }) => bail!("cannot subscribe: {message}"),
            SocketFrame::End(end) => bail!("the server closed a listener: {}", end.reason),
            SocketFrame::Push(_) | SocketFrame::Other => {}
        }
    }
    Ok(socket)
}

/// Connects the client `number` of its `kind`, in `room` if it is plain. Clients are spread over the nodes.
async fn connect(
    bench: &Bench,
    kind: &str,
    number: u32,
    room: Option<&str>,
) -> anyhow::Result<ServerSocket> {
    // With a token, all clients have the id in it.
    let (id, token) = match &bench.credentials {
        Some(credentials) => (credentials.id.as_str().to_owned(), Some(&credentials.token)),
        None => (format!("{kind}-{number}"), None),
    };
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("id", &id)
        .extend_pairs(room.map(|room| ("room", room)))
        .finish();

    let server = &bench.servers[number as usize % bench.servers.len()];
    server
        .open(&query, bench.args.is_typed(), token)
        .await
        .with_context(|| format!("cannot connect to {server}"))
}

/// A client that publishes in its share of the rooms, in turn.
struct LoadPublisher {
    socket: ServerSocket,
    number: u32,
    rooms: Vec<PublisherRoom>,
}

/// A room of a publisher.
struct PublisherRoom {
    number: u32,
    name: RoomName,
    /// The number of messages that the publisher has sent in the room.
    sent: u64,
}

impl LoadPublisher {
    /// Connects the publisher `number`.
    async fn connect(bench: &Bench, number: u32) -> anyhow::Result<Self> {
        let BenchArgs {
            rooms, publishers, ..
        } = bench.args;
        let share = (number % rooms..rooms).step_by(publishers as usize);
        let share = share.map(|number| {
            let name = bench.rooms.name(number)?;
            Ok(PublisherRoom {
                number,
                name,
                sent: 0,
            })
        });
        let rooms = share.collect::<anyhow::Result<Vec<_>>>()?;

        let plain_room = rooms.first().filter(|_| !bench.args.is_typed());
        let room = plain_room.map(|room| room.name.as_str());
        Ok(Self {
            socket: connect(bench, "publisher", number, room).await?,
            number,
            rooms,
        })
    }

    /// Publishes at the rate and for the duration of `options`. Returns the rooms with the number of messages in each.
    async fn publish(
        mut self,
        options: BenchArgs,
        tally: Arc<Tally>,
    ) -> anyhow::Result<Vec<PublisherRoom>> {
        let (mut sink, stream) = self.socket.split();
        let receiver = tokio::spawn(receive_acks(stream, options.acks, tally.clone()));

        let every = Duration::from_secs_f64(
            f64::from(options.burst) * f64::from(options.publishers) / f64::from(options.rate),
        );
        let mut pace = tokio::time::interval(every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let bursts = (options.length().as_secs_f64() / every.as_secs_f64()) as u64;

        let mut next = 0;
        for _ in 0..bursts.max(1) {
            pace.tick().await;
            for _ in 0..options.burst {
                let room = &mut self.rooms[next];
                let text = message(self.number, room, &options, tally.now_us());
                if sink.feed(Message::text(text)).await.is_err() {
                    let why = receiver
                        .await
                        .ok()
                        .flatten()
                        .unwrap_or_else(|| "no Close frame".to_owned());
                    bail!("the server closed a publisher: {why} (it needs --message-rate 0)");
                }
                room.sent += 1;
                next = (next + 1) % self.rooms.len();
            }
            sink.flush()
                .await
                .context("the server closed a publisher (it needs --message-rate 0)")?;
        }

        // The last messages are in flight. The socket stays open until the listeners have received them.
        tokio::spawn(async move {
            // The sink keeps the socket open.
            let _ = (sink, receiver.await);
        });
        Ok(self.rooms)
    }
}

/// Returns the next message of `publisher` in `room` as text or as a frame.
fn message(publisher: u32, room: &PublisherRoom, options: &BenchArgs, now_us: u64) -> String {
    let PublisherRoom { number, name, sent } = room;
    let stamp = format!("{publisher} {number} {sent} {now_us} ");
    let text = format!("{stamp:x<width$}", width = options.size as usize);
    if !options.is_typed() {
        return text;
    }

    // The key contains number and time of the message, like the text.
    let key = options.acks.then(|| Key::parse(stamp.trim_end()).ok());
    let publish = Command::Publish {
        room: Some(name.clone()),
        body: Body::Text(text),
        fields: MessageFields::keyed(key.flatten()),
    };
    publish.encode()
}

/// Reads the frames of a publisher, because the server closes slow readers. Returns the close reason of the server,
/// if any.
async fn receive_acks(
    mut stream: SplitStream<ServerSocket>,
    wants_acks: bool,
    tally: Arc<Tally>,
) -> Option<String> {
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Close(Some(close)) => {
                return Some(format!("{} {}", u16::from(close.code), close.reason));
            }
            Message::Text(text) if wants_acks && text.starts_with(ACK) => {
                let Ok(Push::Ack { key, .. }) = Push::decode(&text) else {
                    continue;
                };
                let Some(stamp) = Stamp::parse(key.as_str()) else {
                    continue;
                };

                tally
                    .acks
                    .record(tally.now_us().saturating_sub(stamp.sent_us));
                tally.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
    None
}

/// Receives messages and records their latency and order, until the connection ends.
async fn listen(
    sink: SplitSink<ServerSocket, Message>,
    mut stream: SplitStream<ServerSocket>,
    is_typed: bool,
    tally: Arc<Tally>,
) {
    // The next message of each publisher in each room.
    let mut next_of: HashMap<(u32, u32), u64> = HashMap::new();
    let mut last = Offset(0);
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let Some((stamp, offset)) = read_message(&text, is_typed) else {
            continue;
        };

        let next = next_of.entry((stamp.publisher, stamp.room)).or_default();
        let is_after_last = offset.is_none_or(|offset| offset > last);
        if stamp.sequence != *next || !is_after_last {
            tally.disordered.fetch_add(1, Ordering::Relaxed);
        }
        *next = stamp.sequence + 1;
        last = offset.unwrap_or(last);

        let latency_us = tally.now_us().saturating_sub(stamp.sent_us);
        tally.latency.record(latency_us);
        tally.delivered.fetch_add(1, Ordering::Relaxed);
    }
    tally.closed.fetch_add(1, Ordering::Relaxed);
    drop(sink);
}

/// Returns the stamp in the message of a frame, and the offset of the message, which plain frames do not have.
fn read_message(frame: &Utf8Bytes, is_typed: bool) -> Option<(Stamp, Option<Offset>)> {
    if !is_typed {
        return Some((Stamp::parse(frame)?, None));
    }
    let Push::Message(publication) = Push::decode(frame).ok()? else {
        return None;
    };
    let Body::Text(text) = publication.body else {
        return None;
    };
    Some((Stamp::parse(&text)?, Some(publication.offset)))
}

/// The origin of a message, at the start of its text.
struct Stamp {
    publisher: u32,
    room: u32,
    /// The number of earlier messages of the publisher in the room.
    sequence: u64,
    /// The time of the publish in microseconds since the start of the command.
    sent_us: u64,
}

impl Stamp {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Self {
            publisher: words.next()?.parse().ok()?,
            room: words.next()?.parse().ok()?,
            sequence: words.next()?.parse().ok()?,
            sent_us: words.next()?.parse().ok()?,
        })
    }
}

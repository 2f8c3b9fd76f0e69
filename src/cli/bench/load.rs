//! The load: clients that receive, and clients that publish.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::tally::{BenchResult, Tally};
use super::{Bench, BenchArgs};
use crate::cli::client::Socket;
use crate::cli::output::progress;
use crate::client::Cursor;
use crate::protocol::{Body, Command, Key, MessageFields, Push, RoomName, UserId};

/// The size of publisher, number and time in a message, in bytes.
pub(super) const MIN_SIZE: u32 = 48;
/// The prefix of an `ack`. Other frames are not decoded.
const ACK: &str = "{\"type\":\"ack\"";
/// The maximum number of concurrent handshakes.
const MAX_CONNECTING: usize = 64;

pub(super) async fn run(bench: &Bench) -> anyhow::Result<BenchResult> {
    let options = &bench.args;
    let tally = Arc::new(Tally::new()?);
    // The rooms are unique, because messages of other users would count as disorder.
    let run = fastrand::u32(..);
    let room = |number: u32| format!("bench-{run:08x}-{}", number % options.rooms);

    let listeners = stream::iter(0..options.connections)
        .map(|number| {
            let room = room(number);
            async move { connect(bench, &room, "listener", number).await }
        })
        .buffer_unordered(MAX_CONNECTING)
        .try_collect::<Vec<_>>()
        .await?;
    let connecting = tally.began.elapsed();

    let mut tasks = JoinSet::new();
    for socket in listeners {
        let (sink, stream) = socket.split();
        tasks.spawn(listen(sink, stream, options.is_typed(), tally.clone()));
    }

    let mut publishers = JoinSet::new();
    for number in 0..options.publishers {
        let socket = connect(bench, &room(number), "publisher", number).await?;
        publishers.spawn(publish(socket, options.clone(), number, tally.clone()));
    }

    let mut sent = Vec::new();
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            done = publishers.join_next() => match done {
                Some(done) => sent.push(done.context("a publisher failed")??),
                None => break,
            },
            _ = every_second.tick() => progress(&deliveries(&tally)),
        }
    }

    let listeners_of = |room: u32| {
        u64::from(
            options.connections / options.rooms
                + u32::from(room < options.connections % options.rooms),
        )
    };
    let expected = sent
        .iter()
        .map(|(number, sent)| sent * listeners_of(number % options.rooms))
        .sum();
    let sent = sent.iter().map(|(_, sent)| sent).sum();

    tally
        .wait_for(expected, if options.acks { sent } else { 0 })
        .await;
    progress(&(deliveries(&tally) + "\n"));
    tasks.shutdown().await;
    Ok(tally.result(options, sent, expected, connecting))
}

fn deliveries(tally: &Tally) -> String {
    format!("{:>12} deliveries", tally.delivered.load(Ordering::Relaxed))
}

/// Connects the client `number` of its `kind` in `room`. Clients are spread over the nodes.
async fn connect(bench: &Bench, room: &str, kind: &str, number: u32) -> anyhow::Result<Socket> {
    // With a token, all clients have the id in it.
    let (id, token) = match &bench.credentials {
        Some(credentials) => (credentials.id.clone(), Some(&credentials.token)),
        None => (UserId::parse(&format!("{kind}-{number}"))?, None),
    };
    let query = Cursor::new(None).query(&RoomName::parse(room)?, Some(&id));

    let server = &bench.servers[number as usize % bench.servers.len()];
    server
        .open(&query, bench.args.is_typed(), token)
        .await
        .with_context(|| format!("cannot connect to {server}"))
}

/// Publishes at the rate and for the duration of `options`. Returns the publisher's number and the number of its
/// messages.
async fn publish(
    socket: Socket,
    options: BenchArgs,
    number: u32,
    tally: Arc<Tally>,
) -> anyhow::Result<(u32, u64)> {
    let (mut sink, stream) = socket.split();
    let receiver = tokio::spawn(receive_acks(stream, options.acks, tally.clone()));

    let every = Duration::from_secs_f64(
        f64::from(options.burst) * f64::from(options.publishers) / f64::from(options.rate),
    );
    let mut pace = tokio::time::interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let bursts = (options.length().as_secs_f64() / every.as_secs_f64()) as u64;

    let mut sent = 0;
    for _ in 0..bursts.max(1) {
        pace.tick().await;
        for _ in 0..options.burst {
            let now_us = tally.now_us();
            let head = format!("{number} {sent} {now_us} ");
            let text = format!("{head:x<width$}", width = options.size as usize);
            // The key contains number and time of the message, like the text.
            let key = if options.acks {
                Key::parse(head.trim_end()).ok()
            } else {
                None
            };
            let text = if options.is_typed() {
                let publish = Command::Publish {
                    room: None,
                    body: Body::Text(text),
                    fields: MessageFields::keyed(key),
                };
                publish.encode()
            } else {
                text
            };
            if sink.feed(Message::text(text)).await.is_err() {
                let why = receiver
                    .await
                    .ok()
                    .flatten()
                    .unwrap_or_else(|| "no Close frame".to_owned());
                anyhow::bail!("the server closed a publisher: {why} (it needs --message-rate 0)");
            }
            sent += 1;
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
    Ok((number, sent))
}

/// Reads the frames of a publisher, because the server closes slow readers. Returns the close reason of the server,
/// if any.
async fn receive_acks(
    mut stream: SplitStream<Socket>,
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
                let Some((.., sent_us)) = stamp(key.as_str()) else {
                    continue;
                };

                tally.acks.record(tally.now_us().saturating_sub(sent_us));
                tally.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
    None
}

async fn listen(
    sink: SplitSink<Socket, Message>,
    mut stream: SplitStream<Socket>,
    is_typed: bool,
    tally: Arc<Tally>,
) {
    let mut next_of: HashMap<u32, u64> = HashMap::new();
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let Some((publisher, sequence, sent_us)) = stamp_in(&text, is_typed) else {
            continue;
        };

        let next = next_of.entry(publisher).or_default();
        if sequence != *next {
            tally.disordered.fetch_add(1, Ordering::Relaxed);
        }
        *next = sequence + 1;

        tally.latency.record(tally.now_us().saturating_sub(sent_us));
        tally.delivered.fetch_add(1, Ordering::Relaxed);
    }
    tally.closed.fetch_add(1, Ordering::Relaxed);
    drop(sink);
}

/// Returns the stamp in the message of a frame.
fn stamp_in(frame: &Utf8Bytes, is_typed: bool) -> Option<(u32, u64, u64)> {
    if !is_typed {
        return stamp(frame);
    }
    let Push::Message(publication) = Push::decode(frame).ok()? else {
        return None;
    };
    let Body::Text(text) = publication.body else {
        return None;
    };
    stamp(&text)
}

/// Returns publisher, number and time of a message.
fn stamp(text: &str) -> Option<(u32, u64, u64)> {
    let mut words = text.split(' ');
    Some((
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
    ))
}

//! The load itself: clients that listen, clients that publish, and what each saw.

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

use super::Plan;
use super::tally::{Outcome, Tally};
use crate::cli::client::Socket;
use crate::cli::output::progress;
use crate::client::Cursor;
use crate::protocol::Body;
use crate::protocol::Command;
use crate::protocol::Key;
use crate::protocol::Push;
use crate::protocol::RoomName;
use crate::protocol::UserId;

/// Room for publisher, number and time in a message.
pub(super) const MIN_SIZE: usize = 48;
/// How an `ack` begins, so that nothing else is decoded.
const ACK: &str = "{\"type\":\"ack\"";
/// Handshakes under way at once.
const CONNECT_AT_ONCE: usize = 64;

pub(super) async fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let tally = Arc::new(Tally::new()?);
    // A name of its own: what others say there would count as disorder.
    let run = fastrand::u32(..);
    let room = |number: u32| format!("bench-{run:08x}-{}", number % plan.rooms);

    let listeners = stream::iter(0..plan.connections)
        .map(|number| {
            let room = room(number);
            async move { anyhow::Ok((number, connect(plan, &room, "listener", number).await?)) }
        })
        .buffer_unordered(CONNECT_AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    let connecting = tally.began.elapsed();
    let mut tasks = JoinSet::new();
    for (number, socket) in listeners {
        let (sink, stream) = socket.split();
        tasks.spawn(listen(
            sink,
            stream,
            plan.is_typed,
            number as usize,
            tally.clone(),
        ));
    }

    let mut publishers = JoinSet::new();
    for number in 0..plan.publishers {
        let socket = connect(plan, &room(number), "publisher", number).await?;
        publishers.spawn(publish(socket, plan.clone(), number, tally.clone()));
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
        u64::from(plan.connections / plan.rooms + u32::from(room < plan.connections % plan.rooms))
    };
    let expected = sent
        .iter()
        .map(|(number, sent)| sent * listeners_of(number % plan.rooms))
        .sum();
    let sent = sent.iter().map(|(_, sent)| sent).sum();
    tally
        .wait_for(expected, if plan.wants_acks { sent } else { 0 })
        .await;
    progress(&(deliveries(&tally) + "\n"));
    tasks.shutdown().await;
    tally.outcome(plan, sent, expected, connecting)
}

fn deliveries(tally: &Tally) -> String {
    format!("{:>12} deliveries", tally.delivered.load(Ordering::Relaxed))
}

/// The client `number` of its `kind`, in `room`; clients take turns on the nodes.
async fn connect(plan: &Plan, room: &str, kind: &str, number: u32) -> anyhow::Result<Socket> {
    // With a token, all clients have its id.
    let id = match &plan.pass {
        Some(pass) => pass.id.clone(),
        None => UserId::parse(&format!("{kind}-{number}"))?,
    };
    let query = Cursor::new(None).query(&RoomName::parse(room)?, Some(&id));

    let server = &plan.servers[number as usize % plan.servers.len()];
    server
        .open(
            &query,
            plan.is_typed,
            plan.pass.as_ref().map(|pass| &pass.token),
        )
        .await
        .with_context(|| format!("cannot connect to {server}"))
}

/// Sends at the plan's pace for its length; gives the publisher's number and how many it sent.
async fn publish(
    socket: Socket,
    plan: Plan,
    number: u32,
    tally: Arc<Tally>,
) -> anyhow::Result<(u32, u64)> {
    let (mut sink, stream) = socket.split();
    let ear = tokio::spawn(hear_acks(
        stream,
        plan.wants_acks,
        number as usize,
        tally.clone(),
    ));
    let every = Duration::from_secs_f64(
        f64::from(plan.burst) * f64::from(plan.publishers) / f64::from(plan.rate),
    );
    let mut pace = tokio::time::interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let bursts = (plan.length.as_secs_f64() / every.as_secs_f64()) as u64;
    let mut sent = 0;
    for _ in 0..bursts.max(1) {
        pace.tick().await;
        for _ in 0..plan.burst {
            let now_us = tally.now_us();
            let head = format!("{number} {sent} {now_us} ");
            let text = format!("{head:x<width$}", width = plan.size);
            // The key says which message it is and when it was sent, as does the text.
            let key = if plan.wants_acks {
                Key::parse(head.trim_end()).ok()
            } else {
                None
            };
            let text = if plan.is_typed {
                Command::Say { text, key }.encode()
            } else {
                text
            };
            if sink.feed(Message::text(text)).await.is_err() {
                let why = ear
                    .await
                    .ok()
                    .flatten()
                    .unwrap_or_else(|| "without a word".to_owned());
                anyhow::bail!("the server closed a publisher: {why} (it needs --message-rate 0)");
            }
            sent += 1;
        }
        sink.flush()
            .await
            .context("the server closed a publisher (it needs --message-rate 0)")?;
    }
    // Its last messages are on their way; it stays until the listeners have them.
    tokio::spawn(async move {
        let _stays = (sink, ear.await);
    });
    Ok((number, sent))
}

/// What a publisher hears must be read, or the server would close it as too slow. Gives why it was closed.
async fn hear_acks(
    mut stream: SplitStream<Socket>,
    wants_acks: bool,
    number: usize,
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
                tally
                    .acks
                    .record(number, tally.now_us().saturating_sub(sent_us));
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
    number: usize,
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
        tally
            .latency
            .record(number, tally.now_us().saturating_sub(sent_us));
        tally.delivered.fetch_add(1, Ordering::Relaxed);
    }
    tally.closed.fetch_add(1, Ordering::Relaxed);
    drop(sink);
}

/// The stamp of the message in a frame.
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

/// Publisher, its message's number, and when it was sent.
fn stamp(text: &str) -> Option<(u32, u64, u64)> {
    let mut words = text.split(' ');
    Some((
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
    ))
}

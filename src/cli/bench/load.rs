//! The load itself: clients that listen, clients that publish, and what each saw.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Plan;
use crate::cli::client::Socket;
use crate::protocol::Body;
use crate::protocol::Command;
use crate::protocol::Push;

/// Room for publisher, number and time in a message.
pub(super) const MIN_SIZE: usize = 48;
/// Handshakes under way at once.
const CONNECT_AT_ONCE: usize = 64;
/// How long after the last delivery the rest counts as lost.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// Latencies are kept to two digits, in microseconds, up to this.
const MAX_LATENCY_US: u64 = 60_000_000;
const DIGITS: u8 = 2;
/// Histograms, so that listeners seldom wait for each other.
const SHARDS: usize = 16;

/// What came of it.
pub(super) struct Outcome {
    /// Messages published.
    pub(super) sent: u64,
    /// Deliveries that should have been.
    pub(super) expected: u64,
    /// Deliveries that were.
    pub(super) delivered: u64,
    /// Deliveries that were not the next one of their publisher.
    pub(super) disordered: u64,
    /// Connections that ended before their time.
    pub(super) closed: u64,
    /// How long it took to connect everyone.
    pub(super) connecting: Duration,
    /// From a publish to its delivery, in microseconds.
    pub(super) latency: Histogram<u64>,
}

impl Outcome {
    pub(super) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.lost() == 0 && self.disordered == 0
    }
}

/// What the clients share.
struct Tally {
    began: Instant,
    delivered: AtomicU64,
    disordered: AtomicU64,
    closed: AtomicU64,
    latency: Vec<Mutex<Histogram<u64>>>,
}

pub(super) async fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let tally = Arc::new(Tally::new()?);
    // A name of its own: what others say there would count as disorder.
    let run = fastrand::u32(..);
    let room = |number: u32| format!("bench-{run:08x}-{}", number % plan.rooms);

    let listeners = stream::iter(0..plan.connections)
        .map(|number| {
            let room = room(number);
            async move { anyhow::Ok((number, connect(plan, &room, &format!("listener-{number}")).await?)) }
        })
        .buffer_unordered(CONNECT_AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    let connecting = tally.began.elapsed();
    let mut tasks = JoinSet::new();
    for (number, socket) in listeners {
        let (sink, stream) = socket.split();
        tasks.spawn(listen(sink, stream, plan.is_typed, number as usize, tally.clone()));
    }

    let mut publishers = JoinSet::new();
    for number in 0..plan.publishers {
        let socket = connect(plan, &room(number), &format!("publisher-{number}")).await?;
        publishers.spawn(publish(socket, plan.clone(), number, tally.began));
    }
    let mut sent = Vec::new();
    let mut progress = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            done = publishers.join_next() => match done {
                Some(done) => sent.push(done.context("a publisher failed")??),
                None => break,
            },
            _ = progress.tick() => eprint!("\r{:>12} deliveries", tally.delivered.load(Ordering::Relaxed)),
        }
    }
    let listeners_of = |room: u32| {
        u64::from(plan.connections / plan.rooms + u32::from(room < plan.connections % plan.rooms))
    };
    let expected = sent.iter().map(|(number, sent)| sent * listeners_of(number % plan.rooms)).sum();
    tally.wait_for(expected).await;
    eprintln!("\r{:>12} deliveries", tally.delivered.load(Ordering::Relaxed));
    tasks.shutdown().await;
    tally.outcome(sent.iter().map(|(_, sent)| sent).sum(), expected, connecting)
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_max(MAX_LATENCY_US, DIGITS).map(Mutex::new);
        Ok(Self {
            began: Instant::now(),
            delivered: AtomicU64::new(0),
            disordered: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            latency: (0..SHARDS).map(|_| histogram()).collect::<Result<_, _>>()?,
        })
    }

    /// Until all have come, or none came for [`LAST_WAIT`].
    async fn wait_for(&self, expected: u64) {
        let mut seen = (0, Instant::now());
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            look.tick().await;
            let delivered = self.delivered.load(Ordering::Relaxed);
            if delivered >= expected || (delivered == seen.0 && seen.1.elapsed() > LAST_WAIT) {
                return;
            }
            if delivered != seen.0 {
                seen = (delivered, Instant::now());
            }
        }
    }

    fn outcome(&self, sent: u64, expected: u64, connecting: Duration) -> anyhow::Result<Outcome> {
        let mut latency = Histogram::new_with_max(MAX_LATENCY_US, DIGITS)?;
        for shard in &self.latency {
            latency.add(&*shard.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (delivered, disordered, closed) = (of(&self.delivered), of(&self.disordered), of(&self.closed));
        Ok(Outcome { sent, expected, delivered, disordered, closed, connecting, latency })
    }
}

async fn connect(plan: &Plan, room: &str, id: &str) -> anyhow::Result<Socket> {
    let query = [("room", room), ("id", id)];
    plan.server
        .open(&query, plan.is_typed)
        .await
        .with_context(|| format!("cannot connect to {}", plan.server))
}

/// Sends at the plan's pace for its length; gives the publisher's number and how many it sent.
async fn publish(socket: Socket, plan: Plan, number: u32, began: Instant) -> anyhow::Result<(u32, u64)> {
    let (mut sink, mut stream) = socket.split();
    // What it hears itself is not counted, but must be read, or the server would close it as too slow.
    let ear = tokio::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Close(Some(close)) = message {
                return Some(format!("{} {}", u16::from(close.code), close.reason));
            }
        }
        None
    });
    let every =
        Duration::from_secs_f64(f64::from(plan.burst) * f64::from(plan.publishers) / f64::from(plan.rate));
    let mut pace = tokio::time::interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let bursts = (plan.length.as_secs_f64() / every.as_secs_f64()) as u64;
    let mut sent = 0;
    for _ in 0..bursts.max(1) {
        pace.tick().await;
        for _ in 0..plan.burst {
            let head = format!("{number} {sent} {} ", began.elapsed().as_micros());
            let text = format!("{head:x<width$}", width = plan.size);
            let text = if plan.is_typed { Command::Say { text, key: None }.encode() } else { text };
            if sink.feed(Message::text(text)).await.is_err() {
                let why = ear.await.ok().flatten().unwrap_or_else(|| "without a word".to_owned());
                anyhow::bail!("the server closed a publisher: {why} (it needs --message-rate 0)");
            }
            sent += 1;
        }
        sink.flush().await.context("the server closed a publisher (it needs --message-rate 0)")?;
    }
    // Its last messages are on their way; it stays until the listeners have them.
    tokio::spawn(async move {
        let _stays = (sink, ear.await);
    });
    Ok((number, sent))
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
        let Message::Text(text) = message else { continue };
        let Some((publisher, sequence, sent_us)) = stamp(&text, is_typed) else { continue };
        let now_us = tally.began.elapsed().as_micros() as u64;
        let next = next_of.entry(publisher).or_default();
        if sequence != *next {
            tally.disordered.fetch_add(1, Ordering::Relaxed);
        }
        *next = sequence + 1;
        let shard = &tally.latency[number % SHARDS];
        shard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saturating_record(now_us.saturating_sub(sent_us));
        tally.delivered.fetch_add(1, Ordering::Relaxed);
    }
    tally.closed.fetch_add(1, Ordering::Relaxed);
    drop(sink);
}

/// Publisher, its message's number, and when it was sent.
fn stamp(text: &Utf8Bytes, is_typed: bool) -> Option<(u32, u64, u64)> {
    let decoded;
    let text = if is_typed {
        let Push::Message(publication) = Push::decode(text).ok()? else { return None };
        let Body::Text(text) = publication.body else { return None };
        decoded = text;
        &decoded
    } else {
        text.as_str()
    };
    let mut words = text.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

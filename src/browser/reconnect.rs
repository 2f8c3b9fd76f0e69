//! Keeps one socket open for as long as the page lives, and tells what happens to it.
//!
//! One task: connect, converse, pause, again; it ends only when it is dropped or when the server's close code
//! says not to come back. How long a pause is, when a silence is suspicious and what the news mean is the
//! [`Policy`]'s; only a server that announced its end (`drain`) chooses the pause itself. One socket at a
//! time: the old one is closed before a new one opens.

use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use gloo_timers::future::TimeoutFuture;

use super::clock;
use super::socket::Socket;
use crate::protocol::CloseCode;
use crate::protocol::Command;
use crate::protocol::Push;
use crate::protocol::Token;

/// Least time between two reports of what came: a flood is drawn twenty times a second, not three hundred.
const PACE: Duration = Duration::from_millis(50);

/// Most frames in one report, so that each leaves the page time for its reader: drawing so many rows takes a
/// machine that is four times slower than ours a twentieth of a second.
const MOST_AT_ONCE: usize = 25;

/// What the page wants of the connection.
#[derive(Clone, Debug)]
pub enum Order {
    /// Say this. Whoever has no connection forgets it.
    Say(Command),
    /// Connect, without waiting any longer; who is connected connects anew.
    Connect,
    /// Make sure that the connection lives; who has none tries at once.
    Check,
    /// Drop the connection.
    Break,
}

/// What happened to the connection.
#[derive(Clone, Debug)]
pub enum News {
    /// A try begins.
    Connecting,
    /// It succeeded.
    Open,
    /// What came, in order; never empty.
    Heard(Vec<Push>),
    /// The connection is gone, and with it what was sent and not answered.
    Broken,
    /// The next try comes in `seconds`, at least 1. Told again each second.
    Waiting {
        /// How long until the next try.
        seconds: u32,
        /// Whether the browser knows of a network at all.
        network: bool,
    },
    /// The server said not to come back, by this close code; this is the last news.
    Refused(u16),
}

/// What a silence means.
#[derive(Clone, Copy, Debug)]
pub enum Pulse {
    /// Nothing yet: look again after so long.
    Wait(Duration),
    /// It is suspicious: ask the server, and look again after so long.
    Ask(Duration),
    /// The connection is dead.
    Dead,
}

/// Who decides. Times are [`clock::since_start`].
pub trait Policy {
    /// Where to connect to.
    fn address(&self) -> String;
    /// What to show there.
    fn token(&self) -> Option<&Token>;
    /// How long to pause after a connection that lived for `lived`; zero if it never opened.
    fn pause(&mut self, lived: Duration) -> Duration;
    /// Something happened.
    fn tell(&mut self, news: News);
    /// Looks at the connection: its time has come, or somebody has `doubts`.
    fn look(&mut self, now: Duration, doubts: bool) -> Pulse;
}

/// Connects again and again, does what comes from `orders`, and reports to `policy`.
pub async fn keep_connected(mut policy: impl Policy, mut orders: UnboundedReceiver<Order>) {
    loop {
        policy.tell(News::Connecting);
        let mut end = End::default();
        let (lived, close_code) = match Socket::open(&policy.address(), policy.token()).await {
            Ok(mut socket) => {
                let opened = clock::since_start();
                policy.tell(News::Open);
                end = converse(&mut socket, &mut orders, &mut policy).await;
                // What still waits was meant for the connection that is gone, and is reported with it.
                while orders.next().now_or_never().flatten().is_some() {}
                policy.tell(News::Broken);
                (
                    clock::since_start().saturating_sub(opened),
                    socket.close_code(),
                )
            }
            Err(close_code) => (Duration::ZERO, close_code),
        };
        if !CloseCode::invites_back(close_code) {
            policy.tell(News::Refused(close_code));
            return;
        }
        let length = end.pause.unwrap_or_else(|| policy.pause(lived));
        pause(length, &mut orders, &mut policy).await;
    }
}

/// How a conversation ended.
#[derive(Default)]
struct End {
    /// How long to stay away, if anyone said so.
    pause: Option<Duration>,
}

/// Both directions of one connection, until it ends.
async fn converse(
    socket: &mut Socket,
    orders: &mut UnboundedReceiver<Order>,
    policy: &mut impl Policy,
) -> End {
    let mut end = End::default();
    // Nothing was reported yet, so the first news need not wait.
    let mut due = Duration::ZERO;
    let mut timer = TimeoutFuture::new(0);
    loop {
        let doubts = match select(select(orders.next(), socket.next()), &mut timer).await {
            Either::Left((Either::Left((Some(order), _)), _)) => match order {
                Order::Say(command) => {
                    socket.send(&command);
                    continue;
                }
                Order::Connect => {
                    return End {
                        pause: Some(Duration::ZERO),
                    };
                }
                Order::Break => return end,
                Order::Check => true,
            },
            Either::Left((Either::Right((Some(first), _)), _)) => {
                let (batch, is_over) = gather(first, socket, due).await;
                let is_full = batch.len() == MOST_AT_ONCE;
                for push in &batch {
                    if let Push::Drain { reconnect_after_ms } = *push {
                        end.pause = Some(Duration::from_millis(reconnect_after_ms));
                    }
                }
                policy.tell(News::Heard(batch));
                due = clock::since_start() + PACE;
                if is_over {
                    return end;
                }
                if is_full {
                    // More may be here already, and would hold up what the reader does if it came without a pause.
                    TimeoutFuture::new(0).await;
                }
                continue;
            }
            Either::Left((Either::Left((None, _)) | Either::Right((None, _)), _)) => return end,
            Either::Right(_) => false,
        };
        let after = match policy.look(clock::since_start(), doubts) {
            Pulse::Wait(after) => after,
            Pulse::Ask(after) => {
                socket.send(&Command::Ping);
                after
            }
            Pulse::Dead => return end,
        };
        timer = TimeoutFuture::new(after.as_millis() as u32);
    }
}

/// What has come with `first` or comes until `due`, and whether the connection is over.
async fn gather(first: Push, socket: &mut Socket, due: Duration) -> (Vec<Push>, bool) {
    let mut batch = vec![first];
    let left = due.saturating_sub(clock::since_start());
    let mut timer = (!left.is_zero()).then(|| TimeoutFuture::new(left.as_millis() as u32));
    while batch.len() < MOST_AT_ONCE {
        let more = match &mut timer {
            Some(timer) => match select(socket.next(), timer).await {
                Either::Left((more, _)) => Some(more),
                Either::Right(_) => None,
            },
            None => socket.next().now_or_never(),
        };
        match more {
            Some(Some(push)) => batch.push(push),
            Some(None) => return (batch, true),
            None => break,
        }
    }
    (batch, false)
}

/// Waits for `length`, or less if it is ordered.
async fn pause(length: Duration, orders: &mut UnboundedReceiver<Order>, policy: &mut impl Policy) {
    let until = clock::since_start() + length;
    loop {
        // By the clock and not by counting: a background tab's timers come late.
        let left = until.saturating_sub(clock::since_start());
        if left.is_zero() {
            return;
        }
        let seconds = left.as_secs_f64().ceil() as u32;
        policy.tell(News::Waiting {
            seconds,
            network: leptos::prelude::window().navigator().on_line(),
        });
        let to_next_second = left - Duration::from_secs(u64::from(seconds) - 1);
        let timer = TimeoutFuture::new(to_next_second.as_millis() as u32 + 1);
        if let Either::Right((Some(Order::Connect | Order::Check), _)) =
            select(timer, orders.next()).await
        {
            return;
        }
    }
}

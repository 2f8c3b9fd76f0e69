//! Keeps one socket open for as long as the page lives, and tells what happens to it.
//!
//! One task: connect, converse, pause, again; it ends only when it is dropped or when the server's close code
//! says not to come back. How long a pause is, and what the news mean, is the caller's; only a server that
//! announced its end (`drain`) chooses the pause itself. A pause is cut short when the browser finds the
//! network or the tab is looked at again.

use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use gloo_timers::future::TimeoutFuture;

use super::socket::Socket;
use super::wake::Wake;
use crate::protocol::CloseCode;
use crate::protocol::Command;
use crate::protocol::Push;

/// Most messages handed on in one piece, so that a flood leaves the page time to draw.
const MOST_IN_A_BATCH: usize = 100;

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
    /// The server said not to come back; this is the last news.
    Refused,
}

/// Connects again and again, sends what comes from `outbox`, and reports to `tell`.
///
/// `url` is asked before each try where to connect to. `pace` is asked after each connection how long to
/// pause; it learns how long that connection lived.
pub async fn keep_connected(
    url: impl Fn() -> String,
    mut outbox: UnboundedReceiver<Command>,
    mut pace: impl FnMut(Duration) -> Duration,
    mut tell: impl FnMut(News),
) {
    let mut wake = Wake::listen();
    loop {
        tell(News::Connecting);
        let mut asked_to_wait = None;
        let (lived, close_code) = match Socket::open(&url()).await {
            Ok(mut socket) => {
                let opened = now();
                tell(News::Open);
                asked_to_wait = converse(&mut socket, &mut outbox, &mut tell).await;
                // What still waits was meant for the connection that is gone, and is reported with it.
                while outbox.next().now_or_never().flatten().is_some() {}
                tell(News::Broken);
                (now().saturating_sub(opened), socket.close_code())
            }
            Err(close_code) => (Duration::ZERO, close_code),
        };
        if !CloseCode::invites_back(close_code) {
            tell(News::Refused);
            return;
        }
        pause(asked_to_wait.unwrap_or_else(|| pace(lived)), &mut wake, &mut tell).await;
    }
}

/// Both directions of one connection, until it ends; answers how long the server asked to stay away then.
async fn converse(
    socket: &mut Socket,
    outbox: &mut UnboundedReceiver<Command>,
    tell: &mut impl FnMut(News),
) -> Option<Duration> {
    let mut asked_to_wait = None;
    loop {
        match select(outbox.next(), socket.next()).await {
            Either::Left((Some(command), _)) => socket.send(&command),
            Either::Right((Some(first), _)) => {
                let mut batch = vec![first];
                while batch.len() < MOST_IN_A_BATCH
                    && let Some(Some(more)) = socket.next().now_or_never()
                {
                    batch.push(more);
                }
                for push in &batch {
                    if let Push::Drain { reconnect_after_ms } = *push {
                        asked_to_wait = Some(Duration::from_millis(reconnect_after_ms));
                    }
                }
                tell(News::Heard(batch));
            }
            Either::Left((None, _)) | Either::Right((None, _)) => return asked_to_wait,
        }
    }
}

/// Waits for `length`, or less if something wakes us.
async fn pause(length: Duration, wake: &mut Wake, tell: &mut impl FnMut(News)) {
    let until = now() + length;
    wake.forget();
    loop {
        // By the clock and not by counting: a background tab's timers come late.
        let left = until.saturating_sub(now());
        if left.is_zero() {
            return;
        }
        let seconds = left.as_secs_f64().ceil() as u32;
        tell(News::Waiting { seconds, network: leptos::prelude::window().navigator().on_line() });
        let to_next_second = left - Duration::from_secs(u64::from(seconds) - 1);
        let timer = TimeoutFuture::new(to_next_second.as_millis() as u32 + 1);
        if let Either::Right(_) = select(timer, wake.next()).await {
            return;
        }
    }
}

/// Time since the page began; never goes back.
fn now() -> Duration {
    let clock = leptos::prelude::window().performance();
    Duration::from_secs_f64(clock.map_or(0.0, |clock| clock.now()) / 1000.0)
}

//! One connection that comes back: opened, listened to, and opened again after a pause whenever it breaks.
//!
//! What was heard, and from where to read on, is the [`Cursor`]'s; this knows only sockets and time. Whoever
//! polls it decides how fast it reads: a client that does not poll is a slow reader like any other, and costs
//! nobody memory.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use anyhow::bail;
use futures::future::BoxFuture;
use futures::{FutureExt, Sink, SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::remote::{OpenError, Remote, Socket};
use super::{Cursor, Pass, Seen};
use crate::protocol::Backoff;
use crate::protocol::CloseCode;
use crate::protocol::Command;
use crate::protocol::Push;
use crate::protocol::RoomName;
use crate::protocol::UserId;

/// Silence after which a connection counts as gone, until the welcome says how long the server means by that.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);
/// Largest delay in detecting the end of a silence; a longer one means that this process slept.
const LATE: Duration = Duration::from_secs(2);
/// Longest time for the server to answer a ping after that.
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// Time for the goodbye, at the end.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);
/// No silence is longer and no server is waited for longer, whatever it says.
const LONGEST: Duration = Duration::from_secs(3600);
/// Most frames handed on in one piece, so that a flood is worked off while it comes.
const MOST_IN_A_BATCH: usize = 256;

/// See the [module docs](self).
pub(in crate::cli) struct Link {
    server: Remote,
    room: RoomName,
    /// Chosen; without one the server does, or the token.
    id: Option<UserId>,
    pass: Option<Pass>,
    backoff: Backoff,
    state: State,
}

enum State {
    /// The next try comes then.
    Pausing(Instant),
    /// It is under way.
    Opening(BoxFuture<'static, Result<Socket, OpenError>>),
    /// It succeeded.
    Open(Box<Open>),
}

struct Open {
    socket: Socket,
    since: Instant,
    /// Silence after which it counts as gone.
    expire: Duration,
    /// The end of that time.
    expires: Instant,
    /// How long the server asked to stay away when it ends.
    asked_to_wait: Option<Duration>,
    ended: Option<Ended>,
}

/// How a connection ended.
#[derive(Debug)]
struct Ended {
    code: Option<u16>,
    why: String,
}

/// What happened to the connection.
#[derive(Debug)]
pub(in crate::cli) enum News {
    /// What came, in order; never empty.
    Heard(Vec<Push>),
    /// There is no connection, and why; the next try comes by itself.
    Away(String),
}

impl Link {
    /// A link of `id`, with `pass`, to `room`; the first connection is made when [`Link::next`] is polled.
    pub(in crate::cli) fn new(
        server: Remote,
        room: RoomName,
        id: Option<UserId>,
        pass: Option<Pass>,
    ) -> Self {
        let state = State::Pausing(Instant::now());
        Self {
            server,
            room,
            id,
            pass,
            backoff: Backoff::default(),
            state,
        }
    }

    /// The next that happens; a new connection reads on from `cursor`. Loses nothing when it is dropped.
    ///
    /// # Errors
    /// If the server says not to come back.
    pub(in crate::cli) async fn next(&mut self, cursor: &Cursor) -> anyhow::Result<News> {
        loop {
            match &mut self.state {
                State::Pausing(until) => {
                    sleep_until(*until).await;
                    self.state = State::Opening(self.open(cursor.seen()));
                }
                State::Opening(opening) => match opening.await {
                    Ok(socket) => self.state = State::Open(Box::new(Open::new(socket))),
                    Err(OpenError::Later { why, pause }) => {
                        self.pause(Duration::ZERO, pause);
                        return Ok(News::Away(format!(
                            "cannot connect to {}: {why}",
                            self.server
                        )));
                    }
                    Err(OpenError::Never(why)) => bail!("cannot connect to {}: {why}", self.server),
                },
                State::Open(open) => {
                    let Ended { code, why } = match open.batch().await {
                        Ok(pushes) => {
                            if pushes.iter().any(Push::is_progress) {
                                self.backoff.on_progress();
                            }
                            return Ok(News::Heard(pushes));
                        }
                        Err(ended) => ended,
                    };
                    // Its Close frame is answered, if the kernel takes it.
                    let _late = open.socket.flush().now_or_never();
                    if code.is_some_and(|code| !CloseCode::invites_back(code)) {
                        bail!("the server closed the connection and says not to come back: {why}");
                    }
                    let (lived, asked_to_wait) = (open.since.elapsed(), open.asked_to_wait);
                    self.pause(lived, asked_to_wait);
                    return Ok(News::Away(format!("connection lost: {why}")));
                }
            }
        }
    }

    /// Hands `command` to the connection, which sends it while [`Link::next`] is polled. Only an answer proves
    /// that it arrived.
    pub(in crate::cli) fn send(&mut self, command: &Command) {
        if let State::Open(open) = &mut self.state {
            open.send(command);
        }
    }

    /// Drops the connection without a word, as a network that breaks does; the next try comes at once.
    pub(in crate::cli) fn break_off(&mut self) {
        self.state = State::Pausing(Instant::now());
    }

    /// Says goodbye to the server, if there is one to say it to.
    pub(in crate::cli) async fn leave(self) {
        let State::Open(open) = self.state else {
            return;
        };
        let mut socket = open.socket;
        let goodbye = CloseFrame {
            code: CloseCode::Done.number().into(),
            reason: CloseCode::Done.reason().into(),
        };
        let _late_or_lost = timeout(GOODBYE_WITHIN, async {
            socket.close(Some(goodbye)).await?;
            while let Some(frame) = socket.next().await {
                frame?;
            }
            Ok::<(), Error>(())
        })
        .await;
    }

    fn open(&self, seen: Option<&Seen>) -> BoxFuture<'static, Result<Socket, OpenError>> {
        let (server, room, id) = (self.server.clone(), self.room.clone(), self.id.clone());
        let pass = self.pass.clone();
        let seen = seen.cloned();
        async move {
            let after = seen.as_ref().map(|seen| seen.offset.to_string());
            let epoch = seen.as_ref().and_then(|seen| seen.epoch.as_ref());
            let query: Vec<(&str, &str)> = std::iter::once(("room", room.as_str()))
                .chain(id.as_ref().map(|id| ("id", id.as_str())))
                .chain(after.as_deref().map(|after| ("after", after)))
                .chain(epoch.map(|epoch| ("epoch", epoch.as_str())))
                .collect();
            server
                .open(&query, true, pass.as_ref().map(|pass| &pass.token))
                .await
        }
        .boxed()
    }

    /// Stays away after a connection that lived so long (zero: it never opened).
    fn pause(&mut self, lived: Duration, asked_to_wait: Option<Duration>) {
        let pause = self.backoff.pause(lived, fastrand::f64());
        self.state = State::Pausing(Instant::now() + asked_to_wait.unwrap_or(pause).min(LONGEST));
    }
}

impl Open {
    fn new(socket: Socket) -> Self {
        let now = Instant::now();
        Self {
            socket,
            since: now,
            expire: WELCOME_WITHIN,
            expires: now + WELCOME_WITHIN,
            asked_to_wait: None,
            ended: None,
        }
    }

    /// Hands `command` to the socket, which sends it while it is read from.
    fn send(&mut self, command: &Command) {
        // An error means that the connection is ending; the next frame reports it.
        let _ = Pin::new(&mut self.socket).start_send(Message::text(command.encode()));
    }

    /// What has come, at least one frame of it.
    async fn batch(&mut self) -> Result<Vec<Push>, Ended> {
        let mut pushes = Vec::new();
        while pushes.len() < MOST_IN_A_BATCH && self.ended.is_none() {
            let frame = if pushes.is_empty() {
                match timeout_at(self.expires, self.frame()).await {
                    Ok(frame) => frame,
                    // Nobody is judged for time in which this process slept: the server is asked, and has a short time.
                    Err(_elapsed) if Instant::now() > self.expires + LATE => {
                        self.send(&Command::Ping);
                        self.expires = Instant::now() + PROBE_WITHIN;
                        continue;
                    }
                    Err(_elapsed) => {
                        let why = format!("no sign of life for {:?}", self.expire);
                        return Err(Ended { code: None, why });
                    }
                }
            } else {
                match self.frame().now_or_never() {
                    Some(frame) => frame,
                    None => break,
                }
            };
            pushes.extend(self.take(frame));
            // Any frame is a sign of life.
            self.expires = Instant::now() + self.expire;
        }
        match self.ended.take() {
            Some(ended) if pushes.is_empty() => Err(ended),
            ended => {
                self.ended = ended;
                Ok(pushes)
            }
        }
    }

    /// The next frame; what is to be sent leaves meanwhile, or two that both wait to be read would wait for ever.
    async fn frame(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|task| {
            // A failure shows in what is read, behind what the server still had to say.
            let _failed = self.socket.poll_flush_unpin(task);
            self.socket.poll_next_unpin(task)
        })
        .await
    }

    /// What `frame` says, if it is for us.
    fn take(&mut self, frame: Option<Result<Message, Error>>) -> Option<Push> {
        match frame {
            Some(Ok(Message::Text(text))) => {
                // A newer server may say what this client does not know. Nothing is lost in silence: behind a
                // message that could not be read, the next one's `prev` shows the gap.
                let push = Push::decode(&text).ok()?;
                match &push {
                    Push::Welcome(welcome) => {
                        self.expire = Duration::from_millis(welcome.expire_ms).min(LONGEST);
                    }
                    Push::Drain { reconnect_after_ms } => {
                        self.asked_to_wait = Some(Duration::from_millis(*reconnect_after_ms));
                    }
                    _ => {}
                }
                return Some(push);
            }
            Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                let code = u16::from(code);
                let why = format!("{code} {reason}");
                self.ended = Some(Ended {
                    code: Some(code),
                    why,
                });
            }
            Some(Ok(Message::Close(None))) => {
                self.ended = Some(Ended {
                    code: None,
                    why: "closed by the server".to_owned(),
                });
            }
            // Pings are answered by the library; the dialect has no binary frames.
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                self.ended = Some(Ended {
                    code: None,
                    why: error.to_string(),
                })
            }
            None => {
                self.ended = Some(Ended {
                    code: None,
                    why: "the connection broke off".to_owned(),
                })
            }
        }
        None
    }
}

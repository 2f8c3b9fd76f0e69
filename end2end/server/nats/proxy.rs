//! A TCP proxy in front of NATS. It can be silenced: bytes are then neither delivered nor refused, as with an unplugged
//! cable. It can also hold back the publishes of one subject, as a slow NATS would.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::eventually::eventually;

/// A running proxy; it ends when it is dropped.
pub(crate) struct NatsProxy {
    pub(crate) port: u16,
    is_silent: watch::Sender<bool>,
    hold: Arc<Mutex<Hold>>,
    accepting: JoinHandle<()>,
}

/// The publishes of one subject that are held back.
#[derive(Default)]
struct Hold {
    subject: Option<String>,
    /// The frames, each with the connection to forward it on.
    held: Vec<(Vec<u8>, UnboundedSender<Vec<u8>>)>,
}

impl NatsProxy {
    /// Starts a proxy in front of `port`.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let here = listener.local_addr().expect("an address").port();
        let (is_silent, silence) = watch::channel(false);
        let hold = Arc::<Mutex<Hold>>::default();
        let accepting = tokio::spawn({
            let hold = hold.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, port, silence.clone(), hold.clone()));
                }
            }
        });

        Self {
            port: here,
            is_silent,
            hold,
            accepting,
        }
    }

    /// Stops or resumes forwarding. Bytes that arrived meanwhile are delivered afterwards, as TCP does.
    pub(crate) fn silence(&self, is_silent: bool) {
        self.is_silent.send_replace(is_silent);
    }

    /// Holds back the publishes under `subject` from now on.
    pub(crate) fn hold(&self, subject: &str) {
        self.hold.lock().subject = Some(subject.to_owned());
    }

    /// Waits until a publish is held back.
    pub(crate) async fn holds(&self) {
        let count = async || self.hold.lock().held.len();
        eventually(count, |held| *held > 0).await;
    }

    /// Forwards the publishes that were held back, and holds no more.
    pub(crate) fn release(&self) {
        let Hold { held, .. } = std::mem::take(&mut *self.hold.lock());
        for (frame, connection) in held {
            // An error means that the connection has ended.
            let _ = connection.send(frame);
        }
    }
}

impl Drop for NatsProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Forwards one connection in both directions until an end closes it.
async fn carry(
    client: TcpStream,
    port: u16,
    mut silence: watch::Receiver<bool>,
    hold: Arc<Mutex<Hold>>,
) {
    // A connection that is opened while the proxy is silent gets no answer.
    if silence.wait_for(|is_silent| !is_silent).await.is_err() {
        return;
    }

    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };

    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (sender, frames) = mpsc::unbounded_channel();
    let ends: [std::pin::Pin<Box<dyn Future<Output = ()> + Send>>; 3] = [
        Box::pin(read_frames(from_client, sender, hold)),
        Box::pin(write_frames(frames, to_server, silence.clone())),
        Box::pin(pump(from_server, to_client, silence)),
    ];

    futures::future::select_all(ends).await;
}

/// Reads the frames of the client and forwards those that are not held back.
async fn read_frames(
    from: OwnedReadHalf,
    sender: UnboundedSender<Vec<u8>>,
    hold: Arc<Mutex<Hold>>,
) {
    let mut from = BufReader::new(from);

    while let Some((subject, frame)) = read_frame(&mut from).await {
        let mut hold = hold.lock();
        if subject.is_some() && subject == hold.subject {
            hold.held.push((frame, sender.clone()));
        } else if sender.send(frame).is_err() {
            return;
        }
    }
}

/// Reads the next frame of the NATS client protocol, with its subject if it is a publish.
async fn read_frame(from: &mut BufReader<OwnedReadHalf>) -> Option<(Option<String>, Vec<u8>)> {
    let mut frame = Vec::new();
    from.read_until(b'\n', &mut frame).await.ok()?;
    let line = String::from_utf8(frame.clone()).ok()?;
    let mut words = line.split_ascii_whitespace();
    let is_publish = matches!(words.next()?, "PUB" | "HPUB");

    if !is_publish {
        return Some((None, frame));
    }

    let subject = words.next()?.to_owned();
    let length: usize = words.last()?.parse().ok()?;
    let mut payload = vec![0; length + "\r\n".len()];
    from.read_exact(&mut payload).await.ok()?;
    frame.extend(payload);

    Some((Some(subject), frame))
}

/// Writes frames to the server, none while the proxy is silent.
async fn write_frames(
    mut frames: UnboundedReceiver<Vec<u8>>,
    mut to: OwnedWriteHalf,
    mut silence: watch::Receiver<bool>,
) {
    while let Some(frame) = frames.recv().await {
        let ended = silence.wait_for(|is_silent| !is_silent).await.is_err();
        if ended || to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Copies bytes until either side closes, none while the proxy is silent.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silence: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];

    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let ended = silence.wait_for(|is_silent| !is_silent).await.is_err();
        if ended || to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

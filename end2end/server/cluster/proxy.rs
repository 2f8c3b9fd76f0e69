//! A TCP proxy that can fall silent: what is sent through it is then neither delivered nor refused, as when a cable
//! is pulled somewhere on the way.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// See the [module docs](self).
pub(crate) struct Proxy {
    pub(crate) port: u16,
    is_silent: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// One before `port`.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let here = listener.local_addr().expect("an address").port();
        let (is_silent, silence) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, port, silence.clone()));
            }
        });
        Self {
            port: here,
            is_silent,
            accepting,
        }
    }

    /// Falls silent, or speaks again: then what was held back is delivered, as TCP would.
    pub(crate) fn silence(&self, is_silent: bool) {
        self.is_silent.send_replace(is_silent);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, port: u16, mut silence: watch::Receiver<bool>) {
    // A connection that is opened in the silence is answered by nobody.
    if silence.wait_for(|is_silent| !is_silent).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = pump(from_client, to_server, silence.clone());
    let back = pump(from_server, to_client, silence.clone());
    futures::future::select(Box::pin(there), Box::pin(back)).await;
}

/// Carries bytes until either side ends.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silence: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let ended = silence.wait_for(|is_silent| !is_silent).await.is_err();
        if ended || to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

//! A TCP proxy between a client and a server, which breaks connections on demand.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::eventually::soon;

/// A running proxy; it ends when it is dropped.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    /// The number of connections since the start.
    opened: watch::Receiver<usize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of `server`.
    pub(super) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = Arc::new(Mutex::new(server));
        let connections: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let (count, opened) = watch::channel(0);
        let accepting = tokio::spawn({
            let server = server.clone();
            let connections = connections.clone();
            async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let address = *server.lock();
                    let forward = tokio::spawn(async move {
                        let Ok(mut server) = TcpStream::connect(address).await else {
                            return;
                        };
                        // Errors mean that either end has closed.
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    });

                    connections.lock().push(forward.abort_handle());
                    count.send_modify(|count| *count += 1);
                }
            }
        });

        Self {
            address,
            server,
            connections,
            opened,
            accepting,
        }
    }

    /// Returns the URL of the proxy.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forwards new connections to `server`.
    pub(super) fn forward_to(&self, server: SocketAddr) {
        *self.server.lock() = server;
    }

    /// Breaks every connection, with bytes in flight. New connections are forwarded.
    pub(super) fn cut(&self) {
        self.connections
            .lock()
            .drain(..)
            .for_each(|connection| connection.abort());
    }

    /// Waits until `count` connections were opened.
    pub(super) async fn has_opened(&mut self, count: usize) {
        soon(self.opened.wait_for(|opened| *opened >= count))
            .await
            .expect("it accepts");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

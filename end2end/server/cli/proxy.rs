//! A TCP proxy between a client and a server: the network, which a test can break.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::harness::soon;

/// See the [module docs](self). Ends when it is dropped.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    /// How many there ever were.
    opened: watch::Receiver<usize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = Arc::new(Mutex::new(server));
        let connections: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let (count, opened) = watch::channel(0);
        let accepting = tokio::spawn({
            let (server, connections) = (server.clone(), connections.clone());
            async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let address = *server.lock();
                    let forward = tokio::spawn(async move {
                        let Ok(mut server) = TcpStream::connect(address).await else {
                            return;
                        };
                        let _broken = copy_bidirectional(&mut client, &mut server).await;
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

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Leads new connections to where the server is now.
    pub(super) fn lead_to(&self, server: SocketAddr) {
        *self.server.lock() = server;
    }

    /// Breaks every connection, wherever its bytes are; new ones are let through.
    pub(super) fn cut(&self) {
        self.connections
            .lock()
            .drain(..)
            .for_each(|connection| connection.abort());
    }

    /// Waits until there were so many connections in all.
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

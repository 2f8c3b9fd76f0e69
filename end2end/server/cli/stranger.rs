//! A server of another make, that speaks `fanfare.v1` as the test tells it to.

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::harness::soon;

/// See the [module docs](self).
pub(super) struct Stranger {
    listener: TcpListener,
    pub(super) url: String,
}

impl Stranger {
    pub(super) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        Self { listener, url }
    }

    /// The next client, its subprotocol accepted; nothing has been said to it.
    pub(super) async fn accept(&self) -> WebSocketStream<TcpStream> {
        let (stream, _) = soon(self.listener.accept()).await.expect("a client");
        #[expect(clippy::result_large_err, reason = "the library wants it so")]
        let choose = |_: &Request, mut response: Response| {
            response.headers_mut().insert(
                "sec-websocket-protocol",
                HeaderValue::from_static("fanfare.v1"),
            );
            Ok(response)
        };
        soon(tokio_tungstenite::accept_hdr_async(stream, choose))
            .await
            .expect("a handshake")
    }
}

/// A welcome to an empty lobby; `fields` are added to it or replace what it says.
pub(super) fn welcome(fields: Value) -> Message {
    let mut welcome = json!({
        "type": "welcome", "room": "lobby", "id": "x", "connection": 1, "epoch": "e", "head": 0, "first": 0,
        "recovery": "fresh", "heartbeat_ms": 25000, "expire_ms": 60000, "max_message": 100, "count": 1,
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        welcome[name] = value.clone();
    }
    Message::text(welcome.to_string())
}

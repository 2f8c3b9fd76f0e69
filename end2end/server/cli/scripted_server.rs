//! A server of `fanfare.v1` whose frames the test writes.

use futures::SinkExt;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::eventually::soon;

/// A listener for clients.
pub(super) struct ScriptedServer {
    listener: TcpListener,
    pub(super) url: String,
}

impl ScriptedServer {
    /// Listens on a free port.
    pub(super) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        Self { listener, url }
    }

    /// Accepts the next client with its subprotocol and sends nothing.
    pub(super) async fn accept(&self) -> WebSocketStream<TcpStream> {
        let (stream, _) = soon(self.listener.accept()).await.expect("a client");

        #[expect(clippy::result_large_err, reason = "the library defines the type")]
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

/// Sends `welcome`, with `fields` added or replaced, and the subscription to an empty lobby.
pub(super) async fn welcome(socket: &mut WebSocketStream<TcpStream>, fields: Value) {
    let mut welcome = json!({
        "type": "welcome", "connection": 1, "id": "x", "heartbeat_ms": 25000, "expire_ms": 60000, "max_message": 100, "max_subscriptions": 128,
    });
    for (name, value) in fields.as_object().into_iter().flatten() {
        welcome[name] = value.clone();
    }

    let subscribed = json!({
        "type": "subscribed", "room": "lobby", "epoch": "e", "head": 0, "first": 0, "recovery": "fresh", "count": 1,
    });
    for frame in [welcome, subscribed] {
        soon(socket.send(Message::text(frame.to_string())))
            .await
            .expect("sent");
    }
}

//! Publishes a message to a room and prints every message of the room, with `fanfare.v1` over a WebSocket:
//! `cargo run --features ssr --example client -- ws://127.0.0.1:12345 lobby`
//!
//! A message that is not acknowledged is sent again on the next connection. Its key makes the server store it once.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(room)) = (arguments.next(), arguments.next()) else {
        return Err("usage: client URL ROOM".into());
    };

    let mut client = Client {
        url: format!("{url}/ws?room={room}&id=rust"),
        position: "after=0".into(),
        is_acknowledged: false,
    };
    loop {
        if let Err(error) = client.connect().await {
            eprintln!("{error}");
        }
        // Use a random delay in production, so that a thousand clients do not reconnect at the same moment.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

struct Client {
    url: String,
    /// The query parameters that resume after the last message received.
    position: String,
    is_acknowledged: bool,
}

impl Client {
    /// Connects, and handles frames until the connection ends.
    async fn connect(&mut self) -> Result<(), Error> {
        let mut request = format!("{}&{}", self.url, self.position).into_client_request()?;
        request.headers_mut().insert(
            "sec-websocket-protocol",
            HeaderValue::from_static("fanfare.v1"),
        );
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;

        if !self.is_acknowledged {
            let say = json!({ "type": "say", "text": "hello from Rust", "key": "my-first" });
            socket.send(Message::text(say.to_string())).await?;
        }

        let mut epoch = String::new();
        while let Some(message) = socket.next().await {
            let Message::Text(text) = message? else {
                continue;
            };
            let Ok(frame) = serde_json::from_str::<Value>(&text) else {
                continue;
            };

            match frame["type"].as_str() {
                Some("welcome") => epoch = frame["epoch"].as_str().unwrap_or_default().to_owned(),
                Some("ack") => self.is_acknowledged = true,
                Some("message") => {
                    self.position = format!("after={}&epoch={epoch}", frame["offset"]);
                    let from = frame["from"].as_str().unwrap_or_default();
                    let text = frame["text"].as_str().unwrap_or("(bytes)");
                    println!("{from}: {text}");
                }
                Some("gap") => println!("messages are gone: {}", frame["count"]),
                _ => {}
            }
        }
        Ok(())
    }
}

//! Says hello in a room and follows it from its beginning, by `fanfare.v1` over a WebSocket:
//! `cargo run --features ssr --example client -- ws://127.0.0.1:12345 lobby`
//!
//! What is not acknowledged is said again on the next connection; its key makes the server store it once.

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
        return Err("client URL ROOM".into());
    };
    let mut client = Client {
        base: format!("{url}/ws?room={room}&id=rust"),
        seen: "after=0".into(),
        is_said: false,
    };
    loop {
        if let Err(error) = client.converse().await {
            eprintln!("{error}");
        }
        // Better a random time: then a thousand clients do not come back at once.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

struct Client {
    base: String,
    /// Where it reads on.
    seen: String,
    is_said: bool,
}

impl Client {
    /// One connection, until it breaks.
    async fn converse(&mut self) -> Result<(), Error> {
        let mut request = format!("{}&{}", self.base, self.seen).into_client_request()?;
        request.headers_mut().insert(
            "sec-websocket-protocol",
            HeaderValue::from_static("fanfare.v1"),
        );
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
        if !self.is_said {
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
                Some("ack") => self.is_said = true,
                Some("message") => {
                    self.seen = format!("after={}&epoch={epoch}", frame["offset"]);
                    let (from, text) = (frame["from"].as_str(), frame["text"].as_str());
                    println!(
                        "{}: {}",
                        from.unwrap_or_default(),
                        text.unwrap_or("(bytes)")
                    );
                }
                Some("gap") => println!("messages are gone: {}", frame["count"]),
                _ => {}
            }
        }
        Ok(())
    }
}

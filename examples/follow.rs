//! Prints every message of some rooms, and of all rooms that patterns match, once and in order, over any number of
//! disconnects, with `fanfare.v1` over a WebSocket.
//! Run it with `cargo run --features ssr --example follow -- ws://127.0.0.1:12345 lobby 'builds-*'`.

use std::error::Error;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, rooms @ ..] = arguments.as_slice() else {
        return Err("usage: follow URL ROOM...".into());
    };
    let subscribe = |room| json!({ "type": "subscribe", "room": room, "after": 0 });
    let mut reader = Reader {
        url: format!("{server}/ws"),
        subscriptions: rooms.iter().map(subscribe).collect(),
    };

    loop {
        if let Err(error) = reader.read().await {
            eprintln!("{error}");
        }
        // If many people run the program, wait for a random time instead, so that they do not all reconnect at once.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

struct Reader {
    url: String,
    /// The frames that subscribe to each room after its last message that was printed.
    subscriptions: Vec<Value>,
}

impl Reader {
    /// Prints the messages after the position until the connection ends.
    async fn read(&mut self) -> Result<(), Box<dyn Error>> {
        let request = ClientRequestBuilder::new(self.url.parse()?).with_sub_protocol("fanfare.v1");
        let (mut socket, _) = connect_async(request).await?;
        for subscribe in &self.subscriptions {
            socket.send(Message::text(subscribe.to_string())).await?;
        }

        let mut epoch = Value::Null;
        while let Some(message) = socket.next().await {
            let Ok(frame) = serde_json::from_slice::<Value>(&message?.into_data()) else {
                continue;
            };
            match frame["type"].as_str() {
                Some("subscribed") => epoch = frame["epoch"].clone(),
                Some("message") => {
                    let [room, from] =
                        ["room", "from"].map(|name| frame[name].as_str().unwrap_or_default());
                    let text = frame["text"].as_str().unwrap_or("(no text)");
                    println!("{room}: {from}: {text}");
                    for subscription in &mut self.subscriptions {
                        if matches(&subscription["room"], room) {
                            subscription["after"] = frame["offset"].clone();
                            subscription["epoch"] = epoch.clone();
                        }
                    }
                }
                Some("gap") => println!("{} messages are gone", frame["count"]),
                Some("error") => return Err(frame["message"].to_string().into()),
                // New types of frames may be added.
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns true if `room` is the room `selector`, or matches the pattern.
fn matches(selector: &Value, room: &str) -> bool {
    let selector = selector.as_str().unwrap_or_default();
    match selector.strip_suffix('*') {
        Some(prefix) => room.starts_with(prefix),
        None => selector == room,
    }
}

//! Prints every message of a room once, in order, over any number of disconnects, with `fanfare.v1` over a WebSocket.
//! Run it with `cargo run --features ssr --example follow -- ws://127.0.0.1:12345 lobby`.

use std::error::Error;
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::ClientRequestBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room] = arguments.as_slice() else {
        return Err("usage: follow URL ROOM".into());
    };
    let mut reader = Reader {
        url: format!("{server}/ws?room={room}"),
        position: "after=0".to_owned(),
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
    /// The position of the last message that was printed, as query parameters.
    position: String,
}

impl Reader {
    /// Prints the messages after the position until the connection ends.
    async fn read(&mut self) -> Result<(), Box<dyn Error>> {
        let address = format!("{}&{}", self.url, self.position).parse()?;
        let request = ClientRequestBuilder::new(address).with_sub_protocol("fanfare.v1");
        let (mut socket, _) = connect_async(request).await?;

        let mut epoch = String::new();
        while let Some(message) = socket.next().await {
            let Ok(frame) = serde_json::from_slice::<Value>(&message?.into_data()) else {
                continue;
            };
            match frame["type"].as_str() {
                Some("welcome") => epoch = frame["epoch"].as_str().unwrap_or_default().to_owned(),
                Some("message") => {
                    let text = frame["text"].as_str().unwrap_or("(bytes)");
                    println!("{}: {text}", frame["from"].as_str().unwrap_or_default());
                    self.position = format!("after={}&epoch={epoch}", frame["offset"]);
                }
                Some("gap") => println!("{} messages are gone", frame["count"]),
                // New types of frames may be added.
                _ => {}
            }
        }
        Ok(())
    }
}

//! Publishes one message over HTTP and repeats the request until the message is stored. The message has a key, so it is
//! stored once. Run it with
//! `cargo run --features ssr --example publish -- http://127.0.0.1:12345 lobby "hello from Rust"`.

use std::error::Error;
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room, text] = arguments.as_slice() else {
        return Err("usage: publish URL ROOM TEXT".into());
    };
    let url = format!("{server}/api/v1/rooms/{room}/messages");
    // The same key in all attempts: the server stores only the first message with this id and key.
    let key = SystemTime::UNIX_EPOCH.elapsed()?.as_nanos().to_string();
    let message = json!({ "from": "publisher", "text": text, "key": key });

    let client = reqwest::Client::new();
    loop {
        match client.post(&url).json(&message).send().await {
            Ok(response) if response.status() == StatusCode::CREATED => {
                let stored: Value = response.json().await?;
                println!("stored with offset {}", stored["offset"]);
                return Ok(());
            }
            Ok(response) if is_final(response.status()) => {
                return Err(response.text().await?.into());
            }
            Ok(response) => eprintln!("{}, trying again", response.status()),
            Err(error) => eprintln!("{error}, trying again"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Returns true if another attempt would fail in the same way.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
}

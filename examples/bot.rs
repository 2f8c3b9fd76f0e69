//! A bot. It follows a room with server-sent events and answers each message that begins with `!echo` exactly once,
//! over any number of disconnects. Run it with
//! `cargo run --features ssr --example bot -- http://127.0.0.1:12345 lobby`.

use std::error::Error;
use std::time::Duration;

use eventsource_stream::Eventsource;
use futures::StreamExt;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, room] = arguments.as_slice() else {
        return Err("usage: bot URL ROOM".into());
    };
    let mut bot = Bot {
        client: reqwest::Client::new(),
        room: format!("{server}/api/v1/rooms/{room}"),
        position: None,
    };

    loop {
        if let Err(error) = bot.follow().await {
            eprintln!("{error}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

struct Bot {
    client: reqwest::Client,
    /// The address of the room.
    room: String,
    /// The last event that was handled; `None` before the first.
    position: Option<String>,
}

impl Bot {
    /// Answers messages until the connection ends. An event counts as handled only after its answer is stored.
    async fn follow(&mut self) -> Result<(), Box<dyn Error>> {
        let mut request = self.client.get(format!("{}/stream", self.room));
        if let Some(position) = &self.position {
            request = request.header("last-event-id", position);
        }
        let response = request.send().await?.error_for_status()?;
        // The beginning of the stream: if the connection breaks before the first event, the next one resumes here.
        if let Some(position) = response.headers().get("last-event-id") {
            self.position = Some(position.to_str()?.to_owned());
        }
        println!("following {}", self.room);

        let mut events = response.bytes_stream().eventsource();
        while let Some(event) = events.next().await {
            let event = event?;
            if event.event == "message" {
                self.answer(&serde_json::from_str(&event.data)?).await?;
            }
            if !event.id.is_empty() {
                self.position = Some(event.id);
            }
        }
        Ok(())
    }

    /// Publishes the answer to `message`, if it is a command. The key of the answer contains the offset of the message,
    /// so an answer that is published again is stored once.
    async fn answer(&self, message: &Value) -> Result<(), Box<dyn Error>> {
        let text = message["text"].as_str().unwrap_or_default();
        let Some(words) = text.strip_prefix("!echo ") else {
            return Ok(());
        };

        let key = format!("answer-{}", message["offset"]);
        let answer = json!({ "from": "bot", "text": words, "key": key });
        let request = self.client.post(format!("{}/messages", self.room));
        request.json(&answer).send().await?.error_for_status()?;
        Ok(())
    }
}

//! The messages of the demo: the values of a dashboard, the answers of an agent, and a conversation.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Body;
use serde_json::{Value, json};
use tokio::time::{interval, sleep};
use tokio_tungstenite::tungstenite::http::{Request, StatusCode, header};

use crate::cli::client::{Endpoint, HttpResponse};

/// The time between two values of the dashboard.
const VALUE_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two words of the agent.
const WORD_PAUSE: Duration = Duration::from_millis(120);
/// The time between two questions to the agent, and between two messages of the conversation.
const TURN_PAUSE: Duration = Duration::from_secs(4);
/// The maximum wait for the response to a message.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// The questions to the agent, and its answers.
const ANSWERS: &[(&str, &str)] = &[
    (
        "What happens if I reload the page while you answer?",
        "Nothing is lost. Each word is a message with an offset, stored before anyone receives it. After the reload the \
         page reads the room again, and continues with the next word.",
    ),
    (
        "And if a second window opens in the middle?",
        "It first gets the words that are stored, then the new ones. Both windows have the same words in the same order.",
    ),
];

/// The conversation: names and texts.
const CONVERSATION: &[(&str, &str)] = &[
    ("Ann", "The new build is on staging. Can you see it?"),
    ("Ben", "Yes. The chart is there, and my phone shows it too."),
    (
        "Ann",
        "I was in a tunnel for a minute. Did I miss anything?",
    ),
    (
        "Ben",
        "You got it all when you came back, in the right order.",
    ),
    ("Ann", "Then I switch it on for everyone at ten."),
    ("Ben", "Good. I watch the error rate until then."),
];

/// The publishers of the demo.
#[derive(Clone, Debug)]
pub(super) struct DemoPublishers {
    server: Endpoint,
}

impl DemoPublishers {
    /// Creates the publishers for `server`.
    pub(super) const fn new(server: Endpoint) -> Self {
        Self { server }
    }

    /// Publishes in all rooms, for ever.
    ///
    /// # Errors
    /// If the server does not store a message.
    pub(super) async fn play(&self) -> anyhow::Result<()> {
        let (dashboard, agent, chat) = (self.run_dashboard(), self.run_agent(), self.run_chat());
        futures::future::try_join3(dashboard, agent, chat).await?;
        Ok(())
    }

    /// Publishes the load of a machine, as JSON.
    async fn run_dashboard(&self) -> anyhow::Result<()> {
        let mut ticks = interval(VALUE_INTERVAL);
        for second in 0_u32.. {
            ticks.tick().await;
            let wave = f64::from(second) / 10.0;
            let values = json!({
                "cpu_percent": (45.0 + 30.0 * wave.sin()).round(),
                "requests": (120.0 + 60.0 * (wave / 2.0).cos()).round() + f64::from(fastrand::u8(..10)),
                "errors": u8::from(fastrand::u8(..8) == 0),
            });
            let message = json!({ "from": "web-1", "kind": "load", "json": values });
            self.publish("demo-dashboard", &message).await?;
        }
        Ok(())
    }

    /// Asks questions, and answers them word by word.
    async fn run_agent(&self) -> anyhow::Result<()> {
        for (question, answer) in ANSWERS.iter().cycle() {
            let message = json!({ "from": "Ann", "kind": "question", "text": question });
            let asked = self.publish("demo-agent", &message).await?;

            for word in answer.split_inclusive(' ') {
                sleep(WORD_PAUSE).await;
                let message =
                    json!({ "from": "agent", "kind": "token", "text": word, "reply_to": asked });
                self.publish("demo-agent", &message).await?;
            }

            sleep(TURN_PAUSE).await;
        }
        Ok(())
    }

    /// Lets two people talk.
    async fn run_chat(&self) -> anyhow::Result<()> {
        for (from, text) in CONVERSATION.iter().cycle() {
            let message = json!({ "from": from, "text": text });
            self.publish("demo-chat", &message).await?;
            sleep(TURN_PAUSE).await;
        }
        Ok(())
    }

    /// Publishes `message` in `room`, and returns its offset.
    async fn publish(&self, room: &str, message: &Value) -> anyhow::Result<Value> {
        let request = Request::post(format!("/api/v1/rooms/{room}/messages"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(message.to_string()))?;
        let response = self.server.send(request, None, PUBLISH_TIMEOUT).await?;

        let answer = HttpResponse::read(response).await?;
        if answer.status != StatusCode::CREATED {
            bail!("cannot publish in {room}: {answer}");
        }
        let mut stored = answer.json();
        let offset = stored.get_mut("offset").map(Value::take);
        offset.context("the server stored a message without an offset")
    }
}

//! Streams written by earlier versions. `stored/version-N.json` has the configuration and the messages of both streams
//! as a node of that version wrote them, and the responses of that node.

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::{get, publish};
use crate::harness::Server;
use crate::nats::Nats;

/// The files of all earlier versions.
const VERSIONS: &[&str] = &[include_str!("stored/version-1.json")];

/// Creates the streams of `stored`, each message at its sequence.
async fn restore(context: &Context, stored: &Value) {
    let streams = stored["streams"].as_array().expect("two streams");
    for stream in streams {
        let config: Config = serde_json::from_value(stream["config"].clone()).expect("a stream");
        context.create_stream(config).await.expect("made");
    }

    // The first stream of the file receives copies of the messages of the second one.
    for stream in streams.iter().rev() {
        let name = stream["config"]["name"].as_str().expect("a name");
        let is_numbered = name == "fanfare";
        let mut next = 1;

        for message in stream["messages"].as_array().expect("messages") {
            let sequence = message["sequence"].as_u64().expect("a number");

            while is_numbered && next < sequence {
                // The message was deleted.
                let subject = format!("{name}.order.removed-{next}");
                send(context, &subject, HeaderMap::new(), Vec::new()).await;
                let stream = context.get_stream(name).await.expect("it is there");
                stream.delete_message(next).await.expect("removed");
                next += 1;
            }

            let subject = message["subject"].as_str().expect("a subject");
            let payload = STANDARD.decode(message["payload"].as_str().expect("text"));
            let headers = headers(message["headers"].as_str().expect("text"));
            send(context, subject, headers, payload.expect("base64")).await;
            next += 1;
        }
    }
}

/// Publishes a message and waits until it is stored.
async fn send(context: &Context, subject: &str, headers: HeaderMap, payload: Vec<u8>) {
    let subject = subject.to_owned();
    let sent = context.publish_with_headers(subject, headers, payload.into());
    sent.await.expect("sent").await.expect("stored");
}

/// Parses the headers of `text`, which follow its first line.
fn headers(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines().skip(1) {
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(name, value);
        }
    }

    headers
}

#[tokio::test]
async fn streams_of_each_earlier_version_are_served_as_that_version_served_them() {
    for stored in VERSIONS {
        let stored: Value = serde_json::from_str(stored).expect("JSON");
        let nats = Nats::start().await;
        let client = async_nats::connect(format!("127.0.0.1:{}", nats.port))
            .await
            .expect("connected");

        restore(&jetstream::new(client), &stored).await;

        let [node]: [Server; 1] = nats.nodes();

        for (room, expected) in stored["served"].as_object().expect("rooms") {
            let path = format!("/api/v1/rooms/{room}/messages?after=0&limit=100");
            let mut served = get(&node, &path).await;
            served.as_object_mut().expect("an object").remove("epoch");
            // Those versions did not name the room in each message.
            for message in served["messages"].as_array_mut().expect("messages") {
                let named = message.as_object_mut().expect("an object").remove("room");
                assert_eq!(named, Some(json!(room)));
            }
            assert_eq!(&served, expected, "{room}");
        }

        let (_, bans) = call(&node, Method::GET, "bans", json!({})).await;
        assert_eq!(bans, stored["bans"]);

        publish(&node, "lobby", "it goes on").await;
    }
}

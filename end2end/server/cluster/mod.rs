//! Several real nodes that share one NATS. Every node serves each message once and in the same order, also when a node
//! dies or is cut off.

/// One order, one offset for each key, one position for all nodes.
mod order;
/// Readers of patterns.
mod patterns;
/// Killed nodes, a restarted NATS, silent connections.
mod failure;
/// Presence over all nodes.
mod presence;
/// Joins and leaves as messages.
mod presence_log;
/// Signals and states over all nodes.
mod signals;
/// Publishing: no room waits for another, and batches are whole.
mod publishing;
/// Names of rooms, and rooms that are only requested.
mod naming;
/// Streams written by earlier versions.
mod versions;
/// Kicks, bans, closed rooms, deleted messages.
mod operators;
/// Messages that an operator of NATS removes from the stream.
mod trimming;
/// Rules for rooms, which one node enforces.
mod rules;
/// Authentication at NATS, and its secrets.
mod login;
/// Nodes that are restarted one by one.
mod rolling;
/// Hooks of several nodes.
mod hooks;
/// Durable Streams over all nodes.
mod streams;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Peer, Server};

/// Returns the next `count` messages in the order of their arrival. Other frames are skipped, except gaps, which fail
/// the test.
pub(crate) async fn messages(peer: &mut Peer, count: usize) -> Vec<Value> {
    let mut messages = Vec::with_capacity(count);

    while messages.len() < count {
        let frame = peer.json().await;
        assert_ne!(frame["type"], "gap", "{frame}");
        if frame["type"] == "message" {
            messages.push(frame);
        }
    }

    messages
}

/// Publishes every text with itself as its key, `ahead` of them at once, until each is acknowledged; returns the offset
/// of each. Publishes that may be retried are retried.
pub(crate) async fn publish_all(
    peer: &mut Peer,
    texts: &[String],
    ahead: usize,
) -> BTreeMap<String, u64> {
    let mut acknowledged = BTreeMap::new();
    let mut open: Vec<&String> = texts.iter().rev().collect();
    let mut in_flight = 0;

    while acknowledged.len() < texts.len() {
        while in_flight < ahead
            && let Some(text) = open.pop()
        {
            peer.send(json!({ "type": "publish", "text": text, "key": text }).to_string())
                .await;
            in_flight += 1;
        }

        let frame = peer.json().await;
        let Some(key) = frame["key"]
            .as_str()
            .filter(|_| frame["type"] == "ack" || frame["type"] == "error")
        else {
            continue;
        };

        in_flight -= 1;

        if frame["type"] == "ack" {
            acknowledged.insert(key.to_owned(), frame["offset"].as_u64().expect("an offset"));
        } else {
            assert_eq!(frame["retry"], true, "{frame}");
            open.push(texts.iter().find(|text| *text == key).expect("a known key"));
            // Real clients pause before a retry.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    acknowledged
}

/// Returns all messages of `room` on the node, read in pages over HTTP. Each `prev` must be the offset of the message
/// before.
pub(crate) async fn log(node: &Server, room: &str) -> Vec<Value> {
    let mut log: Vec<Value> = Vec::new();

    loop {
        let after = log
            .last()
            .map_or(0, |last| last["offset"].as_u64().expect("an offset"));
        let path = format!("/api/v1/rooms/{room}/messages?after={after}&limit=100");

        let page = crate::client::get(node, &path).await;

        for message in page["messages"].as_array().expect("a list") {
            if let Some(last) = log.last() {
                assert_eq!(message["prev"], last["offset"], "{message}");
            }
            log.push(message.clone());
        }

        if page["more"] == false {
            return log;
        }
    }
}

//! Whether the servers of `--store nats://…` are there, and keep streams.

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::finding::Finding;
use super::visit::ANSWER_WITHIN;

/// Longest greeting that is read; it grows with the servers of a cluster.
const MAX_GREETING_BYTES: u64 = 64 * 1024;

/// What a NATS server says to everybody before anything is asked (its protocol's `INFO`).
#[derive(Debug, Deserialize)]
struct Info {
    version: String,
    #[serde(default)]
    jetstream: bool,
    #[serde(default)]
    max_payload: usize,
}

/// Greets the server at `address`, HOST:PORT.
pub(super) async fn check(address: &str) -> Finding {
    let greeting = timeout(ANSWER_WITHIN, greet(address)).await;
    match greeting.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
        Ok(line) => judge(address, &line),
        Err(error) => Finding::bad("nats", format!("nothing answers at {address}: {error}"))
            .fix("NATS: nats-server -js -sd FOLDER, or another --store nats://HOST:PORT"),
    }
}

async fn greet(address: &str) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let mut line = String::new();
    BufReader::new(stream)
        .take(MAX_GREETING_BYTES)
        .read_line(&mut line)
        .await?;
    Ok(line)
}

fn judge(address: &str, greeting: &str) -> Finding {
    let info = greeting
        .strip_prefix("INFO ")
        .and_then(|info| serde_json::from_str::<Info>(info).ok());
    match info {
        None => Finding::bad("nats", format!("what answers at {address} is no NATS")).fix(
            "fanfare: --store nats://HOST:PORT, that of its clients (4222), not of its monitoring",
        ),
        Some(Info {
            jetstream: false,
            version,
            ..
        }) => Finding::bad(
            "nats",
            format!("{address} is NATS {version} without JetStream: nothing would be kept"),
        )
        .fix("NATS: nats-server -js, or jetstream { store_dir: FOLDER } in its file"),
        Some(Info {
            version,
            max_payload,
            ..
        }) => Finding::good(
            "nats",
            format!(
                "{address} is NATS {version} with JetStream, messages of up to {max_payload} bytes"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Outcome;

    #[test]
    fn what_is_no_nats_or_keeps_nothing_is_bad() {
        for (greeting, outcome) in [
            (
                "INFO {\"version\":\"2.9.10\",\"jetstream\":true,\"max_payload\":1048576}\r\n",
                Outcome::Good,
            ),
            ("INFO {\"version\":\"2.9.10\"}\r\n", Outcome::Bad),
            ("HTTP/1.1 400 Bad Request\r\n", Outcome::Bad),
            ("", Outcome::Bad),
        ] {
            assert_eq!(judge("h:1", greeting).outcome, outcome, "{greeting}");
        }
    }
}

//! The check that the servers of `--store nats://…` respond, and have JetStream.

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::finding::Finding;
use super::visit::ANSWER_TIMEOUT;

/// The maximum size of the greeting, which grows with the number of servers in a cluster.
const MAX_GREETING_BYTES: u64 = 64 * 1024;

/// The greeting of a NATS server (`INFO` in its protocol).
#[derive(Debug, Deserialize)]
struct Info {
    version: String,
    #[serde(default)]
    jetstream: bool,
    #[serde(default)]
    max_payload: usize,
}

/// Checks the server at `address`, HOST:PORT.
pub(super) async fn check(address: &str) -> Finding {
    let greeting = timeout(ANSWER_TIMEOUT, greet(address)).await;
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
        None => Finding::bad("nats", format!("the server at {address} is not NATS")).fix(
            "fanfare: --store nats://HOST:PORT with the client port (4222), not the monitoring port",
        ),
        Some(Info {
            jetstream: false,
            version,
            ..
        }) => Finding::bad(
            "nats",
            format!("{address} is NATS {version} without JetStream: it would keep no messages"),
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
    use crate::cli::doctor::finding::Rating;

    #[test]
    fn a_server_that_is_no_nats_or_has_no_jetstream_is_bad() {
        for (greeting, outcome) in [
            (
                "INFO {\"version\":\"2.9.10\",\"jetstream\":true,\"max_payload\":1048576}\r\n",
                Rating::Good,
            ),
            ("INFO {\"version\":\"2.9.10\"}\r\n", Rating::Bad),
            ("HTTP/1.1 400 Bad Request\r\n", Rating::Bad),
            ("", Rating::Bad),
        ] {
            assert_eq!(judge("h:1", greeting).outcome, outcome, "{greeting}");
        }
    }
}

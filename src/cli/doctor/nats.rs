//! The check that the servers of `--store nats://…` respond, and have JetStream.

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

use super::report::{Finding, bad, good};
use super::visit::in_time;

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
pub(super) async fn check(address: &str) -> Result<Finding, Finding> {
    let greeting = in_time(greet(address)).await.map_err(|error| {
        bad(format!("nothing answers at {address}: {error:#}"))
            .fix("NATS: nats-server -js -sd FOLDER, or another --store nats://HOST:PORT")
    })?;

    let info = greeting
        .strip_prefix("INFO ")
        .and_then(|info| serde_json::from_str(info).ok());
    let Some(Info {
        version,
        jetstream,
        max_payload,
    }) = info
    else {
        return Err(bad(format!("the server at {address} is not NATS")).fix(
            "fanfare: --store nats://HOST:PORT with the client port (4222), not the monitoring port",
        ));
    };

    if jetstream {
        Ok(good(format!(
            "{address} is NATS {version} with JetStream, messages of up to {max_payload} bytes"
        )))
    } else {
        Err(bad(format!(
            "{address} is NATS {version} without JetStream: it would keep no messages"
        ))
        .fix("NATS: nats-server -js, or jetstream { store_dir: FOLDER } in its file"))
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

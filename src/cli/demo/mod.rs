//! `fanfare demo`: a server on a free port of this machine, with rooms that fill themselves.
//!
//! The server is the one of `fanfare serve`, with the default limits, a store in memory and no ops listener. It reads
//! no settings and writes no files.

mod publishers;

use std::time::Duration;

use anyhow::Context;
use clap::Args;

use self::publishers::DemoPublishers;
use crate::cli::client::{self, ServerUrl};
use crate::cli::{Failure, on_interrupt, output, serve};
use crate::server::config::{Config, RawConfig, RawValue, SettingSource};
use crate::server::{Listeners, Server};

/// The maximum wait for a reader of the last log lines.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Start a server with sample rooms that fill themselves, and print what to try",
    after_help = "The server listens on a free port of this machine and keeps its messages in memory. It ignores the \
             settings of 'fanfare serve', and writes no files. Ctrl-C ends it."
)]
pub(super) struct DemoArgs {}

pub(super) fn run(DemoArgs {}: DemoArgs) -> Result<(), Failure> {
    let config = Config::check(&settings())?;
    let log = serve::start_log(&config).context("cannot start the log")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;

    let result = runtime.block_on(demo(config));

    // A drop would wait for tasks that still run for disconnected clients.
    runtime.shutdown_background();
    log.finish(OUTPUT_TIMEOUT);
    Ok(result?)
}

/// Returns the settings of the server.
fn settings() -> RawConfig {
    // Only a ban would create the folder, and nobody can ban without an ops listener and without keys.
    let data = std::env::temp_dir().join(format!("fanfare-demo-{}", std::process::id()));

    let mut raw = RawConfig::default();
    for (name, text) in [
        ("listen", "127.0.0.1:0"),
        ("ops-listen", "off"),
        ("store", "memory"),
        ("data", &data.to_string_lossy()),
        ("log-level", "warn"),
    ] {
        let value = RawValue {
            text: text.to_owned(),
            source: SettingSource::Flag,
        };
        raw.add(name, value);
    }
    raw
}

async fn demo(config: Config) -> anyhow::Result<()> {
    // Before the output, so that a Ctrl-C that follows it ends the server cleanly.
    let interrupted = on_interrupt()?;
    let server = Server::bind(config, Listeners::default()).await?;
    let url = format!("http://{}", server.address()?);
    let publishers = DemoPublishers::new(client::Endpoint::new(ServerUrl::parse(&url)?, None));

    output::print(instructions(&url))?;

    let mut result = Ok(());
    server
        .run(async {
            result = tokio::select! {
                () = interrupted => Ok(()),
                played = publishers.play() => played,
            };
        })
        .await?;
    result
}

/// Returns what to try with the server at `url`.
fn instructions(url: &str) -> String {
    format!(
        "\
Fanfare runs at {url} with three rooms that fill themselves. Try:

1. Two people talk. Open the page in two windows, and write something:
   {url}/r/demo-chat

2. An agent answers word by word. Interrupt this and run it again: no word is missing.
   curl -N '{url}/api/v1/rooms/demo-agent/stream?after=0'

3. All rooms in one order, with the values of a dashboard:
   fanfare listen 'demo-*' --after 0 --url {url}

Messages are kept in memory, until Ctrl-C.
"
    )
}

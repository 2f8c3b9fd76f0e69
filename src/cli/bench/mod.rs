//! `fanfare bench`: generates a known load on a running server, and measures it.

mod tally;
mod load;
mod report;

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::cli::args::{ServerArgs, not_empty};
use crate::cli::client::{Credentials, Server};
use crate::cli::{ConfigErrors, Failure};

/// The arguments of `fanfare bench`.
#[derive(Clone, Debug)]
struct BenchOptions {
    /// The servers, at least one. Clients are spread over them.
    servers: Vec<Server>,
    credentials: Option<Credentials>,
    connections: u32,
    rooms: u32,
    publishers: u32,
    /// The messages per second, of all publishers together.
    rate: u32,
    /// The number of messages that a publisher sends at once.
    burst: u32,
    /// The size of a message's text in bytes, at least [`load::MIN_SIZE`].
    size: usize,
    length: Duration,
    is_typed: bool,
    /// True if each message has a key, and its `ack` is measured.
    wants_acks: bool,
}

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Measure a running server: deliveries, latency, lost and reordered messages",
    after_help = "Start the server with --message-rate 0 --connect-rate 0 --max-connections-per-ip 100000."
)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Another node of the same service; clients are spread over all nodes; may be repeated
    #[arg(long, value_name = "URL", value_parser = not_empty())]
    node: Vec<String>,
    /// Clients that subscribe
    #[arg(long, value_name = "N", default_value = "500")]
    connections: NonZeroU32,
    /// Rooms that the clients are spread over
    #[arg(long, value_name = "N", default_value = "1")]
    rooms: NonZeroU32,
    /// Clients that publish, spread over the rooms; at least one per room
    #[arg(long, value_name = "N", default_value = "1")]
    publishers: NonZeroU32,
    /// Messages per second, over all publishers
    #[arg(long, value_name = "N", default_value = "100")]
    rate: NonZeroU32,
    /// Messages that a publisher sends at once
    #[arg(long, value_name = "N", default_value = "1")]
    burst: NonZeroU32,
    /// Bytes per message
    #[arg(long, value_name = "N", default_value = "64")]
    size: NonZeroU32,
    /// Duration in seconds
    #[arg(long, value_name = "N", default_value = "10")]
    seconds: NonZeroU32,
    /// Give each message a key and measure the time to its ack (needs --dialect fanfare.v1)
    #[arg(long)]
    acks: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Dialect of the clients
    #[arg(long, value_name = "DIALECT", default_value = "plain", value_parser = ["plain", "fanfare.v1"])]
    dialect: String,
}

pub(super) fn run(args: BenchArgs) -> Result<(), Failure> {
    let options = BenchOptions::new(&args)?;
    // If the limit stays too low, a connection fails with an error.
    let _ = rlimit::increase_nofile_limit(u64::MAX);

    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(load::run(&options))?;

    if args.json {
        report::print_json(&options, &result)?;
    } else {
        report::print(&options, &result)?;
    }

    if result.is_whole() {
        Ok(())
    } else {
        Err(anyhow::anyhow!(
            "{} messages were lost, {} came out of order, {} were not acknowledged",
            result.lost(),
            result.disordered,
            result.unacknowledged()
        )
        .into())
    }
}

impl BenchOptions {
    fn new(args: &BenchArgs) -> Result<Self, Failure> {
        let ServerArgs { url, access } = &args.server;
        let mut errors = ConfigErrors::default();
        let server = access.server(url, "--url", &mut errors);
        let nodes = args.node.iter();
        let nodes: Vec<_> = nodes
            .map(|node| access.server(node, "--node", &mut errors))
            .collect();

        let rooms = errors.check("--rooms", &args.rooms.to_string(), |_| {
            if args.rooms <= args.connections {
                Ok(args.rooms.get())
            } else {
                Err("it is more than --connections: a room would be empty")
            }
        });
        let is_typed = args.dialect != "plain";
        let wants_acks = args.acks;
        let acks = errors.check("--acks", &args.dialect, |_| {
            if is_typed || !wants_acks {
                Ok(())
            } else {
                Err("only --dialect fanfare.v1 has them")
            }
        });

        let credentials = access.credentials(&mut errors);
        let servers: Option<Vec<_>> = std::iter::once(server).chain(nodes).collect();
        let (Some(servers), Some(credentials), Some(rooms), Some(())) =
            (servers, credentials, rooms, acks)
        else {
            return Err(errors.into());
        };
        Ok(Self {
            servers,
            credentials,
            connections: args.connections.get(),
            rooms,
            publishers: args.publishers.get().max(rooms),
            rate: args.rate.get(),
            burst: args.burst.get(),
            size: (args.size.get() as usize).max(load::MIN_SIZE),
            length: Duration::from_secs(args.seconds.get().into()),
            is_typed,
            wants_acks,
        })
    }
}

//! `fanfare bench`: generates a known load on a running server, and measures it.

mod tally;
mod load;
mod report;

use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::cli::Failure;
use crate::cli::args::{ServerArgs, count, server_url};
use crate::cli::client::{Credentials, Endpoint, ServerUrl};
use crate::cli::load_rooms::{LoadRooms, RoomsPerConnection};

/// The arguments of the command.
#[derive(Clone, Debug, Args)]
#[command(
    about = "Measure a running server: deliveries, latency, lost and reordered messages",
    after_help = "Start the server with --message-rate 0 --connect-rate 0 --max-connections-per-ip 100000.\n\
             With --rate 0, nothing is published and the connections stay idle, so that the memory of the server can be \
             read.\n\
             The names of its rooms begin with 'bench-' and a random number. A token must grant bench-*:rw."
)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Another node of the same service; clients are spread over all nodes; may be repeated
    #[arg(long, value_name = "URL", value_parser = server_url())]
    node: Vec<ServerUrl>,
    /// Clients that subscribe
    #[arg(long, value_name = "N", default_value = "500", value_parser = count())]
    connections: u32,
    /// Rooms that the clients are spread over
    #[arg(long, value_name = "N", default_value = "1", value_parser = count())]
    rooms: u32,
    #[command(flatten)]
    per_connection: RoomsPerConnection,
    /// Clients that publish, each in its share of the rooms; plain clients: at least one per room
    #[arg(long, value_name = "N", default_value = "1", value_parser = count())]
    publishers: u32,
    /// Messages per second, over all publishers; 0 for none
    #[arg(long, value_name = "N", default_value = "100")]
    rate: u32,
    /// Messages that a publisher sends at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = count())]
    burst: u32,
    /// Bytes per message
    #[arg(long, value_name = "N", default_value = "64", value_parser = count())]
    size: u32,
    /// Duration in seconds
    #[arg(long, value_name = "N", default_value = "10", value_parser = count())]
    seconds: u32,
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

/// A run: its arguments, and the servers in them.
#[derive(Clone)]
struct Bench {
    args: BenchArgs,
    /// The servers, at least one. Clients are spread over them.
    servers: Vec<Endpoint>,
    credentials: Option<Credentials>,
    rooms: LoadRooms,
}

pub(super) fn run(args: BenchArgs) -> Result<(), Failure> {
    let bench = Bench::new(args)?;
    // If the limit stays too low, a connection fails with an error.
    let _ = rlimit::increase_nofile_limit(u64::MAX);

    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(load::run(&bench))?;

    if bench.args.json {
        report::print_json(&bench.args, &result)?;
    } else {
        report::print(&bench.args, &result)?;
    }

    if result.is_whole() {
        Ok(())
    } else {
        Err(anyhow::anyhow!(
            "{} messages were lost, {} came out of order, {} were not acknowledged; {} connections ended",
            result.lost(),
            result.disordered,
            result.unacknowledged(),
            result.closed
        )
        .into())
    }
}

impl Bench {
    fn new(mut args: BenchArgs) -> Result<Self, Failure> {
        if !args.is_typed() {
            let problem = "it needs --dialect fanfare.v1";
            for (flag, is_set) in [
                ("--acks", args.acks),
                ("--pattern", args.per_connection.pattern),
                (
                    "--rooms-per-connection",
                    args.per_connection.rooms_per_connection > 1,
                ),
            ] {
                if is_set {
                    return Err(Failure::argument(flag, problem));
                }
            }
            args.publishers = args.publishers.max(args.rooms);
        }
        let rooms = LoadRooms::new("bench", args.rooms, args.connections, &args.per_connection)?;
        args.size = args.size.max(load::MIN_SIZE);

        let (server, credentials) = args.server.open()?;
        let mut servers = vec![server];
        for node in &args.node {
            servers.push(args.server.access.server(node.clone())?);
        }
        Ok(Self {
            args,
            servers,
            credentials,
            rooms,
        })
    }
}

impl BenchArgs {
    fn is_typed(&self) -> bool {
        self.dialect != "plain"
    }

    /// Returns the time for which the publishers publish, or the connections stay idle.
    fn length(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

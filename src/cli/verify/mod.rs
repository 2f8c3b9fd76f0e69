//! `fanfare verify`: disconnects all clients of a running server at once, several times while others publish, and
//! compares the received messages of each with the stored ones.
//!
//! - [`DeliveryChecker`](delivery_checker::DeliveryChecker) finds the faults in the deliveries to one reader. Pure.
//! - [`reconnect_rounds`] runs the clients and cuts their connections.
//! - [`report`] prints the result.

mod delivery_checker;
mod reconnect_rounds;
mod report;

use anyhow::{Context, anyhow};
use clap::Args;

use crate::cli::Failure;
use crate::cli::args::{ServerArgs, count};
use crate::cli::client::{Credentials, Endpoint};
use crate::cli::load_rooms::{LoadRooms, RoomsPerConnection};

/// The arguments of the command.
#[derive(Clone, Debug, Args)]
#[command(
    about = "Check that a running server loses nothing when all clients are disconnected at once",
    after_help = "Exits 0 if every stored message reached every subscriber once and in order, over all its rooms, else 1.\n\
             The names of its rooms begin with 'verify-' and a random number. The rooms stay until their messages \
             expire. A token must grant verify-*:rw."
)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Clients that subscribe
    #[arg(long, value_name = "N", default_value = "200", value_parser = count())]
    readers: u32,
    /// Rooms that the clients are spread over; one more client publishes in each
    #[arg(long, value_name = "N", default_value = "4", value_parser = count())]
    rooms: u32,
    #[command(flatten)]
    per_connection: RoomsPerConnection,
    /// Messages per second, over all rooms
    #[arg(long, value_name = "N", default_value = "40", value_parser = count())]
    rate: u32,
    /// Number of times that all clients are disconnected at once
    #[arg(long, value_name = "N", default_value = "5", value_parser = count())]
    storms: u32,
    /// Seconds between two disconnections
    #[arg(long, value_name = "N", default_value = "2", value_parser = count())]
    every: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A run: its arguments, and the server in them.
#[derive(Clone)]
struct Verification {
    args: VerifyArgs,
    server: Endpoint,
    /// The token of all clients.
    credentials: Option<Credentials>,
    rooms: LoadRooms,
}

pub(super) fn run(args: VerifyArgs) -> Result<(), Failure> {
    let rooms = LoadRooms::new("verify", args.rooms, args.readers, &args.per_connection)?;
    let (server, credentials) = args.server.open()?;
    let verification = Verification {
        args,
        server,
        credentials,
        rooms,
    };
    // If the limit stays too low, a connection fails with an error.
    let _ = rlimit::increase_nofile_limit(u64::MAX);

    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(reconnect_rounds::run(&verification))?;
    runtime.shutdown_background();

    let args = &verification.args;
    if args.json {
        report::print_json(args, &outcome)?;
    } else {
        report::print(args, &outcome)?;
    }

    match outcome.is_whole() {
        true => Ok(()),
        false => Err(anyhow!("the server did not keep its promises, see above").into()),
    }
}

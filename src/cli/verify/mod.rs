//! `fanfare verify`: disconnects all clients of a running server at once, several times while others publish, and
//! compares the received messages of each with the stored ones.
//!
//! - [`DeliveryChecker`](delivery_checker::DeliveryChecker) finds the faults in the deliveries to one reader. Pure.
//! - [`reconnect_rounds`] runs the clients and cuts their connections.
//! - [`report`] prints the result.

mod delivery_checker;
mod reconnect_rounds;
mod report;

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use crate::cli::args::PositionalServerArgs;
use crate::cli::client::{Credentials, Server};
use crate::cli::{ConfigErrors, Failure};
use crate::protocol::RoomName;

/// The arguments of `fanfare verify`.
#[derive(Clone, Debug)]
struct VerifyOptions {
    server: Server,
    /// The token of all clients.
    credentials: Option<Credentials>,
    /// The number of clients that receive. Each room has one more that publishes.
    readers: u32,
    rooms: u32,
    /// The messages per second, of all rooms together.
    rate: u32,
    storms: u32,
    /// The time between two rounds, before the first and after the last.
    every: Duration,
    /// The prefix of the rooms, which are unique: messages of other users would count as faults.
    prefix: String,
}

/// The arguments of the command.
#[derive(Debug, Args)]
#[command(
    about = "Check that a running server loses nothing when all clients are disconnected at once",
    after_help = "Exits 0 if every stored message reached every subscriber once and in order, else 1.\n\
             The names of its rooms begin with 'verify-' and a random number. The rooms stay until their messages \
             expire. A token must grant verify-*:rw."
)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    server: PositionalServerArgs,
    /// Clients that subscribe
    #[arg(long, value_name = "N", default_value = "200")]
    readers: NonZeroU32,
    /// Rooms that the clients are spread over; one more client publishes in each
    #[arg(long, value_name = "N", default_value = "4")]
    rooms: NonZeroU32,
    /// Messages per second, over all rooms
    #[arg(long, value_name = "N", default_value = "40")]
    rate: NonZeroU32,
    /// Number of times that all clients are disconnected at once
    #[arg(long, value_name = "N", default_value = "5")]
    storms: NonZeroU32,
    /// Seconds between two disconnections
    #[arg(long, value_name = "N", default_value = "2")]
    every: NonZeroU32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: VerifyArgs) -> Result<(), Failure> {
    let options = VerifyOptions::new(&args)?;
    // If the limit stays too low, a connection fails with an error.
    let _ = rlimit::increase_nofile_limit(u64::MAX);

    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(reconnect_rounds::run(&options))?;
    runtime.shutdown_background();

    if args.json {
        report::print_json(&options, &outcome)?;
    } else {
        report::print(&options, &outcome)?;
    }

    match outcome.is_whole() {
        true => Ok(()),
        false => Err(anyhow!("the server did not keep its promises, see above").into()),
    }
}

impl VerifyOptions {
    fn new(args: &VerifyArgs) -> Result<Self, Failure> {
        let PositionalServerArgs { url, access } = &args.server;
        let mut errors = ConfigErrors::default();
        let server = access.server(url, "URL", &mut errors);

        let rooms = errors.check("--rooms", &args.rooms.to_string(), |_| {
            if args.rooms <= args.readers {
                Ok(args.rooms.get())
            } else {
                Err("it is more than --readers: a room would have none")
            }
        });

        let credentials = access.credentials(&mut errors);
        let (Some(server), Some(credentials), Some(rooms)) = (server, credentials, rooms) else {
            return Err(errors.into());
        };

        Ok(Self {
            server,
            credentials,
            readers: args.readers.get(),
            rooms,
            rate: args.rate.get(),
            storms: args.storms.get(),
            every: Duration::from_secs(args.every.get().into()),
            prefix: format!("verify-{:08x}", fastrand::u32(..)),
        })
    }

    /// Returns the room of the client `number`.
    fn room(&self, number: u32) -> anyhow::Result<RoomName> {
        Ok(RoomName::parse(&format!(
            "{}-{}",
            self.prefix,
            number % self.rooms
        ))?)
    }
}

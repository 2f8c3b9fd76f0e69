//! What goes wrong with NATS, in words for whoever starts a node or asks it.

use std::path::PathBuf;

use crate::server::store::StoreError;

/// See the [module docs](self).
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// No server lets us in.
    #[error("cannot connect to NATS at {servers}: {problem}")]
    Connect {
        /// Where.
        servers: String,
        /// What the client says.
        problem: String,
    },
    /// A file that says who we are cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stream of this name has other subjects.
    #[error(
        "NATS has a stream {name:?} that is not Fanfare's; name another one with --nats-stream"
    )]
    Foreign {
        /// The stream.
        name: String,
    },
    /// NATS takes smaller messages than we do.
    #[error(
        "NATS takes {most} bytes at most (max_payload), and a message of --max-message with its header may have \
         {needed}: raise the one in NATS, or lower the other"
    )]
    Payload {
        /// What NATS takes.
        most: usize,
        /// What may come.
        needed: usize,
    },
    /// A message of a batch is too large.
    #[error(
        "message {number} of the batch is {size} bytes with its headers; NATS takes {limit} ({setting}). \
         Nothing of the batch is stored"
    )]
    TooLarge {
        /// Which message, from 1.
        number: usize,
        /// Its size.
        size: usize,
        /// What NATS takes.
        limit: usize,
        /// The setting of NATS that limits it.
        setting: &'static str,
    },
    /// JetStream refuses something, or does not answer.
    #[error("the NATS stream: {0}")]
    Stream(String),
    /// A publish was refused.
    #[error("NATS did not take it: {0}")]
    Publish(String),
    /// A publish was not answered in time.
    #[error(
        "NATS did not answer in time; it may be stored or not: send it again with the same key"
    )]
    Unanswered,
    /// The room was given up meanwhile.
    #[error("the room is not open")]
    NotOpen,
    /// The stream is not what it was.
    #[error("{0}")]
    Lost(String),
}

impl From<NatsError> for StoreError {
    fn from(error: NatsError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

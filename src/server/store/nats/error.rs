//! The errors of the NATS store. Operators see them when a node starts, clients when a request fails.

use std::path::PathBuf;

use crate::server::store::StoreError;

/// See the [module docs](self).
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A failed connection: no server can be reached or accepts the login.
    #[error("cannot connect to NATS at {servers}: {problem}")]
    Connect {
        /// The addresses of the servers.
        servers: String,
        /// The error of the client library.
        problem: String,
    },
    /// A credentials file that cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A stream of this name with other subjects.
    #[error(
        "NATS has a stream {name:?} that is not Fanfare's; name another one with --nats-stream"
    )]
    Foreign {
        /// The name of the stream.
        name: String,
    },
    /// A `max_payload` of NATS that is smaller than the largest message of this node.
    #[error(
        "NATS takes {most} bytes at most (max_payload), and a message of --max-message with its header may have \
         {needed}: raise the one in NATS, or lower the other"
    )]
    Payload {
        /// The limit of NATS in bytes.
        most: usize,
        /// The size of the largest possible message with its header, in bytes.
        needed: usize,
    },
    /// A message of a batch that is too large.
    #[error(
        "message {number} of the batch is {size} bytes with its headers; NATS takes {limit} ({setting}). \
         Nothing of the batch is stored"
    )]
    TooLarge {
        /// The number of the message in the batch, from 1.
        number: usize,
        /// Its size with its headers, in bytes.
        size: usize,
        /// The limit of NATS in bytes.
        limit: usize,
        /// The setting of NATS that limits it.
        setting: &'static str,
    },
    /// A request that JetStream refused or did not answer.
    #[error("the NATS stream: {0}")]
    Stream(String),
    /// A refused publish.
    #[error("NATS did not take it: {0}")]
    Publish(String),
    /// A publish without a response in time.
    #[error(
        "NATS did not answer in time; it may be stored or not: send it again with the same key"
    )]
    Unanswered,
    /// A room that was released in the meantime.
    #[error("the room is not open")]
    NotOpen,
    /// A stream that was deleted or replaced, or has lost its newest messages.
    #[error("{0}")]
    Lost(String),
}

impl From<NatsError> for StoreError {
    fn from(error: NatsError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

//! The configuration of a stream: its limits, the epoch in its description, and its creation.

use std::num::Wrapping;
use std::time::Duration;

use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, Info, Stream};
use async_nats::jetstream::{Context, ErrorCode};

use super::connection::NatsError;
use crate::protocol::Epoch;
use crate::server::store::room_limits::RoomLimitTable;

/// The prefix of the stream's description. The number of times that the stream has lost messages follows.
pub(super) const DESCRIPTION: &str = "Fanfare's rooms, life ";

/// Returns the age up to which the stream must keep messages with `limits`. The uses of rooms must last until the rooms
/// expire.
pub(super) fn longest_age(limits: &RoomLimitTable) -> Duration {
    let expiry = limits.longest_expiry();
    limits.longest_age().max(expiry.saturating_add(expiry / 8))
}

/// Returns true if a stream with `config` keeps messages for ever.
pub(super) fn is_unlimited(config: &Config) -> bool {
    config.max_messages_per_subject <= 0 && config.max_age.is_zero()
}

/// Returns the epoch of the stream: a hash of its creation time and the number of times that it has lost messages.
pub(super) fn epoch(info: &Info) -> Epoch {
    let nanos = Wrapping(info.created.unix_timestamp_nanos() as u64);
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4): every bit has an effect.
    let mixed = (nanos + Wrapping(losses(&info.config))) * Wrapping(0x9E37_79B9_7F4A_7C15);
    Epoch::new((mixed.0 >> 32) as u32)
}

/// Returns the number of times that the stream has lost messages.
pub(super) fn losses(config: &Config) -> u64 {
    let description = config.description.as_deref().unwrap_or_default();
    let number = description.strip_prefix(DESCRIPTION);
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// Returns the stream with the configuration `wanted`; creates or updates it if necessary.
pub(super) async fn open_stream(context: &Context, wanted: Config) -> Result<Stream, NatsError> {
    let failed = |error: String| NatsError::Request(format!("{:?}: {error}", wanted.name));
    let existing = match context.get_stream(&wanted.name).await {
        Ok(existing) => existing,
        Err(error) if is_missing(&error) => {
            // Another node may create it at the same time; creating the same stream twice is not an error.
            let created = context.create_stream(wanted.clone()).await;
            return created.map_err(|error| failed(error.to_string()));
        }
        Err(error) => return Err(failed(error.to_string())),
    };

    let config = existing.cached_info().config.clone();
    if config.subjects.first() != wanted.subjects.first() {
        return Err(NatsError::Foreign { name: wanted.name });
    }

    let mut changed = Config {
        subjects: wanted.subjects,
        num_replicas: wanted.num_replicas,
        ..config.clone()
    };
    // Limits that were removed for a room that keeps all its messages are not set again.
    if !is_unlimited(&config) {
        changed.max_messages_per_subject = wanted.max_messages_per_subject;
        changed.max_age = wanted.max_age;
    }
    if wanted.duplicate_window > Duration::ZERO {
        changed.duplicate_window = wanted.duplicate_window;
    }
    if changed == config {
        return Ok(existing);
    }

    let updated = context.update_stream(&changed).await;
    updated.map_err(|error| failed(error.to_string()))?;
    let stream = context.get_stream(&wanted.name).await;
    stream.map_err(|error| failed(error.to_string()))
}

pub(super) fn is_missing(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

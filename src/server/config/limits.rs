//! The limits: connections, rooms, members, messages, rates and times.

use std::time::Duration;

use crate::server::config::reader::ConfigReader;
use crate::server::config::value;
use crate::server::hub::HubSettings;
use crate::server::room::LogLimits;
use crate::server::session::{HeartbeatSettings, QuotaRates, Rate};
use crate::server::transport::ConnectionSettings;

/// Number of frames of a room in memory, for readers that fall behind.
const RING_MESSAGES: usize = 4096;
/// Minimum of their total size in bytes. The ring has room for at least four messages of the maximum size.
const RING_BYTES: usize = 4 * 1024 * 1024;
/// Number of sweeps per heartbeat interval. Pings and expiry are late by at most the interval of sweeps.
const SWEEPS_PER_HEARTBEAT: u32 = 8;
/// Minimum and maximum interval of sweeps.
const SWEEP_INTERVAL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The limits, grouped by the floor that applies them.
pub(super) struct Limits {
    pub(super) hub: HubSettings,
    pub(super) connection: ConnectionSettings,
    pub(super) header_timeout: Duration,
    pub(super) connect_rate: Rate,
    pub(super) quotas: QuotaRates,
}

/// Reads all limits.
pub(super) fn read(reader: &mut ConfigReader<'_>) -> Option<Limits> {
    let header_timeout = reader.value("header-timeout", value::duration);
    let heartbeat = heartbeat(reader);
    let max_message = reader.value("max-message", value::size);
    let send_buffer = reader.value("send-buffer", value::size);
    let compression = reader.value("compression", value::on_or_off);
    let max_connections = reader.value("max-connections", value::count);
    let max_connections_per_ip = reader.value("max-connections-per-ip", value::count);
    let max_rooms = reader.value("max-rooms", value::count);
    let max_room_members = reader.value("max-room-members", value::count);
    let memory_budget = reader.value("memory-budget", value::memory);
    let connect_rate = rate(reader, "connect-rate", "connect-burst");
    let quotas = quotas(reader);
    let message_rate = rate(reader, "message-rate", "message-burst");

    let max_message = max_message?;
    let heartbeat = heartbeat?;
    let message_rate = message_rate?;
    let (min_sweep, max_sweep) = SWEEP_INTERVAL;

    Some(Limits {
        hub: HubSettings {
            max_connections: max_connections?,
            max_connections_per_ip: max_connections_per_ip?,
            max_rooms: max_rooms?,
            max_room_members: max_room_members?,
            memory_budget: memory_budget?,
            log: LogLimits {
                messages: RING_MESSAGES,
                bytes: RING_BYTES.max(max_message.saturating_mul(4)),
            },
            sweep_every: (heartbeat.ping_after / SWEEPS_PER_HEARTBEAT).clamp(min_sweep, max_sweep),
        },
        connection: ConnectionSettings {
            max_message,
            send_buffer: send_buffer?,
            heartbeat,
            rate: message_rate,
            compression: compression?,
        },
        header_timeout: header_timeout?,
        connect_rate: connect_rate?,
        // Without a limit per connection, there is none per id or address either.
        quotas: if message_rate.per_second == 0 {
            QuotaRates::UNLIMITED
        } else {
            quotas?
        },
    })
}

/// Reads the heartbeat, whose expiry must be longer than the time before a ping.
fn heartbeat(reader: &mut ConfigReader<'_>) -> Option<HeartbeatSettings> {
    let ping_after = reader.value("heartbeat", value::duration);
    let expire_after = reader.value("expire", value::duration);

    let ping_after = ping_after?;
    let expire_after = expire_after?;
    if ping_after >= expire_after {
        reader.reject(
            "expire",
            "more than --heartbeat, so that clients can answer a ping in time",
        );
    }

    Some(HeartbeatSettings {
        ping_after,
        expire_after,
    })
}

/// Reads the rates that connections share.
fn quotas(reader: &mut ConfigReader<'_>) -> Option<QuotaRates> {
    let id = rate(reader, "id-rate", "id-burst");
    let address = rate(reader, "address-rate", "address-burst");
    let http = rate(reader, "publish-rate", "publish-burst");
    let rooms = reader.value("room-rate", value::daily_rate);

    Some(QuotaRates {
        id: id?,
        address: address?,
        http: http?,
        rooms: rooms.map(|per_day| Rate {
            per_second: per_day,
            burst: per_day.max(1),
        })?,
    })
}

/// Reads a rate from two settings.
fn rate(reader: &mut ConfigReader<'_>, per_second: &str, burst: &str) -> Option<Rate> {
    let per_second = reader.value(per_second, value::rate);
    let burst = reader.value(burst, value::burst);
    Some(Rate {
        per_second: per_second?,
        burst: burst?,
    })
}

//! Settings: raw texts from flags, environment and file, checked once into [`Config`], all mistakes together.
//!
//! Nothing below `server` names `Config`: each part receives plain values.

mod setting;
mod raw;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::server::auth::OriginPolicy;
use crate::server::hub::HubSettings;
use crate::server::room::{KeyLimits, LogLimits};
use crate::server::session::{HeartbeatSettings, Rate};
use crate::server::store::{Retention, SqliteSettings, StoreSettings};
use crate::server::transport::ConnectionSettings;

pub use raw::{Given, Mistake, Raw, Source};
pub use setting::{SETTINGS, Setting};
pub use value::duration;

/// Frames that a room keeps in memory for readers that fall behind.
const RING_MESSAGES: usize = 4096;
/// Bytes of them; at least four of the largest messages, or a reader could not be one behind.
const RING_BYTES: usize = 4 * 1024 * 1024;
/// How long a key makes a send repeatable.
const KEY_LIMITS: KeyLimits = KeyLimits { messages: 10_000, age: Duration::from_secs(600) };
/// The sweep looks this often in a heartbeat, so that pings and expiry are late by little.
const SWEEPS_A_HEARTBEAT: u32 = 8;
/// No use looking more often, and no less often however long the heartbeat is.
const SWEEP_BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Everything `fanfare serve` can be told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Page, WebSocket and API.
    pub listen: SocketAddr,
    /// Health and readiness; `None` if turned off.
    pub ops_listen: Option<SocketAddr>,
    /// The site folder.
    pub site: PathBuf,
    /// Time for a whole request head.
    pub header_timeout: Duration,
    /// New connections from one address.
    pub connect_rate: Rate,
    /// Messages over HTTP from one address.
    pub publish_rate: Rate,
    /// What the Hub is held to.
    pub hub: HubSettings,
    /// Where messages are kept, and how many.
    pub store: StoreSettings,
    /// What each connection is held to.
    pub connection: ConnectionSettings,
    /// Which pages may open a socket.
    pub origins: OriginPolicy,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines there are.
    pub log_level: tracing::level_filters::LevelFilter,
}

impl Config {
    /// Checks every value in `raw`.
    ///
    /// # Errors
    /// All mistakes, not only the first.
    pub fn check(raw: &Raw) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let listen = raw.read("listen", &mut mistakes, value::address);
        let ops_listen = raw.read("ops-listen", &mut mistakes, value::address_or_off);
        let site = raw.read("site", &mut mistakes, value::site_folder);
        let header_timeout = raw.read("header-timeout", &mut mistakes, value::duration);
        let ping_after = raw.read("heartbeat", &mut mistakes, value::duration);
        let expire_after = raw.read("expire", &mut mistakes, value::duration);
        let max_message = raw.read("max-message", &mut mistakes, value::size);
        let send_buffer = raw.read("send-buffer", &mut mistakes, value::size);
        let max_connections = raw.read("max-connections", &mut mistakes, value::count);
        let max_connections_per_ip = raw.read("max-connections-per-ip", &mut mistakes, value::count);
        let publish_rate = raw.read("publish-rate", &mut mistakes, value::rate);
        let publish_burst = raw.read("publish-burst", &mut mistakes, value::burst);
        let connect_rate = raw.read("connect-rate", &mut mistakes, value::rate);
        let connect_burst = raw.read("connect-burst", &mut mistakes, value::burst);
        let max_rooms = raw.read("max-rooms", &mut mistakes, value::count);
        let per_second = raw.read("message-rate", &mut mistakes, value::rate);
        let burst = raw.read("message-burst", &mut mistakes, value::burst);
        let history_messages = raw.read("history-messages", &mut mistakes, value::count);
        let history_bytes = raw.read("history-bytes", &mut mistakes, value::size);
        let history_age = raw.read("history-age", &mut mistakes, value::duration);
        let store = raw.read("store", &mut mistakes, value::store);
        let data = raw.read("data", &mut mistakes, value::folder);
        let durability = raw.read("durability", &mut mistakes, value::durability);
        let quick_check = raw.read("quick-check", &mut mistakes, value::yes_or_no);
        let origins = raw.read_all("allow-origin", &mut mistakes, value::origin);
        let log_format = raw.read("log-format", &mut mistakes, value::log_format);
        let log_level = raw.read("log-level", &mut mistakes, value::log_level);
        if let (Some(ping_after), Some(expire_after)) = (ping_after, expire_after)
            && ping_after >= expire_after
        {
            mistakes
                .push(raw.mistake("expire", "more than --heartbeat, or nobody could answer a ping in time"));
        }
        if let (Some(listen), Some(Some(ops))) = (listen, ops_listen)
            && listen == ops
            && listen.port() != 0
        {
            mistakes.push(raw.mistake("ops-listen", "another address than --listen"));
        }
        let all_read = (|| {
            let (ping_after, expire_after) = (ping_after?, expire_after?);
            let max_message = max_message?;
            let retention = Retention {
                messages: history_messages?,
                bytes: history_bytes?,
                age: history_age?,
                keys: KEY_LIMITS,
            };
            let (shortest, longest) = SWEEP_BOUNDS;
            Some(Self {
                listen: listen?,
                ops_listen: ops_listen?,
                site: site?,
                header_timeout: header_timeout?,
                connect_rate: Rate { per_second: connect_rate?, burst: connect_burst? },
                publish_rate: match per_second? {
                    0 => Rate::UNLIMITED,
                    _ => Rate { per_second: publish_rate?, burst: publish_burst? },
                },
                hub: HubSettings {
                    max_connections: max_connections?,
                    max_connections_per_ip: max_connections_per_ip?,
                    max_rooms: max_rooms?,
                    log: LogLimits {
                        messages: RING_MESSAGES,
                        bytes: RING_BYTES.max(max_message.saturating_mul(4)),
                    },
                    sweep_every: (ping_after / SWEEPS_A_HEARTBEAT).clamp(shortest, longest),
                },
                store: match store? {
                    value::StoreKind::Memory => StoreSettings::Memory(retention),
                    value::StoreKind::Sqlite(file) => StoreSettings::Sqlite(SqliteSettings {
                        path: data?.join(file),
                        durability: durability?,
                        retention,
                        quick_check: quick_check?,
                    }),
                },
                connection: ConnectionSettings {
                    max_message,
                    send_buffer: send_buffer?,
                    heartbeat: HeartbeatSettings { ping_after, expire_after },
                    rate: Rate { per_second: per_second?, burst: burst? },
                },
                origins: OriginPolicy {
                    any: origins.contains(&value::AllowedOrigin::Any),
                    null: origins.contains(&value::AllowedOrigin::Null),
                    listed: origins.into_iter().filter_map(value::AllowedOrigin::listed).collect(),
                },
                log_format: log_format?,
                log_level: log_level?,
            })
        })();
        match all_read {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(mistakes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(given: &[(&'static str, &str)]) -> Raw {
        let mut raw = Raw::default();
        for (name, text) in given {
            raw.give(name, Given { text: (*text).to_owned(), source: Source::Flag });
        }
        raw
    }

    #[test]
    fn the_defaults_are_without_mistakes_and_as_documented() {
        let config = Config::check(&Raw::default()).expect("no mistakes");
        assert_eq!(config.listen.to_string(), "127.0.0.1:12345");
        assert_eq!(config.connection.max_message, 65536);
        assert_eq!(config.connection.heartbeat.expire_after, Duration::from_secs(60));
        assert_eq!(config.connection.rate, Rate { per_second: 20, burst: 40 });
        assert!(!config.origins.any && config.origins.listed.is_empty());
    }

    #[test]
    fn all_mistakes_are_told_at_once_each_with_what_is_allowed() {
        let given = [
            ("listen", "localhost"),
            ("heartbeat", "soon"),
            ("max-message", "64 parsecs"),
            ("max-rooms", "0"),
            ("allow-origin", "example.org"),
            ("log-format", "xml"),
            ("store", "nats://127.0.0.1:4222"),
            ("durability", "maybe"),
        ];
        let mistakes = Config::check(&raw(&given)).expect_err("eight mistakes");
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), given.len(), "{told:#?}");
        for (name, text) in given {
            let is_told = |told: &String| {
                told.contains(&format!("--{name} ")) && told.contains(text) && told.contains("allowed")
            };
            assert!(told.iter().any(is_told), "{name}: {told:#?}");
        }
    }

    #[test]
    fn the_database_is_in_the_data_folder_unless_it_has_a_path_of_its_own() {
        for (store, path) in [
            ("sqlite:fanfare.db", "here/fanfare.db"),
            ("sqlite:rooms.db", "here/rooms.db"),
            ("sqlite:/var/lib/rooms.db", "/var/lib/rooms.db"),
        ] {
            let config = Config::check(&raw(&[("data", "here"), ("store", store)])).expect("no mistakes");
            let StoreSettings::Sqlite(settings) = config.store else { panic!("{store}") };
            assert_eq!(settings.path, PathBuf::from(path));
        }
    }

    #[test]
    fn a_heartbeat_longer_than_the_expiry_is_a_mistake() {
        let mistakes = Config::check(&raw(&[("heartbeat", "60s")])).expect_err("a mistake");
        assert!(mistakes[0].to_string().contains("more than --heartbeat"), "{}", mistakes[0]);
    }
}

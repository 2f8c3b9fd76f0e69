//! Settings: raw texts from flags, environment and file, checked once into [`Config`], all mistakes together.
//!
//! Nothing below `server` names `Config`: each part receives plain values.

mod setting;
mod raw;
mod value;
mod reading;
mod limits;
mod storage;
mod access;
mod traces;
mod files;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::BasePath;
use crate::server::auth::{Proxies, Verifier, WebSettings};
use crate::server::config::limits::Limits;
use crate::server::config::reading::ConfigReader;
use crate::server::files::Files;
use crate::server::hub::HubSettings;
use crate::server::session::{QuotaRates, Rate};
use crate::server::spans::ExportSettings;
use crate::server::store::StoreSettings;
use crate::server::transport::{ConnectionSettings, Tls};

pub use raw::{ConfigError, RawConfig, RawValue, Source};
pub use setting::{SETTINGS, Setting};
pub use value::duration;

/// In the data folder: who is kept out, and which rooms are closed.
const MODERATION_FILE: &str = "moderation.json";

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
    /// The path under which page, WebSocket and API are reached.
    pub base_path: BasePath,
    /// Health and readiness; `None` if turned off.
    pub ops_listen: Option<SocketAddr>,
    /// The page's files.
    pub site: Files,
    /// What is spoken there; `None`: HTTP in the clear.
    pub tls: Option<Tls>,
    /// Time for a whole request head.
    pub header_timeout: Duration,
    /// New connections from one address.
    pub connect_rate: Rate,
    /// Messages from one id and from one address.
    pub quotas: QuotaRates,
    /// What the Hub is held to.
    pub hub: HubSettings,
    /// Where messages are kept, and how many.
    pub store: StoreSettings,
    /// Who is kept out, and which rooms are closed: the file.
    pub moderation: PathBuf,
    /// What each connection is held to.
    pub connection: ConnectionSettings,
    /// What browsers may do.
    pub web: WebSettings,
    /// Who is believed when it says for whom it asks.
    pub proxies: Proxies,
    /// Who may come in, and what for.
    pub verifier: Verifier,
    /// The file that its keys come from.
    pub key_file: Option<PathBuf>,
    /// Where spans go; `None` if nothing is traced.
    pub spans: Option<ExportSettings>,
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
    pub fn check(raw: &RawConfig) -> Result<Self, Vec<ConfigError>> {
        let mut reading = ConfigReader::new(raw);
        let config = Self::read(&mut reading);
        reading.end(config)
    }

    fn read(reading: &mut ConfigReader<'_>) -> Option<Self> {
        // Each is read before any is looked at: one mistake must not hide another.
        let listen = reading.value("listen", value::address);
        let ops_listen = reading.value("ops-listen", value::address_or_off);
        let base_path = reading.value("base-path", value::base_path);
        let site = site(reading);
        let limits = limits::read(reading);
        let data = reading.value("data", value::folder);
        let store = storage::read(
            reading,
            data.as_deref(),
            limits.as_ref().map(|limits| limits.connection.max_message),
            limits.as_ref().map(|limits| limits.hub.max_rooms),
        );
        let web = access::web(reading);
        let proxies = access::proxies(reading);
        let verifier = access::verifier(reading);
        let tls = access::tls(reading);
        let spans = traces::read(reading);
        let log_format = reading.value("log-format", value::log_format);
        let log_level = reading.value("log-level", value::log_level);
        if let (Some(listen), Some(Some(ops))) = (listen, ops_listen)
            && listen == ops
            && listen.port() != 0
        {
            reading.reject("ops-listen", "another address than --listen");
        }
        let (verifier, key_file) = verifier?;
        let Limits {
            hub,
            connection,
            header_timeout,
            connect_rate,
            quotas,
        } = limits?;
        Some(Self {
            listen: listen?,
            base_path: base_path?,
            ops_listen: ops_listen?,
            site: site?,
            tls: tls?,
            header_timeout,
            connect_rate,
            quotas,
            hub,
            store: store?,
            moderation: data?.join(MODERATION_FILE),
            connection,
            web,
            proxies: proxies?,
            verifier,
            key_file,
            spans: spans?,
            log_format: log_format?,
            log_level: log_level?,
        })
    }
}

/// Returns the page's files: those in the folder named, else those that belong to the program.
fn site(reading: &mut ConfigReader<'_>) -> Option<Files> {
    if let Some(files) = reading.optional("site", value::site)? {
        return Some(files);
    }

    Files::of_this_program()
        .map_err(|_| {
            reading.reject(
                "site",
                "a folder, as what is inside the program cannot be read",
            )
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(given: &[(&'static str, &str)]) -> RawConfig {
        let mut raw = RawConfig::default();
        for (name, text) in given {
            raw.add(
                name,
                RawValue {
                    text: (*text).to_owned(),
                    source: Source::Flag,
                },
            );
        }
        raw
    }

    #[test]
    fn the_defaults_are_without_mistakes_and_as_documented() {
        let config = Config::check(&RawConfig::default()).expect("no mistakes");
        assert_eq!(config.listen.to_string(), "127.0.0.1:12345");
        assert_eq!(config.connection.max_message, 65536);
        assert_eq!(
            config.connection.heartbeat.expire_after,
            Duration::from_secs(60)
        );
        assert_eq!(
            config.connection.rate,
            Rate {
                per_second: 20,
                burst: 40
            }
        );
        assert!(!config.web.origins.any && config.web.origins.listed.is_empty());
    }

    #[test]
    fn all_mistakes_are_told_at_once_each_with_what_is_allowed() {
        let given = [
            ("listen", "localhost"),
            ("heartbeat", "soon"),
            ("max-message", "64 parsecs"),
            ("max-rooms", "0"),
            ("allow-origin", "example.org"),
            ("public-host", "https://example.org/chat"),
            ("allow-embed", "http://[::1]"),
            ("base-path", "chat"),
            ("otlp-endpoint", "https://collector"),
            ("otlp-sample", "half"),
            ("log-format", "xml"),
            ("store", "redis://127.0.0.1:4222"),
            ("durability", "maybe"),
            ("auth-key-file", "no/such/file"),
            ("anonymous", "write"),
        ];
        let mistakes = Config::check(&raw(&given)).expect_err("mistakes");
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), given.len(), "{told:#?}");
        for (name, text) in given {
            let is_told = |told: &String| {
                told.contains(&format!("--{name} "))
                    && told.contains(text)
                    && told.contains("allowed")
            };
            assert!(told.iter().any(is_told), "{name}: {told:#?}");
        }
    }

    #[test]
    fn every_setting_that_is_empty_is_a_mistake_of_its_own() {
        for setting in SETTINGS {
            for text in ["", " ", "\t\n"] {
                let mistakes =
                    Config::check(&raw(&[(setting.name, text)])).expect_err(setting.name);
                let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                assert_eq!(told.len(), 1, "{told:#?}");
                assert!(
                    told[0].contains(&format!("--{} (", setting.name))
                        && told[0].contains("is empty"),
                    "{told:#?}"
                );
            }
        }
    }

    #[test]
    fn a_store_without_a_file_or_a_server_is_a_mistake() {
        for store in ["sqlite:", "sqlite: ", "nats://", "nats:// ", "nats://a, ,b"] {
            assert!(
                Config::check(&raw(&[("store", store)])).is_err(),
                "{store:?}"
            );
        }
    }

    #[test]
    fn the_database_is_in_the_data_folder_unless_it_has_a_path_of_its_own() {
        for (store, path) in [
            ("sqlite:fanfare.db", "here/fanfare.db"),
            ("sqlite:rooms.db", "here/rooms.db"),
            ("sqlite:/var/lib/rooms.db", "/var/lib/rooms.db"),
        ] {
            let config =
                Config::check(&raw(&[("data", "here"), ("store", store)])).expect("no mistakes");
            let StoreSettings::Sqlite(settings) = config.store else {
                panic!("{store}")
            };
            assert_eq!(settings.path, PathBuf::from(path));
        }
    }

    #[test]
    fn a_heartbeat_longer_than_the_expiry_is_a_mistake() {
        let mistakes = Config::check(&raw(&[("heartbeat", "60s")])).expect_err("a mistake");
        assert!(
            mistakes[0].to_string().contains("more than --heartbeat"),
            "{}",
            mistakes[0]
        );
    }
}

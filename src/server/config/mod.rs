//! The settings of the server: raw texts from flags, environment and file, validated together into a [`Config`].
//!
//! Every value is validated, so that all errors are reported at once. The floors below `server` do not use `Config`;
//! each receives its own settings as plain values.

mod setting;
mod raw;
mod value;
mod reader;
mod rooms;
mod limits;
mod storage;
mod access;
mod traces;
mod files;
mod hooks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::BasePath;
use crate::server::auth::{Proxies, Verifier, WebSettings};
use crate::server::config::limits::Limits;
use crate::server::config::reader::ConfigReader;
use crate::server::files::Files;
use crate::server::hooks::HookSettings;
use crate::server::hub::HubSettings;
use crate::server::jwks::JwksUrl;
use crate::server::session::{QuotaRates, Rate};
use crate::server::spans::ExportSettings;
use crate::server::store::StoreSettings;
use crate::server::transport::{ConnectionSettings, Tls};

pub use raw::{ConfigError, RawConfig, RawRoomRule, RawValue, SettingSource};
pub use rooms::{RoomSetting, describe as describe_room};
pub use setting::{SETTINGS, Setting};
pub use value::duration;

/// File in the data folder with bans and closed rooms.
const MODERATION_FILE: &str = "moderation.json";

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// The validated settings of `fanfare serve`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the page, the WebSocket and the API.
    pub listen: SocketAddr,
    /// Path prefix of the page, the WebSocket and the API.
    pub base_path: BasePath,
    /// Address of the ops listener; `None` if it is disabled.
    pub ops_listen: Option<SocketAddr>,
    /// Files of the page.
    pub site: Files,
    /// Certificate and key of `listen`; `None` for plain HTTP.
    pub tls: Option<Tls>,
    /// Time for a complete request head.
    pub header_timeout: Duration,
    /// Rate of new connections from one address.
    pub connect_rate: Rate,
    /// Rates of messages from one id and from one address.
    pub quotas: QuotaRates,
    /// Settings of the hub.
    pub hub: HubSettings,
    /// Location of messages, and their retention.
    pub store: StoreSettings,
    /// File with bans and closed rooms.
    pub moderation: PathBuf,
    /// Settings of each connection.
    pub connection: ConnectionSettings,
    /// Allowed hosts, origins and frame ancestors.
    pub web: WebSettings,
    /// Trusted proxies.
    pub proxies: Proxies,
    /// Verifier of tokens.
    pub verifier: Verifier,
    /// URL of the keys of the verifier; `None` if they are in a file, and in open mode.
    pub jwks: Option<JwksUrl>,
    /// File with the keys of the verifier; `None` in open mode.
    pub key_file: Option<PathBuf>,
    /// The hooks.
    pub hooks: Vec<HookSettings>,
    /// Collector of spans; `None` if tracing is off.
    pub spans: Option<ExportSettings>,
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Minimum level of log lines.
    pub log_level: tracing::level_filters::LevelFilter,
    /// Sentences about settings that have no effect.
    pub warnings: Vec<String>,
}

impl Config {
    /// Validates every value in `raw`.
    ///
    /// # Errors
    /// All errors, not only the first.
    pub fn check(raw: &RawConfig) -> Result<Self, Vec<ConfigError>> {
        let mut reader = ConfigReader::new(raw);
        let config = Self::read(&mut reader);
        reader.finish(config)
    }

    /// Reads all values. A value that is not valid is recorded as an error, and replaced by its default.
    fn read(reader: &mut ConfigReader<'_>) -> Self {
        let listen = reader.value("listen", value::address);
        let ops_listen = reader.value("ops-listen", value::address_or_off);
        if ops_listen == Some(listen) && listen.port() != 0 {
            reader.reject("ops-listen", "another address than that of --listen");
        }

        let limits = limits::read(reader);
        let data = reader.value("data", value::folder);
        let store = storage::read(reader, &data, &limits);
        let (verifier, key_file, jwks) = access::verifier(reader, &limits.hub.rules);
        let mut warnings = hooks::warnings(reader.hooks());
        if verifier.is_open() {
            warnings.extend(rooms::warnings(reader.raw()));
        }
        let hooks = hooks::read(reader);
        let Limits {
            hub,
            connection,
            header_timeout,
            connect_rate,
            quotas,
        } = limits;

        Self {
            listen,
            base_path: reader.value("base-path", value::base_path),
            ops_listen,
            site: site(reader),
            tls: access::tls(reader),
            header_timeout,
            connect_rate,
            quotas,
            hub,
            store,
            moderation: data.join(MODERATION_FILE),
            connection,
            web: access::web(reader),
            proxies: access::proxies(reader),
            verifier,
            jwks,
            key_file,
            hooks,
            spans: traces::read(reader),
            log_format: reader.value("log-format", value::log_format),
            log_level: reader.value("log-level", value::log_level),
            warnings,
        }
    }
}

/// Reads the files of the page: those in the folder of `--site`, or else those inside the program.
fn site(reader: &mut ConfigReader<'_>) -> Files {
    let folder = reader.optional("site", value::folder_that_exists);
    if let Some(folder) = folder {
        return Files::Folder(folder);
    }

    Files::of_this_program().unwrap_or_else(|_| {
        reader.reject(
            "site",
            "a folder with the page's files, because those inside the program are damaged",
        );
        Files::Folder(PathBuf::new())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(values: &[(&'static str, &str)]) -> RawConfig {
        let mut raw = RawConfig::default();
        for (name, text) in values {
            raw.add(
                name,
                RawValue {
                    text: (*text).to_owned(),
                    source: SettingSource::Flag,
                },
            );
        }
        raw
    }

    /// Returns the texts of all errors in `values`.
    fn errors(values: &[(&'static str, &str)]) -> Vec<String> {
        let errors = Config::check(&raw(values)).expect_err("not valid");
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_defaults_are_valid_and_as_documented() {
        let config = Config::check(&RawConfig::default()).expect("valid");

        let rate = Rate {
            per_second: 20,
            burst: 40,
        };
        let connection = config.connection;
        assert_eq!(config.listen.to_string(), "127.0.0.1:12345");
        assert_eq!(connection.max_message, 65536);
        assert_eq!(connection.heartbeat.expire_after, Duration::from_secs(60));
        assert_eq!(connection.rate, rate);
        assert!(!config.web.origins.any);
        assert!(config.web.origins.listed.is_empty());
    }

    #[test]
    fn all_errors_are_reported_each_with_the_allowed_values() {
        let values = [
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
            ("jwks", "http://id.example.org/jwks"),
            ("claim-id", "the sub"),
            ("token-url", "session/token"),
            ("sign-in-url", "//id.example.org/login"),
            ("auth-header", "remote user"),
            ("auth-groups-header", "authorization"),
            ("anonymous", "write"),
        ];

        let errors = errors(&values);

        assert_eq!(errors.len(), values.len(), "{errors:#?}");
        for (name, text) in values {
            let flag = format!("--{name} ");
            let is_reported = errors.iter().any(|error| {
                error.contains(&flag) && error.contains(text) && error.contains("allowed")
            });
            assert!(is_reported, "{name}: {errors:#?}");
        }
    }

    #[test]
    fn a_store_without_a_file_or_a_server_is_an_error() {
        for store in ["sqlite:", "sqlite: ", "nats://", "nats:// ", "nats://a, ,b"] {
            let result = Config::check(&raw(&[("store", store)]));

            assert!(result.is_err(), "{store:?}");
        }
    }

    #[test]
    fn the_database_is_in_the_data_folder_unless_its_path_is_absolute() {
        for (store, path) in [
            ("sqlite:fanfare.db", "here/fanfare.db"),
            ("sqlite:rooms.db", "here/rooms.db"),
            ("sqlite:/var/lib/rooms.db", "/var/lib/rooms.db"),
        ] {
            let config = Config::check(&raw(&[("data", "here"), ("store", store)]));

            let StoreSettings::Sqlite(settings) = config.expect("valid").store else {
                panic!("{store} is not SQLite")
            };
            assert_eq!(settings.path, PathBuf::from(path));
        }
    }

    #[test]
    fn a_heartbeat_as_long_as_the_expiry_is_an_error() {
        let errors = errors(&[("heartbeat", "60s")]);

        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors[0].contains("more than --heartbeat"), "{errors:#?}");
    }
}

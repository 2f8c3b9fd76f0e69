//! The settings, from which flags, environment variables, file keys, help and defaults are generated.

// The doc comments of the fields are the texts of --help, not Markdown.
#![allow(rustdoc::bare_urls, rustdoc::broken_intra_doc_links)]

use std::sync::LazyLock;

use clap::{Arg, ArgAction, Args, Command};

/// The settings in the order of the help. The values are read by name, so that all errors are reported at once.
#[derive(Args)]
struct SettingArgs {
    /// Address of the page, the WebSocket and the HTTP API; port 0 picks a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:12345")]
    listen: String,
    /// Address of /healthz, /readyz, /metrics, /version and the admin page and API; 'off' disables it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:12346")]
    ops_listen: String,
    /// Path prefix of everything on --listen, like /chat, for a proxy that serves other things too; the proxy must not strip it
    #[arg(long, value_name = "PATH", default_value = "/")]
    base_path: String,
    /// Folder with the page's files [default: the files inside the program, else 'site' beside it, else target/site]
    #[arg(long, value_name = "FOLDER")]
    site: Option<String>,
    /// Location of the messages: 'sqlite:FILE' (in the --data folder unless FILE is an absolute path), 'memory', or, for several nodes, 'nats://[USER:PASSWORD@]HOST:PORT[,HOST:PORT]' ('tls://…' with TLS)
    #[arg(long, value_name = "STORE", default_value = "sqlite:fanfare.db")]
    store: String,
    /// NATS credentials file (JWT and seed)
    #[arg(long, value_name = "FILE")]
    nats_creds: Option<String>,
    /// File with the seed of an nkey for the login to NATS
    #[arg(long, value_name = "FILE")]
    nats_nkey: Option<String>,
    /// PEM file of CA certificates that are trusted with tls://, in addition to the system's
    #[arg(long, value_name = "FILE")]
    nats_ca: Option<String>,
    /// JetStream stream of all rooms; nodes that share it form one service
    #[arg(long, value_name = "NAME", default_value = "fanfare")]
    nats_stream: String,
    /// Number of NATS servers that store each message: 1, 3 or 5
    #[arg(long, value_name = "N", default_value = "1")]
    nats_replicas: String,
    /// Data folder (created if missing)
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data: String,
    /// Durability of acknowledged messages with SQLite: 'disk' (after fsync) or 'process' (they survive kill -9, but not a power failure)
    #[arg(long, value_name = "LEVEL", default_value = "disk")]
    durability: String,
    /// Check the whole database at startup: 'yes' or 'no'
    #[arg(long, value_name = "YES|NO", default_value = "no")]
    quick_check: String,
    /// Time without traffic after which a client is pinged
    #[arg(long, value_name = "TIME", default_value = "25s")]
    heartbeat: String,
    /// Time without traffic after which a client is disconnected (4000)
    #[arg(long, value_name = "TIME", default_value = "60s")]
    expire: String,
    /// Messages kept per room; older messages are deleted
    #[arg(long, value_name = "N", default_value = "10000")]
    history_messages: String,
    /// Age at which messages are deleted
    #[arg(long, value_name = "TIME", default_value = "7d")]
    history_age: String,
    /// Bytes of messages kept per room; older messages are deleted
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    history_bytes: String,
    /// Largest message; larger ones are refused (close code 1009, HTTP 413)
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    max_message: String,
    /// Most connections in total; more are refused (HTTP 503)
    #[arg(long, value_name = "N", default_value = "100000")]
    max_connections: String,
    /// Most connections from one address (IPv6: /64); more are refused (HTTP 429)
    #[arg(long, value_name = "N", default_value = "1000")]
    max_connections_per_ip: String,
    /// New connections per second from one address (IPv6: /64); more are refused (HTTP 429); 0 is unlimited
    #[arg(long, value_name = "N/s", default_value = "100/s")]
    connect_rate: String,
    /// New connections that one address may open at once
    #[arg(long, value_name = "N", default_value = "2000")]
    connect_burst: String,
    /// Most rooms in memory, most in the database, and most patterns with readers; more are refused (HTTP 503)
    #[arg(long, value_name = "N", default_value = "10000")]
    max_rooms: String,
    /// Most connections in one room; more are refused (HTTP 503)
    #[arg(long, value_name = "N", default_value = "50000")]
    max_room_members: String,
    /// Most subscriptions of one connection
    #[arg(long, value_name = "N", default_value = "128")]
    max_subscriptions: String,
    /// Memory that the server may hold for clients; beyond it, new clients are refused (HTTP 503) and the slowest are disconnected (4002)
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    memory_budget: String,
    /// Time in which a client must send a complete request head
    #[arg(long, value_name = "TIME", default_value = "5s")]
    header_timeout: String,
    /// Unsent bytes for one client at which the server stops reading from it
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    send_buffer: String,
    /// Messages per second from one connection; faster plain clients are disconnected (4001); 0 is unlimited, also by id, by address, over HTTP and for new rooms
    #[arg(long, value_name = "N/s", default_value = "20/s")]
    message_rate: String,
    /// Messages that one connection may send at once
    #[arg(long, value_name = "N", default_value = "40")]
    message_burst: String,
    /// Messages per second from one id, over all its connections and HTTP; without a token, separately for each address; 0 is unlimited
    #[arg(long, value_name = "N/s", default_value = "100/s")]
    id_rate: String,
    /// Messages that one id may send at once
    #[arg(long, value_name = "N", default_value = "2000")]
    id_burst: String,
    /// Messages per second from one address (IPv6: /64), over all its connections and HTTP; 0 is unlimited
    #[arg(long, value_name = "N/s", default_value = "1000/s")]
    address_rate: String,
    /// Messages that one address may send at once
    #[arg(long, value_name = "N", default_value = "4000")]
    address_burst: String,
    /// Messages per second over HTTP from one address (IPv6: /64); more are refused (HTTP 429); 0 is unlimited
    #[arg(long, value_name = "N/s", default_value = "100/s")]
    publish_rate: String,
    /// Messages that one address may send over HTTP at once
    #[arg(long, value_name = "N", default_value = "2000")]
    publish_burst: String,
    /// New rooms per day from one address (IPv6: /64), as many at once; more are refused (HTTP 429); 0 is unlimited; admin tokens have no limit
    #[arg(long, value_name = "N/d", default_value = "1000/d")]
    room_rate: String,
    /// Compress messages to and from WebSocket clients that offer permessage-deflate: 'on' or 'off'
    #[arg(long, value_name = "ON|OFF", default_value = "off")]
    compression: String,
    /// Origin whose pages may connect too, like https://example.org or capacitor://localhost; 'any' allows all, 'null' file:// pages and sandboxed frames; may be repeated [default: the page's own host only]
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<String>,
    /// Host name that clients use to reach the server, like chat.example.org or (behind a proxy that terminates TLS) https://chat.example.org; may be repeated [default on loopback: localhost and loopback addresses only; else any]
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    public_host: Vec<String>,
    /// Origin whose pages may show the page in a frame, like https://example.org; 'any' allows all; may be repeated [default: none]
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    allow_embed: Vec<String>,
    /// Network of proxies, like 10.0.0.0/8, whose forwarding headers are trusted; may be repeated [default: none]
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    trusted_proxy: Vec<String>,
    /// Forwarding header that trusted proxies set: 'x-forwarded-for', 'forwarded', or 'either' (X-Forwarded-For if present, else Forwarded)
    #[arg(long, value_name = "HEADER", default_value = "either")]
    proxy_header: String,
    /// Header in which trusted proxies name the signed-in user, like remote-user; needs --trusted-proxy [default: none]
    #[arg(long, value_name = "NAME")]
    auth_header: Option<String>,
    /// Header in which trusted proxies name the groups of the user, like remote-groups; the file's [[grant]] tables give them rights [default: none]
    #[arg(long, value_name = "NAME")]
    auth_groups_header: Option<String>,
    /// Certificate chain in PEM for TLS on --listen, the server's own certificate first; needs --tls-key [default: none, plain HTTP]
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key of --tls-cert in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Key that verifies tokens: an HS256 secret, a public key in PEM, or a JWK set; with it, clients need a token [default: none, open to everyone]
    #[arg(long, value_name = "FILE")]
    auth_key_file: Option<String>,
    /// URL of a JWK set with the keys that verify tokens, like https://id.example.org/jwks, instead of --auth-key-file; http:// for loopback addresses only [default: none]
    #[arg(long, value_name = "URL")]
    jwks: Option<String>,
    /// Audience of this server: a token must name one in its aud; may be repeated [default: none, a token must have no aud]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    token_audience: Vec<String>,
    /// Issuer of tokens, like https://id.example.org/realms/staff: a token must name one in its iss; may be repeated [default: none, any]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    token_issuer: Vec<String>,
    /// Claim of tokens with the user id
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    claim_id: String,
    /// Claim of tokens with the rights in rooms; a dot separates nested claims, as in realm_access.roles
    #[arg(long, value_name = "CLAIM", default_value = "rooms")]
    claim_rooms: String,
    /// Endpoint that answers the page with a token of the signed-in user, like /session/token or https://id.example.org/token; the page renews its token there [default: none]
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// Page at which users sign in, like /login or https://id.example.org/login; the page links to it [default: none]
    #[arg(long, value_name = "URL")]
    sign_in_url: Option<String>,
    /// With --auth-key-file or --jwks, the access without a token: 'none', or 'read' for every room
    #[arg(long, value_name = "ACCESS", default_value = "none")]
    anonymous: String,
    /// OpenTelemetry collector that receives spans over HTTP, like http://127.0.0.1:4318 [default: none, tracing is off]
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Fraction of traces to sample, from 0 to 1; a caller's traceparent takes precedence
    #[arg(long, value_name = "RATIO", default_value = "1")]
    otlp_sample: String,
    /// Log format: 'pretty' for people, 'json' for machines
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    log_format: String,
    /// Log level: 'error', 'warn', 'info', 'debug' or 'trace'
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

/// All settings in the order of the help.
pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let command = SettingArgs::augment_args(Command::new("fanfare"));
    command.get_arguments().cloned().map(Setting::new).collect()
});

/// One setting: the flag `--name`, the variable `FANFARE_NAME`, and the key `name` of the file.
#[derive(Debug)]
pub struct Setting {
    /// Flag, whose id is the name in kebab-case.
    pub flag: Arg,
    /// Default, if there is one. The flag has none, because the file takes precedence over it.
    pub default: Option<String>,
}

impl Setting {
    fn new(flag: Arg) -> Self {
        let field = flag.get_id().to_string();
        let default = flag.get_default_values().first();
        let default = default.map(|default| default.to_string_lossy().into_owned());
        let help = flag.get_help().map(ToString::to_string);
        let help = match (help.unwrap_or_default(), &default) {
            (help, Some(default)) => format!("{help} [default: {default}]"),
            (help, None) => help,
        };

        let flag = flag
            .id(field.replace('_', "-"))
            .env(format!("FANFARE_{}", field.to_ascii_uppercase()))
            .hide_env_values(true)
            .default_value(None::<&str>)
            .help(help);
        Self { flag, default }
    }

    /// Returns the name in kebab-case.
    pub fn name(&self) -> &str {
        self.flag.get_id().as_str()
    }

    /// Returns true if the setting may be repeated.
    pub fn repeats(&self) -> bool {
        matches!(self.flag.get_action(), ArgAction::Append)
    }
}

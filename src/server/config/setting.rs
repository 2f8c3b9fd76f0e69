//! The table of settings, from which flags, environment variables, file keys, help and defaults are generated.

/// One setting: the flag `--name`, the variable `FANFARE_NAME`, and the key `name` of the file.
#[derive(Debug)]
pub struct Setting {
    /// Name in kebab-case.
    pub name: &'static str,
    /// Placeholder of the value in the help.
    pub value: &'static str,
    /// Default; empty if there is none.
    pub default: &'static str,
    /// True if the setting may be repeated.
    pub repeats: bool,
    /// Help text, one sentence.
    pub help: &'static str,
}

impl Setting {
    /// Returns the name of the environment variable.
    pub fn variable(&self) -> String {
        format!(
            "FANFARE_{}",
            self.name.to_ascii_uppercase().replace('-', "_")
        )
    }
}

/// Returns a setting that may not be repeated.
const fn setting(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        value,
        default,
        repeats: false,
        help,
    }
}

/// All settings in the order of the help.
pub const SETTINGS: &[Setting] = &[
    setting(
        "listen",
        "ADDRESS",
        "127.0.0.1:12345",
        "Address of the page, the WebSocket and the HTTP API; port 0 picks a free port",
    ),
    setting(
        "ops-listen",
        "ADDRESS",
        "127.0.0.1:12346",
        "Address of /healthz, /readyz, /metrics, /version and the admin page and API; 'off' disables it",
    ),
    setting(
        "base-path",
        "PATH",
        "/",
        "Path prefix of everything on --listen, like /chat, for a proxy that serves other things too; the proxy must not strip it",
    ),
    setting(
        "site",
        "FOLDER",
        "",
        "Folder with the page's files [default: the files inside the program, else 'site' beside it, else target/site]",
    ),
    setting(
        "store",
        "STORE",
        "sqlite:fanfare.db",
        "Where messages are stored: 'sqlite:FILE' (in the --data folder unless FILE is an absolute path), 'memory', or, for several nodes, 'nats://[USER:PASSWORD@]HOST:PORT[,HOST:PORT]' ('tls://…' with TLS)",
    ),
    setting(
        "nats-creds",
        "FILE",
        "",
        "NATS credentials file (JWT and seed)",
    ),
    setting(
        "nats-nkey",
        "FILE",
        "",
        "File with the seed of an nkey for the login to NATS",
    ),
    setting(
        "nats-ca",
        "FILE",
        "",
        "PEM file of CA certificates that are trusted with tls://, in addition to the system's",
    ),
    setting(
        "nats-stream",
        "NAME",
        "fanfare",
        "JetStream stream of all rooms; nodes that share it form one service",
    ),
    setting(
        "nats-replicas",
        "N",
        "1",
        "Number of NATS servers that store each message: 1, 3 or 5",
    ),
    setting("data", "FOLDER", "data", "Data folder (created if missing)"),
    setting(
        "durability",
        "LEVEL",
        "disk",
        "When messages are acknowledged with SQLite: 'disk' (after fsync) or 'process' (they survive kill -9, but not a power failure)",
    ),
    setting(
        "quick-check",
        "YES|NO",
        "no",
        "Check the whole database at startup: 'yes' or 'no'",
    ),
    setting(
        "heartbeat",
        "TIME",
        "25s",
        "Time without traffic after which a client is pinged",
    ),
    setting(
        "expire",
        "TIME",
        "60s",
        "Time without traffic after which a client is disconnected (4000)",
    ),
    setting(
        "history-messages",
        "N",
        "10000",
        "Messages kept per room; older messages are deleted",
    ),
    setting(
        "history-age",
        "TIME",
        "7d",
        "Age at which messages are deleted",
    ),
    setting(
        "history-bytes",
        "SIZE",
        "64MiB",
        "Bytes of messages kept per room; older messages are deleted",
    ),
    setting(
        "max-message",
        "SIZE",
        "64KiB",
        "Largest message; larger ones are refused (close code 1009, HTTP 413)",
    ),
    setting(
        "max-connections",
        "N",
        "100000",
        "Most connections in total; more are refused (HTTP 503)",
    ),
    setting(
        "max-connections-per-ip",
        "N",
        "1000",
        "Most connections from one address (IPv6: /64); more are refused (HTTP 429)",
    ),
    setting(
        "connect-rate",
        "N/s",
        "100/s",
        "New connections per second from one address (IPv6: /64); more are refused (HTTP 429); 0 is unlimited",
    ),
    setting(
        "connect-burst",
        "N",
        "2000",
        "New connections that one address may open at once",
    ),
    setting(
        "max-rooms",
        "N",
        "10000",
        "Most rooms in memory, and most in the database; more are refused (HTTP 503)",
    ),
    setting(
        "max-room-members",
        "N",
        "50000",
        "Most connections in one room; more are refused (HTTP 503)",
    ),
    setting(
        "memory-budget",
        "SIZE",
        "1GiB",
        "Memory that the server may hold for clients; beyond it, new clients are refused (HTTP 503) and the slowest are disconnected (4002)",
    ),
    setting(
        "header-timeout",
        "TIME",
        "5s",
        "Time in which a client must send a complete request head",
    ),
    setting(
        "send-buffer",
        "SIZE",
        "256KiB",
        "Unsent bytes for one client at which the server stops reading from it",
    ),
    setting(
        "message-rate",
        "N/s",
        "20/s",
        "Messages per second from one connection; faster plain clients are disconnected (4001); 0 is unlimited, also by id, by address, over HTTP and for new rooms",
    ),
    setting(
        "message-burst",
        "N",
        "40",
        "Messages that one connection may send at once",
    ),
    setting(
        "id-rate",
        "N/s",
        "100/s",
        "Messages per second from one id, over all its connections and HTTP; without a token, separately for each address; 0 is unlimited",
    ),
    setting(
        "id-burst",
        "N",
        "2000",
        "Messages that one id may send at once",
    ),
    setting(
        "address-rate",
        "N/s",
        "1000/s",
        "Messages per second from one address (IPv6: /64), over all its connections and HTTP; 0 is unlimited",
    ),
    setting(
        "address-burst",
        "N",
        "4000",
        "Messages that one address may send at once",
    ),
    setting(
        "publish-rate",
        "N/s",
        "100/s",
        "Messages per second over HTTP from one address (IPv6: /64); more are refused (HTTP 429); 0 is unlimited",
    ),
    setting(
        "publish-burst",
        "N",
        "2000",
        "Messages that one address may send over HTTP at once",
    ),
    setting(
        "room-rate",
        "N/d",
        "1000/d",
        "New rooms per day from one address (IPv6: /64), as many at once; more are refused (HTTP 429); 0 is unlimited; admin tokens have no limit",
    ),
    setting(
        "compression",
        "ON|OFF",
        "off",
        "Compress messages to and from WebSocket clients that offer permessage-deflate: 'on' or 'off'",
    ),
    Setting {
        name: "allow-origin",
        value: "ORIGIN",
        default: "",
        repeats: true,
        help: "Origin whose pages may connect too, like https://example.org or capacitor://localhost; 'any' allows all, 'null' file:// pages and sandboxed frames; may be repeated [default: the page's own host only]",
    },
    Setting {
        name: "public-host",
        value: "HOST",
        default: "",
        repeats: true,
        help: "Host name that clients use to reach the server, like chat.example.org or (behind a proxy that terminates TLS) https://chat.example.org; may be repeated [default on loopback: localhost and loopback addresses only; else any]",
    },
    Setting {
        name: "allow-embed",
        value: "ORIGIN",
        default: "",
        repeats: true,
        help: "Origin whose pages may show the page in a frame, like https://example.org; 'any' allows all; may be repeated [default: none]",
    },
    Setting {
        name: "trusted-proxy",
        value: "NETWORK",
        default: "",
        repeats: true,
        help: "Network of proxies, like 10.0.0.0/8, whose forwarding headers are trusted; may be repeated [default: none]",
    },
    setting(
        "proxy-header",
        "HEADER",
        "either",
        "Forwarding header that trusted proxies set: 'x-forwarded-for', 'forwarded', or 'either' (X-Forwarded-For if present, else Forwarded)",
    ),
    setting(
        "tls-cert",
        "FILE",
        "",
        "Certificate chain in PEM for TLS on --listen, the server's own certificate first; needs --tls-key [default: none, plain HTTP]",
    ),
    setting("tls-key", "FILE", "", "Private key of --tls-cert in PEM"),
    setting(
        "auth-key-file",
        "FILE",
        "",
        "Key that verifies tokens: an HS256 secret, a public key in PEM, or a JWK set; with it, clients need a token [default: none, open to everyone]",
    ),
    setting(
        "anonymous",
        "ACCESS",
        "none",
        "With --auth-key-file, the access without a token: 'none', or 'read' for every room",
    ),
    setting(
        "otlp-endpoint",
        "URL",
        "",
        "OpenTelemetry collector that receives spans over HTTP, like http://127.0.0.1:4318 [default: none, tracing is off]",
    ),
    setting(
        "otlp-sample",
        "RATIO",
        "1",
        "Fraction of traces to sample, from 0 to 1; a caller's traceparent takes precedence",
    ),
    setting(
        "log-format",
        "FORMAT",
        "pretty",
        "Log format: 'pretty' for people, 'json' for machines",
    ),
    setting(
        "log-level",
        "LEVEL",
        "info",
        "Log level: 'error', 'warn', 'info', 'debug' or 'trace'",
    ),
];

//! The one table of settings: flags, environment variables, file keys, help and defaults all come from it.

/// One setting. Its flag is `--name`, its variable `FANFARE_NAME`, its key in the file `name`.
#[derive(Debug)]
pub struct Setting {
    /// In kebab-case.
    pub name: &'static str,
    /// What stands for its value in the help.
    pub value: &'static str,
    /// Its default; empty if it has none.
    pub default: &'static str,
    /// May be given more than once.
    pub repeats: bool,
    /// One sentence for the help.
    pub help: &'static str,
}

impl Setting {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!(
            "FANFARE_{}",
            self.name.to_ascii_uppercase().replace('-', "_")
        )
    }
}

const fn one(
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

/// Every setting, in the order of the help.
pub const SETTINGS: &[Setting] = &[
    one(
        "listen",
        "ADDRESS",
        "127.0.0.1:12345",
        "Where the page, the WebSocket and the HTTP API are; port 0 takes a free one",
    ),
    one(
        "ops-listen",
        "ADDRESS",
        "127.0.0.1:12346",
        "Where /healthz, /readyz, /metrics, /version and the operator's calls are; 'off' turns it off",
    ),
    one(
        "base-path",
        "PATH",
        "/",
        "Path under which all of --listen is reached, like /chat, where a proxy serves other things beside it; the proxy passes it on",
    ),
    one(
        "site",
        "FOLDER",
        "",
        "The page's files [default: those inside the program, else 'site' beside it, else target/site]",
    ),
    one(
        "store",
        "STORE",
        "sqlite:fanfare.db",
        "Where messages are kept: 'sqlite:FILE' (in the --data folder unless it has a path), 'memory', or, for several nodes, 'nats://[USER:PASSWORD@]HOST:PORT[,HOST:PORT]' ('tls://…' with TLS)",
    ),
    one(
        "nats-creds",
        "FILE",
        "",
        "Who we are to NATS: a credentials file (JWT and seed)",
    ),
    one(
        "nats-nkey",
        "FILE",
        "",
        "Who we are to NATS: a file with the seed of an nkey",
    ),
    one(
        "nats-ca",
        "FILE",
        "",
        "Whom to trust as NATS with tls://, besides the system's own: a PEM file",
    ),
    one(
        "nats-stream",
        "NAME",
        "fanfare",
        "The JetStream stream of all rooms; nodes that share it are one service",
    ),
    one(
        "nats-replicas",
        "N",
        "1",
        "NATS servers that keep each message: 1, 3 or 5",
    ),
    one(
        "data",
        "FOLDER",
        "data",
        "Folder for what must last; made if there is none",
    ),
    one(
        "durability",
        "HOW",
        "disk",
        "What an ack means with SQLite: 'disk' (fsynced first) or 'process' (survives kill -9, not the loss of power)",
    ),
    one(
        "quick-check",
        "YES",
        "no",
        "Whether the database is checked whole at the start: 'yes' or 'no'",
    ),
    one(
        "heartbeat",
        "TIME",
        "25s",
        "Silence of a client after which it is pinged",
    ),
    one(
        "expire",
        "TIME",
        "60s",
        "Silence of a client after which it is closed (4000) and forgotten",
    ),
    one(
        "history-messages",
        "N",
        "10000",
        "Messages kept of each room; older ones are dropped",
    ),
    one(
        "history-age",
        "TIME",
        "7d",
        "Age up to which messages are kept",
    ),
    one(
        "history-bytes",
        "SIZE",
        "64MiB",
        "Bytes of messages kept of each room",
    ),
    one(
        "max-message",
        "SIZE",
        "64KiB",
        "Largest message; larger ones are refused (close 1009, HTTP 413)",
    ),
    one(
        "max-connections",
        "N",
        "100000",
        "Connections in all; more are refused (HTTP 503)",
    ),
    one(
        "max-connections-per-ip",
        "N",
        "1000",
        "Connections from one address; more are refused (HTTP 429)",
    ),
    one(
        "connect-rate",
        "N/s",
        "100/s",
        "New connections a second from one address; 0 is unlimited; more are refused (HTTP 429)",
    ),
    one(
        "connect-burst",
        "N",
        "2000",
        "New connections that one address may open at once",
    ),
    one(
        "max-rooms",
        "N",
        "10000",
        "Rooms in memory, and in the database; more are refused (HTTP 503)",
    ),
    one(
        "max-room-members",
        "N",
        "50000",
        "Connections in one room; more are refused (HTTP 503)",
    ),
    one(
        "memory-budget",
        "SIZE",
        "1GiB",
        "Bytes that clients may make the server hold: past it new ones are refused (HTTP 503) and the slowest closed (4002)",
    ),
    one(
        "header-timeout",
        "TIME",
        "5s",
        "Time for a client to send a whole request head",
    ),
    one(
        "send-buffer",
        "SIZE",
        "256KiB",
        "Bytes that may wait for one client before nothing more is read from it",
    ),
    one(
        "message-rate",
        "N/s",
        "20/s",
        "Messages a second from one connection; 0 is unlimited, by id, by address and over HTTP too; plain ones that are faster are closed (4001)",
    ),
    one(
        "message-burst",
        "N",
        "40",
        "Messages that one client may send at once",
    ),
    one(
        "id-rate",
        "N/s",
        "100/s",
        "Messages a second from one id, by all its connections and HTTP; without a token: from one address; 0 is unlimited",
    ),
    one(
        "id-burst",
        "N",
        "2000",
        "Messages that one id may send at once",
    ),
    one(
        "address-rate",
        "N/s",
        "1000/s",
        "Messages a second from one address (IPv6: /64), by all its connections and HTTP; 0 is unlimited",
    ),
    one(
        "address-burst",
        "N",
        "4000",
        "Messages that one address may send at once",
    ),
    one(
        "publish-rate",
        "N/s",
        "100/s",
        "Messages a second over HTTP from one address (IPv6: /64); 0 is unlimited; faster ones are refused (HTTP 429)",
    ),
    one(
        "publish-burst",
        "N",
        "2000",
        "Messages over HTTP that one address may send at once",
    ),
    one(
        "compression",
        "HOW",
        "off",
        "'on': WebSocket clients that offer permessage-deflate send and get messages compressed",
    ),
    Setting {
        name: "allow-origin",
        value: "ORIGIN",
        default: "",
        repeats: true,
        help: "Pages of this origin may connect too, like https://example.org or capacitor://localhost; 'any' and 'null' may be named; may be repeated [default: the page's own host only]",
    },
    Setting {
        name: "public-host",
        value: "HOST",
        default: "",
        repeats: true,
        help: "A name that the server is reached by, like chat.example.org or (behind a proxy that speaks TLS) https://chat.example.org; may be repeated [default on loopback: localhost and loopback addresses only; else any]",
    },
    Setting {
        name: "allow-embed",
        value: "ORIGIN",
        default: "",
        repeats: true,
        help: "Pages of this origin may show the page in a frame, like https://example.org; 'any' may be named; may be repeated [default: none]",
    },
    Setting {
        name: "trusted-proxy",
        value: "NETWORK",
        default: "",
        repeats: true,
        help: "Proxies in this network, like 10.0.0.0/8, are believed when they say for whom they ask; may be repeated [default: none]",
    },
    one(
        "proxy-header",
        "HEADER",
        "either",
        "Where trusted proxies say so: 'x-forwarded-for', 'forwarded', or 'either', the first where there is one",
    ),
    one(
        "tls-cert",
        "FILE",
        "",
        "Certificate to speak TLS with at --listen: the chain in PEM, our own first; with --tls-key [default: none, HTTP in the clear]",
    ),
    one("tls-key", "FILE", "", "Its private key, in PEM"),
    one(
        "auth-key-file",
        "FILE",
        "",
        "Key that tokens are checked with: an HS256 secret, a public key in PEM, or a JWK set; then everyone needs a token [default: none, everyone may come in]",
    ),
    one(
        "anonymous",
        "WHAT",
        "none",
        "With --auth-key-file, what may be done without a token: 'none', or 'read' every room",
    ),
    one(
        "otlp-endpoint",
        "URL",
        "",
        "OpenTelemetry collector that spans are sent to over HTTP, like http://127.0.0.1:4318 [default: nothing is traced]",
    ),
    one(
        "otlp-sample",
        "RATIO",
        "1",
        "Part of the traces that is taken, from 0 to 1, where no caller has decided",
    ),
    one(
        "log-format",
        "FORMAT",
        "pretty",
        "'pretty' for people, 'json' for machines",
    ),
    one(
        "log-level",
        "LEVEL",
        "info",
        "'error', 'warn', 'info', 'debug' or 'trace'",
    ),
];

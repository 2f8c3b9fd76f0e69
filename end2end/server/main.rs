//! Fanfare's promises, tested from outside: the real program on a free port, with independent clients.

/// Waits with a limit.
mod eventually;
/// Starts servers and clients.
mod harness;
/// A WebSocket client.
mod peer;
/// A WebSocket client that writes its own bytes.
mod raw;
/// Clients of the HTTP API.
mod client;
/// Other programs beside a server.
mod daemon;
/// A certificate authority.
mod authority;
/// Servers with TLS and their clients.
mod tls_server;
/// A disk that can be filled.
mod disk;
/// A NATS, its nodes and a proxy in front of it.
mod nats;

/// The faults of the original program.
mod original;
/// The plain dialect.
mod plain;
/// The dialect `fanfare.v1`, frame by frame.
mod typed;
/// The Durable Streams protocol.
mod streams;
/// Appends to streams that end or whose server is killed.
mod stream_races;
/// Rules for rooms in the settings file.
mod room_rules;
/// Many rooms on one connection.
mod subscriptions;
/// Hooks: messages that are posted to a URL.
mod hooks;
/// Signals, which are not stored.
mod signals;
/// The states of members.
mod presence;
/// Joins and leaves as messages.
mod presence_log;
/// Each room of a connection with several.
mod each_room;
/// TLS in the program itself.
mod tls;
/// Reading from a position: history, resuming, slow readers.
mod recovery;
/// Acknowledged messages outlast the process.
mod durable;
/// Databases that went back in time.
mod rollback;
/// Database files that are removed while the server runs.
mod missing_files;
/// Several nodes on one NATS.
mod cluster;
/// Disks that are full or fail, clocks that jump.
mod faults;
/// A limit on the size of files.
mod file_size;
/// Databases that are damaged or in use.
mod damaged;
/// Backup and restore.
mod backup;
/// RFC 6455: pings, fragments, close codes.
mod wire;
/// RFC 7692: compressed messages.
mod compression;
/// Heartbeats.
mod heartbeat;
/// Limits and their errors.
mod limits;
/// Rates of ids and addresses.
mod quotas;
/// The memory budget.
mod budget;
/// The memory budget and the memory of the process.
mod resident;
/// Resources that are divided by address.
mod shares;
/// Heads of requests that are too large or malformed.
mod heads;
/// Clients that half-close or disconnect while the server answers.
mod half_close;
/// Trusted proxies.
mod proxy;
/// Counters of closed connections, refusals and gaps.
mod metrics;
/// Spans, as a collector receives them.
mod spans;
/// Metrics, dashboard, alerts and their documentation.
mod observe;
/// Dashboard and alerts in a real Prometheus.
mod prometheus;
/// Hostile clients and their effect on others.
mod hostile;
/// The attackers of `hostile`.
mod attack;
/// The files of the page, in a folder or embedded.
mod site;
/// The accepted values of `Origin`.
mod origin;
/// The accepted values of `Host`.
mod host;
/// CORS headers.
mod cors;
/// Security headers.
mod headers;
/// Tokens.
mod auth;
/// Errors of the HTTP API.
mod api;
/// Export and import of a room.
mod archive;
/// Publishing over HTTP.
mod publish;
/// Text, JSON and bytes, kinds and references.
mod shapes;
/// History and presence over HTTP.
mod history;
/// The list of rooms over HTTP.
mod rooms;
/// Streams over HTTP.
mod stream;
/// Sockets of streams over HTTP.
mod stream_socket;
/// Moderation of the readers of patterns, and the limits of patterns.
mod patterns;
/// Streams over sets of rooms and patterns.
mod sets;
/// Streams that are not read.
mod slow_stream;
/// The OpenAPI document.
mod openapi;
/// The admin API and the admin page.
mod admin;
/// SIGTERM and SIGINT.
mod drain;
/// Logs that cannot be written.
mod log;
/// The documentation matches the program.
mod documentation;
/// The clients in the documentation.
mod snippets;
/// The commands in the documentation.
mod commands;
/// nginx and Caddy with the settings in `deploy/`.
mod proxies;
/// A server under a path of its host.
mod base_path;
/// The container, the unit and the package.
mod deploy;
/// Service managers.
mod supervisor;
/// The commands.
mod cli;
/// Flags, environment and settings file.
mod config;
/// The shape of the source tree.
mod shape;
/// The dependencies and `deny.toml`.
mod supply;

//! Fanfare's promises, tested from outside: the real program on a free port, and clients nobody here wrote.

/// Starts servers and clients.
mod harness;
/// A client of a library.
mod peer;
/// A client made by hand.
mod raw;
/// Clients of the HTTP API.
mod client;
/// Other programs beside a server.
mod daemon;
/// Who vouches for a server's certificate.
mod authority;
/// A disk that can be filled.
mod disk;

/// The faults of the original program, each of which must stay gone.
mod original;
/// The plain dialect: what is sent arrives, byte for byte, in one order.
mod plain;
/// The dialect `fanfare.v1`, frame by frame.
mod tls;
mod typed;
/// Reading from a place: history, coming back, falling behind.
mod recovery;
/// What is acknowledged outlasts the process, however it ends.
mod durable;
/// A log that went back in time.
mod rollback;
/// Files that are gone while the server runs.
mod missing_files;
/// Several nodes on one NATS.
mod cluster;
/// Disks that are full or fail, clocks that jump.
mod faults;
mod file_size;
/// Files that the server must not touch.
mod damaged;
/// RFC 6455 as a client sees it: pings, fragments, close codes.
mod wire;
/// RFC 7692: messages compressed once for all who agreed.
mod compression;
/// Signs of life, and what happens without them.
mod heartbeat;
/// Every limit, and how a client is told.
mod limits;
/// What ids and addresses share.
mod quotas;
/// What clients may make the server hold.
mod backup;
mod budget;
/// The budget and the process's memory.
mod resident;
/// One address cannot shut others out.
mod shares;
/// Heads of requests that are out of bounds.
mod heads;
/// Clients that close their sending side while they are being answered.
mod half_close;
/// Whose address counts behind a proxy.
mod proxy;
/// Every way to lose, refuse or close has a counter.
mod metrics;
/// Spans, as a collector is brought them.
mod spans;
/// The figures, and what is made of them: dashboard, alerts, documentation.
mod observe;
/// The same, by a real Prometheus.
mod prometheus;
/// Clients that mean harm, and what others notice of them.
mod hostile;
/// What those clients do.
mod attack;
/// The page's files, in a folder and inside the program.
mod site;
/// Which pages may ask.
mod origin;
/// Under which names the server is asked.
mod host;
/// What pages of other origins may read.
mod cors;
/// What every answer forbids a browser.
mod headers;
/// Tokens: whose count, and what they allow.
mod auth;
/// What the HTTP API refuses, and how it says so.
mod api;
/// A room out of the database and into another.
mod archive;
/// Publishing over HTTP: texts, JSON, batches, and how fast.
mod publish;
/// History and presence over HTTP.
mod history;
/// Following a room over HTTP: events and lines.
mod stream;
/// Streams that are not read.
mod slow_stream;
/// The API's description, held against what it answers.
mod openapi;
/// What operators see and do.
mod admin;
/// Signals and the orderly end.
mod drain;
/// A log that nobody reads or that has no room.
mod log;
/// Settings, pages, links: the documentation against what there is.
mod documentation;
/// The documentation's clients.
mod snippets;
/// Behind the proxies that people use.
mod proxies;
mod base_path;
/// The container, the unit and the package.
mod deploy;
/// Service managers: readiness, sockets that are passed, restarts.
mod supervisor;
/// The clients on the command line.
mod cli;
/// Flags, environment, file.
mod config;
/// The shape of the source tree.
mod shape;
/// The libraries in the lock file against what deny.toml allows.
mod supply;

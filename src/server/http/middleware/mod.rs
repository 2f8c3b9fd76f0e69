//! The checks that a client passes before a handler runs, from the socket inwards:
//!
//! 1. [`listener`]: accepts connections within the file limit and serves HTTP/1.1 with a time limit for each head.
//! 2. [`connection_limit`]: the rate of connections from one address, before a byte is read.
//! 3. [`request_limit`]: the size of the head, the client's address behind proxies, and its share of connections and
//!    memory, before the request is routed.
//! 4. [`trace`]: the span of the request, if spans are exported.
//! 5. [`origin_check`]: the `Host` and the `Origin` of the request.
//! 6. [`authenticated`]: the token, as an extractor of the handlers that need one.
//!
//! Cheap checks come first, so that a flood is refused at the least cost: a refused connection costs an accept, a refused
//! request a parsed head, and a signature is verified only for requests from allowed origins. Tracing precedes the origin
//! check, so that requests refused there have spans too.
//!
//! The first three belong to the listener, which knows the connection. The others are ordinary tower layers and extractors.
//! [`router`](mod@super::router) lists the layers, with those of a response: headers, CORS, error pages.

pub(super) mod authenticated;
mod connection_limit;
pub(super) mod listener;
pub(super) mod origin_check;
pub(super) mod request_limit;
pub(super) mod trace;

//! The compression of responses with gzip, for clients that accept it: the page, and pages of history.
//!
//! The length of a compressed response can reveal a secret in it, if an attacker chooses another part of the response and
//! sees the length (BREACH). These responses contain nothing of the request but the room and an offset, and browsers send
//! no credentials on their own: a token is in a header that no other site can set. Responses that repeat what was sent, as
//! those to a form do, and the admin page are not compressed, and neither are streams, whose events would be held back.

use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

/// The size in bytes from which a response is compressed: a smaller one is a single packet anyway.
const MIN_BYTES: u16 = 1024;

/// Returns the layer for a route with such responses.
pub(super) fn layer() -> CompressionLayer<SizeAbove> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(MIN_BYTES))
}

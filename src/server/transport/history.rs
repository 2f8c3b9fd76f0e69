//! The answer to a `history`: read from the store beside everything else, one for each connection at a time.

use std::sync::Arc;

use crate::protocol::ErrorCode;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::server::store::Span;
use crate::server::transport::connection::Connection;
use crate::server::transport::reader::unavailable;

/// Answers a question for messages before `before`, or the newest, when the store has.
pub(super) fn history(connection: Arc<Connection>, before: Option<Offset>, limit: usize) {
    tokio::spawn(async move {
        let page = connection
            .hub
            .history(
                &connection.room,
                before.map_or(Span::Newest, Span::Before),
                limit,
            )
            .await;
        let push = match page {
            Ok(page) => Push::History {
                messages: page
                    .frames
                    .iter()
                    .map(|frame| frame.publication())
                    .collect(),
                more: page.more,
            },
            Err(error) => unavailable(&error, None),
        };
        // Before it is said: whoever has the answer may ask again at once.
        connection.lock().is_asking = false;
        connection.with_outbox(|outbox| outbox.say(&push));
    });
}

/// The answer to a second question before the answer to the first.
pub(super) fn one_at_a_time() -> Push {
    let code = ErrorCode::RateLimited;
    let message = "one history at a time; ask again after its answer".to_owned();
    Push::Error {
        code,
        message,
        retry: code.invites_retry(),
        key: None,
    }
}

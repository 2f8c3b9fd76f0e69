//! The answer to a `history`: read from the store beside everything else, one for each connection at a time.

use std::sync::Arc;

use crate::protocol::ErrorCode;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::server::hub::{DeletionMark, Room};
use crate::server::store::{Page, Span, StoreError};
use crate::server::transport::connection::{Connection, ConnectionState};
use crate::server::transport::reader::unavailable;

/// Answers a question for messages before `before`, or the newest, when the store has.
pub(super) fn history(connection: Arc<Connection>, before: Option<Offset>, limit: usize) {
    let span = before.map_or(Span::Newest, Span::Before);
    tokio::spawn(async move {
        let mut is_answered = false;
        while !is_answered {
            let page = connection
                .hub
                .read_page(&connection.room, span, limit)
                .await;
            is_answered = connection.update(|state| answer(&connection.room, state, page));
        }
    });
}

/// Queues the answer, under the lock under which deletions are queued. Returns whether it could: too much may have been
/// deleted while the page was read.
pub(super) fn answer(
    room: &Room,
    state: &mut ConnectionState,
    page: Result<(Page, DeletionMark), StoreError>,
) -> bool {
    let push = match page {
        Ok((mut page, mark)) => {
            if !room.redact(&mut page.frames, mark) {
                return false;
            }
            Push::History {
                messages: page
                    .frames
                    .iter()
                    .map(|frame| frame.publication())
                    .collect(),
                more: page.more,
            }
        }
        Err(error) => unavailable(&error, None),
    };

    // A client that has the answer may ask again at once.
    state.is_asking = false;
    state.outbox.push_event(&push);

    true
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

//! Answers to `history` frames. Each page is read from the store in a task of its own, one at a time for each
//! connection.

use std::sync::Arc;

use crate::protocol::{ErrorCode, Offset, Push};
use crate::server::hub::{DeletionMark, Room};
use crate::server::store::{Page, Span, StoreError};
use crate::server::transport::connection::{Connection, ConnectionState};
use crate::server::transport::reader::unavailable;

/// Spawns a task that reads at most `limit` messages before `before`, or the newest ones, and sends them.
pub(super) fn spawn_history(connection: Arc<Connection>, before: Option<Offset>, limit: usize) {
    let span = before.map_or(Span::Newest, Span::Before);

    tokio::spawn(async move {
        let mut is_answered = false;
        while !is_answered {
            let page = connection.room.read_page(span, limit).await;
            is_answered = connection.update(|state| push_page(&connection.room, state, page));
        }
    });
}

/// Queues the answer, under the lock under which deletions are queued. Returns false if the page must be read again,
/// because more messages were deleted during the read than the room remembers.
pub(super) fn push_page(
    room: &Room,
    state: &mut ConnectionState,
    page: Result<(Page, DeletionMark), StoreError>,
) -> bool {
    let push = match page {
        Ok((mut page, mark)) => {
            if !room.redact_page(&mut page.frames, mark) {
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

    // The client may request the next page as soon as it has this answer.
    state.is_reading_history = false;
    state.send_buffer.push_event(&push);

    true
}

/// Returns the error for a `history` before the previous one was answered.
pub(super) fn one_at_a_time() -> Push {
    let code = ErrorCode::RateLimited;
    Push::Error {
        code,
        message: "only one history request at a time; wait for the answer to the previous one"
            .to_owned(),
        retry: code.invites_retry(),
        key: None,
    }
}

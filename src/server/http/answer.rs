//! The memory of responses, which is counted until the kernel has accepted them, because clients may not read them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use crate::server::http::error::ApiError;
use crate::server::http::shares::{AddressShare, UnreadBytes};
use crate::server::memory::Memory;
use crate::server::transport::Activity;

/// The size up to which responses are never refused, so that clients always learn the result of a request. They are not
/// counted either: a connection has at most one, which fits in the buffers that are counted for it.
const SMALL_BYTES: u64 = 4096;

/// Marks a response whose bytes are a part of the program. They take no memory, so they are not counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfProgram;

/// A body whose bytes are counted while hyper holds them.
struct CountedBody {
    body: Body,
    share: Arc<AddressShare>,
    activity: Arc<Activity>,
    /// The bytes counted for the whole body, until its first bytes are polled.
    expected: Option<UnreadBytes>,
}

/// Bytes of a response that hyper holds.
struct UnsentBytes {
    bytes: Bytes,
    _unread: UnreadBytes,
    activity: Arc<Activity>,
}

/// Returns `response` with its memory counted, unless it is small or [`OfProgram`].
///
/// # Errors
/// Returns an error if the client has left too many bytes unread. Never does so unless `may_refuse`, which is set for
/// requests that changed nothing.
pub(super) fn counted(
    response: Response,
    share: &Arc<AddressShare>,
    activity: &Arc<Activity>,
    may_refuse: bool,
) -> Result<Response, ApiError> {
    let size = response.body().size_hint();
    let is_small = size.exact().is_some_and(|bytes| bytes <= SMALL_BYTES);
    if is_small || response.extensions().get::<OfProgram>().is_some() {
        return Ok(response);
    }

    let expected = if may_refuse && size.lower() > SMALL_BYTES {
        let limit = share.bytes();
        let counted = share.try_count_unread(size.lower() as usize);
        Some(counted.ok_or(ApiError::TooMuchUnread { limit })?)
    } else {
        None
    };

    let share = share.clone();
    let activity = activity.clone();
    Ok(response.map(|body| {
        Body::new(CountedBody {
            body,
            share,
            activity,
            expected,
        })
    }))
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let count = |bytes: Bytes| UnsentBytes::hold(bytes, &self.share, &self.activity);
        let counted = frame.map(|frame| frame.map(|frame| frame.map_data(count)));

        // From here on, the bytes that hyper holds are counted one by one.
        self.expected = None;

        Poll::Ready(counted)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl UnsentBytes {
    /// Returns `bytes`, counted until the last reference to them is dropped.
    fn hold(bytes: Bytes, share: &Arc<AddressShare>, activity: &Arc<Activity>) -> Bytes {
        activity.handed(bytes.len());
        let unsent = Self {
            _unread: share.count_unread(bytes.len()),
            bytes: Memory::of_process().track(bytes, 0),
            activity: activity.clone(),
        };
        Bytes::from_owner(unsent)
    }
}

impl AsRef<[u8]> for UnsentBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for UnsentBytes {
    fn drop(&mut self) {
        self.activity.finished(self.bytes.len());
    }
}

//! Answers on their way to clients that may not read them: their memory is counted until the kernel has taken them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use crate::server::http::error::ApiError;
use crate::server::http::shares::AddressShare;
use crate::server::memory::Memory;
use crate::server::transport::Activity;

/// Answers up to this size are sent however much is unread: they say what became of a request.
const SMALL_BYTES: u64 = 4096;

/// Marks the answer that is a stream of a room's log: its bytes are counted where they are made, and shared.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsLogStream;

/// A body whose bytes are counted from when HTTP is handed them.
struct CountedBody {
    body: Body,
    share: Arc<AddressShare>,
    activity: Arc<Activity>,
}

/// Bytes of an answer that HTTP holds.
struct UnsentBytes {
    bytes: Bytes,
    share: Arc<AddressShare>,
    activity: Arc<Activity>,
}

/// Returns `response` with its memory counted.
///
/// # Errors
/// If the client has left so much unread that it gets no more, and `may_refuse` says that nothing was changed for it.
pub(super) fn counted(
    response: Response,
    share: &Arc<AddressShare>,
    activity: &Arc<Activity>,
    may_refuse: bool,
) -> Result<Response, ApiError> {
    if response.extensions().get::<IsLogStream>().is_some() {
        return Ok(response);
    }
    let size = response.body().size_hint().lower();
    if may_refuse && size > SMALL_BYTES && !share.has_room_for_answer(size as usize) {
        return Err(ApiError::TooMuchUnread {
            limit: share.bytes(),
        });
    }

    let (share, activity) = (share.clone(), activity.clone());
    Ok(response.map(|body| {
        Body::new(CountedBody {
            body,
            share,
            activity,
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
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(count))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl UnsentBytes {
    /// Returns `bytes`, counted until the last reference to them is gone. Bytes that others refer to are there anyway.
    fn hold(bytes: Bytes, share: &Arc<AddressShare>, activity: &Arc<Activity>) -> Bytes {
        if !bytes.is_unique() {
            return bytes;
        }

        share.handed(bytes.len());
        activity.handed(bytes.len());
        let unsent = Self {
            bytes: Memory::of_process().hold(bytes, 0),
            share: share.clone(),
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
        self.share.finished(self.bytes.len());
        self.activity.finished(self.bytes.len());
    }
}

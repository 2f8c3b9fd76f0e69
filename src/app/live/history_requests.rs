//! The requests for pages of history on the connection. They are sent one at a time.
//!
//! Pure: times are passed in.

use std::collections::VecDeque;
use std::time::Duration;

use crate::protocol::Offset;

/// The pause after the server refused a request.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// A request for one page of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HistoryRequest {
    /// Messages before the oldest row.
    Older,
    /// The missing messages of this row.
    Gap(u64),
    /// The known messages before this offset, requested to detect deletions.
    Again(Offset),
}

/// The next step with the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestStep {
    /// Send this request. It is in flight from then on.
    Send(HistoryRequest),
    /// Continue after this time.
    Wait(Duration),
    /// Nothing can be sent now.
    Idle,
}

/// The queue of requests. The first one may be in flight.
#[derive(Clone, Debug, Default)]
pub(super) struct HistoryRequests {
    queue: VecDeque<HistoryRequest>,
    is_in_flight: bool,
    paused_until: Option<Duration>,
}

impl HistoryRequests {
    /// Adds `request`, unless it is in the queue. One [`HistoryRequest::Again`] is enough.
    pub(super) fn add(&mut self, request: HistoryRequest) {
        let is_queued = match request {
            HistoryRequest::Again(_) => self.queue.iter().any(is_again),
            request => self.queue.contains(&request),
        };
        if !is_queued {
            self.queue.push_back(request);
        }
    }

    /// Returns the next step.
    pub(super) fn next(&mut self, now: Duration) -> RequestStep {
        let Some(&request) = self.queue.front().filter(|_| !self.is_in_flight) else {
            return RequestStep::Idle;
        };
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return RequestStep::Wait(until - now);
        }

        self.is_in_flight = true;
        self.paused_until = None;
        RequestStep::Send(request)
    }

    /// Records the response to the request in flight, and returns that request.
    pub(super) fn on_response(&mut self) -> Option<HistoryRequest> {
        if std::mem::take(&mut self.is_in_flight) {
            self.queue.pop_front()
        } else {
            None
        }
    }

    /// Records that the server refused the request in flight, if there is one. It is sent again after a pause.
    pub(super) fn on_refused(&mut self, now: Duration) {
        if std::mem::take(&mut self.is_in_flight) {
            self.paused_until = Some(now + PAUSE);
        }
    }

    /// Records the end of the connection. The request in flight is sent on the next one, and that connection decides which rows
    /// to request again.
    pub(super) fn on_disconnect(&mut self) {
        self.queue.retain(|request| !is_again(request));
        self.is_in_flight = false;
        self.paused_until = None;
    }

    /// Removes all requests, because the log that they refer to no longer exists. The response to the one in flight may
    /// still arrive.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
}

const fn is_again(request: &HistoryRequest) -> bool {
    matches!(request, HistoryRequest::Again(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn requests_are_sent_one_at_a_time_and_in_order() {
        let mut requests = HistoryRequests::default();
        requests.add(HistoryRequest::Older);
        requests.add(HistoryRequest::Gap(7));
        requests.add(HistoryRequest::Older);

        assert_eq!(requests.next(NOW), RequestStep::Send(HistoryRequest::Older));
        assert_eq!(requests.next(NOW), RequestStep::Idle, "one is in flight");
        assert_eq!(requests.on_response(), Some(HistoryRequest::Older));

        assert_eq!(
            requests.next(NOW),
            RequestStep::Send(HistoryRequest::Gap(7))
        );
        assert_eq!(requests.on_response(), Some(HistoryRequest::Gap(7)));
        assert_eq!(requests.next(NOW), RequestStep::Idle);
    }

    #[test]
    fn a_refused_request_is_sent_again_after_a_pause() {
        let mut requests = HistoryRequests::default();
        requests.add(HistoryRequest::Older);
        assert_eq!(requests.next(NOW), RequestStep::Send(HistoryRequest::Older));

        requests.on_refused(NOW);

        assert_eq!(requests.next(NOW), RequestStep::Wait(PAUSE));
        assert_eq!(
            requests.next(PAUSE),
            RequestStep::Send(HistoryRequest::Older)
        );
    }

    #[test]
    fn a_request_without_a_response_is_sent_on_the_next_connection() {
        let mut requests = HistoryRequests::default();
        requests.add(HistoryRequest::Gap(7));
        requests.add(HistoryRequest::Again(Offset(9)));
        assert_eq!(
            requests.next(NOW),
            RequestStep::Send(HistoryRequest::Gap(7))
        );

        requests.on_disconnect();

        assert_eq!(
            requests.next(NOW),
            RequestStep::Send(HistoryRequest::Gap(7))
        );
        assert_eq!(requests.on_response(), Some(HistoryRequest::Gap(7)));
        assert_eq!(
            requests.next(NOW),
            RequestStep::Idle,
            "the next connection decides what to request again"
        );
    }
}

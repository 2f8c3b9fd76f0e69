//! A receiver of hooks, which answers as the test says.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::eventually::eventually;

/// The answer to a delivery.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// An answer with this status.
    Status(u16),
    /// A redirect to this URL.
    Redirect(String),
    /// 200 after the notification.
    Late(Arc<Notify>),
}

/// A received delivery.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    pub(crate) frames: Vec<Value>,
    /// True if the answer was 2xx.
    is_accepted: bool,
}

#[derive(Debug)]
struct Shared {
    answer: parking_lot::Mutex<Answer>,
    deliveries: parking_lot::Mutex<Vec<Delivery>>,
}

/// A receiver of hooks on a port of its own. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts a receiver that accepts everything.
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    /// Starts a receiver that accepts everything, on `address`.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = eventually(async || TcpListener::bind(address).await, Result::is_ok).await;
        let listener = listener.expect("the port is free");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            answer: Answer::Status(200).into(),
            deliveries: Vec::new().into(),
        });

        let router = Router::new().fallback(receive).with_state(shared.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            address,
            shared,
            serving,
        }
    }

    /// Returns the URL of the receiver.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers from now on with `answer`.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.shared.answer.lock() = answer;
    }

    /// Returns all deliveries so far.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries.lock().clone()
    }

    /// Waits for at least `count` deliveries, and returns all of them.
    pub(crate) async fn until_deliveries(&self, count: usize) -> Vec<Delivery> {
        eventually(async || self.deliveries(), |all| all.len() >= count).await
    }

    /// Returns the frames of all accepted deliveries, in the order in which they arrived.
    pub(crate) fn accepted(&self) -> Vec<Value> {
        let deliveries = self.deliveries().into_iter();
        let accepted = deliveries.filter(|delivery| delivery.is_accepted);
        accepted.flat_map(|delivery| delivery.frames).collect()
    }

    /// Waits until at least `count` frames were accepted, and returns all of them.
    pub(crate) async fn until_accepted(&self, count: usize) -> Vec<Value> {
        eventually(async || self.accepted(), |all| all.len() >= count).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = shared.answer.lock().clone();
    let is_accepted = match &answer {
        Answer::Status(status) => (200..300).contains(status),
        Answer::Redirect(_) => false,
        Answer::Late(_) => true,
    };
    shared.deliveries.lock().push(Delivery {
        headers,
        frames: serde_json::from_slice(&body).expect("a JSON array"),
        is_accepted,
    });

    match answer {
        Answer::Status(status) => StatusCode::from_u16(status)
            .expect("a status")
            .into_response(),
        Answer::Redirect(url) => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, url)]).into_response()
        }
        Answer::Late(notify) => {
            notify.notified().await;
            StatusCode::OK.into_response()
        }
    }
}

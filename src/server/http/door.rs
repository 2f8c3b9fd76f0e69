//! Keeps those out who connect too fast, or hold too many of the places of those that ask: before a byte is read of
//! them, so that a storm costs little.
//!
//! Whom a trusted proxy asks for is only in the head of each request. There each request counts as a connection:
//! how many of them share one is the proxy's affair.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::IntoResponse;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::server::auth::Proxies;
use crate::server::http::error::ApiError;
use crate::server::http::headers;
use crate::server::metrics;
use crate::server::room::Moment;
use crate::server::run_clock::RunClock;
use crate::server::session::{Host, Limiters, Rate};
use crate::server::transport::Tls;

/// Clients that are told at once that they connect too fast; in a storm, the others find the socket closed.
const MAX_REFUSALS: usize = 64;
/// How often the log says how many were refused.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct Door {
    clock: RunClock,
    rate: Rate,
    /// Most places that one address may hold.
    most: usize,
    proxies: Proxies,
    /// What is spoken with those who come in, and with those who are told why they do not.
    tls: Option<Tls>,
    /// Places for those who are told why.
    refusals: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limiters: Limiters<Host>,
    /// How many places each holds.
    inside: HashMap<Host, usize>,
    /// How many were refused since the log said so, and when that was.
    untold: u64,
    told: Option<Moment>,
}

/// Someone who was let in, until it is dropped.
#[derive(Debug)]
pub(super) struct Visit {
    door: Arc<Door>,
    host: Host,
}

/// Why someone was not let in.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    /// It may come again after this.
    TooFast(Duration),
    /// It holds as many places as it may.
    TooMany,
}

impl Door {
    /// Lets every address in at `rate`, and every one that `proxies` ask for. Of `places` nobody but a proxy gets
    /// more than half, unless the rate is unlimited: then all that come are taken to be friends.
    pub(super) fn new(
        rate: Rate,
        proxies: Proxies,
        places: usize,
        tls: Option<Tls>,
        clock: RunClock,
    ) -> Self {
        let state = State {
            limiters: Limiters::new(rate),
            inside: HashMap::new(),
            untold: 0,
            told: None,
        };
        Self {
            clock,
            rate,
            most: if rate.per_second == 0 {
                places
            } else {
                places / 2
            },
            proxies,
            tls,
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
            state: Mutex::new(state),
        }
    }

    /// Which proxies are believed.
    pub(super) const fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Whether `peer` may come in; if not, its `stream` is refused.
    pub(super) fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        http: &http1::Builder,
    ) -> Option<(TcpStream, Option<Visit>)> {
        if self.proxies.trusts(peer.ip()) {
            return Some((self.open(stream)?, None));
        }
        let entered = self.count(peer.ip()).and_then(|()| self.enter(peer.ip()));
        match entered {
            Ok(visit) => Some((self.open(stream)?, Some(visit))),
            Err(refusal) => {
                self.refuse(stream, refusal, http);
                None
            }
        }
    }

    /// The socket where HTTP is spoken with the client of `stream`; none if there is no room for one.
    fn open(&self, stream: TcpStream) -> Option<TcpStream> {
        let Some(tls) = &self.tls else {
            return Some(stream);
        };
        tls.inside(stream, self.clock.clone())
            .inspect_err(|error| warn!(%error, "cannot speak TLS"))
            .ok()
    }

    /// Whether a request of `client` may pass that came from `peer`. Whoever asks for itself was counted when it
    /// connected.
    pub(super) fn let_through(&self, peer: IpAddr, client: IpAddr) -> Result<(), ApiError> {
        if !self.proxies.trusts(peer) {
            return Ok(());
        }
        self.count(client).map_err(|refusal| self.error(refusal))
    }

    /// Counts a connection from `address`, or says how long it must wait.
    fn count(&self, address: IpAddr) -> Result<(), Refusal> {
        let now = self.now();
        let mut state = self.lock();
        state
            .limiters
            .take(Host::of(address), 1, now)
            .map_err(|wait| {
                state.tell(address, now, "connects too fast");
                Refusal::TooFast(wait)
            })
    }

    /// Takes a place for `address`.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Visit, Refusal> {
        let host = Host::of(address);
        let mut state = self.lock();
        let inside = state.inside.entry(host).or_default();
        if *inside >= self.most {
            state.tell(address, self.now(), "asks for too much at once");
            return Err(Refusal::TooMany);
        }
        *inside += 1;
        Ok(Visit {
            door: self.clone(),
            host,
        })
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, refusal: Refusal) -> ApiError {
        match refusal {
            Refusal::TooFast(wait) => ApiError::ConnectsTooFast {
                rate: self.rate,
                wait,
            },
            Refusal::TooMany => ApiError::TooManyAtOnce { limit: self.most },
        }
    }

    /// Answers whatever is asked with 429, if there is a place for that; else just closes.
    fn refuse(self: &Arc<Self>, stream: TcpStream, refusal: Refusal, http: &http1::Builder) {
        let Ok(place) = self.refusals.clone().try_acquire_owned() else {
            return metrics::refused(self.error(refusal).code());
        };
        let Some(stream) = self.open(stream) else {
            return;
        };
        let door = self.clone();
        let refused =
            move || headers::complete(door.error(refusal).into_response(), headers::OWN_ONLY);
        let answer = move |_| std::future::ready(Ok::<_, Infallible>(refused()));
        let connection = http
            .clone()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(async move {
            let _ended = connection.await;
            drop(place);
        });
    }
}

impl State {
    /// Has the log say that `address` was refused. Not a line for each: a storm of them would be one of lines.
    fn tell(&mut self, address: IpAddr, now: Moment, reason: &'static str) {
        self.untold += 1;
        if self.told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
            info!(address = %address.to_canonical(), refused = self.untold, reason, "refused");
            (self.untold, self.told) = (0, Some(now));
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut inside) = self.door.lock().inside.entry(self.host) {
            *inside.get_mut() -= 1;
            if *inside.get() == 0 {
                inside.remove();
            }
        }
    }
}

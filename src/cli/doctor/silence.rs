//! Whether a quiet connection is kept: a proxy that is less patient than `--heartbeat` cuts it off.
//!
//! The server's first ping proves it: whatever lies between has borne a whole heartbeat of silence, and will bear
//! the next.

use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::time::timeout_at;
use tokio_tungstenite::tungstenite::Message;

use super::finding::Finding;
use super::visit::Visit;
use super::websocket::{Refused, open};
use crate::protocol::RoomName;

/// A ping that comes so much later than it should does not come.
const GRACE: Duration = Duration::from_secs(5);

/// Opens a connection in `room`, where nobody speaks, and waits for the first ping: after `heartbeat`.
pub(super) async fn check(visit: Visit, room: RoomName, heartbeat: Duration) -> Finding {
    let mut socket = match open(&visit, &room, &[]).await {
        Ok(socket) => socket,
        Err(Refused::Http(status, _)) => {
            return Finding::note("silence", format!("not known: {status}"));
        }
        Err(Refused::Subprotocol) => {
            return Finding::note("silence", "not known: its dialect was not agreed");
        }
        Err(Refused::Other(why)) => return Finding::note("silence", format!("not known: {why}")),
    };
    let mut heard = Instant::now();
    loop {
        let end = heard + heartbeat + GRACE;
        let frame = match timeout_at(end.into(), socket.next()).await {
            Ok(frame) => frame,
            Err(_elapsed) => {
                let seen = format!(
                    "no ping came in {:.0?}; it is due after {heartbeat:.0?}",
                    heard.elapsed()
                );
                return Finding::bad("silence", seen)
                    .fix("proxy: it must pass the pings of WebSockets on, both ways");
            }
        };
        match frame {
            Some(Ok(Message::Ping(_))) => {
                let seen = format!(
                    "a quiet connection is kept for {:.1?}, until the server's ping",
                    heard.elapsed()
                );
                return Finding::good("silence", seen);
            }
            Some(Ok(Message::Close(_))) | Some(Err(_)) | None => {
                return cut(heard.elapsed(), heartbeat);
            }
            Some(Ok(_)) => heard = Instant::now(),
        }
    }
}

/// What it means that the connection was cut off after so much silence.
fn cut(after: Duration, heartbeat: Duration) -> Finding {
    let sooner = (after.as_millis() / 2).max(1);
    Finding::bad(
        "silence",
        format!(
            "a quiet connection is cut off after {after:.1?}; the server would ping after {heartbeat:.1?}"
        ),
    )
    .fix("nginx: proxy_read_timeout 75s; proxy_send_timeout 75s;")
    .fix("HAProxy: timeout tunnel 75s; AWS: the load balancer's idle timeout above 60 s")
    .fix(format!("fanfare: or --heartbeat {sooner}ms, if the proxy is not yours"))
}

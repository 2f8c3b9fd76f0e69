//! The check that idle connections stay open. A proxy with a shorter timeout than `--heartbeat` closes them.
//!
//! The server's first ping proves it, because the proxies have then allowed a whole heartbeat without data.

use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::time::timeout_at;
use tokio_tungstenite::tungstenite::Message;

use super::finding::Finding;
use super::visit::Visit;
use super::websocket::{Refused, open};
use crate::protocol::RoomName;

/// The accepted delay of a ping.
const GRACE: Duration = Duration::from_secs(5);

/// Opens a connection in `room`, which has no messages, and waits for the first ping after `heartbeat`.
pub(super) async fn check(visit: Visit, room: RoomName, heartbeat: Duration) -> Finding {
    let mut socket = match open(&visit, &room, &[]).await {
        Ok(socket) => socket,
        Err(Refused::Http(status, _)) => {
            return Finding::note("silence", format!("unknown: {status}"));
        }
        Err(Refused::Subprotocol) => {
            return Finding::note(
                "silence",
                "unknown: Sec-WebSocket-Protocol is lost on the way",
            );
        }
        Err(Refused::Other(why)) => return Finding::note("silence", format!("unknown: {why}")),
    };

    let mut last_frame = Instant::now();
    loop {
        let end = last_frame + heartbeat + GRACE;
        let frame = match timeout_at(end.into(), socket.next()).await {
            Ok(frame) => frame,
            Err(_elapsed) => {
                let seen = format!(
                    "no ping arrived in {:.0?}; one is due after {heartbeat:.0?}",
                    last_frame.elapsed()
                );
                return Finding::bad("silence", seen)
                    .fix("proxy: forward WebSocket pings in both directions");
            }
        };
        match frame {
            Some(Ok(Message::Ping(_))) => {
                let seen = format!(
                    "an idle connection stays open for {:.1?}, until the server's ping",
                    last_frame.elapsed()
                );
                return Finding::good("silence", seen);
            }
            Some(Ok(Message::Close(_))) | Some(Err(_)) | None => {
                return cut(last_frame.elapsed(), heartbeat);
            }
            Some(Ok(_)) => last_frame = Instant::now(),
        }
    }
}

/// Returns the finding for a connection that was closed after being idle for `after`.
fn cut(after: Duration, heartbeat: Duration) -> Finding {
    let sooner = (after.as_millis() / 2).max(1);
    Finding::bad(
        "silence",
        format!(
            "an idle connection is cut off after {after:.1?}; the server would ping after {heartbeat:.1?}"
        ),
    )
    .fix("nginx: proxy_read_timeout 75s; proxy_send_timeout 75s;")
    .fix("HAProxy: timeout tunnel 75s; AWS: the load balancer's idle timeout above 60 s")
    .fix(format!("fanfare: or --heartbeat {sooner}ms, if you cannot change the proxy"))
}

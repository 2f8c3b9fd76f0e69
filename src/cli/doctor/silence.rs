//! The check that idle connections stay open. A proxy with a shorter timeout than `--heartbeat` closes them.
//!
//! The server's first ping proves it, because the proxies have then allowed a whole heartbeat without data.

use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::time::timeout_at;
use tokio_tungstenite::tungstenite::Message;

use super::report::{Finding, bad, good};
use super::visit::Visit;
use super::websocket::open;
use crate::protocol::RoomName;

/// The accepted delay of a ping.
const GRACE: Duration = Duration::from_secs(5);

/// Opens a connection in `room`, which has no messages, and waits for the first ping after `heartbeat`.
pub(super) async fn check(
    visit: Visit,
    room: RoomName,
    heartbeat: Duration,
) -> Result<Finding, Finding> {
    let opened = open(&visit, &room, &[]).await;
    let mut socket = opened.map_err(anyhow::Error::from)?;

    let mut last_frame = Instant::now();
    loop {
        let end = last_frame + heartbeat + GRACE;
        let frame = timeout_at(end.into(), socket.next()).await;
        let idle = last_frame.elapsed();
        match frame {
            Err(_elapsed) => {
                return Err(bad(format!(
                    "no ping arrived in {idle:.0?}; one is due after {heartbeat:.0?}"
                ))
                .fix("proxy: forward WebSocket pings in both directions"));
            }
            Ok(Some(Ok(Message::Ping(_)))) => {
                return Ok(good(format!(
                    "an idle connection stays open for {idle:.1?}, until the server's ping"
                )));
            }
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Err(cut(idle, heartbeat)),
            Ok(Some(Ok(_))) => last_frame = Instant::now(),
        }
    }
}

/// Returns the finding for a connection that was closed after being idle for `after`.
fn cut(after: Duration, heartbeat: Duration) -> Finding {
    let sooner = (after.as_millis() / 2).max(1);
    bad(format!(
        "an idle connection is cut off after {after:.1?}; the server would ping after {heartbeat:.1?}"
    ))
    .fix("nginx: proxy_read_timeout 75s; proxy_send_timeout 75s;")
    .fix("HAProxy: timeout tunnel 75s; AWS: the load balancer's idle timeout above 60 s")
    .fix(format!("fanfare: or --heartbeat {sooner}ms, if you cannot change the proxy"))
}

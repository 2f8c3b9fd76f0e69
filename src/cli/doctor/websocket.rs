//! The check of a WebSocket, and of a message sent over it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};

use super::finding::Finding;
use super::report::DoctorReport;
use super::visit::{ANSWER_TIMEOUT, Visit, describe};
use crate::cli::client::{Frame, Socket, SocketEnd, api_error};
use crate::client::Cursor;
use crate::protocol::{CloseCode, Command, ErrorCode, Key, Push, RoomName, SUBPROTOCOL, Welcome};

const TOKEN: &str = "fanfare doctor: --token \"$(fanfare token --sub doctor --room 'doctor-*:rw' --auth-key-file FILE)\"";

/// The reason why a socket could not be opened.
#[derive(Debug)]
pub(super) enum Refused {
    /// A response other than 101.
    Http(StatusCode, Vec<u8>),
    /// The subprotocol was removed on the way.
    Subprotocol,
    /// Any other reason, in a sentence.
    Other(String),
}

/// Opens a socket in `room`, with additional `headers`.
///
/// # Errors
/// If it cannot be opened in time.
pub(super) async fn open(
    visit: &Visit,
    room: &RoomName,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<Socket, Refused> {
    let query = Cursor::new(None).query(room, Some(&visit.id()));
    let upgrade = visit.server.upgrade(&query, true, visit.token());
    let mut request = upgrade.map_err(|error| Refused::Other(error.to_string()))?;
    request.headers_mut().extend(headers.iter().cloned());

    match timeout(ANSWER_TIMEOUT, visit.server.handshake(request)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(response))) => {
            let (parts, body) = response.into_parts();
            Err(Refused::Http(parts.status, body.unwrap_or_default()))
        }
        Ok(Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)))) => {
            Err(Refused::Subprotocol)
        }
        Ok(Err(error)) => Err(Refused::Other(error.to_string())),
        Err(_elapsed) => Err(Refused::Other(format!(
            "no answer within {} s",
            ANSWER_TIMEOUT.as_secs()
        ))),
    }
}

/// Returns the next frame of the dialect.
///
/// # Errors
/// If the connection ends first.
pub(super) async fn receive(socket: &mut Socket) -> Result<Push, SocketEnd> {
    loop {
        match Frame::from(socket.next().await) {
            Frame::Push(push) => return Ok(push),
            Frame::Other => {}
            Frame::End(end) => return Err(end),
        }
    }
}

/// Opens a socket and sends a message. Returns the open socket, and the welcome.
pub(super) async fn check(
    visit: &Visit,
    headers: &[(HeaderName, HeaderValue)],
    report: &mut DoctorReport,
) -> Option<(Socket, Welcome)> {
    let began = Instant::now();
    let mut socket = match open(visit, &visit.room, headers).await {
        Ok(socket) => socket,
        Err(why) => {
            report.add(&not_upgraded(why));
            return None;
        }
    };

    let welcome = match timeout(ANSWER_TIMEOUT, receive(&mut socket)).await {
        Ok(Ok(Push::Welcome(welcome))) => welcome,
        Ok(Ok(Push::Error { message, .. })) => {
            report.add(&Finding::bad(
                "websocket",
                format!("the server refuses the connection: {message}"),
            ));
            return None;
        }
        Ok(Ok(other)) => {
            let seen = format!("the first frame is {} instead of welcome", other.kind());
            report.add(&Finding::bad("websocket", seen));
            return None;
        }
        Ok(Err(end)) => {
            let finding = Finding::bad(
                "websocket",
                format!("the server closes the connection at once: {}", end.reason),
            );
            let needs_token = [CloseCode::BadToken, CloseCode::NotAllowed]
                .map(CloseCode::number)
                .contains(&end.code);
            report.add(&if needs_token {
                finding.fix(TOKEN)
            } else {
                finding
            });
            return None;
        }
        Err(_elapsed) => {
            report.add(&held_back());
            return None;
        }
    };

    let seen = format!("open with {SUBPROTOCOL} after {:.1?}", began.elapsed());
    report.add(&Finding::good("websocket", seen));
    report.add(&round_trip(&mut socket).await);
    Some((socket, welcome))
}

/// Sends a message, and waits until it is stored and delivered.
async fn round_trip(socket: &mut Socket) -> Finding {
    let began = Instant::now();

    match timeout(ANSWER_TIMEOUT, send(socket, began)).await {
        Ok(Ok((stored, back))) => Finding::good(
            "message",
            format!(
                "stored after {stored:.1?}, delivered after {back:.1?}; both include the network"
            ),
        ),
        Ok(Err(error)) => match error.downcast::<Denied>() {
            Ok(Denied {
                code: ErrorCode::NotAllowed,
                message,
            }) => Finding::bad("message", format!("the message is refused: {message}")).fix(TOKEN),
            Ok(Denied { message, .. }) => {
                Finding::bad("message", format!("the message is not stored: {message}"))
                    .fix("fanfare: GET /readyz on the ops listener shows the error of the store")
            }
            Err(error) => Finding::bad("message", format!("{error:#}")),
        },
        Err(_elapsed) => Finding::bad(
            "message",
            format!(
                "the message is not stored and delivered within {} s",
                ANSWER_TIMEOUT.as_secs()
            ),
        )
        .fix("fanfare: GET /readyz on the ops listener shows the error of the store"),
    }
}

/// The server's refusal of a message.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Denied {
    code: ErrorCode,
    message: String,
}

/// Sends a message. Returns the times of its ack and of its delivery, since `began`.
async fn send(socket: &mut Socket, began: Instant) -> anyhow::Result<(Duration, Duration)> {
    let key = Key::parse(&format!("doctor-{:016x}", fastrand::u64(..)))?;
    let say = Command::Say {
        text: "fanfare doctor was here".to_owned(),
        key: Some(key.clone()),
    };
    socket
        .send(Message::text(say.encode()))
        .await
        .context("the connection broke off")?;

    let mut stored = None;
    let mut back = None;
    loop {
        match receive(socket).await {
            Ok(Push::Ack { key: acked, .. }) if acked == key => stored = Some(began.elapsed()),
            Ok(Push::Message(publication)) if publication.key.as_ref() == Some(&key) => {
                back = Some(began.elapsed());
            }
            Ok(Push::Error { code, message, .. }) => return Err(Denied { code, message }.into()),
            Ok(_) => {}
            Err(end) => bail!("the connection ended: {}", end.reason),
        }
        if let Some(both) = stored.zip(back) {
            return Ok(both);
        }
    }
}

/// Returns the finding for a socket that could not be opened.
fn not_upgraded(why: Refused) -> Finding {
    match why {
        Refused::Http(status, body) => match api_error(&body) {
            // Errors about the handshake itself mean that a proxy removed a part of it.
            Some(error) if !matches!(error.code.as_str(), "upgrade_required" | "bad_handshake") => {
                Finding::bad(
                    "websocket",
                    format!("the connection is refused: {}", describe(status, &body)),
                )
            }
            _ => pass_upgrade(Finding::bad(
                "websocket",
                format!(
                    "the proxy does not forward the upgrade: {}",
                    describe(status, &body)
                ),
            )),
        },
        Refused::Subprotocol => Finding::bad(
            "websocket",
            format!("open, but without {SUBPROTOCOL}: Sec-WebSocket-Protocol is lost on the way"),
        )
        .fix("nginx: proxy_set_header Sec-WebSocket-Protocol $http_sec_websocket_protocol;"),
        Refused::Other(why) => pass_upgrade(Finding::bad(
            "websocket",
            format!("cannot be opened: {why}"),
        )),
    }
}

fn held_back() -> Finding {
    let seen = format!(
        "open, but no frame arrives within {} s",
        ANSWER_TIMEOUT.as_secs()
    );
    pass_upgrade(Finding::bad("websocket", seen))
}

fn pass_upgrade(finding: Finding) -> Finding {
    finding
        .fix(
            "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";",
        )
        .fix("Caddy: reverse_proxy 127.0.0.1:12345 (it forwards upgrades by default; remove header_up for Connection)")
}

//! The check of a WebSocket, and of a message sent over it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use hyper::header::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};

use super::report::{Finding, bad, describe, good};
use super::visit::{Visit, in_time};
use crate::cli::client::{HttpResponse, ServerSocket, SocketEnd, SocketFrame};
use crate::client::Cursor;
use crate::protocol::{
    Body, CloseCode, Command, ErrorCode, Key, MessageFields, Push, RoomName, SUBPROTOCOL, Welcome,
};

const TOKEN: &str = "fanfare doctor: --token \"$(fanfare token --sub doctor --room 'doctor-*:rw' --auth-key-file FILE)\"";
const STORE: &str = "fanfare: GET /readyz on the ops listener shows the error of the store";

/// The reason why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// A response other than 101.
    #[error("{}", describe(.0))]
    Http(HttpResponse),
    /// The subprotocol was removed on the way.
    #[error("Sec-WebSocket-Protocol is lost on the way")]
    Subprotocol,
    #[error("{0:#}")]
    Other(anyhow::Error),
}

/// Opens a socket in `room`, with additional `headers`.
///
/// # Errors
/// If it cannot be opened in time.
pub(super) async fn open(
    visit: &Visit,
    room: &RoomName,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<ServerSocket, HandshakeError> {
    let query = Cursor::new(None).query(room, Some(&visit.id()));
    let upgrade = visit.server.upgrade(&query, true, visit.token());
    let mut request = upgrade.map_err(|error| HandshakeError::Other(error.into()))?;
    request.headers_mut().extend(headers.iter().cloned());

    let opened = in_time(visit.server.handshake(request)).await;
    let error = match opened {
        Ok((socket, _)) => return Ok(socket),
        Err(error) => error,
    };
    Err(match error.downcast() {
        Ok(Error::Http(response)) => HandshakeError::Http((*response).into()),
        Ok(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) => {
            HandshakeError::Subprotocol
        }
        Ok(other) => HandshakeError::Other(other.into()),
        Err(late) => HandshakeError::Other(late),
    })
}

/// Returns the next frame of the dialect.
async fn receive(socket: &mut ServerSocket) -> Result<Push, SocketEnd> {
    loop {
        match SocketFrame::from(socket.next().await) {
            SocketFrame::Push(push) => return Ok(push),
            SocketFrame::Other => {}
            SocketFrame::End(end) => return Err(end),
        }
    }
}

/// Opens a socket, and waits for the welcome.
pub(super) async fn welcome(
    visit: &Visit,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<(Finding, (ServerSocket, Welcome)), Finding> {
    let began = Instant::now();
    let mut socket = open(visit, &visit.room, headers)
        .await
        .map_err(not_upgraded)?;

    let first = in_time(async { anyhow::Ok(receive(&mut socket).await) }).await;
    match first {
        Ok(Ok(Push::Welcome(welcome))) => {
            let seen = format!("open with {SUBPROTOCOL} after {:.1?}", began.elapsed());
            Ok((good(seen), (socket, welcome)))
        }
        Ok(Ok(Push::Error { message, .. })) => {
            Err(bad(format!("the server refuses the connection: {message}")))
        }
        Ok(Ok(other)) => Err(bad(format!(
            "the first frame is {} instead of welcome",
            other.kind()
        ))),
        Ok(Err(SocketEnd { code, reason })) => {
            let closed = bad(format!(
                "the server closes the connection at once: {reason}"
            ));
            let needs_token = [CloseCode::BadToken, CloseCode::NotAllowed]
                .map(CloseCode::number)
                .contains(&code);
            Err(if needs_token {
                closed.fix(TOKEN)
            } else {
                closed
            })
        }
        Err(late) => Err(not_forwarded(format!("open, but no frame arrives: {late}"))),
    }
}

/// Sends a message, and waits until it is stored and delivered.
pub(super) async fn round_trip(socket: &mut ServerSocket) -> Result<Finding, Finding> {
    match in_time(send(socket)).await {
        Ok((stored, back)) => Ok(good(format!(
            "stored after {stored:.1?}, delivered after {back:.1?}; both include the network"
        ))),
        Err(error) => Err(match error.downcast() {
            Ok(PublishError {
                code: ErrorCode::NotAllowed,
                message,
            }) => bad(format!("the message is refused: {message}")).fix(TOKEN),
            Ok(PublishError { message, .. }) => {
                bad(format!("the message is not stored: {message}")).fix(STORE)
            }
            Err(error) => bad(format!("the message is not delivered: {error:#}")).fix(STORE),
        }),
    }
}

/// The server's refusal of a message.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct PublishError {
    code: ErrorCode,
    message: String,
}

/// Sends a message. Returns the times until its ack and its delivery.
async fn send(socket: &mut ServerSocket) -> anyhow::Result<(Duration, Duration)> {
    let began = Instant::now();
    let key = Key::parse(&format!("doctor-{:016x}", fastrand::u64(..)))?;
    let publish = Command::Publish {
        room: None,
        body: Body::Text("fanfare doctor was here".to_owned()),
        fields: MessageFields::keyed(Some(key.clone())),
    };
    socket
        .send(Message::text(publish.encode()))
        .await
        .context("the connection broke off")?;

    let mut stored = None;
    let mut back = None;
    loop {
        match receive(socket).await {
            Ok(Push::Ack { key: acked, .. }) if acked == key => stored = Some(began.elapsed()),
            Ok(Push::Message(publication)) if publication.fields.key.as_ref() == Some(&key) => {
                back = Some(began.elapsed());
            }
            Ok(Push::Error { code, message, .. }) => {
                return Err(PublishError { code, message }.into());
            }
            Ok(_) => {}
            Err(end) => bail!("the connection ended: {}", end.reason),
        }
        if let Some(both) = stored.zip(back) {
            return Ok(both);
        }
    }
}

/// Returns the finding for a socket that could not be opened.
fn not_upgraded(why: HandshakeError) -> Finding {
    match why {
        HandshakeError::Subprotocol => bad(format!("open, but without {SUBPROTOCOL}: {why}"))
            .fix("nginx: proxy_set_header Sec-WebSocket-Protocol $http_sec_websocket_protocol;"),
        HandshakeError::Other(why) => not_forwarded(format!("cannot be opened: {why:#}")),
        // Errors about the handshake itself mean that a proxy removed a part of it.
        HandshakeError::Http(answer) => match answer.error() {
            Some(error) if !matches!(&*error.code, "upgrade_required" | "bad_handshake") => {
                bad(format!("the connection is refused: {answer}"))
            }
            _ => not_forwarded(format!(
                "the proxy does not forward the upgrade: {}",
                describe(&answer)
            )),
        },
    }
}

fn not_forwarded(seen: String) -> Finding {
    bad(seen)
        .fix("nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";")
        .fix("Caddy: reverse_proxy 127.0.0.1:12345 (it forwards upgrades by default; remove header_up for Connection)")
}

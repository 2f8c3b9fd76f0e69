//! Whether a WebSocket gets through, and a message there and back.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::finding::Finding;
use super::report::Report;
use super::visit::{ANSWER_WITHIN, Visit, told};
use crate::cli::client::{Socket, words};
use crate::client::Cursor;
use crate::protocol::CloseCode;
use crate::protocol::Command;
use crate::protocol::ErrorCode;
use crate::protocol::Key;
use crate::protocol::Push;
use crate::protocol::RoomName;
use crate::protocol::SUBPROTOCOL;
use crate::protocol::Welcome;

const TOKEN: &str = "fanfare doctor: --token \"$(fanfare token --sub doctor --room 'doctor-*:rw' --auth-key-file FILE)\"";

/// Why there is no socket.
#[derive(Debug)]
pub(super) enum Refused {
    /// An answer other than 101.
    Http(StatusCode, Vec<u8>),
    /// The dialect did not come through.
    Subprotocol,
    /// Anything else, in a sentence.
    Other(String),
}

/// Opens a socket to `room`, with `headers` of its own.
///
/// # Errors
/// Why there is none.
pub(super) async fn open(
    visit: &Visit,
    room: &RoomName,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<Socket, Refused> {
    let query = Cursor::new(None).query(room, Some(&visit.id()));
    let upgrade = visit.server.upgrade(&query, true, visit.token());
    let mut request = upgrade.map_err(|error| Refused::Other(error.to_string()))?;
    request.headers_mut().extend(headers.iter().cloned());
    match timeout(ANSWER_WITHIN, visit.server.handshake(request)).await {
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
            ANSWER_WITHIN.as_secs()
        ))),
    }
}

/// The next frame of the dialect.
///
/// # Errors
/// If the connection ends first.
pub(super) async fn hear(socket: &mut Socket) -> Result<Push, Ended> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                // A newer server may say what this program does not know.
                if let Ok(push) = Push::decode(&text) {
                    return Ok(push);
                }
            }
            Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                return Err(Ended {
                    code: Some(code.into()),
                    why: format!("{} {reason}", u16::from(code)),
                });
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                return Err(Ended {
                    code: None,
                    why: error.to_string(),
                });
            }
            None => {
                return Err(Ended {
                    code: None,
                    why: "the connection broke off".to_owned(),
                });
            }
        }
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<u16>,
    pub(super) why: String,
}

impl Ended {
    /// Whether a token, or a better one, is what is missing.
    fn asks_for_token(&self) -> bool {
        [CloseCode::BadToken, CloseCode::NotAllowed]
            .map(CloseCode::number)
            .map(Some)
            .contains(&self.code)
    }
}

/// Opens a socket and says something; gives the open socket, and how the server introduced itself.
pub(super) async fn check(
    visit: &Visit,
    headers: &[(HeaderName, HeaderValue)],
    report: &mut Report,
) -> Option<(Socket, Welcome)> {
    let began = Instant::now();
    let mut socket = match open(visit, &visit.room, headers).await {
        Ok(socket) => socket,
        Err(why) => {
            report.add(&not_upgraded(why));
            return None;
        }
    };
    let welcome = match timeout(ANSWER_WITHIN, hear(&mut socket)).await {
        Ok(Ok(Push::Welcome(welcome))) => welcome,
        Ok(Ok(Push::Error { message, .. })) => {
            report.add(&Finding::bad(
                "websocket",
                format!("it is turned away: {message}"),
            ));
            return None;
        }
        Ok(Ok(other)) => {
            let seen = format!(
                "the first frame is no welcome, but of the type {}",
                other.kind()
            );
            report.add(&Finding::bad("websocket", seen));
            return None;
        }
        Ok(Err(ended)) => {
            let finding = Finding::bad("websocket", format!("it is closed at once: {}", ended.why));
            report.add(&if ended.asks_for_token() {
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
    let seen = format!(
        "it is open and speaks {SUBPROTOCOL} after {:.1?}",
        began.elapsed()
    );
    report.add(&Finding::good("websocket", seen));
    report.add(&round_trip(&mut socket).await);
    Some((socket, welcome))
}

/// Says something, and waits until it is stored and comes back.
async fn round_trip(socket: &mut Socket) -> Finding {
    let began = Instant::now();
    match timeout(ANSWER_WITHIN, say(socket, began)).await {
        Ok(Ok((stored, back))) => Finding::good(
            "message",
            format!(
                "stored after {stored:.1?} and back after {back:.1?}, there and back over the network included"
            ),
        ),
        Ok(Err(error)) => match error.downcast::<Denied>() {
            Ok(Denied {
                code: ErrorCode::NotAllowed,
                message,
            }) => Finding::bad("message", format!("it may not be said: {message}")).fix(TOKEN),
            Ok(Denied { message, .. }) => {
                Finding::bad("message", format!("it is not stored: {message}")).fix(
                    "fanfare: GET /readyz on its ops listener says what is wrong with the store",
                )
            }
            Err(error) => Finding::bad("message", format!("{error:#}")),
        },
        Err(_elapsed) => Finding::bad(
            "message",
            format!(
                "it is not stored, or does not come back, within {} s",
                ANSWER_WITHIN.as_secs()
            ),
        )
        .fix("fanfare: GET /readyz on its ops listener says what is wrong with the store"),
    }
}

/// The server's answer to what it does not store.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Denied {
    code: ErrorCode,
    message: String,
}

/// When it was acknowledged, and when it came back; both since `began`.
async fn say(socket: &mut Socket, began: Instant) -> anyhow::Result<(Duration, Duration)> {
    let key = Key::parse(&format!("doctor-{:016x}", fastrand::u64(..)))?;
    let say = Command::Say {
        text: "fanfare doctor was here".to_owned(),
        key: Some(key.clone()),
    };
    socket
        .send(Message::text(say.encode()))
        .await
        .context("the connection broke off")?;
    let (mut stored, mut back) = (None, None);
    loop {
        match hear(socket).await {
            Ok(Push::Ack { key: acked, .. }) if acked == key => stored = Some(began.elapsed()),
            Ok(Push::Message(publication)) if publication.key.as_ref() == Some(&key) => {
                back = Some(began.elapsed());
            }
            Ok(Push::Error { code, message, .. }) => return Err(Denied { code, message }.into()),
            Ok(_) => {}
            Err(ended) => bail!("the connection ended: {}", ended.why),
        }
        if let Some(both) = stored.zip(back) {
            return Ok(both);
        }
    }
}

/// What it means that there is no socket.
fn not_upgraded(why: Refused) -> Finding {
    match why {
        Refused::Http(status, body) => match words(&body) {
            // It asked for a handshake, or for the rest of one: a part of it was lost on the way.
            Some(words) if !matches!(words.code.as_str(), "upgrade_required" | "bad_handshake") => {
                Finding::bad("websocket", format!("it is refused: {}", told(status, &body)))
            }
            _ => pass_upgrade(Finding::bad(
                "websocket",
                format!("the proxy does not pass the upgrade on: {}", told(status, &body)),
            )),
        },
        Refused::Subprotocol => Finding::bad(
            "websocket",
            format!(
                "it is open, but {SUBPROTOCOL} was not agreed: Sec-WebSocket-Protocol is lost on the way"
            ),
        )
        .fix("nginx: proxy_set_header Sec-WebSocket-Protocol $http_sec_websocket_protocol;"),
        Refused::Other(why) => pass_upgrade(Finding::bad("websocket", format!("it cannot be opened: {why}"))),
    }
}

fn held_back() -> Finding {
    let seen = format!(
        "it is open, but nothing comes through it within {} s",
        ANSWER_WITHIN.as_secs()
    );
    pass_upgrade(Finding::bad("websocket", seen))
}

fn pass_upgrade(finding: Finding) -> Finding {
    finding
        .fix(
            "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";",
        )
        .fix("Caddy: reverse_proxy 127.0.0.1:12345 (it passes upgrades by itself; remove header_up for Connection)")
}

//! A running server, and the ways to talk to it: a WebSocket, and single HTTP requests, each on a connection of its
//! own.

use std::io;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use clap::ArgMatches;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::server_url::ServerUrl;
use super::tls::{self, Tls};
use crate::cli::Mistakes;
use crate::client::OPEN_TIMEOUT;
use crate::protocol::SUBPROTOCOL;
use crate::protocol::Token;

/// Bytes to a server and back, whatever carries them.
pub(in crate::cli) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that carries bytes.
pub(in crate::cli) type Line = Box<dyn Stream>;

/// A connection that carries messages.
pub(in crate::cli) type Socket = WebSocketStream<Line>;

/// See the [module docs](self).
#[derive(Clone, Debug)]
pub(in crate::cli) struct Remote {
    url: ServerUrl,
    /// Whom to trust, where the address asks for it.
    tls: Option<Tls>,
}

/// Why there is no socket.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum OpenError {
    /// It may be there later.
    #[error("{why}")]
    Later {
        /// In a sentence.
        why: String,
        /// How long the server asked to stay away.
        pause: Option<Duration>,
    },
    /// It will never be there.
    #[error("{0}")]
    Never(String),
}

impl Remote {
    /// The server that the arguments `url`, which people know as `shown`, and `ca` name.
    pub(in crate::cli) fn given(
        matches: &ArgMatches,
        shown: &str,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        Self::at(text("url").unwrap_or_default(), text("ca"), shown, mistakes)
    }

    /// The server at `url`, which people know as the argument `shown`; trusted by the file `ca`, if it is given.
    pub(in crate::cli) fn at(
        url: &str,
        ca: Option<&str>,
        shown: &str,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        // The file also where it is not needed: if it is wrong, that is told at once.
        let parsed = mistakes.check(shown, url, ServerUrl::parse);
        let named = match ca {
            Some(file) => mistakes
                .check("--ca", file, |file| Tls::of_file(file.as_ref()))
                .map(Some),
            None => Some(None),
        };
        let tls = match (parsed.as_ref()?.is_safe(), named?) {
            (false, _) => None,
            (true, Some(named)) => Some(named),
            (true, None) => Some(mistakes.check(shown, url, |_| Tls::of_system())?),
        };
        Some(Self { url: parsed?, tls })
    }

    /// Whether its address says that it is on this machine.
    pub(in crate::cli) fn is_on_loopback(&self) -> bool {
        match self.url.name() {
            ServerName::IpAddress(address) => std::net::IpAddr::from(*address).is_loopback(),
            name => name.to_str() == "localhost",
        }
    }

    /// Where it is.
    pub(in crate::cli) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Whom to trust, where the address asks for it.
    pub(in crate::cli) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// A connection to it, safe if its address says so.
    async fn connect(&self) -> io::Result<Line> {
        let stream = TcpStream::connect(self.url.socket_address()).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            Some(tls) => Box::new(tls.secure(stream, self.url.name().clone()).await?),
            None => Box::new(stream),
        })
    }

    /// Sends `request`, whose address is a path of the server, and gives the answer as soon as it begins.
    ///
    /// # Errors
    /// If there is none.
    pub(in crate::cli) async fn ask(
        &self,
        mut request: Request<Body>,
    ) -> anyhow::Result<Response<Incoming>> {
        let host = HeaderValue::try_from(self.url.authority()).context("no name of a host")?;
        request.headers_mut().entry(header::HOST).or_insert(host);
        let target = self.url.path(&request.uri().to_string());
        *request.uri_mut() = target.parse().context("no path of a server")?;
        let asking = async {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(self.connect().await?)).await?;
            // It ends with the answer, or with the program.
            tokio::spawn(connection);
            anyhow::Ok(sender.send_request(request).await?)
        };
        asking.await.with_context(|| format!("cannot ask {self}"))
    }

    /// Returns a request for a socket with the query string `query`; in the dialect `fanfare.v1` if `is_typed`; with
    /// `token`, if there is one.
    ///
    /// # Errors
    /// If one of them has characters that a request cannot have.
    pub(in crate::cli) fn upgrade(
        &self,
        query: &str,
        is_typed: bool,
        token: Option<&Token>,
    ) -> Result<client::Request, OpenError> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let path = self.url.path("/ws");
        let mut request = format!("{scheme}://{}{path}?{query}", self.url.authority())
            .into_client_request()
            .map_err(|error| OpenError::Never(error.to_string()))?;
        if is_typed {
            request.headers_mut().insert(
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(SUBPROTOCOL),
            );
        }
        if let Some(token) = token {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, bearer(token)?);
        }
        Ok(request)
    }

    /// Opens a socket by `request`; gives the server's answer with it.
    ///
    /// # Errors
    /// Those of the network, and an answer other than 101. Not limited in time.
    pub(in crate::cli) async fn handshake(
        &self,
        request: client::Request,
    ) -> Result<(Socket, client::Response), Error> {
        // How large a message may be is for the server to say; a limit here would only end the connection.
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        client_async_with_config(request, self.connect().await?, Some(config)).await
    }

    /// Opens a socket as [`Remote::upgrade`] says, in good time.
    ///
    /// # Errors
    /// Whether to try again, and why there is no socket.
    pub(in crate::cli) async fn open(
        &self,
        query: &str,
        is_typed: bool,
        token: Option<&Token>,
    ) -> Result<Socket, OpenError> {
        let opening = self.handshake(self.upgrade(query, is_typed, token)?);
        match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(Error::Http(response))) => Err(refused(&response)),
            Ok(Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)))) => Err(
                OpenError::Never(format!("the server does not speak {SUBPROTOCOL}")),
            ),
            Ok(Err(Error::Io(error))) => Err(match tls::reason(&error) {
                Some(reason) if tls::is_final(reason) => {
                    OpenError::Never(format!("{reason}; --ca FILE names whom else to trust"))
                }
                _ => later(error.to_string()),
            }),
            Ok(Err(error)) => Err(later(error.to_string())),
            Err(_elapsed) => Err(later(format!(
                "no answer within {} s",
                OPEN_TIMEOUT.as_secs()
            ))),
        }
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.url.fmt(f)
    }
}

/// What a request shows of `token`.
///
/// # Errors
/// If no request can.
pub(in crate::cli) fn bearer(token: &Token) -> Result<HeaderValue, OpenError> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
        .map_err(|_| OpenError::Never("the token has characters that no token has".to_owned()))?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

/// What the server says in `body` of an answer that is no success, if it is a Fanfare.
pub(in crate::cli) fn words(body: &[u8]) -> Option<Words> {
    #[derive(Deserialize)]
    struct Answer {
        error: Words,
    }
    serde_json::from_slice::<Answer>(body)
        .ok()
        .map(|answer| answer.error)
}

/// What went wrong, for programs and for people.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Words {
    pub(in crate::cli) code: String,
    pub(in crate::cli) message: String,
}

const fn later(why: String) -> OpenError {
    OpenError::Later { why, pause: None }
}

/// What an answer other than 101 means: the server's own words, and whether to come back.
fn refused(response: &Response<Option<Vec<u8>>>) -> OpenError {
    let status = response.status();
    let why = match words(response.body().as_deref().unwrap_or_default()) {
        Some(words) => format!("{status}: {}", words.message),
        None => status.to_string(),
    };
    let passes = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    if !status.is_server_error() && !passes.contains(&status) {
        return OpenError::Never(why);
    }
    let seconds = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    OpenError::Later {
        why,
        pause: seconds.map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_server_is_asked_again_when_it_said_and_a_wrong_address_never() {
        let answer = |status, body: &str| {
            let response = Response::builder()
                .status(status)
                .header(header::RETRY_AFTER, "5");
            refused(
                &response
                    .body(Some(body.as_bytes().to_vec()))
                    .expect("a response"),
            )
        };
        let full = answer(
            503,
            r#"{"error":{"code":"too_many_rooms","message":"full"}}"#,
        );
        let why = "503 Service Unavailable: full".to_owned();
        assert_eq!(
            full,
            OpenError::Later {
                why,
                pause: Some(Duration::from_secs(5))
            }
        );
        assert_eq!(
            answer(404, "<html>"),
            OpenError::Never("404 Not Found".to_owned())
        );
    }
}

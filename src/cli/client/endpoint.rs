//! A running server: opens WebSockets and sends single HTTP requests, each on a connection of its own.

use std::fmt;
use std::io;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::{Body, Bytes, to_bytes};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::client;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, Response, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::server_url::ServerUrl;
use super::tls::{self, ClientTls};
use crate::client::OPEN_TIMEOUT;
use crate::protocol::{SUBPROTOCOL, Token};

/// The maximum size of a response. Metrics and pages of the admin API need less than a tenth of it.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A byte stream to a server, with or without TLS.
pub(in crate::cli) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A connection that transfers WebSocket messages.
pub(in crate::cli) type ServerSocket = WebSocketStream<Box<dyn ByteStream>>;

/// The address of a server, and the certificates to trust for it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Endpoint {
    url: ServerUrl,
    /// The TLS settings; `None` for `http`.
    tls: Option<ClientTls>,
}

/// A complete response. Its text is the status and the error.
#[derive(Debug)]
pub(in crate::cli) struct HttpResponse {
    pub(in crate::cli) status: StatusCode,
    pub(in crate::cli) body: Bytes,
}

/// An error of the API.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct ApiErrorBody {
    pub(in crate::cli) code: String,
    pub(in crate::cli) message: String,
}

/// The reason why a socket could not be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum SocketError {
    /// A later attempt may succeed.
    #[error("{why}")]
    Later {
        /// The reason, in a sentence.
        why: String,
        /// The pause that the server requested.
        pause: Option<Duration>,
    },
    /// No later attempt can succeed.
    #[error("{0}")]
    Never(String),
}

impl Endpoint {
    /// Creates a server. `tls` must be given if the URL is `https`.
    pub(in crate::cli) const fn new(url: ServerUrl, tls: Option<ClientTls>) -> Self {
        Self { url, tls }
    }

    /// Returns true if the address is a loopback address.
    pub(in crate::cli) fn is_on_loopback(&self) -> bool {
        match self.url.name() {
            ServerName::IpAddress(address) => std::net::IpAddr::from(*address).is_loopback(),
            name => name.to_str() == "localhost",
        }
    }

    /// Returns the URL.
    pub(in crate::cli) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Returns the TLS settings of an `https` server.
    pub(in crate::cli) fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// Connects, with TLS for `https`.
    async fn connect(&self) -> io::Result<Box<dyn ByteStream>> {
        let stream = TcpStream::connect(self.url.socket_address()).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            Some(tls) => Box::new(tls.secure(stream, self.url.name().clone()).await?),
            None => Box::new(stream),
        })
    }

    /// Sends `request`, whose URI is a path of the server, with `token`. Returns the response once its head has arrived.
    ///
    /// # Errors
    /// If the response does not begin within `limit`, or the token has characters that are not valid in a token.
    pub(in crate::cli) async fn send(
        &self,
        mut request: Request<Body>,
        token: Option<&Token>,
        limit: Duration,
    ) -> anyhow::Result<Response<Body>> {
        let host = HeaderValue::try_from(self.url.authority())
            .context("the URL has no valid host name")?;
        request.headers_mut().entry(header::HOST).or_insert(host);
        if let Some(token) = token {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, bearer(token)?);
        }
        let target = self.url.path(&request.uri().to_string());
        *request.uri_mut() = target.parse().context("the request has no valid path")?;

        let sending = async {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(self.connect().await?)).await?;
            // The task ends with the response, or with the program.
            tokio::spawn(connection);
            anyhow::Ok(sender.send_request(request).await?.map(Body::new))
        };

        match timeout(limit, sending).await {
            Ok(response) => response.with_context(|| format!("cannot reach {self}")),
            Err(_elapsed) => bail!("no answer from {self} within {} s", limit.as_secs()),
        }
    }

    /// Returns the handshake request for a socket, with the query string `query`. The dialect is `fanfare.v1` if
    /// `is_typed`, and the `token` is optional.
    ///
    /// # Errors
    /// If the query or the token has characters that a request must not have.
    pub(in crate::cli) fn upgrade(
        &self,
        query: &str,
        is_typed: bool,
        token: Option<&Token>,
    ) -> Result<client::Request, SocketError> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let path = self.url.path("/ws");
        let mut request = format!("{scheme}://{}{path}?{query}", self.url.authority())
            .into_client_request()
            .map_err(|error| SocketError::Never(error.to_string()))?;

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

    /// Opens a socket with `request`, and returns it with the server's response. There is no timeout.
    ///
    /// # Errors
    /// Errors of the network, and responses other than 101.
    pub(in crate::cli) async fn handshake(
        &self,
        request: client::Request,
    ) -> Result<(ServerSocket, client::Response), Error> {
        // The server limits the size of messages. A limit here would only end the connection.
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        client_async_with_config(request, self.connect().await?, Some(config)).await
    }

    /// Opens a socket with the request of [`Endpoint::upgrade`], within [`OPEN_TIMEOUT`].
    ///
    /// # Errors
    /// The reason, and whether a later attempt may succeed.
    pub(in crate::cli) async fn open(
        &self,
        query: &str,
        is_typed: bool,
        token: Option<&Token>,
    ) -> Result<ServerSocket, SocketError> {
        let opening = self.handshake(self.upgrade(query, is_typed, token)?);

        match timeout(OPEN_TIMEOUT, opening).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(Error::Http(response))) => Err(refused(*response)),
            Ok(Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)))) => Err(
                SocketError::Never(format!("the server does not speak {SUBPROTOCOL}")),
            ),
            Ok(Err(Error::Io(error))) => Err(match tls::reason(&error) {
                Some(reason) if tls::is_final(reason) => {
                    SocketError::Never(format!("{reason}; to trust another certificate: --ca FILE"))
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

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl HttpResponse {
    /// Reads `response` to its end.
    ///
    /// # Errors
    /// If it ends early, or is too long.
    pub(in crate::cli) async fn read(response: Response<Body>) -> anyhow::Result<Self> {
        let (head, body) = response.into_parts();
        let body = to_bytes(body, MAX_ANSWER_BYTES)
            .await
            .context("the answer ended early")?;
        let status = head.status;
        Ok(Self { status, body })
    }

    /// Returns the API error, if the response has one.
    pub(in crate::cli) fn error(&self) -> Option<ApiErrorBody> {
        #[derive(Deserialize)]
        struct ErrorEnvelope {
            error: ApiErrorBody,
        }
        serde_json::from_slice::<ErrorEnvelope>(&self.body)
            .ok()
            .map(|body| body.error)
    }

    /// Returns the body as JSON; null if it is not JSON.
    pub(in crate::cli) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl From<Response<Option<Vec<u8>>>> for HttpResponse {
    fn from(response: Response<Option<Vec<u8>>>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.unwrap_or_default().into();
        let status = head.status;
        Self { status, body }
    }
}

impl fmt::Display for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error() {
            Some(error) => write!(f, "{}: {}", self.status, error.message),
            None => self.status.fmt(f),
        }
    }
}

/// Returns the `Authorization` header for `token`.
fn bearer(token: &Token) -> Result<HeaderValue, SocketError> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
        .map_err(|_| SocketError::Never("the token has characters that no token has".to_owned()))?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

const fn later(why: String) -> SocketError {
    SocketError::Later { why, pause: None }
}

/// Returns the error for a response other than 101.
fn refused(response: Response<Option<Vec<u8>>>) -> SocketError {
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let answer = HttpResponse::from(response);
    let why = answer.to_string();

    let temporary = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    if !answer.status.is_server_error() && !temporary.contains(&answer.status) {
        return SocketError::Never(why);
    }

    SocketError::Later {
        why,
        pause: seconds.map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> SocketError {
        let response = Response::builder()
            .status(status)
            .header(header::RETRY_AFTER, "5")
            .body(Some(body.as_bytes().to_vec()));
        refused(response.expect("a response"))
    }

    #[test]
    fn a_full_server_is_tried_again_after_the_pause_that_it_requested() {
        let body = r#"{"error":{"code":"too_many_rooms","message":"full"}}"#;

        let expected = SocketError::Later {
            why: "503 Service Unavailable: full".to_owned(),
            pause: Some(Duration::from_secs(5)),
        };
        assert_eq!(refusal(503, body), expected);
    }
}

//! Where a running server is, as `--url` names it, and one socket to it.

use std::time::Duration;

use clap::Arg;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::uri::Scheme;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, StatusCode, Uri, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::protocol::SUBPROTOCOL;
use crate::protocol::Token;

/// A connection that is not made by then is given up: a system alone would wait for minutes.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// An open connection.
pub(in crate::cli) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The flag that names the server.
pub(in crate::cli) fn url_flag() -> Arg {
    url_argument().long("url")
}

/// The argument that names the server, for commands that ask for nothing else.
pub(in crate::cli) fn url_argument() -> Arg {
    Arg::new("url")
        .env("FANFARE_URL")
        .hide_env_values(true)
        .value_name("URL")
        .default_value("http://127.0.0.1:12345")
        .help("The server [env: FANFARE_URL]")
        .hide_env(true)
}

/// The address of a server: its host, and its port if it is not 80.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ServerUrl {
    authority: String,
}

/// Why a text is no [`ServerUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum UrlError {
    #[error("https is not spoken yet; allowed is http://HOST:PORT")]
    Tls,
    #[error("allowed is http://HOST:PORT, like http://127.0.0.1:12345")]
    NotHttp,
    #[error("there is more behind the host than a port; allowed is http://HOST:PORT")]
    Path,
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

impl ServerUrl {
    /// Accepts `http://HOST:PORT`.
    ///
    /// # Errors
    /// Says what is wrong with `url` and what is allowed.
    pub(in crate::cli) fn parse(url: &str) -> Result<Self, UrlError> {
        let uri: Uri = url.parse().map_err(|_| UrlError::NotHttp)?;
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => return Err(UrlError::Tls),
            Some(scheme) if *scheme == Scheme::HTTP => {}
            _ => return Err(UrlError::NotHttp),
        }
        let authority = uri.authority().ok_or(UrlError::NotHttp)?;
        let host_and_port = match authority.port() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        // What is left then is a user, or a port that is none.
        if authority.host().is_empty() || host_and_port != authority.as_str() {
            return Err(UrlError::NotHttp);
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(UrlError::Path);
        }
        Ok(Self { authority: host_and_port })
    }

    /// Host and port as a request names them.
    pub(in crate::cli) fn authority(&self) -> &str {
        &self.authority
    }

    /// Host and port to connect to.
    pub(in crate::cli) fn socket_address(&self) -> String {
        // The last colon of a bare IPv6 address stands before its bracket.
        let has_port = self.authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        if has_port { self.authority.clone() } else { format!("{}:80", self.authority) }
    }

    /// Opens a socket with `query`, pairs of name and value; in the dialect `fanfare.v1` if `is_typed`; with
    /// `token`, if there is one.
    ///
    /// # Errors
    /// Whether to try again, and why there is no socket.
    pub(in crate::cli) async fn open(
        &self,
        query: &[(&str, &str)],
        is_typed: bool,
        token: Option<&Token>,
    ) -> Result<Socket, OpenError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let mut request = format!("ws://{}/ws?{query}", self.authority)
            .into_client_request()
            .map_err(|error| OpenError::Never(error.to_string()))?;
        if is_typed {
            request
                .headers_mut()
                .insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        if let Some(token) = token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
                .map_err(|_| OpenError::Never("the token has characters that no token has".to_owned()))?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, bearer);
        }
        // How large a message may be is for the server to say; a limit here would only end the connection.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let opening = connect_async_with_config(request, Some(config), true);
        match tokio::time::timeout(OPEN_WITHIN, opening).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(Error::Http(response))) => Err(refused(&response)),
            Ok(Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)))) => {
                Err(OpenError::Never(format!("the server does not speak {SUBPROTOCOL}")))
            }
            Ok(Err(Error::Io(error))) => Err(later(error.to_string())),
            Ok(Err(error)) => Err(later(error.to_string())),
            Err(_elapsed) => Err(later(format!("no answer within {} s", OPEN_WITHIN.as_secs()))),
        }
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

const fn later(why: String) -> OpenError {
    OpenError::Later { why, pause: None }
}

/// What an answer other than 101 means: the server's own words, and whether to come back.
fn refused(response: &Response<Option<Vec<u8>>>) -> OpenError {
    #[derive(Deserialize)]
    struct Answer {
        error: Words,
    }
    #[derive(Deserialize)]
    struct Words {
        message: String,
    }
    let status = response.status();
    let body = response.body().as_deref().unwrap_or_default();
    let why = match serde_json::from_slice::<Answer>(body) {
        Ok(answer) => format!("{status}: {}", answer.error.message),
        Err(_not_ours) => status.to_string(),
    };
    let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    if !status.is_server_error() && !passes.contains(&status) {
        return OpenError::Never(why);
    }
    let seconds =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    OpenError::Later { why, pause: seconds.map(Duration::from_secs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_http_with_a_host_and_perhaps_a_port() {
        for (url, authority) in [
            ("http://127.0.0.1:12345", "127.0.0.1:12345"),
            ("http://example.org/", "example.org"),
            ("http://[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(ServerUrl::parse(url).map(|url| url.authority), Ok(authority.to_owned()), "{url}");
        }
        for (url, error) in [
            ("https://example.org", UrlError::Tls),
            ("127.0.0.1:12345", UrlError::NotHttp),
            ("ws://127.0.0.1:12345", UrlError::NotHttp),
            ("http://", UrlError::NotHttp),
            ("http://:80", UrlError::NotHttp),
            ("http://host:99999", UrlError::NotHttp),
            ("http://ann@host:80", UrlError::NotHttp),
            ("http://host:80/ws", UrlError::Path),
            ("http://host:80/?room=a", UrlError::Path),
        ] {
            assert_eq!(ServerUrl::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn a_full_server_is_asked_again_when_it_said_and_a_wrong_address_never() {
        let answer = |status, body: &str| {
            let response = Response::builder().status(status).header(header::RETRY_AFTER, "5");
            refused(&response.body(Some(body.as_bytes().to_vec())).expect("a response"))
        };
        let full = answer(503, r#"{"error":{"code":"too_many_rooms","message":"full"}}"#);
        let why = "503 Service Unavailable: full".to_owned();
        assert_eq!(full, OpenError::Later { why, pause: Some(Duration::from_secs(5)) });
        assert_eq!(answer(404, "<html>"), OpenError::Never("404 Not Found".to_owned()));
    }
}

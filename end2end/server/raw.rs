//! WebSocket connections whose bytes the test writes itself, to send frames that no library would send.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::eventually::soon;

/// A connection of type `S` after the handshake.
pub(crate) struct Raw<S = TcpStream> {
    pub(crate) stream: S,
}

/// The mask of every frame; any value is valid.
const MASK: [u8; 4] = [7, 77, 177, 27];

/// Returns a masked frame with the first byte `first` and a payload of up to 65,535 bytes.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];

    match u16::try_from(payload.len()).expect("short enough") {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
    }

    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );

    frame
}

/// Returns the handshake request of RFC 6455 section 1.3.
pub(crate) fn handshake(address: SocketAddr, query: &str, subprotocol: Option<&str>) -> String {
    let subprotocol = subprotocol.map_or(String::new(), |name| {
        format!("Sec-WebSocket-Protocol: other, {name}\r\n")
    });
    format!(
        "GET /ws?{query} HTTP/1.1\r\nHost: {address}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{subprotocol}\r\n"
    )
}

impl Raw {
    /// Connects to `address` and performs the handshake.
    pub(crate) async fn open(address: SocketAddr, query: &str, subprotocol: Option<&str>) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        Self::over(stream, address, query, subprotocol).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// Performs the handshake with the server at `address` over `stream`.
    pub(crate) async fn over(
        mut stream: S,
        address: SocketAddr,
        query: &str,
        subprotocol: Option<&str>,
    ) -> Self {
        stream
            .write_all(handshake(address, query, subprotocol).as_bytes())
            .await
            .expect("written");
        stream.flush().await.expect("sent");

        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(stream.read_u8()).await.expect("an answer"));
        }

        let head = String::from_utf8(head).expect("text");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");

        Self { stream }
    }

    /// Writes `bytes`.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.expect("written");
        soon(self.stream.flush()).await.expect("sent");
    }

    /// Writes `bytes`; returns false if the connection has ended.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// Returns the first byte and the payload of the next frame.
    pub(crate) async fn frame(&mut self) -> (u8, Vec<u8>) {
        soon(async {
            let first = self.stream.read_u8().await.expect("a frame");
            let length = match self.stream.read_u8().await.expect("a length") {
                126 => u64::from(self.stream.read_u16().await.expect("a length")),
                127 => self.stream.read_u64().await.expect("a length"),
                short => u64::from(short),
            };

            let mut payload = vec![0; length as usize];
            self.stream
                .read_exact(&mut payload)
                .await
                .expect("a payload");

            (first, payload)
        })
        .await
    }

    /// Returns the next frame that is not a ping.
    pub(crate) async fn frame_but_pings(&mut self) -> (u8, Vec<u8>) {
        loop {
            let frame = self.frame().await;
            if frame.0 != 0x89 {
                return frame;
            }
        }
    }

    /// Reads until the Close frame and the end of the stream, and returns the code.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            if let (0x88, payload) = self.frame().await {
                let mut rest = Vec::new();
                soon(self.stream.read_to_end(&mut rest))
                    .await
                    .expect("the end of the stream");
                assert!(rest.is_empty(), "nothing may follow a Close frame");
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }
}

/// Sends `request`, which must end its connection, to `address` and returns the whole response.
pub(crate) async fn answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    stream.write_all(request.as_bytes()).await.expect("written");

    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer))
        .await
        .expect("an answer");

    String::from_utf8(answer).expect("text")
}

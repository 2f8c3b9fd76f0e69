//! permessage-deflate (RFC 7692): only clients that negotiated it get compressed messages.

use std::fmt::Write;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::eventually::soon;
use crate::harness::Server;
use crate::raw::{Raw, handshake, masked};

/// The offer of browsers.
const OFFER: &str = "permessage-deflate; client_max_window_bits";
/// The end of a deflate block that frames omit (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Compresses a message as a client does.
fn deflate(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    let mut compress = Compress::new(Compression::best(), false);
    compress
        .compress_vec(message, &mut out, FlushCompress::Sync)
        .expect("compressed");
    out.truncate(out.len() - TAIL.len());

    out
}

/// Decompresses the payload of a frame.
fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    let whole = [payload, &TAIL].concat();
    Decompress::new(false)
        .decompress_vec(&whole, &mut out, FlushDecompress::Sync)
        .expect("inflated");
    out
}

/// Opens a connection with `offer`; returns it and the head of the response in lower case.
async fn open(server: &Server, id: &str, offer: &str) -> (Raw, String) {
    open_as(server, id, offer, None).await
}

/// Opens a connection with `offer` and `subprotocol`; returns it and the head of the response in lower case.
async fn open_as(
    server: &Server,
    id: &str,
    offer: &str,
    subprotocol: Option<&str>,
) -> (Raw, String) {
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
    let mut request = handshake(server.address, &format!("id={id}&room=lobby"), subprotocol);

    request.truncate(request.len() - 2);
    write!(request, "Sec-WebSocket-Extensions: {offer}\r\n\r\n").expect("text");
    stream.write_all(request.as_bytes()).await.expect("written");

    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.expect("an answer"));
    }

    (
        Raw { stream },
        String::from_utf8(head).expect("text").to_lowercase(),
    )
}

#[tokio::test]
async fn only_clients_that_offered_compression_get_compressed_messages() {
    let server = Server::start(&["--compression", "on"]);

    let (mut ann, head) = open(&server, "ann", OFFER).await;
    assert!(
        head.contains("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        "{head}"
    );

    let mut bob = server.join("bob").await;

    let long = r#"{"price":1,"size":2}"#.repeat(50);

    for round in 0..3 {
        bob.send(long.clone()).await;
        assert_eq!(bob.text().await, long);

        let (first, payload) = ann.frame().await;
        assert_eq!(first, 0xC1, "round {round}");
        assert_eq!(
            inflate(&payload),
            long.clone().into_bytes(),
            "round {round}"
        );
        assert!(payload.len() < long.len() / 4, "{} bytes", payload.len());
    }

    bob.send("short").await;
    assert_eq!(
        ann.frame().await,
        (0x81, b"short".to_vec()),
        "too short to compress"
    );

    ann.write(&masked(0xC1, &deflate(long.as_bytes()))).await;
    assert_eq!(bob.text().await, "short");
    assert_eq!(bob.text().await, long);
}

#[tokio::test]
async fn a_message_that_inflates_beyond_the_limit_closes_only_its_sender_with_1009() {
    let server = Server::start(&["--compression", "on", "--max-message", "64KiB"]);

    let (mut ann, _) = open(&server, "ann", OFFER).await;
    let mut bob = server.join("bob").await;

    let before = server.resident_bytes();
    ann.write(&masked(0xC1, &deflate(&vec![b'a'; 8 << 20])))
        .await;
    assert_eq!(ann.close_code().await, 1009);
    assert!(
        server.resident_bytes() < before + (4 << 20),
        "the message is not inflated first"
    );

    bob.send("still here").await;
    assert_eq!(bob.text().await, "still here");
}

#[tokio::test]
async fn a_flood_of_compressed_frames_without_messages_is_closed_with_4001() {
    let server = Server::start(&["--compression", "on"]);

    let (mut ann, _) = open_as(&server, "ann", OFFER, Some("fanfare.v1")).await;
    let junk = format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(380_000));

    let frame = masked(0xC1, &deflate(junk.as_bytes()));
    assert!(frame.len() < 1000, "{} bytes", frame.len());

    // 76 MB when inflated. The limit is 16 MiB at once and 4 MiB a second.
    ann.write(&frame.repeat(200)).await;
    let mut pongs = 0;

    let code = loop {
        let (first, payload) = ann.frame().await;
        match first & 0x0F {
            8 => break u16::from_be_bytes([payload[0], payload[1]]),
            _ => pongs += usize::from(payload == br#"{"type":"pong"}"#),
        }
    };
    assert_eq!(code, 4001);
    assert!((40..150).contains(&pongs), "{pongs} of 200 were answered");

    let mut bob = server.join("bob").await;
    bob.send("still here").await;
    assert_eq!(bob.text().await, "still here");
}

#[tokio::test]
async fn by_default_no_offer_is_accepted_and_a_compressed_frame_is_closed_with_1002() {
    let server = Server::start(&[]);
    let (mut ann, head) = open(&server, "ann", OFFER).await;
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    ann.write(&masked(0xC1, &deflate(b"hello"))).await;
    assert_eq!(ann.close_code().await, 1002);
}

#[tokio::test]
async fn an_offer_that_cannot_be_met_is_declined_and_the_connection_stays_open() {
    let server = Server::start(&["--compression", "on"]);

    let (mut ann, head) = open(
        &server,
        "ann",
        "permessage-deflate; server_max_window_bits=9, x-other",
    )
    .await;
    assert!(!head.contains("sec-websocket-extensions"), "{head}");

    let long = "word ".repeat(100);
    ann.write(&masked(0x81, long.as_bytes())).await;
    assert_eq!(ann.frame().await, (0x81, long.into_bytes()));
}

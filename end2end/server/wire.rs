//! RFC 6455 as a client sees it. The decoder has unit tests for every frame; these tests check that the answer reaches
//! the client.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::eventually::soon;
use crate::harness::Server;
use crate::raw::{handshake, masked};

#[tokio::test]
async fn each_invalid_frame_is_answered_with_its_close_code() {
    let server = Server::start(&["--max-message", "1KiB"]);

    let cases: &[(&str, Vec<u8>, u16)] = &[
        ("a reserved bit", masked(0xC1, b"x"), 1002),
        ("a reserved opcode", masked(0x83, b"x"), 1002),
        ("no mask", vec![0x81, 0x01, b'x'], 1002),
        ("a fragmented ping", masked(0x09, b"x"), 1002),
        ("a long ping", masked(0x89, &[0; 126]), 1002),
        ("a continuation of nothing", masked(0x80, b"x"), 1002),
        (
            "text in text",
            [masked(0x01, b"x"), masked(0x81, b"y")].concat(),
            1002,
        ),
        (
            "endless empty fragments",
            [masked(0x01, b""), masked(0x00, b"").repeat(5000)].concat(),
            1002,
        ),
        ("a close of one byte", masked(0x88, b"x"), 1002),
        (
            "a forbidden close code",
            masked(0x88, &1006u16.to_be_bytes()),
            1002,
        ),
        ("text that is no UTF-8", masked(0x81, &[0xFF]), 1007),
        ("a message of 1025 bytes", masked(0x82, &[0; 1025]), 1009),
        (
            "fragments of 1025 bytes",
            [masked(0x02, &[0; 1000]), masked(0x80, &[0; 25])].concat(),
            1009,
        ),
        (
            "a declared terabyte",
            [&[0x82, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0][..], &[1, 2, 3, 4, 5]].concat(),
            1009,
        ),
    ];

    for (name, bytes, code) in cases {
        let mut raw = server.raw().await;
        raw.write(bytes).await;
        // More than the server reads: the Close frame must still arrive.
        raw.write(&masked(0x82, &[0; 60_000])).await;
        assert_eq!(raw.close_code().await, *code, "{name}");
    }
}

#[tokio::test]
async fn a_ping_is_answered_with_its_own_payload_and_only_to_its_sender() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;
    let mut bob = server.join("bob").await;

    ann.send(Message::Ping("payload".into())).await;
    assert_eq!(ann.frame().await, Message::Pong("payload".into()));

    ann.send("a message").await;
    assert_eq!(bob.frame().await, Message::text("a message"));
}

#[tokio::test]
async fn a_fragmented_message_arrives_whole_with_pings_answered_between() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;
    let mut raw = server.raw().await;

    for byte in [
        masked(0x01, "é".as_bytes()),
        masked(0x89, b"now"),
        masked(0x80, "世界".as_bytes()),
    ]
    .concat()
    {
        raw.write(&[byte]).await;
    }

    assert_eq!(raw.frame().await, (0x8A, b"now".to_vec()));
    assert_eq!(raw.frame().await, (0x81, "é世界".as_bytes().to_vec()));
    assert_eq!(ann.text().await, "é世界");
}

#[tokio::test]
async fn a_clients_close_is_answered_with_its_own_code() {
    let server = Server::start(&[]);
    for code in [1000u16, 1001, 3000, 4999] {
        let mut raw = server.raw().await;
        raw.write(&masked(0x88, &code.to_be_bytes())).await;
        assert_eq!(raw.close_code().await, code);
    }

    let mut raw = server.raw().await;
    raw.write(&masked(0x88, b"")).await;
    assert_eq!(raw.frame().await, (0x88, Vec::new()));
}

#[tokio::test]
async fn a_message_sent_just_before_a_close_is_delivered() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;
    let mut raw = server.raw().await;

    raw.write(
        &[
            masked(0x81, b"last words"),
            masked(0x88, &1000u16.to_be_bytes()),
        ]
        .concat(),
    )
    .await;
    assert_eq!(ann.text().await, "last words");
    assert_eq!(raw.close_code().await, 1000);
}

#[tokio::test]
async fn frames_sent_together_with_the_handshake_are_not_lost() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann").await;

    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
    let mut bytes = handshake(server.address, "id=eager", None).into_bytes();
    bytes.extend(masked(0x81, b"eager"));
    stream.write_all(&bytes).await.expect("written");

    assert_eq!(ann.text().await, "eager");
}

#[tokio::test]
async fn a_handshake_with_a_body_is_refused() {
    let server = Server::start(&[]);
    let request = handshake(server.address, "id=eager", None);
    let head = request.trim_end();

    for body in [
        "Content-Length: 5\r\n\r\neager",
        "Transfer-Encoding: chunked\r\n\r\n5\r\neager\r\n0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address)
            .await
            .expect("the server listens");
        let mut answer = String::new();

        soon(stream.write_all(format!("{head}\r\n{body}").as_bytes()))
            .await
            .expect("written");
        soon(stream.shutdown()).await.expect("shut down");
        soon(stream.read_to_string(&mut answer))
            .await
            .expect("an answer and the end");

        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("bad_handshake"), "{answer}");
        assert!(answer.contains("must have no body"), "{answer}");
    }
}

#[tokio::test]
async fn messages_of_every_length_up_to_16_mib_pass_whole_and_in_fragments() {
    const LARGEST: usize = 16 << 20;

    let server = Server::start(&["--max-message", "16MiB"]);
    let mut ann = server.join("ann").await;
    let mut raw = server.raw().await;

    for length in [
        0,
        1,
        125,
        126,
        127,
        128,
        65_535,
        65_536,
        65_537,
        1 << 20,
        LARGEST,
    ] {
        let message = Message::binary(vec![0x5A; length]);
        ann.send(message.clone()).await;
        assert!(ann.next().await == message, "{length} bytes");

        let (first, payload) = raw.frame().await;
        assert!(first == 0x82, "{length} bytes");
        assert!(payload.len() == length, "{length} bytes");
        assert!(payload.iter().all(|byte| *byte == 0x5A), "{length} bytes");
    }

    for piece in [64, 1024, 60_000] {
        let pieces = LARGEST / 16 / piece;
        raw.write(&masked(0x02, &vec![1; piece])).await;
        let middle = masked(0x00, &vec![1; piece]);

        for _ in 2..pieces {
            raw.write(&middle).await;
        }

        raw.write(&masked(0x80, &vec![1; piece])).await;
        assert!(
            ann.next().await == Message::binary(vec![1; pieces * piece]),
            "pieces of {piece} bytes"
        );
        assert_eq!(raw.frame().await.1.len(), pieces * piece);
    }

    let mut large = server.join("large").await;
    large.send(Message::binary(vec![0; LARGEST + 1])).await;
    assert_eq!(large.close_code().await, 1009);
}

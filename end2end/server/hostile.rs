//! A hundred hostile clients of each kind: other clients lose nothing, and the memory of the server stays bounded.
//!
//! Each attack lasts 2 seconds, or `FANFARE_ATTACK_SECONDS`. With that variable the latency of other clients is checked
//! too, so the machine must be otherwise idle.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;

use crate::attack::{Attack, AttackKind, Target};
use crate::eventually::{eventually, soon};
use crate::harness::{Peer, Server};
use crate::tls_server::TlsServer;

/// The growth of the server's memory that an attack may cause.
const ROOM_BYTES: u64 = 64 << 20;
/// The difference between two latencies that the scheduler may cause.
const NOISE: Duration = Duration::from_micros(100);

/// Attacks a server with a hundred attackers of `kind` while two other clients talk.
async fn survives(kind: AttackKind) {
    let server = Server::start(&["--log-level", "error"]);
    let ann = server.join_with("id=ann&room=quiet").await;
    let bob = server.join_with("id=bob&room=quiet").await;

    attack(kind, &server, None, ann, bob).await;
}

/// Attacks a server with TLS like [`survives`].
async fn survives_with_tls(kind: AttackKind) {
    let server = TlsServer::start(&["--log-level", "error"]);
    let ann = server.join("id=ann&room=quiet").await;
    let bob = server.join("id=bob&room=quiet").await;

    let authority = Some(server.authority.file());
    attack(kind, &server, authority, ann, bob).await;
}

/// Attacks `server`, whose certificate is from `authority` if it has one, while `ann` and `bob` talk.
async fn attack<S: AsyncRead + AsyncWrite + Unpin>(
    kind: AttackKind,
    server: &Server,
    authority: Option<PathBuf>,
    mut ann: Peer<S>,
    mut bob: Peer<S>,
) {
    let long = std::env::var("FANFARE_ATTACK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let target = Target {
        address: server.address,
        authority,
    };

    let before = server.resident_bytes();
    let calm = talk(
        &mut ann,
        &mut bob,
        Duration::from_secs(long.map_or(1, |_| 5)),
        server,
    )
    .await;

    let mut attack = Attack::start(kind, &target);
    let attacked = talk(
        &mut ann,
        &mut bob,
        Duration::from_secs(long.unwrap_or(2)),
        server,
    )
    .await;

    assert!(attack.is_running());

    let most = attacked.most_bytes;
    assert!(
        most.saturating_sub(before) < ROOM_BYTES,
        "memory grew from {before} to {most} bytes"
    );

    // Shown with `--nocapture`.
    println!(
        "{kind:?}: 99th percentile {:.2?} without and {:.2?} with the attack; memory +{} kB",
        calm.p99,
        attacked.p99,
        most.saturating_sub(before) / 1024
    );

    if long.is_some() {
        assert!(
            attacked.p99 < calm.p99 * 2 + NOISE,
            "{:?} became {:?}",
            calm.p99,
            attacked.p99
        );
    }
}

/// Measurements of a conversation: the 99th percentile of the latency, and the greatest memory of the server.
struct Talk {
    p99: Duration,
    most_bytes: u64,
}

/// Sends messages from one client to another for `length`.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    ann: &mut Peer<S>,
    bob: &mut Peer<S>,
    length: Duration,
    server: &Server,
) -> Talk {
    let end = Instant::now() + length;
    let mut times = Vec::new();
    let mut most_bytes = 0;

    while Instant::now() < end {
        let text = times.len().to_string();
        let began = Instant::now();
        ann.send(text.clone()).await;
        assert_eq!(ann.text().await, text);
        assert_eq!(bob.text().await, text);
        times.push(began.elapsed());
        most_bytes = most_bytes.max(server.resident_bytes());
    }

    times.sort_unstable();
    Talk {
        p99: times[times.len() * 99 / 100],
        most_bytes,
    }
}

#[tokio::test]
async fn half_requests_do_not_affect_others() {
    survives(AttackKind::HalfRequests).await;
}

#[tokio::test]
async fn ping_floods_that_never_read_do_not_affect_others() {
    survives(AttackKind::Pings).await;
}

#[tokio::test]
async fn endless_empty_fragments_do_not_affect_others() {
    survives(AttackKind::EmptyFragments).await;
}

#[tokio::test]
async fn unfinished_messages_do_not_affect_others() {
    survives(AttackKind::UnfinishedMessages).await;
}

#[tokio::test]
async fn one_byte_a_second_does_not_affect_others() {
    survives(AttackKind::OneByteASecond).await;
}

#[tokio::test]
async fn unmasked_frames_do_not_affect_others() {
    survives(AttackKind::UnmaskedFrames).await;
}

#[tokio::test]
async fn huge_declared_lengths_do_not_affect_others() {
    survives(AttackKind::HugeLengths).await;
}

#[tokio::test]
async fn a_flood_of_joins_does_not_affect_others() {
    survives(AttackKind::Joins).await;
}

#[tokio::test]
async fn during_a_flood_of_joins_from_one_address_another_address_connects() {
    let server = Server::start(&["--log-level", "error", "--connect-burst", "100"]);

    let target = Target {
        address: server.address,
        authority: None,
    };
    let _attack = Attack::start(AttackKind::Joins, &target);
    let join = async || server.try_join("id=here", &[]).await.err();
    eventually(join, Option::is_some).await;

    let elsewhere = TcpSocket::new_v4().expect("a socket");
    elsewhere
        .bind(SocketAddr::from(([127, 0, 0, 2], 0)))
        .expect("all of 127/8 is this machine");
    let stream = soon(elsewhere.connect(server.address))
        .await
        .expect("the server listens");
    soon(tokio_tungstenite::client_async(
        server.socket_url("id=elsewhere"),
        stream,
    ))
    .await
    .expect("accepted");
}

/// The same attacks on a server with TLS, and those on TLS itself.
mod with_tls {
    use super::{AttackKind, survives_with_tls};

    #[tokio::test]
    async fn half_requests_do_not_affect_others() {
        survives_with_tls(AttackKind::HalfRequests).await;
    }

    #[tokio::test]
    async fn ping_floods_that_never_read_do_not_affect_others() {
        survives_with_tls(AttackKind::Pings).await;
    }

    #[tokio::test]
    async fn endless_empty_fragments_do_not_affect_others() {
        survives_with_tls(AttackKind::EmptyFragments).await;
    }

    #[tokio::test]
    async fn unfinished_messages_do_not_affect_others() {
        survives_with_tls(AttackKind::UnfinishedMessages).await;
    }

    #[tokio::test]
    async fn one_byte_a_second_does_not_affect_others() {
        survives_with_tls(AttackKind::OneByteASecond).await;
    }

    #[tokio::test]
    async fn unmasked_frames_do_not_affect_others() {
        survives_with_tls(AttackKind::UnmaskedFrames).await;
    }

    #[tokio::test]
    async fn huge_declared_lengths_do_not_affect_others() {
        survives_with_tls(AttackKind::HugeLengths).await;
    }

    #[tokio::test]
    async fn a_flood_of_joins_does_not_affect_others() {
        survives_with_tls(AttackKind::Joins).await;
    }

    #[tokio::test]
    async fn unfinished_handshakes_do_not_affect_others() {
        survives_with_tls(AttackKind::HalfHandshakes).await;
    }

    #[tokio::test]
    async fn unfinished_records_do_not_affect_others() {
        survives_with_tls(AttackKind::HalfRecords).await;
    }
}

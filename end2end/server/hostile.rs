//! Clients that mean harm, a hundred of each kind: others lose nothing, and memory stays where it was.
//!
//! Each attack lasts 2 seconds, or `FANFARE_ATTACK_SECONDS`. Who sets that is taken to have a quiet machine:
//! then the times of others are a promise too.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use crate::attack::{Attack, Kind};
use crate::harness::{Peer, Server, soon};

/// What an attack may add to the server's memory.
const ROOM_BYTES: u64 = 64 << 20;
/// Two times closer than this are the same: the difference is the scheduler's.
const NOISE: Duration = Duration::from_micros(100);

/// Lets a hundred attackers of `kind` loose on a server while two others talk.
async fn survives(kind: Kind) {
    let long = std::env::var("FANFARE_ATTACK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let mut server = Server::start(&["--log-level", "error"]);
    let mut ann = server.join_with("id=ann&room=quiet").await;
    let mut bob = server.join_with("id=bob&room=quiet").await;
    let before = server.resident_bytes();
    let calm = talk(
        &mut ann,
        &mut bob,
        Duration::from_secs(long.map_or(1, |_| 5)),
        &server,
    )
    .await;
    let mut attack = Attack::start(kind, server.address);
    let attacked = talk(
        &mut ann,
        &mut bob,
        Duration::from_secs(long.unwrap_or(2)),
        &server,
    )
    .await;
    assert!(attack.goes_on() && server.is_running());
    let most = attacked.most_bytes;
    assert!(
        most.saturating_sub(before) < ROOM_BYTES,
        "memory grew from {before} to {most} bytes"
    );
    // Shown with `--nocapture`.
    println!(
        "{kind:?}: 99th percentile {:.2?} in peace, {:.2?} under attack; memory +{} kB",
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

/// How it went for two who talk: the 99th percentile of saying and hearing, and the server's greatest size.
struct Talk {
    p99: Duration,
    most_bytes: u64,
}

async fn talk(ann: &mut Peer, bob: &mut Peer, length: Duration, server: &Server) -> Talk {
    let end = Instant::now() + length;
    let (mut times, mut most_bytes) = (Vec::new(), 0);
    while Instant::now() < end {
        let (said, began) = (times.len().to_string(), Instant::now());
        ann.send(said.clone()).await;
        assert_eq!((ann.text().await, bob.text().await), (said.clone(), said));
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
async fn half_requests_cost_others_nothing() {
    survives(Kind::HalfRequests).await;
}

#[tokio::test]
async fn ping_floods_that_never_read_cost_others_nothing() {
    survives(Kind::Pings).await;
}

#[tokio::test]
async fn endless_empty_fragments_cost_others_nothing() {
    survives(Kind::EmptyFragments).await;
}

#[tokio::test]
async fn unfinished_messages_cost_others_nothing() {
    survives(Kind::UnfinishedMessages).await;
}

#[tokio::test]
async fn one_byte_a_second_costs_others_nothing() {
    survives(Kind::OneByteASecond).await;
}

#[tokio::test]
async fn unmasked_frames_cost_others_nothing() {
    survives(Kind::UnmaskedFrames).await;
}

#[tokio::test]
async fn huge_declared_lengths_cost_others_nothing() {
    survives(Kind::HugeLengths).await;
}

#[tokio::test]
async fn a_storm_of_joins_costs_others_nothing() {
    survives(Kind::Joins).await;
}

#[tokio::test]
async fn during_a_storm_of_joins_from_one_address_another_address_gets_in() {
    let server = Server::start(&["--log-level", "error", "--connect-burst", "100"]);
    let _attack = Attack::start(Kind::Joins, server.address);
    soon(async { while server.try_join("id=here", &[]).await.is_ok() {} }).await;
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
    .expect("let in");
}

//! Clients that mean harm, a hundred of each kind: others lose nothing, and memory stays where it was.
//!
//! Each attack lasts `FANFARE_ATTACK_SECONDS` (2 without it; 30 for a long run).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Peer, Server};
use crate::raw::{Raw, masked};

const ATTACKERS: usize = 100;
/// What an attack may add to the server's memory.
const ROOM_BYTES: u64 = 64 << 20;

/// Tells attackers that it is over.
#[derive(Clone)]
struct Attack {
    address: std::net::SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Attack {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    async fn raw(&self) -> Raw {
        Raw::open(self.address, "id=eve&room=lobby", None).await
    }

    /// Sends `bytes` again and again until the server has enough or it is over.
    async fn flood(&self, bytes: &[u8]) {
        let mut raw = self.raw().await;
        while self.goes_on() {
            let sent = tokio::time::timeout(Duration::from_millis(100), raw.stream.write_all(bytes)).await;
            if matches!(sent, Ok(Err(_))) {
                raw = self.raw().await;
            } else if sent.is_err() {
                // The server does not read on, and a cut-off frame would end the attack: hold what it holds.
                while self.goes_on() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Opens with `bytes` and then says nothing more.
    async fn hold(&self, bytes: &[u8]) {
        let mut raw = self.raw().await;
        raw.write(bytes).await;
        while self.goes_on() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Lets a hundred of `attacker` loose on a server while two others talk.
async fn survives<F>(attacker: impl Fn(Attack) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let seconds =
        std::env::var("FANFARE_ATTACK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let mut server = Server::start(&["--log-level", "error", "--max-connections-per-ip", "100000"]);
    let mut ann = server.join_with("id=ann&room=quiet").await;
    let mut bob = server.join_with("id=bob&room=quiet").await;
    let before = server.resident_bytes();
    let calm = talk(&mut ann, &mut bob, Duration::from_secs(1), &server).await;
    let attack = Attack { address: server.address, is_over: Arc::default() };
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        attackers.spawn(attacker(attack.clone()));
    }
    let attacked = talk(&mut ann, &mut bob, Duration::from_secs(seconds), &server).await;
    attack.is_over.store(true, Ordering::Relaxed);
    attackers.shutdown().await;
    assert!(server.is_running());
    let most = attacked.most_bytes;
    assert!(most.saturating_sub(before) < ROOM_BYTES, "memory grew from {before} to {most} bytes");
    // Shown with `--nocapture`; a time is no test.
    println!(
        "99th percentile {:.2?} in peace, {:.2?} under attack; memory +{} kB",
        calm.p99,
        attacked.p99,
        most.saturating_sub(before) / 1024
    );
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
    Talk { p99: times[times.len() * 99 / 100], most_bytes }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_requests_cost_others_nothing() {
    survives(|attack| async move {
        while attack.goes_on() {
            let Ok(mut stream) = TcpStream::connect(attack.address).await else { continue };
            let _gone = stream.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\n").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_floods_that_never_read_cost_others_nothing() {
    let pings = masked(0x89, &[0; 125]).repeat(100);
    survives(move |attack| {
        let pings = pings.clone();
        async move { attack.flood(&pings).await }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_empty_fragments_cost_others_nothing() {
    let start = masked(0x01, b"");
    let pieces = [start, masked(0x00, b"").repeat(200)].concat();
    survives(move |attack| {
        let pieces = pieces.clone();
        async move { attack.flood(&pieces).await }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_messages_cost_others_nothing() {
    let begun = [masked(0x01, &[b'x'; 60_000]), masked(0x00, b"and")].concat();
    survives(move |attack| {
        let begun = begun.clone();
        async move { attack.hold(&begun).await }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_at_a_time_costs_others_nothing() {
    survives(|attack| async move {
        let mut raw = attack.raw().await;
        for byte in masked(0x81, &[b'x'; 60_000]) {
            if !attack.goes_on() || raw.stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unmasked_frames_cost_others_nothing() {
    survives(|attack| async move { attack.flood(b"\x81\x05hello").await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_declared_lengths_cost_others_nothing() {
    survives(|attack| async move {
        while attack.goes_on() {
            let mut raw = attack.raw().await;
            raw.write(&[0x82, 0xFF, 0x00, 0x00, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 5]).await;
            assert_eq!(raw.close_code().await, 1009);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_joins_costs_others_nothing() {
    survives(|attack| async move {
        while attack.goes_on() {
            drop(attack.raw().await);
        }
    })
    .await;
}

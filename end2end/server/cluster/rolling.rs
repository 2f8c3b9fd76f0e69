//! A rolling restart: thousands of clients on three nodes, which are restarted one after another while messages are
//! published. Long: `make test-long`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;

use crate::cluster::{log, publish_all};
use crate::harness::{Peer, Server};
use crate::nats::Nats;
use crate::typed::join;

const CLIENTS: usize = 2000;
const NODES: usize = 3;
/// The time in which all clients of a stopped node reconnect.
const BACK_WITHIN: Duration = Duration::from_secs(25);

/// The largest number of reconnects in one second: a drain schedules one client every 2 ms, and the rest is a margin.
const MOST_A_SECOND: usize = 500 + 200;

/// Runs a client that reconnects to the next node after the pause of the `drain` frame, with its position; returns the
/// offsets that it received.
async fn run_client(
    nodes: Arc<[parking_lot::Mutex<Arc<Server>>; NODES]>,
    number: usize,
    done: Arc<AtomicBool>,
    back: mpsc::UnboundedSender<Instant>,
) -> Vec<u64> {
    let mut received: Vec<u64> = Vec::new();
    let mut epoch = String::new();

    for attempt in 0.. {
        let node = nodes[(number + attempt) % NODES].lock().clone();
        let resume = match received.last() {
            Some(last) => format!("&after={last}&epoch={epoch}"),
            None if epoch.is_empty() => String::new(),
            None => format!("&after=0&epoch={epoch}"),
        };
        let query = format!("id=client-{number}{resume}");

        let Ok(mut peer) = node
            .try_join(&query, &[("sec-websocket-protocol", "fanfare.v1")])
            .await
        else {
            // A refused client waits before it tries again.
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        };

        let mut pause = Duration::from_millis(100);

        while let Some(frame) = frame(&mut peer, &done).await {
            match frame["type"].as_str() {
                Some("subscribed") => {
                    assert!(attempt == 0 || frame["recovery"] != "lost", "{frame}");
                    frame["epoch"]
                        .as_str()
                        .expect("text")
                        .clone_into(&mut epoch);
                    // The receiver is dropped when all clients are counted.
                    let _ = back.send(Instant::now());
                }
                Some("message") => {
                    let prev = frame["prev"].as_u64().expect("an offset");
                    assert!(
                        received.last().is_none_or(|last| *last == prev),
                        "client {number}: {frame} after {received:?}"
                    );
                    received.push(frame["offset"].as_u64().expect("an offset"));
                }
                Some("gap") => panic!("{frame}"),
                Some("drain") => {
                    pause = Duration::from_millis(
                        frame["reconnect_after_ms"].as_u64().expect("a time"),
                    );
                }
                _ => {}
            }
        }

        if done.load(Ordering::Acquire) {
            return received;
        }

        // The pause that the server requested.
        tokio::time::sleep(pause).await;
    }

    received
}

/// Returns the next frame; `None` when the connection has ended, or when `done` is set and no frame comes.
async fn frame(peer: &mut Peer, done: &AtomicBool) -> Option<Value> {
    loop {
        match tokio::time::timeout(Duration::from_secs(2), peer.text_or_end()).await {
            Ok(text) => return serde_json::from_str(&text?).ok(),
            Err(_) if done.load(Ordering::Acquire) => return None,
            Err(_) => {}
        }
    }
}

#[ignore = "long: make test-long"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_and_repeats_nothing() {
    rlimit::increase_nofile_limit(u64::MAX).expect("as many files as the system gives");
    let nats = Nats::start().await;

    let flags = &["--max-connections-per-ip", "100000", "--log-level", "warn"][..];
    let start = || parking_lot::Mutex::new(Arc::new(Nats::node_by(nats.port, flags)));

    let nodes: Arc<[_; NODES]> = Arc::new(std::array::from_fn(|_| start()));
    let done = Arc::new(AtomicBool::new(false));
    let (back, mut came) = mpsc::unbounded_channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            tokio::spawn(run_client(
                nodes.clone(),
                number,
                done.clone(),
                back.clone(),
            ))
        })
        .collect();

    for _client in 0..CLIENTS {
        came.recv().await.expect("all connect");
    }

    // Messages are published all the time, on a node that is not restarted.
    let quiet = Nats::node_by(nats.port, flags);
    let (mut speaker, _) = join(&quiet, "id=speaker").await;
    let speaking = {
        let done = done.clone();
        tokio::spawn(async move {
            let mut acked = Vec::new();

            for number in 0.. {
                let text = format!("text {number}");
                acked.extend(publish_all(&mut speaker, &[text], 1).await.into_values());
                // The load of the test: four messages a second.
                tokio::time::sleep(Duration::from_millis(250)).await;
                if done.load(Ordering::Acquire) {
                    break;
                }
            }

            acked
        })
    };

    for node in nodes.iter() {
        let gone = node.lock().clone();
        let began = Instant::now();
        gone.signal("TERM");
        *node.lock() = Arc::new(Nats::node_by(nats.port, flags));

        let mut seconds = vec![0usize; BACK_WITHIN.as_secs() as usize + 1];
        let mut returned = 0;

        // About a third of the clients were on the stopped node.
        while let Ok(Some(when)) = tokio::time::timeout(Duration::from_secs(5), came.recv()).await {
            let after = when.duration_since(began);
            assert!(
                after < BACK_WITHIN,
                "a client reconnected only after {after:?}"
            );
            seconds[after.as_secs() as usize] += 1;
            returned += 1;
        }

        let busiest = seconds.iter().max().copied().unwrap_or_default();
        println!("{returned} came back, at most {busiest} in one second: {seconds:?}");
        assert!(returned >= CLIENTS / NODES / 2, "{returned}");
        assert!(busiest <= MOST_A_SECOND, "no thundering herd: {seconds:?}");
    }

    done.store(true, Ordering::Release);
    let acked = speaking.await.expect("no panic");

    let stored: Vec<u64> = log(&quiet, "lobby")
        .await
        .iter()
        .map(|message| message["offset"].as_u64().expect("one"))
        .collect();
    assert_eq!(acked, stored, "each once, in order");

    for client in clients {
        let received = client.await.expect("no panic");
        assert!(
            stored.ends_with(&received),
            "{} of {}",
            received.len(),
            stored.len()
        );
        assert!(
            received.len() == stored.len(),
            "{} of {}",
            received.len(),
            stored.len()
        );
    }
}

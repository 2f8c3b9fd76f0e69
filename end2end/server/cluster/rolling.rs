//! A rolling restart: thousands of clients on three nodes, each of which is stopped and started in turn while
//! somebody speaks. Long: `make test-long`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;

use crate::cluster::{Nats, log, say_all};
use crate::harness::{Peer, Server};
use crate::typed::join;

const CLIENTS: usize = 2000;
const NODES: usize = 3;
/// How soon everybody who was sent away must be back.
const BACK_WITHIN: Duration = Duration::from_secs(25);

/// Clients that a server sends away are told to come back at one for each two milliseconds; and some for chance.
const MOST_A_SECOND: usize = 500 + 200;

/// A client as it should be: it comes back when it was told to, at another node, with its position.
async fn follow(
    nodes: Arc<[parking_lot::Mutex<Arc<Server>>; NODES]>,
    number: usize,
    done: Arc<AtomicBool>,
    back: mpsc::UnboundedSender<Instant>,
) -> Vec<u64> {
    let mut heard: Vec<u64> = Vec::new();
    let mut epoch = String::new();
    for attempt in 0.. {
        let node = nodes[(number + attempt) % NODES].lock().clone();
        let resume = match heard.last() {
            Some(last) => format!("&after={last}&epoch={epoch}"),
            None if epoch.is_empty() => String::new(),
            None => format!("&after=0&epoch={epoch}"),
        };
        let query = format!("id=client-{number}{resume}");
        let Ok(mut peer) = node
            .try_join(&query, &[("sec-websocket-protocol", "fanfare.v1")])
            .await
        else {
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        };
        let mut pause = Duration::from_millis(100);
        while let Some(frame) = frame(&mut peer, &done).await {
            match frame["type"].as_str() {
                Some("welcome") => {
                    assert!(attempt == 0 || frame["recovery"] != "lost", "{frame}");
                    frame["epoch"]
                        .as_str()
                        .expect("text")
                        .clone_into(&mut epoch);
                    // Nobody receives any more once all have been counted.
                    let _counted = back.send(Instant::now());
                }
                Some("message") => {
                    let prev = frame["prev"].as_u64().expect("an offset");
                    assert!(
                        heard.last().is_none_or(|last| *last == prev),
                        "client {number}: {frame} after {heard:?}"
                    );
                    heard.push(frame["offset"].as_u64().expect("an offset"));
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
            return heard;
        }
        tokio::time::sleep(pause).await;
    }
    heard
}

/// The next frame; none when the connection has ended, or all is said and heard.
async fn frame(peer: &mut Peer, done: &AtomicBool) -> Option<Value> {
    loop {
        match tokio::time::timeout(Duration::from_secs(2), peer.text_or_end()).await {
            Ok(text) => return serde_json::from_str(&text?).ok(),
            Err(_quiet) if done.load(Ordering::Acquire) => return None,
            Err(_quiet) => {}
        }
    }
}

#[ignore = "long: make test-long"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_restarted_one_by_one_and_nothing_is_lost_or_doubled() {
    rlimit::increase_nofile_limit(u64::MAX).expect("as many files as the system gives");
    let nats = Nats::start().await;
    let flags = &["--max-connections-per-ip", "100000", "--log-level", "warn"][..];
    let start = || parking_lot::Mutex::new(Arc::new(Nats::node_by(nats.port, flags)));
    let nodes: Arc<[_; NODES]> = Arc::new(std::array::from_fn(|_| start()));
    let done = Arc::new(AtomicBool::new(false));
    let (back, mut came) = mpsc::unbounded_channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(follow(nodes.clone(), number, done.clone(), back.clone())))
        .collect();
    for _client in 0..CLIENTS {
        came.recv().await.expect("all come");
    }
    // Somebody speaks all the while, at a node that is not restarted: the test needs one fixed place.
    let quiet = Nats::node_by(nats.port, flags);
    let (mut speaker, _) = join(&quiet, "id=speaker").await;
    let speaking = {
        let done = done.clone();
        tokio::spawn(async move {
            let mut acked = Vec::new();
            for number in 0.. {
                let text = format!("text {number}");
                acked.extend(say_all(&mut speaker, &[text], 1).await.into_values());
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
        // Whoever was there: about a third, the exact number is what the others do not have.
        while let Ok(Some(when)) = tokio::time::timeout(Duration::from_secs(5), came.recv()).await {
            let after = when.duration_since(began);
            assert!(
                after < BACK_WITHIN,
                "somebody was back only after {after:?}"
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
    let acked = speaking.await.expect("said");
    let stored: Vec<u64> = log(&quiet, "lobby")
        .await
        .iter()
        .map(|message| message["offset"].as_u64().expect("one"))
        .collect();
    assert_eq!(acked, stored, "each once, in order");
    for client in clients {
        let heard = client.await.expect("it heard all");
        assert!(
            stored.ends_with(&heard) && heard.len() == stored.len(),
            "{} of {}",
            heard.len(),
            stored.len()
        );
    }
}

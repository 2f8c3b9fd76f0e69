//! The clients, and the moments in which all of them are cut off.
//!
//! A client is cut off as by a network that breaks: its socket is dropped without a Close frame, and it comes
//! back at once with the position that it has. Its publishes are repeated with their keys.

use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::Plan;
use super::witness::{Faults, Stored, Witness};
use crate::cli::client::{Cursor, Link, News, Next, Outbox, Outcome as Fate};
use crate::cli::output::progress;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::UserId;

/// How long the server may take for what is left to do at the end.
const LAST_WAIT: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) faults: Faults,
    /// Messages that the server said it had stored.
    pub(super) stored: u64,
    /// Of these, those that it had stored before, when it was asked again.
    pub(super) repeated: u64,
    /// Messages without an answer.
    pub(super) unanswered: u64,
    /// Deliveries that should have been.
    pub(super) expected: u64,
    /// How long each client was away, with all that it had missed, sorted.
    pub(super) returns: Vec<Duration>,
    /// Times that a client should have come back.
    pub(super) cuts: u64,
}

impl Outcome {
    /// Whether every promise was kept.
    pub(super) fn is_whole(&self) -> bool {
        self.faults.are_none() && self.unanswered == 0 && self.returns.len() as u64 == self.cuts
    }
}

/// What the clients are told.
#[derive(Clone, Debug, Default)]
struct Orders {
    /// So many storms have there been.
    storms: u32,
    /// Nothing more is published.
    is_over: bool,
    /// The newest stored offset of each room, once all is stored: whoever has it may go.
    last: Option<Vec<Offset>>,
}

pub(super) async fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let (orders, told) = watch::channel(Orders::default());
    let (arrive, mut arrived) = watch::channel(0u32);
    let mut readers = JoinSet::new();
    for number in 0..plan.readers {
        let (client, arrive) = (
            Client::new(plan, number, &format!("reader-{number}"), &told)?,
            arrive.clone(),
        );
        readers.spawn(async move { (number, read(client, number, arrive).await) });
    }
    let all_here = arrived.wait_for(|arrived| *arrived == plan.readers);
    tokio::select! {
        here = timeout(LAST_WAIT, all_here) => { here.context("not all readers could connect")??; }
        Some(ended) = readers.join_next() => { ended?.1?; bail!("a reader ended before its time"); }
    }
    let publishers: Vec<_> = (0..plan.rooms)
        .map(|room| {
            let client = Client::new(plan, room, &format!("publisher-{room}"), &told)?;
            Ok(tokio::spawn(publish(client, plan.clone())))
        })
        .collect::<anyhow::Result<_>>()?;

    for storm in 1..=plan.storms {
        sleep(plan.every).await;
        progress(&format!("storm {storm} of {}", plan.storms));
        orders.send_modify(|orders| orders.storms = storm);
    }
    sleep(plan.every).await;
    progress("\n");
    orders.send_modify(|orders| orders.is_over = true);

    let mut outcome = Outcome::default();
    let mut rooms = Vec::new();
    for published in join_all(publishers).await {
        let Published {
            stored,
            repeated,
            unanswered,
            returns,
        } = published.context("a publisher failed")??;
        outcome.stored += stored.len() as u64;
        outcome.repeated += repeated;
        outcome.unanswered += unanswered;
        outcome.returns.extend(returns);
        rooms.push(stored);
    }
    let last_of = |stored: &Stored| {
        stored
            .last_key_value()
            .map_or(Offset(0), |(offset, _)| *offset)
    };
    let last = rooms.iter().map(last_of).collect();
    orders.send_modify(|orders| orders.last = Some(last));
    while let Some(ended) = readers.join_next().await {
        let (number, seen) = ended.context("a reader failed")?;
        let (witness, returns) = seen?;
        let stored = &rooms[(number % plan.rooms) as usize];
        outcome.expected += stored.len() as u64;
        outcome.faults = outcome.faults + witness.testify(stored);
        outcome.returns.extend(returns);
    }
    outcome.returns.sort_unstable();
    outcome.cuts = u64::from(plan.storms) * u64::from(plan.readers + plan.rooms);
    Ok(outcome)
}

/// One client: what it holds whatever happens to its connection.
struct Client {
    link: Link,
    cursor: Cursor,
    told: watch::Receiver<Orders>,
    /// The storms that it has been through.
    storms: u32,
    /// Since when it is away, or has not all that it missed.
    away: Option<Instant>,
    returns: Vec<Duration>,
}

impl Client {
    fn new(
        plan: &Plan,
        number: u32,
        id: &str,
        told: &watch::Receiver<Orders>,
    ) -> anyhow::Result<Self> {
        // A token says who its holder is: then all are one.
        let id = if plan.pass.is_some() {
            None
        } else {
            Some(UserId::parse(id)?)
        };
        let link = Link::new(
            plan.server.clone(),
            plan.room(number)?,
            id,
            plan.pass.clone(),
        );
        let (cursor, told) = (Cursor::new(None), told.clone());
        Ok(Self {
            link,
            cursor,
            told,
            storms: 0,
            away: None,
            returns: Vec::new(),
        })
    }

    /// Is cut off if there is a new storm; whether there was.
    fn weather(&mut self) -> bool {
        let storms = self.told.borrow_and_update().storms;
        if storms == self.storms {
            return false;
        }
        // One that has not come back from the last storm counts as away since then, and once.
        self.storms = storms;
        self.link.break_off();
        self.cursor.cut_off();
        self.away = Some(Instant::now());
        true
    }

    /// Looks whether it is back with all that it missed.
    fn settle(&mut self) {
        if self.cursor.has_caught_up()
            && let Some(away) = self.away.take()
        {
            self.returns.push(away.elapsed());
        }
    }
}

/// Reads until the last message of its room is here; adds one to `arrived` when it is welcome.
async fn read(
    mut client: Client,
    number: u32,
    arrive: watch::Sender<u32>,
) -> anyhow::Result<(Witness, Vec<Duration>)> {
    let mut witness = Witness::default();
    let mut is_here = false;
    let mut deadline = None;
    loop {
        let patience = deadline.map_or(LAST_WAIT, |deadline: Instant| deadline - Instant::now());
        tokio::select! {
            news = client.link.next(&client.cursor) => match news? {
                News::Heard(pushes) => {
                    for push in &pushes {
                        witness.hear(push);
                        client.cursor.hear(push);
                    }
                    client.settle();
                    if !std::mem::replace(&mut is_here, true) {
                        arrive.send_modify(|arrived| *arrived += 1);
                    }
                }
                News::Away(_) => client.cursor.cut_off(),
            },
            changed = client.told.changed() => { changed?; client.weather(); }
            () = sleep(patience), if deadline.is_some() => break,
        }
        let last = client
            .told
            .borrow()
            .last
            .as_ref()
            .map(|last| last[number as usize % last.len()]);
        if let Some(last) = last {
            if client.away.is_none() && (last == Offset(0) || witness.has_reached(last)) {
                break;
            }
            deadline.get_or_insert(Instant::now() + LAST_WAIT);
        }
    }
    client.link.leave().await;
    Ok((witness, client.returns))
}

/// What became of one publisher's messages.
struct Published {
    stored: Stored,
    repeated: u64,
    unanswered: u64,
    returns: Vec<Duration>,
}

/// Publishes at the plan's pace until it is over, and waits for the answers.
async fn publish(mut client: Client, plan: Plan) -> anyhow::Result<Published> {
    // By another name, so that hearing its own message is no answer: what was cut off before its `ack` is asked
    // again, and it is the server that has to know it.
    let mut outbox = Outbox::new(UserId::parse("nobody")?);
    let mut pace = interval(Duration::from_secs_f64(
        f64::from(plan.rooms) / f64::from(plan.rate),
    ));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut texts, mut stored, mut repeated) = (Vec::new(), Stored::new(), 0);
    let mut deadline = None;
    loop {
        let is_over = client.told.borrow().is_over;
        if is_over && outbox.is_empty() && client.away.is_none() {
            break;
        }
        let deadline = is_over.then(|| *deadline.get_or_insert(Instant::now() + LAST_WAIT));
        let mut wake = None;
        while client.cursor.has_caught_up() && wake.is_none() {
            match outbox.next(std::time::Instant::now()) {
                Next::Send(command) => client.link.send(&command),
                Next::Wait(wait) => wake = Some(wait),
                Next::Idle => break,
            }
        }
        tokio::select! {
            news = client.link.next(&client.cursor) => match news? {
                News::Heard(pushes) => for push in &pushes {
                    client.cursor.hear(push);
                    let Some(settled) = outbox.hear(push, std::time::Instant::now()) else { continue };
                    let text: &String = &texts[settled.number as usize];
                    match settled.outcome {
                        Fate::Stored { offset, duplicate } => {
                            stored.insert(offset, text.clone());
                            repeated += u64::from(duplicate);
                        }
                        Fate::Refused(why) => bail!("the server refuses a message: {why}"),
                    }
                },
                News::Away(_) => {
                    client.cursor.cut_off();
                    outbox.cut_off();
                }
            },
            changed = client.told.changed() => {
                changed?;
                if client.weather() {
                    outbox.cut_off();
                }
            }
            _ = pace.tick(), if !is_over && outbox.has_room() => {
                let key = format!("{:032x}", fastrand::u128(..));
                outbox.push(texts.len() as u64, Key::parse(&key)?, key.clone());
                texts.push(key);
            }
            () = sleep(wake.unwrap_or_default()), if wake.is_some() => {}
            () = sleep(deadline.map_or(LAST_WAIT, |deadline| deadline - Instant::now())), if is_over => break,
        }
        client.settle();
    }
    client.link.leave().await;
    Ok(Published {
        stored,
        repeated,
        unanswered: outbox.len() as u64,
        returns: client.returns,
    })
}

//! Decides for the task that owns the socket, and turns its news into signals.

use std::time::Duration;

use leptos::prelude::*;

use super::Line;
use crate::app::live::{Link, Present, Refusal, Transcript};
use crate::browser;
use crate::browser::clock;
use crate::browser::pass;
use crate::browser::reconnect::{News, Policy, Pulse};
use crate::browser::socket;
use crate::client::{Backoff, Verdict, Watchdog};
use crate::protocol::ErrorCode;
use crate::protocol::Push;
use crate::protocol::Recovery;
use crate::protocol::Token;
use crate::protocol::UserId;
use crate::protocol::Welcome;

/// See the [module docs](self).
pub(super) struct Pilot {
    line: Line,
    backoff: Backoff,
    watchdog: Watchdog,
    /// When a ping was sent that has not been answered.
    pinged: Option<Duration>,
    /// What the server asks for, if it asks.
    token: Option<Token>,
}

impl Pilot {
    pub(super) fn new(line: Line) -> Self {
        let watchdog = Watchdog::new(clock::since_start());
        Self {
            line,
            backoff: Backoff::default(),
            watchdog,
            pinged: None,
            token: pass::token(),
        }
    }

    fn hear(&mut self, pushes: Vec<Push>) {
        self.watchdog.on_frame(clock::since_start());
        if pushes.iter().any(Push::is_progress) {
            self.backoff.on_progress();
        }

        for push in &pushes {
            match push {
                Push::Welcome(welcome) => self.welcome(welcome),
                Push::Presence {
                    count,
                    joined,
                    left,
                } => self.present(*count, joined, left),
                Push::Pong => self.pong(),
                Push::Error {
                    code: ErrorCode::StoreUnavailable,
                    key: None,
                    ..
                } => {
                    self.line.live().link.set(Link::Stalled);
                }
                Push::Message(_) | Push::Ack { .. } => self.goes_on(),
                _ => {}
            }
        }
        self.line.change(|transcript| transcript.hear(pushes));
    }

    fn welcome(&mut self, welcome: &Welcome) {
        let Welcome {
            expire_ms,
            count,
            members,
            recovery,
            ..
        } = welcome;
        self.watchdog.set_expire(Duration::from_millis(*expire_ms));
        let live = self.line.live();
        live.link.set(Link::Live);
        if !live.is_open {
            live.me.set(Some(welcome.id.clone()));
        }
        live.present.set(Some(Present {
            count: *count,
            names: members.clone(),
        }));
        // The first connection reads on from what the server rendered; that is no coming back.
        let is_first = self.line.is_first_welcome();
        if *recovery != Recovery::Fresh && !is_first {
            live.vitals.update(|vitals| vitals.resumes += 1);
        }
    }

    /// What comes tells that the server is not, or no longer, cut off.
    fn goes_on(&self) {
        let link = self.line.live().link;
        if link.get_untracked() == Link::Stalled {
            link.set(Link::Live);
        }
    }

    fn present(&self, count: usize, joined: &[UserId], left: &[UserId]) {
        // It is told anew when it is over.
        self.goes_on();
        self.line.live().present.update(|present| {
            let Some(Present {
                count: known,
                names,
            }) = present
            else {
                return;
            };
            *known = count;
            if let Some(list) = names {
                // Both come sorted.
                list.retain(|name| {
                    left.binary_search(name).is_err() && joined.binary_search(name).is_err()
                });
                for name in joined {
                    let at = list.partition_point(|other| other < name);
                    list.insert(at, name.clone());
                }
                // In a large room nobody is named.
                if list.len() != count {
                    *names = None;
                }
            }
        });
    }

    fn pong(&mut self) {
        if let Some(pinged) = self.pinged.take() {
            let took = clock::since_start().saturating_sub(pinged);
            self.line
                .live()
                .vitals
                .update(|vitals| vitals.round_trip = Some(took));
        }
    }
}

impl Policy for Pilot {
    fn address(&self) -> String {
        let live = self.line.live();
        // Where names are proven, the server knows it better.
        let me = live.me.get_untracked().filter(|_| live.is_open);
        live.transcript
            .with_untracked(|seen| socket::address(self.line.room(), me.as_ref(), seen.position()))
    }

    fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    fn pause(&mut self, lived: Duration) -> Duration {
        self.backoff.pause(lived, browser::random())
    }

    fn look(&mut self, now: Duration, doubts: bool) -> Pulse {
        match self.watchdog.check(now, doubts) {
            Verdict::Wait(after) => Pulse::Wait(after),
            Verdict::Probe(after) => {
                self.pinged = Some(now);
                Pulse::Ask(after)
            }
            Verdict::Dead => Pulse::Dead,
        }
    }

    fn tell(&mut self, news: News) {
        let live = self.line.live();
        match news {
            News::Connecting => live.link.set(Link::Connecting),
            // Nothing is sent before the server has said where we are.
            News::Open => {
                self.watchdog = Watchdog::new(clock::since_start());
                self.pinged = None;
            }
            News::Heard(pushes) => self.hear(pushes),
            News::Broken => {
                live.link.set(Link::Connecting);
                live.present.set(None);
                live.vitals.update(|vitals| vitals.round_trip = None);
                live.transcript.update(Transcript::cut_off);
            }
            News::Waiting {
                seconds,
                network: true,
            } => live.link.set(Link::Waiting { seconds }),
            News::Waiting { network: false, .. } => live.link.set(Link::Offline),
            News::Refused(code) => {
                live.link.set(Link::Refused(Refusal::from(code)));
                live.transcript.update(Transcript::give_up);
            }
        }
    }
}

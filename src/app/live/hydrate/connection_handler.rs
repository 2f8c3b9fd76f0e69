//! The handler of connection events, which updates the room's state.

use std::time::Duration;

use leptos::prelude::*;

use super::Client;
use crate::app::live::{ConnectionStatus, MessageList, Refusal, RoomPresence};
use crate::browser::clock;
use crate::browser::reconnect::{ConnectionEvent, Handler};
use crate::browser::{socket, token};
use crate::protocol::{ErrorCode, Push, Recovery, Token, UserId, Welcome};

/// The event handler of the page's connection.
pub(super) struct ConnectionHandler {
    client: Client,
    /// The token of this tab, if there is one.
    token: Option<Token>,
}

impl ConnectionHandler {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            token: token::token(),
        }
    }

    fn on_received(&self, pushes: Vec<Push>, round_trip: Option<Duration>) {
        for push in &pushes {
            match push {
                Push::Welcome(welcome) => self.on_welcome(welcome),
                Push::Presence {
                    count,
                    joined,
                    left,
                } => self.on_presence(*count, joined, left),
                Push::Error {
                    code: ErrorCode::StoreUnavailable,
                    key: None,
                    ..
                } => self.client.live().connection.set(ConnectionStatus::Stalled),
                Push::Message(_) | Push::Ack { .. } => self.end_stall(),
                _ => {}
            }
        }

        self.set_round_trip(round_trip);
        self.client
            .change(|list| list.receive(pushes, clock::since_start()));
    }

    fn on_welcome(&self, welcome: &Welcome) {
        let live = self.client.live();
        live.connection.set(ConnectionStatus::Live);
        if !live.is_open {
            live.me.set(Some(welcome.id.clone()));
        }
        live.present.set(Some(RoomPresence {
            count: welcome.count,
            names: welcome.members.clone(),
        }));

        // The first connection continues after the rendered history, which is not a reconnect.
        let is_first = self.client.is_first_welcome();
        if welcome.recovery != Recovery::Fresh && !is_first {
            live.stats.update(|stats| stats.resumes += 1);
        }
    }

    /// Handles a frame that the server sends only while its store is available.
    fn end_stall(&self) {
        let connection = self.client.live().connection;
        if connection.get_untracked() == ConnectionStatus::Stalled {
            connection.set(ConnectionStatus::Live);
        }
    }

    fn on_presence(&self, count: usize, joined: &[UserId], left: &[UserId]) {
        // The server sends presence again after an outage of the store.
        self.end_stall();
        self.client.live().present.update(|present| {
            if let Some(present) = present {
                present.update(count, joined, left);
            }
        });
    }

    fn set_round_trip(&self, round_trip: Option<Duration>) {
        let stats = self.client.live().stats;
        if stats.with_untracked(|stats| stats.round_trip != round_trip) {
            stats.update(|stats| stats.round_trip = round_trip);
        }
    }
}

impl Handler for ConnectionHandler {
    fn address(&self) -> String {
        let live = self.client.live();
        // With tokens, the token determines the id.
        let user = live.me.get_untracked().filter(|_| live.is_open);
        let query = live
            .messages
            .with_untracked(|list| list.cursor().query(self.client.room(), user.as_ref()));
        socket::address(&query)
    }

    fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    fn on_event(&mut self, event: ConnectionEvent) {
        let live = self.client.live();

        match event {
            ConnectionEvent::Connecting => live.connection.set(ConnectionStatus::Connecting),
            ConnectionEvent::Received { pushes, round_trip } => {
                self.on_received(pushes, round_trip);
            }
            ConnectionEvent::Disconnected => {
                live.connection.set(ConnectionStatus::Connecting);
                live.present.set(None);
                self.set_round_trip(None);
                live.messages.update(MessageList::on_disconnect);
            }
            ConnectionEvent::Waiting {
                seconds,
                is_online: true,
            } => live.connection.set(ConnectionStatus::Waiting { seconds }),
            ConnectionEvent::Waiting { .. } => live.connection.set(ConnectionStatus::Offline),
            ConnectionEvent::Refused(code) => {
                let refusal = Refusal::from(code);
                live.connection.set(ConnectionStatus::Refused(refusal));
                live.messages.update(MessageList::on_refused);
            }
        }
    }
}

//! The renewal of the user's token at the endpoint that the settings name.
//!
//! A token is renewed on the open connection, by a `token` frame, so the connection and its subscriptions stay. If the
//! endpoint is away until the token has expired, the server ends the connection. The next one is opened once there is a
//! new token, and resumes like any other.

use std::time::Duration;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, pending};
use gloo_timers::future::TimeoutFuture;

use super::page_state::PageState;
use crate::browser::token::{self, TokenRequestError};
use crate::browser::{clock, random};
use crate::client::TokenSchedule;
use crate::protocol::{Command, ErrorCode, Push, Token};

/// The longest timer. Timers of browsers end at 2^31 milliseconds.
const LONGEST_TIMER: Duration = Duration::from_secs(24 * 60 * 60);

/// The renewal of the token of a page. Without an endpoint it does nothing.
pub(super) struct TokenRenewal {
    page: PageState,
    url: Option<String>,
    schedule: TokenSchedule,
    /// The request to the endpoint, while there is one.
    request: Option<LocalBoxFuture<'static, Result<Token, TokenRequestError>>>,
    /// The token in the frame that the server has not answered yet.
    sent: Option<Token>,
}

impl TokenRenewal {
    pub(super) fn new(page: PageState) -> Self {
        Self {
            page,
            url: page.sign_in.token_url(),
            schedule: TokenSchedule::default(),
            request: None,
            sent: None,
        }
    }

    /// Gets a token for the next connection, unless the page has one. Returns true if the connection can be opened: the
    /// server decides about a user who is not signed in, but an endpoint that is away is tried again.
    pub(super) async fn prepare(&mut self) -> bool {
        let sign_in = self.page.sign_in;
        let Some(url) = self.url.as_deref().filter(|_| !sign_in.is_usable()) else {
            return true;
        };

        match token::request(url).await {
            Ok(token) => self.page.on_new_token(token),
            Err(TokenRequestError::SignedOut) => sign_in.sign_out(&self.page.storage()),
            Err(TokenRequestError::Unavailable) => return false,
        }
        true
    }

    /// Records that a connection was opened with the token of the page.
    pub(super) fn on_open(&mut self) {
        self.request = None;
        self.sent = None;
        self.schedule = TokenSchedule::default();
        self.plan();
    }

    /// Waits until the token is due, and returns the frame with a new one. Never returns without an endpoint. The call may be
    /// dropped: the next one continues.
    pub(super) async fn next(&mut self) -> Command {
        let Some(url) = self.url.clone() else {
            return pending().await;
        };

        loop {
            if self.request.is_none() {
                match self.schedule.wait(clock::since_start()) {
                    _ if self.sent.is_some() => pending().await,
                    None => pending().await,
                    Some(Duration::ZERO) => {
                        let url = url.clone();
                        let request = async move { token::request(&url).await };
                        self.request = Some(request.boxed_local());
                    }
                    Some(time) => {
                        let time = time.min(LONGEST_TIMER).as_millis() as u32 + 1;
                        TimeoutFuture::new(time).await;
                    }
                }
            }

            if let Some(request) = &mut self.request {
                let received = request.await;
                self.request = None;
                match received {
                    Ok(token) => {
                        self.sent = Some(token.clone());
                        return Command::Token { token };
                    }
                    // The current token is still valid, also after the user has signed out elsewhere.
                    Err(_) => self.on_failure(),
                }
            }
        }
    }

    /// Records the answer to a new token.
    pub(super) fn on_push(&mut self, push: &Push) {
        match push {
            Push::Token { .. } => {
                if let Some(token) = self.sent.take() {
                    self.page.on_new_token(token);
                    self.plan();
                }
            }
            Push::Error {
                code: ErrorCode::BadToken | ErrorCode::NotAllowed,
                key: None,
                room: None,
                ..
            } if self.sent.take().is_some() => self.on_failure(),
            _ => {}
        }
    }

    fn plan(&mut self) {
        if let Some(life) = self.page.sign_in.life() {
            self.schedule.on_token(life, clock::since_start(), random());
        }
    }

    fn on_failure(&mut self) {
        self.schedule.on_failure(clock::since_start(), random());
    }
}
